"""The one trainable that Ray Tune knows: a cohort at a time, in an actor that takes the next one when it is done."""

from typing import Any

from ray import tune

from trainables.runtime.cohort_run import CohortError, CohortRun, Provenance
from trainables.runtime.job import CohortJob
from trainables.runtime.rows import TrialStore

REPORT_EVERY_S = 2.0
JOB, STATUSES, STEPS_DONE = "job", "statuses", "steps_done"


class CohortTrainable(tune.Trainable):
    """Runs the job in its Tune config, a :class:`CohortJob` as text; the pipeline hands in the store and provenance.

    A result carries the members' :class:`~trainables.runtime.cohort_run.MemberStatus` and the updates made so far.
    Any error ends the actor: what it leaves behind (memory, a broken CUDA context) is no base for the next cohort.
    """

    def setup(  # type: ignore[override]  # tune.with_parameters adds the two
        self, config: dict[str, Any], store: TrialStore, provenance: Provenance
    ) -> None:
        self._store = store
        self._provenance = provenance
        self._run: CohortRun | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another cohort; :attr:`config` is already the new one."""
        self.cleanup()
        return True

    def cleanup(self) -> None:
        """Free what the cohort holds."""
        if self._run is not None:
            self._run.close()
        self._run = None

    def step(self) -> dict[str, Any]:
        """Train for a few seconds.

        :raises CohortError: for anything that goes wrong, by kind.
        """
        try:
            if self._run is None:
                job = CohortJob.from_text(self.config[JOB])
                self._run = CohortRun(job, store=self._store, provenance=self._provenance)
            statuses = self._run.run(REPORT_EVERY_S)
        except Exception as error:
            raise CohortError.of(error) from error
        return {STATUSES: statuses, STEPS_DONE: self._run.steps_done, "done": self._run.done}
