"""What users import: ``from pipeline import Arm, SweepSpec``."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.ledger import Ledger
    from pipeline.spec import Arm, Objective, RunSettings, SweepSpec

_HOME = {
    "Arm": "pipeline.spec",
    "Ledger": "pipeline.ledger",
    "Objective": "pipeline.spec",
    "RunSettings": "pipeline.spec",
    "SweepSpec": "pipeline.spec",
}

__all__ = ["Arm", "Ledger", "Objective", "RunSettings", "SweepSpec"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
