"""A CUDA graph on a CPU: a tape of operations that repeats them on the same tensors, knowing nothing of Python."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only


class Tape(TorchDispatchMode):
    """Records the operations of its block with their very tensors."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default, "the program reads a value back to the host"
        # Names of the same memory that keep their shapes: quantile transposes its result in place.
        read = tree_map_only(torch.Tensor, torch.Tensor.detach, (args, kwargs or {}))
        result = func(*args, **(kwargs or {}))
        if torch.Tag.inplace_view not in func.tags:
            self.operations.append((func, *read, tree_map_only(torch.Tensor, torch.Tensor.detach, result)))
        return result

    def repeat(self):
        """Run the operations again, over the results of before."""
        with torch.no_grad():
            for func, args, kwargs, result in self.operations:
                for old, new in zip(tree_leaves(result), tree_leaves(func(*args, **kwargs)), strict=True):
                    # A view, or what was written in place, is there already.
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


class TapeReplay:
    """As :class:`trainables.engine.replay.Replay` on a GPU, but that recording runs the program."""

    replays = 0

    def __init__(self, device, *, repeatable=True, after=0, memory=None):
        assert repeatable or after, "the first call loads the kernels"
        self._tape, self._left = None, after
        self.recorded = None

    @classmethod
    def __class_getitem__(cls, result):
        return cls

    def __call__(self, program):
        if self._left:
            self._left -= 1
            return program()
        if self._tape is None:
            with Tape() as self._tape:
                self.recorded = program()
        else:
            self._tape.repeat()
            TapeReplay.replays += 1
        return self.recorded
