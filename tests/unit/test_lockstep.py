"""One cohort's loop: what it commits and when, what ends a member, and that a restored run is the undisturbed one."""

import io
import math
import pickle
import time

import pytest
import torch

from trainables import lockstep
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD, AdamW
from trainables.engine.stopping import Stopping
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Measuring, Seeds
from trainables.grokking import GrokkingTrial
from trainables.lockstep import CohortError, CohortRun, Origin, StaleCheckpointError

BASE = GrokkingTrial(
    task=ModularAddition(p=7, train_fraction=0.6),
    model=MLP(hidden=(8,)),
    optimizer=AdamW(learning_rate=0.01, weight_decay=1.0),
    horizon_steps=40,
)
GROKS = GrokkingTrial(
    task=ModularAddition(p=23, train_fraction=0.9),
    model=MLP(hidden=(64, 64)),
    optimizer=AdamW(learning_rate=0.02, weight_decay=2.0),
    horizon_steps=400,
)


@pytest.fixture(autouse=True)
def _commits_cost_nothing(monkeypatch):
    """So that ``checkpoint_every_s=0`` commits at every measurement."""
    monkeypatch.setattr(lockstep, "COMMIT_SHARE", 0)


class Memory:
    """A writer that keeps everything, one entry a commit."""

    def __init__(self):
        self.commits = []
        self.checkpoints = {}

    def commit(self, trials, trajectory, checkpoints=()):
        assert len({len(values) for values in trajectory.values()}) == 1
        self.commits.append((list(trials), {name: list(values) for name, values in trajectory.items()}))
        ends = {row.trial_id: row.last_step for row in trials}
        for checkpoint in checkpoints:
            assert checkpoint.step <= ends[checkpoint.trial_id]
            self.checkpoints[checkpoint.trial_id] = checkpoint
        for row in trials:
            if row.state == "stopped":
                self.checkpoints.pop(row.trial_id, None)

    def checkpoint(self, trial_id):
        return self.checkpoints.get(trial_id)

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
    return CohortRun(trials, device="cpu", writer=writer, provenance=provenance, **options)


def finish(trials, writer, **options):
    run = start(trials, writer, **options)
    while not run.done:
        statuses = run.run(60.0)
    return statuses


def seeded(base, count):
    return [base.replace(seeds=Seeds.all(seed)) for seed in range(count)]


def test_every_measurement_is_committed_once_with_the_trial_at_its_end():
    writer, trials = Memory(), seeded(BASE, 2)
    statuses = finish(trials, writer)
    (commit,) = writer.commits
    assert len(commit[1]["step"]) == 2 * len(BASE.measuring.steps(40))
    for trial, status in zip(trials, statuses, strict=True):
        assert list(writer.rows(trial)) == BASE.measuring.steps(40).tolist()
        row = writer.row(trial)
        assert (row.state, row.stop_reason, row.last_step) == ("finished", None, 40)
        assert (row.device_kind, row.source_hash, row.provenance_json) == ("cpu:test", "source", '{"place": "here"}')
        assert row.data_fingerprint == trial.data_fingerprint()
        assert row.train_s > 0
        assert writer.checkpoint(trial.trial_id).step == 40
        assert (status.trial_id, status.step, status.state) == (trial.trial_id, 40, "finished")
        assert repr(status.test_accuracy) == writer.rows(trial)[40]["test_accuracy"]
    assert torch.get_num_threads() == 1


def test_commits_come_with_the_clock_and_hold_what_is_new():
    writer = Memory()
    finish([BASE], writer, checkpoint_every_s=0.0)
    assert len(writer.commits) == len(BASE.measuring.steps(40))
    steps = [step for _, table in writer.commits for step in table["step"]]
    assert steps == BASE.measuring.steps(40).tolist()
    assert [rows[0].last_step for rows, _ in writer.commits] == [table["step"][-1] for _, table in writer.commits]


@pytest.mark.parametrize("stop_after", [1, 7, 23])
def test_a_killed_run_goes_on_as_if_nothing_had_been(stop_after):
    trials = seeded(BASE, 2)
    undisturbed, writer = Memory(), Memory()
    finish(trials, undisturbed)
    run = start(trials, writer, checkpoint_every_s=0.0)
    while len(writer.commits) < stop_after:
        run.run(0.0)
    killed_at = writer.checkpoint(trials[0].trial_id).step
    assert 0 <= killed_at < 40
    finish(trials, writer, start_step=killed_at)
    for trial in trials:
        assert writer.rows(trial) == undisturbed.rows(trial)
        assert writer.row(trial).train_s > 0
        saved, expected = (
            torch.load(io.BytesIO(each.checkpoint(trial.trial_id).data), weights_only=True)["cohort"]
            for each in (writer, undisturbed)
        )
        for name, tensor in expected["parameters"].items():
            assert torch.equal(saved["parameters"][name], tensor)


