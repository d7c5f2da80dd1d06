"""Sampled axes: what a domain of ``ray.tune`` is, as text and for Optuna, and how values are drawn from it.

Domains are recognised by their methods and described by their attributes, so that Ray need not be imported here.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeGuard, runtime_checkable

import numpy as np

from pipeline.spec.values import SpecError, is_scalar, spelled
from trainables.engine.config import Config, brief, plain
from trainables.engine.errors import one_line

SUGGESTED = "uniform, quniform, loguniform, randint, qrandint, lograndint or choice"
RAYS_BASE = 10
"""Of its logarithmic samplers, in releases that have one; it changes no value."""


@runtime_checkable
class Domain(Protocol):
    """``ray.tune.uniform(...)`` and similar."""

    def sample(self, *, random_state: np.random.Generator) -> Any:
        """One value, drawn with the given generator."""


def is_domain(value: Any) -> TypeGuard[Domain]:
    """Whether an axis is sampled; arrays of pandas have a method ``sample`` too."""
    return isinstance(value, Domain) and not hasattr(value, "__array__") and not isinstance(value, type)


def draw_value(domain: Domain, path: str, seed: int, number: int) -> Any:
    """Draw value ``number`` of a sampled axis, twice: a domain that ignores its generator is not reproducible."""
    key = int.from_bytes(hashlib.sha256(path.encode()).digest()[:8])
    try:
        first, second = (plain(domain.sample(random_state=np.random.default_rng([seed, number, key]))) for _ in "12")
    except Exception as error:  # A domain's own code can raise anything.
        raise SpecError(f"axis {path} = {describe_domain(domain)}: cannot be sampled ({one_line(error)})") from None
    if is_domain(first):
        raise SpecError(f"axis {path} = {describe_domain(domain)}: draws another domain; must draw values")
    if repr(first) != repr(second):
        raise SpecError(
            f"axis {path} = {describe_domain(domain)}: ignores its random_state; draws must be reproducible"
        )
    return first


def describe_domain(domain: Any) -> str:
    """``LogUniform Float(0.0001, 0.1)``: the same text in every process, for equal domains only.

    A domain of the user's is its class and its attributes.
    """
    name = type(domain).__name__
    if not hasattr(domain, "get_sampler"):
        own = getattr(domain, "__dict__", {}).items()
        texts = [f"{key}={_describe(value)}" for key, value in own if not key.startswith("_")]
        return f"{name}({', '.join(texts)})" if texts else name
    if hasattr(domain, "categories"):
        return f"{_describe_sampler(domain.get_sampler())} {name}[{', '.join(map(_describe, domain.categories))}]"
    if hasattr(domain, "func"):
        return f"{name}({_describe_function(domain.func)})"
    bounds = f"({plain(domain.lower)!r}, {plain(domain.upper)!r})" if hasattr(domain, "lower") else ""
    return f"{_describe_sampler(domain.get_sampler())} {name}{bounds}"


@dataclass(frozen=True)
class Range:
    """Numbers between two bounds, both included."""

    low: float
    high: float
    step: float | None = None
    log: bool = False


Suggested: TypeAlias = Range | tuple[Any, ...]
"""What Optuna can suggest: a range (of integers, if its bounds are), or one of some values."""


def suggested(domain: Any, path: str) -> Suggested:
    """What Optuna is to suggest for a domain, with the values that Ray would draw.

    :raises SpecError: for a domain that Optuna cannot represent.
    """
    sampler: Any = domain.get_sampler() if hasattr(domain, "get_sampler") else None
    kinds, step = _kinds(domain), None
    if "Quantized" in _kinds(sampler):
        step, sampler = plain(sampler.q), sampler.get_sampler()
    uniform, log = "Uniform" in _kinds(sampler), "LogUniform" in _kinds(sampler)
    if uniform and "Categorical" in kinds:
        values = tuple(map(plain, domain.categories))
        for value in values:
            if not is_scalar(value):
                raise SpecError(f"axis {path} = {_describe(value)}: must be a number or a string beside an objective")
        if values:
            return values
    elif (uniform or (log and step is None)) and kinds & {"Float", "Integer"}:
        low, high = plain(domain.lower), plain(domain.upper)
        if not (math.isfinite(low) and math.isfinite(high)):
            pass
        elif "Float" in kinds:
            if low <= high:
                return Range(float(low), float(high), step and float(step), log)
        else:
            low, high, step = math.ceil(low), math.floor(high), int(step or 1)
            if step == 1:
                high -= 1  # Ray excludes it.
            low, high = -(-low // step) * step, high // step * step
            if low <= high:
                return Range(low, high, None if log else step, log)
    raise SpecError(
        f"axis {path} = {describe_domain(domain)}: is not something that Optuna can suggest; "
        f"must be {SUGGESTED} of ray.tune beside an objective, and not empty"
    )


def probes(values: Suggested) -> Iterator[Any]:
    """Values to try before anything starts: every choice, or both ends of a range, which for floats are open."""
    if not isinstance(values, Range):
        yield from values
        return
    inside = 0.0 if values.step or isinstance(values.low, int) else 1e-6
    for end, other in ((values.low, values.high), (values.high, values.low)):
        yield end if not inside else end + inside * (other - end) if not values.log else end * (other / end) ** inside


def _kinds(thing: Any) -> set[str]:
    return {cls.__name__ for cls in type(thing).__mro__}


def _describe_sampler(sampler: Any) -> str:
    """``Quantized(0.5) Uniform``, ``Normal(4.0, 0.1)``."""
    if "Quantized" in _kinds(sampler):
        return f"Quantized({plain(sampler.q)!r}) {_describe_sampler(sampler.get_sampler())}"
    own = vars(sampler).items()
    values = [plain(value) for name, value in own if not (name == "base" and value == RAYS_BASE)]
    numbers = ", ".join(repr(value) for value in values if is_scalar(value))
    name = type(sampler).__name__.lstrip("_")
    return f"{name}({numbers})" if numbers else name


def _describe(value: Any) -> str:
    value = plain(value)
    if isinstance(value, Config):
        return spelled(value)
    if is_domain(value):
        return describe_domain(value)
    return repr(value) if is_scalar(value) else brief(value)


def _describe_function(function: Any) -> str:
    if isinstance(function, partial):
        texts = [_describe(value) for value in function.args]
        texts += [f"{name}={_describe(value)}" for name, value in function.keywords.items()]
        return f"{_describe_function(function.func)}({', '.join(texts)})"
    return getattr(function, "__qualname__", type(function).__qualname__)
