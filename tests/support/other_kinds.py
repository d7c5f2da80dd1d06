"""Two trial kinds that have no accuracy: a regression with events of its own, and an iteration with final values only.

Both are whole trial kinds outside the house, as a user or a neighbouring paper would write one.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from trainables.engine.config import option
from trainables.engine.events import EventRule, PhaseRule, falls_to
from trainables.engine.iteration import IterationTrial
from trainables.engine.randomness import random_bits, signed_uniform

ROWS, FEATURES = 40, 8
STREAM = 77


@dataclass(frozen=True, kw_only=True)
class Regression(IterationTrial):
    """A linear regression by gradient descent that is waited for until its test loss falls below two bounds."""

    measured: ClassVar[tuple[str, ...]] = ("train_loss", "test_loss")
    autonomous: ClassVar[bool] = True

    learning_rate: float = option(0.1, above=0.0, per_trial=True)
    events: tuple[EventRule, ...] = option(
        (falls_to("test_loss", 0.1, 0.01, name="t_fit", headline=0.1),), protocol=True
    )
    phases: tuple[PhaseRule, ...] = option(
        (PhaseRule(name="fitted", happened=("t_fit",), colour="#009e73"), PhaseRule(name="not fitted")), protocol=True
    )

    def rows(self):
        bits = random_bits(self.seeds.split, STREAM, ROWS * FEATURES)
        inputs = torch.from_numpy(signed_uniform(bits).reshape(ROWS, FEATURES))
        return {"inputs": inputs, "targets": inputs.sum(1)}

    def start(self):
        return {"weights": torch.zeros(FEATURES, dtype=torch.float64)}

    def moved(self, state, rows, hyper, step):
        train = slice(0, ROWS // 2)
        residuals_KR = residuals(state, rows)[:, train]
        gradient_KF = torch.einsum("kr,krf->kf", residuals_KR, rows["inputs"][:, train]) / (ROWS // 2)
        return {"weights": state["weights"] - hyper["learning_rate"].unsqueeze(1) * gradient_KF}

    def observe(self, state, rows, hyper):
        train, test = residuals(state, rows).square().split(ROWS // 2, dim=1)
        return {"train_loss": train.mean(1), "test_loss": test.mean(1)}

    def flops_per_step(self):
        return 4.0 * ROWS * FEATURES


def residuals(state, rows):
    return torch.einsum("krf,kf->kr", rows["inputs"], state["weights"]) - rows["targets"]


@dataclass(frozen=True, kw_only=True)
class Decay(IterationTrial):
    """A vector that shrinks by a share at each step: it has an end, and no event."""

    measured: ClassVar[tuple[str, ...]] = ("energy_joules",)

    rate: float = option(0.1, above=0.0, below=1.0, per_trial=True)

    def rows(self):
        return {}

    def start(self):
        return {"vector": torch.full((FEATURES,), 1.0 + self.seeds.init, dtype=torch.float64)}

    def moved(self, state, rows, hyper, step):
        return {"vector": (1 - hyper["rate"].unsqueeze(1)) * state["vector"]}

    def observe(self, state, rows, hyper):
        return {"energy_joules": state["vector"].square().sum(1)}

    def flops_per_step(self):
        return float(FEATURES)
