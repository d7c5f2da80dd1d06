"""The cohort: lock-step, retirement, bit-exact checkpoints, certified freezing, no value read back to the host."""

import io

import numpy as np
import pytest
import torch

from trainables.engine.config import ConfigError
from trainables.engine.events import ACCURACY_EVENTS, ACCURACY_PHASES, outcome
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.losses import StableMaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD, AdamW
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Measuring, Seeds
from trainables.grokking import GrokkingTrial


def trial(seed: int = 0, **changes) -> GrokkingTrial:
    parts = {
        "task": ModularAddition(p=7, train_fraction=0.6),
        "model": MLP(hidden=(32,)),
        "optimizer": AdamW(learning_rate=0.01, weight_decay=0.5),
        "seeds": Seeds.all(seed),
        "horizon_steps": 200,
    }
    return GrokkingTrial(**(parts | changes))


def weights(cohort, member: int = 0) -> torch.Tensor:
    return torch.cat([value.flatten() for value in cohort.state_dict(member)["parameters"].values()])


def test_measuring_does_not_change_the_path():
    looked, blind = (trial().build([trial()], "cpu") for _ in range(2))
    for _ in range(30):
        looked.measure()
        looked.frozen()
        looked.advance(1)
        looked.finite()
    blind.advance(30)
    assert looked.step == blind.step == 30
    assert torch.equal(weights(looked), weights(blind))


@pytest.mark.parametrize("optimizer", [AdamW(learning_rate=0.01), SGD(momentum=0.9)], ids=["AdamW", "SGD"])
def test_resume_bit_for_bit(optimizer):
    config = trial(optimizer=optimizer, gradient=OrthogonalGradient())
    whole = config.build([config], "cpu")
    whole.advance(25)
    buffer = io.BytesIO()
    torch.save(whole.state_dict(0), buffer)
    whole.advance(25)
    restored = config.build([config], "cpu")
    restored.load_state_dict([torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)])
    assert restored.step == 25
    restored.advance(25)
    assert torch.equal(weights(restored), weights(whole))
    for column, values in whole.measure().items():
        np.testing.assert_array_equal(values, restored.measure()[column])


