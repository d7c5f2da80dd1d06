"""Data sets on disk: where they are looked for, how they are read, and one clear line where they are missing.

``GROKSCAPE_DATA`` names the folder that holds them; with ``GROKSCAPE_DOWNLOAD=1`` one that is missing is fetched
into it, once, however many processes ask.  Each set is one function, and is read once a process.
"""

import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from trainables.engine.config import ConfigError

FOLDER_VARIABLE, DOWNLOAD_VARIABLE = "GROKSCAPE_DATA", "GROKSCAPE_DOWNLOAD"


class DataMissingError(ConfigError):
    """A data set that is not there or cannot be read: the message says where it was looked for and how to get it."""


@dataclass(frozen=True)
class Images:
    """The images of one half of a set."""

    pixels: np.ndarray
    """(rows, height, width), uint8."""
    labels: np.ndarray
    """(rows,), int64."""
    digest: str
    """Of the pixels and the labels."""


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


def mnist() -> tuple[Images, Images]:
    """MNIST for training and testing (Deng 2012), from ``MNIST/raw`` or ``mnist/MNIST/raw`` in the data folder.

    :raises DataMissingError: when it is in neither, or cannot be read.
    """
    return _mnist(data_folder())


@lru_cache(maxsize=1)
def _mnist(folder: Path) -> tuple[Images, Images]:
    root = next((root for root in (folder, folder / "mnist") if (root / "MNIST").is_dir()), None)
    if root is None:
        if os.environ.get(DOWNLOAD_VARIABLE) != "1":
            raise DataMissingError(
                f"MNIST: is not in {FOLDER_VARIABLE} = {str(folder)!r} (no folder MNIST/raw or mnist/MNIST/raw there); "
                f"put the four *-ubyte files of torchvision.datasets.MNIST there, or set {DOWNLOAD_VARIABLE}=1 to "
                "fetch them"
            )
        root = folder
        with _one_process(folder / ".mnist.lock"):
            if not (folder / "MNIST").is_dir():
                _download("MNIST", folder)
    read = _torchvision_datasets().MNIST
    try:
        halves = [read(str(root), train=train) for train in (True, False)]
        return _images(halves[0]), _images(halves[1])
    except (AssertionError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise DataMissingError(
            f"MNIST: cannot be read from {str(root / 'MNIST')!r} ({error}); replace that folder"
        ) from None


def _images(half: Any) -> Images:
    """What torchvision read, as arrays."""
    pixels, labels = half.data.numpy(), half.targets.numpy()
    if len(pixels) != len(labels):
        raise ValueError(f"{len(pixels)} images and {len(labels)} labels")
    content = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes() + labels.astype("<i8").tobytes())
    return Images(pixels, labels, content.hexdigest()[:20])


def _download(name: str, folder: Path) -> None:
    """Fetch a set of torchvision's; its folder appears under its name only when it is whole."""
    partial = folder / f".{name}.partial"
    try:
        getattr(_torchvision_datasets(), name)(str(partial), download=True)
        os.replace(partial / name, folder / name)
        partial.rmdir()
    except (OSError, RuntimeError) as error:
        raise DataMissingError(f"{name}: could not be fetched into {str(folder)!r} ({error})") from None


@contextmanager
def _one_process(lock: Path) -> Iterator[None]:
    """Let one process of this file system in at a time; the lock ends with its holder, however that ends."""
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _torchvision_datasets() -> ModuleType:
    """``torchvision.datasets``, imported when a set of it is first read: the import takes seconds."""
    try:
        import torchvision.datasets
    except RuntimeError as error:
        # A torchvision built for another kind of torch (CUDA beside a CPU wheel) does not load its compiled
        # operators, and its import then stumbles over two of them.  Declared, they let it pass; nothing calls them.
        if "torchvision::" not in str(error):
            raise
        for module in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[module]
        for operator in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
        import torchvision.datasets
    return torchvision.datasets
