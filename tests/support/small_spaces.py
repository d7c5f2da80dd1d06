"""Small search spaces for the tests of specs: a base trial, two of its axes, and what a space expands to."""

from typing import Any

from pipeline.spec import SweepSpec
from trainables.engine.models import MLP
from trainables.engine.tasks import ModularAddition
from trainables.grokking import GrokkingTrial

BASE = GrokkingTrial(task=ModularAddition(p=7), model=MLP(hidden=(8,)), horizon_steps=100)
DECAY = "optimizer.weight_decay"
RATE = "optimizer.learning_rate"


def spec(**changes: Any) -> SweepSpec:
    return SweepSpec(**({"base": BASE} | changes))


def coordinates(space: SweepSpec) -> list[dict[str, Any]]:
    return [trial.coordinates for trial in space.trials()]
