"""Watches a step for what a CUDA graph cannot hold."""

from torch.utils._python_dispatch import TorchDispatchMode


class HostReads(TorchDispatchMode):
    """Counts operations, and fails on those that bring a value to the host or make a shape depend on a value."""

    forbidden = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal.default", "item")

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        assert not any(word in name for word in self.forbidden), f"{name} waits for the device"
        self.operations.append(name)
        return func(*args, **(kwargs or {}))
