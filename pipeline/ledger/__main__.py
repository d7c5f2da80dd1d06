"""The command line of the ledger: ``python -m pipeline.ledger list | verify | compact | drop | merge``."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from pipeline.ledger import Ledger, LedgerError, TrialSize
from trainables.runtime.rows import TrialRow, TrialState

DEFAULT_LEDGER = "results/ledger"
_UNITS = ("B", "KB", "MB", "GB", "TB")
_PIPE_WIDTH = 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit code is 0 when all is well, 1 when ``verify`` found something, 2 for bad input."""
    options = _parser().parse_args(arguments)
    uri = options.ledger or options.uri or DEFAULT_LEDGER
    try:
        if options.ledger and options.uri:
            raise LedgerError(f"ledger: {options.uri} and {options.ledger} are given; name one ledger")
        return options.verb(uri, options)
    except LedgerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _list(uri: str, _: argparse.Namespace) -> int:
    ledger = Ledger.open(uri)
    sweeps, trials, sizes = ledger.sweeps(), ledger.trials(), ledger.sizes()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("sweep", no_wrap=True)
    for name in (
        "trials",
        "finished",
        "stopped",
        "failed",
        "running",
        "missing",
        "rows",
        "size",
        "checkpoints",
        "snapshots",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("recorded", no_wrap=True)
    for sweep in sweeps:
        table.add_row(sweep.name, *_line(sweep.trial_ids, trials, sizes), sweep.recorded_at[:19].replace("T", " "))
    listed = {trial_id for sweep in sweeps for trial_id in sweep.trial_ids}
    others = [trial_id for trial_id in trials if trial_id not in listed]
    if others:
        table.add_row("(in no sweep)", *_line(others, trials, sizes), "")
    console = _console()
    if table.row_count:
        console.print(table)
    total = sum(size.bytes for size in sizes.values())
    console.print(
        f"{ledger.shown}: {_many(len(sweeps), 'sweep')}, {_many(len(trials), 'trial')}, "
        f"{_many(ledger.files(), 'file')}, {_bytes(total)}",
        soft_wrap=True,
    )
    return 0


def _verify(uri: str, _: argparse.Namespace) -> int:
    ledger = Ledger.open(uri)
    problems = ledger.verify()
    for problem in problems:
        print(problem)
    wrong = sum(not problem.harmless for problem in problems)
    strays = len(problems) - wrong
    told = _many(wrong, "problem") if wrong else "sound"
    print(f"{ledger.shown}: {told}" + (f", {_many(strays, 'harmless stray')}" if strays else ""))
    return 1 if wrong else 0


def _compact(uri: str, _: argparse.Namespace) -> int:
    ledger = Ledger.open(uri)
    report = ledger.compact()
    print(
        f"{ledger.shown}: {_many(report.files_before, 'file')} -> {report.files_after}, "
        f"{_bytes(report.bytes_before)} -> {_bytes(report.bytes_after)}"
    )
    return 0


def _drop(uri: str, options: argparse.Namespace) -> int:
    ledger = Ledger.open(uri)
    report = ledger.drop(options.sweep)
    kept = f"; {report.kept} stay, other sweeps have them" if report.kept else ""
    print(f"{ledger.shown}: dropped {options.sweep} and {_many(report.trials, 'trial')}{kept}")
    return 0


def _merge(uri: str, options: argparse.Namespace) -> int:
    other = Ledger.open(options.other)
    ledger = Ledger.open(uri, create=True)
    report = ledger.merge(other)
    print(
        f"{ledger.shown}: took {_many(report.trials, 'trial')} ({report.new_trials} new), {_many(report.rows, 'row')} "
        f"and {_many(len(report.sweeps), 'sweep')} from {other.shown}"
    )
    for name in report.replaced_sweeps:
        print(f"{ledger.shown}: its older record of sweep {name} was replaced")
    return 0


def _line(trial_ids: Sequence[str], trials: dict[str, TrialRow], sizes: dict[str, TrialSize]) -> list[str]:
    states = Counter(trials[trial_id].state for trial_id in trial_ids if trial_id in trials)
    own = [sizes[trial_id] for trial_id in trial_ids if trial_id in sizes]
    running, finished, stopped, failed = (states[state] for state in TrialState)
    counts = (len(trial_ids), finished, stopped, failed, running, len(trial_ids) - states.total())
    rows = sum(size.rows for size in own)
    return [
        *(f"{count:,}" for count in (*counts, rows)),
        _bytes(sum(size.bytes for size in own)),
        _bytes(sum(size.checkpoint_bytes for size in own)),
        _bytes(sum(size.snapshot_bytes for size in own)),
    ]


def _bytes(count: float) -> str:
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.0f} {_UNITS[unit]}" if unit == 0 or count >= 100 else f"{count:.1f} {_UNITS[unit]}"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _console() -> Console:
    """In a pipe nothing is cut off."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (--help tells more)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m pipeline.ledger",
        description="Look after a ledger: the Parquet store of every trial's rows.",
        epilog=f"URI is a folder or an address such as s3://bucket/prefix; {DEFAULT_LEDGER} without it.",
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    def add(name: str, verb: object, help_text: str) -> argparse.ArgumentParser:
        found = verbs.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
        found.set_defaults(verb=verb)
        return found

    added = [add("list", _list, "show the sweeps: how far their trials are, and what they take")]
    added.append(add("verify", _verify, "read everything; tell what is missing, doubled or torn (exit code 1 then)"))
    added.append(add("compact", _compact, "rewrite many files into few; safe while sweeps run"))
    added.append(add("drop", _drop, "remove a sweep and the trials that only it has"))
    added[-1].add_argument("sweep", metavar="SWEEP", help="the sweep's name")
    added.append(add("merge", _merge, "take over everything that another ledger holds"))
    added[-1].add_argument("other", metavar="OTHER", help="the other ledger's URI; it stays as it is")
    for found in added:
        found.add_argument("uri", metavar="URI", nargs="?", help="the ledger")
        found.add_argument("--ledger", metavar="URI", help="the ledger, said as other commands say it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
