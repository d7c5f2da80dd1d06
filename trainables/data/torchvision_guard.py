"""The only import of torchvision: late, because it takes seconds, and robust to operators that do not load."""

import sys
from functools import lru_cache
from types import ModuleType

import torch


@lru_cache(maxsize=1)
def torchvision() -> ModuleType:
    """Import the package, with its submodules ``datasets``, ``models`` and ``transforms``, at the first call."""
    try:
        import torchvision
    except RuntimeError as error:
        # A torchvision built for another torch (CUDA beside a CPU wheel) does not load its compiled operators, and
        # its import fails at two of them.  Declaring these two lets the import pass; nothing calls them.
        if "torchvision::" not in str(error):
            raise
        for module in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[module]
        for operator in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
        import torchvision
    return torchvision
