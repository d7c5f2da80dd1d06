"""The leases that this process takes: claim trials, renew the claim while they train, give it up.

A file system and an object store have no compare-and-swap in common, but both show a file as soon as it is written.
That is enough for mutual exclusion (Lamport 1974, "A new solution of Dijkstra's concurrent programming problem"): a
driver first writes what it asks for, then reads what all others hold and ask for.  Of two that ask for one trial the
one whose name comes first waits until the other, which yields, has decided.  Only a driver that stopped renewing, and
goes on after others took its trials over, trains something twice; the ledger takes both copies.
"""

import signal
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from os import getpid
from socket import gethostname
from typing import Self
from uuid import uuid4

from pipeline.ledger import Ledger, LedgerError
from pipeline.ledger.files import Entry, open_files
from pipeline.ledger.layout import CANCEL
from pipeline.sharing.lease import RENEW_EVERY_S, STALE_S, Lease, RunProgress, lease_files, read_leases, this_place

FORGET_S = 3600.0
"""The file of a driver that has ended, or was killed, is deleted at this age by a driver that starts."""
LOOK_AGAIN_S = 0.05
"""How long to wait for a driver that asks for the same trials."""


class Leases:
    """The lease of this process on trials of a ledger, renewed by a thread during a ``with`` block.

    Make the plan inside the block: whoever takes trials from then on is noticed.
    """

    def __init__(self, ledger: Ledger, sweep: str) -> None:
        self.progress = RunProgress()
        """What to say of the run at the next renewal."""
        self.cancelled = False
        """Whether somebody has asked through the ledger that this run end: the main thread is interrupted, and a run in
        another thread has to look here."""
        self._in_main_thread = threading.current_thread() is threading.main_thread()
        self._files = open_files(ledger.uri)
        self._lease = Lease(
            driver=uuid4().hex,
            sweep=sweep,
            host=gethostname(),
            pid=getpid(),
            place=this_place(),
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
        self._held: frozenset[str] = frozenset()
        self._asked: frozenset[str] = frozenset()
        self._started_s = 0.0
        """When the lease was written first, on the store's clock."""
        self._before: frozenset[str] = frozenset()
        """The drivers that had ended, or were known to be gone, by then: the plan has what they left."""
        self._written_at = 0.0
        self._writing = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._write()
        self._started_s, others = self._others()
        recent = read_leases(self._files, others, self._started_s - STALE_S)
        self._before = frozenset(lease.driver for lease in recent if lease.gone)
        for entry in others.values():
            if self._started_s - entry.modified_s > FORGET_S:
                for path in (entry.path, f"{entry.path.removesuffix('json')}{CANCEL}"):
                    self._files.delete(path)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._over.is_set():
            self.end()

    def end(self) -> None:
        """Give everything up, before the block ends."""
        self._over.set()
        self._thread.join()
        self._held = frozenset()
        with suppress(LedgerError):  # It goes stale by itself.
            self._write(ended=True)

    def claim(self, trial_ids: Collection[str]) -> frozenset[str]:
        """Take those of these trials that no other driver holds; return them, with those that were held before.

        :raises LedgerError: when the ledger's files cannot be read or written.
        """
        self._asked = frozenset(trial_ids) - self._held
        if self._asked:
            try:
                self._write()
                while self._contested(self.others()):
                    time.sleep(LOOK_AGAIN_S)
                self._held |= self._asked
            finally:
                self._asked = frozenset()
                self._write()
        return frozenset(trial_ids) & self._held

    def release(self, trial_ids: Collection[str], *, tell: bool = False) -> None:
        """Give trials up; others learn of it at once with ``tell``, or else at the next renewal."""
        self._held -= frozenset(trial_ids)
        if tell:
            self._write()

    def others(self) -> list[Lease]:
        """The leases of the other drivers that are at work on this ledger, whatever their sweep."""
        now_s, others = self._others()
        return [lease for lease in read_leases(self._files, others, now_s - STALE_S) if not lease.gone]

    def undisturbed(self) -> bool:
        """Whether no other driver has been at work on this ledger since the block began, so that a plan still holds."""
        _, others = self._others()
        since_s = self._started_s - STALE_S
        return not any(entry.modified_s > since_s and driver not in self._before for driver, entry in others.items())

    def _contested(self, others: Sequence[Lease]) -> bool:
        """Ask no longer for what others hold, or ask for with the earlier name; return whether later ones still ask."""
        for other in others:
            self._asked -= frozenset(other.trials)
            if other.driver < self._lease.driver:
                self._asked -= frozenset(other.asks)
        return any(self._asked & frozenset(other.asks) for other in others)

    def _others(self) -> tuple[float, dict[str, Entry]]:
        """The time on the store's clock, which dates all leases, and the files of other drivers."""
        others = lease_files(self._files)
        own = others.pop(self._lease.driver, None)
        return (own.modified_s + time.monotonic() - self._written_at if own else time.time()), others

    def _write(self, *, ended: bool = False) -> None:
        with self._writing:
            trials, asks = tuple(sorted(self._held)), tuple(sorted(self._asked))
            self._lease = replace(self._lease, trials=trials, asks=asks, ended=ended, progress=self.progress)
            self._files.put(self._lease.path, self._lease.to_json())
            self._written_at = time.monotonic()

    def _renew(self) -> None:
        """Renew the lease until the block ends; end the run if somebody asks for it."""
        while not self._over.wait(RENEW_EVERY_S):
            with suppress(LedgerError):  # The next renewal may succeed; the workers' commits say what is wrong.
                self._write()
                if not self.cancelled and self._files.exists(self._lease.cancel_path):
                    self.cancelled = True
                    self._files.delete(self._lease.cancel_path)
                    if self._in_main_thread:
                        _end_this_process()


def _end_this_process() -> None:
    """Interrupt the main thread as ``kill`` does, or as Ctrl-C does where nobody listens to that."""
    number = signal.SIGTERM if callable(signal.getsignal(signal.SIGTERM)) else signal.SIGINT
    signal.pthread_kill(threading.main_thread().ident or 0, number)
