"""The catalogue of a ledger's files: which are live, and which rows each holds.

Every file with rows is immutable and valid by itself: the *segments* that workers commit, and the *compacted* files
that a compaction rewrites many segments into.  A *manifest*, immutable too, names the compacted files of one rewrite
and the files that they supersede.  A file is live unless a manifest supersedes it.

Each rewrite adds a manifest instead of swapping a shared one, because a local folder, a network folder and an object
store have no lock or compare-and-swap in common.  So two processes may compact at once and either may die at any
point: a rewrite without its manifest, or two rewrites of the same segments, leave copies, which readers merge anyway,
and a file is deleted only after a durable manifest supersedes it.  Nothing is lost; at worst some rows are stored
twice until the next rewrite.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.ledger.files import Entry, FileGoneError, Files, LedgerError, open_files
from pipeline.ledger.rows import (
    SCHEMA_VERSION,
    Conflict,
    Merged,
    PlacedRow,
    check_name,
    check_version,
    count_trials,
    latest_by_protocol,
    latest_rows,
    merge_rows,
    placed_rows,
    read_trajectory,
    read_trial_rows,
)
from trainables.engine.errors import one_line

MARKER = "grokscape-ledger.json"
FORMAT = "grokscape-ledger"
SEGMENTS, COMPACTED, MANIFESTS = "segments", "compacted", "manifests"
SWEEPS, CHECKPOINTS, SNAPSHOTS = "sweeps", "checkpoints", "snapshots"
_SUFFIXES = {CHECKPOINTS: "ckpt", SNAPSHOTS: "npz"}
_ATTEMPTS = 40
_PAUSE_S = 0.05

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Manifest:
    """One rewrite: the files that it wrote or kept, those that it supersedes, and the conflicts that it met."""

    files: tuple[str, ...]
    supersedes: tuple[str, ...]
    conflicts: tuple[Conflict, ...]

    def to_json(self) -> bytes:
        return json.dumps({"schema_version": SCHEMA_VERSION} | asdict(self), indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Manifest":
        """Parse a manifest.

        :raises ValueError, KeyError, TypeError: when the text is not one.
        """
        value = json.loads(text)
        if value["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"has schema version {value['schema_version']}; must be {SCHEMA_VERSION}")
        conflicts = tuple(
            Conflict(item["trial_id"], item["rows"], item["first_step"], tuple(item["columns"]))
            for item in value["conflicts"]
        )
        return cls(tuple(value["files"]), tuple(value["supersedes"]), conflicts)


@dataclass(frozen=True)
class Listing:
    """The files of a ledger at one moment."""

    segments: tuple[Entry, ...]
    trajectories: tuple[Entry, ...]
    trials: tuple[Entry, ...]
    manifests: dict[str, Manifest]
    """The live ones, by path."""
    superseded: frozenset[str]
    """Paths that a manifest supersedes, whether the file still exists or not."""
    leftover: tuple[Entry, ...]
    """Superseded files that still exist."""
    temporary: tuple[Entry, ...]
    unknown: tuple[Entry, ...]
    """Files in one of the ledger's folders that the ledger did not write."""
    missing: tuple[str, ...]
    """Files that a manifest names and that do not exist."""

    @property
    def data(self) -> tuple[Entry, ...]:
        """The files that hold trajectory rows."""
        return self.segments + self.trajectories

    @property
    def with_rows(self) -> tuple[Entry, ...]:
        """The files that hold trajectory rows or trial rows."""
        return self.data + self.trials

    @property
    def file_count(self) -> int:
        """How many files the rows take: those that hold some, the manifests, and superseded ones."""
        return len(self.with_rows) + len(self.manifests) + len(self.leftover)


