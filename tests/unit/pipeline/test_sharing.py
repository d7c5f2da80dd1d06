"""Leases on trials: who gets what when several drivers ask at once, and what happens to the trials of one that dies."""

import os
import subprocess
import threading
import time

import pytest

from pipeline import run
from pipeline.execution import local_runner
from pipeline.execution.resources import resolve
from pipeline.execution.run import Planner
from pipeline.ledger import Ledger
from pipeline.ledger.files import LocalFiles, open_files
from pipeline.plan import CohortPlan
from pipeline.sharing import CohortQueue, Leases, cohort_queue, leases, live_leases
from pipeline.sharing.lease import STALE_S, Lease
from pipeline.spec import PlannedTrial
from pipeline.spec.settings import RunSettings
from tests.support.competing_drivers import held_twice
from tests.support.small_spaces import spec
from tests.support.sweep_runs import wait_until
from trainables import MLP, GrokkingTrial, ModularAddition
from trainables.engine.trial import Seeds

BASE = GrokkingTrial(task=ModularAddition(p=5), model=MLP(hidden=(4,)), horizon_steps=10)
TRIALS = tuple(BASE.replace(seeds=Seeds.all(seed)) for seed in range(4))
IDS = [trial.trial_id for trial in TRIALS]


@pytest.fixture
def ledger(tmp_path):
    return Ledger.open(str(tmp_path / "ledger"), create=True)


def elsewhere(ledger, *trials, **fields):
    """The lease of a driver on another machine, as a file."""
    values = {"driver": "0" * 32, "sweep": "s", "host": "far", "pid": 1, "place": "far", "started_at": "", **fields}
    lease = Lease(trials=trials, **values)
    open_files(ledger.uri).put(lease.path, lease.to_json())
    return lease


def test_no_trial_is_ever_held_twice(ledger):
    assert held_twice(ledger, drivers=8, rounds=12) == []


def test_a_lease_counts_until_it_is_stale(ledger):
    lease = elsewhere(ledger, IDS[0])
    with Leases(ledger, "s") as own:
        assert own.claim(IDS) == frozenset(IDS[1:])
        path = os.path.join(ledger.uri, lease.path)
        old = time.time() - STALE_S - 1
        os.utime(path, (old, old))
        assert own.claim(IDS) == frozenset(IDS)
    assert live_leases(open_files(ledger.uri)) == []


def test_a_plan_says_what_another_run_trains(ledger):
    """Not that it was interrupted, or is new: the run waits for it."""
    elsewhere(ledger, IDS[0], IDS[1], sweep="far_away")
    settings = RunSettings(local=True, device="cpu")
    planner = Planner(ledger, settings, resolve(settings, BASE))
    plan = planner.plan([PlannedTrial(trial, {}) for trial in TRIALS])
    assert "2 trained by another run now (far_away)" in plan.reasons
    assert len([trial for cohort in plan.cohorts for trial in cohort.trials]) == 4


def test_old_leases_cost_no_reading_and_are_deleted_in_the_end(ledger, monkeypatch):
    files = open_files(ledger.uri)
    for driver, age_s in (("1" * 32, 2 * STALE_S), ("2" * 32, 2 * leases.FORGET_S)):
        lease = elsewhere(ledger, *IDS, driver=driver)
        files.put(lease.cancel_path, b"")
        then = time.time() - age_s
        os.utime(os.path.join(ledger.uri, lease.path), (then, then))
    monkeypatch.setattr(LocalFiles, "read", lambda *_: pytest.fail("reads a lease that counts for nothing"))
    with Leases(ledger, "s") as own:
        assert own.claim(IDS) == frozenset(IDS)
        assert own.undisturbed()
        left = [entry.name for entry in files.entries("leases")]
    assert set(left) == {f"{own._lease.driver}.json", f"{'1' * 32}.json", f"{'1' * 32}.cancel"}


def test_a_killed_process_of_this_machine_is_known_to_be_gone(ledger):
    process = subprocess.Popen(["true"])
    with Leases(ledger, "s") as own:
        elsewhere(ledger, IDS[0], pid=process.pid, place=own._lease.place)
        assert IDS[0] not in own.claim(IDS)
        process.wait()
        assert IDS[0] in own.claim(IDS)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"driver": "x"}', b'{"progress": null}', b"\xff"])
def test_what_is_no_lease_counts_for_nothing(ledger, text):
    open_files(ledger.uri).put(f"leases/{'1' * 32}.json", text)
    with Leases(ledger, "s") as own:
        assert own.claim(IDS) == frozenset(IDS)


