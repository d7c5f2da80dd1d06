"""GPUs of a trial, shares and several, as they are asked for; a machine's GPUs are counted in a pretence of torch's."""

import re

import pytest
import torch

from pipeline.spec import SpecError, SweepSpec
from pipeline.spec.space_file import load_space
from pipeline.terminal import flags as sweep_flags
from pipeline.terminal.flags import InputError, gpu_slots, parser, resolve
from tests.small_batches import SmallTrial
from tests.sweep_runs import write_space

SMALL = "base=BASE"
BATCHES = "base=__import__('tests.small_batches').small_batches.SmallTrial(horizon_steps=5)"


@pytest.fixture
def gpus(monkeypatch):
    """A machine with four GPUs and 64 cores."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(sweep_flags, "device_kind", lambda device: "cuda:pretended")
    monkeypatch.setattr(sweep_flags.os, "sched_getaffinity", lambda pid: range(64), raising=False)


def resolved(folder, space, *flags):
    return resolve(parser().parse_args(["space.py", *flags]), load_space(write_space(folder, space, name="space")))


@pytest.mark.parametrize(
    ("space", "flags", "per_cohort", "workers", "cpus", "device"),
    [
        (SMALL, (), 1.0, 4, 1.0, "cuda"),
        (SMALL, ("--gpus-per-trial", "0.25"), 0.25, 16, 1.0, "cuda"),
        (SMALL, ("--gpus-per-trial", ".4"), 0.4, 8, 1.0, "cuda"),
        (SMALL + ", gpus_per_cohort=0.1", (), 0.1, 40, 1.0, "cuda"),
        (SMALL + ", gpus_per_cohort=0.1", ("--gpus-per-trial", "1"), 1.0, 4, 1.0, "cuda"),
        (BATCHES, ("--gpus-per-trial", "2"), 2.0, 2, 2.0, "cuda"),
        (BATCHES + ", gpus_per_cohort=4, cpus_per_cohort=3", (), 4, 1, 3, "cuda"),
        (BATCHES, ("--local",), 1.0, 1, 1.0, "cuda:0"),
        (BATCHES, ("--local", "--gpus-per-trial", "4"), 4.0, 1, 4.0, "cuda"),
    ],
)
def test_what_a_trial_gets(gpus, tmp_path, space, flags, per_cohort, workers, cpus, device):
    found = resolved(tmp_path, space, *flags)
    assert (found.gpus_per_cohort, found.workers, found.cpus_per_cohort) == (per_cohort, workers, cpus)
    assert found.device == device


@pytest.mark.parametrize(
    ("space", "flags", "line"),
    [
        (SMALL, ("--gpus-per-trial", "2"), "--gpus-per-trial 2: GrokkingTrials train on one GPU; must be at most 1"),
        (SMALL + ", gpus_per_cohort=2", (), "gpus_per_cohort = 2: GrokkingTrials train on one GPU; must be at most 1"),
        (BATCHES, ("--gpus-per-trial", "8"), "--gpus-per-trial 8: must be at most 4, the GPUs of this machine"),
        (BATCHES, ("--gpus-per-trial", "2", "--local"), "--gpus-per-trial 2: --local takes all 4 GPUs"),
        (BATCHES, ("--gpus-per-trial", "2", "--local", "--device", "cuda:1"), "must be 1 with --device cuda:1"),
        (BATCHES, ("--gpus-per-trial", "2", "--device", "cpu"), "--gpus-per-trial 2: the device is the CPU"),
    ],
)
def test_what_cannot_be_is_refused(gpus, tmp_path, space, flags, line):
    with pytest.raises(InputError, match=re.escape(line)):
        resolved(tmp_path, space, *flags)


@pytest.mark.parametrize("value", ["1.5", "0", "-1", "all", "nan", "inf"])
def test_one_and_a_half_gpus(capsys, value):
    with pytest.raises(SystemExit):
        parser().parse_args(["space.py", f"--gpus-per-trial={value}"])
    assert re.search(
        rf"--gpus-per-trial: '{value}': must be a share of a GPU, such as .25, or a whole", capsys.readouterr().err
    )
    if value == "1.5":
        with pytest.raises(SpecError, match=r"gpus_per_cohort = 1.5: must be at most 1, or a whole number"):
            SweepSpec(base=SmallTrial(horizon_steps=5), gpus_per_cohort=1.5)


def test_a_share_is_of_one_gpu():
    """Two shares of 0.4 fit on one GPU, and the rests of two make no third."""
    found = [gpu_slots(there, each) for there, each in ((2, 0.4), (1, 0.1), (3, 0.25), (8, 2), (7, 2), (0, 0.5))]
    assert found == [4, 10, 12, 4, 3, 0]
