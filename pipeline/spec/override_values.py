"""Values as a command line writes them: ``0,1,4``, ``range(0,1,.25)``, ``OrthogonalGradient(graft=true)``.

The grammar is Hydra's for overrides, where it fits (https://hydra.cc/docs/advanced/override_grammar/basic/): commas
between choices, ``range(start,stop,step)`` without its end, ``choice(a,b)``, ``[1,2]`` for a list, quoted strings,
``null``, ``true`` and ``false``.  A component is its class, ``AdamW``, or has fields, ``AdamW(weight_decay=1)``; one of
the user's own is ``module:Class``.  Sampled axes (Hydra's ``interval``) need a search-space file.
"""

import ast
import difflib
import keyword
import math
import re
from collections.abc import Sequence
from dataclasses import MISSING, fields
from decimal import Decimal
from typing import Any

from pipeline.spec.values import MOST_TRIALS, SpecError
from trainables.engine.config import Config, ConfigError, brief, digest
from trainables.engine.names import find, import_house
from trainables.runtime.own_modules import import_modules

WORDS = {"null": None, "none": None, "true": True, "false": False}
QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
KEYWORDS = "|".join(word for word in keyword.kwlist if word not in ("None", "True", "False"))
NOT_PYTHON = re.compile(rf"({QUOTED})|\b({KEYWORDS})\b|\b((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*):([A-Z]\w*)")
PLAIN = re.compile(r"[^\s()\[\]{}'\",]+")
"""What is a string without quotes where it is nothing else: ``float32``, ``my-folder/set``."""
SAMPLED = ("interval", "uniform", "loguniform", "quniform", "randint", "lograndint", "normal", "sample", "grid_search")
LONGEST_LABEL = 40
CUTOFFS = (0.85, 0.5)
"""Of :func:`difflib.get_close_matches`."""


def split_override(flag: str, text: str) -> tuple[str, str]:
    """The path and the value of ``optimizer.weight_decay=0,1``.

    :raises SpecError: for text without either.
    """
    path, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not path or not value:
        raise SpecError(f"{flag} {brief(text)}: must be PATH=VALUE, such as {flag} optimizer.weight_decay=1")
    return path, value


def choices(text: str) -> list[Any]:
    """Split text at its commas into values, with every ``range`` and ``choice`` written out.

    :raises SpecError: for what is not a value.
    """
    values: list[Any] = []
    for item in _split(text):
        call = re.fullmatch(r"(range|choice)\((.*)\)", item, re.DOTALL)
        if call is None:
            values.append(value_of(item))
        elif call[1] == "choice":
            values += choices(call[2])
        else:
            values += _range(item, _split(call[2]))
    return values


