"""What users import: ``from pipeline import Arm, SweepSpec``."""

from typing import TYPE_CHECKING

from pipeline.lazy import lazy_names

if TYPE_CHECKING:
    from pipeline.ledger import Ledger
    from pipeline.spec import Arm, Objective, RunSettings, SweepSpec

__all__ = ["Arm", "Ledger", "Objective", "RunSettings", "SweepSpec"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Arm": "pipeline.spec",
        "Ledger": "pipeline.ledger",
        "Objective": "pipeline.spec",
        "RunSettings": "pipeline.spec",
        "SweepSpec": "pipeline.spec",
    },
)
