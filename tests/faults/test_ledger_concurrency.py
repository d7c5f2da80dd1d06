"""Many processes on one ledger: zombies and successors on the same trials, compactions, and readers."""

from pipeline.ledger import Ledger
from tests.support.ledger_samples import assert_exactly_once
from tests.support.ledger_workers import PROCESSES, commit_overlapping, compact_until, read_until
from tests.support.sweep_runs import contents, run_sweep, started_sweep, write_space

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


def test_two_drivers_of_one_sweep(tmp_path):
    """Committing as often as they can: nothing is lost, doubled or failed."""
    write_space(tmp_path, "base=BASE.replace(stopping=Stopping(on_success=False)), seeds=range(4)", horizon=1500)
    flags = ("tiny.py", "--local", "--mlflow-uri", "none", "--checkpoint-every-s", "0.1", "--cohort-size", "2")
    with started_sweep(tmp_path, *flags) as first, started_sweep(tmp_path, *flags) as second:
        for driver in (first, second):
            output, errors = driver.communicate(timeout=240)
            assert (driver.returncode, errors) == (0, "")
            assert "4 of 4 done" in output
            assert " 0 failed" in output
    ledger = Ledger.open(str(tmp_path / "results/ledger"))
    assert [problem for problem in ledger.verify() if not problem.harmless] == []
    alone = run_sweep(tmp_path, *flags, "--ledger", "alone")
    assert alone.returncode == 0
    assert contents(ledger.uri) == contents(tmp_path / "alone")
