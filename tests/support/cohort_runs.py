"""Cohorts run in this process, and a writer in memory that keeps what they commit."""

import numpy as np

from trainables.engine.models import MLP
from trainables.engine.optimizers import AdamW
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Seeds
from trainables.grokking import GrokkingTrial
from trainables.runtime.cohort_run import CohortRun
from trainables.runtime.job import CohortJob
from trainables.runtime.status import Origin

BASE = GrokkingTrial(
    task=ModularAddition(p=7, train_fraction=0.6),
    model=MLP(hidden=(8,)),
    optimizer=AdamW(learning_rate=0.01, weight_decay=1.0),
    horizon_steps=40,
)


class Memory:
    """A writer that keeps everything, one entry a commit."""

    def __init__(self):
        self.commits = []
        self.checkpoints = {}
        self.snapshots = {}

    def commit(self, trials, trajectory, checkpoints=(), snapshots=()):
        assert len({len(values) for values in trajectory.values()}) == 1
        self.commits.append((list(trials), {name: list(values) for name, values in trajectory.items()}))
        named = {row.trial_id for row in trials}
        for snapshot in snapshots:
            assert snapshot.trial_id in named
            self.snapshots.setdefault(snapshot.trial_id, {}).setdefault(snapshot.step, snapshot.data)
        for checkpoint in checkpoints:
            assert checkpoint.trial_id in named
            self.checkpoints[checkpoint.trial_id] = checkpoint
        for row in trials:
            if row.stop_reason in ("diverged", "frozen"):
                self.checkpoints.pop(row.trial_id, None)

    def checkpoint(self, trial_id):
        return self.checkpoints.get(trial_id)

    def discard(self, checkpoint):
        del self.checkpoints[checkpoint.trial_id]

    def history(self, trial_id, columns):
        rows = [
            dict(zip(table, values, strict=True))
            for _, table in self.commits
            for values in zip(*table.values(), strict=True)
        ]
        mine = {row["step"]: row for row in rows if row["trial_id"] == trial_id}
        found = {name: np.array([mine[step].get(name, np.nan) for step in sorted(mine)], float) for name in columns}
        return {"step": np.array(sorted(mine))} | found

    def row(self, trial):
        return [row for rows, _ in self.commits for row in rows if row.trial_id == trial.trial_id][-1]

    def rows(self, trial):
        """(step -> values) as a reader sees them; a step that stands twice must be the same."""
        found = {}
        for _, table in self.commits:
            for values in zip(*table.values(), strict=True):
                row = dict(zip(table, values, strict=True))
                if row.pop("trial_id") == trial.trial_id:
                    step = row.pop("step")
                    text = {name: repr(value) for name, value in row.items()}
                    assert found.setdefault(step, text) == text
        return found


def start(trials, writer, **options):
    provenance = lambda trial, device: Origin("cpu:test", "source", '{"place": "here"}')  # noqa: E731
    return CohortRun(CohortJob(trials=tuple(trials), device="cpu", **options), store=writer, provenance=provenance)


def finish(trials, writer, **options):
    run = start(trials, writer, **options)
    while not run.done:
        statuses = run.run(60.0)
    return statuses


def seeded(base, count):
    return [base.replace(seeds=Seeds.all(seed)) for seed in range(count)]
