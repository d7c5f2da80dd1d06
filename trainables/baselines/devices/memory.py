"""A batch in as many passes as memory asks for: what did not fit is tried again in halves, and it is told."""

import itertools
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

Found = TypeVar("Found")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch's says that there is no memory; the CPU's allocator has no class of its own for it."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class MicroBatches:
    """How many rows go through the network at a time; fewer from the moment that so many did not fit."""

    def __init__(self, batch_size: int, at_most: int | None, device: torch.device) -> None:
        self._batch_size, self._device = batch_size, device
        self.size = min(batch_size, at_most or batch_size)
        self._notes: list[str] = []

    def parts(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """The rows ``[low, high)`` in parts of at most :attr:`size`, as equal as can be."""
        count = -(-(high - low) // self.size)
        edges = [low + (high - low) * number // count for number in range(count + 1)]
        yield from itertools.pairwise(edges)

    def fitting(self, attempt: Callable[[], Found], undo: Callable[[], None]) -> Found:
        """What ``attempt()`` returns, with :attr:`size` halved until it fits.

        :param undo: takes back what an attempt that failed has left behind.
        :raises MemoryError: when one row at a time does not fit.
        """
        while True:
            try:
                return attempt()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = " ".join(str(error).split())[:200]
            # Out of the block above, whose traceback keeps the tensors of the attempt alive.
            undo()
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            if self.size == 1:
                raise MemoryError(f"out of memory with 1 row at a time (batch_size = {self._batch_size}): {reason}")
            tried, self.size = self.size, (self.size + 1) // 2
            self._notes.append(
                f"out of memory with {tried} rows at a time: goes on with {self.size}, accumulated to the same "
                f"batch of {self._batch_size}"
            )

    def notes(self) -> list[str]:
        """What happened since the last call, a line each."""
        told, self._notes = self._notes, []
        return told
