"""SIGKILL while measurements are far apart: a run goes on from between two of them, and every row is there once."""

import os
import signal
import time

import pytest

from pipeline.ledger import Ledger, LedgerError
from tests.sweep_runs import contents, run_sweep, started_sweep, write_space

FLAGS = ("tiny.py", "--local", "--mlflow-uri", "none", "--cohort-size", "1")
OFTEN = """
import sys
from trainables import lockstep
lockstep.SLICE_S, lockstep.COMMIT_SHARE = 0.05, 0
lockstep.CohortRun.__init__.__kwdefaults__["checkpoint_every_s"] = 0.1
from pipeline.sweep import main
sys.exit(main(sys.argv[1:]))
"""
"""``python -m pipeline.sweep`` with a checkpoint every tenth of a second, far more often than its measurements."""
SPACE = "base=BASE.replace(stopping=Stopping(on_success=False, on_frozen=False), snapshots_every=10)"
KILLS = 2


def write(folder):
    write_space(folder, SPACE, p=31, width=200, horizon=1000)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    write(folder)
    done = run_sweep(folder, *FLAGS, program=OFTEN)
    assert done.returncode == 0, done.stderr
    return Ledger.open(str(folder / "results/ledger"))


def ahead(folder, *, beyond):
    """The trial, how far its rows and its checkpoint reach, where the latter is ahead; None where it is not."""
    try:
        ledger = Ledger.open(str(folder / "results/ledger"))
        steps, rows = ledger.checkpoint_steps(), ledger.trials()
    except LedgerError:
        return None  # not made yet
    found = [(trial_id, row.last_step, steps.get(trial_id, -1)) for trial_id, row in rows.items()]
    return next((each for each in found if max(each[1], beyond) < each[2]), None)


def killed_between(folder, process, *, beyond):
    """Kill the process at a moment when the checkpoint is ahead of the rows."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        time.sleep(0.05)
        if ahead(folder, beyond=beyond):
            os.kill(process.pid, signal.SIGSTOP)  # so that it is still so when it dies
            time.sleep(0.05)
            found = ahead(folder, beyond=beyond)
            if found:
                os.kill(process.pid, signal.SIGKILL)
                process.communicate()
                return found
            os.kill(process.pid, signal.SIGCONT)
    raise AssertionError("no checkpoint was ahead of the rows")


def test_a_kill_costs_the_time_since_the_checkpoint_and_no_row(tmp_path, undisturbed):
    write(tmp_path)
    beyond = 100
    for _ in range(KILLS):
        with started_sweep(tmp_path, *FLAGS, program=OFTEN) as process:
            trial_id, _, reached = killed_between(tmp_path, process, beyond=beyond)
        ledger = Ledger.open(str(tmp_path / "results/ledger"))
        assert [problem for problem in ledger.verify() if not problem.harmless] == []
        beyond = reached  # the next one goes on from there, and is killed further on
    assert "1 to continue" in run_sweep(tmp_path, *FLAGS, "--dry-run").stdout
    done = run_sweep(tmp_path, *FLAGS, program=OFTEN)
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(ledger.uri) == contents(undisturbed.uri)
    assert ledger.snapshots(trial_id) == undisturbed.snapshots(trial_id)
    assert len(ledger.snapshots(trial_id)) > 5
    assert ledger.verify() == []
