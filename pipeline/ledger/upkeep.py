"""Keeping a ledger small and sound: rewriting many files into few, dropping trials, finding what is wrong.

A rewrite writes new files, then a manifest that supersedes the old ones, then deletes those.  It may be killed
between any two of these, and other processes may commit, read or rewrite meanwhile (``ledger_store`` says why).
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

import numpy as np
import pyarrow as pa

from pipeline.ledger.catalogue import (
    CHECKPOINTS,
    COMPACTED,
    MANIFESTS,
    SEGMENTS,
    SNAPSHOTS,
    SWEEPS,
    Listing,
    Manifest,
    Store,
    checkpoint_name,
    snapshot_name,
)
from pipeline.ledger.files import Entry, LedgerError
from pipeline.ledger.rows import Conflict, PlacedRow, segment_key, to_parquet, trial_slices, trial_table
from pipeline.ledger.sweep_row import SweepRow
from trainables.engine.config import ConfigError, from_json
from trainables.engine.trial import Measuring
from trainables.runtime.rows import TrialRow, TrialState

FULL_ROWS = 1 << 20
"""A compacted file with as many rows is finished: it is rewritten only when one of its trials goes on."""
STALE_S = 3600.0
"""What a killed process left is removed when it is as old; younger, it may be another process's work."""
_ATTEMPTS = 5


@dataclass(frozen=True)
class CompactReport:
    """What a rewrite did; bytes are those of the files that hold rows."""

    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    rows_written: int
    dropped: int
    """Trials that were left out."""


@dataclass(frozen=True)
class DropReport:
    """How many trials went with a sweep, and how many stayed because another sweep has them."""

    trials: int
    kept: int


@dataclass(frozen=True)
class MergeReport:
    """What one ledger took over from another."""

    trials: int
    new_trials: int
    rows: int
    sweeps: tuple[str, ...]
    replaced_sweeps: tuple[str, ...]
    """Those of ``sweeps`` of which there was an older record of the same name."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: ``missing``, ``torn``, ``doubled``, ``gap``, or harmless and ``stray``."""

    kind: str
    where: str
    what: str

    @property
    def harmless(self) -> bool:
        """What a killed process left behind: no row is affected."""
        return self.kind == "stray"

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.what}"


# --- rewriting ------------------------------------------------------------------------------------------------


def compact(store: Store, *, drop: frozenset[str] = frozenset()) -> CompactReport:
    """Rewrite what counts into few files, without the trials in ``drop``.

    :raises LedgerError: when it cannot be written; then everything is as it was.
    """
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError):  # another rewrite came first
            return _Rewrite(store, drop).run()
    raise LedgerError(f"ledger: {store.files.shown} is being rewritten by others; try again later")


