"""Every component of a package, found by walking its modules, and a trial around each: nothing is listed by hand."""

import importlib
import itertools
import pkgutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from trainables.engine.config import Config, ConfigError, abstract_methods, per_trial_paths, replace_at, value_at
from trainables.engine.encodings import Tokens
from trainables.engine.gradients import GradientRule
from trainables.engine.interventions import Intervention
from trainables.engine.losses import Loss
from trainables.engine.models import MLP, Model
from trainables.engine.optimizers import Optimizer
from trainables.engine.penalties import Penalty
from trainables.engine.probes import Probe
from trainables.engine.schedules import Schedule
from trainables.engine.tasks import ModularAddition, Task
from trainables.engine.transformer import Transformer
from trainables.engine.trial import Seeds
from trainables.engine.updates import UpdateRule
from trainables.grokking import GrokkingTrial

FIELD_OF = {
    Task: "task",
    Model: "model",
    Loss: "loss",
    GradientRule: "gradient",
    Optimizer: "optimizer",
    UpdateRule: "update",
    Penalty: "penalty",
    Schedule: "schedule",
    Intervention: "intervention",
    Probe: "probes",
}

TASKS = (ModularAddition.example(), ModularAddition.example().replace(inputs=Tokens()))
MODELS = (MLP.example(), Transformer.example())
"""What an example is tried with, the first that it accepts."""


def configs_of(package: str) -> list[type[Config]]:
    """The components that a module, or a package with all its modules, defines."""
    top = importlib.import_module(package)
    for module in pkgutil.walk_packages(getattr(top, "__path__", ()), f"{package}."):
        importlib.import_module(module.name)

    def inside(cls: type) -> bool:
        return f"{cls.__module__}.".startswith(f"{package}.")

    def below(cls: type) -> Iterator[type]:
        for child in cls.__subclasses__():
            yield child
            yield from below(child)

    # A component is a leaf: its class has no subclass in its own package, and nothing is left to implement.
    found = {cls for cls in below(Config) if inside(cls) and not any(map(inside, cls.__subclasses__()))}
    found = {cls for cls in found if not abstract_methods(cls)}
    return sorted(found, key=lambda cls: cls.__qualname__)


def small_trial(component: Config | None = None, **changes: Any) -> GrokkingTrial:
    """A trial that trains within milliseconds, with the component put where it belongs."""
    parts: dict[str, Any] = {"horizon_steps": 30}
    for family, field in FIELD_OF.items():
        if isinstance(component, family):
            parts[field] = (component,) if field == "probes" else component
    errors: list[ConfigError] = []
    for task, model in itertools.product(TASKS, MODELS):
        try:
            return GrokkingTrial(**({"task": task, "model": model} | parts | changes))
        except ConfigError as error:
            errors.append(error)
    raise errors[0]


def varied(base: GrokkingTrial, members: int) -> list[GrokkingTrial]:
    """Trials that may train in one cohort, with every per-trial value differing."""
    trials = [base.replace(seeds=Seeds.all(seed)) for seed in range(members)]
    for path in per_trial_paths(base):
        if path.startswith("seeds."):
            continue
        value = value_at(base, path)
        for member in range(members):
            changed = (
                tuple(v * (1 - 0.02 * member) for v in value)
                if isinstance(value, tuple)
                else (value or 0.1) * (1 - 0.1 * member)
            )
            trials[member] = replace_at(trials[member], path, changed)
    return trials


def same(one: Any, other: Any) -> bool:
    """Equal bit for bit, whatever a state is made of."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return np.array_equal(one, other, equal_nan=True) if isinstance(one, np.ndarray) else one == other
