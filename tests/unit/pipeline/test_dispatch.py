"""What happens after a cohort fails, by kind of error; nothing is trained here."""

import re
import time
import weakref
from dataclasses import replace

import pytest
import torch

from pipeline.execution.dispatch import Dispatcher, RowOrigin, SweepEndedError
from pipeline.execution.local_runner import run_local
from pipeline.ledger.files import StorageError
from pipeline.plan import CohortPlan
from pipeline.sharing import CohortQueue
from trainables.engine.cohort import GrokkingCohort
from trainables.engine.models import MLP
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Seeds
from trainables.grokking import GrokkingTrial
from trainables.runtime.rows import TrialRow
from trainables.runtime.status import CohortError, MemberStatus, Origin

BASE = GrokkingTrial(task=ModularAddition(p=5), model=MLP(hidden=(4,)), horizon_steps=10)
TRIALS = tuple(BASE.replace(seeds=Seeds.all(seed)) for seed in range(4))
MEMORY = CohortError("out_of_memory", "no memory left")
LOST = CohortError("lost_worker", "the worker is gone")
BUG = CohortError("error", "ValueError: a bug")
FULL = CohortError("storage", "ledger: cannot write /x: No space left on device")
MOVED = CohortError("stale", "checkpoints at steps 3, 9")


class Store:
    def __init__(self):
        self.rows = {}

    def commit(self, trials, trajectory, checkpoints=(), snapshots=()):
        assert all(len(values) == 0 for values in trajectory.values())
        self.rows |= {row.trial_id: row for row in trials}

    def trials(self, trial_ids=None):
        return {key: row for key, row in self.rows.items() if trial_ids is None or key in trial_ids}

    def checkpoint(self, trial_id):
        return None

    def end(self, trial, state="finished"):
        self.rows[trial.trial_id] = TrialRow(
            trial_id=trial.trial_id,
            config_json="{}",
            state=state,
            last_step=4,
            device_kind="cpu",
            data_fingerprint="",
            source_hash="",
            provenance_json="{}",
            committed_at="",
        )

    def again(self, trials, size):
        left = [trial for trial in trials if getattr(self.rows.get(trial.trial_id), "state", "") != "finished"]
        return [CohortPlan(tuple(left[at : at + size]), 0, 1.0) for at in range(0, len(left), size)]


class Watcher:
    def __init__(self):
        self.states = {}

    def reported(self, cohort, statuses):
        pass

    def ended(self, states):
        assert not self.states.keys() & states.keys(), "ended twice"
        self.states |= states


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def watcher():
    return Watcher()


def dispatcher(store, watcher, *cohorts, leases=None, **options):
    plans = [CohortPlan(tuple(trials), 0, 1.0) for trials in cohorts]
    origin = lambda trial: Origin("cpu:here", "hash", "{}")  # noqa: E731
    queue = CohortQueue(plans, leases, store.again)
    return Dispatcher(queue, store=store, again=store.again, origin=origin, watchers=[watcher], device="cpu", **options)


def drain(queue, store, fate):
    """Run everything: ``fate(cohort)`` is an error or None; returns the sizes of the cohorts in order."""
    sizes = []
    while queue.open:
        cohort = queue.next()
        assert cohort is not None
        assert len(sizes) < 50, "it never ends"
        sizes.append(len(cohort.trials))
        error = fate(cohort)
        if error is None:
            for trial in cohort.trials:
                store.end(trial)
            queue.reported(
                cohort,
                [MemberStatus(trial.trial_id, 10, "finished", None, "grokking") for trial in cohort.trials],
            )
        queue.settle(cohort, error)
    return sizes


def test_out_of_memory_halves_cohorts_of_this_kind(store, watcher):
    more = tuple(BASE.replace(seeds=Seeds.all(seed)) for seed in range(4, 8))
    queue = dispatcher(store, watcher, TRIALS, more)
    sizes = drain(queue, store, lambda cohort: MEMORY if len(cohort.trials) > 2 else None)
    assert sizes == [4, 2, 2, 2, 2]
    assert set(watcher.states.values()) == {"finished"}
    assert len(watcher.states) == 8


def test_an_error_of_the_ledger_is_no_outcome(store, watcher):
    """Neither a worker's nor the driver's own."""
    queue = dispatcher(store, watcher, TRIALS)
    with pytest.raises(SweepEndedError, match=r"^ledger: cannot write /x: No space .*; the sweep ends, its"):
        drain(queue, store, lambda cohort: FULL)
    assert (store.rows, watcher.states) == ({}, {})

    def full(*_):
        raise StorageError(FULL.message)

    store.commit = full
    with pytest.raises(StorageError):
        drain(dispatcher(store, watcher, TRIALS[:1]), store, lambda cohort: BUG)
    assert (store.rows, watcher.states) == ({}, {})


