"""Interventions: the control's path before, another after, and the same bits through any checkpoint."""

import io
import math

import pytest
import torch

from trainables.engine.config import ConfigError, per_trial_paths, replace_at
from trainables.engine.gradients import OrthogonalGradient, PlainGradient
from trainables.engine.gradients_filtered import GrokfastEMA
from trainables.engine.interventions import Intervention, NoIntervention, SwitchLoss, SwitchOptimizer, SwitchPenalty
from trainables.engine.interventions import ZeroTrueClassGradient as ZeroTrueClass
from trainables.engine.losses import MeanSquaredError, SoftmaxCrossEntropy, StableMaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD, AdamW, NormalizedSGD
from trainables.engine.optimizers_shaped import Muon
from trainables.engine.penalties import ActivationSphere
from trainables.engine.schedules import Cosine
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Seeds
from trainables.grokking import GrokkingTrial

AT = 12
INTERVENTIONS = [
    ZeroTrueClass(at_step=AT),
    SwitchLoss(at_step=AT, to=StableMaxCrossEntropy(label_smoothing=0.1, temperature=2.0)),
    SwitchLoss(at_step=AT, to=MeanSquaredError()),
    SwitchOptimizer(at_step=AT, to=SGD(learning_rate=0.5, momentum=0.9)),
    SwitchOptimizer(at_step=AT, to=AdamW(learning_rate=0.002), to_gradient=OrthogonalGradient()),
    SwitchOptimizer(at_step=AT, to=NormalizedSGD(learning_rate=0.01)),
    SwitchOptimizer(at_step=AT, to=Muon(), to_gradient=GrokfastEMA()),
    SwitchPenalty(at_step=AT, to=ActivationSphere(strength=0.5)),
]


def kind(intervention: Intervention) -> str:
    target = getattr(intervention, "to", None)
    return type(intervention).__name__ + (f" {type(target).__name__}" if target else "")


def trial(seed: int = 0, **changes) -> GrokkingTrial:
    parts = {
        "task": ModularAddition(p=7, train_fraction=0.6),
        "model": MLP(hidden=(16,), dtype="float64"),
        "optimizer": AdamW(learning_rate=0.01, weight_decay=0.1),
        "schedule": Cosine(total_steps=60, warmup_steps=5),
        "seeds": Seeds.all(seed),
        "horizon_steps": 40,
    }
    return GrokkingTrial(**(parts | changes))


def built(config: GrokkingTrial, steps: int = 0):
    cohort = config.build([config], "cpu")
    cohort.advance(steps)
    return cohort


def weights(cohort, member: int = 0) -> torch.Tensor:
    return torch.cat([value.flatten() for value in cohort.state_dict(member)["parameters"].values()])


def leaves(cls: type) -> list[type]:
    children = cls.__subclasses__()
    return [leaf for child in children for leaf in leaves(child)] if children else [cls]


def test_all_interventions_are_covered():
    assert {type(intervention) for intervention in INTERVENTIONS} | {NoIntervention} == set(leaves(Intervention))


@pytest.mark.parametrize("intervention", INTERVENTIONS, ids=kind)
def test_path_equals_the_control_until_the_step(intervention):
    control, treated = built(trial()), built(trial(intervention=intervention))
    for step in range(1, AT + 4):
        for cohort in (control, treated):
            cohort.advance(1)
        assert torch.equal(weights(control), weights(treated)) == (step <= AT)
    assert trial().trial_id != trial(intervention=intervention).trial_id


@pytest.mark.parametrize("intervention", INTERVENTIONS, ids=kind)
def test_resume_on_either_side_bit_for_bit(intervention):
    for step in [0, AT - 1, AT, AT + 1, AT + 9]:
        for measured in [False, True]:
            config = trial(intervention=intervention)
            whole = built(config, 30)
            first = built(config, step)
            if measured:
                first.measure()
                first.frozen()
            buffer = io.BytesIO()
            torch.save(first.state_dict(0), buffer)
            state = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
            for restored in (built(config), built(config, 20)):  # whatever the cohort was doing before
                restored.load_state_dict([state])
                assert restored.step == step
                restored.advance(30 - step)
                assert torch.equal(weights(restored), weights(whole))
                one, other = restored.state_dict(0)["optimizer"], whole.state_dict(0)["optimizer"]
                assert one.keys() == other.keys()
                for name, tensors in one.items():
                    assert all(torch.equal(value, other[name][parameter]) for parameter, value in tensors.items())


