"""What became of trials, from the ledger's trajectories: the live view's cached cells, an objective's values."""

from collections.abc import Mapping

import numpy as np

from pipeline.ledger import Ledger
from trainables.engine.events import Outcome, outcome
from trainables.runtime.rows import TrialRow

TRIALS_PER_READ = 500
"""How many trajectories are in memory at once."""


def outcomes_of(ledger: Ledger, rows: Mapping[str, TrialRow]) -> dict[str, Outcome]:
    """The outcome of each of these trials that has a measurement."""
    found: dict[str, Outcome] = {}
    wanted = sorted(rows)
    for start in range(0, len(wanted), TRIALS_PER_READ):
        part = wanted[start : start + TRIALS_PER_READ]
        table = ledger.trajectories(part, ["train_accuracy", "test_accuracy"])
        owners, steps = table["trial_id"].to_numpy(), table["step"].to_numpy()
        train, test = table["train_accuracy"].to_numpy(), table["test_accuracy"].to_numpy()
        for trial_id in part:
            # The rows lie sorted by trial and step.
            first, last = (int(np.searchsorted(owners, trial_id, side)) for side in ("left", "right"))
            if last > first:
                mine = slice(first, last)
                found[trial_id] = outcome(steps[mine], train[mine], test[mine], stop_reason=rows[trial_id].stop_reason)
    return found
