"""Plain tables of one sweep for other tools: ``trials.parquet``, ``measurements.parquet`` and ``sweep.json``.

The ledger's own files change with every rewrite and hold copies of rows; these are one file a table, without metadata.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.ledger.files import TEMPORARY, LedgerError
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.rows import ROW_GROUP_ROWS
from pipeline.ledger.views.records import SweepRecords
from pipeline.ledger.views.where import Where
from trainables.engine.config import canonical_json, parse_json
from trainables.engine.errors import one_line

TRIALS, MEASUREMENTS, SWEEP = "trials.parquet", "measurements.parquet", "sweep.json"
_TYPES = {"last_step": pa.int64(), "train_s": pa.float64()}
"""Of columns that may be empty; so may those of steps."""


@dataclass(frozen=True)
class ExportReport:
    """How many rows each table has."""

    trials: int
    measurements: int


def export(ledger: Ledger, name: str, out: str | Path, where: str | None = None) -> ExportReport:
    """Write the tables of a sweep into a folder; replace those that it has, all or none.

    ``trials`` has a row for each trial in the order of the sweep, those that nobody has begun too, with the columns of
    :mod:`pipeline.ledger.views.records`, each of one type.  ``measurements`` has a row for each ``trial_id`` and
    ``step`` in that order, and a column for each probe, null where not measured.  ``sweep`` says what was asked.

    :param where: write those trials only: see :mod:`pipeline.ledger.views.where`.
    :raises LedgerError: when there is no such sweep, the filter is bad or chooses no trial, or the
        folder cannot be written.
    """
    if "://" in str(out):
        raise LedgerError(f"ledger: --out {out}: must be a folder of this machine")
    records = SweepRecords(ledger, ledger.sweep(name))
    wanted = Where(where, records.names()) if where else None
    folder = Path(out).expanduser()
    with _doing(out), _written(folder) as paths:
        columns = _Columns()
        count = _write_measurements(ledger, records, wanted, paths[MEASUREMENTS], columns)
        if wanted is not None and not columns.places:
            raise LedgerError(f"--where {where!r}: is true of no trial of {name}; wrote nothing")
        pq.write_table(columns.table(records.names()), paths[TRIALS])
        report = ExportReport(len(columns.places), count)
        paths[SWEEP].write_text(
            json.dumps(_sweep(records, where, report), indent=1, ensure_ascii=False) + "\n", "utf-8"
        )
    return report


def _write_measurements(
    ledger: Ledger, records: SweepRecords, wanted: Where | None, path: Path, columns: "_Columns"
) -> int:
    """Write the measurements, those of a few trials in memory at a time; add each trial to the columns.

    A row group has those of many trials: readers are slow where a file has thousands.
    """
    probes = ledger.probes()
    fields = [pa.field("trial_id", pa.string()), pa.field("step", pa.int64())]
    schema = pa.schema(fields + [pa.field(name, pa.float64()) for name in probes])
    count, last = 0, ""
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["trial_id"]) as writer:
        waiting: list[pa.Table] = []
        for record in records.read(None):
            if wanted is not None and not wanted(record.values):
                continue
            columns.add(record.place, record.values)
            table = record.table
            if not len(table) or record.trial_id == last:  # a sweep may have a trial in two places
                continue
            for name in probes:
                if name not in table.column_names:
                    table = table.append_column(name, pa.nulls(len(table), pa.float64()))
            waiting.append(table.select(schema.names))
            count, last = count + len(table), record.trial_id
            if sum(map(len, waiting)) >= ROW_GROUP_ROWS:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
    return count


def _sweep(records: SweepRecords, where: str | None, report: ExportReport) -> dict[str, Any]:
    sweep = records.sweep
    return {
        "sweep": sweep.name,
        "doc": sweep.doc,
        "axes": records.axes,
        "events": records.events,
        "horizon_steps": sweep.horizon_steps,
        "design": parse_json(sweep.axes_json, for_terminal=False),
        "revision": sweep.revision,
        "recorded_at": sweep.recorded_at,
        "where": where,
        "trials": report.trials,
        "measurements": report.measurements,
    }


class _Columns:
    """A column for every name, filled a trial at a time; equal values are kept once."""

    def __init__(self) -> None:
        self.places: list[int] = []
        self._columns: dict[str, list[Any]] = {}
        self._known: dict[tuple[type, Any], Any] = {}

    def add(self, place: int, values: Mapping[str, Any]) -> None:
        """Add a trial, whose values are plain."""
        for name, value in values.items():
            column = self._columns.setdefault(name, [])
            column += [None] * (len(self.places) - len(column))
            column.append(self._known.setdefault((type(value), value), value))
        self.places.append(place)

    def table(self, names: Sequence[str]) -> pa.Table:
        """The table, in the order of the places; its columns in that of ``names``."""
        count = len(self.places)
        order = sorted(range(count), key=self.places.__getitem__)
        arrays = {}
        for name in (name for name in names if name in self._columns):
            values = self._columns[name]
            whole = values + [None] * (count - len(values))
            arrays[name] = _array(name, [whole[index] for index in order])
        return pa.table(arrays)


def _array(name: str, values: list[Any]) -> pa.Array:
    """Booleans, integers, numbers or texts; anything mixed as JSON; a column of steps without any as integers."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pa.nulls(len(values), _TYPES.get(name, pa.int64() if name.endswith("_steps") else pa.string()))
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int} and all(abs(value) < 1 << 63 for value in values if value is not None):
        return pa.array(values, pa.int64())
    if kinds <= {int, float} and all(abs(value) < 1 << 63 for value in values if type(value) is int):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if all(issubclass(kind, str) for kind in kinds):
        return pa.array(values, pa.string())
    return pa.array([None if value is None else canonical_json(value) for value in values], pa.string())


@contextmanager
def _written(folder: Path) -> Iterator[dict[str, Path]]:
    """Places to write the files, which take their names once all are whole."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = {name: folder / f"{TEMPORARY}{uuid4().hex}" for name in (MEASUREMENTS, TRIALS, SWEEP)}
    try:
        yield temporary
        for name, path in temporary.items():
            os.replace(path, folder / name)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


@contextmanager
def _doing(out: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise LedgerError(f"ledger: cannot write the tables into {out}: {reason}") from None