class DamagedFileError(LedgerError):
    """A file of the ledger cannot be read as what its name says."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"ledger: {where} is damaged or not a ledger file: {reason}")
        self.reason = reason


class Catalogue:
    """The files of one ledger, read consistently while other processes write."""

    def __init__(self, uri: str) -> None:
        self.files: Files = open_files(uri)
        # These files are immutable, so what was read once stays true.
        self._manifests: dict[str, Manifest] = {}
        self._rows: dict[str, tuple[PlacedRow, ...]] = {}

    def check_marker(self) -> bool:
        """Return whether the ledger's marker exists.

        :raises LedgerError: when it is not a marker that this version reads.
        """
        try:
            text = self.files.read(MARKER).to_pybytes()
        except FileGoneError:
            return False
        try:
            marker = json.loads(text)
            format_name, version = marker["format"], int(marker["schema_version"])
        except (ValueError, KeyError, TypeError):
            raise LedgerError(f"ledger: {self.files.shown}/{MARKER} is not a ledger marker") from None
        if format_name != FORMAT:
            raise LedgerError(f"ledger: {self.files.shown}/{MARKER}: format = {format_name!r}; allowed: {FORMAT}")
        if version != SCHEMA_VERSION:
            age = "a newer" if version > SCHEMA_VERSION else "an older"
            raise LedgerError(
                f"ledger: {self.files.shown} was written by {age} version of grokscape (schema {version}); this one "
                f"reads schema {SCHEMA_VERSION} only"
            )
        return True

    def create_marker(self) -> None:
        """Mark the root as a ledger."""
        marker = {"format": FORMAT, "schema_version": SCHEMA_VERSION}
        self.files.put(MARKER, json.dumps(marker).encode())

    def superseded(self) -> frozenset[str]:
        """List the paths that the manifests supersede now."""
        return self.retry(lambda: _superseded(self._read_manifests(self.files.entries(MANIFESTS)).values()))

    def listing(self, *, require_all: bool = True) -> Listing:
        """List the files now.

        Segments are listed between two listings of the manifests that must agree: if a rewrite has deleted a segment
        by then, its manifest was durable before and is in both.

        :param require_all: raise when a file that a manifest names does not exist; else it is in ``missing``.
        """
        for attempt in range(_ATTEMPTS):
            before = self.files.entries(MANIFESTS)
            segments, compacted = self.files.entries(SEGMENTS), self.files.entries(COMPACTED)
            after = self.files.entries(MANIFESTS)
            if [entry.path for entry in before] != [entry.path for entry in after]:
                continue
            try:
                manifests = self._read_manifests(after)
            except FileGoneError:
                continue
            listing = _listing(segments, compacted, after, manifests)
            if not listing.missing:
                return listing
            if attempt >= 5:
                break
            time.sleep(_PAUSE_S)
        else:
            raise self._contended()
        if require_all:
            missing = listing.missing[0]
            manifest = next(path for path, manifest in listing.manifests.items() if missing in manifest.files)
            raise LedgerError(
                f"ledger: {self.files.shown}/{missing} is missing, though {manifest} names it; restore it from a copy, "
                "or delete that manifest and then drop the sweeps that verify reports as incomplete"
            )
        return listing

    def retry_on_rewrite(self, job: Callable[[Listing], _Result]) -> _Result:
        """Return ``job(listing)``; list again and retry when a rewrite deletes a file that the job reads."""
        return self.retry(lambda: job(self.listing()))

    def retry(self, job: Callable[[], _Result], attempts: int = _ATTEMPTS) -> _Result:
        """Return ``job()``; retry when a rewrite deletes a file that the job reads.

        :raises LedgerError: when other rewrites overtake every attempt.
        """
        for _ in range(attempts):
            with suppress(FileGoneError):
                return job()
        raise self._contended()

    def latest_rows(self, listing: Listing) -> dict[str, PlacedRow]:
        """Return the current row of each trial.

        :raises FileGoneError: when a file was deleted after the listing.
        """
        return latest_rows(self._all_rows(listing))

    def latest_by_protocol(self, listing: Listing) -> list[PlacedRow]:
        """Return the furthest row of each trial for each protocol; the protocol decides which steps are measured.

        :raises FileGoneError: when a file was deleted after the listing.
        """
        return latest_by_protocol(self._all_rows(listing))

    def _all_rows(self, listing: Listing) -> list[PlacedRow]:
        entries = listing.segments + listing.trials
        known = self._rows
        unread = [entry for entry in entries if entry.path not in known]
        contents = self.files.map(self.rows_of, unread)
        read = dict(zip((entry.path for entry in unread), contents, strict=True))
        rows = {entry.path: known[entry.path] if entry.path in known else read[entry.path] for entry in entries}
        self._rows = rows
        return [row for placed in rows.values() for row in placed]

    def rows_of(self, entry: Entry) -> tuple[PlacedRow, ...]:
        """Read the trial rows in one segment or one compacted file of trials."""

        def read() -> tuple[PlacedRow, ...]:
            content = self.files.read(entry.path)
            metadata = pq.read_metadata(pa.BufferReader(content)).metadata
            check_version(metadata)
            if entry.path.startswith(SEGMENTS):
                return tuple(PlacedRow(row, segment_of(entry)) for row in read_trial_rows(metadata))
            file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
            return tuple(placed_rows(file.read()))

        return self._reading(entry, read)

    def read(
        self,
        listing: Listing,
        trial_ids: Collection[str] | None = None,
        columns: Sequence[str] | None = None,
        *,
        entries: Sequence[Entry] | None = None,
    ) -> Merged:
        """Read and merge the trajectory rows of some trials (default: all) in some files (default: all).

        :raises FileGoneError: when a file was deleted after the listing.
        """
        entries = listing.data if entries is None else entries
        if trial_ids is not None:
            trial_ids = frozenset(trial_ids)
            self._all_rows(listing)  # tells which trials a segment holds, without opening it again
            entries = [entry for entry in entries if self._may_hold(entry, trial_ids)]
        tables = self.files.map(lambda entry: self.table_of(entry, columns, trial_ids), entries)
        return merge_rows(tables, trial_ids)

    def table_of(
        self, entry: Entry, columns: Sequence[str] | None = None, trial_ids: Collection[str] | None = None
    ) -> pa.Table:
        """Read the trajectory rows of one file, with the key of the segment that each came with."""

        def read() -> pa.Table:
            if entry.path.startswith(SEGMENTS):
                return read_trajectory(self.files.read(entry.path), segment_of(entry), columns, trial_ids)
            return read_trajectory(self.files.open(entry.path), None, columns, trial_ids)

        return self._reading(entry, read)

    def counts(self, listing: Listing) -> dict[str, Counter[str]]:
        """Count the trajectory rows of each trial in each file, by path."""
        counts = self.files.map(lambda entry: count_trials(self.table_of(entry, ())), listing.data)
        return dict(zip((entry.path for entry in listing.data), counts, strict=True))

    def _may_hold(self, entry: Entry, trial_ids: frozenset[str]) -> bool:
        rows = self._rows.get(entry.path)
        return rows is None or any(placed.row.trial_id in trial_ids for placed in rows)

    def _reading(self, entry: Entry, read: Callable[[], _Result]) -> _Result:
        """Return ``read()``; raise a DamagedFileError, or a FileGoneError when the file was deleted meanwhile."""
        try:
            return read()
        except FileGoneError:
            raise
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError, LedgerError) as error:
            if not self.files.exists(entry.path):
                raise self.files.gone(entry.path) from None
            if isinstance(error, LedgerError):
                raise
            raise DamagedFileError(f"{self.files.shown}/{entry.path}", one_line(error)) from None

    def _read_manifests(self, entries: Sequence[Entry]) -> dict[str, Manifest]:
        """Read the manifests, by path.

        :raises FileGoneError: when one was deleted meanwhile.
        """
        manifests: dict[str, Manifest] = {}
        for entry in entries:
            if entry.temporary or not entry.path.endswith(".json"):
                continue
            manifest = self._manifests.get(entry.path)
            if manifest is None:
                try:
                    manifest = Manifest.from_json(self.files.read(entry.path).to_pybytes())
                except (ValueError, KeyError, TypeError) as error:
                    raise DamagedFileError(f"{self.files.shown}/{entry.path}", one_line(error)) from None
            manifests[entry.path] = manifest
        self._manifests = manifests
        return manifests

    def _contended(self) -> LedgerError:
        return LedgerError(f"ledger: other processes keep rewriting {self.files.shown}; try again later")


def segment_of(entry: Entry) -> str:
    """Return the key of a segment from its file's name."""
    return entry.name.removesuffix(".parquet")


