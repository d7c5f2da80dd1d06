"""What a step asks of a device: dispatched operations, bytes read and written, operations of its matrix products."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

WITHOUT_A_KERNEL = (
    *("empty", "new_empty", "empty_like", "empty_strided", "_unsafe_view", "lift_fresh", "promote_types"),
    *("_local_scalar_dense", "_record_function_enter_new", "_record_function_exit"),
)
"""Operations that reserve memory, name it anew or touch none of a GPU's; views are known by their schema."""


@dataclass(frozen=True)
class Counts:
    """Of one step.  Each operation reads its arguments and writes its results once, as unfused kernels do."""

    operations: int
    bytes: int
    flops: int
    """Of matrix products: a multiplication and an addition for each pair of factors."""
    names: Counter[str]


class Counting(TorchDispatchMode):
    """Counts what is dispatched in its block."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = self._flops = 0
        self._names: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if not func.is_view and packet.__name__ not in WITHOUT_A_KERNEL:
            self._names[packet.__name__] += 1
            self._bytes += sum(map(_extent, tree_leaves((args, kwargs, result))))
            if packet in flop_registry:
                self._flops += flop_registry[packet](*args, **(kwargs or {}), out_val=result)
        return result

    def counts(self) -> Counts:
        """What was counted so far."""
        return Counts(self._names.total(), self._bytes, self._flops, self._names)


def counted(work: Callable[[], object]) -> Counts:
    """What a piece of work dispatches."""
    with Counting() as counting:
        work()
    return counting.counts()


def _extent(value: Any) -> int:
    """Bytes of a tensor; an expanded axis is read once."""
    if not isinstance(value, Tensor):
        return 0
    sizes = (size for size, stride in zip(value.shape, value.stride(), strict=True) if stride)
    return math.prod(sizes) * value.element_size() if value.numel() else 0
