"""Subnormal numbers: treat them as zero where that cannot change the science, since some CPUs are slow with them.

Decayed weights make most products of a forward and a backward pass subnormal (below 1.2e-38 in float32), and an Intel
core takes up to ten times as long for such a step.  An optimizer keeps them: with eps = 1e-30 the square of a gradient
near 1e-20, itself subnormal, decides the size of a step.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def subnormals_flushed(device: torch.device) -> Iterator[None]:
    """Read and write subnormal float32 and float64 numbers as zero in this thread, and not after it.

    Half precision keeps its subnormals: its range is narrow, and CPUs compute with it in float32.  A GPU is as fast
    with subnormals as without, so there nothing changes.
    """
    flushed = device.type == "cpu" and torch.set_flush_denormal(True)
    try:
        yield
    finally:
        if flushed:
            torch.set_flush_denormal(False)


def handling(device: torch.device) -> str:
    """Say for a record what :func:`subnormals_flushed` does on this machine: ``flushed`` or ``kept``."""
    with subnormals_flushed(device):
        smallest = torch.tensor(torch.finfo(torch.float32).smallest_normal, device=device)
        return "flushed" if float(smallest / 2 * 2) == 0 else "kept"