class _Rewrite:
    """One attempt."""

    def __init__(self, store: Store, drop: frozenset[str]) -> None:
        self._store = store
        self._drop = drop
        self._written: list[str] = []
        self._rows_written = 0

    def run(self) -> CompactReport:
        """:raises FileNotFoundError: when another rewrite came in between."""
        listing = self._store.listing()
        placed = self._store.placed(listing)
        dropped = self._drop & placed.keys()
        if dropped or not self._tidy(listing):
            superseded = self._replace(listing, placed)
        else:
            superseded = [entry.path for entry in listing.leftover]
        self._delete(superseded)
        _sweep_out(self._store, listing, {name: row for name, row in placed.items() if name not in dropped})
        after = self._store.listing()
        return CompactReport(
            files_before=listing.file_count,
            files_after=after.file_count,
            bytes_before=sum(entry.size for entry in listing.counting),
            bytes_after=sum(entry.size for entry in after.counting),
            rows_written=self._rows_written,
            dropped=len(dropped),
        )

    def _tidy(self, listing: Listing) -> bool:
        """Whether a rewrite would find nothing to do: everything that counts is what one manifest names."""
        named = {path for manifest in listing.manifests.values() for path in manifest.files}
        return len(listing.manifests) <= 1 and {entry.path for entry in listing.counting} == named

    def _replace(self, listing: Listing, placed: dict[str, PlacedRow]) -> list[str]:
        """Write the new files and their manifest; return the paths that it supersedes.

        :raises FileNotFoundError: with nothing written, when another rewrite has superseded some of them meanwhile.
        """
        counts = self._store.counts(listing.data)
        kept = _finished(listing, counts, self._drop)
        folded = [entry for entry in listing.data if entry not in kept]
        conflicts = [conflict for manifest in listing.manifests.values() for conflict in manifest.conflicts]
        try:
            rows: Counter[str] = Counter()
            for entry in folded:
                rows.update(counts[entry.path])
            for chunk in _chunks(rows, placed, self._drop):
                merged = self._store.read(listing, chunk, entries=folded)
                conflicts += merged.conflicts
                self._write("trajectories", merged.table)
            staying = [row for row in self._store.by_protocol(listing) if row.row.trial_id not in self._drop]
            if staying:
                self._write("trials", trial_table(staying))
            files = [*self._written, *(entry.path for entry in kept)]
            superseded = [entry.path for entry in [*folded, *listing.trials, *listing.leftover]]
            superseded += listing.manifests
            now = self._store.listing()
            if not (now.superseded - listing.superseded).isdisjoint([*files, *superseded]):
                raise FileNotFoundError
        except BaseException:
            self._take_back()
            raise
        manifest = Manifest(
            files=tuple(sorted(files)),
            supersedes=tuple(sorted(superseded)),
            conflicts=tuple(_joined(conflict for conflict in conflicts if conflict.trial_id not in self._drop)),
        )
        # Once this is tried, nothing may be taken back: a store may have it although it says that it failed.
        self._store.files.put(f"{MANIFESTS}/{uuid4().hex}.json", manifest.to_json())
        return superseded

    def _write(self, kind: str, table: pa.Table) -> None:
        # A name that was never used: what a manifest supersedes stays superseded.
        path = f"{COMPACTED}/{kind}-{uuid4().hex}.parquet"
        self._store.files.put(path, to_parquet(table))
        self._written.append(path)
        self._rows_written += len(table) if kind == "trajectories" else 0

    def _take_back(self) -> None:
        """Free what an attempt that failed has written; copies that nobody needs."""
        for path in self._written:
            with suppress(LedgerError):
                self._store.files.delete(path)

    def _delete(self, superseded: Sequence[str]) -> None:
        self._store.files.map(self._store.files.delete, superseded)


def _finished(listing: Listing, counts: dict[str, Counter[str]], drop: Collection[str]) -> list[Entry]:
    """The full compacted files that share no trial with any other file, nor with those to be dropped."""
    holders = Counter(trial_id for entry in listing.data for trial_id in counts[entry.path])
    return [
        entry
        for entry in listing.trajectories
        if counts[entry.path].total() >= FULL_ROWS
        and not any(holders[trial_id] > 1 or trial_id in drop for trial_id in counts[entry.path])
    ]


def _chunks(rows: Counter[str], placed: dict[str, PlacedRow], drop: Collection[str]) -> Iterator[frozenset[str]]:
    """Trials for one file each, at least :data:`FULL_ROWS` rows but in the last ones.

    Trials that still run come by themselves: their rows will be rewritten again, those of the others will not.
    """
    for running in (False, True):
        chunk, size = [], 0
        for trial_id in sorted(rows):
            is_running = trial_id in placed and placed[trial_id].row.state == TrialState.RUNNING
            if trial_id in drop or is_running != running:
                continue
            chunk.append(trial_id)
            size += rows[trial_id]
            if size >= FULL_ROWS:
                yield frozenset(chunk)
                chunk, size = [], 0
        if chunk:
            yield frozenset(chunk)


def _joined(conflicts: Iterable[Conflict]) -> list[Conflict]:
    """One conflict a trial."""
    found: dict[str, Conflict] = {}
    for new in conflicts:
        old = found.get(new.trial_id)
        found[new.trial_id] = (
            new
            if old is None
            else Conflict(
                new.trial_id,
                old.rows + new.rows,
                min(old.first_step, new.first_step),
                tuple(sorted({*old.columns, *new.columns})),
            )
        )
    return [found[trial_id] for trial_id in sorted(found)]


