"""The rows of a ledger as Parquet: their schema, a segment's content and key, and how copies become one row.

A *segment* is one Parquet file with the trajectory rows of one commit; its trial rows are JSON in the file's
metadata, so that both are stored or neither.  *Compacted* files hold many trials each: trajectory rows in some, trial
rows in others.  Trajectory columns: ``trial_id``, ``step`` and one float64 column for each probe, null where that
probe was not measured and NaN where its value is not a number; compacted rows also name their ``segment``.

Probes are float64 with byte-stream split and zstd: float32 would push an accuracy of exactly .95 below .95.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.ledger.files import LedgerError
from pipeline.ledger.layout import NAME
from pipeline.ledger.soundness import MOST_STEPS, SCHEMA_VERSION, Conflict, UnsoundError, trial_row
from trainables.engine.config import parse_json
from trainables.engine.errors import one_line
from trainables.runtime.rows import TrialRow, TrialState

ROW_GROUP_ROWS = 1 << 17
_VERSION_KEY = b"grokscape.schema_version"
_TRIALS_KEY = b"grokscape.trials"
_TRIAL_ID = pa.dictionary(pa.int32(), pa.string())
_TIMES_AND_PLACES = ("train_s", "provenance_json", "committed_at", "traceback")
_Key = TypeVar("_Key", bound=Hashable)
_STEP_BITS = MOST_STEPS.bit_length() - 1

_TRIAL_TYPES = {"last_step": pa.int64(), "train_s": pa.float64()}
TRIAL_SCHEMA = pa.schema(
    [pa.field(spec.name, _TRIAL_TYPES.get(spec.name, pa.string())) for spec in fields(TrialRow)]
    + [pa.field("segment", pa.string())]
)
"""One row a trial: the fields of a :class:`TrialRow`, and the segment that it came with."""


@dataclass(frozen=True)
class Merged:
    """Trajectory rows, one for each (trial_id, step), in that order; and the conflicts between copies."""

    table: pa.Table
    conflicts: tuple[Conflict, ...]


@dataclass(frozen=True)
class PlacedRow:
    """A trial row and the segment that it came with."""

    row: TrialRow
    segment: str

    def rank(self) -> tuple[int, int, str, str]:
        """Order the rows of one trial; the one with the largest rank is current.

        The larger last step wins; at the same step an ended trial beats a running one, an end that was reached beats a
        failure, and a stop beats the horizon, because it may be a competing event; then the later commit wins.
        """
        states = (TrialState.RUNNING, TrialState.FAILED, TrialState.FINISHED, TrialState.STOPPED)
        return self.row.last_step, states.index(self.row.state), self.row.committed_at, self.segment


def latest_rows(rows: Iterable[PlacedRow]) -> dict[str, PlacedRow]:
    """Return the current row of each trial."""
    return _largest(rows, lambda placed: placed.row.trial_id)


def latest_by_protocol(rows: Iterable[PlacedRow]) -> list[PlacedRow]:
    """Return the furthest row of each trial for each configuration that it was run with."""
    return list(_largest(rows, lambda placed: (placed.row.trial_id, placed.row.config_json)).values())


def _largest(rows: Iterable[PlacedRow], key_of: Callable[[PlacedRow], _Key]) -> dict[_Key, PlacedRow]:
    """Return the row with the largest rank for each key."""
    largest: dict[_Key, PlacedRow] = {}
    for placed in rows:
        key = key_of(placed)
        if key not in largest or placed.rank() > largest[key].rank():
            largest[key] = placed
    return largest


def trial_slices(table: pa.Table) -> dict[str, slice]:
    """Locate the rows of each trial in a table that is ordered by trial."""
    if not len(table):
        return {}
    column = table["trial_id"].dictionary_encode().unify_dictionaries().combine_chunks()
    codes = column.indices.to_numpy()
    starts = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))
    trial_ids = column.dictionary.take(pa.array(codes[starts])).to_pylist()
    ends = [*starts[1:].tolist(), len(table)]
    return dict(zip(trial_ids, map(slice, starts.tolist(), ends), strict=True))


def float_values(column: pa.ChunkedArray) -> np.ndarray:
    """Return a probe as float64, NaN where not measured; (N,)."""
    return column.cast(pa.float64()).to_numpy()


def curves_of(table: pa.Table, *, keep_unmeasured: bool) -> dict[str, np.ndarray]:
    """Return the steps and the probes of one trial's rows as arrays.

    :param keep_unmeasured: return the probes that were never measured too.
    """
    measured = [
        name for name in probe_columns(table.column_names) if keep_unmeasured or table[name].null_count < len(table)
    ]
    return {"step": table["step"].to_numpy()} | {name: float_values(table[name]) for name in measured}


def probe_columns(names: Iterable[str]) -> list[str]:
    """Select the column names that belong to probes."""
    return [name for name in names if name not in ("trial_id", "step", "segment")]


# --- segments -------------------------------------------------------------------------------------------------


def make_segment(trials: Sequence[TrialRow], trajectory: Mapping[str, Any]) -> tuple[str, pa.Buffer]:
    """Make the segment of one commit: its key, and the content of its file.

    :raises LedgerError: naming the first row or column that a ledger cannot hold.
    """
    rows = sorted(map(_checked, trials), key=lambda row: row.trial_id)
    _check_trials(rows)
    table = _trajectory_table(trajectory)
    _check_trajectory(rows, table)
    values = [asdict(row) for row in rows]
    content = json.dumps(values, separators=(",", ":")).encode()
    return segment_key(values, table), to_parquet(table, {_TRIALS_KEY: content})


def segment_key(trials: Iterable[Mapping[str, Any]], trajectory: pa.Table) -> str:
    """Digest a commit's rows, without the times and places of the trial rows; 32 hexadecimal digits.

    :param trials: the fields of each trial row.
    """
    content = hashlib.sha256()
    for row in trials:
        stable = {name: value for name, value in row.items() if name not in _TIMES_AND_PLACES}
        content.update(json.dumps(stable, sort_keys=True).encode())
    content.update(json.dumps(trajectory["trial_id"].to_pylist()).encode())
    content.update(trajectory["step"].to_numpy().tobytes())
    for name in sorted(probe_columns(trajectory.column_names)):
        values, valid = _values(trajectory[name])
        content.update(name.encode() + b"\0" + valid.tobytes() + np.where(np.isnan(values), np.nan, values).tobytes())
    return content.hexdigest()[:32]


def read_trial_rows(metadata: Mapping[bytes, bytes] | None) -> list[dict[str, Any]]:
    """Read the fields of the trial rows in the metadata of a segment.

    :raises ValueError: when there are none, or they cannot be read.
    """
    if not metadata or _TRIALS_KEY not in metadata:
        raise ValueError("has no trial rows")
    rows = parse_json(metadata[_TRIALS_KEY], for_terminal=False)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("its trial rows are no list of objects")
    return rows


def trial_table(rows: Iterable[PlacedRow]) -> pa.Table:
    """Return trial rows as a table of :data:`TRIAL_SCHEMA`, ordered by trial."""
    ordered = sorted(rows, key=lambda placed: placed.row.trial_id)
    return pa.Table.from_pylist(
        [asdict(placed.row) | {"segment": placed.segment} for placed in ordered], schema=TRIAL_SCHEMA
    )


def _checked(row: TrialRow) -> TrialRow:
    try:
        return trial_row(asdict(row))
    except UnsoundError as error:
        raise LedgerError(f"ledger: {error}") from None


def _check_trials(rows: Sequence[TrialRow]) -> None:
    if not rows:
        raise LedgerError("ledger: a commit needs at least one trial row")
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        if following is not None and following.trial_id == row.trial_id:
            raise LedgerError(f"ledger: trial {row.trial_id} appears twice in one commit")


def _trajectory_table(trajectory: Mapping[str, Any]) -> pa.Table:
    """Make a table of equally long columns, ordered by trial and step."""
    missing = {"trial_id", "step"} - set(trajectory) if trajectory else set()
    if missing:
        raise LedgerError(f"ledger: the trajectory has no column {min(missing)}")
    if "segment" in trajectory:
        raise LedgerError("ledger: trajectory column segment: this name is reserved for the ledger")
    columns = {"trial_id": pa.array([], _TRIAL_ID), "step": pa.array([], pa.int64())}
    for name, values in trajectory.items():
        kind = {"trial_id": pa.string(), "step": pa.int64()}.get(name, pa.float64())
        try:
            if isinstance(values, np.ndarray) and kind == pa.float64() and values.dtype != object:
                values = values.astype(np.float64, copy=False)
            column = pa.array(values, type=kind, from_pandas=False)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise LedgerError(f"ledger: trajectory column {name}: {one_line(error)}") from None
        columns[name] = column.dictionary_encode() if name == "trial_id" else column
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise LedgerError(f"ledger: trajectory columns differ in length: {lengths}")
    for name in ("trial_id", "step"):
        if columns[name].null_count:
            raise LedgerError(f"ledger: trajectory column {name} has rows without a value")
    table = pa.table(columns)
    return table.take(np.argsort(_Order.of(table).keys, kind="stable")) if len(table) else table


def _check_trajectory(rows: Sequence[TrialRow], table: pa.Table) -> None:
    if not len(table):
        return
    last_steps = {row.trial_id: row.last_step for row in rows}
    order = _Order.of(table)
    steps = table["step"].to_numpy()
    repeated = np.flatnonzero(order.keys[1:] == order.keys[:-1])
    if len(repeated):
        where = f"trial {order.names[order.codes[repeated[0]]]}, step {steps[repeated[0]]}"
        raise LedgerError(f"ledger: {where} appears twice in one commit")
    for code, name in enumerate(order.names):
        own = steps[order.codes == code]
        if name not in last_steps:
            raise LedgerError(f"ledger: the trajectory has rows of trial {name}, which has no trial row")
        if own[0] < 0 or own[-1] > last_steps[name]:
            raise LedgerError(
                f"ledger: trial {name}: steps {own[0]} to {own[-1]} are outside [0, last_step = {last_steps[name]}]"
            )


# --- reading and merging --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Order:
    """The order of rows: by trial, then by step."""

    names: list[str]
    """The trials, ascending."""
    codes: np.ndarray
    """The index in ``names`` of each row's trial; (N,) int64."""
    keys: np.ndarray
    """``code << 40 | step``; (N,) int64."""

    @classmethod
    def of(cls, table: pa.Table) -> "_Order":
        column = table["trial_id"].unify_dictionaries().combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # no chunk at all
            column = pa.array([], _TRIAL_ID)
        used = np.array(column.dictionary.to_pylist(), dtype=object)
        names, ranks = np.unique(used.astype(str), return_inverse=True) if len(used) else (used, np.array([], np.int64))
        codes = ranks.astype(np.int64)[column.indices.to_numpy()] if len(column) else np.array([], np.int64)
        return cls([str(name) for name in names], codes, codes << _STEP_BITS | table["step"].to_numpy())


