"""Micro-batches: split a batch into passes that fit in memory; after a lack of memory, retry with half the rows.

A pass that is tried again, or only looked at, must leave the network's buffers as it found them.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from trainables.engine.errors import is_out_of_memory, one_line

Result = TypeVar("Result")


class MicroBatches:
    """The number of rows that go through the network at a time, halved whenever they do not fit in memory."""

    def __init__(self, batch_size: int, at_most: int | None, device: torch.device) -> None:
        self._batch_size, self._device = batch_size, device
        self.size = min(batch_size, at_most or batch_size)
        self._notes: list[str] = []

    def parts(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """Split the rows ``[low, high)`` into parts of at most :attr:`size`, as equal as possible."""
        count = -(-(high - low) // self.size)
        edges = [low + (high - low) * number // count for number in range(count + 1)]
        yield from itertools.pairwise(edges)

    def retry_smaller(self, attempt: Callable[[], Result], undo: Callable[[], None]) -> Result:
        """Return what ``attempt()`` returns; halve :attr:`size` until it fits in memory.

        :param undo: reverts the side effects of a failed attempt.
        :raises MemoryError: when one row at a time does not fit.
        """
        while True:
            try:
                return attempt()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = one_line(error, 200)
            # Outside the except block, because its traceback keeps the tensors of the attempt alive.
            undo()
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            if self.size == 1:
                raise MemoryError(f"out of memory with 1 row at a time (batch_size = {self._batch_size}): {reason}")
            tried, self.size = self.size, (self.size + 1) // 2
            self._notes.append(
                f"out of memory with {tried} rows at a time: continuing with {self.size}, accumulated to the same "
                f"batch of {self._batch_size}"
            )

    def notes(self) -> list[str]:
        """Return a line for each reduction since the last call."""
        notes, self._notes = self._notes, []
        return notes


class KeptBuffers:
    """A network's buffers (the running means of batch normalisation) from before a batch went through it."""

    def __init__(self, network: nn.Module) -> None:
        self._now = dict(network.named_buffers())
        self._before = {name: buffer.clone() for name, buffer in self._now.items()}
        by_dtype: dict[torch.dtype, list[str]] = defaultdict(list)
        for name, buffer in self._now.items():
            by_dtype[buffer.dtype].append(name)
        self._together = list(by_dtype.values())
        """Names whose buffers are copied in one kernel."""
        self._kept = False

    def keep(self) -> None:
        """Remember the present ones."""
        self._copy(self._before, self._now)
        self._kept = True

    def restore(self) -> None:
        """Put the remembered ones back, if there are any; they stay remembered, for another try."""
        if self._kept:
            self._copy(self._now, self._before)

    def drop(self) -> None:
        """Forget the remembered ones, for the present ones count."""
        self._kept = False

    def current(self) -> dict[str, Tensor]:
        """Return the remembered ones, or else the present ones."""
        return self._before if self._kept else self._now

    def _copy(self, to: dict[str, Tensor], source: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for names in self._together:
                torch._foreach_copy_([to[name] for name in names], [source[name] for name in names])
