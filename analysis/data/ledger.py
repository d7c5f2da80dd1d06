"""A sweep from a ledger: the rows of its trials, and their curves."""

import json
from collections.abc import Sequence

from analysis.data.sweep import ACCURACIES, Sweep, Trial, arm_horizon
from pipeline.ledger import Ledger


def read_ledger(ledger: Ledger, name: str, columns: Sequence[str] = ACCURACIES) -> Sweep:
    """The sweep of that name; its trials have the curves of ``columns``, and others can be read.

    :raises pipeline.ledger.LedgerError: for a ledger that cannot be read, or that lacks the sweep.
    """
    sweep = ledger.sweep(name)
    rows = ledger.trials(sweep.trial_ids)
    design = json.loads(sweep.axes_json)
    curves = dict(ledger.curves(rows, columns))
    trials = []
    for trial_id, coordinates in zip(sweep.trial_ids, json.loads(sweep.coordinates_json), strict=True):
        row = rows.get(trial_id)
        known = {} if row is None else {
            "config": json.loads(row.config_json),
            "state": row.state,
            "stop_reason": row.stop_reason,
            "last_step": row.last_step,
            "curves": curves.get(trial_id, {}),
        }  # fmt: skip
        horizon = arm_horizon(design, coordinates, sweep.horizon_steps)
        trials.append(Trial(trial_id=trial_id, space=name, coordinates=coordinates, horizon_steps=horizon, **known))
    return Sweep(
        name=name,
        trials=tuple(trials),
        doc=sweep.doc,
        horizon_steps=sweep.horizon_steps,
        design=design,
        source=ledger.shown,
        reader=ledger.curves,
    )
