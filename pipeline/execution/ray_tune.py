"""The process in which Ray lives: Tune asks for cohorts, actors train them and commit, a callback returns them.

:class:`pipeline.execution.ray_process.RayProcess` starts it and answers it through a pipe.  Ray may end this process at
any time and write what it likes to its streams: the driver, its dispatcher and its screen are elsewhere.  Tune keeps no
state that matters: no checkpoints, no retries, no loggers.  The ledger has them.

The only module of the pipeline that imports Ray.
"""

import logging
import os
import pickle
import queue
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from pipeline.execution.ray_process import (
    FINISHED,
    Done,
    Failed,
    Joined,
    Next,
    Nowhere,
    Reported,
    Run,
    Settled,
    Start,
)
from pipeline.execution.ray_session import end_session
from pipeline.execution.resources import Resources, slots
from trainables.engine.errors import one_line
from trainables.runtime.rows import ErrorKind
from trainables.runtime.status import CohortError
from trainables.runtime.trainable import JOB, STATUSES, CohortTrainable

LOOK_EVERY_S = 5.0
KEY, NOT_ON = "key", "not_on"
"""In a Tune config, beside the job: its cohort key, and the nodes where it cannot run."""


def main(descriptor: int) -> None:
    """Serve the driver at the other end of a pipe."""
    os.set_inheritable(descriptor, False)  # Else Ray's processes would keep the pipe open.
    driver = _Driver(Connection(descriptor))
    try:
        start = driver.hear()
        _join(start)
    except Exception as error:  # Ray has a dozen classes of errors for this.
        driver.tell(Failed(f"{type(error).__name__}: {one_line(error)}"))
        return
    size = ray.cluster_resources()
    driver.tell(Joined(size.get("CPU", 1.0), size.get("GPU", 0.0)))
    run: Run = driver.hear()
    # One more for each, so that no worker waits; but nothing else limits what runs on a larger cluster.
    limited = start.address is not None and not run.grows
    _tune(driver, run, at_once=(1 if limited else 2) * (run.resources.workers or 1))
    if start.address is not None:
        ray.shutdown()
    driver.tell(Done())


class _Driver:
    """The driver, as this process sees it, which ends with it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="driver", daemon=True).start()

    def tell(self, message: Any) -> None:
        """Send a message."""
        self._connection.send(message)

    def hear(self) -> Any:
        """Wait for a message."""
        return self._heard.get()

    def _listen(self) -> None:
        try:
            while True:
                self._heard.put(self._connection.recv())
        except (EOFError, OSError):
            end_session(os.getsid(0))
            os._exit(1)


def _join(start: Start) -> None:
    """Join the cluster, or start one on this machine."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if start.address is not None:
        ray.init(address=start.address, runtime_env=start.runtime_env, **options)
    else:
        options |= {"include_dashboard": False, "_temp_dir": start.folder}
        ray.init(address="local", num_cpus=start.cpus, num_gpus=start.gpus, **options)
        from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE

        # The workers inherit these (AWS's keys are among them); if Tune sent them too, Ray would log them.
        for name in ENV_VARS_TO_PROPAGATE:
            os.environ.pop(name, None)
    logging.getLogger("ray").setLevel(logging.CRITICAL)


def _tune(driver: _Driver, run: Run, *, at_once: int) -> None:
    """Run until the driver has nothing left, as many cohorts at a time as the resources allow.

    :param at_once: how many cohorts Tune has at most, those that wait for resources included.
    """
    nodes = _Nodes(run.resources)
    searcher = _Searcher(driver, nodes)
    limiter = tune.search.ConcurrencyLimiter(searcher, max_concurrent=at_once)
    trainable = tune.with_resources(
        tune.with_parameters(CohortTrainable, store=run.store, provenance=run.provenance),
        partial(_request, run.resources),
    )
    tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=limiter,
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=_short_name,
            trial_dirname_creator=_short_name,
        ),
        run_config=tune.RunConfig(
            name="cohorts",
            storage_path=run.folder,
            verbose=0,
            callbacks=[_Callback(driver, searcher, nodes), *([_Growth(limiter, run.resources)] if run.grows else [])],
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    ).fit()


