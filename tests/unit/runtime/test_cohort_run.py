"""One cohort's loop: what it commits and when, what ends a member, and that a restored run is the undisturbed one."""

import io
import json
import math
import time

import numpy as np
import pytest
import torch

from tests.support.cohort_runs import BASE, Memory, finish, seeded, start
from trainables.engine.events import PhaseRule, falls_to, rises_to
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD, AdamW
from trainables.engine.stopping import Stopping
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Measuring, Seeds
from trainables.grokking import GrokkingTrial
from trainables.runtime import cohort_run as lockstep

EACH = Measuring(dense_until_steps=40)
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


def test_every_measurement_is_committed_once_with_the_trial_at_its_end():
    writer, trials = Memory(), seeded(BASE, 2)
    statuses = finish(trials, writer)
    (commit,) = writer.commits
    assert len(commit[1]["step"]) == 2 * len(BASE.measuring.steps(40))
    for trial, status in zip(trials, statuses, strict=True):
        assert list(writer.rows(trial)) == BASE.measuring.steps(40).tolist()
        row = writer.row(trial)
        assert (row.state, row.stop_reason, row.last_step) == ("finished", None, 40)
        assert (row.device_kind, row.source_hash) == ("cpu:test", "source")
        assert json.loads(row.provenance_json)["place"] == "here"
        assert row.data_fingerprint == trial.data_fingerprint()
        assert row.train_s > 0
        assert writer.checkpoint(trial.trial_id).step == 40
        assert (status.trial_id, status.step, status.state) == (trial.trial_id, 40, "finished")
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
    assert row.last_step == max(writer.rows(long))
    reached = writer.checkpoint(long.trial_id).step
    assert reached >= row.last_step
    finish([long], writer, start_step=reached, deadline=time.time() + 0.2)
    assert writer.checkpoint(long.trial_id).step > reached


def test_control_comes_back_between_distant_measurements():
    far = BASE.replace(
        horizon_steps=10**6, measuring=Measuring(dense_until_steps=0), stopping=Stopping(on_success=False)
    )
    run = start([far], Memory(), deadline=time.time() + 2)
    while not run.done:
        before = time.monotonic()
        run.run(0.1)
        assert time.monotonic() - before < 5


FAR = BASE.replace(horizon_steps=60, measuring=Measuring(dense_until_steps=3, ratio=1.05))
"""Measured at 0 to 3 and, by a schedule of its own below, at 30 and 60."""


@pytest.fixture
def sparse(monkeypatch):
    """Measurements far apart, a step a slice, and every commit at once."""
    monkeypatch.setattr(Measuring, "steps", lambda self, horizon: np.array([0, 1, 2, 3, 30, horizon]))
    monkeypatch.setattr(lockstep, "SLICE_S", 0.0)


def test_a_run_that_is_killed_between_two_measurements_loses_nothing_but_its_last_steps(sparse):
    undisturbed, writer = Memory(), Memory()
    finish([FAR], undisturbed)
    run = start([FAR], writer, checkpoint_every_s=0.0)
    while run._cohort.step < 17:
        run.run(0.0)
    assert writer.checkpoint(FAR.trial_id).step == 17
    assert max(writer.rows(FAR)) == writer.row(FAR).last_step == 3
    finish([FAR], writer, start_step=17)
    assert writer.rows(FAR) == undisturbed.rows(FAR)
    assert writer.row(FAR).state == "finished"


@pytest.mark.parametrize("at", [2, 30, 60])
def test_rows_that_died_on_their_way_come_with_the_checkpoint(sparse, at):
    """The worker is killed between its checkpoint and its rows; at 60 nothing is left to train."""
    undisturbed, writer = Memory(), Memory()
    finish([FAR], undisturbed)

    class Dying(Memory):
        def commit(self, trials, trajectory, checkpoints=(), snapshots=()):
            if at in trajectory["step"]:
                super().commit(trials, {"trial_id": [], "step": []}, checkpoints)
                raise KeyboardInterrupt
            super().commit(trials, trajectory, checkpoints)

    writer = Dying()
    with pytest.raises(KeyboardInterrupt):
        finish([FAR], writer, checkpoint_every_s=0.0)
    assert at not in writer.rows(FAR)
    successor = Memory()
    successor.commits, successor.checkpoints = writer.commits, writer.checkpoints
    finish([FAR], successor, start_step=at)
    assert successor.rows(FAR) == undisturbed.rows(FAR)
    assert (successor.row(FAR).state, successor.row(FAR).last_step) == ("finished", 60)
    assert successor.checkpoint(FAR.trial_id).step == 60


FIT = falls_to("train_loss", 1.8, name="t_fit")
WATCHED = BASE.replace(events=(FIT,), phases=(), stopping=Stopping(on_frozen=False), measuring=EACH)


def test_a_success_is_continued_for_an_event_that_nobody_waited_for():
    """From its checkpoint, whose history lacks the column of the other event."""
    store, undisturbed = Memory(), Memory()
    (status,) = finish([WATCHED], store)
    row = store.row(WATCHED)
    assert (row.state, row.stop_reason) == ("stopped", "success")
    assert row.last_step < 40
    assert status.phase == ""
    collapse = rises_to("sc_any_fraction", 0.5, name="t_collapse")
    longer = WATCHED.replace(events=(FIT, collapse), phases=(PhaseRule(name="fits", happened=("t_fit",)),))
    assert longer.trial_id == WATCHED.trial_id
    (status,) = finish([longer], store, start_step=row.last_step)
    finish([longer], undisturbed)
    assert store.rows(longer) == undisturbed.rows(longer)
    assert (store.row(longer).state, store.row(longer).last_step, status.phase) == ("finished", 40, "fits")


