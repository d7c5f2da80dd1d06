"""Frozen configurations: validated fields, canonical JSON, identity, and what may differ inside a cohort.

Every component (a task, a model, a loss, ...) is one frozen, keyword-only dataclass derived from
:class:`Config`.  Its fields are declared with :func:`option`, which says in one place what a field allows
and what it means for the machinery around it:

* ``per_trial``: the field may differ between the members of one cohort; it is stacked into a tensor.
* ``protocol``: the field sets how a trial is measured (horizon, schedule, probes, events, stopping), not which path
  its weights take; it is left out of the trial's identity.
* ``execution``: the field sets how a trial runs (memory format, compilation, micro-batches), which changes nothing but
  rounding; it is left out of the identity too, and rows count whichever way they were made.

A bad value raises :class:`ConfigError` when the object is made, so that a search space with a bad value
anywhere in it fails before anything starts.  Values from numpy, torch or pandas become the Python values that they
hold (:func:`plain`): ``np.float32(0.1)`` is 0.10000000149011612, and so another value than 0.1.
"""

import dataclasses
import hashlib
import inspect
import json
import math
import operator
import re
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from trainables.engine.errors import GrokscapeError, holds_secret, one_line, redact
from trainables.engine.names import component_name, find, register
from trainables.engine.terminal import shown

CLASS_KEY = "class"
DEEPEST_JSON = 50
"""Levels of nesting that are read; a configuration has about five."""
LARGEST_INTEGER = 2**63 - 1
"""What generators of random numbers, tensors and Parquet hold without loss."""
LONGEST_TUPLE = 1_000_000
_PLAIN = {bool, int, float, str, type(None)}


class ConfigError(GrokscapeError, ValueError):
    """An invalid configuration: the message names the field, the value and what is allowed."""


class _RangeError(ConfigError):
    """A value of the right type that is too large, too long, or not finite."""


def option(
    default: Any = MISSING,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    choices: tuple[Any, ...] | None = None,
    per_trial: bool = False,
    protocol: bool = False,
    execution: bool = False,
    example: Any = MISSING,
) -> Any:
    """A field of a :class:`Config`: its default, its bounds (applied to every item of a tuple) and its role.

    :param example: its value in :meth:`Config.example`; needed where there is no default.
    """
    bounds = {"at_least": at_least, "above": above, "at_most": at_most, "below": below, "choices": choices}
    metadata = {
        "bounds": {name: bound for name, bound in bounds.items() if bound is not None},
        "per_trial": per_trial,
        "protocol": protocol,
        "execution": execution,
    } | ({} if example is MISSING else {"example": example})
    return field(default=default, metadata=metadata) if default is not MISSING else field(metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of every configuration: checks and normalises its fields, and knows its JSON and its identity."""

    published: ClassVar[bool] = True
    """Whether ledgers show it, so that it must have no secrets."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        register(cls)

    def __post_init__(self) -> None:
        if missing := abstract_methods(type(self)):
            docs = {name: inspect.getdoc(getattr(type(self), name)) or "" for name in missing}
            says = {name: re.sub(r":\w+:`(.*?)`", r"\1", doc.partition("\n")[0]) for name, doc in docs.items()}
            texts = [f"{name} ({text.rstrip('.:')})" if text else name for name, text in says.items()]
            raise ConfigError(f"{component_name(type(self))}: does not implement {', '.join(texts)}")
        for spec, annotation in _fields(type(self)):
            name = f"{type(self).__name__}.{spec.name}"
            value = _normalised(name, getattr(self, spec.name), annotation)
            _check_bounds(name, value, spec.metadata.get("bounds", {}))
            if self.published:
                _check_secrets(name, value)
            object.__setattr__(self, spec.name, value)

    @classmethod
    def example(cls) -> Self:
        """A small one, which the contract tests train: its fields' examples, and defaults for the rest."""
        return cls(**{spec.name: spec.metadata["example"] for spec, _ in _fields(cls) if "example" in spec.metadata})

    def to_json(self) -> dict[str, Any]:
        """Every field, defaults included, as plain JSON values; :func:`from_json` is the inverse."""
        return {CLASS_KEY: component_name(type(self))} | {
            spec.name: _to_json(getattr(self, spec.name)) for spec, _ in _fields(type(self))
        }

    def identity(self) -> dict[str, Any]:
        """The fields that decide the path of the weights, without those at their default.

        Leaving defaults out keeps every old identity valid when a class gains a field.
        """
        identity: dict[str, Any] = {CLASS_KEY: component_name(type(self))}
        for spec, _ in _fields(type(self)):
            value = getattr(self, spec.name)
            if spec.metadata.get("protocol") or spec.metadata.get("execution"):
                continue
            if spec.default is not MISSING and value == spec.default:
                continue
            identity[spec.name] = value.identity() if isinstance(value, Config) else _to_json(value)
        return identity

    @cached_property
    def json_text(self) -> str:
        """The canonical JSON of :meth:`to_json`; kept, because the trials of a sweep share their components."""
        return _object_text(type(self), {spec.name: _text(getattr(self, spec.name)) for spec, _ in _fields(type(self))})

    @cached_property
    def shared_text(self) -> str:
        """What the members of a cohort must have in common, as canonical JSON: all but the per-trial fields."""
        texts = {
            spec.name: value.shared_text if isinstance(value, Config) else _text(value)
            for spec, _ in _fields(type(self))
            if not spec.metadata.get("per_trial")
            for value in [getattr(self, spec.name)]
        }
        return _object_text(type(self), texts)

    def components(self, *, protocol: bool = True) -> Iterator["Config"]:
        """This configuration and every one nested in it, depth first; without those of the protocol, if so asked."""
        yield self
        for spec, _ in _fields(type(self)):
            value = getattr(self, spec.name)
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, Config) and (protocol or not spec.metadata.get("protocol")):
                    yield from item.components(protocol=protocol)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)


