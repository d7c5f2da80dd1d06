"""The one place that imports torchvision: late, because it takes seconds, and also where its operators do not load."""

import sys
from functools import lru_cache
from types import ModuleType

import torch


@lru_cache(maxsize=1)
def torchvision() -> ModuleType:
    """The package, with its submodules ``datasets``, ``models`` and ``transforms``; imported at the first call."""
    try:
        import torchvision
    except RuntimeError as error:
        # A torchvision built for another kind of torch (CUDA beside a CPU wheel) does not load its compiled
        # operators, and its import then stumbles over two of them.  Declared, they let it pass; nothing calls them.
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