def _sweep_out(store: Store, listing: Listing, placed: dict[str, PlacedRow]) -> None:
    """Remove what killed processes left and nobody can still be at work on."""
    for entry in [*listing.temporary, *_temporary_elsewhere(store)]:
        if entry.age_s > STALE_S:
            store.files.delete(entry.path)
    for entry, _ in _strays_of_trials(store, placed):
        if entry.age_s > STALE_S:
            store.files.delete(entry.path)


# --- finding what is wrong ------------------------------------------------------------------------------------


def verify(store: Store, sweeps: Callable[[], list[SweepRow]]) -> list[Problem]:
    """Everything that is wrong, after reading every row.

    :raises LedgerError: when the ledger cannot even be listed.
    """
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError):
            return _Checks(store).run(sweeps)
    raise LedgerError(f"ledger: {store.files.shown} is being rewritten by others; try again later")


class _Checks:
    """One pass over a ledger."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._problems: list[Problem] = []

    def run(self, sweeps: Callable[[], list[SweepRow]]) -> list[Problem]:
        listing = self._store.listing(must_be_whole=False)
        for path in listing.missing:
            self._found("missing", path, "a manifest names this file; restore it from a copy")
        readable = {entry for entry in listing.counting if self._readable(entry)}
        whole = Listing(
            **vars(listing)
            | {
                name: tuple(entry for entry in getattr(listing, name) if entry in readable)
                for name in ("segments", "trajectories", "trials")
            }
        )
        placed = self._store.placed(whole)
        merged = self._store.read(whole)
        self._conflicts(whole, merged.conflicts)
        self._steps(placed, merged.table)
        self._sweeps(sweeps, placed)
        self._strays(listing, placed)
        return self._problems

    def _found(self, kind: str, where: str, what: str) -> None:
        self._problems.append(Problem(kind, where, what))

    def _readable(self, entry: Entry) -> bool:
        """Whether every page of a file is as it was written, and a segment's content is what its name says."""
        try:
            rows = self._store.rows_of(entry) if not entry.name.startswith("trajectories-") else ()
            if entry.name.startswith("trials-"):
                return True
            table = self._store.table_of(entry)
            if entry.path.startswith(f"{SEGMENTS}/"):
                key = segment_key([placed.row for placed in rows], table.drop_columns(["segment"]))
                if not entry.name.startswith(key):
                    self._found("torn", entry.path, f"its content is not what its name says (it would be {key})")
                    return False
        except LedgerError as error:
            reason = str(error).partition(f"{entry.path} ")[2] or str(error)
            self._found("torn", entry.path, f"{reason}; restore it from a copy, or remove it and verify again")
            return False
        return True

    def _conflicts(self, listing: Listing, conflicts: Sequence[Conflict]) -> None:
        noted = [conflict for manifest in listing.manifests.values() for conflict in manifest.conflicts]
        for conflict in _joined([*noted, *conflicts]):
            columns = ", ".join(conflict.columns)
            self._found(
                "doubled",
                f"trial {conflict.trial_id}",
                f"different values for {conflict.rows} steps from step {conflict.first_step} on, in {columns}; "
                "the first in the order of segment keys count",
            )

    def _steps(self, placed: dict[str, PlacedRow], table: pa.Table) -> None:
        """Rows and snapshots against what each trial says of itself: how far it came, and when it measures."""
        all_steps = table["step"].to_numpy()
        steps_of = {trial_id: all_steps[rows] for trial_id, rows in trial_slices(table).items()}
        kept: dict[str, set[int]] = {}
        for entry in self._store.files.entries(SNAPSHOTS, recursive=True):
            trial_id, step = snapshot_name(entry)
            kept.setdefault(trial_id, set()).add(step)
        for trial_id in sorted(placed.keys() | steps_of.keys()):
            steps = steps_of.get(trial_id, np.array([], np.int64))
            if trial_id not in placed:
                self._found("missing", f"trial {trial_id}", f"{len(steps)} rows, but no trial row")
                continue
            row = placed[trial_id].row
            if row.state == TrialState.FAILED and not len(steps):
                continue  # it failed before its first measurement
            if not len(steps) or steps[-1] != row.last_step:
                last = f"end at step {steps[-1]}" if len(steps) else "are not there"
                self._found("gap", f"trial {trial_id}", f"its rows {last}, its trial row says {row.last_step}")
                continue
            expected = _measured_steps(row.config_json, row.last_step)
            gaps = np.setdiff1d(expected, steps)
            if len(gaps):
                self._found("gap", f"trial {trial_id}", f"{len(gaps)} measured steps are missing, from {gaps[0]} on")
            lost = sorted(_snapshot_steps(row, expected) - kept.get(trial_id, set()))
            if lost:
                self._found("missing", f"trial {trial_id}", f"{len(lost)} snapshots, from step {lost[0]} on")

    def _sweeps(self, sweeps: Callable[[], list[SweepRow]], placed: dict[str, PlacedRow]) -> None:
        try:
            rows = sweeps()
        except LedgerError as error:
            self._found("torn", SWEEPS, str(error))
            return
        for sweep in rows:
            missing = [trial_id for trial_id in sweep.trial_ids if trial_id not in placed]
            if missing:
                some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
                what = f"{len(missing)} of its {len(sweep.trial_ids)} trials have no row: {some}"
                self._found("missing", f"sweep {sweep.name}", what)

    def _strays(self, listing: Listing, placed: dict[str, PlacedRow]) -> None:
        for entry in [*listing.temporary, *_temporary_elsewhere(self._store)]:
            self._found("stray", entry.path, "a temporary file; compact removes it when it is an hour old")
        for entry in listing.leftover:
            self._found("stray", entry.path, "superseded; compact removes it")
        for entry in listing.unknown:
            self._found("stray", entry.path, "not a file of a ledger")
        for entry, why in _strays_of_trials(self._store, placed):
            self._found("stray", entry.path, f"{why}; compact removes it when it is an hour old")


