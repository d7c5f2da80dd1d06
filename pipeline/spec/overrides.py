"""A space as ``--set`` and ``--axis`` change it, and what the sweep is called that they make.

``--set`` fixes a field, of the base and of the arms that have their own, and takes an axis of that path away.
``--axis`` gives an axis other values, or adds one to every arm that has the field.
"""

import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pipeline.spec import Arm, SpecError, SweepSpec
from pipeline.spec.domains import is_domain
from pipeline.spec.override_values import choices, did_you_mean, split_override
from pipeline.spec.sweep_spec import SEEDS
from pipeline.spec.values import changed, spelled
from trainables.engine.config import Config, ConfigError, abstract_methods, brief, component_at, digest, replace_at
from trainables.engine.errors import GrokscapeError, one_line
from trainables.engine.names import import_house
from trainables.engine.trial import TrialConfig
from trainables.runtime.status import own_place

LONGEST_NAME, MOST_VALUES = 90, 8
"""Of a sweep that overrides name, and of an axis in it; a digest stands for the rest."""


@dataclass(frozen=True)
class Overrides:
    """What flags change of a space: paths with their value, and paths with the values of an axis."""

    fixed: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    """As the user wrote them."""

    @classmethod
    def parse(cls, sets: Sequence[str], axes: Sequence[str]) -> "Overrides":
        """Read the texts of the flags.

        :raises SpecError: for what is not ``PATH=VALUE``, and for a path that is given twice.
        """
        parsed: dict[str, tuple[str, list[Any]]] = {}
        for flag, texts in (("--set", sets), ("--axis", axes)):
            for text in texts:
                path, value = split_override(flag, text)
                if path in parsed:
                    raise SpecError(f"{flag} {path}: is given twice; must be set once, or be an axis")
                try:
                    parsed[path] = flag, choices(value)
                except SpecError as error:
                    raise SpecError(f"{flag} {path}={error}") from None
                if flag == "--set" and len(parsed[path][1]) > 1:
                    raise SpecError(
                        f"--set {brief(text)}: must be one value; --axis {path}={value} tries each, "
                        f"[{value}] is one list"
                    )
        return cls(
            fixed={path: values[0] for path, (flag, values) in parsed.items() if flag == "--set"},
            axes={path: values for path, (flag, values) in parsed.items() if flag == "--axis"},
            flags=(
                *(part for text in sets for part in ("--set", text)),
                *(p for text in axes for p in ("--axis", text)),
            ),
        )

    def __bool__(self) -> bool:
        return bool(self.fixed or self.axes)

    def apply(self, spec: SweepSpec) -> SweepSpec:
        """The space with these values.

        :raises SpecError: for a path that no trial has, naming the nearest; for a value that is not allowed.
        """
        if not self:
            return spec
        draft = _Draft(spec.base, dict(spec.axes), [replace(arm, axes=dict(arm.axes)) for arm in spec.arms])
        try:
            # Whole components first, together: they may fit each other only, and a field may be one of the new ones'.
            draft.fix_whole({path: value for path, value in self.fixed.items() if "." not in path})
            for path in sorted(self.fixed, key=lambda path: path.count(".")):
                draft.fix(path, self.fixed[path], spec.seeds is not None)
            for path in sorted(self.axes, key=lambda path: path.count(".")):
                draft.cross(path, list(self.axes[path]))
            sampled = any(map(is_domain, draft.axes.values()))
            return replace(
                spec,
                base=draft.base,
                axes=draft.axes,
                arms=draft.arms,
                samples=spec.samples if sampled else 0,
                objective=spec.objective if sampled else None,
            )
        except GrokscapeError:
            raise
        except Exception as error:  # A component of the user's can raise anything.
            raise SpecError(f"{type(error).__name__}: {one_line(error)}{own_place(error)}") from None

    def words(self) -> str:
        """``optimizer.weight_decay = 0, 1, 4; optimizer.learning_rate = 0.01``."""
        every = [*self.axes.items(), *((path, [value]) for path, value in self.fixed.items())]
        return "; ".join(f"{path} = {', '.join(map(_text, values))}" for path, values in every)

    def question(self, doc: str, name: str) -> str:
        """The question of a space with what is fixed in it, for the titles of pictures; one of the axes without any."""
        if doc:
            opening, mark, rest = doc.partition("?")
            fixed = ", ".join(f"{_words(path)} {_text(value)}" for path, value in self.fixed.items())
            return f"{opening} ({fixed}){mark}{rest}" if fixed and mark else doc
        if not self.axes:
            return f"How does {name} train?"
        return (
            f"What {'does' if len(self.axes) == 1 else 'do'} {' and '.join(map(_words, self.axes))} change in {name}?"
        )

    def label(self, base: TrialConfig) -> str:
        """For the name of a sweep, ``weight_decay0_1_4``: the same for the same changes, in whatever order."""
        every = {path: list(values) for path, values in self.axes.items()} | {p: [v] for p, v in self.fixed.items()}
        leaves = [_leaf(path) for path in dict.fromkeys([*_paths(base), *every])]
        parts, faithful = [], True
        for path in sorted(every, key=lambda path: (path in self.fixed, path)):
            texts = list(map(_label, every[path]))
            faithful = faithful and texts == list(map(_text, every[path])) and len(texts) <= MOST_VALUES
            parts.append((path if leaves.count(_leaf(path)) > 1 else _leaf(path)) + "_".join(texts[:MOST_VALUES]))
        whole = "-".join(parts)
        if faithful and len(whole) <= LONGEST_NAME:
            return whole
        content = {path: [_json(value) for value in values] for path, values in every.items()}
        return f"{whole[:LONGEST_NAME].rstrip('-._')}-{digest(content, 6)}"


