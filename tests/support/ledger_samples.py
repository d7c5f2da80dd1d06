"""Made-up trials for the ledger's tests: rows whose every value is a function of the trial and the step."""

import io

import numpy as np

from pipeline.ledger import SweepRow
from trainables.engine.config import canonical_json
from trainables.engine.trial import Measuring
from trainables.runtime.rows import TrialRow, TrialState

COLUMNS = ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "parameter_norm")
EVERY_STEP = Measuring(dense_until_steps=100_000)


def trial_row(
    trial_id, last_step, state=TrialState.RUNNING, *, measuring=EVERY_STEP, committed_at="2026-01-01T00:00:00", **more
):
    """A trial row; ``measuring`` None leaves it out of the config."""
    config = {"class": "made.up"} if measuring is None else {"class": "made.up", "measuring": measuring.to_json()}
    fields = {
        "config_json": canonical_json(config),
        "device_kind": "cpu",
        "data_fingerprint": "data",
        "source_hash": "source",
        "provenance_json": "{}",
    }
    return TrialRow(trial_id=trial_id, state=state, last_step=last_step, committed_at=committed_at, **fields | more)


def value(trial_id, column, steps):
    """What a probe of a trial measured at some steps; in [0, 1)."""
    phase = sum(trial_id.encode()) + 7 * COLUMNS.index(column) if column in COLUMNS else len(column)
    return np.modf(np.sin(phase + 0.37 * np.asarray(steps, dtype=np.float64)) * 1e4)[0] ** 2


def trajectory(trial_id, steps, columns=COLUMNS):
    """The rows of one trial at some steps."""
    steps = np.asarray(list(steps), dtype=np.int64)
    rows = {"trial_id": [trial_id] * len(steps), "step": steps}
    return rows | {column: value(trial_id, column, steps) for column in columns}


def archive(name):
    """The data of a checkpoint or a snapshot: an archive whose only array differs by name."""
    buffer = io.BytesIO()
    np.savez(buffer, weights=np.frombuffer(name.encode(), np.uint8))
    return buffer.getvalue()


def commit_steps(ledger, trial_id, steps, state=TrialState.RUNNING, **more):
    """Commit some rows of one trial; its last step is theirs."""
    steps = list(steps)
    ledger.commit([trial_row(trial_id, steps[-1], state, **more)], trajectory(trial_id, steps))


def assert_exactly_once(ledger, last_steps):
    """The trajectories are those of these trials at each step up to the last one, every row once and right."""
    table = ledger.trajectories()
    expected = [(trial_id, step) for trial_id in sorted(last_steps) for step in range(last_steps[trial_id] + 1)]
    assert list(zip(table["trial_id"].to_pylist(), table["step"].to_pylist(), strict=True)) == expected
    ids = np.array(table["trial_id"].to_pylist())
    for trial_id, last_step in last_steps.items():
        own = table.filter(ids == trial_id)
        for column in COLUMNS:
            np.testing.assert_array_equal(own[column].to_numpy(), value(trial_id, column, range(last_step + 1)))


def record(ledger, name, trial_ids, recorded_at="2026-01-01"):
    """Put a sweep of these trials into the ledger."""
    ledger.record_sweep(
        SweepRow(
            name=name,
            doc="",
            axes_json="[]",
            trial_ids=tuple(trial_ids),
            coordinates_json=canonical_json([{}] * len(trial_ids)),
            horizon_steps=10,
            revision="r",
            recorded_at=recorded_at,
        )
    )
