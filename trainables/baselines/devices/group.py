"""The processes that train one trial together, seen from one of them: whose rows are whose, and sums over all."""

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
PATIENCE = timedelta(minutes=5)
"""How long a process waits for one that is alive and says nothing; one that is gone is noticed at once."""

BUFFERS_ARE_EQUAL: dict[str, Any] = (
    {"forward_sync_buffers": False}
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    else {"broadcast_buffers": False}  # before torch 2.13
)
"""Every process computes the same: nothing is to be sent at each step."""
_CUT_SHORT: list[dist.ProcessGroup] = []
"""Groups that lost a process.  A thread of theirs may be waiting for Python's lock; were they freed with what holds
them in C++ (DistributedDataParallel), that would wait for the thread with the lock in its hands."""


@dataclass
class Group:
    """The processes of one trial; of a single one, nothing here does anything."""

    rank: int = 0
    """0 leads."""
    size: int = 1
    rows: tuple[int, ...] = field(default=(), init=False)
    """How many rows each process has in the present pass."""

    @property
    def counts(self) -> bool:
        """Whether this process has rows of its own in the present pass."""
        return self.rows[self.rank] > 0

    def share(self, low: int, high: int) -> tuple[int, int]:
        """This process's part of the rows ``[low, high)`` of the next pass.

        One that gets none goes along with the first row, which counts for nothing (see :attr:`counts`), since every
        process must take part in every sum.
        """
        edges = [low + (high - low) * rank // self.size for rank in range(self.size + 1)]
        self.rows = tuple(edges[rank + 1] - edges[rank] for rank in range(self.size))
        return (edges[self.rank], edges[self.rank + 1]) if self.counts else (low, low + 1)

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def open(self) -> dist.TCPStore:
        """Where the others find the leader: on this machine, at a port of the system's choice."""
        return dist.TCPStore(HOST, 0, self.size, is_master=True, timeout=PATIENCE, wait_for_workers=False)

    def join(self, device: torch.device, store: dist.TCPStore | int) -> None:
        """Meet the others; the leader brings the store, they its port."""
        if isinstance(store, int):
            store = dist.TCPStore(HOST, store, self.size, timeout=PATIENCE)
        dist.init_process_group(
            BACKENDS[device.type], store=store, rank=self.rank, world_size=self.size, timeout=PATIENCE
        )

    def leave(self, *, at_once: bool) -> None:
        """Undo :meth:`join`.

        :param at_once: others may be gone: do not wait for what was begun with them.
        """
        joined = world()
        if joined is not None:
            if at_once:
                _CUT_SHORT.append(joined)
                if dist.get_backend() == "nccl":
                    joined.abort()
            dist.destroy_process_group()

    def distributed(self, network: nn.Module, device: torch.device) -> DistributedDataParallel:
        """The network whose gradients become the mean over the processes.

        Its weights and buffers become the leader's.
        """
        places = [device.index or 0] if device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=places, **BUFFERS_ARE_EQUAL)


def world() -> dist.ProcessGroup | None:
    """What :meth:`Group.join` has made; None before, and after :meth:`Group.leave`."""
    return dist.group.WORLD if dist.is_initialized() else None


@contextmanager
def gradients_stay(network: nn.Module | None, stay: bool) -> Iterator[None]:
    """Inside, gradients are summed up in this process alone where there is more of the batch to come."""
    if stay and isinstance(network, DistributedDataParallel):
        with network.no_sync():
            yield
    else:
        yield
