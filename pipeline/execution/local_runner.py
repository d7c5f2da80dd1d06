"""Cohorts one after the other in this process: the same contract as on Ray, for a debugger or a small machine."""

import time
from contextlib import closing

from pipeline.execution.dispatch import Dispatcher
from trainables.runtime.cohort_run import CohortRun
from trainables.runtime.job import CohortJob
from trainables.runtime.rows import TrialStore
from trainables.runtime.status import CohortError, Provenance

REPORT_EVERY_S = 1.0


def run_local(dispatcher: Dispatcher, *, store: TrialStore, provenance: Provenance) -> None:
    """Run until the dispatcher has nothing left; it handles the errors of a cohort, as on Ray."""
    while dispatcher.open:
        job = dispatcher.next()
        if job is not None:
            dispatcher.settle(job, _trained(job, dispatcher, store, provenance))
        elif dispatcher.open:  # Another driver trains the rest.
            time.sleep(REPORT_EVERY_S)


def _trained(job: CohortJob, dispatcher: Dispatcher, store: TrialStore, provenance: Provenance) -> CohortError | None:
    """Train a cohort to its end, or to its error; either way its memory is free for the next one."""
    try:
        with closing(CohortRun(job, store=store, provenance=provenance)) as run:
            while not run.done:
                dispatcher.reported(job, run.run(REPORT_EVERY_S))
    except Exception as error:  # Any error concerns this cohort only: continue with the others.
        return CohortError.of(error)
    return None