def _measured_steps(config_json: str, last_step: int) -> np.ndarray:
    """When a trial was to be measured; nothing for a config that does not say."""
    measuring = json.loads(config_json).get("measuring") if config_json.startswith("{") else None
    if not isinstance(measuring, dict):
        return np.array([], np.int64)
    try:
        found = from_json(measuring)
    except ConfigError:
        return np.array([], np.int64)
    return found.steps(last_step) if isinstance(found, Measuring) else np.array([], np.int64)


def _snapshot_steps(row: TrialRow, measured: np.ndarray) -> set[int]:
    """When a trial's weights were to be kept: at every n-th measurement, and at its end."""
    every = json.loads(row.config_json).get("snapshots_every") if len(measured) else None
    if not every:
        return set()
    return set(measured[::every].tolist()) | (
        {row.last_step} if row.state in (TrialState.FINISHED, TrialState.STOPPED) else set()
    )


def _temporary_elsewhere(store: Store) -> list[Entry]:
    found = [entry for entry in store.files.entries("") if entry.temporary]
    for folder in (SWEEPS, CHECKPOINTS, SNAPSHOTS):
        found += [entry for entry in store.files.entries(folder, recursive=True) if entry.temporary]
    return found


def _strays_of_trials(store: Store, placed: dict[str, PlacedRow]) -> Iterator[tuple[Entry, str]]:
    """Checkpoints that nobody will continue from and snapshots that belong to nothing, and why."""
    for entry in store.files.entries(SNAPSHOTS, recursive=True):
        if not entry.temporary and snapshot_name(entry)[0] not in placed:
            yield entry, "the snapshot of a trial that has no row"
    entries = [entry for entry in store.files.entries(CHECKPOINTS, recursive=True) if not entry.temporary]
    newest: dict[str, int] = {}
    for entry in entries:
        trial_id, step = checkpoint_name(entry)
        newest[trial_id] = max(step, newest.get(trial_id, -1))
    for entry in entries:
        trial_id, step = checkpoint_name(entry)
        if trial_id not in placed:
            yield entry, "the checkpoint of a trial that has no row"
        elif placed[trial_id].row.state in (TrialState.STOPPED, TrialState.FAILED):
            yield entry, f"the checkpoint of a trial that has {placed[trial_id].row.state}"
        elif step < newest[trial_id]:
            yield entry, "an older checkpoint than the trial's newest"
