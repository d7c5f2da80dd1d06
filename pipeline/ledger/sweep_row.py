"""What a ledger knows of a sweep."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """Which trials a sweep consists of, and what its space said, so that it is known without its file."""

    name: str
    doc: str
    axes_json: str
    trial_ids: tuple[str, ...]
    """In the order of the space."""
    coordinates_json: str
    """A JSON list with one object a trial, in the same order."""
    horizon_steps: int
    revision: str
    """Digest of the text of the space."""
    recorded_at: str
    """UTC, ISO 8601."""
