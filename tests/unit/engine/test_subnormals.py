"""Subnormals count as zero in a step's passes, and in nothing else."""

import pytest
import torch

from trainables.engine.models import MLP
from trainables.engine.optimizers import AdamW
from trainables.engine.subnormals import handling, subnormals_flushed
from trainables.engine.tasks import ModularAddition
from trainables.grokking import GrokkingTrial

CPU = torch.device("cpu")
SMALLEST = torch.finfo(torch.float32).smallest_normal


def test_only_within_and_not_after_an_error():
    small = torch.tensor(SMALLEST)
    with subnormals_flushed(CPU):
        assert small / 4 * 4 == 0
    assert small / 4 * 4 == small
    with pytest.raises(ZeroDivisionError), subnormals_flushed(CPU):
        1 / 0  # noqa: B018
    assert small / 4 * 4 == small
    assert handling(CPU) == "flushed"


def test_the_passes_flush_and_the_optimizer_does_not():
    """Gradients near 1e-20: their squares are subnormal, and with eps = 1e-30 they decide the size of the step."""
    trial = GrokkingTrial(
        task=ModularAddition(p=7, train_fraction=0.6),
        model=MLP(hidden=(8,), init_scale=1e-19),
        optimizer=AdamW(learning_rate=0.01, betas=(0.0, 0.9), eps=1e-30),
        horizon_steps=10,
    )
    cohort = trial.build([trial], "cpu")
    before = cohort.state_dict(0)["parameters"]["weight_1"]
    cohort.measure()
    cohort.advance(1)
    state = cohort.state_dict(0)
    square, step = state["optimizer"]["square"]["weight_1"], state["parameters"]["weight_1"] - before
    moved = square != 0
    assert moved.any()
    assert (square[moved] < SMALLEST).all()
    # The first step of Adam is lr g / |g|, up to the few digits that a subnormal square has.
    assert step[moved].abs().median() == pytest.approx(0.01, rel=0.05)