@dataclass
class _Draft:
    """A space in the making."""

    base: TrialConfig
    axes: dict[str, Any]
    arms: list[Arm]

    def fix_whole(self, values: Mapping[str, Any]) -> None:
        """Give the base these values of its own fields."""
        for path in values:
            self._holders("--set", path)
        if values:
            own = {spec.name: getattr(self.base, spec.name) for spec in fields(self.base)}
            self.base = made(type(self.base), own | dict(values), values)

    def fix(self, path: str, value: Any, seeded: bool) -> None:
        """Give every trial this value."""
        flag = f"--set {path}={_text(value)}"
        if seeded and path.partition(".")[0] == SEEDS:
            raise SpecError(f"{flag}: the space's seeds would overwrite it; use --seeds")
        holders = self._holders("--set", path)
        self.axes.pop(path, None)
        self._set_within(self.axes, path, value, flag)
        if "." in path and _has(self.base, path):
            self.base = _checked(flag, self.base, path, value)
        for place, arm in enumerate(self.arms):
            axes = {own: values for own, values in arm.axes.items() if own != path}
            self._set_within(axes, path, value, flag)
            patch = dict(arm.patch)
            if place in holders and any(path == own or path.startswith(f"{own}.") for own in patch):
                if "." in path:
                    _checked(flag, changed(self.base, patch, f"arm {arm.name!r}, "), path, value)
                patch[path] = value
            self.arms[place] = replace(arm, axes=axes, patch=patch)

    def cross(self, path: str, values: list[Any]) -> None:
        """Try each of these values instead of the axis of that path; without one, in every arm that has the field."""
        holders = self._holders("--axis", path)
        own = [place for place, arm in enumerate(self.arms) if path in arm.axes]
        if path not in self.axes and not own:
            self.arms = [
                replace(arm, patch={other: value for other, value in arm.patch.items() if other != path})
                for arm in self.arms
            ]
            own = holders if len(holders) < len(self.arms) else []
        if not own:
            self.axes[path] = values
        for place in own:
            arm = self.arms[place]
            self.arms[place] = replace(arm, axes={**arm.axes, path: values})

    def _holders(self, flag: str, path: str) -> list[int]:
        """The arms whose trials have a field of that path.

        :raises SpecError: where neither they nor the base have it.
        """
        configs = [self._example(arm) for arm in self.arms]
        holders = [place for place, config in enumerate(configs) if _has(config, path)]
        if holders or _has(self._example(None), path):
            return holders
        every = list(dict.fromkeys(p for config in (self._example(None), *configs) for p in _paths(config)))
        whole, _, last = path.rpartition(".")
        inside = [other for other in every if whole and other.startswith(f"{whole}.")]
        hint = did_you_mean(last if inside else path, inside or every) or f"; allowed: {', '.join(inside or every)}"
        raise SpecError(f"{flag} {path}: there is no such field{hint}")

    def _example(self, arm: Arm | None) -> TrialConfig:
        """A trial of an arm; of an axis of whole components it has the first."""
        axes = self.axes | (dict(arm.axes) if arm else {})
        first = {path: values[0] for path, values in axes.items() if not is_domain(values) and len(values)}
        whole = {path: value for path, value in first.items() if isinstance(value, Config)}
        where = f"arm {arm.name!r}, " if arm else ""
        return changed(self.base, (dict(arm.patch) if arm else {}) | whole, where)

    def _set_within(self, axes: dict[str, Any], path: str, value: Any, flag: str) -> None:
        """Set a field of the whole components that an axis tries."""
        for own, values in axes.items():
            if path.startswith(f"{own}.") and not is_domain(values):
                inner = path.removeprefix(f"{own}.")
                axes[own] = [
                    _checked(flag, each, inner, value) if isinstance(each, Config) else each for each in values
                ]


