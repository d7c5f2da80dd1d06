"""Cohorts one after the other in this process: the same contract as on Ray, for a debugger or a small machine."""

from contextlib import closing

from pipeline.execution.dispatch import Dispatcher
from trainables.runtime.cohort_run import CohortError, CohortRun, Provenance
from trainables.runtime.rows import Writer

REPORT_EVERY_S = 1.0


def run_local(dispatcher: Dispatcher, *, writer: Writer, provenance: Provenance, device: str) -> None:
    """Run until the dispatcher has nothing left; errors of a cohort go to it, as on Ray."""
    while dispatcher.open:
        cohort = dispatcher.next()
        if cohort is None:
            return
        try:
            run = CohortRun(
                cohort.trials,
                device=device,
                writer=writer,
                provenance=provenance,
                start_step=cohort.start_step,
                deadline=dispatcher.stop_at,
            )
            with closing(run):
                while not run.done:
                    dispatcher.reported(cohort, run.run(REPORT_EVERY_S))
        except Exception as error:  # Whatever it is, it is one cohort's: the others go on.
            dispatcher.settle(cohort, CohortError.of(error))
        else:
            dispatcher.settle(cohort)
