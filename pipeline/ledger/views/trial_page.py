"""One trial as lines of text: what it is, what came of it, what was measured, who made it, and what went wrong."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pipeline.ledger.files import LedgerError
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.rows import probe_columns
from pipeline.ledger.sweep_row import SweepRow
from pipeline.ledger.views.records import Asked, flat
from pipeline.ledger.views.show import aligned, event_text, number_text, value_text
from trainables.engine.config import CLASS_KEY, Config, parse_json
from trainables.engine.names import find
from trainables.engine.terminal import shown
from trainables.runtime.rows import TrialRow, TrialState

ROWS = 3
"""How many of the first measurements are shown, and of the last."""
MOST_NAMED = 5
"""How many trials a message names."""


def find_trial(ledger: Ledger, sweeps: Sequence[SweepRow], text: str) -> str:
    """The id of the only trial whose id begins so.

    :raises LedgerError: when there is none, or several.
    """
    known = {*ledger.trials(), *(trial_id for sweep in sweeps for trial_id in sweep.trial_ids)}
    trial_ids = sorted(trial_id for trial_id in known if trial_id.startswith(text))
    if text in trial_ids or len(trial_ids) == 1:
        return text if text in trial_ids else trial_ids[0]
    if trial_ids:
        some = ", ".join(trial_ids[:MOST_NAMED]) + (", ..." if len(trial_ids) > MOST_NAMED else "")
        raise LedgerError(f"ledger: {len(trial_ids)} trials of {ledger.shown} begin with {text!r}: {some}")
    names = ", ".join(sorted(sweep.name for sweep in sweeps)) or "none yet"
    raise LedgerError(
        f"ledger: {ledger.shown} has no sweep {text!r} and no trial whose id begins so; its sweeps: {names}"
    )


def trial_lines(
    ledger: Ledger, sweeps: Sequence[SweepRow], trial_id: str, *, everything: bool = False
) -> Iterator[str]:
    """Describe a trial.

    :param sweeps: those of the ledger.
    :param everything: show the whole configuration and every column, not only what differs and what matters.
    """
    row = ledger.trials([trial_id]).get(trial_id)
    yield f"trial {trial_id}: {_state(row)}"
    for sweep in sweeps:
        yield from _places(sweep, trial_id)
    if row is None:
        return
    table = ledger.trajectories([trial_id])
    asked = Asked.by_itself(row)
    outcome = asked.outcome(row, table)
    if outcome is not None:
        yield from _headed("events, as the trial declares them")
        thresholds = [(rule, threshold) for rule in outcome.rules for threshold in rule.thresholds]
        yield from _indented(
            aligned(
                [["event", "when", "came"]]
                + [
                    [rule.name, rule.words(threshold), event_text(outcome.event(rule.name, threshold))]
                    for rule, threshold in thresholds
                ]
            )
        )
        if phase := asked.phase(outcome):
            yield f"  phase{'' if row.state in (TrialState.FINISHED, TrialState.STOPPED) else ' so far'}: {phase}"
    yield from _configuration(row, everything)
    yield from _measurements(table, asked.columns(), everything)
    yield from _headed("provenance")
    yield from _indented(_pairs(_provenance(ledger, row)))
    if row.error is not None:
        yield from _headed(f"failure: {(row.error_kind or 'error').replace('_', ' ')}")
        yield from _indented([row.error])
        if row.traceback:
            yield ""
            yield from _indented(map(shown, row.traceback.rstrip().split("\n")))
        else:
            yield "  the ledger has no traceback of it"


def _state(row: TrialRow | None) -> str:
    if row is None:
        return "nobody has begun it"
    reason = f" ({row.stop_reason})" if row.stop_reason else ""
    return f"{row.state}{reason} at step {row.last_step:,}"


def _places(sweep: SweepRow, trial_id: str) -> Iterator[str]:
    coordinates = parse_json(sweep.coordinates_json, for_terminal=False)
    for each, place in zip(sweep.trial_ids, coordinates, strict=True):
        if each == trial_id:
            words = ", ".join(f"{axis} = {value_text(value)}" for axis, value in place.items())
            yield shown(f"  in {sweep.name}, of {sweep.horizon_steps:,} steps: {words}")


def _configuration(row: TrialRow, everything: bool) -> Iterator[str]:
    values = parse_json(row.config_json, for_terminal=False)
    yield from _headed("configuration" + ("" if everything else ": what differs from the defaults (--all: everything)"))
    yield from _indented(_tree("", values if everything else _differing(values)))


def _differing(value: Any) -> Any:
    """The JSON of a configuration, without the fields that have their default, in the order of the classes' fields."""
    if isinstance(value, list):
        return [_differing(item) for item in value]
    if not isinstance(value, dict):
        return value
    defaults = _defaults(value.get(CLASS_KEY))
    names = [name for name in (*defaults, *value) if name in value]
    return {name: _differing(value[name]) for name in names if name not in defaults or value[name] != defaults[name]}


