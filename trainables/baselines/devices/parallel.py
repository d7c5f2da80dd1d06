"""One trial on several devices: one process per device, connected by torch's DistributedDataParallel.

The process that holds the cohort leads.  It starts the others (the followers), which build the same trial from its
JSON, sends them its state, and then sends commands; each process trains on its share of every batch.  Only the leader
measures and writes checkpoints, so followers can be ended at any time: when one runs out of memory, the leader ends all
and starts them again from its own state, with fewer rows at a time.

No process outlives the leader, and the leader does not wait for a process that has ended.
"""

import multiprocessing
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import torch
from torch.distributed import ProcessGroup

from trainables.baselines.devices.group import TIMEOUT, Group, world
from trainables.engine.config import Config
from trainables.engine.errors import LostProcessError, is_out_of_memory, one_line

JOIN, PROPOSE, APPLY, WITHDRAW = "join", "propose", "apply", "withdraw"
"""The commands.  Followers answer the first two when they are done."""
DONE, OUT_OF_MEMORY, GONE, FAILED, SILENT = "done", "out of memory", "gone", "failed", "silent"
"""The answers.  When several processes fail, the failure that comes first here is the cause of the others."""
GRACE_S = 5.0
"""How long followers may take to report a failure after another one failed, or to exit when the leader ends them."""


class Member(Protocol):
    """The cohort of a follower."""

    def follow(self, command: str, *arguments: Any) -> None:
        """Run a command of the leader."""


def devices(device: str) -> int:
    """Return the number of devices that a trial on ``device`` uses: all visible GPUs for "cuda", else one."""
    return max(1, torch.cuda.device_count()) if device == "cuda" else 1


class Followers:
    """The followers of a trial, as its leader controls them."""

    def __init__(self, group: Group, device: torch.device, member: Callable[..., Member], trial: Config) -> None:
        """
        :param member: builds a follower's cohort, ``member([trial], device, group=group)``; must be picklable.
        """
        self._group, self._device, self._member, self._trial = group, device, member, trial
        self._processes: list[BaseProcess] = []
        self._connections: list[Connection] = []
        weakref.finalize(self, _end, group, self._processes, self._connections, at_once=True)

    @property
    def running(self) -> bool:
        """Whether the followers have been started."""
        return bool(self._processes)

    @contextmanager
    def start(self, state: bytes) -> Iterator[None]:
        """Start the followers, join the group and send them a state; the leader does its part in the ``with`` block.

        :raises: as :meth:`together`.
        """
        self._spawn()
        store = self._group.open()
        with self.together(JOIN, store.port, state):
            self._group.join(self._device, store)
            if self._device.type == "cuda":
                sentinels = [process.sentinel for process in self._processes]
                threading.Thread(target=_abort_when_one_ends, args=(sentinels, world()), daemon=True).start()
            yield

    def _spawn(self) -> None:
        context = multiprocessing.get_context("spawn")
        for rank in range(1, self._group.size):
            ours, theirs = context.Pipe()
            device = f"cuda:{rank}" if self._device.type == "cuda" else "cpu"
            process = context.Process(
                target=_follow,
                args=(theirs, self._member, self._trial, rank, self._group.size, device),
                name=f"process {rank} of the trial",
                daemon=True,
            )
            process.start()
            theirs.close()
            self._processes.append(process)
            self._connections.append(ours)
        self._raise(self._answers(None))

    def send(self, command: str, *arguments: Any) -> None:
        """Send a command without waiting for an answer; do nothing without followers.

        :raises LostProcessError: when a follower is gone.
        """
        try:
            for connection in self._connections:
                connection.send((command, *arguments))
        except OSError:
            self._raise(self._answers(GRACE_S))

    @contextmanager
    def together(self, command: str, *arguments: Any) -> Iterator[None]:
        """Send a command, do the leader's part of it in the ``with`` block, then wait for the answers.

        :raises LostProcessError, RuntimeError, torch.OutOfMemoryError: the failure of any process, after ending all
            followers.
        """
        self.send(command, *arguments)
        try:
            yield
        except Exception as error:
            # An error in the leader may be a consequence of one in a follower: let the followers answer first.
            answers = [] if is_out_of_memory(error) else self._answers(GRACE_S)
            self._raise([answer for answer in answers if answer[0] != SILENT])
            self.stop(at_once=True)
            raise
        self._raise(self._answers(TIMEOUT.total_seconds()))

    def stop(self, *, at_once: bool = False) -> None:
        """End the followers and free their resources.

        :param at_once: kill them, because they may be waiting for a process that is gone.
        """
        _end(self._group, self._processes, self._connections, at_once=at_once)

    def _answers(self, at_most_s: float | None) -> list[tuple[str, str]]:
        """Collect one answer per follower, with its text; after a failure the others have ``GRACE_S`` left."""
        ranks = {connection: rank for rank, connection in enumerate(self._connections, start=1)}
        until = None if at_most_s is None else time.monotonic() + at_most_s
        answers: list[tuple[str, str]] = []
        while ranks:
            ready = wait(list(ranks), None if until is None else max(0.0, until - time.monotonic()))
            if not ready:
                return answers + [(SILENT, f"process {rank}: did not answer") for rank in ranks.values()]
            for connection in ready:
                assert isinstance(connection, Connection)
                rank = ranks.pop(connection)
                try:
                    kind, text = connection.recv()
                except (EOFError, OSError):
                    kind, text = GONE, _exit_reason(self._processes[rank - 1])
                answers.append((kind, f"process {rank} of the trial's {self._group.size}: {text}"))
                if kind != DONE:
                    soon = time.monotonic() + GRACE_S
                    until = soon if until is None else min(until, soon)
        return answers

    def _raise(self, answers: list[tuple[str, str]]) -> None:
        """If any process failed, end all followers and raise the cause."""
        for failure in (OUT_OF_MEMORY, GONE, FAILED, SILENT):
            for kind, text in answers:
                if kind == failure:
                    self.stop(at_once=True)
                    if kind == OUT_OF_MEMORY:
                        raise torch.OutOfMemoryError(text)
                    raise RuntimeError(text) if kind == FAILED else LostProcessError(text)


