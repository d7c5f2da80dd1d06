"""A sweep as lines of text: its counts, and a line a trial with its setting, its state, its events and its phase."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pipeline.ledger.ledger import Ledger
from pipeline.ledger.sweep_row import SweepRow
from pipeline.ledger.views.records import FINAL, SweepRecords, TrialRecord, axis_columns
from pipeline.ledger.views.where import Where
from trainables.engine.config import canonical_json
from trainables.engine.events import Event, EventKind, Outcome
from trainables.engine.terminal import shown
from trainables.runtime.rows import TrialState

MOST_FINALS = 4
"""How many last values are shown of trials without events."""
SHORT_ID = 8
"""The fewest characters of a trial's id that are shown."""


def sweep_lines(ledger: Ledger, sweep: SweepRow, where: str | None = None) -> Iterator[str]:
    """Describe a sweep.

    :param where: show those trials only: see :mod:`pipeline.ledger.views.where`.
    :raises LedgerError: when the filter is bad.
    """
    records = SweepRecords(ledger, sweep)
    wanted = Where(where, records.names()) if where else None
    finals = [] if records.events else _finals(ledger)
    asked = {name.removeprefix(FINAL) for name in wanted.columns if name.startswith(FINAL)} if wanted else set()
    read = (record for record in records.read(asked | {*finals}) if wanted is None or wanted(record.values))
    without_rows = (replace(record, table=record.table.schema.empty_table()) for record in read)
    trials = sorted(without_rows, key=lambda record: record.place)
    total = f"{len(trials):,}" if wanted is None else f"{len(trials):,} of {len(sweep.trial_ids):,}"
    states = Counter(record.state for record in trials)
    yield f"{sweep.name}: {total} {'trial' if len(sweep.trial_ids) == 1 else 'trials'}{_counts(states)}"
    if phases := Counter(record.phase for record in trials if record.outcome and record.phase):
        yield f"phases: {_counts(phases)[2:]}"
    if any(record.outcome for record in trials):
        yield "events: in (low, high] steps; > N: not by step N"
    if trials:
        yield ""
        yield from _table(records, trials, finals)
    yield from _failures(trials, short_length(sweep.trial_ids))


def _counts(counts: Counter[str]) -> str:
    return "".join(
        f"{', ' if number else ': '}{count:,} {name}" for number, (name, count) in enumerate(counts.most_common())
    )


def _finals(ledger: Ledger) -> list[str]:
    """The probes whose last values stand for events that a sweep does not have."""
    probes = [name for name in ledger.probes() if "." not in name]
    return sorted(probes, key=lambda name: not name.endswith(("_accuracy", "_loss")))[:MOST_FINALS]


def _table(records: SweepRecords, trials: Sequence[TrialRecord], finals: Sequence[str]) -> Iterator[str]:
    length = short_length(records.sweep.trial_ids)
    head = [
        "trial",
        *axis_columns(records.axes).values(),
        "state",
        "step",
        *records.events,
        *(["phase"] if records.events else []),
        *finals,
    ]
    lines = [head]
    for record in trials:
        reason = f" ({record.row.stop_reason})" if record.row and record.row.stop_reason else ""
        lines.append(
            [
                record.trial_id[:length],
                *(value_text(record.coordinates.get(axis)) for axis in records.axes),
                f"{record.state}{reason}",
                f"{record.row.last_step:,}" if record.row else "",
                *(_event_of(record.outcome, name) for name in records.events),
                *([(record.outcome and record.phase) or ""] if records.events else []),
                *(number_text(record.values.get(f"{FINAL}{name}")) for name in finals),
            ]
        )
    yield from aligned(lines)


def _event_of(outcome: Outcome | None, name: str) -> str:
    if outcome is None or name not in {rule.name for rule in outcome.rules}:
        return ""
    return event_text(outcome.event(name))


def _failures(trials: Sequence[TrialRecord], length: int) -> Iterator[str]:
    """What went wrong, once for each kind of failure."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for record in trials:
        if record.row and record.state == TrialState.FAILED:
            kinds.setdefault((record.row.error_kind or "error", record.row.error or ""), []).append(record.trial_id)
    if kinds:
        yield ""
    for (kind, error), trial_ids in kinds.items():
        many = f"{len(trial_ids)} trials failed" if len(trial_ids) > 1 else "1 trial failed"
        yield f"{many}, {kind.replace('_', ' ')}: {error}"
        yield f"  show {trial_ids[0][:length]} has the traceback"


def event_text(event: Event) -> str:
    """``(40, 45]``: when an event came; ``> 600``: not by then; otherwise what came first, ``diverged at 31``."""
    if event.kind == EventKind.CENSORED:
        return f"> {event.low_steps:,.0f}"
    if event.kind == EventKind.EVENT:
        return f"({event.low_steps:,.0f}, {event.high_steps:,.0f}]"
    return f"{event.kind} at {event.high_steps:,.0f}"


def value_text(value: Any) -> str:
    """A value of a configuration in a table: text as it is, an integer without ``.0``, nothing for None."""
    if value is None or isinstance(value, str):
        return value or ""
    return canonical_json(value).removesuffix(".0")


def number_text(value: float | None) -> str:
    """A measured value in four digits; a dash where it was not measured."""
    if value is None:
        return "-"
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def short_length(trial_ids: Sequence[str]) -> int:
    """How many characters tell these trials apart; :data:`SHORT_ID` at least."""
    different = sorted(set(trial_ids))
    length = SHORT_ID
    while length < 20 and len({trial_id[:length] for trial_id in different}) < len(different):
        length += 1
    return length


def aligned(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """Align the cells of a table, whose first line is its head: numbers to the right, texts to the left."""
    cells = [[shown(cell) for cell in line] for line in lines]
    columns = list(zip(*cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(not cell or cell[0] in "-0123456789(>" for cell in column[1:]) for column in columns]
    for line in cells:
        parts = (
            cell.rjust(width) if to_the_right else cell.ljust(width)
            for cell, width, to_the_right in zip(line, widths, right, strict=True)
        )
        yield "  ".join(parts).rstrip()