def plain(value: Any) -> Any:
    """``value`` without numpy: a scalar as a bool, int, float or str, an array as (nested) tuples, at any depth.

    Tensors of torch and columns of pandas are arrays too.  What has no such value (dates, complex numbers, masked
    entries) stays as it is, for the caller to refuse.
    """
    if type(value) in _PLAIN or isinstance(value, Config):
        return value
    if isinstance(value, list | tuple):
        items = [plain(item) for item in value]
        return value if all(map(operator.is_, items, value)) else tuple(items)
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer) and not isinstance(value, np.timedelta64):
        return int(value)
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, np.generic | type) or not hasattr(value, "__array__"):
        return value
    try:
        array = np.asarray(value)
        if np.ma.is_masked(value):
            return value
        # Indexing with () makes a numpy scalar, which keeps what it is; tolist() would make an integer of a date.
        return plain(array[()]) if array.ndim == 0 else tuple(plain(item) for item in array)
    except Exception:  # A tensor on a GPU, or one that needs a gradient: its library can raise anything.
        return value


def brief(value: Any, limit: int = 200) -> str:
    """``value`` as messages show it: in one line, cut, without addresses in memory."""
    try:
        text = repr(value)
    except Exception:  # An integer of thousands of digits, or somebody's own class.
        text = f"an integer of {value.bit_length()} bits" if isinstance(value, int) else f"a {type(value).__name__}"
    text = shown(" ".join(re.sub(r" at 0x[0-9a-fA-F]+", "", text).split()))
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def canonical_json(value: Any) -> str:
    """One string per value: sorted keys, no spaces, shortest round-tripping floats, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def parse_json(text: str | bytes, *, for_terminal: bool = True) -> Any:
    """Parse JSON that somebody else may have written, into values that :func:`canonical_json` and a terminal can take.

    :param for_terminal: its texts may be shown on a terminal, so that control characters are an error.
    :raises ValueError: for what is not JSON, and also for NaN, an infinity and deep nesting.
    """
    text = text.decode() if isinstance(text, bytes) else text  # a UnicodeDecodeError is a ValueError
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"nested too deep: must be at most {DEEPEST_JSON} levels") from None
    if not for_terminal and "\\u" not in text and text.count("{") + text.count("[") <= DEEPEST_JSON:
        return value  # A ledger has thousands of these: what follows finds nothing in them.
    layer: list[Any] = [value]
    for _ in range(DEEPEST_JSON):
        for item in layer:
            if isinstance(item, str):
                item.encode()  # a UnicodeEncodeError is a ValueError
                if for_terminal and shown(item) != item:
                    raise ValueError(f"{item[:40]!a} has characters that cannot be shown")
        layer = [part for item in layer for part in _parts(item)]
        if not layer:
            return value
    raise ValueError(f"nested too deep: must be at most {DEEPEST_JSON} levels")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is beyond the range of float64")
    return number


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return (*value, *value.values())
    return value if isinstance(value, list) else ()


def digest(value: Any, length: int = 20) -> str:
    """The first ``length`` hexadecimal digits of the SHA-256 of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def from_json(value: dict[str, Any]) -> Config:
    """The configuration that :meth:`Config.to_json` wrote.

    :raises ConfigError: when no component has the class's name, or a field is unknown or bad.
    """
    name = value.get(CLASS_KEY) if isinstance(value, dict) else None
    cls = find(name) if isinstance(name, str) else None
    if cls is None or not issubclass(cls, Config):
        raise ConfigError(
            f"class = {brief(name)}: no such component; must be one of trainables, or in a module that was imported"
        )
    names = {spec.name for spec, _ in _fields(cls)}
    unknown = sorted(set(value) - names - {CLASS_KEY})
    if unknown:
        raise ConfigError(f"{cls.__name__}.{unknown[0]}: no such field; allowed: {', '.join(sorted(names))}")
    fields = {name: _from_json(item) for name, item in value.items() if name != CLASS_KEY}
    try:
        return cls(**fields)
    except ConfigError:
        raise
    except Exception as error:  # A field is missing, or a class does not expect such a value at all.
        raise ConfigError(f"{cls.__name__}: {one_line(error)}") from None


