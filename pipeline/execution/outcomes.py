"""What became of trials, from the ledger's trajectories: the live view's cached cells, an objective's values."""

from collections.abc import Mapping

from pipeline.ledger import Ledger
from trainables.engine.events import Outcome, outcome
from trainables.runtime.rows import TrialRow


def outcomes_of(ledger: Ledger, rows: Mapping[str, TrialRow]) -> dict[str, Outcome]:
    """The outcome of each of these trials that has a measurement."""
    return {
        trial_id: outcome(
            curves["step"],
            curves["train_accuracy"],
            curves["test_accuracy"],
            stop_reason=rows[trial_id].stop_reason,
        )
        for trial_id, curves in ledger.curves(sorted(rows), ["train_accuracy", "test_accuracy"])
    }