def test_a_raised_horizon_continues_in_another_packing():
    writer, fresh = Memory(), Memory()
    trials = seeded(BASE, 2)
    for trial in trials:
        finish([trial], writer)
    longer = [trial.replace(horizon_steps=90) for trial in trials]
    finish(longer, writer, start_step=40)
    finish(longer, fresh)
    for trial in longer:
        continued, whole = writer.rows(trial), fresh.rows(trial)
        assert set(continued) - set(whole) <= {40}
        for step in whole:
            # Solo until 40, then in a cohort: the same within the tolerance of another packing.
            assert float(continued[step]["train_loss"]) == pytest.approx(float(whole[step]["train_loss"]), rel=1e-4)
        assert writer.row(trial).last_step == 90


def test_a_nan_is_an_outcome_and_hurts_nobody():
    wild = BASE.replace(optimizer=SGD(learning_rate=1e30))
    tame = BASE.replace(optimizer=SGD(learning_rate=0.1))
    writer, solo = Memory(), Memory()
    finish([wild, tame], writer)
    finish([tame], solo)
    row = writer.row(wild)
    assert (row.state, row.stop_reason, row.error) == ("stopped", "diverged", None)
    assert row.last_step < 40
    assert writer.checkpoint(wild.trial_id) is None
    assert max(writer.rows(wild)) == row.last_step
    assert writer.row(tame).state == "finished"
    for step, values in solo.rows(tame).items():
        assert float(writer.rows(tame)[step]["train_loss"]) == pytest.approx(float(values["train_loss"]), rel=1e-4)
    # Committed soon after it ended, not at the end of the cohort only.
    assert all(math.isfinite(float(values["train_accuracy"])) for values in writer.rows(wild).values())


def test_success_ends_a_trial_and_a_restored_one_at_the_same_step():
    undisturbed, writer = Memory(), Memory()
    (status,) = finish([GROKS], undisturbed)
    ended = undisturbed.row(GROKS)
    assert (ended.state, ended.stop_reason) == ("stopped", "success")
    assert (status.state, status.stop_reason) == ("stopped", "success")
    assert status.phase in ("grokking", "comprehension")
    run = start([GROKS], writer, checkpoint_every_s=0.0)
    # Restored just before: the rule needs the accuracies from before the checkpoint.
    while max(writer.rows(GROKS), default=0) < sorted(undisturbed.rows(GROKS))[-2]:
        run.run(0.0)
    assert not run.done
    finish([GROKS], writer, start_step=writer.checkpoint(GROKS.trial_id).step)
    assert writer.rows(GROKS) == undisturbed.rows(GROKS)
    assert writer.row(GROKS).last_step == ended.last_step
    assert ended.last_step < GROKS.horizon_steps


def test_ended_members_are_dropped_at_commits_and_reported_when_they_are_safe(monkeypatch):
    # A fast machine trains the other member to its end before a commit that waits a second for company.
    monkeypatch.setattr(lockstep, "SLICE_S", 0.001)
    slow = GROKS.replace(seeds=Seeds.all(3), optimizer=AdamW(learning_rate=0.02))
    writer = Memory()
    run = start([GROKS, slow], writer)
    seen = []
    while not run.done:
        statuses = run.run(0.0)
        seen.append(tuple(status.state for status in statuses))
        committed = {row.trial_id for rows, _ in writer.commits for row in rows if row.state != "running"}
        assert {status.trial_id for status in statuses if status.state != "running"} <= committed
    assert seen[0] == ("running", "running")
    assert ("stopped", "running") in seen
    assert len(run._cohort.trials) == 1


def test_the_deadline_ends_the_run_with_everything_committed():
    writer = Memory()
    long = BASE.replace(horizon_steps=10**7, stopping=Stopping(on_success=False, on_frozen=False))
    before = time.monotonic()
    finish([long], writer, deadline=time.time() + 0.5)
    assert time.monotonic() - before < 20
    row = writer.row(long)
    assert row.state == "running"
    assert writer.checkpoint(long.trial_id).step == row.last_step == max(writer.rows(long))
    finish([long], writer, start_step=row.last_step, deadline=time.time())
    assert writer.row(long).last_step > row.last_step


def test_control_comes_back_between_distant_measurements():
    far = BASE.replace(
        horizon_steps=10**6, measuring=Measuring(dense_until_steps=0), stopping=Stopping(on_success=False)
    )
    run = start([far], Memory(), deadline=time.time() + 2)
    while not run.done:
        before = time.monotonic()
        run.run(0.1)
        assert time.monotonic() - before < 5


def test_checkpoints_that_moved_are_refused():
    writer, trials = Memory(), seeded(BASE, 2)
    finish(trials[:1], writer)
    with pytest.raises(StaleCheckpointError, match="checkpoints at steps 40, None: a cohort continues from one step"):
        start(trials, writer, start_step=40)


@pytest.mark.parametrize(
    ("error", "kind", "line"),
    [
        (MemoryError(), "out_of_memory", "MemoryError"),
        (torch.OutOfMemoryError("CUDA out\n of memory"), "out_of_memory", "OutOfMemoryError: CUDA out of memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            "out_of_memory",
            "RuntimeError: DefaultCPUAllocator",
        ),
        (ValueError("two\nlines"), "error", "ValueError: two lines"),
    ],
)
def test_errors_by_class(error, kind, line):
    found = pickle.loads(pickle.dumps(CohortError.of(error)))
    assert found.kind == kind
    assert str(found).startswith(line)
    assert "\n" not in str(found)
