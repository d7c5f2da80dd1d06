"""The processes that train one trial together, as one of them sees them: its share of the rows, and sums over all."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

HOST = "127.0.0.1"
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
TIMEOUT = timedelta(minutes=5)
"""How long a process waits for one that is alive but silent; one that has ended is noticed at once."""

NO_BUFFER_SYNC: dict[str, Any] = (
    {"forward_sync_buffers": False}
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    else {"broadcast_buffers": False}  # before torch 2.13
)
"""Do not synchronise buffers at each step: every process computes the same ones."""
_ABORTED: list[dist.ProcessGroup] = []
"""Groups that lost a process, kept alive on purpose.  One of their threads may be waiting for Python's lock; the
destructor (run by DistributedDataParallel in C++) would wait for that thread while holding the lock: a deadlock."""


@dataclass
class Group:
    """The processes of one trial; with a single process, every method is a no-op."""

    rank: int = 0
    """The index of this process; 0 leads."""
    size: int = 1
    rows: tuple[int, ...] = field(default=(), init=False)
    """How many rows each process has in the current pass."""

    @property
    def has_rows(self) -> bool:
        """Whether this process has rows of its own in the current pass."""
        return self.rows[self.rank] > 0

    def share(self, low: int, high: int) -> tuple[int, int]:
        """Return this process's part of the rows ``[low, high)`` of the next pass.

        Every process must take part in every sum.  One without rows therefore gets the first row as a placeholder,
        which has no weight (see :attr:`has_rows`).
        """
        edges = [low + (high - low) * rank // self.size for rank in range(self.size + 1)]
        self.rows = tuple(edges[rank + 1] - edges[rank] for rank in range(self.size))
        return (edges[self.rank], edges[self.rank + 1]) if self.has_rows else (low, low + 1)

    def total(self, values: Tensor) -> Tensor:
        """Sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def open(self) -> dist.TCPStore:
        """Open the store at which the others meet the leader, on a free port of this machine."""
        return dist.TCPStore(HOST, 0, self.size, is_master=True, timeout=TIMEOUT, wait_for_workers=False)

    def join(self, device: torch.device, store: dist.TCPStore | int) -> None:
        """Join the process group.

        :param store: the open store for the leader, its port for the others.
        """
        if isinstance(store, int):
            store = dist.TCPStore(HOST, store, self.size, timeout=TIMEOUT)
        dist.init_process_group(
            BACKENDS[device.type], store=store, rank=self.rank, world_size=self.size, timeout=TIMEOUT
        )

    def leave(self, *, at_once: bool) -> None:
        """Undo :meth:`join`.

        :param at_once: abort pending communication instead of waiting for it, because a process may be gone.
        """
        joined = world()
        if joined is not None:
            if at_once:
                _ABORTED.append(joined)
                if dist.get_backend() == "nccl":
                    joined.abort()
            dist.destroy_process_group()

    def distributed(self, network: nn.Module, device: torch.device) -> DistributedDataParallel:
        """Wrap the network so that gradients are averaged over the processes.

        Copies the leader's weights and buffers to every process.
        """
        device_ids = [device.index or 0] if device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=device_ids, **NO_BUFFER_SYNC)


def world() -> dist.ProcessGroup | None:
    """Return the process group made by :meth:`Group.join`; None before it and after :meth:`Group.leave`."""
    return dist.group.WORLD if dist.is_initialized() else None


@contextmanager
def no_gradient_sync(network: nn.Module | None, *, enabled: bool) -> Iterator[None]:
    """Accumulate gradients in this process only, if ``enabled``: for all parts of a batch but the last."""
    if enabled and isinstance(network, DistributedDataParallel):
        with network.no_sync():
            yield
    else:
        yield
