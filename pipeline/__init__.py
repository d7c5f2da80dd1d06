"""What users import: ``from pipeline import Arm, SweepSpec, run``."""

from typing import TYPE_CHECKING

from pipeline.lazy import lazy_names

if TYPE_CHECKING:
    from pipeline.ledger import Ledger
    from pipeline.spec import Arm, Objective, RunSettings, SweepSpec
    from pipeline.sweep import run

__all__ = ["Arm", "Ledger", "Objective", "RunSettings", "SweepSpec", "run"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Arm": "pipeline.spec",
        "Ledger": "pipeline.ledger",
        "Objective": "pipeline.spec",
        "RunSettings": "pipeline.spec",
        "SweepSpec": "pipeline.spec",
        "run": "pipeline.sweep",
    },
)
