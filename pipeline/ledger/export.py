"""Plain Parquet tables for other tools: ``sweeps``, ``trials`` with their configuration and outcomes, ``measurements``.

The ledger's own files change with every rewrite and hold copies of rows; these are one file a table, without metadata.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.ledger.files import TEMPORARY, LedgerError
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.rows import float_values
from pipeline.ledger.sweep_row import SweepRow
from trainables.engine.config import CLASS_KEY, ConfigError, from_json, parse_json
from trainables.engine.errors import one_line
from trainables.engine.events import TIMES, EventRule, PhaseRule, outcome
from trainables.runtime.rows import TrialRow, TrialState

SWEEPS, TRIALS, MEASUREMENTS = "sweeps.parquet", "trials.parquet", "measurements.parquet"
_ROW = ("state", "stop_reason", "last_step", "error", "error_kind", "train_s", "device_kind", "committed_at")
"""The fields of a trial row that are columns as they are."""


@dataclass(frozen=True)
class ExportReport:
    """How many rows each table has."""

    sweeps: int
    trials: int
    measurements: int


def export(ledger: Ledger, out: str | Path, names: Sequence[str] = ()) -> ExportReport:
    """Write the tables of some sweeps into a folder; replace those that it has.

    ``trials`` has a row for each trial of each sweep, planned ones too.  Its columns: ``axis.*`` where the trial is in
    the sweep (``axis.arm``, ``axis.seed``), ``config.*`` its flat configuration, the outcomes by the names that MLflow
    shows (``t_gen_95_kind``, ``t_gen_95_high_steps``), ``phase``, and the fields of its row.  ``measurements`` has a
    row for each ``trial_id`` and ``step``, and a column for each probe.

    :param names: of the sweeps; default: all, and the trials that are in none.
    :raises LedgerError: when there is no such sweep, or the folder cannot be written.
    """
    if "://" in str(out):
        raise LedgerError(f"ledger: --out {out}: must be a folder of this machine")
    sweeps = [ledger.sweep(name) for name in dict.fromkeys(names)] if names else ledger.sweeps()
    placed: list[tuple[str | None, str, Mapping[str, Any]]] = [
        (sweep.name, trial_id, coordinates)
        for sweep in sweeps
        for trial_id, coordinates in zip(sweep.trial_ids, parse_json(sweep.coordinates_json), strict=True)
    ]
    rows = ledger.trials({trial_id for _, trial_id, _ in placed} if names else None)
    if not names:
        in_sweeps = {trial_id for _, trial_id, _ in placed}
        placed += [(None, trial_id, {}) for trial_id in rows if trial_id not in in_sweeps]
    with _doing(out):
        folder = Path(out).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        outcomes: dict[str, dict[str, Any]] = {}
        with _written(folder / MEASUREMENTS) as path:
            count = _write_measurements(ledger, rows, path, outcomes)
        trials = [_trial(*place, rows.get(place[1]), outcomes.get(place[1], {})) for place in placed]
        for name, records in ((TRIALS, trials), (SWEEPS, list(map(_sweep, sweeps)))):
            with _written(folder / name) as path:
                pq.write_table(_table(records), path)
    return ExportReport(len(sweeps), len(trials), count)


def _write_measurements(
    ledger: Ledger, rows: Mapping[str, TrialRow], path: Path, outcomes: dict[str, dict[str, Any]]
) -> int:
    """Write the rows of these trials, a few in memory at a time; add each one's outcomes."""
    fields = [pa.field("trial_id", pa.string()), pa.field("step", pa.int64())]
    probes = ledger.probes()
    count = 0
    with pq.ParquetWriter(path, pa.schema(fields + [pa.field(name, pa.float64()) for name in probes])) as writer:
        for trial_id, table in ledger.iter_trajectories(sorted(rows)):
            outcomes[trial_id] = _outcomes(rows[trial_id], table)
            if len(table):
                missing = [name for name in probes if name not in table.column_names]
                for name in missing:
                    table = table.append_column(name, pa.nulls(len(table), pa.float64()))
                writer.write_table(table.select(writer.schema.names))
                count += len(table)
    return count


def _outcomes(row: TrialRow, table: pa.Table) -> dict[str, Any]:
    """The outcomes of a trial's declared events, and its phase; of rules whose class is known."""
    config = parse_json(row.config_json, for_terminal=False)
    events = [rule for rule in _rules(config.get("events")) if isinstance(rule, EventRule)]
    if not events or not len(table):
        return {}
    columns = {rule.column: float_values(table[rule.column]) for rule in events if rule.column in table.column_names}
    reason = row.stop_reason if row.state == TrialState.STOPPED else None
    known = outcome(table["step"].to_numpy(), columns, events, stop_reason=reason)
    values: dict[str, Any] = {}
    for rule in events:
        for threshold in rule.thresholds:
            event, key = known.event(rule.name, threshold), rule.key(threshold)
            values[f"{key}_kind"] = str(event.kind)
            for name in TIMES:
                steps = getattr(event, name)
                values[f"{key}_{name}"] = int(steps) if math.isfinite(steps) else None
    with suppress(KeyError):  # A phase may look at an event whose class is not known.
        values["phase"] = known.phase(rule for rule in _rules(config.get("phases")) if isinstance(rule, PhaseRule))
    return values


def _rules(values: Any) -> Iterator[Any]:
    for value in values if isinstance(values, list) else ():
        with suppress(ConfigError):
            yield from_json(value)


def _trial(
    sweep: str | None, trial_id: str, coordinates: Mapping[str, Any], row: TrialRow | None, outcomes: Mapping[str, Any]
) -> dict[str, Any]:
    record: dict[str, Any] = {"sweep": sweep, "trial_id": trial_id}
    record.update((name, getattr(row, name, None)) for name in _ROW)
    record |= {f"axis.{name}": value for name, value in coordinates.items()}
    if row is not None:
        record |= _flat(parse_json(row.config_json, for_terminal=False), "config")
    record.update(outcomes)
    return record


def _sweep(sweep: SweepRow) -> dict[str, Any]:
    return {
        "sweep": sweep.name,
        "doc": sweep.doc,
        "trials": len(sweep.trial_ids),
        "horizon_steps": sweep.horizon_steps,
        "axes_json": sweep.axes_json,
        "revision": sweep.revision,
        "recorded_at": sweep.recorded_at,
    }


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Nested JSON under dotted names; a component's class goes by the component's own name."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if name == CLASS_KEY:
            flat[prefix] = value
        elif isinstance(value, dict):
            flat |= _flat(value, f"{prefix}.{name}")
        else:
            flat[f"{prefix}.{name}"] = value
    return flat


def _table(records: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A table with a column for every name, each of one type."""
    names = dict.fromkeys(name for record in records for name in record)
    return pa.table({name: _column(name, [record.get(name) for record in records]) for name in names})


def _column(name: str, values: list[Any]) -> pa.Array:
    """Booleans, integers, numbers or texts; anything mixed or nested as JSON; a column of steps without any, too."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pa.nulls(len(values), pa.int64() if name.endswith("_steps") else pa.string())
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int} and all(abs(value) < 1 << 63 for value in values if value is not None):
        return pa.array(values, pa.int64())
    if kinds <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if all(issubclass(kind, str) for kind in kinds):
        return pa.array(values, pa.string())
    return pa.array([None if value is None else json.dumps(value, ensure_ascii=False) for value in values])


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    """A place to write a file, which takes its name once it is whole."""
    temporary = path.with_name(f"{TEMPORARY}{uuid4().hex}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _doing(out: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise LedgerError(f"ledger: cannot write the tables into {out}: {reason}") from None
