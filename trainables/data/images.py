"""Images that fit in memory: read from Parquet, decoded once and cached."""

import hashlib
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from trainables.data.decoding import decode, open_image
from trainables.data.folder import DataMissingError, cached_array
from trainables.data.parquet import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    MOST_EXPANSION,
    SMALL_BYTES,
    absolute,
    encoded_images,
    find_files,
    integer_labels,
    read_columns,
)


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
    images: list[bytes] = []
    labels, places = [], []
    for path, columns in read_columns(files, [IMAGE_COLUMNS, LABEL_COLUMNS]):
        encoded = encoded_images(files, path, columns[0])
        images += encoded
        labels.append(integer_labels(files, path, columns[1]))
        places += [(path, row) for row in range(len(encoded))]

    def place(index: int) -> str:
        path, row = places[index]
        return f"{name}: {path}, row {row}"

    if not images:
        raise DataMissingError(f"{name}: {files.shown}: has no rows")
    return images_of(decoded(images, f"{name}: {files.shown}", place), np.concatenate(labels))


def decoded(encoded: Sequence[bytes], where: str, place: Callable[[int], str]) -> np.ndarray:
    """Decode images of one size, through the cache: grey if all are grey, else (rows, height, width, 3).

    :param where, place: what messages call all of them, and one.
    :raises DataMissingError: when one cannot be decoded, or has another size.
    """
    from PIL import __version__, features

    # Another version of the decoder may round differently, and so make other data.
    content = hashlib.sha256(f"{__version__} {features.version('jpg')} {len(encoded)}".encode())
    for image in encoded:
        content.update(len(image).to_bytes(8, "little"))
        content.update(image)
    return cached_array(
        "images",
        content.hexdigest()[:32],
        lambda: _decode(encoded, where, place),
        fits=lambda pixels: pixels.dtype == np.uint8 and pixels.ndim in (3, 4) and len(pixels) == len(encoded),
    )


def _decode(encoded: Sequence[bytes], where: str, place: Callable[[int], str]) -> np.ndarray:
    headers = [(image.size, image.mode) for image in (open_image(each, place(row)) for row, each in enumerate(encoded))]
    sizes, grey = {size for size, _ in headers}, all(mode == "L" for _, mode in headers)
    if len(sizes) > 1:
        (one, other), number = sorted(sizes)[:2], len(sizes)
        raise DataMissingError(
            f"{where}: has images of {number} sizes ({one[0]}×{one[1]}, {other[0]}×{other[1]}, ...); must have one: "
            "use image_parquet for others"
        )
    width, height = sizes.pop()
    shape = (len(encoded), height, width) if grey else (len(encoded), height, width, 3)
    needed, given = math.prod(shape), sum(map(len, encoded))
    if needed > max(SMALL_BYTES, MOST_EXPANSION * given):
        raise DataMissingError(
            f"{where}: {len(encoded)} images of {width}×{height} pixels need {needed / 2**30:.0f} GiB of memory, "
            f"{needed // given} times their files; use image_parquet, which streams them"
        )
    pixels = np.empty(shape, np.uint8)

    def fill(rows: range) -> None:
        for row in rows:
            pixels[row] = np.asarray(decode(encoded[row], place(row), "L" if grey else "RGB"))

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, (range(low, min(low + 1000, len(encoded))) for low in range(0, len(encoded), 1000))))
    return pixels
