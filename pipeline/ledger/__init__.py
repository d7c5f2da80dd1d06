"""The Parquet store of every row: what users and the analysis import."""

from typing import TYPE_CHECKING

from pipeline.lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "LedgerError": "pipeline.ledger.files",
        "Ledger": "pipeline.ledger.ledger",
        "LedgerMissingError": "pipeline.ledger.ledger",
        "TrialSize": "pipeline.ledger.sizes",
        "SweepRow": "pipeline.ledger.sweep_row",
        "weights_of": "trainables.runtime.archives",
        "Checkpoint": "trainables.runtime.rows",
        "Snapshot": "trainables.runtime.rows",
        "TrialRow": "trainables.runtime.rows",
    },
)
