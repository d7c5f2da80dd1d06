"""The one trainable that Ray Tune knows: a cohort at a time, in an actor that takes the next one when it is done."""

import platform
from typing import Any

import ray
from ray import tune

from trainables.data.folder import DataMissingError
from trainables.engine.errors import one_line
from trainables.runtime.cohort_run import CohortRun
from trainables.runtime.job import CohortJob
from trainables.runtime.rows import ErrorKind, TrialStore
from trainables.runtime.status import CohortError, Provenance

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
                self._run = self._started()
            statuses = self._run.run(REPORT_EVERY_S)
        except CohortError:
            raise
        except Exception as error:
            raise CohortError.of(error) from error
        return {STATUSES: statuses, STEPS_DONE: self._run.steps_done, "done": self._run.done}

    def _started(self) -> CohortRun:
        """The run of the job; an error that another node need not have says which node this is."""
        try:
            job = CohortJob.from_text(self.config[JOB])
            return CohortRun(job, store=self._store, provenance=self._provenance)
        except (DataMissingError, ImportError) as error:
            place = f"node {platform.node()} ({ray.util.get_node_ip_address()})"
            lacking = CohortError(ErrorKind.LACKING, f"{place}: {one_line(error, 1000)}")
            lacking.node = ray.get_runtime_context().get_node_id()
            raise lacking from error
