"""MNIST and CIFAR in the files that torchvision downloads: parsed here, where nothing in them can run or lie.

torchvision unpickles CIFAR as it is, so that a pickle may call anything, and believes the sizes in MNIST's headers.
"""

import hashlib
import io
import math
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trainables.data.folder import DataMissingError
from trainables.data.images import Images, images_of
from trainables.engine.errors import one_line

MNIST_SHAPE, MNIST_CLASSES = (28, 28), 10
CIFAR_SHAPE = (3, 32, 32)


def read_mnist(name: str, root: Path) -> tuple[Images, Images]:
    """Read ``root/MNIST/raw``, (train, test).

    :raises DataMissingError: naming the file that is missing or damaged.
    """
    raw = root / "MNIST" / "raw"
    train, test = (_idx_half(name, raw, prefix) for prefix in ("train", "t10k"))
    return train, test


def _idx_half(name: str, raw: Path, prefix: str) -> Images:
    pixels, labels = (raw / f"{prefix}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1"))
    images, numbers = _parsed(name, pixels, _idx), _parsed(name, labels, _idx)
    if images.shape[1:] != MNIST_SHAPE:
        raise _damaged(name, pixels, f"it holds arrays of shape {images.shape}; must be images of 28×28 pixels")
    if numbers.shape != images.shape[:1]:
        raise _damaged(name, labels, f"it holds {numbers.size} labels for {len(images)} images")
    if numbers.size and numbers.max() >= MNIST_CLASSES:
        raise _damaged(name, labels, f"it has the label {numbers.max()}; must be from 0 to {MNIST_CLASSES - 1}")
    return images_of(images, numbers.astype(np.int64))


def _idx(path: Path) -> np.ndarray:
    """Parse an IDX file of bytes: two zeros, 8 for unsigned bytes, the number of axes, their lengths, the values."""
    with path.open("rb") as file:
        zeros, kind, axes = file.read(2), file.read(1), file.read(1)
        if (zeros, kind) != (b"\0\0", b"\x08") or axes not in (b"\1", b"\3"):
            raise ValueError("it does not begin as an IDX file of bytes")
        lengths = file.read(4 * axes[0])
        if len(lengths) != 4 * axes[0]:
            raise ValueError("it ends within its header")
        shape = struct.unpack(f">{axes[0]}I", lengths)
        size, expected = os.fstat(file.fileno()).st_size - file.tell(), math.prod(shape)
        if size != expected:
            raise ValueError(f"its header promises {expected} bytes, and {size} follow")
        return np.fromfile(file, np.uint8).reshape(shape)


def read_cifar(name: str, kind: str, root: Path) -> tuple[Images, Images]:
    """Read CIFAR's batches, (train, test), against torchvision's checksums.

    :param kind: torchvision's class, which knows the names of the files.
    :param root: the folder that contains torchvision's.
    :raises DataMissingError: naming the file that is missing or damaged.
    """
    from trainables.data.torchvision_guard import torchvision  # with torch, which nothing else here needs

    source = getattr(torchvision().datasets, kind)
    folder = root / source.base_folder
    train, test = (
        _batches(name, [(folder / file, checksum) for file, checksum in files])
        for files in (source.train_list, source.test_list)
    )
    return train, test


def _batches(name: str, files: list[tuple[Path, str | None]]) -> Images:
    batches = [
        _parsed(name, path, lambda each, checksum=checksum: _batch(each, checksum))  # type: ignore[misc]
        for path, checksum in files
    ]
    pixels = np.concatenate([rows for rows, _ in batches]).reshape(-1, *CIFAR_SHAPE)
    return images_of(pixels.transpose(0, 2, 3, 1), np.concatenate([labels for _, labels in batches]))


def _batch(path: Path, checksum: str | None) -> tuple[np.ndarray, np.ndarray]:
    """The pixels, (rows, 3072), and the labels of one file."""
    content = path.read_bytes()
    if checksum is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() != checksum:
        raise ValueError("its MD5 checksum is not the published one")
    batch = _Batch(io.BytesIO(content), encoding="latin1").load()
    pixels = batch["data"].pixels
    labels = np.asarray(batch["labels" if "labels" in batch else "fine_labels"])
    if pixels.shape[1:] != (math.prod(CIFAR_SHAPE),):
        raise ValueError(f"it holds an array of shape {pixels.shape}; must be rows of {math.prod(CIFAR_SHAPE)} bytes")
    if labels.shape != pixels.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(f"it does not hold a label for each of its {len(pixels)} images")
    return pixels, labels.astype(np.int64)


class _Batch(pickle.Unpickler):
    """Makes arrays of bytes, beside Python's own lists, dicts and texts, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("numpy.core.multiarray", "_reconstruct"): _Array,
            ("numpy._core.multiarray", "_reconstruct"): _Array,
            ("numpy", "ndarray"): None,
            ("numpy", "dtype"): _Kind,
            ("_codecs", "encode"): _encoded,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it calls {module}.{name}, which no batch of CIFAR does")
        return known[module, name]


class _Array:
    """What an array is unpickled as: it takes bytes, and no other type."""

    def __init__(self, *_: Any) -> None:
        self.pixels = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, in_columns, content = state
        if kind.name != "u1":
            raise pickle.UnpicklingError(f"it holds an array of type {kind.name!r}; must be bytes (u1)")
        content = content.encode("latin1") if isinstance(content, str) else content  # as Python 2 wrote it
        self.pixels = np.frombuffer(content, np.uint8).reshape(shape, order="F" if in_columns else "C")


class _Kind:
    """What an array's type is unpickled as: its name."""

    def __init__(self, name: str, *_: Any) -> None:
        self.name = name

    def __setstate__(self, _: Any) -> None:
        """Byte order and alignment, which bytes do not have."""


def _encoded(text: str, _: str) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    return text.encode("latin1")


def _parsed(name: str, path: Path, parse: Callable[[Path], Any]) -> Any:
    try:
        return parse(path)
    except OSError as error:
        raise _damaged(name, path, error.strerror or one_line(error)) from None
    except Exception as error:  # a pickle that was tampered with raises whatever its parsing meets
        raise _damaged(name, path, one_line(error)) from None


def _damaged(name: str, path: Path, reason: str) -> DataMissingError:
    return DataMissingError(f"{name}: {path}: cannot be read ({reason}); replace that file")
