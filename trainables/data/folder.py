"""Where data sets lie and what is kept of them: the data folder, the cache, and one process at a time in either.

``GROKSCAPE_DATA`` names the folder that holds the sets.  What took long to make of them (decoded images, tokens) is
kept under ``GROKSCAPE_CACHE``, in files named by the content they were made of, so that none is ever out of date.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import numpy as np

from trainables.engine.config import ConfigError

FOLDER_VARIABLE, DOWNLOAD_VARIABLE, CACHE_VARIABLE = "GROKSCAPE_DATA", "GROKSCAPE_DOWNLOAD", "GROKSCAPE_CACHE"


class DataMissingError(ConfigError):
    """A data set that is not there or cannot be read: the message says where it was looked for and how to get it."""


def data_folder() -> Path:
    """The folder that holds the data sets.

    :raises DataMissingError: when none is named, or the name is not a folder's.
    """
    named = os.environ.get(FOLDER_VARIABLE, "")
    if not named:
        raise DataMissingError(
            f"{FOLDER_VARIABLE} is not set: must name the folder that holds the data sets (with {DOWNLOAD_VARIABLE}=1, "
            "that missing ones are fetched into)"
        )
    if not Path(named).is_dir():
        raise DataMissingError(
            f"{FOLDER_VARIABLE} = {named!r}: is not a folder; must name one that holds the data sets"
        )
    return Path(named).absolute()


def cache_folder() -> Path:
    """Where to keep what was made of data sets: ``GROKSCAPE_CACHE``, else ``~/.cache/grokscape``; it may not be there.

    A file in it is named by a digest of all that it was made of, and appears whole (written elsewhere, then renamed).
    """
    named = os.environ.get(CACHE_VARIABLE, "")
    return Path(named).absolute() if named else Path.home() / ".cache" / "grokscape"


def cached_array(kind: str, key: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """What ``make`` gives, made once for all processes of this file system and mapped into memory from then on.

    :param kind: the folder in the cache.
    :param key: a digest of all that the array depends on.
    :returns: an array that may be written to; nothing of that reaches the file.
    """
    path = cache_folder() / kind / f"{key}.npy"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with one_process(path.with_suffix(".lock")):
            if (held := _mapped(path)) is not None:
                return held
            array = make()
            with suppress(OSError):
                _save(path, array)
            return array
    except OSError:
        # A cache that cannot be written to costs time, and nothing else.
        held = _mapped(path)
        return make() if held is None else held


def _mapped(path: Path) -> np.ndarray | None:
    """The array in a file, or None where there is none that can be read."""
    try:
        return np.asarray(np.load(path, mmap_mode="c"))
    except (OSError, ValueError, EOFError):
        return None


def _save(path: Path, array: np.ndarray) -> None:
    partial = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with partial.open("xb") as file:
            np.save(file, array)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def one_process(lock: Path) -> Iterator[None]:
    """Let one process of this file system in at a time; the lock ends with its holder, however that ends.

    :raises OSError: when the lock's file cannot be made.
    """
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
