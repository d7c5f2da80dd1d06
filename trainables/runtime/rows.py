"""The rows that a worker commits, and the store that takes them; plain data, shared by the rooms above."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np

from trainables.engine.errors import GrokscapeError


class TrialState(StrEnum):
    """How far a trial is in its life."""

    RUNNING = "running"
    """Committed, and not ended."""
    FINISHED = "finished"
    """At its horizon."""
    STOPPED = "stopped"
    """Ended early, for a :class:`trainables.engine.events.StopReason`."""
    FAILED = "failed"
    """Ended by an error."""


class ErrorKind(StrEnum):
    """What ended a cohort, as far as it decides what to try next."""

    OUT_OF_MEMORY = "out_of_memory"
    LOST_WORKER = "lost_worker"
    ERROR = "error"
    STALE = "stale"
    """The checkpoints are not what the plan saw: another process trains the trials too, or one was of no use."""
    STORAGE = "storage"
    """The store failed, not the training: no outcome of a trial, so that no row has it."""
    LACKING = "lacking"
    """The node lacks a data set or a module that the trials need: no outcome of a trial, so that no row has it."""


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """The life of one trial so far: where it stands, and where it came from; outcomes are derived, not stored."""

    trial_id: str
    config_json: str
    """Canonical JSON of the whole config, protocol included."""
    state: TrialState
    stop_reason: str | None = None
    """``success``, ``diverged`` or ``frozen`` where the state is ``stopped``."""
    last_step: int
    """The last committed measurement."""
    error: str | None = None
    error_kind: str | None = None
    traceback: str | None = None
    """Of the error, as Python prints it, without secrets and cut; older ledgers have none."""
    train_s: float = 0.0
    """Seconds of training so far, over all attempts that were committed."""
    device_kind: str
    data_fingerprint: str
    source_hash: str
    """Digest of the source of every component in the config."""
    provenance_json: str
    committed_at: str
    """UTC, ISO 8601."""

    @property
    def ended(self) -> bool:
        return self.state != TrialState.RUNNING


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What one trial needs to go on from ``step``, in any packing; its rows up to there that came with it included."""

    trial_id: str
    step: int
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The weights of one trial at one measurement, to be looked at later; it never changes."""

    trial_id: str
    step: int
    data: bytes
    """What :func:`numpy.savez` writes of the weights by name."""


class StoreError(GrokscapeError):
    """The store cannot be read or written, whatever becomes of the training."""


class TrialStore(Protocol):
    """Where a worker commits, and reads what it continues from; the pipeline's ledger is one.  Picklable."""

    def commit(
        self,
        trials: Sequence[TrialRow],
        trajectory: Mapping[str, Any],
        checkpoints: Sequence[Checkpoint] = (),
        snapshots: Sequence[Snapshot] = (),
    ) -> None:
        """Store the rows, the checkpoints and the snapshots; committing the same content again changes nothing.

        The rows become visible last, and all at once.

        :param trajectory: equally long columns: ``trial_id``, ``step`` and one for each probe; None is not measured.
        :param checkpoints: of trials that have a row here; they may be ahead of the rows.
        """

    def checkpoint(self, trial_id: str) -> Checkpoint | None:
        """The newest checkpoint of a trial, or None."""

    def discard(self, checkpoint: Checkpoint) -> None:
        """Delete a checkpoint that cannot be used."""

    def history(self, trial_id: str, columns: Sequence[str]) -> dict[str, np.ndarray]:
        """What a trial has measured so far: ``step`` (int64, ascending) and these probes as float64.

        They are NaN where not measured, and empty where the trial has no rows.
        """
