"""Products with one-hot rows, as sums of the weights' rows.

The product S W of a matrix S of zeros and ones adds, for each row of S, the rows of W at its ones.  Its derivative with
respect to W is Sᵀ G, a product of the same kind, so both are one gather-sum; the order of Sᵀ is found once, where
``torch.nn.functional.embedding_bag`` sorts the indices again at every backward pass.

Shape suffixes: K cohort, B batch (rows), A ones of a row, I inputs, H columns of W.
"""

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from trainables.engine.gather_sum import gather_sum


class Ones(NamedTuple):
    """Where a matrix of zeros and ones has its ones, row after row."""

    columns: Tensor
    """The column of each one, int64."""
    starts: Tensor
    """Where each row begins in :attr:`columns`, int64."""

    def times(self, dense: Tensor) -> Tensor:
        """Multiply: (columns, H) to (rows, H)."""
        return gather_sum(dense, self.columns, self.starts)


class OneHotRows(NamedTuple):
    """The one-hot rows of all members, as one block-diagonal matrix, and its transpose."""

    rows: Ones
    transposed: Ones
    shape: tuple[int, int, int]
    """K, B, I."""

    @classmethod
    def of(cls, active_KBA: Tensor, inputs: int) -> Self:
        """Order the ones of the rows both ways.

        :param active_KBA: the columns of each row's ones, in ``[0, inputs)``.
        """
        members, rows, active = active_KBA.shape
        device = active_KBA.device
        columns = (active_KBA + torch.arange(members, device=device).view(-1, 1, 1) * inputs).flatten()
        places = columns.argsort(stable=True)
        counts = torch.zeros(members * inputs, dtype=torch.int64, device=device).scatter_add_(
            0, columns, torch.ones_like(columns)
        )
        return cls(
            Ones(columns, torch.arange(0, members * rows * active, active, device=device)),
            Ones(places // active, counts.cumsum(0) - counts),
            (members, rows, inputs),
        )

    def product(self, weight_KIH: Tensor) -> Tensor:
        """Multiply each member's rows with its weight: shape (K, B, H)."""
        return _Product.apply(weight_KIH.flatten(0, 1), self)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, one_hot: OneHotRows) -> Tensor:
        ctx.one_hot = one_hot
        # A tensor of its own rather than a view, so that a ReLU may work in place.
        return torch.ops.aten._unsafe_view(one_hot.rows.times(dense), [*one_hot.shape[:2], dense.shape[1]])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.one_hot.transposed.times(gradient.flatten(0, 1)), None
