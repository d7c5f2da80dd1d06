"""SIGKILL while measurements are far apart: a run goes on from between two of them, and every row is there once."""

import signal

import pytest

from pipeline.ledger import Ledger
from tests.support.sweep_runs import contents, run_sweep, write_space

FLAGS = ("tiny.py", "--local", "--mlflow-uri", "none", "--cohort-size", "1", "--checkpoint-every-s", "0")
OFTEN = """
import os, signal, sys
from trainables.runtime import cohort_run as lockstep
lockstep.SLICE_S, lockstep.COMMIT_SHARE = 0.01, 0
commit = lockstep.CohortRun._commit

def commit_and_die(run):
    commit(run)
    if run._active and run._cohort.step > max(run._active[0].steps[-1], float(os.environ["KILL_BEYOND"])):
        os.kill(os.getpid(), signal.SIGKILL)

lockstep.CohortRun._commit = commit_and_die
from pipeline.sweep import main
sys.exit(main(sys.argv[1:]))
"""
"""``python -m pipeline.sweep`` with a checkpoint every hundredth of a second, far more often than its measurements.

It dies by SIGKILL as soon as a checkpoint beyond the step ``KILL_BEYOND`` is ahead of the trial's rows.
"""
NEVER = "inf"
SPACE = "base=BASE.replace(stopping=Stopping(on_success=False, on_frozen=False), snapshots_every=10)"
KILLS = 2


def write(folder):
    write_space(folder, SPACE, p=31, width=200, horizon=1000)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    write(folder)
    done = run_sweep(folder, *FLAGS, program=OFTEN, KILL_BEYOND=NEVER)
    assert done.returncode == 0, done.stderr
    return Ledger.open(str(folder / "results/ledger"))


def test_a_kill_costs_the_time_since_the_checkpoint_and_no_row(tmp_path, undisturbed):
    write(tmp_path)
    beyond = 100
    for _ in range(KILLS):
        killed = run_sweep(tmp_path, *FLAGS, program=OFTEN, KILL_BEYOND=str(beyond))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        ledger = Ledger.open(str(tmp_path / "results/ledger"))
        [(trial_id, reached)] = ledger.checkpoint_steps().items()
        assert reached > max(beyond, ledger.trials()[trial_id].last_step)
        assert [problem for problem in ledger.verify() if not problem.harmless] == []
        beyond = reached  # the next one goes on from there, and is killed further on
    assert "1 to continue" in run_sweep(tmp_path, *FLAGS, "--dry-run").stdout
    done = run_sweep(tmp_path, *FLAGS, program=OFTEN, KILL_BEYOND=NEVER)
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(ledger.uri) == contents(undisturbed.uri)
    assert ledger.snapshots(trial_id) == undisturbed.snapshots(trial_id)
    assert len(ledger.snapshots(trial_id)) > 5
    assert ledger.verify() == []
