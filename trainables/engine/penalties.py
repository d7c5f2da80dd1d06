"""Penalties: what is added to the mean loss of the training rows.

Shape suffixes: K cohort, B batch (rows), V classes.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.engine.config import Config, option


@dataclass(frozen=True, kw_only=True)
class Penalty(Config):
    """Base of the penalties."""

    strength: float = option(0.0, at_least=0.0, per_trial=True)
    """λ, the factor before the penalty."""

    @abstractmethod
    def value(self, logits_KBV: Tensor, parameters: Mapping[str, Tensor], strength_K: Tensor) -> Tensor:
        """The penalty of each member, λ included: shape (K,).

        :param logits_KBV: as the loss sees them, α and temperature included.
        """


@dataclass(frozen=True, kw_only=True)
class NoPenalty(Penalty):
    """Nothing is added."""

    strength: float = option(0.0, choices=(0.0,))

    def value(self, logits_KBV: Tensor, parameters: Mapping[str, Tensor], strength_K: Tensor) -> Tensor:
        return torch.zeros_like(strength_K)
