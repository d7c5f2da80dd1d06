"""Which files of a ledger count, and what is in them: the layer between single files and the ledger's verbs.

Everything that holds rows is immutable and valid by itself: the *segments* that workers commit, and the *compacted*
files that an upkeep rewrites many of them into.  A *manifest*, immutable too, names the compacted files of one
rewrite and the files that these supersede.  What counts is every file that no manifest supersedes.

There are manifests rather than one that is swapped, because no lock or compare-and-swap exists that a local folder, a
network folder and an object store have in common.  So any two processes may tidy at once and either may die at any
point: a rewrite without its manifest yet, or two rewrites of the same segments, hold copies, which readers merge
anyway; files are deleted only once a durable manifest supersedes them.  Nothing can be lost, at worst some of it is
stored twice until the next rewrite.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.ledger.files import Entry, Files, LedgerError, open_files
from pipeline.ledger.rows import (
    SCHEMA_VERSION,
    Conflict,
    Merged,
    PlacedRow,
    check_name,
    check_version,
    count_trials,
    latest,
    latest_by_protocol,
    merge_rows,
    placed_rows,
    read_trajectory,
    read_trial_rows,
)

MARKER = "grokscape-ledger.json"
FORMAT = "grokscape-ledger"
SEGMENTS, COMPACTED, MANIFESTS, SWEEPS, CHECKPOINTS, SNAPSHOTS = FOLDERS = (
    "segments",
    "compacted",
    "manifests",
    "sweeps",
    "checkpoints",
    "snapshots",
)
_ATTEMPTS = 40
_PAUSE_S = 0.05

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Manifest:
    """One rewrite: the files that it wrote or kept, those that it supersedes, and the conflicts it has met."""

    files: tuple[str, ...]
    supersedes: tuple[str, ...]
    conflicts: tuple[Conflict, ...]

    def to_json(self) -> bytes:
        return json.dumps({"schema_version": SCHEMA_VERSION} | asdict(self), indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Manifest":
        """:raises ValueError, KeyError, TypeError: when the text is not a manifest."""
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
    """Those that count, by path."""
    superseded: frozenset[str]
    """Paths that a manifest supersedes, whether the file is still there or not."""
    leftover: tuple[Entry, ...]
    """Superseded files that are still there."""
    temporary: tuple[Entry, ...]
    unknown: tuple[Entry, ...]
    """Files in a folder of ours that are none of ours."""
    missing: tuple[str, ...]
    """Files that a manifest names and that are not there."""

    @property
    def data(self) -> tuple[Entry, ...]:
        """The files that hold trajectory rows."""
        return self.segments + self.trajectories

    @property
    def counting(self) -> tuple[Entry, ...]:
        """The files that hold rows."""
        return self.data + self.trials

    @property
    def file_count(self) -> int:
        """How many files there are for the rows: those that hold some, manifests, and superseded ones."""
        return len(self.counting) + len(self.manifests) + len(self.leftover)


class Store:
    """The files of one ledger, read consistently while others write."""

    def __init__(self, uri: str) -> None:
        self.files: Files = open_files(uri)
        # Files with these contents never change: what was read once stays true.
        self._manifests: dict[str, Manifest] = {}
        self._rows: dict[str, tuple[PlacedRow, ...]] = {}

    def check_marker(self) -> bool:
        """Whether the marker is there.

        :raises LedgerError: when it is not a marker that this version reads.
        """
        try:
            text = self.files.read(MARKER).to_pybytes()
        except FileNotFoundError:
            return False
        try:
            marker = json.loads(text)
            form, version = marker["format"], int(marker["schema_version"])
        except (ValueError, KeyError, TypeError):
            raise LedgerError(f"ledger: {self.files.shown}/{MARKER} is not readable as a marker") from None
        if form != FORMAT:
            raise LedgerError(f"ledger: {self.files.shown}/{MARKER}: format = {form!r}; allowed: {FORMAT}")
        if version != SCHEMA_VERSION:
            age = "a newer" if version > SCHEMA_VERSION else "an older"
            raise LedgerError(
                f"ledger: {self.files.shown} was written by {age} grokscape (schema {version}); this one reads schema "
                f"{SCHEMA_VERSION} only"
            )
        return True

    def create_marker(self) -> None:
        marker = {"format": FORMAT, "schema_version": SCHEMA_VERSION}
        self.files.put(MARKER, json.dumps(marker).encode())

    def superseded(self) -> frozenset[str]:
        """What the manifests supersede now."""
        for _ in range(_ATTEMPTS):
            manifests = self._read_manifests(self._listed(MANIFESTS))
            if manifests is not None:
                return frozenset(path for manifest in manifests.values() for path in manifest.supersedes)
        raise self._restless()

    def listing(self, *, must_be_whole: bool = True) -> Listing:
        """The files that count now.

        Segments are listed between two listings of the manifests that must agree: a segment that a rewrite has
        deleted by then is in a manifest that was durable before.

        :raises LedgerError: when a file that a manifest names is not there (told in ``missing`` where that is asked).
        """
        for attempt in range(_ATTEMPTS):
            before = self._listed(MANIFESTS)
            segments, compacted = self._listed(SEGMENTS), self._listed(COMPACTED)
            after = self._listed(MANIFESTS)
            if [entry.path for entry in before] != [entry.path for entry in after]:
                continue
            manifests = self._read_manifests(after)
            if manifests is None:
                continue
            found = _listing(segments, compacted, after, manifests)
            if not found.missing:
                return found
            if attempt >= 5:
                break
            time.sleep(_PAUSE_S)
        else:
            raise self._restless()
        if must_be_whole:
            manifest = next(path for path, named in found.manifests.items() if found.missing[0] in named.files)
            raise LedgerError(
                f"ledger: {self.files.shown}/{found.missing[0]} is missing, though {manifest} names it; restore it "
                "from a copy, or remove that manifest, then drop the sweeps that verify calls incomplete"
            )
        return found

    def consistently(self, job: Callable[[Listing], _Result]) -> _Result:
        """``job`` of a listing; again of a newer one where a file has gone meanwhile."""
        for _ in range(_ATTEMPTS):
            try:
                return job(self.listing())
            except FileNotFoundError:
                continue
        raise self._restless()

    def placed(self, listing: Listing) -> dict[str, PlacedRow]:
        """The row that stands for each trial.

        :raises FileNotFoundError: when a file has gone since the listing.
        """
        return latest(self._every_row(listing))

    def by_protocol(self, listing: Listing) -> list[PlacedRow]:
        """The furthest row of each trial for each protocol; which measurements there are depends on it.

        :raises FileNotFoundError: when a file has gone since the listing.
        """
        return latest_by_protocol(self._every_row(listing))

    def _every_row(self, listing: Listing) -> list[PlacedRow]:
        wanted = listing.segments + listing.trials
        known = self._rows
        fresh = [entry for entry in wanted if entry.path not in known]
        contents = self.files.map(self.rows_of, fresh)
        read = dict(zip((entry.path for entry in fresh), contents, strict=True))
        rows = {entry.path: known[entry.path] if entry.path in known else read[entry.path] for entry in wanted}
        self._rows = rows
        return [row for placed in rows.values() for row in placed]

    def rows_of(self, entry: Entry) -> tuple[PlacedRow, ...]:
        """The trial rows in one segment or one compacted file of trials."""

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
        """The trajectory rows of some trials (all without ``trial_ids``), merged; of some files only with ``entries``.

        :raises FileNotFoundError: when a file has gone since the listing.
        """
        entries = listing.data if entries is None else entries
        if trial_ids is not None:
            trial_ids = frozenset(trial_ids)
            self.placed(listing)  # so that what a segment holds is known without opening it again
            entries = [entry for entry in entries if self._may_hold(entry, trial_ids)]
        tables = self.files.map(lambda entry: self.table_of(entry, columns, trial_ids), entries)
        return merge_rows(tables, trial_ids)

    def table_of(
        self, entry: Entry, columns: Sequence[str] | None = None, trial_ids: Collection[str] | None = None
    ) -> pa.Table:
        """The trajectory rows of one file, with the key of the segment that each came with."""

        def read() -> pa.Table:
            if entry.path.startswith(SEGMENTS):
                return read_trajectory(self.files.read(entry.path), segment_of(entry), columns, trial_ids)
            return read_trajectory(self.files.open(entry.path), None, columns, trial_ids)

        return self._reading(entry, read)

    def counts(self, entries: Iterable[Entry]) -> dict[str, Counter[str]]:
        """How many trajectory rows each file has of each trial."""
        entries = list(entries)
        counts = self.files.map(lambda entry: count_trials(self.table_of(entry, ())), entries)
        return dict(zip((entry.path for entry in entries), counts, strict=True))

    def _may_hold(self, entry: Entry, trial_ids: frozenset[str]) -> bool:
        rows = self._rows.get(entry.path)
        return rows is None or any(placed.row.trial_id in trial_ids for placed in rows)

    def _reading(self, entry: Entry, read: Callable[[], _Result]) -> _Result:
        """What ``read`` returns; one line for a torn file, and ``FileNotFoundError`` for one that went meanwhile."""
        try:
            return read()
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError, LedgerError) as error:
            if not self.files.exists(entry.path):
                raise FileNotFoundError(entry.path) from None
            if isinstance(error, LedgerError):
                raise
            reason = " ".join(str(error).split())
            raise LedgerError(f"ledger: {self.files.shown}/{entry.path} is torn or foreign: {reason}") from None

    def _listed(self, folder: str) -> list[Entry]:
        return self.files.entries(folder)

    def _read_manifests(self, entries: Sequence[Entry]) -> dict[str, Manifest] | None:
        """The manifests by path; None when one of them has gone meanwhile."""
        found: dict[str, Manifest] = {}
        for entry in entries:
            if entry.temporary or not entry.path.endswith(".json"):
                continue
            manifest = self._manifests.get(entry.path)
            if manifest is None:
                try:
                    manifest = Manifest.from_json(self.files.read(entry.path).to_pybytes())
                except FileNotFoundError:
                    return None
                except (ValueError, KeyError, TypeError) as error:
                    raise LedgerError(f"ledger: {self.files.shown}/{entry.path} is torn or foreign: {error}") from None
            found[entry.path] = manifest
        self._manifests = found
        return found

    def _restless(self) -> LedgerError:
        return LedgerError(f"ledger: {self.files.shown} is being rewritten all the time; try again later")


def segment_of(entry: Entry) -> str:
    """The key of a segment, by its file."""
    return entry.name.removesuffix(".parquet")


def checkpoint_path(trial_id: str, step: int) -> str:
    """Where a checkpoint lies."""
    # Folders of their own by two letters, so that none gets long; the step is in the name, so that a zombie's older
    # checkpoint is another file, not one that turns time back.
    check_name("trial_id", trial_id)
    return f"{CHECKPOINTS}/{trial_id[:2]}/{trial_id}.{step}.ckpt"


def checkpoint_name(entry: Entry) -> tuple[str, int]:
    """The trial and the step in the name of a checkpoint; ("", -1) for a file that is none."""
    return _trial_and_step(entry, "ckpt")


def snapshot_path(trial_id: str, step: int) -> str:
    """Where a snapshot lies."""
    check_name("trial_id", trial_id)
    return f"{SNAPSHOTS}/{trial_id[:2]}/{trial_id}.{step}.npz"


def snapshot_name(entry: Entry) -> tuple[str, int]:
    """The trial and the step in the name of a snapshot; ("", -1) for a file that is none."""
    return _trial_and_step(entry, "npz")


def _trial_and_step(entry: Entry, suffix: str) -> tuple[str, int]:
    parts = entry.name.rsplit(".", 2)
    ours = len(parts) == 3 and parts[1].isdecimal() and parts[2] == suffix and not entry.temporary
    return (parts[0], int(parts[1])) if ours else ("", -1)


def _listing(
    segments: Sequence[Entry], compacted: Sequence[Entry], listed: Sequence[Entry], manifests: dict[str, Manifest]
) -> Listing:
    superseded = frozenset(path for manifest in manifests.values() for path in manifest.supersedes)
    counting = {path: manifest for path, manifest in manifests.items() if path not in superseded}
    files = [*segments, *compacted]
    ours = [entry for entry in files if not entry.temporary and entry.name.endswith(".parquet")]
    live = [entry for entry in ours if entry.path not in superseded]
    present = {entry.path for entry in ours}
    named = {path for manifest in counting.values() for path in manifest.files}
    known = {entry.path for entry in ours} | set(manifests)
    return Listing(
        segments=tuple(entry for entry in live if entry.path.startswith(f"{SEGMENTS}/")),
        trajectories=tuple(entry for entry in live if entry.path.startswith(f"{COMPACTED}/trajectories-")),
        trials=tuple(entry for entry in live if entry.path.startswith(f"{COMPACTED}/trials-")),
        manifests=counting,
        superseded=superseded,
        leftover=tuple(entry for entry in [*ours, *listed] if entry.path in superseded),
        temporary=tuple(entry for entry in [*files, *listed] if entry.temporary),
        unknown=tuple(entry for entry in [*files, *listed] if not entry.temporary and entry.path not in known),
        missing=tuple(sorted(named - present - superseded)),
    )
