"""Losses: one value per row, in the dtype in which the loss is computed, because collapse depends on that dtype.

Shape suffixes: K cohort, B batch (rows), V classes.  Every operation after the logits is rounded in that dtype.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from trainables.engine.config import Config, option
from trainables.engine.gradients import per_member

DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


@dataclass(frozen=True, kw_only=True)
class Loss(Config):
    """Base of the losses.  The logits passed to a loss are already multiplied by α and divided by T."""

    dtype: str = option("float32", choices=tuple(DTYPES))
    """The dtype of everything after the logits."""
    temperature: float = option(1.0, above=0.0, per_trial=True)
    """T: loss, collapse and margins are computed from the logits divided by T."""

    @abstractmethod
    def row_losses(self, logits_KBV: Tensor, labels_KB: Tensor, hyper: Mapping[str, Tensor]) -> Tensor:
        """Return the loss of every row, shape (K, B), in :attr:`dtype`.

        :param hyper: the per-trial fields that some member sets to other than the default, by name: (K,), float64.
        """

    @abstractmethod
    def collapsed(self, logits_KBV: Tensor) -> Tensor:
        """Return whether the loss's own normaliser equals its largest term in :attr:`dtype`; shape (K, B), bool."""

    def cast(self, logits_KBV: Tensor) -> Tensor:
        """Cast the logits to :attr:`dtype`."""
        return logits_KBV.to(DTYPES[self.dtype])


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Loss):
    """Base of the cross-entropies, -log p_y, which differ in how p follows from the logits."""

    label_smoothing: float = option(0.0, at_least=0.0, at_most=1.0, per_trial=True)
    """ε: the loss is (1 - ε) (-log p_y) + ε mean_k(-log p_k), as in ``torch.nn.CrossEntropyLoss``."""

    @abstractmethod
    def log_probabilities(self, logits_KBV: Tensor) -> Tensor:
        """Return log p of every class from logits in :attr:`dtype`; same shape and dtype."""

    def row_losses(self, logits_KBV: Tensor, labels_KB: Tensor, hyper: Mapping[str, Tensor]) -> Tensor:
        log_p_KBV = self.log_probabilities(self.cast(logits_KBV))
        losses_KB = -log_p_KBV.gather(-1, labels_KB.unsqueeze(-1)).squeeze(-1)
        if "label_smoothing" in hyper:
            smoothing_K1 = per_member(hyper["label_smoothing"], losses_KB).to(losses_KB.dtype)
            losses_KB = (1 - smoothing_K1) * losses_KB - smoothing_K1 * log_p_KBV.mean(-1)
        return losses_KB


@dataclass(frozen=True, kw_only=True)
class SoftmaxCrossEntropy(CrossEntropy):
    """-log softmax(z)_y, the softmax taken in ``dtype`` (Prieto et al. 2025, Sec. 3.3)."""

    log_softmax: str = option("native", choices=("native", "by_hand"))
    """``native`` is torch's; ``by_hand`` is the plain formula of :func:`log_softmax_by_hand` (App. I)."""

    def log_probabilities(self, logits_KBV: Tensor) -> Tensor:
        if self.log_softmax == "by_hand":
            return log_softmax_by_hand(logits_KBV)
        return functional.log_softmax(logits_KBV, dim=-1)

    def collapsed(self, logits_KBV: Tensor) -> Tensor:
        return softmax_collapsed(self.cast(logits_KBV))


@dataclass(frozen=True, kw_only=True)
class StableMaxCrossEntropy(CrossEntropy):
    """-log StableMax(z)_y with s(x) = x + 1 for x >= 0 and 1/(1 - x) below (Prieto et al. 2025, Def. 4 and Eq. 6).

    Computed through Prop. 1: StableMax(x) = Softmax(g(x)) with g(x) = log s(x) = sign(x) log(1 + |x|).
    """

    dtype: str = option("float64", choices=tuple(DTYPES))

    def log_probabilities(self, logits_KBV: Tensor) -> Tensor:
        return functional.log_softmax(log_s(logits_KBV), dim=-1)

    def collapsed(self, logits_KBV: Tensor) -> Tensor:
        return _largest_absorbs_rest(s(self.cast(logits_KBV)))


