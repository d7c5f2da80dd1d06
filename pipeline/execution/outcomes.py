"""When the events of trials came, from the ledger: for the cached cells of the live view and an objective's values."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pipeline.ledger import Ledger
from trainables.engine.events import EventRule, Outcome, outcome
from trainables.runtime.rows import TrialRow


def outcomes_of(
    ledger: Ledger, rows: Mapping[str, TrialRow], events: Mapping[str, Sequence[EventRule]]
) -> dict[str, Outcome]:
    """The outcome of each of these trials that has a measurement.

    :param events: the events of each trial, by trial id.
    """
    names = list(dict.fromkeys(rule.column for trial_id in rows for rule in events[trial_id]))
    return {
        trial_id: outcome(columns["step"], columns, events[trial_id], stop_reason=rows[trial_id].stop_reason)
        for trial_id, columns in ledger.curves(sorted(rows), names)
    }


def finals_of(
    ledger: Ledger, trial_ids: Iterable[str], columns: Sequence[str], tau_steps: float
) -> dict[str, dict[str, float]]:
    """The last measured value by tau of each column of these trials; NaN where none was measured."""
    finals = {}
    for trial_id, curve in ledger.curves(trial_ids, columns):
        by_tau = curve["step"] <= tau_steps
        finals[trial_id] = {name: _last(curve[name][by_tau]) for name in columns}
    return finals


def _last(values: np.ndarray) -> float:
    measured = values[~np.isnan(values)]
    return float(measured[-1]) if measured.size else math.nan
