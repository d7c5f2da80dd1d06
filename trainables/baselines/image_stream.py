"""Images that do not fit in memory: read from disk in an order that disks like, and decoded ahead of their step.

The order of an epoch follows from the seed and the epoch alone.  Rows that lie together in a file (a group) are read
together, so an epoch visits the groups in random order, several at a time (a window), and the rows of a window in
random order.  Where every group is one row (plain files), and in a set of one window, that is a plain permutation.
"""

import os
import weakref
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trainables.baselines.augmentation import ImageAugmentation, Normalisation
from trainables.baselines.batches import Batch, BatchOrder
from trainables.data.sets import DataMissingError, ImageFiles
from trainables.engine.randomness import BATCH_ORDER_STREAM, MEASURED_STREAM, SPLIT_STREAM, random_bits
from trainables.engine.trial import Seeds

if TYPE_CHECKING:
    from PIL.Image import Image

WINDOW_ROWS = 1024
"""Rows of a window, or a group more: two windows of ImageNet are what its files' readers keep at hand."""
TASK_ROWS = 8
"""Rows that a thread reads and decodes in one go."""
STEPS_AHEAD = 2
"""How many batches are being decoded while one is used."""
DECODERS_AT_MOST = 16
"""Threads: decoding leaves Python's lock to the others, what is around it does not."""


def group_of_rows(files: ImageFiles) -> np.ndarray:
    """The number of each row's group, (rows,), int64."""
    return np.repeat(np.arange(len(files.groups)), [len(group) for group in files.groups])