def read_trajectory(
    source: pa.NativeFile | pa.Buffer,
    segment: str | None,
    columns: Sequence[str] | None = None,
    trial_ids: Collection[str] | None = None,
    *,
    strict: bool = False,
) -> pa.Table:
    """Read the trajectory rows of one file, of ``trial_ids`` only, skipping row groups without any of them.

    :param segment: its key, for a segment; compacted rows name theirs.
    :param columns: the probes to read, where the file has them; default: all.
    :param strict: rows of a trial with an unsound name are an error instead of being left out.
    :raises OSError, ValueError: when the file is damaged (``pyarrow.ArrowInvalid`` is a ValueError).
    """
    source = pa.BufferReader(source) if isinstance(source, pa.Buffer) else source
    dictionaries = ["trial_id"] if segment is not None else ["trial_id", "segment"]
    with pq.ParquetFile(source, read_dictionary=dictionaries, page_checksum_verification=True, pre_buffer=True) as file:
        schema = file.schema_arrow  # made anew by each access
        check_version(schema.metadata)
        names = schema.names
        _check_columns(schema, dictionaries)
        selected = [
            name for name in names if name in ("trial_id", "step", "segment") or columns is None or name in columns
        ]
        if trial_ids is None:
            table = file.read(columns=selected)
        else:
            column = names.index("trial_id")
            groups = [index for index in range(file.num_row_groups) if _may_hold(file, index, column, trial_ids)]
            # One at a time: few of a group's rows may be wanted.
            tables = (_rows_of(file.read_row_group(index, columns=selected), trial_ids) for index in groups)
            table = pa.concat_tables([file.schema_arrow.empty_table().select(selected), *tables])
    table = _with_sound_rows(table.replace_schema_metadata(None), strict=strict)
    if segment is not None:
        constant = pa.DictionaryArray.from_arrays(np.zeros(len(table), np.int32), pa.array([segment], pa.string()))
        table = table.append_column("segment", constant)
    return table


