"""Made-up baselines for the analysis' tests: accuracies and losses with known ends, measured at regular steps."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.support.synthetic import MadeTrial
from trainables.engine.config import digest
from trainables.runtime.rows import TrialState

AXES: dict[str, Any] = {"arms": [], "axes": [], "seeds": []}
"""A design that declares no event."""
HORIZON, EVERY, EPOCH_STEPS = 400, 50, 100
CONFIG = {
    "class": "VisionTrial",
    "images": {"class": "CIFAR10"},
    "model": {"class": "ResNet18"},
    "measuring": {"class": "EverySteps", "every_steps": EVERY},
}


def make_baseline(
    coordinates: Mapping[str, Any],
    *,
    accuracy: float,
    until_steps: int = HORIZON,
    state: str | None = None,
    diverged: bool = False,
    epochs: bool = True,
) -> MadeTrial:
    """A trial whose test accuracy would be ``accuracy`` at the horizon, of which it has ``until_steps`` steps.

    One that ``diverged`` has losses that are no numbers at its last measurement.
    """
    steps = np.arange(0, until_steps + 1, EVERY)
    share = steps / HORIZON
    rows = {
        "step": steps,
        "train_accuracy": 0.1 + accuracy * share / 2,
        "test_accuracy": 0.1 + (accuracy - 0.1) * share,
        "train_loss": 2.3 - share,
        "test_loss": 2.3 - share,
    }
    if epochs:
        rows["epoch"] = steps / EPOCH_STEPS
    if diverged:
        rows["test_loss"] = np.where(steps == until_steps, np.nan, rows["test_loss"])
    default = TrialState.STOPPED if diverged else TrialState.FINISHED if until_steps == HORIZON else TrialState.RUNNING
    return MadeTrial(
        digest(dict(coordinates)), dict(coordinates), rows, state or default, "diverged" if diverged else None
    )


def three_methods() -> list[MadeTrial]:
    """Two methods at their end, 2 points apart by seed; of the third, one diverged and one is half-way."""
    trials = []
    for seed, accuracy in enumerate((0.5, 0.6, 0.55)):
        trials.append(make_baseline({"arm": "softmax CE", "seed": seed}, accuracy=accuracy))
    for seed, accuracy in enumerate((0.515, 0.62, 0.575)):
        trials.append(make_baseline({"arm": "StableMax CE", "seed": seed}, accuracy=accuracy))
    trials.append(make_baseline({"arm": "⊥SGD", "seed": 0}, accuracy=0.7))
    trials.append(make_baseline({"arm": "⊥SGD", "seed": 1}, accuracy=0.7, until_steps=150, diverged=True))
    trials.append(make_baseline({"arm": "⊥SGD", "seed": 2}, accuracy=0.7, until_steps=200))
    return trials
