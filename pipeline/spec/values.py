"""Values of a space: domains and their draws, coordinates of trials, and a configuration with values changed."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from trainables.engine.config import Config, ConfigError, component_at, replace_at, value_at
from trainables.engine.errors import GrokscapeError, one_line
from trainables.engine.trial import TrialConfig

Scalar: TypeAlias = str | float | int | bool | None


class SpecError(GrokscapeError):
    """An invalid space: one line with the axis, the value and what is allowed."""


@runtime_checkable
class Domain(Protocol):
    """``ray.tune.uniform(...)`` and similar, recognised by their method so that ray need not be imported."""

    def sample(self, *, random_state: np.random.Generator) -> Any:
        """One value, drawn with the given generator."""


def changed(base: TrialConfig, changes: Mapping[str, Any], where: str) -> TrialConfig:
    """``base`` with the values at these paths; a whole component is set before the fields inside it.

    Whole components are set together: a new task and a new model may fit each other but not the old ones.
    """
    whole = {path: value for path, value in changes.items() if "." not in path}
    inside = sorted((path for path in changes if "." in path), key=lambda path: path.count("."))
    config = base
    for paths in ([tuple(whole)] if whole else []) + [(path,) for path in inside]:
        try:
            for path in paths:
                component_at(config, path)
            config = config.replace(**whole) if path in whole else replace_at(config, path, changes[path])
        except ConfigError as error:
            text = str(error)
            named = text if text.startswith(paths) else f"{', '.join(paths)}: {text}"
            raise SpecError(f"{where}axis {named}") from None
    return config


def coordinate(config: TrialConfig, path: str, value: Any, labels: Mapping[Config, str]) -> Scalar:
    """The axis value as plain JSON: a component by its label, anything else as the configuration holds it."""
    if isinstance(value, Config):
        return labels[value]
    held = value_at(config, path)
    return held if isinstance(held, str | int | float | None) else str(held)


def component_labels(values: Sequence[Any]) -> dict[Config, str]:
    """A label for each component among an axis' values: its class, with its own values where classes repeat."""
    components = dict.fromkeys(value for value in values if isinstance(value, Config))
    names = [type(component).__name__ for component in components]
    return {
        component: name if names.count(name) == 1 else _spelled(component)
        for component, name in zip(components, names, strict=True)
    }


def _spelled(component: Config) -> str:
    """``MLP(hidden=(64,))``: the class and the fields that are not at their default."""
    changed_fields = [
        f"{spec.name}={_spelled(value) if isinstance(value, Config) else value}"
        for spec in fields(component)
        for value in [getattr(component, spec.name)]
        if value != spec.default
    ]
    return f"{type(component).__name__}({', '.join(changed_fields)})"


def draw_value(domain: Domain, path: str, seed: int, number: int) -> Any:
    """Draw value ``number`` of a sampled axis, twice: a domain that ignores its generator is not reproducible."""
    key = int.from_bytes(hashlib.sha256(path.encode()).digest()[:8])
    try:
        first, second = (
            plain_value(domain.sample(random_state=np.random.default_rng([seed, number, key]))) for _ in "12"
        )
    except Exception as error:  # A domain's own code can raise anything.
        raise SpecError(f"axis {path} = {describe_domain(domain)}: cannot be sampled ({one_line(error)})") from None
    if first != second:
        raise SpecError(
            f"axis {path} = {describe_domain(domain)}: ignores its random_state; draws must be reproducible"
        )
    return first


def describe_domain(domain: Any) -> str:
    """``LogUniform Float(0.0001, 0.1)``, or only the class of a domain without these methods."""
    sampler = domain.get_sampler() if hasattr(domain, "get_sampler") else ""
    return f"{sampler} {type(domain).__name__}{getattr(domain, 'domain_str', '')}".strip()


def plain_values(values: Iterable[Any]) -> list[Any]:
    return [plain_value(value) for value in values]


def plain_value(value: Any) -> Any:
    """A numpy scalar as the Python number that it holds."""
    return value.item() if isinstance(value, np.generic) else value


def check_integer(name: str, value: Any, *, at_least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise SpecError(f"{name} = {value!r}: must be an integer of at least {at_least}")