def _rows_of(table: pa.Table, trial_ids: Collection[str]) -> pa.Table:
    names = pc.unique(table["trial_id"]).to_pylist()
    wanted = pa.array([name for name in names if name in trial_ids], pa.string())
    return table if len(wanted) == len(names) else table.filter(pc.is_in(table["trial_id"], wanted))


def _check_columns(schema: pa.Schema, dictionaries: Sequence[str]) -> None:
    """Make sure that the columns are a trajectory's.

    :raises ValueError: naming the first that is not.
    """
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    missing = [name for name in (*dictionaries, "step") if name not in schema.names]
    if twice or missing:
        raise ValueError(f"has column {twice[0]!r} twice" if twice else f"has no column {missing[0]!r}")
    for field in schema:
        allowed = pa.int64() if field.name == "step" else pa.float64()
        if field.name in dictionaries:
            allowed = _TRIAL_ID
        if field.type != allowed:
            raise ValueError(f"column {field.name!r} is of type {field.type}")


def _with_sound_rows(table: pa.Table, *, strict: bool) -> pa.Table:
    """Leave out rows of a trial whose name is unsound.

    :raises ValueError: when rows have no trial or no possible step, or ``strict`` and such names.
    """
    for name in {"trial_id", "step", "segment"}.intersection(table.column_names):
        if table[name].null_count:
            raise ValueError(f"column {name!r} has rows without a value")
    if "step" in table.column_names and len(table):
        steps = table["step"].to_numpy()
        if steps.min() < 0 or steps.max() >= MOST_STEPS:
            raise ValueError(f"has rows at steps {steps.min()} to {steps.max()}")
    unsound = [name for name in pc.unique(table["trial_id"]).to_pylist() if not re.fullmatch(NAME, name)]
    if not unsound:
        return table
    if strict:
        raise ValueError(f"has rows of trial {unsound[0][:60]!a}")
    return table.filter(pc.invert(pc.is_in(table["trial_id"].cast(pa.string()), pa.array(unsound))))


