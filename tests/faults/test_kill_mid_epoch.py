"""SIGKILL in the middle of an epoch of mini-batches: the run that goes on ends as if nobody had killed it, bit for bit.

The rows' order, their augmentation, dropout, the momenta and the statistics of batch normalisation all go on.
"""

import io
import signal

import pytest
import torch

from pipeline.ledger import Ledger
from tests.support.batch_sweeps import write_language_space, write_vision_space
from tests.support.sweep_runs import contents, run_sweep

FLAGS = ("tiny.py", "--local", "--mlflow-uri", "none", "--checkpoint-every-s", "0")
EVERY_STEP = """
import os, signal, sys
from trainables.runtime import cohort_run as lockstep
lockstep.SLICE_S, lockstep.COMMIT_SHARE = 0, 0
commit = lockstep.CohortRun._commit

def commit_and_die(run):
    commit(run)
    if run._active and run._cohort.step == int(os.environ["KILL_AT"]):
        os.kill(os.getpid(), signal.SIGKILL)

lockstep.CohortRun._commit = commit_and_die
from pipeline.sweep import main
sys.exit(main(sys.argv[1:]))
"""
"""``python -m pipeline.sweep`` with a checkpoint at every step, which dies by SIGKILL at the step ``KILL_AT``."""
NEVER = "-1"
KILLS = (3, 8, 9)
"""Between the measurements, at 0, 6 and 12, and between the ends of the epochs, at 5 and 10."""


def end(uri):
    """The one trial's newest checkpoint: weights, the network's buffers, the optimizer's."""
    ledger = Ledger.open(str(uri))
    [trial_id] = ledger.trials()
    state = torch.load(io.BytesIO(ledger.checkpoint(trial_id).data), weights_only=True)["cohort"]
    held = {"parameters": state["parameters"], "buffers": state["buffers"]} | state["optimizer"]["buffers"]
    return {(kind, name): tensor for kind, tensors in held.items() for name, tensor in tensors.items()}


def size(tensors, wanted):
    return sum(tensor.nbytes for (kind, _), tensor in tensors.items() if kind == wanted)


@pytest.mark.parametrize(
    ("write", "copies", "kills"),
    # AdamW holds two tensors beside each weight, momentum one.
    [
        pytest.param(write_language_space, 2, KILLS, id="language"),
        pytest.param(write_vision_space, 1, KILLS[:2], id="vision"),
    ],
)
def test_a_killed_trial_ends_as_if_nobody_had_killed_it(tmp_path, write, copies, kills):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    for folder in (undisturbed, killed):
        folder.mkdir()
        write(folder, horizon=12, every=6, data=tmp_path)
    done = run_sweep(undisturbed, *FLAGS, program=EVERY_STEP, KILL_AT=NEVER)
    assert (done.returncode, done.stderr) == (0, "")
    for step in kills:
        dead = run_sweep(killed, *FLAGS, program=EVERY_STEP, KILL_AT=str(step))
        assert dead.returncode == -signal.SIGKILL, dead.stdout + dead.stderr
        ledger = Ledger.open(str(killed / "results/ledger"))
        [(trial_id, reached)] = ledger.checkpoint_steps().items()
        assert reached == step
        assert ledger.trials()[trial_id].last_step == 6 * (reached // 6)
        assert [problem for problem in ledger.verify() if not problem.harmless] == []
        [kept] = (killed / "results/ledger/checkpoints").rglob("*.ckpt")
    done = run_sweep(killed, *FLAGS, program=EVERY_STEP, KILL_AT=NEVER)
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(ledger.uri) == contents(undisturbed / "results/ledger")
    assert ledger.verify() == []
    found, expected = end(ledger.uri), end(undisturbed / "results/ledger")
    assert found.keys() == expected.keys()
    assert [key for key, tensor in found.items() if not torch.equal(tensor, expected[key])] == []
    # One checkpoint is left: the weights, the optimizer's copies, the network's buffers, and a name for each.
    [kept] = (killed / "results/ledger/checkpoints").rglob("*.ckpt")
    held = (1 + copies) * size(found, "parameters") + size(found, "buffers")
    assert held <= kept.stat().st_size < held + 500 * len(found) + 10_000
