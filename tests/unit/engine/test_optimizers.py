"""Optimizers: certificates of standing still, found by walking the classes; the rate over the gradient norm.

That AdamW, Adam and SGD take torch's steps is in ``tests/parity/test_against_torch.py``.
"""

import pytest
import torch

from trainables.engine.gradients import inner
from trainables.engine.optimizers import SGD, Adam, AdamW, NormalizedSGD, Optimizer, stack_hyper

CPU = torch.device("cpu")


def leaves(cls: type) -> list[type]:
    children = cls.__subclasses__()
    return [leaf for child in children for leaf in leaves(child)] if children else [cls]


OPTIMIZERS = [leaf for leaf in leaves(Optimizer) if leaf.elementwise]
"""Those that see shapes certify nothing."""


def updated(optimizers, parameters, state, gradients, step):
    return optimizers[0].update(
        parameters, gradients, state, stack_hyper(optimizers, CPU), torch.tensor(step, dtype=torch.float64)
    )


def test_optimizers_are_found():
    assert {SGD, AdamW, Adam, NormalizedSGD} <= set(OPTIMIZERS)


@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_certified_weights_do_not_move(cls, dtype):
    """After gradients of every size, zero gradients: from the certificate on nothing moves, and it is given at last."""
    generator = torch.Generator().manual_seed(0)
    optimizers = [cls(learning_rate=rate) for rate in (1e-9, 1e-3, 0.5)]
    if "momentum" in stack_hyper(optimizers, CPU):
        optimizers = [optimizer.replace(momentum=0.3 * member) for member, optimizer in enumerate(optimizers)]
    parameters = {"w": torch.randn(3, 50, dtype=dtype, generator=generator)}
    state = optimizers[0].init_state(parameters)
    sizes = torch.logspace(-12, 0, 50, dtype=dtype)
    for step in range(1, 6):
        gradients = {"w": sizes * torch.randn(3, 50, dtype=dtype, generator=generator)}
        parameters, state = updated(optimizers, parameters, state, gradients, step)
    nothing, still = {"w": torch.zeros(3, 50, dtype=dtype)}, [None] * 3
    for step in range(6, 700):
        certified = optimizers[0].certifies_frozen(
            parameters, state, stack_hyper(optimizers, CPU), torch.tensor(step - 1, dtype=torch.float64)
        )
        for member in range(3):
            if still[member] is None and certified[member]:
                still[member] = parameters["w"][member].clone()
        parameters, state = updated(optimizers, parameters, state, nothing, step)
        for member in range(3):
            assert still[member] is None or torch.equal(parameters["w"][member], still[member])
    assert all(weights is not None for weights in still)


@pytest.mark.parametrize("cls", [AdamW, Adam, SGD])
def test_weight_decay_is_never_certified(cls):
    parameters = {"w": torch.ones(2, 4)}
    optimizers = [cls(weight_decay=0.0), cls(weight_decay=1e-12)]
    certified = optimizers[0].certifies_frozen(
        parameters,
        optimizers[0].init_state(parameters),
        stack_hyper(optimizers, CPU),
        torch.tensor(1, dtype=torch.float64),
    )
    assert certified.tolist() == [True, False]


def test_decay_of_adam_and_adamw():
    parameters, nothing = {"w": torch.full((1, 3), 2.0)}, {"w": torch.zeros(1, 3)}
    moved, state = updated(
        [Adam(learning_rate=0.1, weight_decay=0.5)],
        parameters,
        Adam().init_state(parameters),
        nothing,
        1,
    )
    torch.testing.assert_close(moved["w"], torch.full((1, 3), 1.9))  # a normalised step, whatever the decay's size
    torch.testing.assert_close(state["mean"]["w"], torch.full((1, 3), 0.1))
    moved, state = updated(
        [AdamW(learning_rate=0.1, weight_decay=0.5)],
        parameters,
        AdamW().init_state(parameters),
        nothing,
        1,
    )
    torch.testing.assert_close(moved["w"], torch.full((1, 3), 2.0 * (1 - 0.05)))
    assert (state["mean"]["w"] == 0).all()


@pytest.mark.parametrize("size", [1.0, 1e-30, 1e-44, 1e30])
def test_normalized_sgd_step_length(size):
    """Also where the squares of the gradient's entries, or the rate over its norm, leave the range of float32."""
    generator = torch.Generator().manual_seed(1)
    gradients = {
        "a": size * torch.randn(2, 4, 3, generator=generator),
        "b": size * torch.randn(2, 5, generator=generator),
    }
    parameters = {name: torch.zeros_like(value) for name, value in gradients.items()}
    optimizers = [NormalizedSGD(learning_rate=0.3), NormalizedSGD(learning_rate=0.01)]
    moved, state = updated(optimizers, parameters, {}, gradients, 1)
    assert state == {}
    length_K = inner(moved, moved).sqrt()
    torch.testing.assert_close(length_K, torch.tensor([0.3, 0.01], dtype=torch.float64), rtol=1e-6, atol=0)
    for member, rate in enumerate((0.3, 0.01)):
        g = torch.cat([gradients[name][member].flatten() for name in gradients]).double()
        theta = torch.cat([moved[name][member].flatten() for name in gradients]).double()
        torch.testing.assert_close(theta, -rate * g / g.norm(), rtol=1e-5, atol=1e-12)


def test_normalized_sgd_zero_and_bad_gradients():
    parameters = {"w": torch.ones(3, 4)}
    gradients = {"w": torch.tensor([[0.0] * 4, [1.0, 0.0, 0.0, 0.0], [torch.nan, 0.0, 0.0, 0.0]])}
    moved, _ = updated([NormalizedSGD(learning_rate=0.5)] * 3, parameters, {}, gradients, 1)
    assert torch.equal(moved["w"][0], parameters["w"][0])
    assert moved["w"][1].tolist() == [0.5, 1.0, 1.0, 1.0]
    assert moved["w"][2].isnan().any()
