"""A trial on two processes when one of them dies, fails or has no memory; and when the trial is over."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch

from tests.support.parallel_batches import ParallelTrial
from trainables.baselines.cohort import BatchCohort
from trainables.baselines.devices.parallel import GRACE_S
from trainables.engine.errors import LostProcessError
from trainables.engine.optimizers import SGD
from trainables.runtime.rows import ErrorKind
from trainables.runtime.status import CohortError

ROOT = Path(__file__).resolve().parents[2]
SOON_S = GRACE_S + 5.0
"""Beyond the start of the processes."""


def trial(**changes) -> ParallelTrial:
    return ParallelTrial(
        **({"horizon_steps": 1000, "norm": True, "optimizer": SGD(learning_rate=0.1, momentum=0.9)} | changes)
    )


def built(config) -> BatchCohort:
    return BatchCohort([config], processes=2)


def test_no_memory_in_one_process_is_less_at_a_time_in_all():
    """8 rows of 16 do not fit in the second process; the first one waits for it in a batch norm by then."""
    config = trial(broken="memory", broken_rows=5)
    alone = BatchCohort([config.replace(micro_batch_size=8)])
    with closing(built(config)) as together:
        for cohort in (alone, together):
            cohort.advance(6)
        assert together.notes() == [
            "out of memory with 16 rows at a time: continuing with 8, accumulated to the same batch of 16"
        ]
        one, two = alone.state_dict(0), together.state_dict(0)
    assert two["micro_batch_size"] == 8
    for part in ("parameters", "buffers"):
        for name, value in one[part].items():
            torch.testing.assert_close(two[part][name], value, rtol=0, atol=1e-12)


def test_a_process_that_is_killed_ends_the_attempt_soon_and_as_a_lost_worker():
    cohort = built(trial(broken="killed"))
    cohort.advance(3)
    start = time.monotonic()
    with pytest.raises(LostProcessError, match=r"process 1 of the trial's 2: is gone \(signal SIGKILL\)") as caught:
        cohort.advance(100)
    assert time.monotonic() - start < SOON_S
    assert CohortError.of(caught.value).kind == ErrorKind.LOST_WORKER
    assert multiprocessing.active_children() == []


def test_a_process_that_is_killed_while_it_waits():
    cohort = built(trial())
    cohort.advance(3)
    (other,) = multiprocessing.active_children()
    os.kill(other.pid, signal.SIGKILL)
    start = time.monotonic()
    with pytest.raises(LostProcessError, match="SIGKILL"):
        cohort.advance(1)
    assert time.monotonic() - start < SOON_S
    assert multiprocessing.active_children() == []


def test_an_error_of_one_process_is_told_as_it_was():
    cohort = built(trial(broken="bug"))
    with pytest.raises(RuntimeError, match=r"process 1 of the trial's 2: ValueError: a bug"):
        cohort.advance(1)
    assert multiprocessing.active_children() == []


def test_a_cohort_that_nobody_has_any_more_leaves_no_process():
    cohort = built(trial())
    cohort.advance(1)
    assert len(multiprocessing.active_children()) == 1
    del cohort
    gc.collect()
    assert multiprocessing.active_children() == []


LEADER = """
import multiprocessing, sys
from tests.faults.test_data_parallel_faults import built, trial
if __name__ == "__main__":
    cohort = built(trial())
    cohort.advance(1)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    if sys.argv[1] == "working":
        cohort.advance(10**9)
    sys.stdin.read()
"""


@pytest.mark.parametrize("at", ["working", "waiting"])
def test_no_process_outlives_a_leader_that_is_killed(tmp_path, at):
    script = tmp_path / "leader.py"
    script.write_text(LEADER, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    leader = subprocess.Popen(
        [sys.executable, str(script), at], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    with leader:
        assert leader.stdout is not None
        others = [int(pid) for pid in leader.stdout.readline().split()]
        assert len(others) == 1
        assert all(_lives(pid) for pid in others)
        leader.kill()
        leader.wait()
        until = time.monotonic() + SOON_S
        while any(_lives(pid) for pid in others):
            assert time.monotonic() < until
            time.sleep(0.05)


def _lives(pid: int) -> bool:
    """Whether there is such a process, and it is not only waiting for somebody to look at its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