def in_windows(rows: np.ndarray, groups: np.ndarray, seed: int, stream: int, block: int = 0) -> np.ndarray:
    """The rows in the random order of an epoch: groups, then rows within windows of groups.

    :param rows: ascending, int64 (rows,).
    :param groups: the number of each one's group.
    """
    _, sizes = np.unique(groups, return_counts=True)
    bits = random_bits(seed, stream, len(sizes) + len(rows), block)
    order = np.argsort(bits[: len(sizes)], kind="stable")
    before = np.cumsum(sizes[order]) - sizes[order]
    begins = (np.cumsum(sizes) - sizes)[order]
    visited = np.repeat(begins - before, sizes[order]) + np.arange(len(rows))
    window = np.repeat(before // WINDOW_ROWS, sizes[order])
    return rows[visited[np.lexsort((bits[len(sizes) :], window))]]


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamOrder(BatchOrder):
    """Which rows of the files make up the batch of a step; see :func:`in_windows`."""

    chosen: np.ndarray
    """The rows to train on, ascending."""
    groups: np.ndarray
    """The number of each one's group."""

    def numbers(self, step: int) -> np.ndarray:
        epoch, place = divmod(step, self.steps_per_epoch)
        return self._epoch(epoch)[place * self.batch_size : (place + 1) * self.batch_size]

    @lru_cache(maxsize=2)  # noqa: B019  # an order lives as long as its trial
    def _epoch(self, epoch: int) -> np.ndarray:
        return in_windows(self.chosen, self.groups, self.seed, BATCH_ORDER_STREAM, epoch)


class StreamedImages:
    """The batches of a set on disk; implements :class:`trainables.baselines.batches.Batches`."""

    def __init__(
        self,
        train: ImageFiles,
        test: ImageFiles,
        *,
        train_rows: int | None,
        batch_size: int,
        seeds: Seeds,
        augmentation: ImageAugmentation,
        normalisation: Normalisation,
        device: str,
        channels_last: bool,
    ) -> None:
        """
        :param train_rows: so many rows of ``train``, of few groups, drawn from ``seeds.split``; None: all.
        """
        self._augmentation, self._normalisation = augmentation, normalisation
        self._device, self._channels_last = torch.device(device), channels_last
        chosen, groups = np.arange(len(train.labels)), group_of_rows(train)
        if train_rows is not None:
            chosen = np.sort(in_windows(chosen, groups, seeds.split, SPLIT_STREAM)[:train_rows])
            groups = groups[chosen]
        self.order: BatchOrder = StreamOrder(
            rows=len(chosen), batch_size=batch_size, seed=seeds.order, chosen=chosen, groups=groups
        )
        test_groups = group_of_rows(test)
        self._measured = {
            "train": in_windows(chosen, groups, seeds.split, MEASURED_STREAM),
            "test": in_windows(np.arange(len(test.labels)), test_groups, seeds.split, MEASURED_STREAM, block=1),
        }
        self._files = {"train": train, "test": test}
        self._threads = ThreadPoolExecutor(min(len(os.sched_getaffinity(0)), DECODERS_AT_MOST))
        self._ahead: dict[tuple[int, int, int], _Decoding] = {}
        self.close = weakref.finalize(self, self._threads.shutdown, wait=False, cancel_futures=True)
        """Ends the threads; what they have begun they end first.  Also called when the object is no longer used."""

    def train(self, step: int, low: int, high: int) -> Batch:
        """See :meth:`trainables.baselines.batches.Batches.train`; the same slice of the next steps is begun as well."""
        for key in [key for key in self._ahead if not step <= key[0] <= step + STEPS_AHEAD]:
            self._ahead.pop(key).cancel()
        for later in range(step, step + STEPS_AHEAD + 1):
            size = self.order.size(later)
            end = size if high == self.order.size(step) else min(high, size)
            if low < end and (later, low, end) not in self._ahead:
                self._ahead[later, low, end] = self._begin_training(later, low, end)
        return self._batch(self._ahead[step, low, high])

    def measured(self, split: str, rows: int | None, at_once: int) -> Iterator[Batch]:
        """See :meth:`trainables.baselines.batches.Batches.measured`."""
        numbers = self._measured[split][:rows]
        begun: deque[_Decoding] = deque()
        try:
            for low in range(0, len(numbers), at_once):
                begun.append(self._begin(split, numbers[low : low + at_once], None))
                if len(begun) > STEPS_AHEAD:
                    yield self._batch(begun.popleft())
            while begun:
                yield self._batch(begun.popleft())
        finally:
            for decoding in begun:
                decoding.cancel()

    def _begin_training(self, step: int, low: int, high: int) -> "_Decoding":
        chance = self._augmentation.chance(self.order.seed, step, self.order.size(step))
        return self._begin("train", self.order.numbers(step)[low:high], chance[low:high])

    def _begin(self, split: str, rows: np.ndarray, chance: np.ndarray | None) -> "_Decoding":
        return _Decoding(self._threads, self._files[split], rows, chance, self._augmentation, self._device)

    def _batch(self, decoding: "_Decoding") -> Batch:
        pixels_BHWC = decoding.pixels().to(self._device, non_blocking=True)
        return Batch(
            self._normalisation.inputs(pixels_BHWC, channels_last=self._channels_last),
            decoding.labels.to(self._device, non_blocking=True),
        )


class _Decoding:
    """Rows on their way from the disk to a tensor, in tasks of a few."""

    def __init__(
        self,
        threads: ThreadPoolExecutor,
        files: ImageFiles,
        rows: np.ndarray,
        chance: np.ndarray | None,
        augmentation: ImageAugmentation,
        device: torch.device,
    ) -> None:
        size = augmentation.size
        self._pixels = torch.empty((len(rows), size, size, 3), dtype=torch.uint8, pin_memory=device.type == "cuda")
        self.labels = torch.from_numpy(files.labels[rows])
        into = self._pixels.numpy()

        def fill(low: int) -> None:
            task = [int(row) for row in rows[low : low + TASK_ROWS]]
            for place, (row, encoded) in enumerate(zip(task, files.read(task), strict=True), start=low):
                image = _decoded(files, row, encoded)
                made = augmentation.evaluated(image) if chance is None else augmentation.train(image, chance[place])
                into[place] = np.asarray(made)

        self._tasks = [threads.submit(fill, low) for low in range(0, len(rows), TASK_ROWS)]

    def pixels(self) -> Tensor:
        """(B, size, size, 3), uint8, on the host.

        :raises DataMissingError: when a row cannot be read or decoded.
        """
        for task in self._tasks:
            task.result()
        return self._pixels

    def cancel(self) -> None:
        """Do not begin what has not begun."""
        for task in self._tasks:
            task.cancel()


def _decoded(files: ImageFiles, row: int, encoded: bytes) -> "Image":
    """A row in colour.

    :raises DataMissingError: when it cannot be decoded.
    """
    from PIL import Image

    try:
        return Image.open(BytesIO(encoded)).convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        reason = " ".join(str(error).split()).partition(" <_io")[0]
        raise DataMissingError(
            f"streamed images: row {row} of {len(files.labels)} is not an image that can be decoded ({reason})"
        ) from None