def _end(group: Group, processes: list[BaseProcess], connections: list[Connection], *, at_once: bool) -> None:
    for process, connection in zip(processes, connections, strict=True):
        if at_once:
            process.kill()
        else:
            try:
                connection.send(None)
            except OSError:
                process.kill()
    if processes:
        group.leave(at_once=at_once)
    until = time.monotonic() + GRACE_S
    for process, connection in zip(processes, connections, strict=True):
        process.join(max(0.0, until - time.monotonic()))
        if process.exitcode is None:
            process.kill()
            process.join()
        process.close()
        connection.close()
    processes.clear()
    connections.clear()


def _exit_reason(process: BaseProcess) -> str:
    process.join(GRACE_S)
    code = process.exitcode
    if code is None:
        return "closed its connection"
    return f"is gone (signal {signal.Signals(-code).name})" if code < 0 else f"is gone (exit code {code})"


def _abort_when_one_ends(sentinels: list[int], joined: ProcessGroup | None) -> None:
    """Abort the group's communication, in every thread, when a process ends: NCCL does not notice by itself."""
    wait(sentinels)
    if joined is not None and joined is world():
        joined.abort()


def _follow(
    connection: Connection, member: Callable[..., Member], trial: Config, rank: int, size: int, device: str
) -> None:
    """Run a follower's process."""
    threading.Thread(target=_exit_with_leader, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The leader receives it too, and ends the followers.
    torch.set_num_threads(1)
    try:
        if device != "cpu":
            torch.cuda.set_device(device)
        group = Group(rank, size)
        cohort = member([trial], device, group=group)
        connection.send((DONE, ""))
        while (command := connection.recv()) is not None:
            cohort.follow(*command)
            if command[0] in (JOIN, PROPOSE):
                connection.send((DONE, ""))
    except EOFError:
        os._exit(1)
    except Exception as error:
        text = f"{type(error).__name__}: {one_line(error, 500)}"
        connection.send((OUT_OF_MEMORY if is_out_of_memory(error) else FAILED, text))
        # Exit at once, because other processes may be waiting for this one.
        os._exit(1)
    group.leave(at_once=False)


def _exit_with_leader() -> None:
    leader = multiprocessing.parent_process()
    assert leader is not None
    leader.join()
    os._exit(1)
