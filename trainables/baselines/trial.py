"""The mini-batch trial: the base of the trial kinds that train a ``torch.nn`` network on mini-batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from trainables.baselines.cohort import BatchCohort
from trainables.baselines.settings import BatchSettings


@dataclass(frozen=True, kw_only=True)
class BatchTrial(BatchSettings):
    """Base of the trials that train on mini-batches, each in a cohort of one."""

    @classmethod
    def build(cls, trials: Sequence[Self], device: str = "cpu") -> BatchCohort:
        """Build the cohort of the one trial at step 0; see :meth:`TrialConfig.build`."""
        return BatchCohort(trials, device)
