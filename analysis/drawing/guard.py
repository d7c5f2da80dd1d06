"""What surrounds all drawing: no setting of the user's matplotlib, and one line for whatever goes wrong.

It imports no drawing library, so that one that cannot be imported is such a line too.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from trainables.engine.errors import GrokscapeError, one_line


class DrawingError(GrokscapeError):
    """Something that cannot be drawn: one line."""


@contextmanager
def drawing() -> Iterator[None]:
    """Import the drawing code and draw in this block.

    :raises DrawingError: for anything that goes wrong, but for what is an error of the house already.
    """
    try:
        with quiet():
            _import_matplotlib()
            yield
    except (GrokscapeError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # A library's panic in Rust is not an Exception.
        raise DrawingError(f"cannot be drawn ({type(error).__name__}: {one_line(error)})") from error


@contextmanager
def whole_files(folder: Path) -> Iterator[Path]:
    """Write into the folder that this yields: its files go to ``folder`` when all are written, else none does."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".", dir=folder) as partial:
        yield Path(partial)
        for path in Path(partial).iterdir():
            os.replace(path, folder / path.name)


@contextmanager
def quiet() -> Iterator[None]:
    """Have matplotlib log errors only: it warns about the user's files, and while it looks for fonts."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _import_matplotlib() -> None:
    """Import matplotlib with its own settings; ``MPLBACKEND`` and ``MATPLOTLIBRC`` are the user's, and may not load."""
    ours: dict[str, str | None] = {"MPLBACKEND": None}
    if (spec := find_spec("matplotlib")) is not None and spec.origin is not None:
        ours["MATPLOTLIBRC"] = str(Path(spec.origin).with_name("mpl-data") / "matplotlibrc")
    users = {name: os.environ.get(name) for name in ours}
    _set(ours)
    try:
        import matplotlib  # noqa: F401
    finally:
        _set(users)


def _set(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
