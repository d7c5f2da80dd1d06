"""Sweeps read from a ledger, from MLflow or from what the figures keep: ``from analysis import open_sweep``."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.data.source import open_sweep
    from analysis.data.sweep import Sweep, SweepError, Trial

_HOMES = {
    "Sweep": "analysis.data.sweep",
    "SweepError": "analysis.data.sweep",
    "Trial": "analysis.data.sweep",
    "open_sweep": "analysis.data.source",
}

__all__ = ["Sweep", "SweepError", "Trial", "open_sweep"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
