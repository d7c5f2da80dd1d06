"""What a component of a step returns is checked once, at its first step: users write components too."""

from collections.abc import Mapping
from typing import Any

from trainables.engine.config import Config, ConfigError
from trainables.engine.gradients import State, Tensors


def check_returned(component: Config, what: str, given: Tensors, like: Tensors, state: State, before: State) -> None:
    """Make sure that a component returns what it must: a tensor for each parameter, and its buffers.

    :raises ConfigError: naming the component and the tensor.
    """
    _check_tensors(component, what, given, like)
    _check_names(component, "buffers", state, before)
    for buffer, tensors in before.items():
        _check_tensors(component, f"buffer {buffer!r}", state[buffer], tensors)


def _check_tensors(component: Config, what: str, given: Tensors, like: Tensors) -> None:
    _check_names(component, what, given, like)
    for name, value in like.items():
        if given[name].shape != value.shape or given[name].dtype != value.dtype:
            raise ConfigError(
                f"{type(component).__name__}: returns {what} of {name} as {given[name].dtype}, shape "
                f"{tuple(given[name].shape)}; must be {value.dtype}, {tuple(value.shape)}"
            )


def _check_names(component: Config, what: str, given: Mapping[str, Any], like: Mapping[str, Any]) -> None:
    if set(given) != set(like):
        raise ConfigError(
            f"{type(component).__name__}: returns {what} {', '.join(given) or '(none)'}; "
            f"must be {', '.join(like) or '(none)'}"
        )
