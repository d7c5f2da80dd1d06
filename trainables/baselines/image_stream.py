"""Images that do not fit in memory: read from disk group by group, and decoded ahead of their step.

The order of an epoch follows from the seed and the epoch alone.  Rows that are stored together (a group) are read
together: an epoch visits the groups in random order, several at a time (a window), and the rows of a window in random
order.  If every group is one row (plain files), or the whole set is one window, this is a plain permutation.
"""

import os
import weakref
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from trainables.baselines.augmentation import ImageAugmentation, Normalisation
from trainables.baselines.batches import Batch, BatchOrder
from trainables.data.decoding import decode
from trainables.data.sets import ImageFiles
from trainables.engine.randomness import BATCH_ORDER_STREAM, MEASURED_STREAM, SPLIT_STREAM, random_bits
from trainables.engine.trial import Seeds

WINDOW_ROWS = 1024
"""Rows per window, rounded up to whole groups: the readers of ImageNet's files keep two windows in memory."""
TASK_ROWS = 8
"""Rows that a thread reads and decodes per task."""
STEPS_AHEAD = 2
"""How many batches to decode ahead of the current one."""
MAX_DECODERS = 16
"""Most decoding threads: decoding releases Python's lock, but the code around it does not."""


def in_windows(rows: np.ndarray, groups: np.ndarray, seed: int, stream: int, block: int = 0) -> np.ndarray:
    """Shuffle the rows for an epoch: first the groups, then the rows within windows of groups.

    :param rows: ascending, int64 (rows,).
    :param groups: the index of each row's group.
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
    """The rows of each step's batch; see :func:`in_windows`."""

    chosen: np.ndarray
    """The rows to train on, ascending."""
    groups: np.ndarray
    """The index of each row's group."""

    def numbers(self, step: int) -> np.ndarray:
        epoch, batch = divmod(step, self.steps_per_epoch)
        return self._epoch(epoch)[batch * self.batch_size : (batch + 1) * self.batch_size]

    @lru_cache(maxsize=2)  # noqa: B019  # An order lives as long as its trial.
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
        :param train_rows: train on this many rows, from few groups, drawn from ``seeds.split``; None: on all.
        """
        self._augmentation, self._normalisation = augmentation, normalisation
        self._device, self._channels_last = torch.device(device), channels_last
        chosen, groups = np.arange(len(train.labels)), train.groups
        if train_rows is not None:
            chosen = np.sort(in_windows(chosen, groups, seeds.split, SPLIT_STREAM)[:train_rows])
            groups = groups[chosen]
        self.order: BatchOrder = StreamOrder(
            rows=len(chosen), batch_size=batch_size, seed=seeds.order, chosen=chosen, groups=groups
        )
        self._measured = {
            "train": in_windows(chosen, groups, seeds.split, MEASURED_STREAM),
            "test": in_windows(np.arange(len(test.labels)), test.groups, seeds.split, MEASURED_STREAM, block=1),
        }
        self._files = {"train": train, "test": test}
        self._threads = ThreadPoolExecutor(min(len(os.sched_getaffinity(0)), MAX_DECODERS))
        self._ahead: dict[tuple[int, int, int], _Decoding] = {}
        self.close = weakref.finalize(self, self._threads.shutdown, wait=False, cancel_futures=True)
        """End the threads after their current tasks.  Also called when the object is garbage-collected."""

    def train(self, step: int, low: int, high: int) -> Batch:
        """See :meth:`trainables.baselines.batches.Batches.train`; also start decoding this slice of the next steps."""
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
        queue: deque[_Decoding] = deque()
        try:
            for low in range(0, len(numbers), at_once):
                queue.append(self._begin(split, numbers[low : low + at_once], None))
                if len(queue) > STEPS_AHEAD:
                    yield self._batch(queue.popleft())
            while queue:
                yield self._batch(queue.popleft())
        finally:
            for decoding in queue:
                decoding.cancel()

    def _begin_training(self, step: int, low: int, high: int) -> "_Decoding":
        words = self._augmentation.random_words(self.order.seed, step, self.order.size(step))
        return self._begin("train", self.order.numbers(step)[low:high], words[low:high])

    def _begin(self, split: str, rows: np.ndarray, words: np.ndarray | None) -> "_Decoding":
        return _Decoding(self._threads, self._files[split], rows, words, self._augmentation, self._device)

    def _batch(self, decoding: "_Decoding") -> Batch:
        pixels_BHWC = decoding.pixels().to(self._device, non_blocking=True)
        return Batch(
            self._normalisation.inputs(pixels_BHWC, channels_last=self._channels_last),
            decoding.labels.to(self._device, non_blocking=True),
        )


class _Decoding:
    """A batch that threads read, decode and augment into one tensor, a few rows per task."""

    def __init__(
        self,
        threads: ThreadPoolExecutor,
        files: ImageFiles,
        rows: np.ndarray,
        words: np.ndarray | None,
        augmentation: ImageAugmentation,
        device: torch.device,
    ) -> None:
        """
        :param words: the rows' random words for training, (B, words); None to evaluate.
        """
        size = augmentation.size
        self._pixels = torch.empty((len(rows), size, size, 3), dtype=torch.uint8, pin_memory=device.type == "cuda")
        self.labels = torch.from_numpy(files.labels[rows])
        pixels = self._pixels.numpy()

        def fill(low: int) -> None:
            task = [int(row) for row in rows[low : low + TASK_ROWS]]
            for index, (row, encoded) in enumerate(zip(task, files.read(task), strict=True), start=low):
                image = decode(encoded, files.place(row))
                cropped = augmentation.evaluate(image) if words is None else augmentation.train(image, words[index])
                pixels[index] = np.asarray(cropped)

        self._tasks = [threads.submit(fill, low) for low in range(0, len(rows), TASK_ROWS)]

    def pixels(self) -> Tensor:
        """Wait for the pixels: (B, size, size, 3), uint8, on the host.

        :raises DataMissingError: when a row cannot be read or decoded.
        """
        for task in self._tasks:
            task.result()
        return self._pixels

    def cancel(self) -> None:
        """Cancel the tasks that have not started."""
        for task in self._tasks:
            task.cancel()