def trial_path(folder: str, trial_id: str, step: int) -> str:
    """Return the path of a checkpoint or a snapshot."""
    # Two letters of the id name a folder, so that no folder gets long; the step is in the name, so that an older
    # checkpoint from a zombie is another file and never replaces a newer one.
    check_name("trial_id", trial_id)
    return f"{folder}/{trial_id[:2]}/{trial_id}.{step}.{_SUFFIXES[folder]}"


def trial_and_step(entry: Entry) -> tuple[str, int]:
    """Return the trial and the step in the name of a checkpoint or a snapshot; ("", -1) for any other file."""
    parts, suffix = entry.name.rsplit(".", 2), _SUFFIXES[entry.path.partition("/")[0]]
    matches = len(parts) == 3 and parts[1].isdecimal() and parts[2] == suffix and not entry.temporary
    return (parts[0], int(parts[1])) if matches else ("", -1)


def _superseded(manifests: Iterable[Manifest]) -> frozenset[str]:
    return frozenset(path for manifest in manifests for path in manifest.supersedes)


def _listing(
    segments: Sequence[Entry],
    compacted: Sequence[Entry],
    manifest_entries: Sequence[Entry],
    manifests: dict[str, Manifest],
) -> Listing:
    superseded = _superseded(manifests.values())
    live_manifests = {path: manifest for path, manifest in manifests.items() if path not in superseded}
    files = [*segments, *compacted, *manifest_entries]
    parquet = [entry for entry in [*segments, *compacted] if not entry.temporary and entry.name.endswith(".parquet")]
    live = [entry for entry in parquet if entry.path not in superseded]
    existing = {entry.path for entry in parquet}
    named = {path for manifest in live_manifests.values() for path in manifest.files}
    known = existing | set(manifests)
    return Listing(
        segments=tuple(entry for entry in live if entry.path.startswith(f"{SEGMENTS}/")),
        trajectories=tuple(entry for entry in live if entry.path.startswith(f"{COMPACTED}/trajectories-")),
        trials=tuple(entry for entry in live if entry.path.startswith(f"{COMPACTED}/trials-")),
        manifests=live_manifests,
        superseded=superseded,
        leftover=tuple(entry for entry in [*parquet, *manifest_entries] if entry.path in superseded),
        temporary=tuple(entry for entry in files if entry.temporary),
        unknown=tuple(entry for entry in files if not entry.temporary and entry.path not in known),
        missing=tuple(sorted(named - existing - superseded)),
    )
