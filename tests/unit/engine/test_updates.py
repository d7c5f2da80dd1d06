"""Update rules in real cohorts: what is held, what is projected off, and that a checkpoint knows the initial norm."""

import pytest
import torch

from trainables.engine.gradients import inner, norm
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD, AdamW
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Seeds
from trainables.engine.updates import NormClamp, OrthogonalUpdate
from trainables.grokking import GrokkingTrial

BASE = GrokkingTrial(
    task=ModularAddition(p=7, train_fraction=0.6),
    model=MLP(hidden=(16,), dtype="float64"),
    optimizer=AdamW(learning_rate=0.01, weight_decay=1.0),
    horizon_steps=100,
)


def weights(cohort, member=0):
    return {name: value.unsqueeze(0) for name, value in cohort.state_dict(member)["parameters"].items()}


@pytest.mark.parametrize("scope", ["global", "tensor"])
def test_norm_clamp_holds_the_norm_of_the_start(scope):
    ratios = (0.5, 2.0)
    trials = [
        BASE.replace(update=NormClamp(ratio=ratio, scope=scope), seeds=Seeds.all(seed))
        for seed, ratio in enumerate(ratios)
    ]
    cohort = BASE.build(trials, "cpu")
    start = [weights(cohort, member) for member in range(2)]
    for _ in range(3):
        cohort.advance(7)
        for member, ratio in enumerate(ratios):
            now = weights(cohort, member)
            parts = [now.keys()] if scope == "global" else [[name] for name in now]
            for part in parts:
                held, before = (norm({name: each[name] for name in part}) for each in (now, start[member]))
                torch.testing.assert_close(held, ratio * before, rtol=1e-14, atol=0)
    states = [cohort.state_dict(1)]
    solo = BASE.build([trials[1]], "cpu")
    solo.load_state_dict(states)
    solo.advance(5)
    cohort.advance(5)
    for name, value in weights(cohort, 1).items():
        torch.testing.assert_close(weights(solo)[name], value, rtol=1e-12, atol=1e-14)


def test_a_clamped_run_is_never_frozen():
    still = BASE.replace(optimizer=SGD(learning_rate=1e-300))
    plain, clamped = (each.build([each], "cpu") for each in (still, still.replace(update=NormClamp(ratio=0.9))))
    for cohort in (plain, clamped):
        cohort._propose().gradients.update({name: torch.zeros_like(value) for name, value in weights(cohort).items()})
    assert plain.frozen().all()
    assert not clamped.frozen().any()


@pytest.mark.parametrize("scope", ["tensor", "global"])
def test_orthogonal_update_leaves_no_part_along_the_weights(scope):
    trial = BASE.replace(update=OrthogonalUpdate(scope=scope))
    cohort, plain = trial.build([trial], "cpu"), BASE.build([BASE], "cpu")
    for step in range(5):
        before = weights(cohort)
        plain.load_state_dict([cohort.state_dict(0)]) if step == 0 else None
        cohort.advance(1)
        update = {name: value - before[name] for name, value in weights(cohort).items()}
        parts = [[name] for name in update] if scope == "tensor" else [list(update)]
        for part in parts:
            theta, moved = ({name: each[name] for name in part} for each in (before, update))
            assert (inner(theta, moved) / (norm(theta) * norm(moved))).abs().max() < 1e-13
        if step == 0:
            plain.advance(1)
            unprojected = {name: value - before[name] for name, value in weights(plain).items()}
            for part in parts:
                theta, free, moved = ({name: each[name] for name in part} for each in (before, unprojected, update))
                share = inner(theta, free) / inner(theta, theta)
                for name in part:
                    torch.testing.assert_close(moved[name], free[name] - share * theta[name], rtol=1e-8, atol=1e-14)
