"""Values of a space: what an axis may hold, coordinates of trials, and a configuration with values changed."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeAlias

from trainables.engine.config import (
    LARGEST_INTEGER,
    Config,
    ConfigError,
    brief,
    component_at,
    plain,
    replace_at,
    value_at,
)
from trainables.engine.errors import GrokscapeError
from trainables.engine.trial import TrialConfig

Scalar: TypeAlias = str | float | int | bool | None
MOST_TRIALS = 1_000_000


class SpecError(GrokscapeError):
    """An invalid space: one line with the axis, the value and what is allowed."""


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
    return held if is_scalar(held) else str(held)


def component_labels(values: Sequence[Any]) -> dict[Config, str]:
    """A label for each component among an axis' values: its class, with its own values where classes repeat."""
    components = dict.fromkeys(value for value in values if isinstance(value, Config))
    names = [type(component).__name__ for component in components]
    return {
        component: name if names.count(name) == 1 else spelled(component)
        for component, name in zip(components, names, strict=True)
    }


def spelled(component: Config) -> str:
    """``MLP(hidden=(64,))``: the class and the fields that are not at their default."""
    changed_fields = [
        f"{spec.name}={spelled(value) if isinstance(value, Config) else value}"
        for spec in fields(component)
        for value in [getattr(component, spec.name)]
        if value != spec.default
    ]
    return f"{type(component).__name__}({', '.join(changed_fields)})"


def is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float | None)


def listed(name: str, values: Any, must: str) -> list[Any]:
    """The values of a list, a range or an array, as Python's own.

    :raises SpecError: ``must`` says what it must be.
    """
    values = plain(values) if not isinstance(values, range) else values
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise SpecError(f"{name} = {brief(values)}: must be {must}")
    if len(values[: MOST_TRIALS + 1]) > MOST_TRIALS:
        raise SpecError(f"{name} = {brief(values)}: must have at most {MOST_TRIALS} values")
    return list(values)


def axis_value(where: str, value: Any) -> Any:
    """A value of an axis without numpy: a scalar, a tuple of them, or a component.

    :raises SpecError: for anything else.
    """
    value = plain(value)
    if isinstance(value, list | tuple):
        return tuple(axis_value(where, item) for item in value)
    if not isinstance(value, Config) and not is_scalar(value):
        raise SpecError(
            f"{where}: the value {brief(value)} is of type {type(value).__name__}; "
            "must be a number, a string, True or False, None, a component or a tuple of these"
        )
    return value


def integer(name: str, value: Any, *, at_least: int) -> int:
    """An integer within 64 bits, a numpy one too.

    :raises SpecError: for another value.
    """
    value = plain(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise SpecError(f"{name} = {brief(value)}: must be an integer of at least {at_least}")
    if value > LARGEST_INTEGER:
        raise SpecError(f"{name} = {brief(value)}: must be at most {LARGEST_INTEGER} (64 bits)")
    return int(value)
