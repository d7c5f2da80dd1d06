"""The Parquet store of every row: what users and the analysis import."""

from pipeline.ledger.files import LedgerError
from pipeline.ledger.ledger import Ledger, TrialSize
from pipeline.ledger.sweep_row import SweepRow
from trainables.runtime.rows import Checkpoint, Snapshot, TrialRow

__all__ = ["Checkpoint", "Ledger", "LedgerError", "Snapshot", "SweepRow", "TrialRow", "TrialSize"]