def value_of(text: str) -> Any:
    """One value: a number, a string, True, False, None, a tuple or a component.

    :raises SpecError: for anything else.
    """
    # The grammar is that of Python's expressions, but for module:Class and for words such as global.
    source = NOT_PYTHON.sub(lambda match: match[1] or (repr(match[2]) if match[2] else f"{match[3]}.{match[4]}"), text)
    try:
        return _convert(ast.parse(source, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError, _NotAValueError):
        if PLAIN.fullmatch(text):
            return text
    raise SpecError(f"{brief(text)}: must be a number, a string in quotes, a [list], or a component such as SGD()")


def seeds_of(text: str) -> list[int]:
    """``5`` is the seeds 0 to 4; ``0:20`` is 0 to 19; ``0,3,7`` is these.

    :raises SpecError: for anything else.
    """
    if match := re.fullmatch(r"(\d{1,15}):(\d{1,15})", text):
        low, high = int(match[1]), int(match[2])
        if 0 < high - low <= MOST_TRIALS:
            return list(range(low, high))
    elif re.fullmatch(r"[1-9]\d{0,15}", text) and int(text) <= MOST_TRIALS:
        return list(range(int(text)))
    elif re.fullmatch(r"\d{1,15}(,\d{1,15})+,?|\d{1,15},", text):
        return [int(part) for part in text.split(",") if part]
    raise SpecError(f"{text!r}: must be an integer of at least 1, FIRST:END such as 0:20, or a list such as 0,3,7")


def seeds_text(seeds: Sequence[int]) -> str:
    """Seeds as :func:`seeds_of` reads them."""
    first, last = seeds[0], seeds[-1]
    if tuple(seeds) == tuple(range(first, last + 1)):
        return f"{first}:{last + 1}" if first else str(last + 1)
    return ",".join(map(str, seeds))


def seeds_label(seeds: Sequence[int]) -> str:
    """``seeds5``, ``seeds10_to_19``, ``seeds0_3_7``: for the name of a sweep."""
    text = seeds_text(seeds)
    if ":" in text:
        return f"seeds{seeds[0]}_to_{seeds[-1]}"
    short = text.replace(",", "_")
    return f"seeds{short}" if len(short) <= LONGEST_LABEL else f"seeds{len(seeds)}-{digest(list(seeds), 6)}"


def nearest(name: str, names: Sequence[str]) -> list[str]:
    """The names that are most like one: those that end in it, those that differ by a typo, or by more."""
    if ends := [other for other in names if other.rpartition(".")[2] == name]:
        return ends[:3]
    known = {other.lower(): other for other in names} | {other.rpartition(".")[2].lower(): other for other in names}
    for cutoff in CUTOFFS:
        matches = difflib.get_close_matches(name.lower(), known, cutoff=cutoff)
        if matches:
            return list(dict.fromkeys(known[match] for match in matches))
    return []


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """``; did you mean optimizer.weight_decay?``, or nothing where no name is like it."""
    similar = nearest(name, names)
    return f"; did you mean {' or '.join(similar)}?" if similar else ""


class _NotAValueError(Exception):
    """Python, but no value."""


def _convert(node: ast.expr) -> Any:
    """The value of a node of Python's grammar; nothing is evaluated."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | None):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        number = _convert(node.operand)
        if isinstance(number, int | float) and not isinstance(number, bool):
            return -number if isinstance(node.op, ast.USub) else number
    if isinstance(node, ast.List | ast.Tuple):
        return tuple(map(_convert, node.elts))
    if isinstance(node, ast.Call):
        return _component(node)
    if isinstance(node, ast.Name) and node.id.lower() in WORDS:
        return WORDS[node.id.lower()]
    if isinstance(node, ast.Name | ast.Attribute):
        cls = _class(ast.unparse(node))
        return ast.unparse(node) if cls is None else _made(cls, {})
    raise _NotAValueError


def _component(node: ast.Call) -> Config:
    name = ast.unparse(node.func)
    if name in SAMPLED:
        raise SpecError(f"{ast.unparse(node)}: a sampled axis needs a search-space file (tune.{name}, samples=...)")
    cls = _class(name)
    if cls is None:
        known = [other for other, each in import_house().items() if issubclass(each, Config)]
        raise SpecError(f"{name}(...): no such component{did_you_mean(name, known)}")
    if node.args or any(each.arg is None for each in node.keywords):
        raise SpecError(f"{brief(ast.unparse(node))}: must name its fields, such as {name}({_names_of(cls)[0]}=...)")
    return _made(cls, {str(each.arg): _convert(each.value) for each in node.keywords})


def _made(cls: type[Config], values: dict[str, Any]) -> Config:
    names = _names_of(cls)
    for name in values.keys() - set(names):
        raise SpecError(
            f"{cls.__name__}({name}=...): no such field{did_you_mean(name, names)}; allowed: {', '.join(names)}"
        )
    lacking = [spec.name for spec in fields(cls) if spec.name in missing_fields(cls, values)]
    if lacking:
        raise SpecError(f"{cls.__name__}: needs {', '.join(lacking)}: write {cls.__name__}({lacking[0]}=...)")
    try:
        return cls(**values)
    except ConfigError as error:
        raise SpecError(str(error)) from None


def missing_fields(cls: type[Config], given: Any) -> list[str]:
    """The fields without a default that are not among those given."""
    return [
        spec.name
        for spec in fields(cls)
        if spec.init and spec.name not in given and spec.default is MISSING and spec.default_factory is MISSING
    ]


def _names_of(cls: type[Config]) -> list[str]:
    return [spec.name for spec in fields(cls) if spec.init]


def _class(name: str) -> type[Config] | None:
    """The component of a name, ``AdamW`` or ``module.Class``; the module is imported, because the user names it."""
    module, _, last = name.rpartition(".")
    if not last[:1].isupper():
        return None
    if not module:
        cls = find(last)
    else:
        try:
            import_modules([module])
        except ImportError as error:
            raise SpecError(f"{module}:{last}: {error}") from None
        cls = find(f"{module}:{last}") or find(last)
        if cls is None:
            raise SpecError(f"{module}:{last}: the module has no such component")
    return cls if cls is not None and issubclass(cls, Config) else None


def _range(text: str, parts: Sequence[str]) -> list[float]:
    """``range(stop)``, ``range(start,stop)``, ``range(start,stop,step)``, in decimals, so that .1 three times is .3."""
    try:
        numbers = [Decimal(part) for part in parts]
        start, stop, step = {1: (Decimal(0), *numbers, Decimal(1)), 2: (*numbers, Decimal(1)), 3: numbers}[len(numbers)]
        count = math.ceil((stop - start) / step)
    except (ArithmeticError, KeyError, ValueError):
        raise SpecError(f"{text}: must be range(start,stop) or range(start,stop,step), step not 0") from None
    if not 0 < count <= MOST_TRIALS:
        raise SpecError(f"{text}: has {count} values; must have 1 to {MOST_TRIALS}")
    kind = int if all(re.fullmatch(r"[+-]?\d+", part) for part in parts) else float
    return [kind(start + place * step) for place in range(count)]


def _split(text: str) -> list[str]:
    """The parts between the commas that are in no bracket and no quotes."""
    parts, depth, begin = [], 0, 0
    for match in re.finditer(rf"{QUOTED}|[()\[\],]", text):
        mark = match[0]
        depth += (mark in "([") - (mark in ")]")
        if mark == "," and depth == 0:
            parts.append(text[begin : match.start()].strip())
            begin = match.end()
    parts.append(text[begin:].strip())
    if not all(parts):
        raise SpecError(f"{brief(text)}: must have a value on both sides of each comma")
    return parts
