"""Watches a step for what a CUDA graph cannot hold, and a measurement for how often it waits for the device."""

import torch
from torch.overrides import TorchFunctionMode
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


class HostWrites(TorchFunctionMode):
    """Fails on what copies numbers from the host to the device, which waits for it: constants belong there before."""

    copying = (torch.tensor, torch.as_tensor, torch.from_numpy, torch.Tensor.new_tensor)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        assert func not in self.copying, f"{func.__name__} copies from the host"
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            assert not any(isinstance(part, list) for part in index), "a list as index copies from the host"
        return func(*args, **(kwargs or {}))
