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
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.ledger.files import Entry, FileGoneError, Files, LedgerError, StorageError, open_files
from pipeline.ledger.layout import COMPACTED, MANIFESTS, MARKER, SEGMENTS, is_ours, segment_of
from pipeline.ledger.rows import (
    Merged,
    PlacedRow,
    check_version,
    count_trials,
    latest_by_protocol,
    latest_rows,
    merge_rows,
    probe_columns,
    read_trajectory,
    read_trial_rows,
)
from pipeline.ledger.soundness import SCHEMA_VERSION, Conflict, UnsoundError, conflict, trial_row
from trainables.engine.config import parse_json
from trainables.engine.errors import one_line
from trainables.runtime.rows import StoreError

FORMAT = "grokscape-ledger"
REWRITTEN = (SEGMENTS, COMPACTED, MANIFESTS)
"""The folders whose files a rewrite reads and supersedes."""
_ATTEMPTS = 40
_PAUSE_S = 0.05

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Manifest:
    """One rewrite: the files that it wrote or kept, those that it supersedes, and the conflicts that it met."""

    files: tuple[str, ...]
    supersedes: tuple[str, ...]
    conflicts: tuple[Conflict, ...]
    digests: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each of ``files``, by path; older manifests have none."""

    def to_json(self) -> bytes:
        return json.dumps({"schema_version": SCHEMA_VERSION} | asdict(self), indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Manifest":
        """Parse a manifest.

        :raises ValueError, KeyError, TypeError, AttributeError: when the text is not one.
        """
        value = parse_json(text)
        if value["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"has schema version {value['schema_version']}; must be {SCHEMA_VERSION}")
        for path in [*value["files"], *value["supersedes"]]:
            if not is_ours(path) or path.partition("/")[0] not in REWRITTEN:
                raise ValueError(f"names {path!r}, which is no file of rows")
        conflicts = tuple(map(conflict, value["conflicts"]))
        return cls(tuple(value["files"]), tuple(value["supersedes"]), conflicts, dict(value.get("digests", {})))


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
    missing: tuple[str, ...]
    """Files that a manifest names and that do not exist."""
    damaged: dict[str, str]
    """Manifests that cannot be read, by path: why not."""

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


@dataclass(frozen=True)
class FileRows:
    """The trial rows of one file, and what is wrong with those that are left out."""

    rows: tuple[PlacedRow, ...] = ()
    odd: tuple[str, ...] = ()


class DamagedFileError(LedgerError, StoreError):
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
        self._rows: dict[str, FileRows] = {}

    def check_marker(self) -> bool:
        """Return whether the ledger's marker exists.

        :raises LedgerError: when it is not a marker that this version reads.
        """
        try:
            text = self.files.read(MARKER).to_pybytes()
        except FileGoneError:
            return False
        try:
            marker = parse_json(text)
            format_name, version = marker["format"], int(marker["schema_version"])
        except (ValueError, KeyError, TypeError, OverflowError):
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

        :param require_all: raise when a manifest cannot be read, or names a file that does not exist; else the
            listing says so.
        """
        for attempt in range(_ATTEMPTS):
            before = self.files.entries(MANIFESTS)
            segments, compacted = self.files.entries(SEGMENTS), self.files.entries(COMPACTED)
            after = self.files.entries(MANIFESTS)
            if [entry.path for entry in before] != [entry.path for entry in after]:
                continue
            try:
                damaged: dict[str, str] = {}
                manifests = self._read_manifests(after, None if require_all else damaged)
            except FileGoneError:
                continue
            listing = _listing(segments, compacted, after, manifests, damaged)
            if not listing.missing:
                return listing
            if attempt >= 5:
                break
            time.sleep(_PAUSE_S)
        else:
            raise self._contended()
        if require_all and listing.missing:
            missing = listing.missing[0]
            manifest = next(path for path, manifest in listing.manifests.items() if missing in manifest.files)
            raise LedgerError(
                f"ledger: {self.files.shown}/{missing} is missing, though {manifest} names it; restore it from a copy, "
                "or delete that manifest and then drop the sweeps that verify reports as unfinished"
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
        return [row for content in rows.values() for row in content.rows]

    def odd_rows(self, listing: Listing) -> dict[str, tuple[str, ...]]:
        """Return what is wrong with the trial rows that readers leave out, by the path of their file.

        :raises FileGoneError: when a file was deleted after the listing.
        """
        self._all_rows(listing)
        return {path: content.odd for path, content in self._rows.items() if content.odd}

    def rows_of(self, entry: Entry) -> FileRows:
        """Read the trial rows in one segment or one compacted file of trials, those that are sound."""
        rows, odd = [], []
        texts: dict[str, str] = {}
        for values in self.values_of(entry):
            try:
                row = trial_row(values)
                # One text for the trials of one run: of a hundred thousand it would be most of what they take.
                shared = texts.setdefault(row.provenance_json, row.provenance_json)
                rows.append(PlacedRow(replace(row, provenance_json=shared), _segment(entry, values)))
            except UnsoundError as error:
                odd.append(str(error))
        return FileRows(tuple(rows), tuple(odd))

    def values_of(self, entry: Entry) -> list[dict[str, Any]]:
        """Read the trial rows in one segment or one compacted file of trials as they are, sound or not."""

        def read() -> list[dict[str, Any]]:
            content = self.files.read(entry.path)
            metadata = pq.read_metadata(pa.BufferReader(content)).metadata
            check_version(metadata)
            if entry.path.startswith(SEGMENTS):
                return read_trial_rows(metadata)
            return pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True).read().to_pylist()

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
        return merge_rows(tables)

    def table_of(
        self,
        entry: Entry,
        columns: Sequence[str] | None = None,
        trial_ids: Collection[str] | None = None,
        *,
        strict: bool = False,
    ) -> pa.Table:
        """Read the trajectory rows of one file, with the key of the segment that each came with.

        :param strict: rows of a trial with an unsound name are an error instead of being left out.
        """

        def read() -> pa.Table:
            in_segment = entry.path.startswith(SEGMENTS)
            source = self.files.read(entry.path) if in_segment else self.files.open(entry.path)
            key = segment_of(entry) if in_segment else None
            return read_trajectory(source, key, columns, trial_ids, strict=strict)

        return self._reading(entry, read)

    def probes(self, listing: Listing) -> set[str]:
        """Collect the columns of measurements that the files have."""

        def names(entry: Entry) -> list[str]:
            schema = self._reading(entry, lambda: pq.read_schema(self.files.open(entry.path)))
            return probe_columns(schema.names)

        return {name for found in self.files.map(names, listing.data) for name in found}

    def counts(self, listing: Listing) -> dict[str, Counter[str]]:
        """Count the trajectory rows of each trial in each file, by path."""
        counts = self.files.map(lambda entry: count_trials(self.table_of(entry, ())), listing.data)
        return dict(zip((entry.path for entry in listing.data), counts, strict=True))

    def _may_hold(self, entry: Entry, trial_ids: frozenset[str]) -> bool:
        rows = self._rows.get(entry.path)
        return rows is None or any(placed.row.trial_id in trial_ids for placed in rows.rows)

    def _reading(self, entry: Entry, read: Callable[[], _Result]) -> _Result:
        """Return ``read()``; raise a DamagedFileError, or a FileGoneError when the file was deleted meanwhile."""
        try:
            return read()
        except FileGoneError:
            raise
        except Exception as error:  # A damaged or foreign file can make its reader raise anything.
            if not self.files.exists(entry.path):
                raise self.files.gone(entry.path) from None
            if isinstance(error, LedgerError):
                raise
            if isinstance(error, OSError) and error.errno:
                raise StorageError(f"ledger: cannot read {self.files.shown}/{entry.path}: {one_line(error)}") from None
            raise DamagedFileError(f"{self.files.shown}/{entry.path}", one_line(error)) from None

    def _read_manifests(self, entries: Sequence[Entry], damaged: dict[str, str] | None = None) -> dict[str, Manifest]:
        """Read the manifests, by path.

        :param damaged: receives the reasons of those that cannot be read; without it, the first is an error.
        :raises FileGoneError: when one was deleted meanwhile.
        """
        manifests: dict[str, Manifest] = {}
        for entry in entries:
            if not is_ours(entry.path):
                continue
            manifest = self._manifests.get(entry.path)
            if manifest is None:
                try:
                    manifest = Manifest.from_json(self.files.read(entry.path).to_pybytes())
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    if damaged is None:
                        raise DamagedFileError(f"{self.files.shown}/{entry.path}", one_line(error)) from None
                    damaged[entry.path] = one_line(error)
                    continue
            manifests[entry.path] = manifest
        self._manifests = manifests
        return manifests

    def _contended(self) -> StorageError:
        return StorageError(f"ledger: other processes keep rewriting {self.files.shown}; try again later")


