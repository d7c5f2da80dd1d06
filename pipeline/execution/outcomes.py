"""When the events of trials came, from the ledger: for the cached cells of the live view and an objective's values."""

from collections.abc import Mapping, Sequence

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
