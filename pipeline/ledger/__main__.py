"""The ledger's commands: ``python -m pipeline.ledger list | show | export | verify | compact | drop | merge``."""

import argparse
import os
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.spec.settings import DEFAULT_LEDGER
from trainables.engine.errors import CommandLine, GrokscapeError, redact
from trainables.engine.terminal import prepare_streams, print_line, print_no_more, shown
from trainables.runtime.rows import TrialRow, TrialState

if TYPE_CHECKING:
    from pipeline.ledger import Ledger, TrialSize

NUMBERS = ("trials", "finished", "stopped", "failed", "running", "missing", "rows", "size", "checkpoints", "snapshots")
TABLES = "results/tables"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 on success, 1 when ``verify`` finds a problem, 2 for bad input."""
    prepare_streams()
    options = _parser().parse_args(arguments)
    uri = options.ledger or options.uri or DEFAULT_LEDGER
    try:
        if options.ledger and options.uri:
            raise GrokscapeError(
                f"ledger: got both {redact(options.uri)} and --ledger {redact(options.ledger)}; give one"
            )
        code = options.command(uri, options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # ``| head`` has read enough
        print_no_more(sys.stdout)
        return 0
    except GrokscapeError as error:
        print(f"error: {shown(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _list(uri: str, _: argparse.Namespace) -> int:
    ledger = _open(uri)
    sweeps, trials, sizes = ledger.sweeps(), ledger.trials(), ledger.sizes()
    lines = [
        [sweep.name, *_line(sweep.trial_ids, trials, sizes), sweep.recorded_at[:19].replace("T", " ")]
        for sweep in sweeps
    ]
    listed = {trial_id for sweep in sweeps for trial_id in sweep.trial_ids}
    others = [trial_id for trial_id in trials if trial_id not in listed]
    if others:
        lines.append(["(in no sweep)", *_line(others, trials, sizes), ""])
    if lines:
        lines.insert(0, ["sweep", *NUMBERS, "recorded"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, *numbers, recorded in lines:
        middle = (number.rjust(width) for number, width in zip(numbers, widths[1:-1], strict=True))
        print("  ".join([name.ljust(widths[0]), *middle, recorded]).rstrip())
    total = sum(size.bytes for size in sizes.values())
    print(
        f"{ledger.shown}: {_many(len(sweeps), 'sweep')}, {_many(len(trials), 'trial')}, "
        f"{_many(ledger.files(), 'file')}, {_decimal(total)}"
    )
    _note_left_out(ledger)
    return 0


def _show(uri: str, options: argparse.Namespace) -> int:
    ledger = _open(uri)
    from pipeline.ledger.views.show import sweep_lines
    from pipeline.ledger.views.trial_page import find_trial, trial_lines

    sweeps = ledger.sweeps()
    sweep = next((sweep for sweep in sweeps if sweep.name == options.what), None)
    if sweep is not None:
        lines = sweep_lines(ledger, sweep, options.where)
    else:
        trial_id = find_trial(ledger, sweeps, options.what)
        if options.where:
            raise GrokscapeError(
                f"--where {options.where}: chooses among the trials of a sweep, and {options.what} is one"
            )
        lines = trial_lines(ledger, sweeps, trial_id, everything=options.all)
    for line in lines:
        print_line(line, sys.stdout)
    _note_left_out(ledger)
    return 0


def _verify(uri: str, _: argparse.Namespace) -> int:
    ledger = _open(uri)
    problems = ledger.verify()
    for problem in problems:
        print(problem)
    counts = Counter(str(problem.kind) for problem in problems)
    strays, unfinished = counts.pop("stray", 0), counts.pop("unfinished", 0)
    serious = counts.total()
    parts = [_many(serious, "problem") if serious else "no problems"]
    parts += [_many(unfinished, "unfinished sweep")] * bool(unfinished)
    parts += [_many(strays, "harmless stray file")] * bool(strays)
    print(f"{ledger.shown}: {', '.join(parts)}")
    return 1 if serious else 0


def _compact(uri: str, _: argparse.Namespace) -> int:
    ledger = _open(uri)
    report = ledger.compact()
    print(
        f"{ledger.shown}: {_many(report.files_before, 'file')} -> {report.files_after}, "
        f"{_decimal(report.bytes_before)} -> {_decimal(report.bytes_after)}"
    )
    _note_left_out(ledger)
    return 0


def _drop(uri: str, options: argparse.Namespace) -> int:
    ledger = _open(uri)
    _check_not_running(ledger, options.sweep)
    report = ledger.drop(options.sweep)
    kept = f"; kept {report.kept} that other sweeps have" if report.kept else ""
    print(f"{ledger.shown}: dropped {options.sweep} and {_many(report.trials, 'trial')}{kept}")
    return 0


def _merge(uri: str, options: argparse.Namespace) -> int:
    other = _open(options.other)
    ledger = _open(uri, create=True)
    report = ledger.merge(other)
    print(
        f"{ledger.shown}: copied {_many(report.trials, 'trial')} ({report.new_trials} new), "
        f"{_many(report.rows, 'row')} and {_many(len(report.sweeps), 'sweep')} from {other.shown}"
    )
    for name in report.replaced_sweeps:
        print(f"{ledger.shown}: replaced its older record of sweep {name}")
    _note_left_out(other)
    return 0


def _export(uri: str, options: argparse.Namespace) -> int:
    ledger = _open(uri)
    from pipeline.ledger.views.export import export

    out = options.out or f"{TABLES}/{options.sweep}"
    report = export(ledger, options.sweep, out, options.where)
    print(
        f"{ledger.shown}: wrote {_many(report.trials, 'trial')} and {_many(report.measurements, 'measurement')} of "
        f"{options.sweep} into {out}"
    )
    _note_left_out(ledger)
    return 0


def _open(uri: str, *, create: bool = False) -> "Ledger":
    from pipeline.ledger import Ledger  # late: --help need not wait for pyarrow

    return Ledger.open(uri, create=create)


def _check_not_running(ledger: "Ledger", sweep: str) -> None:
    """Make sure that no driver is training a sweep that is to be deleted: its workers' commits might stay.

    :raises GrokscapeError: when one is.
    """
    from pipeline.ledger.files import open_files
    from pipeline.sharing.lease import live_leases

    for lease in live_leases(open_files(ledger.uri)):
        if lease.sweep == sweep:
            where = "" if ledger.uri == os.path.abspath(DEFAULT_LEDGER) else f" --ledger {shlex.quote(ledger.shown)}"
            raise GrokscapeError(
                f"{sweep}: is running on {lease.host} (process {lease.pid}); wait for it, or end it with "
                f"python -m pipeline.cancel {sweep}{where}"
            )


def _note_left_out(ledger: "Ledger") -> None:
    """Say that the ledger has rows that were left out."""
    if paths := ledger.left_out():
        some = ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "")
        print(f"{ledger.shown}: left out unsound rows in {_many(len(paths), 'file')}, see verify: {some}")


def _line(trial_ids: Sequence[str], trials: dict[str, TrialRow], sizes: "dict[str, TrialSize]") -> list[str]:
    states = Counter(trials[trial_id].state for trial_id in trial_ids if trial_id in trials)
    own = [sizes[trial_id] for trial_id in trial_ids if trial_id in sizes]
    running, finished, stopped, failed = (states[state] for state in TrialState)
    counts = (len(trial_ids), finished, stopped, failed, running, len(trial_ids) - states.total())
    rows = sum(size.rows for size in own)
    return [
        *(f"{count:,}" for count in (*counts, rows)),
        _decimal(sum(size.bytes for size in own)),
        _decimal(sum(size.checkpoint_bytes for size in own)),
        _decimal(sum(size.snapshot_bytes for size in own)),
    ]


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _decimal(size: float) -> str:
    """``17 bytes``, ``3.2 MB``."""
    if size < 1000:
        return _many(int(size), "byte")
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:,.1f} TB"


def _parser() -> CommandLine:
    parser = CommandLine(
        prog="python -m pipeline.ledger",
        description="Look into, verify, compact, merge or export ledgers, the Parquet stores of every trial's rows.",
        epilog=f"URI is a folder or an address such as s3://bucket/prefix; default: {DEFAULT_LEDGER}.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, command: object, help_text: str, argument: tuple[str, str] | None = None) -> CommandLine:
        added = commands.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
        added.set_defaults(command=command)
        if argument is not None:
            added.add_argument(argument[0], metavar=argument[0].upper(), help=argument[1])
        added.add_argument("uri", metavar="URI", nargs="?", help="the ledger")
        added.add_argument("--ledger", metavar="URI", help="the ledger, as in the other commands of the pipeline")
        return added

    def where(added: CommandLine) -> None:
        text = "those trials only, such as: weight_decay > 1 and phase == 'grokking'"
        added.add_argument("--where", metavar="EXPRESSION", help=text)
        added.epilog = (
            "EXPRESSION may have numbers, texts, None, lists, and, or, not, comparisons, in, + - * /, and names: axes "
            "and other fields of the configuration (weight_decay, optimizer.eps), state, stop_reason, last_step, "
            "phase, error, the time of an event (t_gen), what came of it (t_gen_kind), the last value of a probe "
            "(test_accuracy)."
        )

    sweep = ("sweep", "the sweep's name")
    add("list", _list, "list the sweeps, the states of their trials, and their sizes")
    look = add(
        "show",
        _show,
        "show the trials of a sweep, or one trial: its configuration, events, measurements, provenance, failure",
        ("what", "the name of a sweep, or the beginning of a trial's id"),
    )
    look.add_argument("--all", action="store_true", help="of a trial: defaults and every column, too")
    where(look)
    add(
        "verify",
        _verify,
        "read every row; report what is missing, damaged or contradictory (exit code 1), or unfinished",
    )
    add("compact", _compact, "rewrite many files into few; safe while sweeps run")
    add("drop", _drop, "delete a sweep and the trials that no other sweep has", sweep)
    add("merge", _merge, "copy everything from another ledger", ("other", "the other ledger's URI; it is only read"))
    tables = add("export", _export, "write a sweep's trials and measurements as Parquet tables for other tools", sweep)
    tables.add_argument("--out", metavar="DIR", help=f"the folder of the tables; default: {TABLES}/SWEEP")
    where(tables)
    return parser


if __name__ == "__main__":
    sys.exit(main())
