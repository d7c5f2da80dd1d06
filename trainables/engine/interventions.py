"""Interventions: changes to a run from a given step on."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trainables.engine.config import Config, option
from trainables.engine.gradients import GradientRule, OrthogonalGradient
from trainables.engine.losses import Loss, MeanSquaredError
from trainables.engine.optimizers import SGD, Optimizer
from trainables.engine.penalties import L2, Penalty


@dataclass(frozen=True, kw_only=True)
class Intervention(Config):
    """Base of the interventions.  By default, every method returns its argument unchanged."""

    restarts_optimizer: ClassVar[bool] = False
    """Whether the optimizer restarts at :attr:`at_step`, with empty buffers and a step count from 0.  A gradient rule
    restarts where it is replaced, and only there."""

    at_step: int = option(at_least=0, example=3)
    """The first step whose update uses the change; up to this step the weights equal those of the control."""

    def loss(self, loss: Loss) -> Loss:
        """Return the loss to use from :attr:`at_step` on."""
        return loss

    def gradient(self, rule: GradientRule) -> GradientRule:
        """Return the gradient rule to use from :attr:`at_step` on."""
        return rule

    def optimizer(self, optimizer: Optimizer) -> Optimizer:
        """Return the optimizer to use from :attr:`at_step` on."""
        return optimizer

    def penalty(self, penalty: Penalty) -> Penalty:
        """Return the penalty to use from :attr:`at_step` on."""
        return penalty

    def logits(self, logits_KBV: Tensor, labels_KB: Tensor) -> Tensor:
        """Return the logits from which to compute the training loss from :attr:`at_step` on."""
        return logits_KBV


@dataclass(frozen=True, kw_only=True)
class NoIntervention(Intervention):
    """No intervention."""

    at_step: int = option(0, choices=(0,))


@dataclass(frozen=True, kw_only=True)
class ZeroTrueClassGradient(Intervention):
    """Set the gradient of the true class's logit to exactly zero, as softmax collapse does, in every row.

    Prieto et al. 2025, App. B.1 and Fig. 8, in two readings.  ``logit="kept"``: the forward pass does not change, only
    this gradient does (the stated aim: "setting the gradients from the correct classes to zero").
    ``logit="zeroed"``: the stated means, "multiplying the logits for the right classes by 0", which also changes the
    loss and the other classes' gradients.
    """

    logit: str = option("kept", choices=("kept", "zeroed"))

    def logits(self, logits_KBV: Tensor, labels_KB: Tensor) -> Tensor:
        classes_V = torch.arange(logits_KBV.shape[-1], device=logits_KBV.device)
        constant_KBV = logits_KBV.detach() if self.logit == "kept" else torch.zeros_like(logits_KBV)
        return torch.where(labels_KB.unsqueeze(-1) == classes_V, constant_KBV, logits_KBV)


@dataclass(frozen=True, kw_only=True)
class SwitchLoss(Intervention):
    """Use another loss from :attr:`at_step` on; the optimizer keeps its buffers."""

    to: Loss = option(example=MeanSquaredError(dtype="float64"))

    def loss(self, loss: Loss) -> Loss:
        return self.to


@dataclass(frozen=True, kw_only=True)
class SwitchOptimizer(Intervention):
    """Start another optimizer at :attr:`at_step`, and use another gradient rule if one is given."""

    restarts_optimizer: ClassVar[bool] = True

    to: Optimizer = option(example=SGD(momentum=0.5))
    to_gradient: GradientRule | None = option(None, example=OrthogonalGradient())

    def gradient(self, rule: GradientRule) -> GradientRule:
        return rule if self.to_gradient is None else self.to_gradient

    def optimizer(self, optimizer: Optimizer) -> Optimizer:
        return self.to


@dataclass(frozen=True, kw_only=True)
class SwitchPenalty(Intervention):
    """Use another penalty from :attr:`at_step` on, for example to switch one on; the optimizer keeps its buffers."""

    to: Penalty = option(example=L2(strength=0.01))

    def penalty(self, penalty: Penalty) -> Penalty:
        return self.to