def test_members_that_succeed_at_different_steps_continue_each_from_its_own():
    """They share a cohort, whose commit comes after the last of them has advanced."""
    model = MLP(hidden=(8,), dtype="float64")
    trials = [WATCHED.replace(model=model, optimizer=AdamW(learning_rate=rate)) for rate in (0.01, 0.02)]
    longer = [trial.replace(events=(), phases=()) for trial in trials]
    store, undisturbed = Memory(), Memory()
    finish(trials, store)
    finish(longer, undisturbed)
    ends = [store.row(trial).last_step for trial in trials]
    assert ends[1] < ends[0] < 40
    assert [store.checkpoint(trial.trial_id).step for trial in trials] == ends
    for trial, end in zip(longer, ends, strict=True):
        finish([trial], store, start_step=end)
        ours, theirs = store.rows(trial), undisturbed.rows(trial)
        assert list(ours) == list(theirs) == list(range(41))
        losses = [[float(row["test_loss"]) for row in rows.values()] for rows in (ours, theirs)]
        np.testing.assert_allclose(*losses, rtol=1e-9)


def test_a_trial_without_events_goes_to_its_horizon():
    store = Memory()
    (status,) = finish([BASE.replace(events=(), phases=())], store)
    assert (status.state, status.phase) == ("finished", "")


def test_a_checkpoint_that_lacks_a_measurement_or_is_beyond_the_horizon_is_not_gone_on_from(sparse, monkeypatch):
    writer = Memory()
    run = start([FAR], writer, checkpoint_every_s=0.0)
    while run._cohort.step < 17:
        run.run(0.0)
    assert start([FAR], writer, start_step=17)._cohort.step == 17
    assert start([FAR.replace(horizon_steps=16)], writer, start_step=17)._cohort.step == 0
    monkeypatch.setattr(Measuring, "steps", lambda self, horizon: np.array([0, 1, 2, 3, 10, 30, horizon]))
    finish([FAR], writer, start_step=17)
    assert list(writer.rows(FAR)) == [0, 1, 2, 3, 10, 30, 60]


def test_members_measured_by_different_schedules_get_the_rows_they_lack():
    """One ended at step 40, its horizon; the other passes it without a look."""
    first, second = seeded(BASE, 2)
    writer = Memory()
    finish([first], writer)
    run = start([second.replace(horizon_steps=90)], writer, checkpoint_every_s=0.0)
    while run._grid[0] < 40:
        run.run(0.0)
    run._cohort.advance(40 - run._cohort.step)
    run._commit()
    assert writer.checkpoint(second.trial_id).step == 40
    longer = [first.replace(horizon_steps=90), second.replace(horizon_steps=90)]
    finish(longer, writer, start_step=40)
    for trial in longer:
        assert list(writer.rows(trial)) == BASE.measuring.steps(90).tolist()


def test_what_a_rare_probe_did_not_look_at_is_missing_in_its_row(monkeypatch):
    writer = Memory()
    run = start([BASE], writer)
    measure = run._cohort.measure

    def rarely():
        found = measure()
        return found if run._cohort.step % 2 == 0 else {k: v for k, v in found.items() if k != "parameter_norm"}

    monkeypatch.setattr(run._cohort, "measure", rarely)
    while not run.done:
        run.run(60.0)
    (_, table) = writer.commits[0]
    norms = dict(zip(table["step"], table["parameter_norm"], strict=True))
    assert {step for step, norm in norms.items() if norm is None} == {s for s in norms if s % 2}
    assert None not in table["train_loss"]


@pytest.mark.parametrize(("every", "kept"), [(0, []), (8, [0, 8, 16, 24, 32, 40]), (100, [0, 40])])
def test_snapshots_hold_the_weights_at_every_nth_measurement_and_at_the_end(every, kept):
    writer, trials = Memory(), seeded(BASE.replace(snapshots_every=every, measuring=EACH), 2)
    finish(trials, writer)
    for trial in trials:
        found = writer.snapshots.get(trial.trial_id, {})
        assert list(found) == kept
    if kept:
        saved = torch.load(io.BytesIO(writer.checkpoint(trials[1].trial_id).data), weights_only=True)["cohort"]
        last = np.load(io.BytesIO(writer.snapshots[trials[1].trial_id][40]))
        assert set(last) == set(saved["parameters"])
        for name, tensor in saved["parameters"].items():
            np.testing.assert_array_equal(last[name], tensor.numpy())


def test_a_trial_that_stops_early_has_its_last_weights_kept():
    wild = BASE.replace(optimizer=SGD(learning_rate=1e30), snapshots_every=100)
    writer = Memory()
    finish([wild], writer)
    assert list(writer.snapshots[wild.trial_id]) == [0, writer.row(wild).last_step]


def test_a_restored_run_keeps_the_snapshots_of_the_undisturbed_one():
    trial = BASE.replace(snapshots_every=7)
    undisturbed, writer = Memory(), Memory()
    finish([trial], undisturbed)
    run = start([trial], writer, checkpoint_every_s=0.0)
    while len(writer.commits) < 9:
        run.run(0.0)
    finish([trial], writer, start_step=writer.checkpoint(trial.trial_id).step)
    assert writer.snapshots == undisturbed.snapshots
