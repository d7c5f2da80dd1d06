"""What a run of a cohort says of itself: where its rows come from, where its members stand, what went wrong.

Free of torch, so that the driver of a sweep need not load it.
"""

import os
import sysconfig
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainables.engine.errors import LostProcessError, is_out_of_memory, one_line, redact_text
from trainables.engine.trial import TrialConfig
from trainables.runtime.rows import ErrorKind, StoreError, TrialState

ROOT = Path(__file__).parents[2]
HOUSE = (*(f"{ROOT / room}{os.sep}" for room in ("pipeline", "trainables", "analysis")), sysconfig.get_path("stdlib"))
"""Where code lies that is nobody's own; installed packages too."""


LONGEST_TRACEBACK = 12_000
"""Characters of a traceback that a trial's row keeps."""


class StaleCheckpointError(RuntimeError):
    """The checkpoints are not what the plan was made for; plan again."""


class CohortError(Exception):
    """What went wrong with a cohort: an :class:`ErrorKind` and one line.  Picklable."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message
        self.traceback = ""
        """Of the exception, for the trial's row."""
        self.node = ""
        """Ray's id of the node that lacks something."""

    def __str__(self) -> str:
        return self.message

    @classmethod
    def of(cls, error: BaseException) -> "CohortError":
        """The kind and the line of an exception of the training, or of the store."""
        if isinstance(error, StoreError):
            return cls(ErrorKind.STORAGE, str(error))
        if isinstance(error, StaleCheckpointError):
            return cls(ErrorKind.STALE, str(error))
        name, text = type(error).__name__, one_line(error, 1000)
        message = (name if text == name else f"{name}: {text}") + own_place(error)
        if isinstance(error, LostProcessError):
            kind = ErrorKind.LOST_WORKER
        else:
            kind = ErrorKind.OUT_OF_MEMORY if is_out_of_memory(error) else ErrorKind.ERROR
        known = cls(kind, message)
        known.traceback = _traceback(error)
        return known


def _traceback(error: BaseException) -> str:
    """The traceback as Python prints it, without secrets; of a long one the middle is left out."""
    text = redact_text("".join(traceback.format_exception(error)))
    if len(text) <= LONGEST_TRACEBACK:
        return text
    half = LONGEST_TRACEBACK // 2
    return f"{text[:half]}\n  [... {len(text) - 2 * half:,} characters ...]\n{text[-half:]}"


def own_place(error: BaseException | None) -> str:
    """`` (mylosses.py:12, in per_example)``: the innermost line of the user's own that an error came through."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__ if error else None)
        if not frame.filename.startswith((*HOUSE, "<")) and "site-packages" not in frame.filename
    ]
    if not frames:
        return ""
    folder, file = os.path.split(frames[-1].filename)
    where = "a notebook's cell" if os.path.basename(folder).startswith("ipykernel_") else file
    return f" ({where}:{frames[-1].lineno}, in {frames[-1].name})"


@dataclass(frozen=True)
class Origin:
    """Where a trial's rows come from, as text for its row."""

    device_kind: str
    source_hash: str
    provenance_json: str


Provenance = Callable[[TrialConfig, str], Origin]
"""``provenance(trial, device)``, called in the process that trains.  Picklable."""


@dataclass(frozen=True)
class MemberStatus:
    """Where one member stands, for a live view."""

    trial_id: str
    step: int
    state: TrialState
    """As committed: a member that has ended is ``running`` until its last rows are safe."""
    stop_reason: str | None
    phase: str
    """The phase by the events so far; empty where the trial declares none."""
    notes: tuple[str, ...] = ()
    """What happened to its cohort since the last status, a line each."""
