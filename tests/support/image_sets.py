"""Small sets of images for tests: one that is held in memory, and one that is streamed."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import ClassVar

import numpy as np
from PIL import Image

from trainables.baselines.images import InMemoryImages
from trainables.data.sets import Images


def random_images(rows: int, *shape: int, classes: int = 4, seed: int = 0) -> Images:
    """Images whose brightness tells their class."""
    chance = np.random.default_rng(seed)
    labels = np.arange(rows, dtype=np.int64) % classes
    levels = (labels * (200 // classes)).reshape(rows, *[1] * len(shape))
    pixels = (levels + chance.integers(0, 56, (rows, *shape))).astype(np.uint8)
    return Images(pixels, labels, f"seed {seed}, {rows} rows")


@dataclass(frozen=True, kw_only=True)
class Patches(InMemoryImages):
    """90 rows to train on and 30 to test on, of 16×16 pixels and four classes."""

    classes: ClassVar[int] = 4
    published_rows: ClassVar[int | None] = 90
    image_size: ClassVar[tuple[int, int]] = (16, 16)

    def read(self) -> tuple[Images, Images]:
        return random_images(90, 16, 16, 3, seed=1), random_images(30, 16, 16, 3, seed=2)


class EncodedImages:
    """The images of :func:`random_images` as PNG files of different sizes, in groups; counts what is read."""

    def __init__(self, rows: int, group_rows: int = 1, classes: int = 4, seed: int = 0) -> None:
        found = random_images(rows, 24, 20, 3, classes=classes, seed=seed)
        self.labels, self.digest, self.classes = found.labels, found.digest, classes
        self.pixels = [pixels[: 16 + row % 9] for row, pixels in enumerate(found.pixels)]
        self.groups = np.arange(rows) // group_rows
        self.was_read: list[int] = []

    def read(self, rows: Sequence[int]) -> list[bytes]:
        self.was_read += rows
        return [self.encoded(row) for row in rows]

    def place(self, row: int) -> str:
        return f"drawn, row {row}"

    def encoded(self, row: int) -> bytes:
        buffer = BytesIO()
        Image.fromarray(self.pixels[row]).save(buffer, format="PNG")
        return buffer.getvalue()