def test_checkpoints_that_another_driver_moved(store, watcher):
    """They are planned again as they are now, and said; but not for ever."""
    notes = []
    watcher.reported = lambda job, statuses: notes.extend(note for status in statuses for note in status.notes)
    fates = iter([MOVED] * 4)
    assert drain(dispatcher(store, watcher, TRIALS[:2]), store, lambda cohort: next(fates, None)) == [2] * 5
    assert notes == [MOVED.message] * 4
    assert set(watcher.states.values()) == {"finished"}
    store.rows.clear()
    watcher.states.clear()
    assert len(drain(dispatcher(store, watcher, TRIALS[:1]), store, lambda cohort: MOVED)) == 11
    assert set(watcher.states.values()) == {"failed"}


def test_out_of_memory_alone_is_a_failure(store, watcher):
    assert drain(dispatcher(store, watcher, TRIALS), store, lambda cohort: MEMORY) == [4, 2, 1, 1, 1, 1]
    assert watcher.states == {trial.trial_id: "failed" for trial in TRIALS}
    row = store.rows[TRIALS[0].trial_id]
    assert (row.error_kind, row.error, row.last_step) == ("out_of_memory", "no memory left", 0)
    assert (row.device_kind, row.source_hash) == ("cpu:here", "hash")
    assert row.data_fingerprint == TRIALS[0].data_fingerprint()


def test_another_error_splits_the_cohort(store, watcher):
    guilty = TRIALS[2]
    sizes = drain(dispatcher(store, watcher, TRIALS), store, lambda cohort: BUG if guilty in cohort.trials else None)
    assert sizes == [4, 1, 1, 1, 1]
    assert {trial_id for trial_id, state in watcher.states.items() if state == "failed"} == {guilty.trial_id}
    assert store.rows[guilty.trial_id].error == "ValueError: a bug"


def test_a_lost_worker_is_retried_three_times(store, watcher):
    lost = iter([LOST, LOST, LOST])
    assert drain(dispatcher(store, watcher, TRIALS[:1]), store, lambda cohort: next(lost, None)) == [1] * 4
    assert watcher.states == {TRIALS[0].trial_id: "finished"}


def test_a_worker_that_is_lost_every_time_is_a_failure(store, watcher):
    assert drain(dispatcher(store, watcher, TRIALS[:1]), store, lambda cohort: LOST) == [1] * 4
    assert store.rows[TRIALS[0].trial_id].error_kind == "lost_worker"


def test_a_node_that_lacks_the_data_is_no_failure(store, watcher):
    """The runner never tries a node twice, and ends the sweep when none is left."""
    errors = iter([CohortError("lacking", "node first: no data")] * 9)
    assert drain(dispatcher(store, watcher, TRIALS), store, lambda cohort: next(errors, None)) == [4] * 10
    assert set(watcher.states.values()) == {"finished"}


def test_a_member_that_kills_its_worker(store, watcher):
    guilty = TRIALS[1]
    sizes = drain(dispatcher(store, watcher, TRIALS), store, lambda cohort: LOST if guilty in cohort.trials else None)
    assert sizes == [4, 4, 4, 4, 1, 1, 1, 1]
    assert [state for _, state in sorted(watcher.states.items())].count("failed") == 1


def test_ended_members_do_not_run_again(store, watcher):
    def fate(cohort):
        if len(cohort.trials) == 4:
            store.end(TRIALS[0])
            store.end(TRIALS[3])
            return LOST
        return None

    assert drain(dispatcher(store, watcher, TRIALS), store, fate) == [4, 2]
    assert set(watcher.states.values()) == {"finished"}
    assert len(watcher.states) == 4


def test_an_error_after_the_last_commit(store, watcher):
    def fate(cohort):
        store.end(cohort.trials[0])
        return BUG

    assert drain(dispatcher(store, watcher, TRIALS[:1]), store, fate) == [1]
    assert watcher.states == {TRIALS[0].trial_id: "finished"}


def test_a_failure_keeps_its_measurements(store, watcher):
    store.end(TRIALS[0], "running")
    drain(dispatcher(store, watcher, TRIALS[:1]), store, lambda cohort: BUG)
    row = store.rows[TRIALS[0].trial_id]
    assert (row.state, row.last_step, row.device_kind, row.error_kind) == ("failed", 4, "cpu", "error")


