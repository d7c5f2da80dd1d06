"""A search-space file: running it, and finding its ``SWEEP`` or saying in one line why there is none."""

import contextlib
import hashlib
import inspect
import re
import sys
import traceback
import types
from dataclasses import dataclass
from pathlib import Path

from pipeline.spec import SpecError, SweepSpec
from trainables.engine.config import ConfigError

__all__ = ["LoadedSpace", "load_space"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class LoadedSpace:
    """A search space, and what its file says about it."""

    name: str
    """The file's name without ``.py``: the name of the sweep in the ledger and in MLflow."""
    doc: str
    """The docstring at the top of the file, dedented; empty where there is none."""
    revision: str
    """SHA-256 of the file's text."""
    spec: SweepSpec
    path: Path


def load_space(path: str | Path) -> LoadedSpace:
    """Run a search-space file and take its ``SWEEP``.

    What the file prints goes to standard error, so that standard output stays the sweep's own.

    :raises SpecError: the file is missing or unreadable, fails (with the line), or has no ``SWEEP`` of the right kind.
    """
    file = Path(path)
    try:
        source = file.read_bytes()
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror}); must be a search-space file") from None
    if file.suffix != ".py" or not NAME.fullmatch(file.stem):
        raise SpecError(
            f"{path}: the file's name becomes the sweep's; must end in .py and have only letters, digits, '_', '-', '.'"
        )
    module = types.ModuleType(f"search_space:{file.stem}")
    module.__file__ = str(file)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            exec(compile(source, str(file), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:  # A file can raise anything, and all of it is bad input.
        raise SpecError(_told(file, error)) from None
    spec = getattr(module, "SWEEP", None)
    if spec is None:
        raise SpecError(f"{path}: defines no SWEEP; must end in SWEEP = SweepSpec(...)")
    if not isinstance(spec, SweepSpec):
        raise SpecError(f"{path}: SWEEP is of type {type(spec).__name__}; must be a SweepSpec")
    _check_importable(file, module.__name__, spec)
    return LoadedSpace(
        name=file.stem,
        doc=inspect.cleandoc(module.__doc__ or ""),
        revision=hashlib.sha256(source).hexdigest(),
        spec=spec,
        path=file,
    )


def _told(file: Path, error: BaseException) -> str:
    """``file:line: what went wrong``, the line being the last one of the file itself that ran."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f"{file}:{error.lineno}: {type(error).__name__}: {error.msg}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    where = f"{file}:{lines[-1]}" if lines else str(file)
    text = " ".join(str(error).split())
    if isinstance(error, SpecError | ConfigError):
        return f"{where}: {text}"
    return f"{where}: {type(error).__name__}{': ' if text else ''}{text}"


def _check_importable(file: Path, module: str, spec: SweepSpec) -> None:
    """A component that the file itself defines could not be imported by a worker, nor read back from the ledger."""
    for config in [spec.base, *(trial.config for trial in spec.trials())]:
        for component in config.components():
            if type(component).__module__ == module:
                raise SpecError(
                    f"{file}: {type(component).__name__} is defined in the file itself; "
                    f"must be in a module that workers can import, such as those in trainables"
                )