@pytest.mark.parametrize("intervention", INTERVENTIONS, ids=kind)
def test_states_at_the_step_load_together(intervention):
    configs = [trial(seed, intervention=intervention) for seed in range(2)]
    seen, unseen = (built(config, AT) for config in configs)
    seen.measure()
    for order in ([0, 1], [1, 0]):
        states = [cohort.state_dict(0) for cohort in (seen, unseen)]
        cohort = configs[0].build([configs[member] for member in order], "cpu")
        cohort.load_state_dict([states[member] for member in order])
        cohort.advance(10)
        for place, member in enumerate(order):
            solo = weights(built(configs[member], AT + 10))
            torch.testing.assert_close(weights(cohort, place), solo, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("intervention", INTERVENTIONS, ids=kind)
def test_members_differ_in_new_per_trial_values(intervention):
    base = trial(intervention=intervention)
    paths = [path for path in per_trial_paths(base) if path.startswith("intervention.")]
    trials = [base.replace(seeds=Seeds.all(seed)) for seed in range(3)]
    for path in paths:
        for member, scale in enumerate((1.0, 0.9, 0.5)):
            values = {"betas": (0.9 * scale, 0.99 * scale), "label_smoothing": 0.2 * scale, "momentum": 0.9 * scale}
            value = values.get(path.rpartition(".")[2], 0.3 * scale)
            trials[member] = replace_at(trials[member], path, value)
    assert len({each.trial_id for each in trials}) == 3
    assert len({each.cohort_key for each in trials}) == 1
    cohort = base.build(trials, "cpu")
    cohort.advance(AT + 3)
    cohort.retire([0])
    cohort.compact()
    cohort.advance(10)
    for member, each in enumerate(trials[1:]):
        torch.testing.assert_close(weights(cohort, member), weights(built(each, AT + 13)), rtol=1e-9, atol=1e-11)
    assert bool(paths) == hasattr(intervention, "to")


def test_retiring_before_the_step():
    trials = [trial(seed, intervention=INTERVENTIONS[3]) for seed in range(3)]
    cohort = trials[0].build(trials, "cpu")
    cohort.advance(5)
    cohort.retire([0])
    cohort.compact()
    cohort.advance(20)
    for member, each in enumerate(trials[1:]):
        torch.testing.assert_close(weights(cohort, member), weights(built(each, 25)), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("other", [AT + 1, SGD(learning_rate=0.5)], ids=["step", "class"])
def test_different_interventions_fail(other):
    one = trial(intervention=SwitchOptimizer(at_step=AT, to=AdamW()))
    changes = {"at_step": other} if isinstance(other, int) else {"to": other}
    two = one.replace(intervention=one.intervention.replace(**changes))
    with pytest.raises(ConfigError, match="per-trial values only"):
        one.build([one, two], "cpu")


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(dtype="float64"), StableMaxCrossEntropy()], ids=repr)
def test_zero_true_class_gradient(loss):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 7, dtype=torch.float64, generator=generator).requires_grad_()
    labels = torch.randint(0, 7, (2, 5), generator=generator)
    held = ZeroTrueClass(at_step=0).logits(logits, labels)
    assert torch.equal(held, logits)
    (plain,) = torch.autograd.grad(loss.row_losses(logits, labels, {}).sum(), logits)
    (zeroed,) = torch.autograd.grad(loss.row_losses(held, labels, {}).sum(), logits)
    true = torch.nn.functional.one_hot(labels, 7).bool()
    assert (zeroed[true] == 0).all()
    assert (plain[true] != 0).all()
    torch.testing.assert_close(zeroed[~true], plain[~true], rtol=1e-14, atol=0)


def test_zero_true_class_logit():
    logits = torch.tensor([[[2.0, 1.0, -1.0]]], dtype=torch.float64, requires_grad=True)
    zeroed = ZeroTrueClass(at_step=0, logit="zeroed").logits(logits, torch.tensor([[1]]))
    assert zeroed.tolist() == [[[2.0, 0.0, -1.0]]]
    loss = SoftmaxCrossEntropy(dtype="float64").row_losses(zeroed, torch.tensor([[1]]), {}).sum()
    (found,) = torch.autograd.grad(loss, logits)
    total = math.exp(2) + 1 + math.exp(-1)
    assert found.flatten().tolist() == pytest.approx([math.exp(2) / total, 0.0, math.exp(-1) / total])


def test_optimizer_continues_unless_replaced():
    """With its buffers and its count: switching to the very same loss is the control, bit for bit."""
    loss = SoftmaxCrossEntropy(label_smoothing=0.1)
    control = built(trial(loss=loss), 30)
    same = built(trial(loss=loss, intervention=SwitchLoss(at_step=AT, to=loss)), 30)
    assert torch.equal(weights(control), weights(same))


def test_new_optimizer_restarts():
    config = trial()
    same = config.replace(intervention=SwitchOptimizer(at_step=AT, to=config.optimizer))
    assert not torch.equal(weights(built(config, 30)), weights(built(same, 30)))
    control = trial(optimizer=SGD(learning_rate=0.1))  # which has nothing to lose
    same = control.replace(intervention=SwitchOptimizer(at_step=AT, to=control.optimizer))
    assert torch.equal(weights(built(control, 30)), weights(built(same, 30)))


def test_gradient_rule_stays_unless_given():
    orthogonal = trial(gradient=OrthogonalGradient(), optimizer=SGD())
    kept, plain = (
        orthogonal.replace(intervention=SwitchOptimizer(at_step=AT, to=SGD(), to_gradient=rule))
        for rule in (None, PlainGradient())
    )
    assert torch.equal(weights(built(kept, 20)), weights(built(orthogonal, 20)))
    assert not torch.equal(weights(built(plain, 20)), weights(built(orthogonal, 20)))


def test_not_certified_frozen_before_an_intervention():
    still = trial(optimizer=SGD(learning_rate=0.1))
    waiting = still.replace(intervention=SwitchLoss(at_step=AT, to=MeanSquaredError()))
    for config, expected in ((still, True), (waiting, False)):
        cohort = built(config)
        state = cohort.state_dict(0)
        state["parameters"] = {name: torch.zeros_like(value) for name, value in state["parameters"].items()}
        cohort.load_state_dict([state])
        assert cohort.frozen().tolist() == [expected]