def test_a_trial_without_its_data_fails_alone(store, watcher, monkeypatch):
    def missing(self):
        raise FileNotFoundError("no such data")

    monkeypatch.setattr(GrokkingTrial, "data_fingerprint", missing)
    drain(dispatcher(store, watcher, TRIALS[:1]), store, lambda cohort: BUG)
    assert store.rows[TRIALS[0].trial_id].data_fingerprint == ""


def test_nothing_starts_after_the_deadline(store, watcher):
    queue = dispatcher(store, watcher, TRIALS[:1], TRIALS[1:2], deadline=time.time() + 0.2)
    cohort = queue.next()
    time.sleep(0.3)
    assert queue.next() is None
    assert queue.open
    queue.settle(cohort)
    assert not queue.open


def test_a_source_fills_an_empty_queue(store, watcher):
    class Source:
        def __init__(self):
            self.left = list(TRIALS)
            self.states = []

        @property
        def exhausted(self):
            return not self.left

        def more(self):
            return [CohortPlan((self.left.pop(0),), 0, 1.0)] if self.left else []

        def ended(self, states):
            self.states += states

    source = Source()
    assert drain(dispatcher(store, watcher, source=source), store, lambda cohort: None) == [1, 1, 1, 1]
    assert source.states == [trial.trial_id for trial in TRIALS]


def test_the_local_runner_settles_errors(store, watcher):
    class Refusing(Store):
        def commit(self, trials, trajectory, checkpoints=(), snapshots=()):
            if trajectory["step"]:
                raise OSError("the disk\nis full")
            super().commit(trials, trajectory, checkpoints)

    store = Refusing()
    queue = dispatcher(store, watcher, TRIALS[:2])
    run_local(queue, store=store, provenance=lambda trial, device: Origin("cpu", "", "{}"))
    errors = [str(row.error) for row in store.rows.values()]
    assert all(re.fullmatch(r"OSError: the disk is full \(test_dispatch\.py:\d+, in commit\)", each) for each in errors)
    assert len(errors) == 2
    assert all(row.traceback.endswith("OSError: the disk\nis full\n") for row in store.rows.values())
    assert set(watcher.states.values()) == {"failed"}


def test_the_local_runner_frees_a_cohort_before_the_next_one(store, watcher, monkeypatch):
    """A GPU has no room for both; what ran out of memory goes on in halves."""
    built, alive = [], []

    def build(trials, device):
        alive.append(sum(cohort() is not None for cohort in built))
        cohort = GrokkingCohort(trials, device)
        if len(trials) > 1:
            cohort.advance = lambda steps: torch.empty(1 << 60)
        built.append(weakref.ref(cohort))
        return cohort

    class Keeping(Store):
        def commit(self, trials, trajectory, checkpoints=(), snapshots=()):
            self.rows |= {row.trial_id: row for row in trials}

    monkeypatch.setattr(GrokkingTrial, "build", build)
    store = Keeping()
    run_local(dispatcher(store, watcher, TRIALS), store=store, provenance=lambda *_: Origin("cpu", "", "{}"))
    assert [row.state for row in store.rows.values()] == ["finished"] * 4
    assert alive == [0] * (1 + 1 + 4)


def test_the_driver_s_commit_without_a_checkout(monkeypatch):
    from pipeline.execution import dispatch

    here = {"commit": None, "dirty": None, "diff": None, "hostname": "worker"}
    monkeypatch.setattr(dispatch, "provenance_of", lambda _: here)
    origin = RowOrigin({"commit": "abc", "dirty": False, "diff": None})(TRIALS[0], "cpu")
    assert origin.provenance_json == '{"commit":"abc","diff":null,"dirty":false,"hostname":"worker"}'
    monkeypatch.setattr(dispatch, "provenance_of", lambda _: here | {"commit": "own", "dirty": True})
    assert (
        '"commit":"own"' in RowOrigin({"commit": "abc", "dirty": False, "diff": None})(TRIALS[0], "cpu").provenance_json
    )


def test_a_queued_cohort_that_is_too_large_is_split(store, watcher):
    queue = dispatcher(store, watcher, TRIALS, tuple(replace_seed(seed) for seed in range(10, 17)))
    first = queue.next()
    queue.settle(first, MEMORY)
    sizes = drain(queue, store, lambda cohort: None)
    assert sizes == [2, 2, 2, 2, 2, 1]


def replace_seed(seed):
    return replace(BASE, seeds=Seeds.all(seed))
