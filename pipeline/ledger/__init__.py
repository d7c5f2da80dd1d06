"""The Parquet store of every row: what users and the analysis import."""

from pipeline.ledger.files import LedgerError
from pipeline.ledger.ledger import Ledger, LedgerMissingError, TrialSize
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
