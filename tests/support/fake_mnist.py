"""A small data set in MNIST's files, so that what reads MNIST is tested where there is none."""

import struct
from pathlib import Path

import numpy as np


def write_mnist(root: Path, train_rows: int = 60, test_rows: int = 40) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Write ``root/MNIST/raw``; returns the (pixels, labels) of both halves."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(0)
    written = {}
    for prefix, count in (("train", train_rows), ("t10k", test_rows)):
        pixels = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = generator.integers(0, 10, count, dtype=np.uint8)
        # The idx format: two zero bytes, 8 for unsigned bytes, the number of axes, their lengths, the values.
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(
            struct.pack(">4B3I", 0, 0, 8, 3, *pixels.shape) + pixels.tobytes()
        )
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, count) + labels.tobytes())
        written[prefix] = (pixels, labels.astype(np.int64))
    return written
