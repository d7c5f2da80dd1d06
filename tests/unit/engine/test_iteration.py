"""Iterations: a member is the solo trial bit for bit, in any packing, through checkpoints and compaction."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from tests.support.components import same
from tests.support.other_kinds import Decay, Regression
from trainables.engine.config import ConfigError
from trainables.engine.iteration import IterationTrial
from trainables.engine.randomness import random_bits, signed_uniform
from trainables.engine.trial import Seeds


@dataclass(frozen=True, kw_only=True)
class Walk(IterationTrial):
    """A random walk: steps with draws, and a number of its own."""

    measured: ClassVar[tuple[str, ...]] = ("distance", "path")

    def rows(self):
        return {}

    def start(self):
        return {"place": torch.zeros(2, dtype=torch.float64), "path": torch.zeros((), dtype=torch.float64)}

    def draws(self, step):
        return {"shift": torch.from_numpy(signed_uniform(random_bits(self.seeds.order, 78, 2, block=step)))}

    def moved(self, state, rows, hyper, step):
        return {"place": state["place"] + rows["shift"], "path": state["path"] + rows["shift"].norm(dim=1)}

    def observe(self, state, rows, hyper):
        return {"distance": state["place"].norm(dim=1), "path": state["path"]}

    def flops_per_step(self):
        return 2.0


def regressions(*rates: float) -> list[Regression]:
    return [Regression(learning_rate=rate, seeds=Seeds.all(seed), horizon_steps=100) for seed, rate in enumerate(rates)]


@pytest.mark.parametrize(
    "trials",
    [regressions(0.1, 0.3, 0.9), [Walk(seeds=Seeds.all(seed), horizon_steps=100) for seed in (3, 5, 8)]],
    ids=["no draws", "draws"],
)
def test_a_member_is_the_solo_trial_through_retiring_compaction_and_checkpoints(trials):
    cohort = trials[0].build(trials, "cpu")
    cohort.advance(7)
    cohort.retire([1])
    kept = cohort.state_dict(1)
    cohort.advance(5)
    assert same(cohort.state_dict(1)["state"], kept["state"])
    cohort.compact()
    assert cohort.trials == (trials[0], trials[2])
    cohort.advance(8)
    resumed = trials[2].build([trials[2]], "cpu")
    resumed.load_state_dict([cohort.state_dict(1)])
    cohort.advance(10)
    resumed.advance(10)
    solo = trials[2].build([trials[2]], "cpu")
    for _ in range(30):
        solo.measure(), solo.finite(), solo.frozen()  # change nothing
        solo.advance(1)
    for other in (cohort.state_dict(1), resumed.state_dict(0)):
        assert other["step"] == 30
        torch.testing.assert_close(other["state"], solo.state_dict(0)["state"], rtol=1e-13, atol=0)
    assert same(resumed.measure(), solo.measure())


def test_regression_is_gradient_descent_by_numpy():
    (trial,) = regressions(0.5)
    inputs, targets = (value.numpy() for value in trial.rows().values())
    train, weights = slice(0, 20), np.zeros(8)
    for _ in range(25):
        weights -= 0.5 * inputs[train].T @ (inputs[train] @ weights - targets[train]) / 20
    cohort = trial.build([trial], "cpu")
    cohort.advance(25)
    np.testing.assert_allclose(cohort.snapshot(0)["weights"], weights, rtol=1e-12)
    expected = np.square(inputs[20:] @ weights - targets[20:]).mean()
    np.testing.assert_allclose(cohort.measure()["test_loss"], [expected], rtol=1e-10)


def test_what_diverges_and_what_is_frozen():
    cohort = Regression.build(regressions(1e200, 0.5), "cpu")
    assert cohort.finite().all()
    cohort.advance(1)
    assert cohort.finite().tolist() == [False, True]
    fitted = Regression.build(regressions(1.0), "cpu")
    fitted.advance(10)
    assert not fitted.frozen().any()
    fitted.advance(20_000)
    before = fitted.snapshot(0)
    assert fitted.frozen().all()
    fitted.advance(3)
    assert same(fitted.snapshot(0), before)
    decayed = Decay.build([Decay(rate=0.9, horizon_steps=9)], "cpu")
    decayed.advance(2000)  # exactly 0, but it does not say that its steps are alike
    assert not decayed.frozen().any()


def test_states_that_do_not_fit():
    trials = regressions(0.1, 0.3)
    cohort = Regression.build(trials, "cpu")
    state = cohort.state_dict(0)
    with pytest.raises(ValueError, match=r"1 states at steps \[0\]: must be one for each of 2 members"):
        cohort.load_state_dict([state])
    with pytest.raises(ConfigError, match="must differ in per-trial values only"):
        Regression.build([trials[0], trials[1].replace(horizon_steps=7)], "cpu")


def test_the_example_of_the_readme(tmp_path, monkeypatch):
    """It fits, and ends frozen in one of the two wells."""
    readme = Path(__file__).parents[3] / "trainables" / "neighbours" / "README.md"
    code = readme.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    (tmp_path / "wells_of_the_readme.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    kind = importlib.import_module("wells_of_the_readme").DoubleWell
    cohort = kind.build([kind(seeds=Seeds.all(seed), horizon_steps=400) for seed in range(6)])
    cohort.advance(400)
    columns = cohort.measure()
    assert (columns["loss"] < 1e-20).all()
    assert {*columns["side"]} == {-1.0, 1.0}
    assert cohort.frozen().all()
