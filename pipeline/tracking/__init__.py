"""MLflow as a projection of the ledger: checks of a server, syncs, and a sync in the background."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.tracking.background import BackgroundSync
    from pipeline.tracking.client import TrackingError, check
    from pipeline.tracking.mirror import SyncReport, sync, sync_command

__all__ = ["BackgroundSync", "SyncReport", "TrackingError", "check", "sync", "sync_command"]

_PLACES = {
    "BackgroundSync": "pipeline.tracking.background",
    "TrackingError": "pipeline.tracking.client",
    "check": "pipeline.tracking.client",
    "SyncReport": "pipeline.tracking.mirror",
    "sync": "pipeline.tracking.mirror",
    "sync_command": "pipeline.tracking.mirror",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
