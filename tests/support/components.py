"""Every component of a package, found by walking its modules, and a trial around each: nothing is listed by hand."""

import importlib
import itertools
import pkgutil
from collections.abc import Iterator
from typing import Any

from trainables.engine.config import Config, ConfigError
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
from trainables.grokking import GrokkingTrial

FIELD_OF = {
    Task: "task",
    Model: "model",
    Loss: "loss",
    GradientRule: "gradient",
    Optimizer: "optimizer",
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

    # A component is a leaf: its class has no subclass in its own package.
    found = {cls for cls in below(Config) if inside(cls) and not any(map(inside, cls.__subclasses__()))}
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
