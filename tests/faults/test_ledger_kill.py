"""A ledger whose writers are killed or run out of disk, at any moment: nothing acknowledged is lost or doubled."""

from pathlib import Path

import pytest

from pipeline.ledger import Ledger
from tests.support.ledger_samples import assert_exactly_once, commit_steps
from tests.support.ledger_workers import PROCESSES, Killer, commit_on, compact_on, fail_on_a_full_disk

KILLS = 60


@pytest.fixture
def ledger(tmp_path):
    return Ledger.open(str(tmp_path / "ledger"), create=True)


def test_killed_while_committing(ledger):
    killer, last_step = Killer(1), -1
    for _ in range(KILLS):
        reports = killer.run(commit_on, ledger.uri, "a", 5)
        acknowledged = reports[-1] if reports else last_step
        rows = ledger.trials()
        last_step = rows["a"].last_step if rows else -1
        # What was being committed may have been stored without having been acknowledged: one commit of five steps.
        assert last_step in (acknowledged, acknowledged + 5)
        assert_exactly_once(ledger, {"a": last_step} if rows else {})
        # A checkpoint goes before its rows (and carries them: here they are made again).
        checkpoint = ledger.checkpoint("a")
        assert (checkpoint.step if checkpoint else -1) in (last_step, last_step + 5)
    assert min(killer.early, killer.late) > KILLS // 6
    assert [problem.kind for problem in ledger.verify() if problem.kind != "stray"] == []
    ledger.compact()
    assert_exactly_once(ledger, {"a": last_step})


def test_killed_while_compacting(ledger):
    killer, ends = Killer(2), {}
    for _ in range(KILLS):
        for trial_id in ("a", "b", "c"):
            start = max(ends.get(trial_id, -1) - 2, 0)
            ends[trial_id] = start + 5
            commit_steps(ledger, trial_id, range(start, ends[trial_id] + 1))
        killer.run(compact_on, ledger.uri)
        assert_exactly_once(Ledger.open(ledger.uri), ends)
        assert {trial_id: row.last_step for trial_id, row in ledger.trials().items()} == ends
        assert [problem.kind for problem in ledger.verify() if problem.kind != "stray"] == []
    assert min(killer.early, killer.late) > KILLS // 6
    ledger.compact()
    assert_exactly_once(ledger, ends)
    assert ledger.files() == 3


@pytest.mark.parametrize("action", ["commit", "checkpoint", "compact"])
def test_full_disk(ledger, action):
    for trial_id in ("a", "b"):
        commit_steps(ledger, trial_id, range(300))
    before = sorted(path for path in Path(ledger.uri).rglob("*") if path.is_file())
    messages = PROCESSES.Queue()
    process = PROCESSES.Process(target=fail_on_a_full_disk, args=(ledger.uri, 4096, action, messages))
    process.start()
    message = messages.get(timeout=60)
    process.join()
    assert message.startswith(f"ledger: cannot write {ledger.uri}/")
    assert message.endswith("File too large")
    assert "\n" not in message
    assert sorted(path for path in Path(ledger.uri).rglob("*") if path.is_file()) == before
    assert ledger.verify() == []
    assert_exactly_once(ledger, {"a": 299, "b": 299})
    assert ledger.checkpoint("new") is None
    commit_steps(ledger, "new", range(10))
    ledger.compact()
    assert_exactly_once(ledger, {"a": 299, "b": 299, "new": 9})
