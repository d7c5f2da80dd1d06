"""Sparsemax: probabilities that are exactly zero beyond a threshold (Martins and Astudillo 2016).

Shape suffixes: K cohort, B batch (rows), V classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainables.engine.losses import Loss


@dataclass(frozen=True, kw_only=True)
class Sparsemax(Loss):
    """The sparsemax loss ½ - z_y + ½ Σ_{k in S} (z_k² - τ²), whose gradient is sparsemax(z) - [k = y].

    Martins and Astudillo 2016, Eqs 2, 15 and 16: sparsemax(z) = max(z - τ, 0), the point of the simplex nearest to z,
    and S is where it is positive.  The loss and its gradient are exactly 0 once z_y exceeds every other logit by 1, so
    logits stop growing without any collapse of the arithmetic.
    """

    def row_losses(self, logits_KBV: Tensor, labels_KB: Tensor, hyper: Mapping[str, Tensor]) -> Tensor:
        return _SparsemaxLoss.apply(self.cast(logits_KBV), labels_KB)

    def collapsed(self, logits_KBV: Tensor) -> Tensor:
        """Return False for every row: where one class has all the probability, that is exact and not rounding."""
        return torch.zeros(logits_KBV.shape[:-1], dtype=torch.bool, device=logits_KBV.device)


def sparsemax(logits: Tensor) -> Tensor:
    """Compute the Euclidean projection of each row of logits onto the probability simplex; shape (..., V)."""
    # Logits shifted by a constant give the same point; near 0 nothing is lost to rounding.
    shifted = logits - logits.amax(-1, keepdim=True)
    descending = shifted.sort(-1, descending=True).values
    ranks = torch.arange(1, logits.shape[-1] + 1, dtype=logits.dtype, device=logits.device)
    sums = descending.cumsum(-1) - 1
    support = (ranks * descending > sums).sum(-1, keepdim=True).clamp(min=1)  # NaN exceeds nothing
    threshold = sums.gather(-1, support - 1) / support
    return (shifted - threshold).clamp(min=0)


class _SparsemaxLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_KBV: Tensor, labels_KB: Tensor) -> Tensor:
        shares_KBV = sparsemax(logits_KBV)
        ctx.save_for_backward(shares_KBV, labels_KB)
        true_KB1 = logits_KBV.gather(-1, labels_KB.unsqueeze(-1))
        # The same as the sum over the support, without its differences of large squares:
        # sum_k p_k (z_k - z_y) + (1 - sum_k p_k²) / 2.
        ahead_KBV = torch.where(shares_KBV > 0, logits_KBV - true_KB1, 0.0)  # the others may overflow in float16
        return (shares_KBV * ahead_KBV).sum(-1) + (1 - shares_KBV.square().sum(-1)) / 2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_KB: Tensor) -> tuple[Tensor, None]:
        shares_KBV, labels_KB = ctx.saved_tensors
        slope_KBV = shares_KBV.scatter_add(-1, labels_KB.unsqueeze(-1), -torch.ones_like(shares_KBV[..., :1]))
        return slope_KBV * gradient_KB.unsqueeze(-1), None
