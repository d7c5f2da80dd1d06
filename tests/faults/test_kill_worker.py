"""SIGKILL of a worker in mid-sweep: its trial is retried from its checkpoint while the sweep goes on."""

import os
import signal

from pipeline.ledger import Ledger
from tests.support.long_sweep import FLAGS, in_mid_sweep, write_long_space
from tests.support.sweep_runs import actors, contents, started_sweep


def test_the_sweep_ends_well_and_the_ledger_is_the_undisturbed_one(tmp_path, undisturbed):
    write_long_space(tmp_path)
    with started_sweep(tmp_path, *FLAGS) as process:
        in_mid_sweep(tmp_path)
        found = actors(process.pid)
        assert found
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        output, errors = process.communicate(timeout=240)
    assert (process.returncode, errors) == (0, "")
    assert "2 of 2 done, 0 running, 0 cached, 0 failed after" in output
    ledger = Ledger.open(str(tmp_path / "results/ledger"))
    assert contents(ledger.uri) == contents(undisturbed)
    assert ledger.verify() == []
