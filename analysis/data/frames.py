"""A sweep as pandas tables: where its trials are, how they are configured, and what was measured.

An axis is a column by the last part of its name, as everywhere a user names it: ``weight_decay``; by its whole name
where two axes end alike.  The configuration has its whole paths, ``optimizer.weight_decay``, and a component's own path
holds the name of its class.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from analysis.data.sweep import STEP, Curves, Sweep, Trial
from pipeline.ledger.views.records import CONFIG, flat
from trainables.engine.config import CLASS_KEY

TRIAL_ID = "trial_id"
HOW_FAR = ("state", "stop_reason", "last_step")
FINAL = "final_"
"""Before the name of a probe: its last measured value."""
NOT_COLUMNS = ("events", "phases", "probes")
"""Lists of components in a configuration; what they make has columns."""


def axis_columns(sweep: Sweep) -> dict[str, str]:
    """The column of each axis."""
    ends = Counter(axis.rpartition(".")[2] for axis in sweep.axes())
    taken = {TRIAL_ID, STEP, *HOW_FAR}
    return {
        axis: end if ends[end := axis.rpartition(".")[2]] == 1 and end not in taken else axis for axis in sweep.axes()
    }


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
    rows = [
        {
            path: value
            for name, value in flat(trial.config).items()
            if (path := name.removeprefix(f"{CONFIG}.") if name != CONFIG else CLASS_KEY) not in NOT_COLUMNS
        }
        for trial in sweep.trials
    ]
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
