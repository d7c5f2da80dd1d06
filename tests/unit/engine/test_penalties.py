"""Penalties against their definitions; their gradients are checked in ``tests/parity/test_gradients.py``."""

import pytest
import torch

from trainables.engine.config import ConfigError
from trainables.engine.models import MLP
from trainables.engine.optimizers import AdamW
from trainables.engine.penalties import L1, L2, ActivationSphere, LogitNorm, NoPenalty, Pass
from trainables.engine.tasks import ModularAddition
from trainables.grokking import GrokkingTrial

STRENGTHS = torch.tensor([0.5, 2.0], dtype=torch.float64)


HYPER = {"strength": STRENGTHS, "radius": torch.tensor([0.7, 1.3], dtype=torch.float64)}


def drawn(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 6, 5, dtype=dtype, generator=generator)
    parameters = {name: torch.randn(2, *shape, dtype=dtype, generator=generator) for name, shape in SHAPES.items()}
    return Pass(logits, parameters, {})


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
    seen = drawn(dtype)
    found = penalty.value(seen, HYPER)
    assert found.shape == (2,)
    assert found.dtype == torch.float64
    for member in range(2):
        theta = torch.cat([value[member].flatten() for value in seen.parameters.values()]).double()
        expected = float(STRENGTHS[member]) * float(by_hand(seen.logits_KBV[member].double(), theta))
        assert float(found[member]) == pytest.approx(expected, rel=1e-6 if dtype == torch.float32 else 1e-13)


@pytest.mark.parametrize("penalty", [LogitNorm(), L1(), L2()], ids=lambda value: type(value).__name__)
def test_gradient_at_zero(penalty):
    logits = torch.zeros(2, 6, 5, requires_grad=True)
    parameters = {name: torch.zeros(2, *shape, requires_grad=True) for name, shape in SHAPES.items()}
    total = penalty.value(Pass(logits, parameters, {}), HYPER).sum()
    for gradient in torch.autograd.grad(total, [logits, *parameters.values()], materialize_grads=True):
        assert (gradient == 0).all()


def test_activation_sphere():
    generator = torch.Generator().manual_seed(1)
    layers = {name: torch.randn(2, 6, width, generator=generator) for name, width in (("hidden_0", 4), ("hidden_1", 9))}
    found = ActivationSphere().value(Pass(torch.zeros(2, 6, 5), {}, layers), HYPER)
    for member, (strength, radius) in enumerate(zip(STRENGTHS.tolist(), HYPER["radius"].tolist(), strict=True)):
        distances = [
            (float(row.norm()) / (radius * len(row) ** 0.5) - 1) ** 2
            for layer in layers.values()
            for row in layer[member]
        ]
        assert float(found[member]) == pytest.approx(strength * sum(distances) / len(distances), rel=1e-6)


def test_activation_sphere_of_a_trial_draws_the_activations_to_the_sphere():
    base = GrokkingTrial(
        task=ModularAddition(p=7),
        model=MLP(hidden=(16, 16), dtype="float64"),
        horizon_steps=200,
        optimizer=AdamW(learning_rate=0.01),
    )
    trial = base.replace(penalty=ActivationSphere(strength=100.0, radius=2.0))
    cohort = trial.build([trial], "cpu")
    cohort.advance(200)
    shown = {}
    parameters = {name: value.unsqueeze(0) for name, value in cohort.state_dict(0)["parameters"].items()}
    cohort.evaluate(parameters, "train", shown)
    for hidden in shown.values():
        torch.testing.assert_close(hidden.norm(dim=-1), torch.full_like(hidden[..., 0], 8.0), rtol=0.15, atol=0)


def test_activations_must_exist():
    with pytest.raises(ConfigError, match="ActivationSphere: MLP shows no hidden activations; must be one with layers"):
        GrokkingTrial(
            task=ModularAddition(p=7), model=MLP(hidden=()), penalty=ActivationSphere(strength=1.0), horizon_steps=1
        )


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
