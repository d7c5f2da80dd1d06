"""The engine's slots with components of a user's own: what they are given, what is checked, what stays theirs."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from trainables.engine.config import ConfigError, option
from trainables.engine.gradients import GradientRule, PlainGradient
from trainables.engine.gradients_filtered import AVERAGE, GrokfastEMA
from trainables.engine.gradients_matrix import EgalitarianGradientDescent, equalised
from trainables.engine.interventions import SwitchOptimizer, ZeroTrueClassGradient
from trainables.engine.losses import SoftmaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD, AdamW, Optimizer
from trainables.engine.optimizers_shaped import Muon
from trainables.engine.probes import STANDARD
from trainables.engine.probes_scale import FeatureInflation
from trainables.engine.probes_tensors import EffectiveRank
from trainables.engine.schedules import Warmup
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Seeds
from trainables.engine.updates import UpdateRule
from trainables.grokking import GrokkingTrial

BASE = GrokkingTrial(
    task=ModularAddition(p=7, train_fraction=0.6), model=MLP(hidden=(8,), bias=True, dtype="float64"), horizon_steps=50
)


def built(steps: int = 0, *, members: int = 1, **changes):
    trials = [BASE.replace(seeds=Seeds.all(seed), **changes) for seed in range(members)]
    cohort = BASE.build(trials, "cpu")
    cohort.advance(steps)
    return cohort


@dataclass(frozen=True, kw_only=True)
class Returning(GradientRule):
    """Returns what a test wants."""

    what: str = option("as it is")

    def __call__(self, parameters, gradients, state, hyper, step):
        changed = {
            "a name less": dict(list(gradients.items())[1:]),
            "another dtype": {name: value.float() for name, value in gradients.items()},
            "another shape": {name: value.flatten(1) for name, value in gradients.items()},
            "shifted": {name: value + 0.01 for name, value in gradients.items()},
        }
        return changed.get(self.what, gradients), {"mine": {}} if self.what == "state" else state


@dataclass(frozen=True, kw_only=True)
class Ball(UpdateRule):
    """Stay within a distance of the start, which is remembered as the weights themselves."""

    radius: float = option(0.1, above=0.0, per_trial=True)

    def init_state(self, parameters):
        return {"start": parameters}

    def __call__(self, before, after, state, hyper):
        radius_K = hyper["radius"]
        return {
            name: start + (after[name] - start).clamp(-radius_K.max(), radius_K.max())
            for name, start in state["start"].items()
        }


@dataclass(frozen=True, kw_only=True)
class Lengths(Optimizer):
    """Descend by a fixed length in every tensor; it sees shapes because it says nothing else."""

    shapes: ClassVar[list[tuple[int, ...]]] = []

    def init_state(self, parameters):
        return {}

    def update(self, parameters, gradients, state, hyper, step):
        self.shapes.extend(tuple(value.shape) for value in parameters.values())
        return {name: value - 1e-3 * gradients[name].sign() for name, value in parameters.items()}, {}


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("a name less", r"Returning: returns gradients bias_0, .*; must be weight_0, bias_0"),
        ("another dtype", r"Returning: returns gradients of weight_0 as torch.float32, .*; must be torch.float64"),
        ("another shape", r"Returning: returns gradients of weight_0 as .*shape \(1, 112\); must be .*\(1, 14, 8\)"),
        ("state", r"Returning: returns buffers mine; must be \(none\)"),
    ],
)
def test_what_a_component_returns_is_checked_with_its_name(what, message):
    with pytest.raises(ConfigError, match=message):
        built(1, gradient=Returning(what=what), optimizer=SGD())


def test_an_update_rule_may_keep_the_weights_that_it_is_given():
    cohort = built(update=Ball(), optimizer=AdamW(learning_rate=0.05))
    start = cohort.snapshot(0)
    cohort.advance(40)
    moved = max(np.abs(value - start[name]).max() for name, value in cohort.snapshot(0).items())
    assert moved == pytest.approx(0.1)


def test_an_optimizer_sees_shapes_unless_it_says_otherwise():
    Lengths.shapes.clear()
    built(1, optimizer=Lengths(), members=2)
    assert Lengths.shapes == [(2, 14, 8), (2, 8), (2, 8, 7), (2, 7)]


def test_a_schedule_and_alpha_scale_every_rate():
    slow = Warmup(warmup_steps=10)  # the first factor is 1/10
    steps = []
    for changes in ({}, {"schedule": slow}, {"alpha": 10.0}):
        cohort = built(optimizer=Muon(vector_learning_rate=0.01), **changes)
        before = cohort.snapshot(0)
        cohort.advance(1)
        steps.append({name: np.abs(value - before[name]).max() for name, value in cohort.snapshot(0).items()})
    for name, whole in steps[0].items():
        assert steps[1][name] == pytest.approx(whole / 10, rel=1e-6)
        assert steps[2][name] < whole / 20


def test_a_gradient_rule_remembers_through_another_optimizer_and_begins_where_it_begins():
    rule, at = GrokfastEMA(alpha=0.9), 5
    kept = built(at + 1, gradient=rule, intervention=SwitchOptimizer(at_step=at, to=SGD(learning_rate=0.0001)))
    plain = built(at + 1, gradient=rule)
    for name, value in plain.state_dict(0)["gradient"][AVERAGE].items():
        torch.testing.assert_close(kept.state_dict(0)["gradient"][AVERAGE][name], value)
    switch = SwitchOptimizer(at_step=at, to=SGD(learning_rate=0.0001), to_gradient=rule)
    begun = built(at, gradient=PlainGradient(), intervention=switch)
    gradients = {name: value.clone() for name, value in begun._propose().gradients.items()}
    begun.advance(1)
    for name, value in gradients.items():  # its first average is its first gradient
        torch.testing.assert_close(begun.state_dict(0)["gradient"][AVERAGE][name], value[0])


def test_only_a_rule_that_keeps_zero_zero_can_be_frozen():
    still = {"optimizer": SGD(learning_rate=1e-300)}
    for rule, expected in ((PlainGradient(), True), (Returning(what="shifted"), False), (GrokfastEMA(), False)):
        cohort = built(gradient=rule, **still)
        nothing = {name: torch.zeros_like(value) for name, value in cohort._propose().gradients.items()}
        cohort._propose().gradients.update(nothing)
        assert cohort.frozen().tolist() == [expected]


def test_a_probe_of_activations_changes_no_column():
    changes = {"intervention": ZeroTrueClassGradient(at_step=2, logit="zeroed")}
    plain = built(5, **changes).measure()
    more = built(5, **changes, probes=(*STANDARD, FeatureInflation())).measure()
    assert all(np.array_equal(more[name], value, equal_nan=True) for name, value in plain.items())


def test_one_member_that_diverges_leaves_the_others_alone():
    matrices = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrices[1, 2, 2] = torch.nan
    found = equalised(matrices)
    torch.testing.assert_close(found[0], equalised(matrices[:1])[0])
    assert found[1].isnan().all()
    trials = [
        BASE.replace(
            optimizer=SGD(learning_rate=rate),
            gradient=EgalitarianGradientDescent(),
            probes=(*STANDARD, EffectiveRank(every=1)),
        )
        for rate in (0.01, 1e200)
    ]
    cohort = BASE.build(trials, "cpu")
    cohort.advance(6)
    assert cohort.finite().tolist() == [True, False]
    assert np.isfinite(cohort.measure()["effective_rank.weight_0"][0])


def test_egalitarian_descent_does_not_enlarge_rounding():
    """The softmax's gradient has no common shift of the logits but for rounding: a direction of singular value 0."""
    model, loss = MLP(hidden=(8,)), SoftmaxCrossEntropy()
    cohort = built(20, model=model, loss=loss, gradient=EgalitarianGradientDescent(), optimizer=SGD(learning_rate=0.05))
    gradient = cohort._propose().gradients["weight_1"]
    assert 0 < gradient.sum(2).abs().max() < 1e-6
    assert equalised(gradient).sum(2).abs().max() < 1e-4