def _segment(entry: Entry, values: Mapping[str, Any]) -> str:
    """Return the key of the segment that a row came with, which compacted rows name."""
    return segment_of(entry) if entry.path.startswith(SEGMENTS) else str(values.get("segment"))


def _superseded(manifests: Iterable[Manifest]) -> frozenset[str]:
    return frozenset(path for manifest in manifests for path in manifest.supersedes)


def _listing(
    segments: Sequence[Entry],
    compacted: Sequence[Entry],
    manifest_entries: Sequence[Entry],
    manifests: dict[str, Manifest],
    damaged: dict[str, str],
) -> Listing:
    superseded = _superseded(manifests.values())
    live_manifests = {path: manifest for path, manifest in manifests.items() if path not in superseded}
    files = [*segments, *compacted, *manifest_entries]
    ours = [entry for entry in files if is_ours(entry.path)]
    parquet = [entry for entry in ours if not entry.path.startswith(f"{MANIFESTS}/")]
    live = [entry for entry in parquet if entry.path not in superseded]
    existing = {entry.path for entry in parquet}
    named = {path for manifest in live_manifests.values() for path in manifest.files}
    return Listing(
        segments=tuple(entry for entry in live if entry.path.startswith(f"{SEGMENTS}/")),
        trajectories=tuple(entry for entry in live if entry.path.startswith(f"{COMPACTED}/trajectories-")),
        trials=tuple(entry for entry in live if entry.path.startswith(f"{COMPACTED}/trials-")),
        manifests=live_manifests,
        superseded=superseded,
        leftover=tuple(entry for entry in ours if entry.path in superseded),
        temporary=tuple(entry for entry in files if entry.temporary),
        missing=tuple(sorted(named - existing - superseded)),
        damaged=damaged,
    )
