"""Cohorts on Ray Tune: a searcher hands them out, actors train them and commit, a callback settles them.

The only module of the pipeline that imports Ray; call :func:`pipeline.execution.ray_environment.prepare` before.
Tune keeps no state that matters: no checkpoints, no retries, no loggers.  The ledger has them.
"""

import logging
import pickle
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from pipeline.execution.dispatch import Dispatcher
from pipeline.execution.ray_environment import RayAddressError
from pipeline.execution.resources import Resources, slots
from trainables.engine.errors import one_line
from trainables.runtime.cohort_run import CohortError, Provenance
from trainables.runtime.job import CohortJob
from trainables.runtime.own_modules import files_to_ship
from trainables.runtime.rows import ErrorKind, TrialStore
from trainables.runtime.trainable import JOB, STATUSES, CohortTrainable


def start(
    address: str | None, *, cpus: int, gpus: int | None = None, environment: Mapping[str, str] | None = None
) -> None:
    """Join the cluster at ``address``, or start one on this machine with ``cpus`` CPUs.

    A cluster's workers get the files of the user's own components.

    :param environment: variables for a cluster's workers; those of this machine inherit this process's.
    :raises RayAddressError: when the cluster rejects the connection.
    """
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address is None:
        ray.init(address="local", num_cpus=cpus, num_gpus=gpus, include_dashboard=False, **options)
    else:
        try:
            ray.init(address=address, runtime_env=_runtime_env(environment or {}), **options)
        except Exception as error:  # Ray has a dozen classes of errors for this.
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise RayAddressError(f"--address {address}: cannot join ({reason})") from None
    logging.getLogger("ray").setLevel(logging.CRITICAL)


def _runtime_env(environment: Mapping[str, str]) -> dict[str, Any]:
    """What travels to a cluster's workers: variables and modules."""
    files = files_to_ship()
    variables = {"env_vars": dict(environment)} if environment else {}
    return variables | ({"py_modules": list(files), "excludes": ["__pycache__"]} if files else {})


def stop() -> None:
    """Leave the cluster; a cluster of this machine ends with its workers."""
    ray.shutdown()


def cluster_slots(resources: Resources) -> int:
    """How many cohorts the cluster can train at a time, as large as it is now."""
    size = ray.cluster_resources()
    return slots(size.get("CPU", 1.0), size.get("GPU", 0.0), resources.cpus_per_cohort, resources.gpus_per_cohort)


def run_on_ray(dispatcher: Dispatcher, resources: Resources, *, store: TrialStore, provenance: Provenance) -> None:
    """Run until the dispatcher has nothing left, as many cohorts at a time as the resources allow."""
    searcher = _DispatchSearcher(dispatcher)
    trainable = tune.with_resources(
        tune.with_parameters(CohortTrainable, store=store, provenance=provenance),
        {"cpu": resources.cpus_per_cohort, "gpu": resources.gpus_per_cohort},
    )
    scratch = tempfile.mkdtemp(prefix="grokscape-tune-")
    try:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=tune.search.ConcurrencyLimiter(searcher, max_concurrent=2 * (resources.workers or 1)),
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=_short_name,
                trial_dirname_creator=_short_name,
            ),
            run_config=tune.RunConfig(
                name="cohorts",
                storage_path=scratch,
                verbose=0,
                callbacks=[_DispatchCallback(dispatcher, searcher)],
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _OfThisProcess:
    """Pickles to nothing: Tune writes its searcher and callbacks to disk, for a restore that never happens."""

    def __reduce__(self) -> tuple[type, tuple]:
        return object, ()


class _DispatchSearcher(_OfThisProcess, Searcher):
    """Hands out the dispatcher's queue, as Tune asks for it."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher
        self.jobs: dict[str, CohortJob] = {}
        """The cohorts that are running, by Tune's trial id."""

    def suggest(self, trial_id: str) -> Any:
        """Return the next cohort; None when there is none now, ``FINISHED`` when no more will come."""
        job = self._dispatcher.next()
        if job is None:
            return None if self._dispatcher.open else Searcher.FINISHED
        self.jobs[trial_id] = job
        return {JOB: job.to_text()}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Do nothing: the callback, which has the error, settles the cohort."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Save nothing: the ledger is the state."""


class _DispatchCallback(_OfThisProcess, tune.Callback):
    """Passes results on to the dispatcher, and returns cohorts to it when they are done or have failed."""

    def __init__(self, dispatcher: Dispatcher, searcher: _DispatchSearcher) -> None:
        self._dispatcher = dispatcher
        self._searcher = searcher

    def on_trial_result(self, iteration: int, trials: list[Trial], trial: Trial, result: dict, **info: Any) -> None:
        """Pass on the members' states, every few seconds."""
        self._dispatcher.reported(self._searcher.jobs[trial.trial_id], result[STATUSES])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Return a cohort that is done."""
        self._dispatcher.settle(self._searcher.jobs.pop(trial.trial_id))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Return a cohort that has failed."""
        self._dispatcher.settle(self._searcher.jobs.pop(trial.trial_id), _error_of(trial))


def _error_of(trial: Trial) -> CohortError:
    """What ended a Tune trial, by kind: as the trainable raised it, or the loss of its worker."""
    # The trial itself has the text of the exception only.
    path = Path(trial.pickled_error_file)
    error = pickle.loads(path.read_bytes()) if path.is_file() else None
    cause = getattr(error, "cause", None)
    if isinstance(cause, CohortError):
        return cause
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return CohortError(ErrorKind.OUT_OF_MEMORY, "the node ran out of memory and Ray killed the worker")
    text = "Ray Tune gave no reason" if error is None else one_line(error, 500)
    if isinstance(error, ray.exceptions.RayActorError | ray.exceptions.NodeDiedError):
        # Ray says only in words that it killed an actor to free memory.
        kind = ErrorKind.OUT_OF_MEMORY if "memory pressure" in text or "OutOfMemory" in text else ErrorKind.LOST_WORKER
        return CohortError(kind, f"the worker was lost ({text})")
    return CohortError(ErrorKind.ERROR, text)


def _short_name(trial: Trial) -> str:
    return str(trial.trial_id)
