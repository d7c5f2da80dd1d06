"""``python -m pipeline.status``: the state of each sweep in a word, and who trains it."""

import pytest

from pipeline import status
from pipeline.ledger import Ledger
from pipeline.sharing import Leases, RunProgress
from tests.support.ledger_samples import commit_steps, record


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    commit_steps(ledger, "a1", range(3), "finished")
    commit_steps(ledger, "b1", range(2))
    commit_steps(ledger, "c1", range(2), "failed", error="ValueError: no", error_kind="error")
    record(ledger, "all", ["a1"])
    record(ledger, "some", ["a1", "b1"], "2026-01-02")
    record(ledger, "none", ["c1"], "2026-01-03")
    return ledger


def lines(ledger, capsys, *arguments):
    assert status.main([*arguments, "--ledger", ledger.uri]) == 0
    return capsys.readouterr().out.splitlines()


def test_sweeps_that_nobody_trains(ledger, capsys):
    assert lines(ledger, capsys) == [
        "all: done, 1 of 1 done",
        "some: interrupted, 1 of 2 done; run the same command again to resume",
        "none: ended, 0 of 1 done, 1 failed",
    ]


def test_a_sweep_that_somebody_trains(ledger, capsys):
    with Leases(ledger, "some") as leases:
        leases.progress = RunProgress(done=1, total=2, steps_per_s=9.5, left_s=300.0)
        leases.claim(["b1"])
        first, second = lines(ledger, capsys, "some")
    assert first.startswith("some: running, 1 of 2 done, about 5 min left (until ")
    assert second.endswith(": 1 trial at hand, 9.5 steps/s")


def test_a_sweep_that_there_is_not(ledger, capsys):
    assert status.main(["other", "--ledger", ledger.uri]) == 2
    assert capsys.readouterr().err.startswith(f"error: ledger: {ledger.shown} has no sweep 'other'; its sweeps: all")
