"""When probes look: at every n-th measurement of the trial's grid, and everywhere off it."""

import numpy as np
import pytest

from trainables.engine.config import ConfigError
from trainables.engine.models import MLP
from trainables.engine.probes import STANDARD, LossAndAccuracy, Margins, Norms
from trainables.engine.probes_tensors import TensorNorms
from trainables.engine.spectra import FourierSpectrum
from trainables.engine.spikes import LossSpikes
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Measuring
from trainables.grokking import GrokkingTrial


def trial(*probes, **changes) -> GrokkingTrial:
    parts = {"task": ModularAddition(p=7, train_fraction=0.6), "model": MLP(hidden=(8,)), "horizon_steps": 40}
    return GrokkingTrial(**(parts | {"probes": probes} | changes))


def steps_with(column: str, config: GrokkingTrial, steps) -> list[int]:
    cohort, found = config.build([config], "cpu"), []
    for step in steps:
        cohort.advance(int(step) - cohort.step)
        if column in cohort.measure():
            found.append(int(step))
    return found


def test_due_measurements():
    config = trial(LossAndAccuracy(), Norms(every=3), measuring=Measuring(dense_until_steps=8, ratio=1.05))
    grid = [int(step) for step in config.grid()]
    assert grid[:10] == list(range(10))
    assert steps_with("train_loss", config, grid) == grid
    assert (len(grid) - 1) % 3
    assert steps_with("gradient_norm", config, grid) == [*grid[::3], 40]


def test_columns_that_are_not_due_are_missing():
    config = trial(LossAndAccuracy(), TensorNorms(every=2), Margins(every=3), LossSpikes(every=2))
    cohort = config.build([config], "cpu")
    always = {"train_loss", "test_loss", "train_accuracy", "test_accuracy"}
    at = []
    for _ in range(7):
        found = cohort.measure()
        assert all(values.dtype == np.float64 for values in found.values())
        at.append(set(found) - always)
        cohort.advance(1)
    second = {"norm.weight_0", "norm.weight_1", "loss_spikes", "loss_spikes_resolved"}
    third = {"margin_q10", "margin_q50", "margin_q90"}
    assert at == [second | third, set(), second, third, second, set(), second | third]


def test_schedule_after_resuming():
    config = trial(LossAndAccuracy(), Norms(every=5))
    cohort = config.build([config], "cpu")
    cohort.advance(13)
    restored = config.build([config], "cpu")
    restored.load_state_dict([cohort.state_dict(0)])
    found = []
    while restored.step < 20:
        found += [restored.step] if "gradient_norm" in restored.measure() else []
        restored.advance(1)
    assert found == [15]


def test_all_probes_are_due_off_the_grid():
    config = trial(Norms(every=9), measuring=Measuring(dense_until_steps=2), horizon_steps=4000)
    outside = next(step for step in range(10, 4000) if step not in set(config.grid().tolist()))
    assert steps_with("gradient_norm", config, [1, outside]) == [outside]


def test_every_is_protocol_and_positive():
    assert trial(*STANDARD).trial_id == trial(Norms(every=7), FourierSpectrum(every=2)).trial_id
    with pytest.raises(ConfigError, match=r"Norms\.every = 0: must be at least 1"):
        Norms(every=0)
