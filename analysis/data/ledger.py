"""A sweep from a ledger: the rows of its trials, and their curves."""

import json
from collections.abc import Sequence

from analysis.data.origin import Origin
from analysis.data.stored import StoredCurves, StoredJson
from analysis.data.sweep import ARM, Curves, Sweep, Trial, evaluate
from pipeline.ledger import Ledger
from pipeline.ledger.sweep_row import protocols

VALUES_IN_MEMORY = 1 << 25
"""The largest number of curve values kept in memory; those of further trials are read again when asked for."""


def read_ledger(ledger: Ledger, name: str, columns: Sequence[str] | None = None) -> Sweep:
    """The sweep of that name; others of its curves can be read.

    :param columns: those that its trials have; without, the columns of its events.
    :raises pipeline.ledger.LedgerError: for a ledger that cannot be read, or that lacks the sweep.
    """
    sweep = ledger.sweep(name)
    rows = ledger.trials(sweep.trial_ids)
    design = json.loads(sweep.axes_json)
    asked = protocols(design, sweep.horizon_steps)
    if columns is None:
        columns = list(dict.fromkeys(rule.column for arm in asked.values() for rule in arm["events"]))
    trials: dict[str, Trial] = {}
    for trial_id, coordinates in zip(sweep.trial_ids, json.loads(sweep.coordinates_json), strict=True):
        known = asked.get(coordinates.get(ARM), asked[None])
        if trial_id in rows:
            row = rows[trial_id]
            known = known | {
                "config": StoredJson(row.config_json),
                "state": row.state,
                "stop_reason": row.stop_reason,
                "last_step": row.last_step,
                "error": row.error,
            }
        trials[trial_id] = Trial(trial_id=trial_id, space=name, coordinates=coordinates, **known)
    held = 0
    for trial_id, curves in ledger.curves(rows, columns):
        held += sum(map(len, curves.values()))
        kept: Curves = curves if held <= VALUES_IN_MEMORY else StoredCurves(ledger.curves, trial_id, columns)
        trials[trial_id] = evaluate(trials[trial_id], curves, kept)
    return Sweep(
        name=name,
        trials=tuple(trials[trial_id] for trial_id in sweep.trial_ids),
        doc=sweep.doc,
        horizon_steps=sweep.horizon_steps,
        design=design,
        source=ledger.shown,
        origin=Origin.of(sweep.revision, sweep.recorded_at, rows.values()),
        reader=ledger.curves,
    )
