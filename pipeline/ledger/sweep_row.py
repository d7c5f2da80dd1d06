"""A sweep as a ledger stores it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """The trials of a sweep and what its space says, so that a reader needs no space file."""

    name: str
    doc: str
    axes_json: str
    trial_ids: tuple[str, ...]
    """In the order of the space."""
    coordinates_json: str
    """A JSON list with one object a trial, in the same order."""
    horizon_steps: int
    revision: str
    """A digest of the space's text."""
    recorded_at: str
    """UTC, ISO 8601."""
