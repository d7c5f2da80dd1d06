"""What a figure of the paper keeps of a sweep: one small Parquet file, so that it can be drawn without any run.

What is collected from a ledger is rounded as the file stores it, so that both give the same numbers.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.data.ledger import read_ledger
from analysis.data.sweep import ARM, STEP, Sweep, SweepError, Trial
from pipeline.ledger import Ledger
from pipeline.ledger.sweep_row import protocols

KEPT = Path(__file__).parents[1] / "paper" / "evidence"
MANTISSA_BITS = 13
"""The bits that are kept of curves other than accuracies: a relative error of at most 1 in 16384."""
_CURVE, _SWEEP = "curve.", "sweep"


def sized_name(space: str, size: str, *, sized: bool = True) -> str:
    """What the ledger calls a space at a size, and the stem of its file."""
    return f"{space}_{size}" if sized else space


def collect(ledger: Ledger, space: str, size: str, columns: Sequence[str], *, sized: bool = True) -> Sweep:
    """A space's sweep from a ledger, each trial up to its horizon, rounded; empty where the ledger does not know it.

    :raises pipeline.ledger.LedgerError: for a ledger that cannot be read.
    """
    name = sized_name(space, size, sized=sized)
    if all(row.name != name for row in ledger.sweeps()):
        return Sweep(name=name, size=size)
    sweep = read_ledger(ledger, name, columns).truncated_at()
    trials = (
        replace(trial, space=space, curves={name: rounded(name, values) for name, values in trial.curves.items()})
        for trial in sweep.trials
    )
    return replace(sweep, size=size, trials=tuple(trials), reader=None)


def rounded(column: str, values: np.ndarray) -> np.ndarray:
    """Values as they are stored: accuracies and steps in float32, the rest with :data:`MANTISSA_BITS` bits of it."""
    if column == STEP:
        return values.astype(float)
    with np.errstate(over="ignore"):  # A run that diverges leaves the range of float32: infinite is right.
        single = values.astype(np.float32)
    if not column.endswith("_accuracy"):
        fraction, exponent = np.frexp(single)
        scale = np.float32(2.0 ** (MANTISSA_BITS + 1))
        single = np.ldexp(np.round(fraction * scale) / scale, exponent)
    return single.astype(float)


def save(sweep: Sweep, name: str, folder: Path | None = None) -> Path:
    """Write a sweep as ``<name>.parquet``: a row a trial, a list a curve."""
    trials = sweep.trials
    columns: dict[str, pa.Array] = {
        "trial_id": pa.array([trial.trial_id for trial in trials]),
        "space": pa.array([trial.space for trial in trials]),
        "coordinates": pa.array([_json(trial.coordinates) for trial in trials]),
        "config": pa.array([_json(dict(trial.config)) for trial in trials]),
        "state": pa.array([trial.state for trial in trials]),
        "stop_reason": pa.array([trial.stop_reason for trial in trials], pa.string()),
        "last_step": pa.array([trial.last_step for trial in trials], pa.int64()),
        "horizon_steps": pa.array([trial.horizon_steps for trial in trials], pa.int64()),
        STEP: _lists((trial.curves.get(STEP) for trial in trials), pa.int32()),
    }
    for column in sorted({column for trial in trials for column in trial.curves} - {STEP}):
        columns[f"{_CURVE}{column}"] = _lists((trial.curves.get(column) for trial in trials), pa.float32())
    named = {"name": sweep.name, "doc": sweep.doc, "size": sweep.size, "horizon_steps": sweep.horizon_steps}
    folder = folder or KEPT
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.parquet"
    partial = path.with_suffix(".partial")
    _write(pa.table(columns), _json({**named, "design": sweep.design}), partial)
    os.replace(partial, path)
    return path


def _write(table: pa.Table, sweep_json: str, path: Path) -> None:
    options: dict[str, Any] = {"compression": "zstd", "compression_level": 19, "write_statistics": False}
    # Without Arrow's own schema, which would hold the metadata a second time.
    with pq.ParquetWriter(path, table.schema, store_schema=False, **options) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_SWEEP: sweep_json})


def read_kept(name: str, folder: Path | None = None) -> Sweep | None:
    """The sweep that :func:`save` wrote; None where there is no such file.

    :raises SweepError: for a file that cannot be read.
    """
    path = (folder or KEPT) / f"{name}.parquet"
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path)
        sweep = json.loads((table.schema.metadata or {})[_SWEEP.encode()])
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise SweepError(f"{path}: cannot be read ({error})") from None
    asked = protocols(sweep["design"], sweep["horizon_steps"])
    trials = []
    for row in table.to_pylist():
        named = {name: row.pop(name) for name in [*row] if name == STEP or name.startswith(_CURVE)}
        curves = {
            name.removeprefix(_CURVE): np.array(values, dtype=float)
            for name, values in named.items()
            if values is not None
        }
        row |= {name: json.loads(row[name]) for name in ("coordinates", "config")}
        protocol = asked.get(row["coordinates"].get(ARM), asked[None])
        trials.append(Trial(**{**protocol, **row}, curves=curves))
    return Sweep(**sweep, trials=tuple(trials), source=str(path))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _lists(curves: Iterable[np.ndarray | None], kind: pa.DataType) -> pa.Array:
    """A list a trial, null where it has no such curve; NaN is stored as null, and read as NaN again."""
    return pa.array(
        [None if curve is None else pa.array(curve, from_pandas=True).cast(kind, safe=False) for curve in curves],
        pa.list_(kind),
    )