class _OfThisProcess:
    """Pickles to nothing: Tune writes its searcher and callbacks to disk, for a restore that never happens."""

    def __reduce__(self) -> tuple[type, tuple]:
        return object, ()


class _Nodes:
    """Which nodes lack what the cohorts of a key need."""

    def __init__(self, resources: Resources) -> None:
        wanted = {"CPU": resources.cpus_per_cohort, "GPU": resources.gpus_per_cohort}
        self._wanted = {name: amount for name, amount in wanted.items() if amount}
        self._lacking: dict[str, set[str]] = {}

    def lacking(self, key: str) -> list[str]:
        """The nodes on which cohorts of a key cannot run."""
        return sorted(self._lacking.get(key, ()))

    def drop(self, node: str, key: str) -> bool:
        """Run no more cohorts of a key on a node; return whether another one is left for them."""
        self._lacking.setdefault(key, set()).add(node)
        return any(
            other["Alive"]
            and other["NodeID"] not in self._lacking[key]
            and all(other["Resources"].get(name, 0.0) >= amount for name, amount in self._wanted.items())
            for other in ray.nodes()
        )


def _request(resources: Resources, config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """What Tune asks Ray for before it starts a cohort."""
    bundle = {"CPU": resources.cpus_per_cohort, "GPU": resources.gpus_per_cohort}
    if not config[NOT_ON]:
        return tune.PlacementGroupFactory([bundle])
    elsewhere = {"ray.io/node-id": f"!in({','.join(config[NOT_ON])})"}
    return tune.PlacementGroupFactory([bundle], bundle_label_selector=[elsewhere])


class _Searcher(_OfThisProcess, Searcher):
    """Hands out the driver's cohorts, as Tune asks for them."""

    def __init__(self, driver: _Driver, nodes: _Nodes) -> None:
        super().__init__()
        self._driver = driver
        self._nodes = nodes
        self.running: dict[str, int] = {}
        """The numbers of the cohorts that are running, by Tune's trial id."""

    def suggest(self, trial_id: str) -> Any:
        """Return the next cohort; None when there is none now, ``FINISHED`` when no more will come."""
        self._driver.tell(Next())
        answer = self._driver.hear()
        if answer is None:
            return None
        if answer == FINISHED:
            return Searcher.FINISHED
        self.running[trial_id], job, key = answer
        return {JOB: job, KEY: key, NOT_ON: self._nodes.lacking(key)}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Do nothing: the callback, which has the error, returns the cohort."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Save nothing: the ledger is the state."""


class _Callback(_OfThisProcess, tune.Callback):
    """Passes results on to the driver, and returns cohorts to it when they are done or have failed."""

    def __init__(self, driver: _Driver, searcher: _Searcher, nodes: _Nodes) -> None:
        self._driver = driver
        self._nodes = nodes
        self._running = searcher.running

    def on_trial_result(self, iteration: int, trials: list[Trial], trial: Trial, result: dict, **info: Any) -> None:
        """Pass on the members' states, every few seconds."""
        self._driver.tell(Reported(self._running[trial.trial_id], result[STATUSES]))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Return a cohort that is done."""
        self._driver.tell(Settled(self._running.pop(trial.trial_id)))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Return a cohort that has failed."""
        error = _error_of(trial)
        if error.kind == ErrorKind.LACKING and not self._nodes.drop(error.node, trial.config[KEY]):
            self._driver.tell(Nowhere(error.message))
        else:
            self._driver.tell(Settled(self._running.pop(trial.trial_id), error))


class _Growth(_OfThisProcess, tune.Callback):
    """Has Tune ask for more cohorts at a time when nodes have joined the cluster."""

    def __init__(self, limiter: tune.search.ConcurrencyLimiter, resources: Resources) -> None:
        self._limiter = limiter
        self._resources = resources
        self._next = 0.0

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Look at the cluster's size every few seconds."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LOOK_EVERY_S
            size, wanted = ray.cluster_resources(), self._resources
            here = slots(size.get("CPU", 1.0), size.get("GPU", 0.0), wanted.cpus_per_cohort, wanted.gpus_per_cohort)
            self._limiter.max_concurrent = 2 * here


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


if __name__ == "__main__":
    main(int(sys.argv[1]))
