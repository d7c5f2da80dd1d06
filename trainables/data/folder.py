"""The data folder, and the cache of what is expensive to make of data sets.

``GROKSCAPE_DATA`` names the folder with the data sets.  Decoded images and tokens are cached under
``GROKSCAPE_CACHE``, in files named by a digest of what they were made of, so that none is ever out of date.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import numpy as np
from filelock import FileLock

from trainables.engine.config import ConfigError

FOLDER_VARIABLE, DOWNLOAD_VARIABLE, CACHE_VARIABLE = "GROKSCAPE_DATA", "GROKSCAPE_DOWNLOAD", "GROKSCAPE_CACHE"
DIGEST_BYTES = 32
"""Of SHA-256, at the end of a cached file."""


class DataMissingError(ConfigError):
    """A data set is missing or cannot be read; the message says where it was looked for and how to get it."""


def data_folder() -> Path:
    """Return the folder with the data sets.

    :raises DataMissingError: when the variable is not set, or does not name a folder.
    """
    named = os.path.expanduser(os.environ.get(FOLDER_VARIABLE, ""))  # a shell leaves the ~ of a quoted path
    if not named:
        raise DataMissingError(
            f"{FOLDER_VARIABLE} is not set: must name the folder with the data sets (missing ones are downloaded to it "
            f"with {DOWNLOAD_VARIABLE}=1)"
        )
    if not Path(named).is_dir():
        raise DataMissingError(f"{FOLDER_VARIABLE} = {named!r}: is not a folder; must name the one with the data sets")
    return Path(named).absolute()


def cache_folder() -> Path:
    """Return the cache folder, which may not exist yet: ``GROKSCAPE_CACHE``, else ``~/.cache/grokscape``."""
    named = os.environ.get(CACHE_VARIABLE, "")
    return Path(named).absolute() if named else Path.home() / ".cache" / "grokscape"


def cached_array(
    kind: str, key: str, make: Callable[[], np.ndarray], *, fits: Callable[[np.ndarray], bool]
) -> np.ndarray:
    """Return ``make()``, called once for all processes of this file system; later calls map the cached file.

    A file that is damaged, or does not fit, is made again; none is ever unpickled.

    :param kind: the folder in the cache.
    :param key: a digest of everything that the array depends on.
    :param fits: whether an array can be what ``make`` returns: its dtype, its shape, its values.
    :returns: an array that may be written to, without changing the file.
    """
    path = cache_folder() / kind / f"{key}.npy"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if (cached := _mapped(path, fits)) is not None:
                return cached
            array = make()
            with suppress(OSError):
                _save(path, array)
            return array
    except OSError:
        # A cache that cannot be written to costs only time.
        cached = _mapped(path, fits)
        return make() if cached is None else cached


def _mapped(path: Path, fits: Callable[[np.ndarray], bool]) -> np.ndarray | None:
    """Map the array in a file; None when there is none, or it is not what was saved."""
    try:
        content = np.memmap(path, np.uint8, mode="r")
        if sha256(content[:-DIGEST_BYTES].data).digest() != content[-DIGEST_BYTES:].tobytes():
            return None
        array = np.asarray(np.load(path, mmap_mode="c"))
        return array if fits(array) else None
    except (OSError, ValueError, EOFError):
        return None


def _save(path: Path, array: np.ndarray) -> None:
    """Write a file that appears whole: the array as numpy saves it, and a digest of that."""
    partial = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with partial.open("xb") as file:
            np.save(file, array)
        digest = sha256(np.memmap(partial, np.uint8, mode="r").data).digest()
        with partial.open("ab") as file:
            file.write(digest)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