def test_checkpoint_loads_in_any_cohort():
    configs = [trial(seed, model=MLP(hidden=(32,), dtype="float64")) for seed in range(3)]
    together = configs[0].build(configs, "cpu")
    together.advance(20)
    regrouped = configs[0].build([configs[2], configs[0]], "cpu")
    regrouped.load_state_dict([together.state_dict(2), together.state_dict(0)])
    together.advance(20)
    regrouped.advance(20)
    torch.testing.assert_close(weights(regrouped, 0), weights(together, 2), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(weights(regrouped, 1), weights(together, 0), rtol=1e-8, atol=1e-10)
    with pytest.raises(ValueError, match=r"must be one for each of \d+ members, all at one step"):
        regrouped.load_state_dict([together.state_dict(0), regrouped.state_dict(0)][:1])


def test_retired_members_do_not_move():
    configs = [trial(seed) for seed in range(3)]
    cohort = configs[0].build(configs, "cpu")
    cohort.advance(5)
    before = weights(cohort, 1)
    cohort.retire([1])
    cohort.advance(5)
    assert torch.equal(weights(cohort, 1), before)
    moved = weights(cohort, 2)
    cohort.compact()
    assert cohort.trials == (configs[0], configs[2])
    assert torch.equal(weights(cohort, 1), moved)
    cohort.advance(5)
    assert len(cohort.measure()["train_loss"]) == 2
    never_retired = configs[0].build([configs[0]], "cpu")
    never_retired.advance(15)
    torch.testing.assert_close(weights(cohort, 0), weights(never_retired), rtol=1e-3, atol=1e-4)


def test_members_differ_in_per_trial_values_only():
    with pytest.raises(ConfigError, match="per-trial values only"):
        trial().build([trial(), trial(loss=StableMaxCrossEntropy())], "cpu")


def saturated(optimizer, **changes) -> tuple[GrokkingTrial, dict]:
    """A trial whose logits are so large that every training row has collapsed: the gradient is exactly zero."""
    config = trial(optimizer=optimizer, **changes)
    cohort = config.build([config], "cpu")
    cohort.advance(150)
    assert cohort.measure()["train_accuracy"][0] == 1.0
    state = cohort.state_dict(0)
    state["parameters"] = {name: value * 200 for name, value in state["parameters"].items()}
    return config, state


@pytest.mark.parametrize(
    "optimizer",
    [AdamW(learning_rate=0.01), SGD(learning_rate=0.5), SGD(learning_rate=0.5, momentum=0.5)],
    ids=["AdamW", "SGD", "SGD with momentum"],
)
def test_certified_frozen_weights_do_not_change(optimizer):
    config, state = saturated(optimizer)
    cohort = config.build([config], "cpu")
    cohort.load_state_dict([state])
    assert cohort.measure()["gradient_norm"][0] == 0
    assert cohort.measure()["zero_loss_fraction"][0] == 1
    for _ in range(400):
        if cohort.frozen()[0]:
            break
        cohort.advance(1)
    assert cohort.frozen()[0], "the pending update must be absorbed in the end"
    still = weights(cohort)
    for _ in range(20):
        cohort.advance(100)
        assert torch.equal(weights(cohort), still)
        assert cohort.frozen()[0]


def test_moving_weights_are_not_certified():
    config, state = saturated(AdamW(learning_rate=0.01))
    pending = config.build([config], "cpu")
    for buffer in state["optimizer"]["mean"].values():
        buffer.fill_(1e3)
    pending.load_state_dict([state])
    assert not pending.frozen()[0], "a pending update still moves the weights"
    still = weights(pending)
    pending.advance(1)
    assert not torch.equal(weights(pending), still)

    for optimizer in (
        AdamW(learning_rate=0.01, weight_decay=1e-6),  # decay goes on
        AdamW(learning_rate=0.01, betas=(0.99, 0.9)),  # the update grows: beta1 > sqrt(beta2)
        SGD(learning_rate=0.5, weight_decay=1e-6),
    ):
        config, state = saturated(optimizer)
        cohort = config.build([config], "cpu")
        cohort.load_state_dict([state])
        for buffers in state["optimizer"].values():
            for buffer in buffers.values():
                buffer.zero_()
        assert cohort.measure()["gradient_norm"][0] == 0
        assert not cohort.frozen()[0]

    learning = trial(optimizer=SGD(learning_rate=1e-12))  # nothing moves, but the gradient is not zero
    assert not learning.build([learning], "cpu").frozen()[0]


def test_divergence_stays_with_its_member():
    configs = [trial(0, optimizer=SGD(learning_rate=1e30)), trial(1, optimizer=SGD(learning_rate=0.1))]
    cohort = configs[0].build(configs, "cpu")
    assert cohort.finite().tolist() == [True, True]
    cohort.advance(10)
    assert cohort.finite().tolist() == [False, True]
    cohort.measure()
    alone = configs[1].build([configs[1]], "cpu")
    alone.advance(10)
    torch.testing.assert_close(weights(cohort, 1), weights(alone), rtol=1e-4, atol=1e-5)


def test_grokking_happens():
    """A small modulus with decay generalises long after memorising; without decay it memorises only."""
    base = trial(
        task=ModularAddition(p=23, train_fraction=0.8),
        model=MLP(hidden=(128,)),
        optimizer=AdamW(learning_rate=0.01, betas=(0.9, 0.98), weight_decay=1.0),
        measuring=Measuring(),
    )
    horizon, found = 1500, []
    configs = [base, base.replace(optimizer=AdamW(learning_rate=0.01))]
    cohort = base.build(configs, "cpu")
    for step in base.measuring.steps(horizon):
        cohort.advance(int(step) - cohort.step)
        measured = cohort.measure()
        found.append((step, measured["train_accuracy"], measured["test_accuracy"]))
    steps = np.array([row[0] for row in found])
    train, test = (np.stack([row[column] for row in found]) for column in (1, 2))
    with_decay, without = (
        outcome(steps, {"train_accuracy": train[:, member], "test_accuracy": test[:, member]}, ACCURACY_EVENTS)
        for member in range(2)
    )
    assert with_decay.phase(ACCURACY_PHASES) == "grokking"
    assert without.phase(ACCURACY_PHASES) == "memorization"
