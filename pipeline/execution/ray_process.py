"""Cohorts on Ray, as the driver sees it: a process of its own has Ray and Tune, and asks for the cohorts.

Ray ends the process that it lives in when its daemons die, sometimes when it is shut down, and at a signal, with pages
of its own text.  Here that is a process which can be replaced: what ran is planned again from the ledger.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from pipeline.execution.dispatch import Dispatcher
from pipeline.execution.ray_environment import RayAddressError, variables
from pipeline.execution.ray_session import RayStartError, end_session, make_private_folder, ray_folder
from pipeline.execution.resources import Resources, slots
from trainables.engine.errors import GrokscapeError
from trainables.runtime.job import CohortJob
from trainables.runtime.own_modules import files_to_ship
from trainables.runtime.rows import ErrorKind, TrialStore
from trainables.runtime.status import CohortError, MemberStatus, Provenance

PROGRAM = "pipeline.execution.ray_tune"
RESTARTS = 2
FINISHED = "finished"
"""The answer to :class:`Next` when no more cohorts will come."""


class RayLostError(GrokscapeError):
    """Ray ended while cohorts were running."""


class _EndedError(Exception):
    """The process is gone."""


@dataclass(frozen=True)
class Start:
    """To the process: join a cluster, or start one."""

    address: str | None
    cpus: int
    gpus: int | None
    folder: str
    runtime_env: dict[str, Any]


@dataclass(frozen=True)
class Joined:
    """From the process: what the cluster has."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Failed:
    """From the process: it cannot join."""

    reason: str


@dataclass(frozen=True)
class Run:
    """To the process: run cohorts."""

    resources: Resources
    grows: bool
    store: TrialStore
    provenance: Provenance
    folder: str


@dataclass(frozen=True)
class Next:
    """From the process: a cohort, please.

    The answer is its number, text and cohort key, None for the moment, or FINISHED.
    """


@dataclass(frozen=True)
class Reported:
    """From the process: the states of the members of a cohort."""

    cohort: int
    statuses: Sequence[MemberStatus]


@dataclass(frozen=True)
class Settled:
    """From the process: a cohort is done, or has failed."""

    cohort: int
    error: CohortError | None = None


@dataclass(frozen=True)
class Nowhere:
    """From the process: no node has what the trials of a cohort need."""

    reason: str


@dataclass(frozen=True)
class Done:
    """From the process: nothing is left."""


class NodesLackError(GrokscapeError):
    """No node of the cluster has the data sets or modules that some trials need."""


