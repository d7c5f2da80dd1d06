"""Compaction: rewrite many files into few, and leave out the trials that are dropped.

A rewrite writes new files, then a manifest that supersedes the old ones, then deletes those.  It may be killed
between any two of these steps, and other processes may commit, read or rewrite meanwhile (see the catalogue).
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from uuid import uuid4

import pyarrow as pa

from pipeline.ledger.catalogue import Catalogue, Listing, Manifest
from pipeline.ledger.files import Entry, LedgerError
from pipeline.ledger.layout import COMPACTED, MANIFESTS
from pipeline.ledger.rows import PlacedRow, merge_conflicts, to_parquet, trial_table
from pipeline.ledger.strays import delete_stale
from trainables.runtime.rows import TrialState

FULL_ROWS = 1 << 20
"""A compacted file with this many rows is full: it is rewritten only when one of its trials continues."""


@dataclass(frozen=True)
class CompactReport:
    """What a rewrite did; bytes are those of the files that hold rows."""

    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    dropped: int
    """Trials that were left out."""


def compact(catalogue: Catalogue, *, drop: frozenset[str] = frozenset()) -> CompactReport:
    """Rewrite the live files into few, without the trials in ``drop``.

    :raises LedgerError: when a file cannot be written; then nothing has changed.
    """
    return catalogue.retry(lambda: _Rewrite(catalogue, drop).run(), attempts=5)


class _Rewrite:
    """One attempt."""

    def __init__(self, catalogue: Catalogue, drop: frozenset[str]) -> None:
        self._catalogue = catalogue
        self._drop = drop
        self._written: dict[str, str] = {}
        """Digests, by path."""

    def run(self) -> CompactReport:
        """Rewrite, delete what is superseded, and report.

        :raises FileGoneError: when another rewrite has deleted a file that this one reads.
        """
        listing = self._catalogue.listing()
        latest = self._catalogue.latest_rows(listing)
        listing = self._without_odd(listing)
        dropped = self._drop & latest.keys()
        if dropped or not self._is_compact(listing):
            superseded = self._replace(listing, latest)
        else:
            superseded = [entry.path for entry in listing.leftover]
        self._catalogue.files.map(self._catalogue.files.delete, superseded)
        delete_stale(self._catalogue, listing, {name: row for name, row in latest.items() if name not in dropped})
        after = self._catalogue.listing()
        return CompactReport(
            files_before=listing.file_count,
            files_after=after.file_count,
            bytes_before=sum(entry.size for entry in listing.with_rows),
            bytes_after=sum(entry.size for entry in after.with_rows),
            dropped=len(dropped),
        )

    def _is_compact(self, listing: Listing) -> bool:
        """Whether a rewrite would find nothing to do: the live files are what one manifest names."""
        named = {path for manifest in listing.manifests.values() for path in manifest.files}
        return len(listing.manifests) <= 1 and {entry.path for entry in listing.with_rows} == named

    def _without_odd(self, listing: Listing) -> Listing:
        """Return the listing without the files whose trial rows are not all sound: they stay as they are."""
        odd = self._catalogue.odd_rows(listing)

        def sound(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
            return tuple(entry for entry in entries if entry.path not in odd)

        return replace(listing, segments=sound(listing.segments), trials=sound(listing.trials))

    def _replace(self, listing: Listing, latest: dict[str, PlacedRow]) -> list[str]:
        """Write the new files and their manifest; return the paths that it supersedes.

        :raises FileGoneError: with nothing written, when another rewrite has superseded some of them meanwhile.
        """
        counts = self._catalogue.counts(listing)
        kept = _full_files(listing, counts, self._drop)
        rewritten = [entry for entry in listing.data if entry not in kept]
        conflicts = [conflict for manifest in listing.manifests.values() for conflict in manifest.conflicts]
        try:
            rows: Counter[str] = Counter()
            for entry in rewritten:
                rows.update(counts[entry.path])
            for chunk in _chunks(rows, latest, self._drop):
                merged = self._catalogue.read(listing, chunk, entries=rewritten)
                conflicts += merged.conflicts
                self._write("trajectories", merged.table)
            staying = [row for row in self._catalogue.latest_by_protocol(listing) if row.row.trial_id not in self._drop]
            if staying:
                self._write("trials", trial_table(staying))
            files = [*self._written, *(entry.path for entry in kept)]
            superseded = [entry.path for entry in [*rewritten, *listing.trials, *listing.leftover]]
            superseded += listing.manifests
            superseded_meanwhile = self._catalogue.listing().superseded - listing.superseded
            if overlap := superseded_meanwhile.intersection([*files, *superseded]):
                raise self._catalogue.files.gone(min(overlap))
        except BaseException:
            self._undo()
            raise
        digests = dict(item for manifest in listing.manifests.values() for item in manifest.digests.items())
        digests |= self._written
        manifest = Manifest(
            files=tuple(sorted(files)),
            supersedes=tuple(sorted(superseded)),
            conflicts=tuple(merge_conflicts(conflict for conflict in conflicts if conflict.trial_id not in self._drop)),
            digests={path: digest for path, digest in digests.items() if path in files},
        )
        # From here on nothing may be undone: a store may have the manifest although it reports a failure.
        self._catalogue.files.put(f"{MANIFESTS}/{uuid4().hex}.json", manifest.to_json())
        return superseded

    def _write(self, kind: str, table: pa.Table) -> None:
        # A name that was never used, because what a manifest supersedes stays superseded.
        path = f"{COMPACTED}/{kind}-{uuid4().hex}.parquet"
        content = to_parquet(table)
        self._catalogue.files.put(path, content)
        self._written[path] = hashlib.sha256(content).hexdigest()

    def _undo(self) -> None:
        """Delete the files of a failed attempt; they hold only copies."""
        for path in self._written:
            with suppress(LedgerError):
                self._catalogue.files.delete(path)


def _full_files(listing: Listing, counts: dict[str, Counter[str]], drop: Collection[str]) -> list[Entry]:
    """Select the full compacted files that share no trial with any other file or with ``drop``."""
    holders = Counter(trial_id for entry in listing.data for trial_id in counts[entry.path])
    return [
        entry
        for entry in listing.trajectories
        if counts[entry.path].total() >= FULL_ROWS
        and not any(holders[trial_id] > 1 or trial_id in drop for trial_id in counts[entry.path])
    ]


def _chunks(rows: Counter[str], latest: dict[str, PlacedRow], drop: Collection[str]) -> Iterator[frozenset[str]]:
    """Group the trials by the file they go to: at least :data:`FULL_ROWS` rows each, but for the last ones.

    Running trials have files of their own: their rows will be rewritten again, those of the others will not.
    """
    for running in (False, True):
        chunk, size = [], 0
        for trial_id in sorted(rows):
            is_running = trial_id in latest and latest[trial_id].row.state == TrialState.RUNNING
            if trial_id in drop or is_running != running:
                continue
            chunk.append(trial_id)
            size += rows[trial_id]
            if size >= FULL_ROWS:
                yield frozenset(chunk)
                chunk, size = [], 0
        if chunk:
            yield frozenset(chunk)
