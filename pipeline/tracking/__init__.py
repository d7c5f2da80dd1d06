"""MLflow as a projection of the ledger: checks of a server, syncs, and a sync in the background."""

from pipeline.tracking.background import BackgroundSync
from pipeline.tracking.client import TrackingError, check
from pipeline.tracking.mirror import SyncReport, sync, sync_command

__all__ = ["BackgroundSync", "SyncReport", "TrackingError", "check", "sync", "sync_command"]
