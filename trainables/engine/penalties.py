"""Penalties: terms added to the mean loss of the training rows.

Shape suffixes: K cohort, B batch (rows), V classes.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.engine.config import Config, option
from trainables.engine.gradients import inner


@dataclass(frozen=True, kw_only=True)
class Penalty(Config):
    """Base of the penalties."""

    strength: float = option(0.0, at_least=0.0, per_trial=True, example=0.01)
    """λ, the factor of the penalty."""

    @abstractmethod
    def value(self, logits_KBV: Tensor, parameters: Mapping[str, Tensor], strength_K: Tensor) -> Tensor:
        """Return the penalty of each member, λ included: shape (K,).

        :param logits_KBV: as passed to the loss, with α and temperature applied.
        """


@dataclass(frozen=True, kw_only=True)
class NoPenalty(Penalty):
    """No penalty."""

    strength: float = option(0.0, choices=(0.0,))

    def value(self, logits_KBV: Tensor, parameters: Mapping[str, Tensor], strength_K: Tensor) -> Tensor:
        return torch.zeros_like(strength_K)


@dataclass(frozen=True, kw_only=True)
class LogitNorm(Penalty):
    """λ times the mean over the training rows of ‖z‖, the Euclidean norm of a row's logits.

    Prieto et al. 2025, App. C.1, add "the norm of the logits" to the loss and give neither λ nor the norm.  Our choice:
    the norm of each row, not squared, averaged over the rows like the loss.
    """

    def value(self, logits_KBV: Tensor, parameters: Mapping[str, Tensor], strength_K: Tensor) -> Tensor:
        return strength_K * torch.linalg.vector_norm(logits_KBV, dim=-1).double().mean(1)


@dataclass(frozen=True, kw_only=True)
class L1(Penalty):
    """λ times the sum of the absolute values of all parameters (Prieto et al. 2025, App. D.1)."""

    def value(self, logits_KBV: Tensor, parameters: Mapping[str, Tensor], strength_K: Tensor) -> Tensor:
        sums = [value.abs().flatten(1).sum(1, dtype=torch.float64) for value in parameters.values()]
        return strength_K * torch.stack(sums).sum(0)


@dataclass(frozen=True, kw_only=True)
class L2(Penalty):
    """½ λ ‖θ‖² over all parameters (Fig. 6c).  Its gradient λθ equals SGD's weight decay, but not AdamW's."""

    def value(self, logits_KBV: Tensor, parameters: Mapping[str, Tensor], strength_K: Tensor) -> Tensor:
        return strength_K / 2 * inner(parameters, parameters)
