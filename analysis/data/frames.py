"""A sweep as pandas tables: where its trials are, how they are configured, and what was measured.

The columns are called as those of :mod:`pipeline.ledger.views.records`, which the ledger's own tables have.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from analysis.data.sweep import STEP, Curves, Sweep, Trial
from pipeline.ledger.views import records
from pipeline.ledger.views.records import FINAL, HOW_FAR

TRIAL_ID = "trial_id"


def axis_columns(sweep: Sweep) -> dict[str, str]:
    """The column of each axis."""
    return records.axis_columns(sweep.axes())


def places(sweep: Sweep) -> pd.DataFrame:
    """One row a trial in the sweep's order: its id, its coordinates, and how far it is."""
    columns = axis_columns(sweep)
    return pd.DataFrame(
        [
            {
                TRIAL_ID: trial.trial_id,
                **{column: trial.coordinates.get(axis) for axis, column in columns.items()},
                "state": str(trial.state),
                "stop_reason": trial.stop_reason and str(trial.stop_reason),
                "last_step": trial.last_step,
            }
            for trial in sweep.trials
        ],
        columns=[TRIAL_ID, *columns.values(), *HOW_FAR],
    )


def configurations(sweep: Sweep) -> pd.DataFrame:
    """One row a trial in the sweep's order: its flat configuration; empty where the source does not hold it."""
    rows = [records.flat(trial.config) for trial in sweep.trials]
    return pd.DataFrame(rows, index=range(len(rows)))


def final_values(sweep: Sweep) -> pd.DataFrame:
    """One row a trial in the sweep's order: the last value of every probe by the trial's horizon in this sweep."""
    finals = {trial.trial_id: trial.read_finals for trial in sweep.trials}
    if not any(finals.values()):
        finals |= {trial.trial_id: _last(curves, trial.horizon_steps) for trial, curves in sweep.iter_curves()}
    rows = ({f"{FINAL}{name}": value for name, value in values.items()} for values in finals.values())
    return pd.DataFrame(list(rows), index=range(len(finals)))


def curves_table(sweep: Sweep, trials: Iterable[tuple[Trial, Curves]], columns: Sequence[str] | None) -> pd.DataFrame:
    """One row a measurement: the trial's id and coordinates, the step, and these columns; NaN where not measured.

    :param columns: all that any trial has, without.
    """
    axes = axis_columns(sweep)
    read = list(trials)
    names = columns or dict.fromkeys(name for _, curves in read for name in curves if name != STEP)
    counts = [len(curves[STEP]) for _, curves in read]
    whose = np.repeat(np.arange(len(read)), counts)
    table = {TRIAL_ID: pd.Series([trial.trial_id for trial, _ in read], dtype=object)}
    table |= {column: pd.Series([trial.coordinates.get(axis) for trial, _ in read]) for axis, column in axes.items()}
    frame = pd.DataFrame({name: values.take(whose).to_numpy() for name, values in table.items()})
    frame[STEP] = _joined([curves[STEP] for _, curves in read]).astype(np.int64)
    for name in names:
        never = (np.full(count, math.nan) for count in counts)
        frame[name] = _joined([curves.get(name, blank) for (_, curves), blank in zip(read, never, strict=True)])
    return frame


def _last(curves: Curves, by_steps: int) -> dict[str, float]:
    last = {}
    early = curves[STEP] <= by_steps
    for name, values in curves.items():
        measured = np.flatnonzero(early & np.isfinite(values))
        if name != STEP and len(measured):
            last[name] = float(values[measured[-1]])
    return last


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0)
