"""What the processes of the ledger's concurrency and fault tests do; here, so that they can be started by name."""

import os
import random
import resource
import signal
import time
from contextlib import suppress
from itertools import pairwise
from multiprocessing import get_context

from pipeline.ledger import Checkpoint, Ledger, LedgerError
from tests.support.ledger_samples import archive, trajectory, trial_row

# A server that has imported everything (pyarrow asks for pandas at its first array) and forks quickly, without the
# threads of the test's own process.
PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(["pandas", "pipeline.ledger", "tests.support.ledger_workers"])


def commit_on(uri, trial_id, steps_at_once, reports):
    """Commit one segment after another from where the ledger's rows end, forever; report each that was stored."""
    ledger = Ledger.open(uri)
    reports.send(None)
    row = ledger.trials([trial_id]).get(trial_id)
    start = row.last_step + 1 if row else 0
    while True:
        last = start + steps_at_once - 1
        checkpoint = Checkpoint(trial_id=trial_id, step=last, data=archive(os.urandom(10_000).hex()))
        ledger.commit([trial_row(trial_id, last)], trajectory(trial_id, range(start, last + 1)), [checkpoint])
        reports.send(last)
        start = last + 1


def compact_on(uri, reports):
    """Compact forever; report each compaction."""
    ledger = Ledger.open(uri)
    reports.send(None)
    while True:
        ledger.compact()
        reports.send(True)


def commit_overlapping(uri, trial_id, end, seed):
    """Commit the steps to ``end`` in pieces of random length, as one of several workers on the same trial would."""
    ledger, chance = Ledger.open(uri), random.Random(seed)
    start = 0
    while start <= end:
        last = min(end, start + chance.randint(0, 9))
        ledger.commit([trial_row(trial_id, last)], trajectory(trial_id, range(start, last + 1)))
        start = last + 1


def compact_until(uri, stop):
    """Compact until stopped, and once more at the end, so that everything is in place."""
    ledger = Ledger.open(uri)
    while not stop.is_set():
        ledger.compact()
    ledger.compact()


def read_until(uri, stop, complaints):
    """Read until stopped; complain of anything that a reader must never see."""
    ledger, seen = Ledger.open(uri), 0
    while not stop.is_set():
        promised = {trial_id: row.last_step for trial_id, row in ledger.trials().items()}
        table = ledger.trajectories()
        keys = list(zip(table["trial_id"].to_pylist(), table["step"].to_pylist(), strict=True))
        if any(first >= second for first, second in pairwise(keys)):
            complaints.put("rows out of order, or twice")
        if len(keys) < seen:
            complaints.put(f"{seen} rows became {len(keys)}")
        existing = set(keys)
        if any((trial_id, step) not in existing for trial_id, last in promised.items() for step in range(last + 1)):
            complaints.put("a trial row promised rows that did not exist")
        seen = len(keys)
    complaints.put(f"read {seen} rows")


def fail_on_a_full_disk(uri, limit_bytes, action, messages):
    """Let no file of this process grow beyond a limit, as a full disk does; report how the action failed."""
    ledger = Ledger.open(uri)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    try:
        if action == "commit":
            checkpoint = Checkpoint(trial_id="new", step=499, data=archive("small"))
            ledger.commit([trial_row("new", 499)], trajectory("new", range(500)), [checkpoint])
        elif action == "checkpoint":
            checkpoint = Checkpoint(trial_id="new", step=1, data=os.urandom(2 * limit_bytes))
            ledger.commit([trial_row("new", 1)], trajectory("new", range(2)), [checkpoint])
        else:
            ledger.compact()
        messages.put("no error")
    except LedgerError as error:
        messages.put(str(error))


class Killer:
    """SIGKILLs processes at random moments, about half of them before they have reported anything.

    The moments follow the pace of the machine as it is now: later after a kill that was early, and the other way
    round.
    """

    def __init__(self, seed):
        self._chance = random.Random(seed)
        self._span_s = 0.1
        self.early = 0
        """How many were killed before they had reported anything."""
        self.late = 0

    def run(self, target, *arguments):
        """Start a process, kill it some time after it has begun its work, and return what it had reported by then."""
        ours, theirs = PROCESSES.Pipe(duplex=False)
        process = PROCESSES.Process(target=target, args=(*arguments, theirs))
        process.start()
        theirs.close()
        reports = []
        with ours:
            assert ours.recv() is None
            time.sleep(self._chance.uniform(0, self._span_s))
            process.kill()
            process.join()
            with suppress(EOFError, OSError):
                while True:
                    reports.append(ours.recv())
        self._span_s *= 0.85 if reports else 1.25
        self.early, self.late = self.early + (not reports), self.late + bool(reports)
        return reports
