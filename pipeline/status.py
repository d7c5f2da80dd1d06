"""``python -m pipeline.status [SWEEP]``: how far the sweeps of a ledger are, and who is training them.

Any terminal or machine that sees the ledger can ask; nothing has to run for it.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipeline.spec.settings import DEFAULT_LEDGER
from trainables.engine.errors import CommandLine, GrokscapeError
from trainables.engine.terminal import prepare_streams, print_line

if TYPE_CHECKING:
    from pipeline.ledger import Ledger, SweepRow, TrialRow
    from pipeline.sharing import Lease


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a few lines a sweep; the exit code is 0, or 2 for bad input."""
    prepare_streams()
    options = _parser().parse_args(arguments)
    try:
        from pipeline.ledger import Ledger  # late: --help need not wait for pyarrow

        ledger = Ledger.open(options.ledger)
        standings = list(standings_of(ledger, options.sweep))
    except GrokscapeError as error:
        print_line(f"error: {error}", sys.stderr)
        return 2
    if options.json:
        print(json.dumps([standing.to_json() for standing in standings]))
        return 0
    for standing in standings:
        for line in standing.lines():
            print_line(line, sys.stdout)
    if not standings:
        print_line(f"{ledger.shown}: no sweep yet", sys.stdout)
    return 0


@dataclass(frozen=True)
class Standing:
    """How far one sweep is."""

    sweep: str
    total: int
    done: int
    """Trials that have ended without failing."""
    failed: int
    drivers: "Sequence[Lease]"
    """Those that are at work on it, the earliest first."""

    @property
    def state(self) -> str:
        """In a word: running, interrupted, done, or ended where some trials have failed."""
        if self.drivers:
            return "running"
        if self.done + self.failed < self.total:
            return "interrupted"
        return "ended" if self.failed else "done"

    @property
    def left_s(self) -> float | None:
        """The longest estimate of the drivers, which may be some seconds old; None where none has one."""
        if self.done + self.failed == self.total:
            return None
        return max((lease.progress.left_s for lease in self.drivers if lease.progress.left_s is not None), default=None)

    def to_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        drivers = [asdict(lease) | {"trials": list(lease.trials)} for lease in self.drivers]
        for driver in drivers:
            del driver["asks"], driver["ended"], driver["place"]
        counts = {"total": self.total, "done": self.done, "failed": self.failed}
        return {"sweep": self.sweep, "state": self.state, **counts, "left_s": self.left_s, "drivers": drivers}

    def lines(self) -> list[str]:
        """In words: the sweep, then a line a driver."""
        from pipeline.terminal.dry_run import about, count_of

        failed = f", {self.failed} failed" if self.failed else ""
        headline = f"{self.sweep}: {self.state}, {self.done} of {self.total} done{failed}"
        if self.left_s:
            until = time.strftime("%H:%M", time.localtime(time.time() + self.left_s))
            headline += f", {about(self.left_s)} left (until {until})"
        if self.state == "interrupted":
            headline += "; run the same command again to resume"
        lines = [headline]
        for lease in self.drivers:
            since = datetime.fromisoformat(lease.started_at).astimezone()
            when = since.strftime("%H:%M" if since.date() == datetime.now().date() else "%Y-%m-%d %H:%M")
            rate = lease.progress.steps_per_s
            speed = f"{rate:,.0f} steps/s" if rate >= 10 else f"{rate:.1f} steps/s" if rate else "starting"
            held = count_of(len(lease.trials), "trial")
            lines.append(f"  {lease.host}, process {lease.pid}, since {when}: {held} at hand, {speed}")
        return lines


def standings_of(ledger: "Ledger", sweep: str | None = None) -> "Iterable[Standing]":
    """Yield how far each sweep of a ledger is, or the one that is named.

    :raises LedgerError: when there is no such sweep.
    """
    from pipeline.ledger.files import open_files
    from pipeline.sharing import live_leases

    rows = ledger.sweeps() if sweep is None else [ledger.sweep(sweep)]
    trials = ledger.trials({trial_id for row in rows for trial_id in row.trial_ids})
    leases = live_leases(open_files(ledger.uri))
    for row in rows:
        yield _standing(row, trials, [lease for lease in leases if lease.sweep == row.name])


def _standing(row: "SweepRow", trials: "dict[str, TrialRow]", drivers: "Sequence[Lease]") -> Standing:
    from trainables.runtime.rows import TrialState

    states = Counter(trials[trial_id].state for trial_id in row.trial_ids if trial_id in trials)
    # An objective adds trials as it goes: its driver knows how many there will be.
    total = max([len(row.trial_ids), *(lease.progress.total for lease in drivers)])
    done = states[TrialState.FINISHED] + states[TrialState.STOPPED]
    return Standing(row.name, total, done, states[TrialState.FAILED], drivers)


def _parser() -> CommandLine:
    parser = CommandLine(
        prog="python -m pipeline.status",
        description="Say how far the sweeps of a ledger are, who is training them, how fast, and the time left.",
        epilog="python -m pipeline.cancel SWEEP ends one that is running.",
    )
    parser.add_argument("sweep", metavar="SWEEP", nargs="?", help="the sweep's name; default: all")
    parser.add_argument(
        "--ledger", metavar="URI", default=DEFAULT_LEDGER, help=f"the ledger; default: {DEFAULT_LEDGER}"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON array, and nothing else")
    return parser


if __name__ == "__main__":
    sys.exit(main())
