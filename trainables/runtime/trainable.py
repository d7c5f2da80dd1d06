"""The one trainable that Ray Tune knows: a cohort at a time, in an actor that takes the next one when it is done."""

import json
from collections.abc import Sequence
from typing import Any

from ray import tune

from trainables.engine.config import from_json
from trainables.engine.trial import TrialConfig
from trainables.runtime.cohort_run import CohortError, CohortRun, MemberStatus, Provenance
from trainables.runtime.rows import Writer

REPORT_EVERY_S = 2.0
CHECKPOINT_EVERY_S = 20.0
STATUSES, STEPS_DONE = "statuses", "steps_done"


def cohort_config(
    trials: Sequence[TrialConfig], *, start_step: int, device: str, deadline: float | None = None
) -> dict[str, Any]:
    """A cohort as a Tune config: the trials are one text, so that Tune's copying and flattening stay cheap."""
    return {
        "trials": json.dumps([trial.to_json() for trial in trials]),
        "start_step": start_step,
        "device": device,
        "deadline": deadline,
        "checkpoint_every_s": CHECKPOINT_EVERY_S,
    }


class CohortTrainable(tune.Trainable):
    """Runs the cohort of :func:`cohort_config`; the writer and the provenance are handed in by the pipeline.

    A result carries the members' :class:`MemberStatus` and the updates made so far.  Any error ends the actor, as
    what it leaves behind (memory, a broken CUDA context) is not safe to build the next cohort on.
    """

    def setup(  # type: ignore[override]  # tune.with_parameters adds the two
        self, config: dict[str, Any], writer: Writer, provenance: Provenance
    ) -> None:
        self._writer = writer
        self._provenance = provenance
        self._run: CohortRun | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another cohort; :attr:`config` is already the new one."""
        self.cleanup()
        return True

    def cleanup(self) -> None:
        """Free what the cohort has."""
        if self._run is not None:
            self._run.close()
        self._run = None

    def step(self) -> dict[str, Any]:
        """Train for a few seconds.

        :raises CohortError: for anything that goes wrong, by kind.
        """
        try:
            if self._run is None:
                trials = [from_json(trial) for trial in json.loads(self.config["trials"])]
                self._run = CohortRun(
                    trials,  # type: ignore[arg-type]
                    device=self.config["device"],
                    writer=self._writer,
                    provenance=self._provenance,
                    start_step=self.config["start_step"],
                    deadline=self.config["deadline"],
                    checkpoint_every_s=self.config["checkpoint_every_s"],
                )
            statuses: list[MemberStatus] = self._run.run(REPORT_EVERY_S)
        except Exception as error:
            raise CohortError.of(error) from error
        return {STATUSES: statuses, STEPS_DONE: self._run.steps_done, "done": self._run.done}