def _defaults(name: Any) -> dict[str, Any]:
    """The fields of a component's class as JSON, MISSING where one has no default; empty for an unknown class."""
    cls = None
    with suppress(ImportError):  # on a machine without torch
        cls = find(name) if isinstance(name, str) else None
    return {spec.name: _json(spec.default) for spec in dataclasses.fields(cls)} if cls else {}


def _json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    return value.to_json() if isinstance(value, Config) else value


def _tree(name: str, value: Any) -> Iterator[str]:
    """A line for each value, indented by its depth."""
    if isinstance(value, dict):
        yield shown(" = ".join(part for part in (name, str(value.get(CLASS_KEY, ""))) if part))
        for key, item in value.items():
            if key != CLASS_KEY:
                yield from _indented(_tree(key, item))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for number, item in enumerate(value):
            yield from _tree(f"{name}[{number}]", item)
    else:
        yield shown(f"{name} = {'None' if value is None else value_text(value)}")


def _measurements(table: Any, first: Sequence[str], everything: bool) -> Iterator[str]:
    """The first and the last rows, a line a probe: those of the events first, without those of single tensors."""
    count = len(table)
    if not count:
        yield from _headed("measurements: none")
        return
    measured = [name for name in probe_columns(table.column_names) if table[name].null_count < count]
    names = sorted(measured, key=lambda name: (name not in first, name))
    names = [name for name in names if everything or "." not in name]
    left_out = f"; {len(measured) - len(names)} columns of single tensors: --all" if len(names) < len(measured) else ""
    yield from _headed(f"measurements: {count:,} rows, {len(measured)} columns{left_out}")
    places = list(range(count)) if count <= 2 * ROWS else [*range(ROWS), *range(count - ROWS, count)]
    gap = ROWS if count > 2 * ROWS else count
    lines = [["step", *(f"{table['step'][place].as_py():,}" for place in places)]]
    lines += [[name, *(number_text(table[name][place].as_py()) for place in places)] for name in names]
    yield from _indented(
        aligned([[*line[: gap + 1], *(["..."] if gap < count else []), *line[gap + 1 :]] for line in lines])
    )


def _provenance(ledger: Ledger, row: TrialRow) -> dict[str, Any]:
    checkpoint = ledger.checkpoint_steps([row.trial_id]).get(row.trial_id)
    snapshots = ledger.snapshot_steps(row.trial_id)
    known = flat(parse_json(row.provenance_json, for_terminal=False))
    return {
        "committed": row.committed_at,
        "training": f"{row.train_s:,.1f} s on {row.device_kind}",
        "source": f"{row.source_hash} (a digest of its components' code)",
        "data": row.data_fingerprint,
        **known,
        "checkpoint": "none" if checkpoint is None else f"at step {checkpoint:,}",
        "snapshots": f"{len(snapshots)}, at steps {snapshots[0]:,} to {snapshots[-1]:,}" if snapshots else "none",
    }


def _pairs(values: Mapping[str, Any]) -> Iterator[str]:
    width = max(map(len, values))
    for name, value in values.items():
        yield shown(f"{name.ljust(width)}  {'None' if value is None else value_text(value)}")


def _headed(title: str) -> Iterator[str]:
    yield ""
    yield title


def _indented(lines: Iterator[str] | Sequence[str]) -> Iterator[str]:
    yield from (f"  {line}" for line in lines)
