"""The grokking trial: what it is made of, and the cohort that it builds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from trainables.engine.cohort import GrokkingCohort
from trainables.engine.config import option
from trainables.engine.gradients import GradientRule, PlainGradient
from trainables.engine.losses import Loss, SoftmaxCrossEntropy
from trainables.engine.models import MLP, Model
from trainables.engine.optimizers import AdamW, Optimizer
from trainables.engine.probes import STANDARD, Probe
from trainables.engine.tasks import Task
from trainables.engine.trial import TrialConfig


@dataclass(frozen=True, kw_only=True)
class GrokkingTrial(TrialConfig):
    """One full-batch training run on an algorithmic task."""

    task: Task = option()
    model: Model = option(MLP())
    loss: Loss = option(SoftmaxCrossEntropy())
    gradient: GradientRule = option(PlainGradient())
    optimizer: Optimizer = option(AdamW())
    probes: tuple[Probe, ...] = option(STANDARD, demand=True)

    @classmethod
    def build(cls, trials: Sequence[Self], device: str = "cpu") -> GrokkingCohort:
        """The cohort of these trials at step 0; see :meth:`TrialConfig.build`."""
        return GrokkingCohort(trials, device)

    def flops_per_step(self) -> float:
        """One forward and one backward pass over the training rows."""
        return 3.0 * self.task.train_rows * self.model.flops_per_row(self.task)

    def data_fingerprint(self) -> str:
        """A digest of the training and test rows of this split."""
        return self.task.fingerprint(self.seeds)