@dataclass(frozen=True, kw_only=True)
class TaylorSoftmaxCrossEntropy(CrossEntropy):
    """-log t(z)_y / sum_k t(z)_k with t(z) = 1 + x + x²/2 and x = z - min z (Prieto et al. 2025, App. C.1).

    The gradient flows through the subtraction of the row's minimum, as in the paper.  Eq. 20 misprints t as
    (1 + x + x²)/2!, and the text once says mean for minimum.  The paper does not give the dtype; we use float64, as
    for StableMax.
    """

    dtype: str = option("float64", choices=tuple(DTYPES))

    def log_probabilities(self, logits_KBV: Tensor) -> Tensor:
        x_KBV = _minus_minimum(logits_KBV)
        return functional.log_softmax(torch.log1p(x_KBV * (1 + x_KBV / 2)), dim=-1)

    def collapsed(self, logits_KBV: Tensor) -> Tensor:
        x_KBV = _minus_minimum(self.cast(logits_KBV))
        return _largest_absorbs_rest(1 + x_KBV * (1 + x_KBV / 2))


@dataclass(frozen=True, kw_only=True)
class MeanSquaredError(Loss):
    """The mean over the classes of (z_k - [k = y])²; over a batch, ``torch.nn.MSELoss`` against one-hot labels."""

    def row_losses(self, logits_KBV: Tensor, labels_KB: Tensor, hyper: Mapping[str, Tensor]) -> Tensor:
        logits_KBV = self.cast(logits_KBV)
        classes_V = torch.arange(logits_KBV.shape[-1], device=logits_KBV.device)
        targets_KBV = (labels_KB.unsqueeze(-1) == classes_V).to(logits_KBV.dtype)
        return (logits_KBV - targets_KBV).square().mean(-1)

    def collapsed(self, logits_KBV: Tensor) -> Tensor:
        """Return False for every row: this loss has no normaliser."""
        return torch.zeros(logits_KBV.shape[:-1], dtype=torch.bool, device=logits_KBV.device)


def s(x: Tensor) -> Tensor:
    """Compute s(x) of Eq. 6 in the dtype of ``x``; any shape."""
    return torch.where(x >= 0, x.clamp(min=0) + 1, 1 / (1 - x.clamp(max=0)))


def log_s(x: Tensor) -> Tensor:
    """Compute log s(x) = sign(x) log(1 + |x|); any shape.  Its derivative is 1/(1 + |x|), also at 0."""
    return _LogS.apply(x)


class _LogS(torch.autograd.Function):
    """One operation; bit for bit equal to autograd through both branches, in a quarter of the time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        size = x.abs()
        ctx.save_for_backward(size)
        return torch.copysign(torch.log1p(size), x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (size,) = ctx.saved_tensors
        return gradient / (size + 1)


def softmax_collapsed(logits: Tensor, largest: Tensor | None = None) -> Tensor:
    """Return whether rows are in softmax collapse (Def. 3): sum_k exp(z_k - max z) is exactly 1 in their dtype.

    :param logits: shape (..., V).
    :param largest: max z where it is known, shape (..., 1).
    :returns: bool, shape (...).
    """
    shifted = logits - (logits.amax(dim=-1, keepdim=True) if largest is None else largest)
    return shifted.exp_().sum(dim=-1) == 1


def log_softmax_by_hand(logits: Tensor) -> Tensor:
    """Compute x - log(sum_k exp(x_k)) with x = z - max z, differentiated operation by operation; shape (..., V).

    The gradient flows through the maximum too and adds the sum of the other classes' gradients there.  So the largest
    class of a collapsed row still gets a gradient, where the native function's is exactly 0: the loss is 0 and learning
    continues (App. I).
    """
    shifted = logits - logits.amax(dim=-1, keepdim=True)
    return shifted - shifted.exp().sum(dim=-1, keepdim=True).log()


def _minus_minimum(logits: Tensor) -> Tensor:
    return logits - logits.amin(dim=-1, keepdim=True)


def _largest_absorbs_rest(terms: Tensor) -> Tensor:
    return terms.sum(dim=-1) == terms.amax(dim=-1)
