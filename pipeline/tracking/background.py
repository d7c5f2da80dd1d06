"""A thread that keeps MLflow up to date while a sweep runs, without delaying it or raising."""

import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from pipeline.ledger import Ledger
from pipeline.tracking.client import TrackingError
from pipeline.tracking.mirror import Mirror, SyncReport, sync
from trainables.engine.errors import one_line, redact

FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 120.0
"""How long the thread waits after a failure of the server; doubled with every failure."""


class BackgroundSync:
    """Syncs to MLflow from a thread of its own while a sweep runs, without delaying it or raising.

    After a failure it waits before the next attempt, longer each time; :meth:`close` tries once more.
    """

    def __init__(self, ledger: Ledger, sweep_name: str, uri: str) -> None:
        self._ledger, self._sweep_name, self._uri = ledger, sweep_name, uri
        self._waiting: set[str] = set()
        self._closing = False
        self._changed = threading.Condition()
        self._figures: tuple[Path, ...] = ()
        self._answer = ""
        self._result: SyncReport | TrackingError | None = None
        self._thread = threading.Thread(target=self._run, name="mlflow-sync", daemon=True)
        self._thread.start()

    def reported(self, job: object, statuses: object) -> None:
        """Do nothing: MLflow gets trials that have ended; see :class:`pipeline.execution.dispatch.Watcher`."""

    def ended(self, states: Collection[str]) -> None:
        """Queue these trials, by id, to be written; return at once."""
        with self._changed:
            self._waiting.update(states)
            self._changed.notify()

    def elsewhere(self, leases: object, states: Collection[str]) -> None:
        """Do nothing: whoever has trained a trial writes it, so that no two drivers make a run of the same trial."""

    def close(self, timeout_s: float, figures: Sequence[Path] = (), answer: str = "") -> SyncReport | TrackingError:
        """Sync the whole sweep a last time and return the report, or the error instead of raising it.

        ``figures`` and ``answer`` are as in :func:`pipeline.tracking.sync`.
        """
        with self._changed:
            self._closing, self._figures, self._answer = True, tuple(figures), answer
            self._changed.notify()
        self._thread.join(timeout_s)
        if self._result is None:
            return TrackingError(f"MLflow at {redact(self._uri)}: the last sync did not end within {timeout_s:g} s")
        return self._result

    def _run(self) -> None:
        pause_s, quiet_until = FIRST_PAUSE_S, 0.0
        mirror: Mirror | None = None
        while True:
            with self._changed:
                while not self._closing and (not self._waiting or time.monotonic() < quiet_until):
                    # With trials to write, wake up when the pause ends; without, only when some are submitted.
                    self._changed.wait(max(0.0, quiet_until - time.monotonic()) if self._waiting else None)
                if self._closing:
                    break
                batch, self._waiting = self._waiting, set()
            try:
                if mirror is None:
                    mirror = Mirror(self._ledger, self._ledger.sweep(self._sweep_name), self._uri)
                mirror.write(batch)
                pause_s = FIRST_PAUSE_S
            except Exception:  # must not reach the training; close() reports it if it persists
                mirror = None
                quiet_until = time.monotonic() + pause_s
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                with self._changed:
                    self._waiting |= batch
        try:
            # A sweep that was finished before has nothing to write, and thousands of runs take long to list.
            self._result = sync(
                self._ledger, self._sweep_name, self._uri, figures=self._figures, answer=self._answer, trust=True
            )
        except TrackingError as error:
            self._result = error
        except Exception as error:
            reason = f"{type(error).__name__}: {one_line(error, address=self._uri)}"
            self._result = TrackingError(f"MLflow at {redact(self._uri)}: {reason}")
