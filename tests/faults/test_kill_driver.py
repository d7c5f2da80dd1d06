"""SIGKILL of the driver in mid-sweep: nothing is left behind, and the same command goes on from the checkpoints."""

import os
import signal

from pipeline.ledger import Ledger
from tests.support.long_sweep import FLAGS, in_mid_sweep, write_long_space
from tests.support.sweep_runs import actors, alive, contents, descendants, run_sweep, started_sweep, wait_until


def test_the_same_command_resumes_and_the_ledger_is_the_undisturbed_one(tmp_path, undisturbed):
    write_long_space(tmp_path)
    with started_sweep(tmp_path, *FLAGS) as process:
        steps = in_mid_sweep(tmp_path)
        below, training = descendants(process.pid), actors(process.pid)
        assert training
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    wait_until(lambda: not alive(training), timeout_s=20, what="the workers end with their driver")
    ledger = Ledger.open(str(tmp_path / "results/ledger"))
    assert any(row.state == "running" for row in ledger.trials().values())
    assert ledger.checkpoint_steps().keys() >= steps.keys()
    assert not [problem for problem in ledger.verify() if not problem.harmless]

    resumed = run_sweep(tmp_path, *FLAGS, "--dry-run")
    assert f"{len(ledger.checkpoint_steps())} to continue" in resumed.stdout
    done = run_sweep(tmp_path, *FLAGS)
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(ledger.uri) == contents(undisturbed)
    assert ledger.verify() == []
    # Ray's own helpers, which do nothing any more, look for their driver once a minute.
    wait_until(lambda: not alive(below), timeout_s=120, what="every process of the sweep ends with its driver")
