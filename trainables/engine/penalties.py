"""Penalties: terms added to the mean loss of the training rows.

Shape suffixes: K cohort, B batch (rows), H hidden units, V classes.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from trainables.engine.config import Config, option
from trainables.engine.gradients import inner, per_member


class Pass(NamedTuple):
    """What a penalty can read of the training rows' forward pass, to be differentiated."""

    logits_KBV: Tensor
    """As passed to the loss, with α and temperature applied."""
    parameters: Mapping[str, Tensor]
    activations: Mapping[str, Tensor]
    """The hidden activations by layer, each (K, B, H), the last one before the logits last; empty unless asked for."""


@dataclass(frozen=True, kw_only=True)
class Penalty(Config):
    """Base of the penalties."""

    reads_activations: ClassVar[bool] = False
    """Whether it needs :attr:`Pass.activations`."""

    strength: float = option(0.0, at_least=0.0, per_trial=True, example=0.01)
    """λ, the factor of the penalty."""

    @abstractmethod
    def value(self, seen: Pass, hyper: Mapping[str, Tensor]) -> Tensor:
        """Return the penalty of each member, λ included: shape (K,).

        :param hyper: the per-trial fields by name: shape (K,), float64.
        """


@dataclass(frozen=True, kw_only=True)
class NoPenalty(Penalty):
    """No penalty."""

    strength: float = option(0.0, choices=(0.0,))

    def value(self, seen: Pass, hyper: Mapping[str, Tensor]) -> Tensor:
        return torch.zeros(len(seen.logits_KBV), dtype=torch.float64, device=seen.logits_KBV.device)


@dataclass(frozen=True, kw_only=True)
class LogitNorm(Penalty):
    """λ times the mean over the training rows of ‖z‖, the Euclidean norm of a row's logits.

    Prieto et al. 2025, App. C.1, add "the norm of the logits" to the loss and give neither λ nor the norm.  Our choice:
    the norm of each row, not squared, averaged over the rows like the loss.
    """

    def value(self, seen: Pass, hyper: Mapping[str, Tensor]) -> Tensor:
        return hyper["strength"] * torch.linalg.vector_norm(seen.logits_KBV, dim=-1).double().mean(1)


@dataclass(frozen=True, kw_only=True)
class L1(Penalty):
    """λ times the sum of the absolute values of all parameters (Prieto et al. 2025, App. D.1)."""

    def value(self, seen: Pass, hyper: Mapping[str, Tensor]) -> Tensor:
        sums = [value.abs().flatten(1).sum(1, dtype=torch.float64) for value in seen.parameters.values()]
        return hyper["strength"] * torch.stack(sums).sum(0)


@dataclass(frozen=True, kw_only=True)
class L2(Penalty):
    """½ λ ‖θ‖² over all parameters (Fig. 6c).  Its gradient λθ equals SGD's weight decay, but not AdamW's."""

    def value(self, seen: Pass, hyper: Mapping[str, Tensor]) -> Tensor:
        return hyper["strength"] / 2 * inner(seen.parameters, seen.parameters)


@dataclass(frozen=True, kw_only=True)
class ActivationSphere(Penalty):
    """λ times the mean over hidden layers and training rows of (‖h‖ / (r sqrt H) - 1)², H being the layer's width.

    It holds hidden activations near a sphere of radius r sqrt H.  Tiwari et al. 2026 (arXiv:2606.32000) penalise the
    distance to the radius sqrt H; the square and the scale are our choice.
    """

    reads_activations: ClassVar[bool] = True

    radius: float = option(1.0, above=0.0, per_trial=True)
    """r, in units of the square root of a layer's width."""

    def value(self, seen: Pass, hyper: Mapping[str, Tensor]) -> Tensor:
        layers = []
        for hidden_KBH in seen.activations.values():
            radius_K1 = per_member(hyper["radius"], hidden_KBH[..., 0]) * math.sqrt(hidden_KBH.shape[-1])
            norms_KB = torch.linalg.vector_norm(hidden_KBH, dim=-1).double()
            layers.append((norms_KB / radius_K1 - 1).square().mean(1))
        return hyper["strength"] * torch.stack(layers).mean(0)
