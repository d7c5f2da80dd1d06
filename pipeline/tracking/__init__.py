"""MLflow as a projection of the ledger: checks of a server, syncs, and a sync in the background."""

from typing import TYPE_CHECKING

from pipeline.lazy import lazy_names

if TYPE_CHECKING:
    from pipeline.tracking.background import BackgroundSync
    from pipeline.tracking.client import TrackingError, check
    from pipeline.tracking.mirror import SyncReport, sync, sync_command

__all__ = ["BackgroundSync", "SyncReport", "TrackingError", "check", "sync", "sync_command"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "BackgroundSync": "pipeline.tracking.background",
        "TrackingError": "pipeline.tracking.client",
        "check": "pipeline.tracking.client",
        "SyncReport": "pipeline.tracking.mirror",
        "sync": "pipeline.tracking.mirror",
        "sync_command": "pipeline.tracking.mirror",
    },
)