class RayProcess:
    """A process that has joined a cluster, or started one on this machine.

    :param address: of the cluster, or None.
    :param cpus: of a cluster on this machine.
    :param gpus: of a cluster on this machine; None for those that it has.
    :param environment: variables for the workers of a cluster elsewhere; those of this machine inherit this process's.
    :raises RayAddressError: when the cluster rejects the connection.
    :raises RayStartError: when Ray does not start on this machine.
    """

    def __init__(
        self,
        address: str | None,
        *,
        cpus: int = 1,
        gpus: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._address = address
        self._folder = make_private_folder()
        runtime_env = {} if address is None else _runtime_env(environment or {})
        self._start = Start(address, cpus, gpus, str(ray_folder(self._folder)), runtime_env)
        self._restarts = 0
        self._keep_folder = False
        self._process: subprocess.Popen[bytes] | None = None
        self._running: dict[int, CohortJob] = {}
        self._handed_out = 0
        self._lacking: dict[str, str] = {}
        """What nodes lack, by node, until it is printed."""
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "RayProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def slots(self, resources: Resources) -> int:
        """How many cohorts the cluster can train at a time, as large as it was when we joined."""
        return slots(self._size.cpus, self._size.gpus, resources.cpus_per_cohort, resources.gpus_per_cohort)

    def run(
        self,
        dispatcher: Dispatcher,
        resources: Resources,
        *,
        grows: bool = False,
        store: TrialStore,
        provenance: Provenance,
    ) -> None:
        """Run until the dispatcher has nothing left, as many cohorts at a time as the resources allow.

        :param grows: run more at a time when nodes join the cluster.

        A Ray of this machine that ends is started again, at most twice, and what it ran is planned again.

        :raises RayLostError: when Ray ended once more, or the connection to a cluster.
        :raises NodesLackError: when no node has what some trials need.
        """
        run = Run(resources, grows, store, provenance, str(self._folder / "tune"))
        while True:
            try:
                self._tell(run)
                self._serve(dispatcher)
                return
            except _EndedError:
                lost = self._lost()
            self._end()
            for job in self._running.values():
                dispatcher.settle(job, CohortError(ErrorKind.LOST_WORKER, f"the worker was lost ({lost})"))
            self._running.clear()
            if not dispatcher.open:
                return
            self._restarts += 1
            if self._address is not None:
                raise RayLostError(f"--address {self._address}: {lost}; run the same command again to resume")
            if self._restarts > RESTARTS:
                self._keep_folder = True
                raise RayLostError(
                    f"{lost} for the {self._restarts}rd time, its logs are in {self._folder}; run the same command "
                    "again to resume"
                )
            print(f"warning: {lost}; starting it again, what it ran goes on", file=sys.stderr)
            self._open()

    def close(self) -> None:
        """Leave the cluster; a cluster of this machine ends with its workers."""
        self._end()
        if not self._keep_folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self) -> None:
        ours, theirs = Pipe()
        self._connection: Connection = ours
        path = os.pathsep.join(map(os.path.abspath, sys.path))
        with theirs, (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                # -P: with the modules of this process's path, no others.
                [sys.executable, "-P", "-m", PROGRAM, str(theirs.fileno())],
                env=os.environ | variables(self._address) | {"PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                # Ctrl-C and the end of the terminal are for the driver, and all that Ray starts stays in the session.
                start_new_session=True,
            )
        try:
            self._tell(self._start)
            answer = self._hear()
        except _EndedError:
            answer = Failed(self._lost())
        if isinstance(answer, Joined):
            self._size = answer
        elif self._address is None:
            self._keep_folder = True
            logs = f"its logs are in {self._folder}, and --local runs without it"
            raise RayStartError(f"Ray does not start on this machine: {answer.reason}; {logs}")
        else:
            raise RayAddressError(f"--address {self._address}: cannot join ({answer.reason})")

    def _serve(self, dispatcher: Dispatcher) -> None:
        """Answer the process until nothing is left.

        :raises _EndedError: when it has ended before.
        """
        # A process of ours is not needed any longer; one of a cluster leaves it first.
        while dispatcher.open or self._address is not None:
            match self._hear():
                case Next():
                    job = dispatcher.next()
                    if job is not None:
                        self._handed_out += 1
                        self._running[self._handed_out] = job
                        self._tell((self._handed_out, job.to_text(), job.trials[0].cohort_key))
                    else:
                        self._tell(None if dispatcher.open else FINISHED)
                case Reported(number, statuses):
                    self._warn_of_nodes()  # Some node has all: it is no longer an error of all of them.
                    dispatcher.reported(self._running[number], statuses)
                case Settled(number, error):
                    if error is not None and error.kind == ErrorKind.LACKING:
                        self._lacking.setdefault(error.node, error.message)
                    dispatcher.settle(self._running.pop(number), error)
                case Nowhere(reason):
                    raise NodesLackError(f"no node has what the trials need: {reason}")
                case Done():
                    return

    def _warn_of_nodes(self) -> None:
        """Say once of each node what it lacks."""
        for node, reason in self._lacking.items():
            if reason:
                print(f"warning: {reason}; its trials run on other nodes", file=sys.stderr)
                self._lacking[node] = ""

    def _tell(self, message: Any) -> None:
        try:
            self._connection.send(message)
        except OSError:
            raise _EndedError from None

    def _hear(self) -> Any:
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            raise _EndedError from None

    def _lost(self) -> str:
        """What is known of the end of the process, in a few words."""
        code = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(timeout=5)
        how = "" if code is None else f" (signal {-code})" if code < 0 else f" (exit code {code})"
        return f"Ray ended unexpectedly{how}"

    def _end(self) -> None:
        if self._process is not None:
            self._connection.close()
            end_session(self._process.pid)
            self._process.wait()


def _runtime_env(environment: Mapping[str, str]) -> dict[str, Any]:
    """What travels to a cluster's workers: variables, and the files of the user's own components."""
    files = files_to_ship()
    variables = {"env_vars": dict(environment)} if environment else {}
    return variables | ({"py_modules": list(files), "excludes": ["__pycache__"]} if files else {})
