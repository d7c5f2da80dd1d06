"""Watches a step for what a CUDA graph cannot hold, and a measurement for how often it waits for the device."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class HostReads(TorchDispatchMode):
    """Records operations, and fails on those that bring a value to the host or make a shape depend on a value.

    On the device "meta", which has no values, a branch on one cannot hide.  There a transfer to the host is recorded
    instead, and brings zeros.
    """

    forbidden = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal.default", "item")

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []
        self.transfers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        assert not any(word in name for word in self.forbidden), f"{name} waits for the device"
        self.operations.append(name)
        if "_to_copy" in name and args[0].is_meta and (kwargs or {}).get("device") == torch.device("cpu"):
            self.transfers += 1
            return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        return func(*args, **(kwargs or {}))