def test_the_queue_waits_for_others_and_takes_over_what_they_leave(ledger, monkeypatch):
    monkeypatch.setattr(cohort_queue, "LOOK_EVERY_S", 0.0)
    done = set()
    left = lambda trials, size: [CohortPlan((each,), 3, 1.0) for each in trials if each.trial_id not in done]  # noqa: E731
    with Leases(ledger, "s") as own:
        with Leases(ledger, "s") as other:
            other.claim(IDS[:2])
            queue = CohortQueue([CohortPlan(TRIALS, 0, 1.0)], own, left)
            assert [queue.pop()[0].trials, queue.pop()[0].trials] == [TRIALS[2:3], TRIALS[3:]]
            assert queue.empty
            assert queue.pop() == (None, [])
            assert queue.look() == []
            assert [lease.trials for lease in queue.others] == [tuple(sorted(IDS[:2]))]
            assert queue
            done.add(IDS[0])  # The other driver ends one trial and leaves the other at step 3.
        assert queue.look() == [IDS[0]]
        assert queue.pop() == (CohortPlan(TRIALS[1:2], 3, 1.0), [])
        assert not queue


def test_what_others_have_trained_since_the_plan_is_not_trained_again(ledger):
    """Two drivers plan the same; the first has ended, and holds nothing, when the second comes to its cohort."""
    with Leases(ledger, "s") as own:
        queue = CohortQueue([CohortPlan(TRIALS, 0, 1.0)], own, lambda trials, size: [])
        with Leases(ledger, "s") as other:
            other.claim(IDS)
        assert queue.pop() == (None, sorted(IDS))
        assert not queue


def test_what_a_driver_trained_before_it_was_killed_elsewhere_is_not_trained_again(ledger):
    """It has been silent for so long that it counts for nothing, but it was at work after the plan."""
    with Leases(ledger, "s") as own:
        own._started_s -= 3600
        path = os.path.join(ledger.uri, elsewhere(ledger, *IDS).path)
        killed = time.time() - 2 * STALE_S
        os.utime(path, (killed, killed))
        queue = CohortQueue([CohortPlan(TRIALS, 0, 1.0)], own, lambda trials, size: [])
        assert queue.pop() == (None, sorted(IDS))


def test_a_driver_that_was_gone_before_the_plan_disturbs_nobody(ledger):
    with Leases(ledger, "s"):
        pass
    with Leases(ledger, "s") as own:
        assert own.undisturbed()
        with Leases(ledger, "s"):
            pass
        assert not own.undisturbed()


def test_what_others_leave_comes_in_cohorts_of_the_runs_own_size(ledger, monkeypatch):
    monkeypatch.setattr(cohort_queue, "LOOK_EVERY_S", 0.0)
    sizes = []
    with Leases(ledger, "s") as own:
        queue = CohortQueue([CohortPlan(TRIALS, 0, 1.0)], own, lambda _, size: sizes.append(size) or [])
        with Leases(ledger, "s") as other:
            other.claim(IDS)
            queue.pop()
        queue.look()
    assert sizes == [None]


def test_a_queue_that_is_cleared_holds_nothing(ledger):
    with Leases(ledger, "s") as own:
        queue = CohortQueue([CohortPlan((trial,), 0, 1.0) for trial in TRIALS], own, lambda trials, size: [])
        running, _ = queue.pop()
        queue.clear()
        assert own._held == {trial.trial_id for trial in running.trials}


def test_a_request_to_cancel_interrupts_the_main_thread(ledger, monkeypatch):
    monkeypatch.setattr(leases, "RENEW_EVERY_S", 0.01)
    with Leases(ledger, "s") as own:
        (lease,) = live_leases(open_files(ledger.uri))
        open_files(ledger.uri).put(lease.cancel_path, b"")
        with pytest.raises(KeyboardInterrupt):
            time.sleep(30)
    assert own.cancelled
    assert not open_files(ledger.uri).exists(lease.cancel_path)


def test_a_run_in_another_thread_is_cancelled_without_the_main_one(tmp_path, monkeypatch):
    """As a notebook or a server may have it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(leases, "RENEW_EVERY_S", 0.01)
    monkeypatch.setattr(local_runner, "REPORT_EVERY_S", 0.01)
    ended = []

    def train():
        sweep = spec(base=BASE.replace(horizon_steps=10**6), seeds=range(1))
        with pytest.raises(KeyboardInterrupt):
            run(sweep, name="s", doc="", local=True, mlflow_uri=None, silent=True)
        ended.append(True)

    thread = threading.Thread(target=train)
    thread.start()
    files = open_files("results/ledger")
    (lease,) = wait_until(lambda: live_leases(files), timeout_s=60, what="it runs")
    files.put(lease.cancel_path, b"")
    thread.join(60)
    assert ended