def count_trials(table: pa.Table) -> Counter[str]:
    """Count the rows of each trial in a table."""
    counts = table["trial_id"].value_counts().to_pylist()
    return Counter({item["values"]: item["counts"] for item in counts})


def check_version(metadata: Mapping[bytes, bytes] | None) -> None:
    """Refuse a file of another schema version, and one that is not a ledger's.

    :raises ValueError: saying which.
    """
    version = int((metadata or {}).get(_VERSION_KEY, b"0"))
    if version < 1:
        raise ValueError("has no schema version of a ledger")
    if version != SCHEMA_VERSION:
        raise ValueError(f"has schema version {version}; must be {SCHEMA_VERSION}")


def _may_hold(file: pq.ParquetFile, group: int, column: int, trial_ids: Collection[str]) -> bool:
    statistics = file.metadata.row_group(group).column(column).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    low, high = statistics.min, statistics.max
    return any(low <= trial_id <= high for trial_id in trial_ids)


def merge_rows(tables: Sequence[pa.Table]) -> Merged:
    """Merge the rows of several files into one ordered table with every (trial_id, step) once.

    Copies that agree become one row, with every probe that any of them measured.  Where values differ, the first in
    the order of segment keys wins, and the conflict is reported.
    """
    tables = [table for table in tables if len(table)]
    if not tables:
        return Merged(_no_rows(), ())
    table = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
    order = _Order.of(table)
    keys = order.keys
    if np.all(keys[1:] > keys[:-1]):
        return Merged(table, ())
    places = np.argsort(keys, kind="stable")
    table, keys, codes = table.take(places), keys[places], order.codes[places]
    repeated = keys[1:] == keys[:-1]
    if not repeated.any():
        return Merged(table, ())
    shared = np.append(repeated, False) | np.append(False, repeated)
    resolved, conflicts = _resolve(table.filter(pa.array(shared)), keys[shared], codes[shared], order.names)
    table = pa.concat_tables([table.filter(pa.array(~shared)), resolved]).unify_dictionaries()
    merged_keys = np.concatenate([keys[~shared], np.unique(keys[shared])])
    return Merged(table.take(np.argsort(merged_keys, kind="stable")), conflicts)


