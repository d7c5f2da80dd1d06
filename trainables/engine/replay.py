"""Replay a tensor program on a GPU: record its kernels once as a CUDA graph, and launch them together from then on.

A step of a small cohort is some sixty kernels of a few microseconds each; Python takes ten times as long to launch
them one by one as a GPU takes to compute them (measured: ``tests/benchmarks/gpu``).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch

from trainables.engine.errors import is_out_of_memory

Result = TypeVar("Result")
_off = False


class Replay(Generic[Result]):
    """Runs a tensor program that reads the same tensors, and reads nothing back to the host, at every call.

    On a GPU it records the program at its first call (at its second, if the program changes what it reads), and from
    then on returns the same tensors at every call, overwritten.  Elsewhere, and when the program waits for the device
    (a decomposition that checks its result, for example), it runs the program as it is.  Make a new one when what the
    program reads is replaced by other tensors.
    """

    def __init__(self, device: torch.device, *, repeatable: bool) -> None:
        """
        :param repeatable: whether the program changes nothing, so that running it twice does no harm.
        """
        self._device, self._repeatable = device, repeatable
        self._may_record, self._warm = device.type == "cuda", repeatable
        self._graph: torch.cuda.CUDAGraph | None = None
        self.recorded: Result | None = None
        """What a replay returns; None before the recording."""

    def __call__(self, program: Callable[[], Result]) -> Result:
        if self._may_record and self._warm and self._graph is None and not _off:
            self._may_record = self._record(program)
        if self._graph is None or _off:
            self._warm = True
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
                with torch.cuda.graph(graph):
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
    with torch.cuda.stream(aside):
        program()
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            program()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    here.wait_stream(aside)
