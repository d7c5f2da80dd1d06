"""The grokking trial: one full-batch training run on an algorithmic task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from trainables.engine.cohort import GrokkingCohort
from trainables.engine.full_batch import FullBatchTrial


@dataclass(frozen=True, kw_only=True)
class GrokkingTrial(FullBatchTrial):
    """One full-batch training run on an algorithmic task."""

    @classmethod
    def build(cls, trials: Sequence[Self], device: str = "cpu") -> GrokkingCohort:
        """Build the cohort of these trials at step 0; see :meth:`TrialConfig.build`."""
        return GrokkingCohort(trials, device)
