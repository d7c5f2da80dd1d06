"""One trial on several devices: a process for each, with torch's DistributedDataParallel among them.

The process that has the cohort leads.  It starts the others, which build the same trial from its JSON, hands them its
state and tells them what to do, command by command; each takes its share of every batch.  The leader alone measures
and writes checkpoints, so that the others have nothing to lose: after a lack of memory in any of them all are ended,
and started again from the leader's state with fewer rows at a time.

No process outlives the leader, and the leader does not wait for one that is gone.
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

from trainables.baselines.devices.group import PATIENCE, Group, world
from trainables.baselines.devices.memory import is_out_of_memory
from trainables.engine.config import Config, from_json

JOIN, PROPOSE, MAKE, WITHDRAW = "join", "propose", "make", "withdraw"
"""The commands.  The first two are answered when they are done."""
DONE, OUT_OF_MEMORY, GONE, FAILED, SILENT = "done", "out of memory", "gone", "failed", "silent"
"""The answers; when several went wrong, the first of these is the cause of the others."""
GRACE_S = 5.0
"""How long the others get to say what went wrong, once something did, or to end when they are told to."""


class LostProcessError(RuntimeError):
    """A process of the trial is gone: whoever has the trial's checkpoint goes on from it."""


class Member(Protocol):
    """What a follower's cohort does."""

    def follow(self, command: str, *arguments: Any) -> None:
        """One of the commands."""


def devices(device: str) -> int:
    """How many devices a trial on ``device`` is spread over: every GPU that is visible for "cuda", else one."""
    return max(1, torch.cuda.device_count()) if device == "cuda" else 1


class Followers:
    """The other processes of a trial, as its leader has them."""

    def __init__(self, group: Group, device: torch.device, member: Callable[..., Member], trial: Config) -> None:
        """
        :param member: makes a follower's cohort: ``member([trial], device, group=group)``.  Picklable.
        """
        self._group, self._device, self._member, self._trial = group, device, member, trial.to_json()
        self._processes: list[BaseProcess] = []
        self._connections: list[Connection] = []
        weakref.finalize(self, _end, group, self._processes, self._connections, at_once=True)

    @property
    def running(self) -> bool:
        """Whether they are there."""
        return bool(self._processes)

    @contextmanager
    def gathered(self, state: bytes) -> Iterator[None]:
        """Start them, and have all meet and go on from a state; inside, the leader's part of that.

        :raises: as :meth:`together`.
        """
        self._start()
        store = self._group.open()
        with self.together(JOIN, store.port, state):
            self._group.join(self._device, store)
            if self._device.type == "cuda":
                sentinels = [process.sentinel for process in self._processes]
                threading.Thread(target=_abort_when_one_ends, args=(sentinels, world()), daemon=True).start()
            yield

    def _start(self) -> None:
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

    def tell(self, command: str, *arguments: Any) -> None:
        """Give a command that is not answered, if they are there.

        :raises LostProcessError: when one of them is not.
        """
        try:
            for connection in self._connections:
                connection.send((command, *arguments))
        except OSError:
            self._raise(self._answers(GRACE_S))

    @contextmanager
    def together(self, command: str, *arguments: Any) -> Iterator[None]:
        """Give a command that is answered, and do the leader's part of it inside.

        :raises LostProcessError, RuntimeError, torch.OutOfMemoryError: what went wrong in any process; none is left
            but the leader then.
        """
        self.tell(command, *arguments)
        try:
            yield
        except Exception as error:
            # An error here may be the echo of one there.
            answers = [] if is_out_of_memory(error) else self._answers(GRACE_S)
            self._raise([answer for answer in answers if answer[0] != SILENT])
            self.stop(at_once=True)
            raise
        self._raise(self._answers(PATIENCE.total_seconds()))

    def stop(self, *, at_once: bool = False) -> None:
        """End them, and free what they had.

        :param at_once: they may be waiting for one that is gone.
        """
        _end(self._group, self._processes, self._connections, at_once=at_once)

    def _answers(self, at_most_s: float | None) -> list[tuple[str, str]]:
        """One answer of each, with what it says; after one that is bad the others get ``GRACE_S``."""
        ranks = {connection: rank for rank, connection in enumerate(self._connections, start=1)}
        until = None if at_most_s is None else time.monotonic() + at_most_s
        found: list[tuple[str, str]] = []
        while ranks:
            ready = wait(list(ranks), None if until is None else max(0.0, until - time.monotonic()))
            if not ready:
                return found + [(SILENT, f"process {rank}: did not answer") for rank in ranks.values()]
            for connection in ready:
                assert isinstance(connection, Connection)
                rank = ranks.pop(connection)
                try:
                    kind, text = connection.recv()
                except (EOFError, OSError):
                    kind, text = GONE, _how_it_ended(self._processes[rank - 1])
                found.append((kind, f"process {rank} of the trial's {self._group.size}: {text}"))
                if kind != DONE:
                    soon = time.monotonic() + GRACE_S
                    until = soon if until is None else min(until, soon)
        return found

    def _raise(self, answers: list[tuple[str, str]]) -> None:
        """Raise the cause of what went wrong, if anything did, and end all."""
        for wrong in (OUT_OF_MEMORY, GONE, FAILED, SILENT):
            for kind, text in answers:
                if kind == wrong:
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


def _how_it_ended(process: BaseProcess) -> str:
    process.join(GRACE_S)
    code = process.exitcode
    if code is None:
        return "closed its connection"
    return f"is gone (signal {signal.Signals(-code).name})" if code < 0 else f"is gone (exit code {code})"


def _abort_when_one_ends(sentinels: list[int], joined: ProcessGroup | None) -> None:
    """End what waits for a process that is gone, in every thread: NCCL does not notice by itself."""
    wait(sentinels)
    if joined is not None and joined is world():
        joined.abort()


def _follow(
    connection: Connection, member: Callable[..., Member], trial: dict[str, Any], rank: int, size: int, device: str
) -> None:
    """A follower, from its beginning to its end."""
    threading.Thread(target=_end_with_the_leader, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The leader hears it too, and ends all.
    torch.set_num_threads(1)
    try:
        if device != "cpu":
            torch.cuda.set_device(device)
        group = Group(rank, size)
        cohort = member([from_json(trial)], device, group=group)
        connection.send((DONE, ""))
        while (command := connection.recv()) is not None:
            cohort.follow(*command)
            if command[0] in (JOIN, PROPOSE):
                connection.send((DONE, ""))
    except EOFError:
        os._exit(1)
    except Exception as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        connection.send((OUT_OF_MEMORY if is_out_of_memory(error) else FAILED, text))
        # At once: the others may be waiting for this one.
        os._exit(1)
    group.leave(at_once=False)


def _end_with_the_leader() -> None:
    leader = multiprocessing.parent_process()
    assert leader is not None
    leader.join()
    os._exit(1)
