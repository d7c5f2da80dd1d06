"""Mini-batches as pure functions of the step.

Sampling is stateless: the rows of a step and their augmentation follow from the seed and the step alone.  So a run sees
the same rows when it resumes in the middle of an epoch, splits a batch, or uses several devices.
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
    """Rows on the device.  B rows, T tokens of a row of text."""

    inputs: Tensor
    """(B, channels, height, width), float32, or (B, T), int64."""
    labels: Tensor
    """(B,) or (B, T), int64: each label is a row of the loss."""


@dataclass(frozen=True, kw_only=True)
class BatchOrder:
    """The rows of each step's batch: a new permutation every epoch, whose last batch may be smaller."""

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
        """Return the indices of the rows of the batch of a step (from 0), in order; int64."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        return _epoch_order(self.seed, self.rows, epoch)[batch * self.batch_size : (batch + 1) * self.batch_size]

    def size(self, step: int) -> int:
        """Return the number of rows in the batch of a step."""
        last = step % self.steps_per_epoch == self.steps_per_epoch - 1
        return self.rows - (self.steps_per_epoch - 1) * self.batch_size if last else self.batch_size


@lru_cache(maxsize=2)
def _epoch_order(seed: int, rows: int, epoch: int) -> np.ndarray:
    return permutation(seed, BATCH_ORDER_STREAM, rows, block=epoch)


class Batches(Protocol):
    """The data of one trial on one device."""

    order: BatchOrder

    def train(self, step: int, low: int, high: int) -> Batch:
        """Return rows ``[low, high)`` of the batch of a step, augmented; a row does not depend on the slice."""

    def measured(self, split: str, rows: int | None, at_once: int) -> Iterator[Batch]:
        """Iterate over the first rows (None: all) of a split, "train" or "test", unaugmented, ``at_once`` per batch."""
