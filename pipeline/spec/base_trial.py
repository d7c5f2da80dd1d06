"""The space that a command line names: a search-space file, or a trial without a file, with what flags change of it."""

import contextlib
import hashlib
import inspect
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from pipeline.spec import SpecError, SweepSpec
from pipeline.spec.override_values import missing_fields
from pipeline.spec.overrides import Overrides, made
from pipeline.spec.space_file import LoadedSpace, load_space
from trainables.engine.config import Config, abstract_methods
from trainables.engine.trial import TrialConfig
from trainables.runtime.own_modules import import_modules
from trainables.runtime.status import own_place

BASE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def named_space(
    name: str,
    *,
    size: str | None = None,
    components: Sequence[str] = (),
    sets: Sequence[str] = (),
    axes: Sequence[str] = (),
    max_steps: int | None = None,
    seeds: int | Sequence[int] | None = None,
    sweep_name: str | None = None,
) -> LoadedSpace:
    """Load the space of a file, or make one of a trial or a kind of trials, ``trainables.grokking:GrokkingTrial``.

    :param sets: ``PATH=VALUE``, as ``--set`` takes it; they give a kind the fields that have no default.
    :param axes: ``PATH=VALUES``, as ``--axis`` takes it.
    :raises SpecError: where there is no such space, or a value of it is not allowed.
    """
    if BASE.fullmatch(name) and not Path(name).exists():
        if size is not None:
            raise SpecError(f"{name}: has no sizes: drop --size {size}")
        space, overrides = _load_base(name, sets, axes, components)
    else:
        space = load_space(name, size, components)
        overrides = Overrides.parse(sets, axes)  # Its components may lie beside the file.
    return space.with_overrides(max_steps=max_steps, seeds=seeds, overrides=overrides, name=sweep_name)


def _load_base(
    name: str, sets: Sequence[str], axes: Sequence[str], components: Sequence[str]
) -> tuple[LoadedSpace, Overrides]:
    module_name, _, attribute = name.partition(":")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            import_modules([*components, module_name], folders=[os.getcwd()])
    except ImportError as error:
        raise SpecError(f"{name}: {error}{own_place(error.__cause__)}") from None
    overrides = Overrides.parse(sets, axes)
    module = sys.modules[module_name]
    base = getattr(module, attribute, None)
    if isinstance(base, type) and issubclass(base, TrialConfig):
        # Whole components only: a field inside one is set when there is one.
        given = {path: values[0] for path, values in overrides.axes.items()} | dict(overrides.fixed)
        given = {path: value for path, value in given.items() if path in {spec.name for spec in fields(base)}}
        if missing := missing_fields(base, given):
            example = " ".join(f"--set {field}={_example_of(base, field)}" for field in missing)
            raise SpecError(f"{name}: has no default for {' and '.join(missing)}; for example {example}")
        base = made(base, given, {path: value for path, value in given.items() if path in overrides.fixed})
    elif isinstance(base, TrialConfig):
        attribute = f"{module_name.rpartition('.')[2]}.{attribute}"
    else:
        trials = [key for key, value in vars(module).items() if _is_trial(value) and key[:1] != "_"]
        raise SpecError(
            f"{name}: {module_name} has no trial of that name; "
            + (f"its trials: {', '.join(sorted(trials))}" if trials else "must be a TrialConfig, such as GrokkingTrial")
        )
    source = inspect.getsource(module) if getattr(module, "__file__", None) else ""
    space = LoadedSpace(
        name=attribute,
        doc="",
        revision=hashlib.sha256(source.encode()).hexdigest(),
        spec=SweepSpec(base=base),
        path=Path(name),
        components=tuple(components),
    )
    return space, overrides


def _is_trial(value: object) -> bool:
    kind = value if isinstance(value, type) else type(value)
    return issubclass(kind, TrialConfig) and not abstract_methods(kind)


def _example_of(kind: type[TrialConfig], field: str) -> str:
    """What may stand for a field on the command line: its example."""
    value = next(spec for spec in fields(kind) if spec.name == field).metadata.get("example", "...")
    return type(value).__name__ if isinstance(value, Config) else str(value)
