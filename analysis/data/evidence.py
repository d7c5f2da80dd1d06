"""What a figure of the paper is made from: the trials of one sweep, with the few curves that the figure names.

It is collected from a ledger, or read from the Parquet files beside this module that were kept when the runs were
made, so that every figure can be drawn without any run.  Both ways give the same numbers: what is collected is
rounded as it is stored.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.data.load import MISSING, arm_horizons
from analysis.diagram.layout import ARM, SEED, is_replicate
from pipeline.ledger import Ledger
from trainables.engine.errors import GrokscapeError
from trainables.engine.events import TEST_THRESHOLDS, TRAIN_THRESHOLDS, Event, Outcome, outcome
from trainables.runtime.rows import TrialState

FULL, LAPTOP = "full", "laptop"
SIZES = (FULL, LAPTOP)
DATA = Path(__file__).parents[1] / "paper" / "evidence"
MANTISSA_BITS = 13
"""Of the curves other than accuracies so many bits are kept: a relative error of at most 1 in 16384."""
STEP = "step"


class EvidenceError(GrokscapeError):
    """Evidence that cannot be read or asked so: one clear line."""


@dataclass(frozen=True, kw_only=True)
class TrialEvidence:
    """One trial: its place in the sweep, how far it got, and its curves."""

    trial_id: str
    space: str
    """The stem of the search space that it belongs to."""
    coordinates: Mapping[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict)
    """The configuration's JSON; empty where the trial was not begun."""
    state: str = MISSING
    stop_reason: str | None = None
    last_step: int = 0
    horizon_steps: int = 0
    """What was asked of it."""
    curves: Mapping[str, np.ndarray] = field(default_factory=dict)
    """``step`` and the figure's columns, float64 (T,): NaN where not measured.  A figure may add arrays of its own."""

    @property
    def seed(self) -> Any:
        """The replicate: its seed, or what tells it from its like where split and initialisation vary apart."""
        if SEED in self.coordinates:
            return self.coordinates[SEED]
        return tuple(sorted((name, value) for name, value in self.coordinates.items() if is_replicate(name)))

    @property
    def arm(self) -> str:
        """The name of its arm; empty in a sweep without arms."""
        return str(self.coordinates.get(ARM, ""))

    @property
    def setting(self) -> dict[str, Any]:
        """Its coordinates without the seed: what the trials of one group have in common."""
        return {name: value for name, value in self.coordinates.items() if not is_replicate(name)}

    @property
    def begun(self) -> bool:
        """Whether anything was measured."""
        return STEP in self.curves and len(self.curves[STEP]) > 0

    @property
    def known_until(self) -> float:
        """The step up to which its accuracies are known: the last one; infinite where it was stopped for a reason
        that settles them (success, frozen, diverged), because then the last accuracy stands for all later steps."""
        return math.inf if self.stop_reason is not None else float(self.last_step)

    def measured(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """The steps at which a column was measured, and its values there; both empty where it never was.

        :raises EvidenceError: for a column that the figure does not name.
        """
        if not self.begun:
            return np.empty(0), np.empty(0)
        if column not in self.curves:
            raise EvidenceError(f"{column}: not among the figure's columns: {', '.join(sorted(self.curves))}")
        there = np.isfinite(self.curves[column])
        return self.curves[STEP][there], self.curves[column][there]

    def final(self, column: str) -> float:
        """The last measured value; NaN where there is none."""
        _, values = self.measured(column)
        return float(values[-1]) if len(values) else math.nan

    def largest(self, column: str) -> float:
        """The largest measured value; NaN where there is none."""
        _, values = self.measured(column)
        return float(values.max()) if len(values) else math.nan

    def at(self, column: str, step: float) -> float:
        """The value at the last measurement up to ``step``; NaN where the trial does not know it yet.

        A trial that was stopped on success keeps its last accuracy afterwards; other columns end with the trial.
        """
        steps, values = self.measured(column)
        until = self.known_until if column.endswith("_accuracy") else float(self.last_step)
        if step > until or not len(steps) or steps[0] > step:
            return math.nan
        return float(values[np.searchsorted(steps, step, side="right") - 1])

    def asked_to(self, horizon_steps: int) -> "TrialEvidence":
        """The trial as a sweep with this horizon sees it.

        It may have been followed further for another sweep: what is beyond the horizon is not this sweep's own.
        """
        ended_here = self.last_step <= horizon_steps
        kept = self.curves[STEP] <= horizon_steps if self.begun else None
        return replace(
            self,
            state=self.state if ended_here else TrialState.FINISHED,
            stop_reason=self.stop_reason if ended_here else None,
            last_step=min(self.last_step, horizon_steps),
            horizon_steps=horizon_steps,
            curves={name: values[kept] for name, values in self.curves.items()} if self.begun else self.curves,
        )

    def first_reaching(self, column: str, value: float) -> float:
        """The first measured step with a value of at least ``value``; infinite where there is none so far."""
        steps, values = self.measured(column)
        there = np.flatnonzero(values >= value)
        return float(steps[there[0]]) if len(there) else math.inf

    def first_below(self, column: str, value: float) -> float:
        """The first measured step with a value below ``value``; infinite where there is none so far."""
        steps, values = self.measured(column)
        there = np.flatnonzero(values < value)
        return float(steps[there[0]]) if len(there) else math.inf

    def event(self, name: str, threshold: float) -> Event:
        """When ``t_mem`` (training) or ``t_gen`` (test) was sustained at an accuracy; see trainables.engine.events.

        :raises EvidenceError: where the figure does not name both accuracies, or nothing was measured.
        """
        return self.outcome(threshold).event(name, threshold)

    def outcome(self, *thresholds: float) -> Outcome:
        """Every standard event, and those of further thresholds."""
        steps, train = self.measured("train_accuracy")
        test = self.measured("test_accuracy")[1]
        if not len(steps) or len(train) != len(test):
            raise EvidenceError(f"trial {self.trial_id}: has no accuracies to take an event from")
        return outcome(
            steps.astype(int),
            train,
            test,
            stop_reason=self.stop_reason,
            train_thresholds=tuple(sorted({*TRAIN_THRESHOLDS, *thresholds})),
            test_thresholds=tuple(sorted({*TEST_THRESHOLDS, *thresholds})),
        )


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Every trial that a figure asked for, at one size; those that nobody has begun too."""

    size: str
    trials: tuple[TrialEvidence, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything was measured."""
        return any(trial.begun for trial in self.trials)

    def where(self, **wanted: Any) -> tuple[TrialEvidence, ...]:
        """The begun trials at these coordinates, in the sweep's order.

        An axis is named by its last part (``weight_decay=1`` for ``optimizer.weight_decay``); ``arm``, ``seed`` and
        ``space`` are axes too.  A list or tuple means any of its items.

        :raises EvidenceError: for an axis that no trial has.
        """
        found = [trial for trial in self.trials if trial.begun]
        for name, value in wanted.items():
            allowed = value if isinstance(value, list | tuple | set | range) else (value,)
            if self.trials and not any(_coordinate(trial, name) is not _ABSENT for trial in self.trials):
                raise EvidenceError(f"{name}: no axis of this evidence; it has: {', '.join(self.axes())}")
            found = [trial for trial in found if _coordinate(trial, name) in allowed]
        return tuple(found)

    def axes(self) -> tuple[str, ...]:
        """Every coordinate's name, in the order in which the trials bring them up."""
        return tuple(dict.fromkeys(name for trial in self.trials for name in trial.coordinates))

    def values(self, axis: str) -> tuple[Any, ...]:
        """The values that an axis takes, in the sweep's order."""
        found = (_coordinate(trial, axis) for trial in self.trials)
        return tuple(dict.fromkeys(value for value in found if value is not _ABSENT))

    def by_seed(self, **wanted: Any) -> dict[Any, TrialEvidence]:
        """The begun trials at these coordinates by seed: what pairs two arms.

        :raises EvidenceError: where the coordinates leave several trials to a seed.
        """
        found: dict[Any, TrialEvidence] = {}
        for trial in self.where(**wanted):
            if trial.seed in found:
                raise EvidenceError(f"{wanted}: leaves more than one trial to seed {trial.seed}; name more axes")
            found[trial.seed] = trial
        return found

    @property
    def seeds_asked(self) -> int:
        """How many replicates the sweep has."""
        return len({trial.seed for trial in self.trials})

    @property
    def seeds_begun(self) -> int:
        """Of how many of them anything was measured."""
        return len({trial.seed for trial in self.trials if trial.begun})

    def extent(self) -> str:
        """How much of what was asked there is: ``3 of 5 seeds, 12 of 30 trials begun, 4000 to 20000 of 80000 steps``.

        A trial that was stopped for a reason that settles it counts as followed to its end.
        """
        begun = [trial for trial in self.trials if trial.begun]
        if not begun:
            return "nothing was run"
        asked, there = self.seeds_asked, self.seeds_begun
        words = [f"{asked} seed{'s' if asked > 1 else ''}" if there == asked else f"{there} of {asked} seeds"]
        if len(begun) < len(self.trials):
            words.append(f"{len(begun)} of {len(self.trials)} trials begun")
        horizon = max(trial.horizon_steps for trial in self.trials)
        short = [trial.last_step for trial in begun if trial.known_until < trial.horizon_steps]
        if not short:
            words.append(f"all {thousands(horizon)} steps")
        else:
            span = dict.fromkeys(thousands(step) for step in (min(short), max(short)))
            some = "" if len(short) == len(begun) else f" in {len(short)} trial{'s' if len(short) > 1 else ''}"
            words.append(f"{' to '.join(span)} of {thousands(horizon)} steps{some}")
        return ", ".join(words)


def thousands(number: float) -> str:
    """``12 000``, with a narrow space that does not break."""
    return f"{number:,.0f}".replace(",", "\u202f")


_ABSENT = object()


def _coordinate(trial: TrialEvidence, name: str) -> Any:
    if name == "space":
        return trial.space
    if name == SEED:
        return trial.seed
    if name in trial.coordinates:
        return trial.coordinates[name]
    for axis, value in trial.coordinates.items():
        if axis.rpartition(".")[2] == name:
            return value
    return _ABSENT


# --- collecting ---------------------------------------------------------------------------------------------------


def sweep_name(space: str, size: str, *, sized: bool = True) -> str:
    """What the ledger calls a space at a size, and the stem of its file."""
    return f"{space}_{size}" if sized else space


def collect(ledger: Ledger, space: str, size: str, columns: Sequence[str], *, sized: bool = True) -> Evidence:
    """The evidence that a ledger holds; empty where it does not know the sweep.

    :raises pipeline.ledger.LedgerError: for a ledger that cannot be read.
    """
    name = sweep_name(space, size, sized=sized)
    sweep = next((row for row in ledger.sweeps() if row.name == name), None)
    if sweep is None:
        return Evidence(size=size)
    rows = ledger.trials(sweep.trial_ids)
    table = ledger.trajectories(tuple(rows), columns=tuple(columns)).to_pandas()
    curves = {str(trial_id): part for trial_id, part in table.groupby("trial_id", sort=False)}
    trials = []
    asked = arm_horizons(json.loads(sweep.axes_json))
    for trial_id, coordinates in zip(sweep.trial_ids, json.loads(sweep.coordinates_json), strict=True):
        horizon = asked.get(coordinates.get(ARM), sweep.horizon_steps)
        trial = TrialEvidence(trial_id=trial_id, space=space, coordinates=coordinates, horizon_steps=horizon)
        if trial_id in rows:
            row, part = rows[trial_id], curves.get(trial_id)
            trial = replace(
                trial,
                config=json.loads(row.config_json),
                state=row.state,
                stop_reason=row.stop_reason,
                last_step=row.last_step,
                curves={} if part is None else _curves(part, columns),
            ).asked_to(horizon)
        trials.append(trial)
    return Evidence(size=size, trials=tuple(trials))


def _curves(part: Any, columns: Sequence[str]) -> dict[str, np.ndarray]:
    found = {STEP: part[STEP].to_numpy(dtype=float)}
    return found | {name: rounded(name, part[name].to_numpy(dtype=float)) for name in columns}


def rounded(column: str, values: np.ndarray) -> np.ndarray:
    """Values as they are stored: accuracies and steps in float32, the rest with :data:`MANTISSA_BITS` bits of it."""
    if column == STEP:
        return values
    single = values.astype(np.float32)
    if not column.endswith("_accuracy"):
        fraction, exponent = np.frexp(single)
        scale = np.float32(2.0 ** (MANTISSA_BITS + 1))
        single = np.ldexp(np.round(fraction * scale) / scale, exponent)
    return single.astype(float)


# --- files --------------------------------------------------------------------------------------------------------


def save(evidence: Evidence, name: str, folder: Path | None = None) -> Path:
    """Write evidence as ``<name>.parquet``: a row a trial, a list a curve."""
    curves = sorted({column for trial in evidence.trials for column in trial.curves} - {STEP})
    columns: dict[str, pa.Array] = {
        "trial_id": pa.array([trial.trial_id for trial in evidence.trials]),
        "space": pa.array([trial.space for trial in evidence.trials]),
        "coordinates": pa.array([_json(trial.coordinates) for trial in evidence.trials]),
        "config": pa.array([_json(trial.config) for trial in evidence.trials]),
        "state": pa.array([trial.state for trial in evidence.trials]),
        "stop_reason": pa.array([trial.stop_reason for trial in evidence.trials], pa.string()),
        "last_step": pa.array([trial.last_step for trial in evidence.trials], pa.int64()),
        "horizon_steps": pa.array([trial.horizon_steps for trial in evidence.trials], pa.int64()),
        STEP: _lists((trial.curves.get(STEP) for trial in evidence.trials), pa.int32()),
    }
    for column in curves:
        columns[f"curve.{column}"] = _lists((trial.curves.get(column) for trial in evidence.trials), pa.float32())
    table = pa.table(columns).replace_schema_metadata({"size": evidence.size})
    folder = folder or DATA
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.parquet"
    partial = path.with_suffix(".partial")
    pq.write_table(table, partial, compression="zstd", compression_level=19, write_statistics=False)
    os.replace(partial, path)
    return path


def read(name: str, folder: Path | None = None) -> Evidence | None:
    """The evidence that :func:`save` wrote; None where there is no such file.

    :raises EvidenceError: for a file that cannot be read.
    """
    path = (folder or DATA) / f"{name}.parquet"
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path)
        rows = table.to_pylist()
        size = (table.schema.metadata or {})[b"size"].decode()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise EvidenceError(f"{path}: cannot be read ({error})") from None
    trials = []
    for row in rows:
        named = {name: row.pop(name) for name in [*row] if name == STEP or name.startswith("curve.")}
        curves = {
            name.removeprefix("curve."): np.array(values, dtype=float)
            for name, values in named.items()
            if values is not None
        }
        row |= {name: json.loads(row[name]) for name in ("coordinates", "config")}
        trials.append(TrialEvidence(**row, curves=curves))
    return Evidence(size=size, trials=tuple(trials))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _lists(curves: Iterable[np.ndarray | None], kind: pa.DataType) -> pa.Array:
    """A list a trial, null where it has no such curve; NaN is stored as null, and read as NaN again."""
    return pa.array(
        [None if curve is None else pa.array(curve, from_pandas=True).cast(kind, safe=False) for curve in curves],
        pa.list_(kind),
    )
