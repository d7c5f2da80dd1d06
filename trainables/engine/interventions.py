"""Interventions: what is changed in the middle of a run, from a given step on."""

from dataclasses import dataclass

from torch import Tensor

from trainables.engine.config import Config, option
from trainables.engine.gradients import GradientRule
from trainables.engine.losses import Loss
from trainables.engine.optimizers import Optimizer


@dataclass(frozen=True, kw_only=True)
class Intervention(Config):
    """Base of the interventions.  Whatever a method does not change it returns as it is."""

    at_step: int = option(at_least=0)
    """The first step whose update is made in the new way; the weights up to this step are those of the control."""

    def loss(self, loss: Loss) -> Loss:
        """The loss from :attr:`at_step` on."""
        return loss

    def gradient(self, rule: GradientRule) -> GradientRule:
        """The gradient rule from :attr:`at_step` on."""
        return rule

    def optimizer(self, optimizer: Optimizer) -> Optimizer:
        """The optimizer from :attr:`at_step` on; another one begins with empty buffers and a step count of its own."""
        return optimizer

    def logits(self, logits_KBV: Tensor, labels_KB: Tensor) -> Tensor:
        """The logits that the loss is computed from at training, from :attr:`at_step` on."""
        return logits_KBV


@dataclass(frozen=True, kw_only=True)
class NoIntervention(Intervention):
    """Nothing is changed."""

    at_step: int = option(0, choices=(0,))