def component_at(config: Config, path: str) -> tuple[Config, str]:
    """The component and the field name that a dotted path such as ``optimizer.weight_decay`` leads to.

    :raises ConfigError: naming the first unknown part and what is there instead.
    """
    *parents, last = path.split(".")
    here = config
    for depth, part in enumerate([*parents, last]):
        names = [spec.name for spec, _ in _fields(type(here))]
        if part not in names:
            prefix = ".".join(path.split(".")[:depth])
            where = f"{type(here).__name__} (at {prefix!r})" if prefix else type(here).__name__
            raise ConfigError(f"{path}: {where} has no field {part!r}; allowed: {', '.join(sorted(names))}")
        if depth == len(parents):
            break
        nested = getattr(here, part)
        if not isinstance(nested, Config):
            raise ConfigError(f"{path}: {'.'.join(path.split('.')[: depth + 1])} is a plain value without fields")
        here = nested
    return here, last


def value_at(config: Config, path: str) -> Any:
    """The value at a dotted path."""
    component, name = component_at(config, path)
    return getattr(component, name)


def replace_at(config: Config, path: str, value: Any) -> Any:
    """A copy of ``config`` with the value at a dotted path changed, checked again."""
    component_at(config, path)
    head, _, rest = path.partition(".")
    return config.replace(**{head: replace_at(getattr(config, head), rest, value) if rest else value})


def per_trial_paths(config: Config) -> list[str]:
    """The dotted paths of every field that may differ inside a cohort, as the fields' metadata say."""
    paths = []
    for spec, _ in _fields(type(config)):
        value = getattr(config, spec.name)
        if spec.metadata.get("per_trial"):
            paths.append(spec.name)
        elif isinstance(value, Config):
            paths += [f"{spec.name}.{path}" for path in per_trial_paths(value)]
    return paths


_ABSTRACT_OF: dict[type, list[str]] = {}


def abstract_methods(cls: type) -> list[str]:
    """The methods that a class has left abstract, without which it could not run."""
    if cls not in _ABSTRACT_OF:
        names = dir(cls)
        _ABSTRACT_OF[cls] = [name for name in names if getattr(getattr(cls, name, None), "__isabstractmethod__", False)]
    return _ABSTRACT_OF[cls]


_FIELDS_OF: dict[type, list[tuple[dataclasses.Field, Any]]] = {}  # resolving annotations is slow, classes are few


def _fields(cls: type) -> list[tuple[dataclasses.Field, Any]]:
    """The fields of a class, each with its resolved annotation."""
    if cls not in _FIELDS_OF:
        hints = typing.get_type_hints(cls)
        _FIELDS_OF[cls] = [(spec, hints[spec.name]) for spec in dataclasses.fields(cls)]
    return _FIELDS_OF[cls]