def _resolve(
    table: pa.Table, keys: np.ndarray, codes: np.ndarray, names: Sequence[str]
) -> tuple[pa.Table, tuple[Conflict, ...]]:
    """Merge rows that all have copies into one row for each key; ``keys`` ascends."""
    segments = np.array(table["segment"].to_pylist(), dtype=str)
    places = np.lexsort((segments, keys))
    table, keys, codes = table.take(places), keys[places], codes[places]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(keys))))
    columns = {name: table[name].take(starts) for name in ("trial_id", "step", "segment")}
    differing: dict[str, np.ndarray] = {}
    for name in probe_columns(table.column_names):
        values, valid = _values(table[name])
        first = np.minimum.reduceat(np.where(valid, np.arange(len(keys)), len(keys)), starts)
        measured = first < len(keys)
        kept = values[np.minimum(first, len(keys) - 1)]
        columns[name] = pa.chunked_array([pa.array(kept, mask=~measured)])
        same = (values == kept[group]) | (np.isnan(values) & np.isnan(kept[group]))
        differing[name] = np.logical_or.reduceat(valid & ~same, starts)
    resolved = pa.table({name: columns[name] for name in table.column_names})
    return resolved, _conflicts(differing, codes[starts], table["step"].take(starts).to_numpy(), names)


def _conflicts(
    differing: Mapping[str, np.ndarray], codes: np.ndarray, steps: np.ndarray, names: Sequence[str]
) -> tuple[Conflict, ...]:
    if not differing:
        return ()
    anywhere = np.logical_or.reduce(list(differing.values()))
    conflicts = []
    for code in np.unique(codes[anywhere]):
        own = anywhere & (codes == code)
        columns = tuple(name for name, differs in differing.items() if (differs & own).any())
        conflicts.append(Conflict(names[code], int(own.sum()), int(steps[own].min()), columns))
    return tuple(conflicts)


def merge_conflicts(conflicts: Iterable[Conflict]) -> list[Conflict]:
    """Merge the conflicts of each trial into one, ordered by trial."""
    merged: dict[str, Conflict] = {}
    for new in conflicts:
        old = merged.get(new.trial_id)
        merged[new.trial_id] = (
            new
            if old is None
            else Conflict(
                new.trial_id,
                old.rows + new.rows,
                min(old.first_step, new.first_step),
                tuple(sorted({*old.columns, *new.columns})),
            )
        )
    return [merged[trial_id] for trial_id in sorted(merged)]


def _no_rows() -> pa.Table:
    empty = pa.array([], _TRIAL_ID)
    return pa.table({"trial_id": empty, "step": pa.array([], pa.int64()), "segment": empty})


def _values(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Return a probe as float64 (NaN where null) and whether each row was measured; (N,) each."""
    valid = column.is_valid().to_numpy()
    return float_values(column), valid


def to_parquet(table: pa.Table, metadata: Mapping[bytes, bytes] | None = None) -> pa.Buffer:
    """Write a table as Parquet: compact, with a checksum of every page, and the version of its schema."""
    names = table.column_names
    probes = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata({_VERSION_KEY: str(SCHEMA_VERSION).encode()} | dict(metadata or {})),
        sink,
        row_group_size=ROW_GROUP_ROWS,
        compression="zstd",
        use_dictionary=[name for name in names if name not in probes and name not in ("step", "last_step")],
        column_encoding=dict.fromkeys(probes, "BYTE_STREAM_SPLIT")
        | {name: "DELTA_BINARY_PACKED" for name in ("step", "last_step") if name in names},
        write_page_checksum=True,
    )
    return sink.getvalue()
