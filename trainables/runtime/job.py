"""One cohort's work as it travels from the driver to whoever trains it: trials, where they start, on what, how long."""

import json
from dataclasses import dataclass

from trainables.engine.config import from_json
from trainables.engine.trial import TrialConfig
from trainables.runtime.own_modules import folders_of, import_modules, own_modules

CHECKPOINT_EVERY_S = 20.0


@dataclass(frozen=True, kw_only=True)
class CohortJob:
    """Trials to train in lock-step until each has ended, or the deadline has passed.

    ``CohortJob.from_text(job.to_text()) == job`` holds in any process that can import the trials' modules.
    """

    trials: tuple[TrialConfig, ...]
    """They share their cohort key, and so their horizon, measuring and stopping."""
    start_step: int = 0
    """0, or the step of every trial's checkpoint."""
    device: str
    """As torch names it."""
    deadline: float | None = None
    """A Unix time after which the cohort commits and ends, whatever is left to do."""
    checkpoint_every_s: float = CHECKPOINT_EVERY_S

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules of the trials' components outside the house; a worker imports them to read the trials."""
        return own_modules(type(component) for trial in self.trials for component in trial.components())

    def to_text(self) -> str:
        """The job as one JSON string, which is cheap for Ray Tune to copy, unlike a tree of values."""
        modules, trials = self.modules, [trial.to_json() for trial in self.trials]
        return json.dumps(vars(self) | {"modules": modules, "folders": folders_of(modules), "trials": trials})

    @classmethod
    def from_text(cls, text: str) -> "CohortJob":
        """Read a job, after importing :attr:`modules`.

        :raises ImportError: when one of them cannot be imported here.
        """
        values = json.loads(text)
        import_modules(values.pop("modules"), values.pop("folders"))
        return cls(**values | {"trials": tuple(from_json(trial) for trial in values["trials"])})
