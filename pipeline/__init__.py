"""What users import: ``from pipeline import Arm, SweepSpec``."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.ledger import Ledger
    from pipeline.spec import Arm, Objective, RunSettings, SweepSpec

__all__ = ["Arm", "Ledger", "Objective", "RunSettings", "SweepSpec"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("pipeline.ledger" if name == "Ledger" else "pipeline.spec"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
