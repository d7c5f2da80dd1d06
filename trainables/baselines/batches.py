"""Mini-batches as pure functions of the step: what a run is given, wherever in an epoch it begins.

No sampler has a state: the rows of a step, and the chance in them, follow from the seed and the step alone.  A run
that goes on from the middle of an epoch, in slices of a batch or on several devices sees the same rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from torch import Tensor

from trainables.engine.config import ConfigError
from trainables.engine.randomness import BATCH_ORDER_STREAM, permutation


@dataclass(frozen=True)
class Batch:
    """Rows on the device.  B rows, T positions of a row of text."""

    inputs: Tensor
    """(B, channels, height, width), float32, or (B, T), int64."""
    labels: Tensor
    """(B,) or (B, T), int64: each label is one row of the loss."""


@dataclass(frozen=True, kw_only=True)
class BatchOrder:
    """Which rows make up the batch of a step: a new permutation every epoch; its last batch may be smaller."""

    rows: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if self.batch_size > self.rows:
            raise ConfigError(f"batch_size = {self.batch_size}: must be at most {self.rows}, the rows of an epoch")

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.rows // self.batch_size)

    def numbers(self, step: int) -> np.ndarray:
        """The numbers of the rows of the batch of a step (from 0), in order; int64."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return _epoch_order(self.seed, self.rows, epoch)[place * self.batch_size : (place + 1) * self.batch_size]

    def size(self, step: int) -> int:
        """How many rows the batch of a step has."""
        last = step % self.steps_per_epoch == self.steps_per_epoch - 1
        return self.rows - (self.steps_per_epoch - 1) * self.batch_size if last else self.batch_size


@lru_cache(maxsize=2)
def _epoch_order(seed: int, rows: int, epoch: int) -> np.ndarray:
    return permutation(seed, BATCH_ORDER_STREAM, rows, block=epoch)


class Batches(Protocol):
    """The data of one trial on one device."""

    order: BatchOrder

    def train(self, step: int, low: int, high: int) -> Batch:
        """The rows ``[low, high)`` of the batch of a step, augmented: the same whatever the slicing."""

    def measured(self, split: str, rows: int | None, at_once: int) -> Iterator[Batch]:
        """The first rows (None: all) of a split, "train" or "test", not augmented, at most ``at_once`` a batch."""
