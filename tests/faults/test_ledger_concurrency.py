"""Many processes on one ledger: zombies and successors on the same trials, compactions, and readers."""

from pipeline.ledger import Ledger
from tests.support.ledger_samples import assert_exactly_once
from tests.support.ledger_workers import PROCESSES, commit_overlapping, compact_until, read_until

TRIALS = {"a": 150, "b": 120}
WORKERS_A_TRIAL = 3


def test_commits_compactions_and_reads_at_once(tmp_path):
    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    stop, complaints = PROCESSES.Event(), PROCESSES.Queue()
    others = [PROCESSES.Process(target=compact_until, args=(ledger.uri, stop)) for _ in range(2)]
    others.append(PROCESSES.Process(target=read_until, args=(ledger.uri, stop, complaints)))
    workers = [
        PROCESSES.Process(target=commit_overlapping, args=(ledger.uri, trial_id, end, seed))
        for trial_id, end in TRIALS.items()
        for seed in range(WORKERS_A_TRIAL)
    ]
    for process in [*others, *workers]:
        process.start()
    for process in workers:
        process.join(120)
    stop.set()
    last_word = complaints.get(timeout=120)
    for process in others:
        process.join(120)
    assert [process.exitcode for process in [*others, *workers]] == [0] * (len(others) + len(workers))
    assert last_word.startswith("read ")
    assert_exactly_once(ledger, TRIALS)
    assert [str(problem) for problem in ledger.verify() if not problem.harmless] == []
    ledger.compact()
    assert_exactly_once(ledger, TRIALS)
    assert ledger.files() == 3
    assert ledger.verify() == []


def test_copies_of_a_worker(tmp_path):
    """The same pieces from three processes at once: one file a piece, and no error where they meet."""
    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    workers = [PROCESSES.Process(target=commit_overlapping, args=(ledger.uri, "a", 200, 7)) for _ in range(3)]
    for process in workers:
        process.start()
    for process in workers:
        process.join(120)
    assert [process.exitcode for process in workers] == [0] * 3
    assert_exactly_once(ledger, {"a": 200})
    alone = Ledger.open(str(tmp_path / "alone"), create=True)
    commit_overlapping(alone.uri, "a", 200, 7)
    assert ledger.files() == alone.files()
    assert ledger.verify() == []