def _normalised(name: str, value: Any, annotation: Any) -> Any:
    """``value`` as ``annotation`` wants it (an int becomes a float, a list a tuple), or an error."""
    value = plain(value)
    origin = typing.get_origin(annotation)
    if origin in (types.UnionType, typing.Union):
        out_of_range = None
        for choice in typing.get_args(annotation):
            try:
                return _normalised(name, value, choice)
            except _RangeError as error:
                out_of_range = error
            except ConfigError:
                continue
        if out_of_range is not None:
            raise out_of_range
    elif annotation is type(None):
        if value is None:
            return None
    elif origin is tuple:
        if isinstance(value, list | tuple | range):
            kinds = typing.get_args(annotation)
            if len(value[: LONGEST_TUPLE + 1]) > LONGEST_TUPLE:
                raise _RangeError(f"{name} = {brief(value)}: must be of at most {LONGEST_TUPLE} values")
            if kinds[-1] is Ellipsis and type(value) is tuple and _are_components(value, kinds[0]):
                return value
            if kinds[-1] is Ellipsis:
                kinds = (kinds[0],) * len(value)
            if len(kinds) == len(value):
                return tuple(_normalised(name, item, kind) for item, kind in zip(value, kinds, strict=True))
    elif annotation is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if not math.isfinite(number):
                raise _RangeError(f"{name} = {brief(value)}: must be finite")
            return number + 0.0  # -0.0 and 0.0 are one value, and so one identity
    elif annotation is int:
        if isinstance(value, int) and not isinstance(value, bool):
            if abs(value) > LARGEST_INTEGER:
                raise _RangeError(f"{name} = {brief(value)}: must be at most {LARGEST_INTEGER} (64 bits)")
            return int(value)
    elif annotation is str:
        if isinstance(value, str):
            if shown(value) != value:
                raise _RangeError(f"{name} = {brief(value)}: must be of printable characters")
            return value
    elif isinstance(annotation, type) and isinstance(value, annotation):
        return value
    raise ConfigError(f"{name} = {brief(value)}: must be {_described(annotation)}")


def _are_components(items: tuple[Any, ...], kind: Any) -> bool:
    """Whether these are components of a kind, which have been checked when they were made."""
    return isinstance(kind, type) and issubclass(kind, Config) and all(isinstance(item, kind) for item in items)


def _described(annotation: Any) -> str:
    if typing.get_origin(annotation) is tuple:
        kinds = [kind for kind in typing.get_args(annotation) if kind is not Ellipsis]
        length = "" if Ellipsis in typing.get_args(annotation) else f" of length {len(kinds)}"
        return f"a list{length}, each {_described(kinds[0])}"
    if isinstance(annotation, type):
        named = {int: "an integer", float: "a number", bool: "True or False", str: "a string", type(None): "None"}
        article = "an" if annotation.__name__[0] in "AEIOU" else "a"
        return named.get(annotation, f"{article} {annotation.__name__}")
    return " or ".join(_described(choice) for choice in typing.get_args(annotation))


_COMPARISONS = {"at_least": operator.ge, "above": operator.gt, "at_most": operator.le, "below": operator.lt}


def _check_bounds(name: str, value: Any, bounds: dict[str, Any]) -> None:
    if not bounds:
        return
    for item in value if isinstance(value, tuple) else (value,):
        if item is None:
            continue
        if "choices" in bounds and item not in bounds["choices"]:
            raise ConfigError(f"{name} = {brief(value)}: must be one of {', '.join(map(repr, bounds['choices']))}")
        for bound, holds in _COMPARISONS.items():
            if bound in bounds and not holds(item, bounds[bound]):
                raise ConfigError(f"{name} = {brief(value)}: must be {bound.replace('_', ' ')} {bounds[bound]}")


def _check_secrets(name: str, value: Any) -> None:
    for item in value if isinstance(value, tuple) else (value,):
        if isinstance(item, str) and holds_secret(item):
            raise ConfigError(
                f"{name} = {redact(item)!r}: must be without user and password "
                "(the ledger would show them); set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or their like"
            )


def _object_text(cls: type, texts: dict[str, str]) -> str:
    texts[CLASS_KEY] = canonical_json(component_name(cls))
    return "{" + ",".join(f'"{name}":{texts[name]}' for name in sorted(texts)) + "}"


def _text(value: Any) -> str:
    """The canonical JSON of a field's value."""
    if isinstance(value, Config):
        return value.json_text
    if isinstance(value, tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    return canonical_json(value)


def _to_json(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_json()
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict) and CLASS_KEY in value:
        return from_json(value)
    if isinstance(value, list):
        return tuple(_from_json(item) for item in value)
    return value
