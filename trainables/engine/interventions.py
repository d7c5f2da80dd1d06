"""Interventions: what is changed in the middle of a run, from a given step on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.engine.config import Config, option
from trainables.engine.gradients import GradientRule, OrthogonalGradient
from trainables.engine.losses import Loss, MeanSquaredError
from trainables.engine.optimizers import SGD, Optimizer


@dataclass(frozen=True, kw_only=True)
class Intervention(Config):
    """Base of the interventions.  Whatever a method does not change it returns as it is."""

    at_step: int = option(at_least=0, example=3)
    """The first step whose update is made in the new way; the weights up to this step are those of the control."""

    def loss(self, loss: Loss) -> Loss:
        """The loss from :attr:`at_step` on."""
        return loss

    def gradient(self, rule: GradientRule) -> GradientRule:
        """The gradient rule from :attr:`at_step` on."""
        return rule

    def optimizer(self, optimizer: Optimizer) -> Optimizer:
        """The optimizer from :attr:`at_step` on."""
        return optimizer

    @property
    def restarts_optimizer(self) -> bool:
        """Whether the optimizer begins anew at :attr:`at_step`: empty buffers, and a step count of its own."""
        return False

    def logits(self, logits_KBV: Tensor, labels_KB: Tensor) -> Tensor:
        """The logits that the loss is computed from at training, from :attr:`at_step` on."""
        return logits_KBV


@dataclass(frozen=True, kw_only=True)
class NoIntervention(Intervention):
    """Nothing is changed."""

    at_step: int = option(0, choices=(0,))


@dataclass(frozen=True, kw_only=True)
class ZeroTrueClassGradient(Intervention):
    """The gradient with respect to the true class's logit is exactly zero: the collapse of every row by hand.

    Prieto et al. 2025, App. B.1 and Fig. 8, in two readings.  ``logit="kept"``: the forward pass is what it was, and
    nothing but this gradient changes ("setting the gradients from the correct classes to zero", which is what it is
    for).  ``logit="zeroed"``: the text's "multiplying the logits for the right classes by 0", which changes the loss
    and the other classes' gradients too.
    """

    logit: str = option("kept", choices=("kept", "zeroed"))

    def logits(self, logits_KBV: Tensor, labels_KB: Tensor) -> Tensor:
        classes_V = torch.arange(logits_KBV.shape[-1], device=logits_KBV.device)
        constant_KBV = logits_KBV.detach() if self.logit == "kept" else torch.zeros_like(logits_KBV)
        return torch.where(labels_KB.unsqueeze(-1) == classes_V, constant_KBV, logits_KBV)


@dataclass(frozen=True, kw_only=True)
class SwitchLoss(Intervention):
    """Another loss from :attr:`at_step` on; the optimizer goes on with its buffers."""

    to: Loss = option(example=MeanSquaredError(dtype="float64"))

    def loss(self, loss: Loss) -> Loss:
        return self.to


@dataclass(frozen=True, kw_only=True)
class SwitchOptimizer(Intervention):
    """Another optimizer from :attr:`at_step` on, which begins anew, and another gradient rule if one is given."""

    to: Optimizer = option(example=SGD(momentum=0.5))
    to_gradient: GradientRule | None = option(None, example=OrthogonalGradient())

    def gradient(self, rule: GradientRule) -> GradientRule:
        return rule if self.to_gradient is None else self.to_gradient

    def optimizer(self, optimizer: Optimizer) -> Optimizer:
        return self.to

    @property
    def restarts_optimizer(self) -> bool:
        return True
