"""Penalties against their definitions; their gradients are checked in ``tests/parity/test_gradients.py``."""

import pytest
import torch

from trainables.engine.config import ConfigError
from trainables.engine.models import MLP
from trainables.engine.penalties import L1, L2, LogitNorm, NoPenalty
from trainables.engine.tasks import ModularAddition
from trainables.grokking import GrokkingTrial

STRENGTHS = torch.tensor([0.5, 2.0], dtype=torch.float64)


def drawn(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 6, 5, dtype=dtype, generator=generator)
    parameters = {name: torch.randn(2, *shape, dtype=dtype, generator=generator) for name, shape in SHAPES.items()}
    return logits, parameters


SHAPES = {"weight": (3, 4), "bias": (4,)}


@pytest.mark.parametrize(
    ("penalty", "by_hand"),
    [
        (NoPenalty(), lambda logits, theta: 0.0),
        (LogitNorm(), lambda logits, theta: (logits**2).sum(-1).sqrt().mean()),
        (L1(), lambda logits, theta: theta.abs().sum()),
        (L2(), lambda logits, theta: (theta @ theta) / 2),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_penalty_definition_per_member(penalty, by_hand, dtype):
    logits, parameters = drawn(dtype)
    found = penalty.value(logits, parameters, STRENGTHS)
    assert found.shape == (2,)
    assert found.dtype == torch.float64
    for member in range(2):
        theta = torch.cat([value[member].flatten() for value in parameters.values()]).double()
        expected = float(STRENGTHS[member]) * float(by_hand(logits[member].double(), theta))
        assert float(found[member]) == pytest.approx(expected, rel=1e-6 if dtype == torch.float32 else 1e-13)


@pytest.mark.parametrize("penalty", [LogitNorm(), L1(), L2()], ids=lambda value: type(value).__name__)
def test_gradient_at_zero(penalty):
    logits = torch.zeros(2, 6, 5, requires_grad=True)
    parameters = {name: torch.zeros(2, *shape, requires_grad=True) for name, shape in SHAPES.items()}
    total = penalty.value(logits, parameters, STRENGTHS).sum()
    for gradient in torch.autograd.grad(total, [logits, *parameters.values()], materialize_grads=True):
        assert (gradient == 0).all()


def test_zero_strength():
    plain = GrokkingTrial(task=ModularAddition(p=7), model=MLP(hidden=(16,)), horizon_steps=10)
    for penalty in (LogitNorm(strength=0.0), L1(strength=0.0), L2(strength=0.0)):
        trial = plain.replace(penalty=penalty)
        cohorts = [each.build([each], "cpu") for each in (plain, trial)]
        for cohort in cohorts:
            cohort.advance(10)
        one, other = (cohort.state_dict(0)["parameters"] for cohort in cohorts)
        for name, value in one.items():
            torch.testing.assert_close(value, other[name])


def test_negative_strength_fails():
    for penalty in (LogitNorm, L1, L2):
        with pytest.raises(ConfigError, match=rf"{penalty.__name__}\.strength"):
            penalty(strength=-1.0)
