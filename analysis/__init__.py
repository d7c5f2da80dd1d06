"""Sweeps read from a ledger, from MLflow or from what the figures keep: ``open_sweep``, ``compare_sweeps``."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.comparing.sweeps import SweepComparison, compare_sweeps
    from analysis.data.sweep import Sweep, SweepError, Trial
    from analysis.results import SweepResult, open_sweep

_HOMES = {
    "Sweep": "analysis.data.sweep",
    "SweepComparison": "analysis.comparing.sweeps",
    "SweepError": "analysis.data.sweep",
    "SweepResult": "analysis.results",
    "Trial": "analysis.data.sweep",
    "compare_sweeps": "analysis.comparing.sweeps",
    "open_sweep": "analysis.results",
}

__all__ = ["Sweep", "SweepComparison", "SweepError", "SweepResult", "Trial", "compare_sweeps", "open_sweep"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
