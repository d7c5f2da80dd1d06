"""The Parquet store of every row: what users and the analysis import."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.ledger.files import LedgerError
    from pipeline.ledger.ledger import Ledger, LedgerMissingError
    from pipeline.ledger.sizes import TrialSize
    from pipeline.ledger.sweep_row import SweepRow
    from trainables.runtime.archives import weights_of
    from trainables.runtime.rows import Checkpoint, Snapshot, TrialRow

__all__ = [
    "Checkpoint",
    "Ledger",
    "LedgerError",
    "LedgerMissingError",
    "Snapshot",
    "SweepRow",
    "TrialRow",
    "TrialSize",
    "weights_of",
]

_PLACES = {
    "LedgerError": "pipeline.ledger.files",
    "Ledger": "pipeline.ledger.ledger",
    "LedgerMissingError": "pipeline.ledger.ledger",
    "TrialSize": "pipeline.ledger.sizes",
    "SweepRow": "pipeline.ledger.sweep_row",
    "weights_of": "trainables.runtime.archives",
    "Checkpoint": "trainables.runtime.rows",
    "Snapshot": "trainables.runtime.rows",
    "TrialRow": "trainables.runtime.rows",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
