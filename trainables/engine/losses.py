"""Losses: one value a row, in the dtype in which the loss is computed, because that dtype is what collapses.

Shape suffixes: K cohort, B batch (rows), V classes.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from trainables.engine.config import Config, option

DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


@dataclass(frozen=True, kw_only=True)
class Loss(Config):
    """Base of the losses.  The logits that a loss is given are already multiplied by α and divided by T."""

    dtype: str = option("float32", choices=tuple(DTYPES))
    """The dtype of everything after the logits."""
    temperature: float = option(1.0, above=0.0, per_trial=True)
    """T: the loss, its collapse and the margins are those of the logits over T."""

    @abstractmethod
    def row_losses(self, logits_KBV: Tensor, labels_KB: Tensor, hyper: Mapping[str, Tensor]) -> Tensor:
        """The loss of every row, shape (K, B), in :attr:`dtype`.

        :param hyper: those per-trial fields that are not at their default in every member: shape (K,), float64.
        """

    @abstractmethod
    def collapsed(self, logits_KBV: Tensor) -> Tensor:
        """Whether the loss's own normaliser has absorbed all classes but the largest; shape (K, B), bool."""

    def cast(self, logits_KBV: Tensor) -> Tensor:
        """The logits as the loss computes with them."""
        return logits_KBV.to(DTYPES[self.dtype])


@dataclass(frozen=True, kw_only=True)
class SoftmaxCrossEntropy(Loss):
    """-log softmax(z)_y, the softmax taken in ``dtype`` (Prieto et al. 2025, Sec. 3.3)."""

    def row_losses(self, logits_KBV: Tensor, labels_KB: Tensor, hyper: Mapping[str, Tensor]) -> Tensor:
        return _picked(functional.log_softmax(self.cast(logits_KBV), dim=-1), labels_KB)

    def collapsed(self, logits_KBV: Tensor) -> Tensor:
        return softmax_collapsed(self.cast(logits_KBV))


@dataclass(frozen=True, kw_only=True)
class StableMaxCrossEntropy(Loss):
    """-log StableMax(z)_y with s(x) = x + 1 for x >= 0 and 1/(1 - x) below (Prieto et al. 2025, Def. 4 and Eq. 6).

    Computed through Prop. 1: StableMax(x) = Softmax(g(x)) with g(x) = log s(x) = sign(x) log(1 + |x|).
    """

    dtype: str = option("float64", choices=tuple(DTYPES))

    def row_losses(self, logits_KBV: Tensor, labels_KB: Tensor, hyper: Mapping[str, Tensor]) -> Tensor:
        return _picked(functional.log_softmax(log_s(self.cast(logits_KBV)), dim=-1), labels_KB)

    def collapsed(self, logits_KBV: Tensor) -> Tensor:
        terms_KBV = s(self.cast(logits_KBV))
        return terms_KBV.sum(dim=-1) == terms_KBV.amax(dim=-1)


def s(x: Tensor) -> Tensor:
    """s(x) of Eq. 6, in the dtype of ``x``; any shape."""
    return torch.where(x >= 0, x.clamp(min=0) + 1, 1 / (1 - x.clamp(max=0)))


def log_s(x: Tensor) -> Tensor:
    """log s(x) = sign(x) log(1 + |x|); any shape.  The clamps keep the gradient at 0 (which is 1) and beyond finite."""
    return torch.where(x >= 0, torch.log1p(x.clamp(min=0)), -torch.log1p(-x.clamp(max=0)))


def softmax_collapsed(logits: Tensor) -> Tensor:
    """Softmax collapse (Def. 3): sum_k exp(z_k - max z) is exactly 1 in the dtype of ``logits``.

    :param logits: shape (..., V).
    :returns: bool, shape (...).
    """
    shifted = logits - logits.amax(dim=-1, keepdim=True)
    return shifted.exp().sum(dim=-1) == 1


def _picked(log_probabilities_KBV: Tensor, labels_KB: Tensor) -> Tensor:
    return -log_probabilities_KBV.gather(-1, labels_KB.unsqueeze(-1)).squeeze(-1)
