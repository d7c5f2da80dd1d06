"""The lease of a driver: one small file in the ledger that says who it is and which trials it is training.

The driver renews the file; a lease that has not been renewed for :data:`STALE_S`, or whose process this machine knows
to be gone, counts for nothing, and others take its trials over.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from pipeline.ledger.files import Entry, FileGoneError, Files
from pipeline.ledger.layout import CANCEL, LEASES, is_ours
from trainables.engine.config import parse_json

RENEW_EVERY_S = 10.0
STALE_S = 60.0
"""Renewals may be late: a busy machine, a slow store."""


@dataclass(frozen=True, kw_only=True)
class RunProgress:
    """How far a driver's run is; the counts are of the whole sweep, as the driver knows it."""

    done: int = 0
    total: int = 0
    failed: int = 0
    steps_per_s: float = 0.0
    """Updates a second of this driver alone."""
    left_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Lease:
    """What one driver says of itself."""

    driver: str
    """A random name of 32 hexadecimal digits."""
    sweep: str
    host: str
    pid: int
    place: str
    """Equal for processes that see each other's ids: the boot of a machine and its namespace of processes."""
    started_at: str
    """UTC, ISO 8601."""
    trials: tuple[str, ...] = ()
    """Those that it trains, or will within seconds."""
    asks: tuple[str, ...] = ()
    """Those that it is about to take, see :meth:`pipeline.sharing.Leases.claim`."""
    ended: bool = False
    progress: RunProgress = field(default_factory=RunProgress)

    @property
    def path(self) -> str:
        """Where it lies, relative to the ledger's root."""
        return f"{LEASES}/{self.driver}.json"

    @property
    def cancel_path(self) -> str:
        """Where a request to cancel the driver lies."""
        return f"{LEASES}/{self.driver}.{CANCEL}"

    @property
    def gone(self) -> bool:
        """Whether the driver has ended, or this machine knows that its process does not exist."""
        if self.ended:
            return True
        if self.place != this_place():
            return False
        with suppress(PermissionError):  # somebody else's process
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return True
        return False

    def to_json(self) -> bytes:
        """The content of its file."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes, driver: str) -> "Lease":
        """Read a lease that somebody else may have written.

        :raises ValueError: when it is none of ``driver``.
        """
        record = parse_json(text)
        if not isinstance(record, dict) or record.keys() != {spec.name for spec in fields(cls)}:
            raise ValueError("not a lease")
        progress = record.pop("progress")
        if not isinstance(progress, dict) or progress.keys() != {spec.name for spec in fields(RunProgress)}:
            raise ValueError("progress is not that of a lease")
        left_s = progress["left_s"]
        counts = [progress["done"], progress["total"], progress["failed"], record["pid"]]
        if not all(type(count) is int and 0 <= count < 2**31 for count in counts) or not record["pid"]:
            raise ValueError("a count is out of range")
        if not all(_is_number(value) for value in (progress["steps_per_s"], 0 if left_s is None else left_s)):
            raise ValueError("a rate or a time is not a number")
        texts = [record[name] for name in ("sweep", "host", "place", "started_at")]
        for name in ("trials", "asks"):
            if not isinstance(record[name], list):
                raise ValueError(f"{name} is not a list")
            texts += record[name]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("a name is not a string")
        if record["driver"] != driver or type(record["ended"]) is not bool:
            raise ValueError("not of this driver")
        lists = {name: tuple(record[name]) for name in ("trials", "asks")}
        return cls(**record | lists, progress=RunProgress(**progress))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and value >= 0


def lease_files(files: Files) -> dict[str, Entry]:
    """The files of leases, by driver."""
    found = [entry for entry in files.entries(LEASES) if entry.name.endswith(".json") and is_ours(entry.path)]
    return {entry.name.removesuffix(".json"): entry for entry in found}


def read_leases(files: Files, found: dict[str, Entry], since_s: float) -> Iterator[Lease]:
    """Yield the leases that were written since then and can be read; a damaged one is nobody's.

    Hundreds of older ones may lie there, such as those of an array of short jobs.
    """
    for driver, entry in found.items():
        if entry.modified_s > since_s:
            with suppress(FileGoneError, ValueError):
                yield Lease.from_json(files.read(entry.path).to_pybytes(), driver)


def live_leases(files: Files) -> list[Lease]:
    """The leases of the drivers that are at work, by this machine's clock, in the order in which they started."""
    live = [lease for lease in read_leases(files, lease_files(files), time.time() - STALE_S) if not lease.gone]
    return sorted(live, key=lambda lease: (lease.started_at, lease.driver))


def this_place() -> str:
    """Name what processes have in common that see each other's ids."""
    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with suppress(OSError):
            if os.path.islink(path):
                parts.append(os.readlink(path))
            else:
                with open(path, encoding="ascii") as file:
                    parts.append(file.read().strip())
    return " ".join(parts)
