"""Images that fit in memory: read from torchvision's files or from Parquet, decoded once and cached."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trainables.data.folder import DataMissingError, cached_array
from trainables.data.parquet import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    absolute,
    encoded_images,
    find_files,
    integer_labels,
    read_columns,
)
from trainables.engine.errors import one_line


@dataclass(frozen=True)
class Images:
    """The images of one half of a set."""

    pixels: np.ndarray
    """(rows, height, width) grey, or (rows, height, width, 3) in colour, uint8."""
    labels: np.ndarray
    """(rows,), int64."""
    digest: str
    """A digest of the pixels and the labels."""


def images_of(pixels: np.ndarray, labels: np.ndarray) -> Images:
    """Make one half of a set from arrays."""
    if len(pixels) != len(labels):
        raise ValueError(f"{len(pixels)} images and {len(labels)} labels")
    pixels = np.ascontiguousarray(pixels)
    content = hashlib.sha256(repr(pixels.shape).encode())
    content.update(pixels.data.cast("B"))
    content.update(labels.astype("<i8").tobytes())
    return Images(pixels, labels, content.hexdigest()[:20])


def images_from_torchvision(name: str, kind: str, root: Path, folder: str) -> tuple[Images, Images]:
    """Read a set with ``torchvision.datasets``, (train, test); torchvision checks the checksums, where it has any.

    :param kind: torchvision's class.
    :param root: the folder that contains torchvision's ``folder``.
    :raises DataMissingError: when it cannot be read.
    """
    from trainables.data.torchvision_guard import torchvision  # with torch, which nothing else here needs

    read = getattr(torchvision().datasets, kind)
    try:
        train, test = (read(str(root), train=train) for train in (True, False))
        return _arrays(train), _arrays(test)
    except (AssertionError, EOFError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise DataMissingError(
            f"{name}: cannot be read from {str(root / folder)!r} ({error}); replace that folder"
        ) from None


def images_from_parquet(train: str, test: str) -> tuple[Images, Images]:
    """Read images of one size from Parquet files into memory, (train, test).

    :param train, test: addresses (see :mod:`trainables.data.parquet`); the columns are ``image`` or ``img``
        (encoded bytes, or a struct with ``bytes``), and ``label`` or ``fine_label``.
    :raises DataMissingError: when there is nothing at an address, or it cannot be read.
    """
    return read_parquet("images_from_parquet", absolute(train), absolute(test))


@lru_cache(maxsize=4)
def read_parquet(name: str, train: str, test: str) -> tuple[Images, Images]:
    """Read a named set like :func:`images_from_parquet`, once a process."""
    return _half(name, train), _half(name, test)


def _half(name: str, address: str) -> Images:
    files = find_files(name, address)
    images, labels = read_columns(files, [IMAGE_COLUMNS, LABEL_COLUMNS])
    return images_of(decoded(encoded_images(files, images), f"{name}: {files.shown}"), integer_labels(files, labels))


def decoded(encoded: Sequence[bytes], where: str) -> np.ndarray:
    """Decode images of one size, through the cache: grey if all are grey, else (rows, height, width, 3).

    :raises DataMissingError: when one cannot be decoded, or has another size.
    """
    from PIL import __version__, features

    # Another version of the decoder may round differently, and so make other data.
    content = hashlib.sha256(f"{__version__} {features.version('jpg')} {len(encoded)}".encode())
    for image in encoded:
        content.update(len(image).to_bytes(8, "little"))
        content.update(image)
    return cached_array("images", content.hexdigest()[:32], lambda: _decode(encoded, where))


def _decode(encoded: Sequence[bytes], where: str) -> np.ndarray:
    if not encoded:
        raise DataMissingError(f"{where}: has no rows")
    headers = [(image.size, image.mode) for image in (_open(*each, where) for each in enumerate(encoded))]
    sizes = {size for size, _ in headers}
    if len(sizes) > 1:
        (one, other), number = sorted(sizes)[:2], len(sizes)
        raise DataMissingError(
            f"{where}: has images of {number} sizes ({one[0]}×{one[1]}, {other[0]}×{other[1]}, ...); must have one: "
            "use image_parquet for others"
        )
    grey = all(mode == "L" for _, mode in headers)
    width, height = sizes.pop()
    pixels = np.empty((len(encoded), height, width) if grey else (len(encoded), height, width, 3), np.uint8)

    def fill(rows: range) -> None:
        for row in rows:
            try:
                pixels[row] = np.asarray(_open(row, encoded[row], where).convert("L" if grey else "RGB"))
            except (OSError, SyntaxError, ValueError) as error:
                raise _undecodable(where, row, error) from None

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, (range(low, min(low + 1000, len(encoded))) for low in range(0, len(encoded), 1000))))
    return pixels


def _open(row: int, image: bytes, where: str) -> Any:
    from io import BytesIO

    from PIL import Image

    try:
        return Image.open(BytesIO(image))
    except (OSError, SyntaxError, ValueError) as error:
        raise _undecodable(where, row, error) from None


def _undecodable(where: str, row: int, error: Exception) -> DataMissingError:
    reason = one_line(error).partition(" <_io")[0]
    return DataMissingError(f"{where}: row {row} cannot be decoded as an image ({reason}); replace that file")


def _arrays(half: Any) -> Images:
    """Make one half from what torchvision read."""
    return images_of(np.asarray(half.data), np.asarray(half.targets, dtype=np.int64))
