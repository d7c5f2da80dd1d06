"""A search space that a script or a notebook made: it has a name and a question as a file has, and no file."""

import hashlib
import inspect
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pipeline.spec import SpecError, SweepSpec
from pipeline.spec.settings import RunSettings, SettingsError
from pipeline.spec.space_file import NAME, LoadedSpace
from trainables.engine.config import brief
from trainables.engine.terminal import shown

IPYTHON_DOC = "Automatically created module for IPython interactive environment"
"""The docstring of a notebook's module, which nobody wrote."""


def python_space(spec: SweepSpec, name: str, module: Mapping[str, Any]) -> LoadedSpace:
    """The space under a name.

    :param module: the globals of the module that made it, whose docstring is the question.
    :raises SpecError: for what is no space, or no name.
    """
    if not isinstance(spec, SweepSpec):
        raise SpecError(f"run: the first argument is of type {type(spec).__name__}; must be a SweepSpec")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise SpecError(f"name = {brief(name)}: must be at most 100 letters, digits, '_', '-' and inner dots")
    doc = module.get("__doc__") or ""
    if not isinstance(doc, str):
        raise SpecError(f"doc = {brief(doc)}: must be a string")
    doc = "" if doc == IPYTHON_DOC else "\n".join(map(shown, inspect.cleandoc(doc).split("\n")))
    asked = [doc, spec.base.json_text, spec.axes_json(), *(trial.config.trial_id for trial in spec.trials())]
    return LoadedSpace(
        name=name,
        doc=doc,
        revision=hashlib.sha256("\n".join(asked).encode()).hexdigest(),
        spec=spec,
        path=Path(str(module.get("__file__") or name)),
    )


def python_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments as fields of :class:`RunSettings`; a path becomes its text.

    :raises SettingsError: for an unknown name.
    """
    names = [spec.name for spec in fields(RunSettings)]
    for name in given:
        if name not in names:
            raise SettingsError(f"run: {name}: no such setting; allowed: name, doc, silent, {', '.join(names)}")
    return {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in given.items()}
