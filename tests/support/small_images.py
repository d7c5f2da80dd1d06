"""Small images in files, as data sets have them."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet


def encoded(
    rows: int, height: int = 32, width: int = 32, *, mode: str = "RGB", format: str = "JPEG", seed: int = 0
) -> list[bytes]:
    """Random images, as the bytes of their files."""
    chance, found = np.random.default_rng(seed), []
    for _ in range(rows):
        pixels = chance.integers(0, 256, (height, width) if mode == "L" else (height, width, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format=format)
        found.append(buffer.getvalue())
    return found


def struct_column(images: Sequence[bytes | None]) -> pa.Array:
    """A column of images in the Hugging Face layout."""
    return pa.array([{"bytes": image, "path": f"{row}.jpg"} for row, image in enumerate(images)])


def write_images(
    path: Path,
    *,
    rows: int,
    column: str = "img",
    mode: str = "RGB",
    format: str = "JPEG",
    seed: int = 0,
    row_group_size: int = 7,
) -> tuple[list[bytes], list[int]]:
    """Write a Parquet file in the Hugging Face layout, with ten classes; returns the encoded images and the labels."""
    images = encoded(rows, mode=mode, format=format, seed=seed)
    labels = [row * 3 % 10 for row in range(rows)]
    parquet.write_table(pa.table({column: struct_column(images), "label": labels}), path, row_group_size=row_group_size)
    return images, labels
