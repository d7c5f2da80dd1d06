"""Replay a tensor program on a GPU: record its kernels once as a CUDA graph, and launch them together from then on.

A step of a small cohort is some sixty kernels of a few microseconds each; Python takes ten times as long to launch
them one by one as a GPU takes to compute them (measured: ``tests/benchmarks/gpu``).
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from trainables.engine.errors import is_out_of_memory

Result = TypeVar("Result")
_off = False


@cache
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Keep numbers on the device: copying them there at every use would wait for it, and cannot be recorded."""
    return torch.tensor(values, dtype=dtype, device=device)


class Memory:
    """A GPU's memory for the recordings of one owner, which replays them one after the other."""

    def __init__(self, device: torch.device) -> None:
        self.pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None


class Replay(Generic[Result]):
    """Runs a tensor program that reads the same tensors, and reads nothing back to the host, at every call.

    On a GPU it records the program after some calls, and from then on returns the same tensors at every call,
    overwritten.  Elsewhere, and when the program waits for the device (a decomposition that checks its result, for
    example), it runs the program as it is.  Make a new one when what the program reads is replaced by other tensors.
    """

    def __init__(
        self, device: torch.device, *, repeatable: bool = True, after: int = 0, memory: Memory | None = None
    ) -> None:
        """
        :param repeatable: whether the program changes nothing, so that running it twice does no harm.
        :param after: the calls to run before recording, which takes as long as tens of them; at least one for a program
            that is not repeatable.
        :param memory: what the recordings that share it use in turn.
        """
        self._device, self._repeatable, self._left, self._memory = device, repeatable, after, memory
        self._may_record = device.type == "cuda"
        self._graph: torch.cuda.CUDAGraph | None = None
        self.recorded: Result | None = None
        """What a replay returns; None before the recording."""

    def __call__(self, program: Callable[[], Result]) -> Result:
        if self._may_record and not self._left and self._graph is None and not _off:
            self._may_record = self._record(program)
        if self._graph is None or _off:
            self._left = max(0, self._left - 1)
            return program()
        self._graph.replay()
        return self.recorded  # type: ignore[return-value]

    def _record(self, program: Callable[[], Result]) -> bool:
        """Return whether the program could be recorded.

        :raises torch.OutOfMemoryError: when there is not enough memory for it.
        """
        try:
            with torch.cuda.device(self._device):
                if self._repeatable:
                    _warm_up(program)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, pool=self._memory.pool if self._memory else None):
                    recorded = program()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            return False
        self._graph, self.recorded = graph, recorded
        return True


@contextmanager
def unrecorded() -> Iterator[None]:
    """Let every :class:`Replay` run its program as it is, kernel by kernel: to count operations, or to compare."""
    global _off
    before, _off = _off, True
    try:
        yield
    finally:
        _off = before


def _warm_up(program: Callable[[], object]) -> None:
    """Load libraries and kernels, which a recording must not.

    :raises RuntimeError: where the host would wait for the device; outside a recording that harms nothing.
    """
    aside, here = torch.cuda.Stream(), torch.cuda.current_stream()
    aside.wait_stream(here)
    try:
        with torch.cuda.stream(aside):
            program()
            with _refused_waits():
                program()
    finally:
        here.wait_stream(aside)


@contextmanager
def _refused_waits() -> Iterator[None]:
    """Raise RuntimeError where the host would wait for the device, as far as torch notices."""
    with warnings.catch_warnings():
        # What it does not notice, the recording itself refuses.
        warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype")
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)


@dataclass(frozen=True)
class Reading:
    """Named values of every member, joined so that they come to the host at once."""

    names: tuple[str, ...]
    values_CK: Tensor

    @classmethod
    def of(cls, columns: Mapping[str, Tensor], dtype: torch.dtype) -> Self:
        """Join columns of shape (K,), in this dtype."""
        values = [values_K.to(dtype) for values_K in columns.values()]
        return cls(tuple(columns), torch.stack(values) if values else torch.empty(0))

    def on_host(self) -> dict[str, np.ndarray]:
        """Wait for the device; return each column."""
        return dict(zip(self.names, self.values_CK.cpu().numpy(), strict=True))
