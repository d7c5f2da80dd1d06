"""Schedules at every update, against torch's and against what their docstrings promise."""

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR

from trainables.engine.config import ConfigError
from trainables.engine.models import MLP
from trainables.engine.schedules import ConstantSchedule, Cosine, Warmup
from trainables.engine.tasks import ModularAddition
from trainables.grokking import GrokkingTrial


def factors(schedule, updates: int) -> list[float]:
    return [float(schedule.factor(torch.tensor(n, dtype=torch.float64))) for n in range(1, updates + 1)]


def test_warmup_against_torch():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    judge = LinearLR(optimizer, start_factor=1 / 8, total_iters=7)
    for found in factors(Warmup(warmup_steps=8), 12):
        assert found == pytest.approx(judge.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        judge.step()
    assert factors(Warmup(warmup_steps=1), 3) == factors(ConstantSchedule(), 3) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("final_fraction", [0.0, 0.1, 1.0])
def test_cosine_against_torch(final_fraction):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    judge = CosineAnnealingLR(optimizer, T_max=20, eta_min=final_fraction)
    found = factors(Cosine(total_steps=20, final_fraction=final_fraction), 30)
    for factor in found[:20]:
        optimizer.step()
        judge.step()
        assert factor == pytest.approx(judge.get_last_lr()[0], rel=1e-9, abs=1e-15)
    assert found[19:] == [final_fraction] * 11


def test_cosine_with_warmup():
    found = factors(Cosine(total_steps=25, warmup_steps=5, final_fraction=0.2), 30)
    assert found[:5] == factors(Warmup(warmup_steps=5), 5)
    assert found[5:] == pytest.approx(factors(Cosine(total_steps=20, final_fraction=0.2), 25), rel=1e-14)


def test_factor_range():
    for warmup_steps in [0, 1, 7]:
        for final_fraction in [0.0, 0.3, 0.7, 1 / 3, 1.0]:
            found = factors(Cosine(total_steps=40, warmup_steps=warmup_steps, final_fraction=final_fraction), 60)
            assert min(found) >= 0.0
            assert max(found) <= 1.0
            assert found[0] > 0.0


def test_cosine_shorter_than_warmup_fails():
    with pytest.raises(ConfigError, match=r"Cosine.warmup_steps = 10: must be below total_steps = 10"):
        Cosine(total_steps=10, warmup_steps=10)


def test_total_steps_in_identity_horizon_not():
    trial = GrokkingTrial(
        task=ModularAddition(p=7), model=MLP(hidden=(8,)), schedule=Cosine(total_steps=50), horizon_steps=50
    )
    assert trial.replace(horizon_steps=20).trial_id == trial.trial_id
    assert trial.replace(schedule=Cosine(total_steps=60)).trial_id != trial.trial_id
    assert trial.replace(schedule=Warmup(warmup_steps=5)).trial_id != trial.trial_id
    assert "schedule" not in trial.replace(schedule=ConstantSchedule()).identity()