def _checked(flag: str, config: Any, path: str, value: Any) -> Any:
    """A configuration with another value; whatever refuses it names the flag."""
    try:
        return replace_at(config, path, value)
    except ConfigError as error:
        text = str(error).removeprefix(f"{path}: ")
        component, name = component_at(config, path)
        raise SpecError(f"{flag}: {text}{_components_like(type(component), name, value)}") from None


def made(kind: type[TrialConfig], values: Mapping[str, Any], given: Mapping[str, Any]) -> TrialConfig:
    """A trial of a kind; whatever refuses its values names the flags.

    :param given: those among the values that flags give.
    """
    try:
        return kind(**values)
    except ConfigError as error:
        hints = [_components_like(kind, path, value) for path, value in given.items()]
        flags = " ".join(f"--set {path}={_text(value)}" for path, value in given.items())
        raise SpecError(f"{flags}: {error}{next(filter(None, hints), '')}") from None


def _components_like(kind: type[Config], name: str, value: Any) -> str:
    """The components that a field may be, where a word is none of them."""
    wanted = typing.get_type_hints(kind)[name]
    if not (isinstance(value, str) and isinstance(wanted, type) and issubclass(wanted, Config)):
        return ""
    names = sorted(
        name for name, cls in import_house().items() if issubclass(cls, wanted) and not abstract_methods(cls)
    )
    return did_you_mean(value, names) or f"; such as {', '.join(names[:8])}"


def _has(config: Config, path: str) -> bool:
    try:
        component_at(config, path)
    except ConfigError:
        return False
    return True


def _paths(config: Config, prefix: str = "") -> Iterator[str]:
    """Every dotted path of a configuration."""
    for name in config.to_json():
        if hasattr(config, name):
            yield f"{prefix}{name}"
            value = getattr(config, name)
            if isinstance(value, Config):
                yield from _paths(value, f"{prefix}{name}.")


def _leaf(path: str) -> str:
    return path.rpartition(".")[2]


def _words(path: str) -> str:
    """A path as pictures have it: ``weight decay``."""
    return _leaf(path).replace("_", " ")


def _text(value: Any) -> str:
    """A value as a user writes it, nearly: ``0.01``, ``[64, 64]``, ``MLP(hidden=(64,))``."""
    if isinstance(value, Config):
        return spelled(value).removesuffix("()")
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value))}]"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def _label(value: Any) -> str:
    """A value as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", _text(value)).strip("_")


def _json(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_json()
    return [_json(item) for item in value] if isinstance(value, list | tuple) else value
