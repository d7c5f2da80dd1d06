"""The ledger: every row that was ever measured, exactly once, in Parquet, in a folder or an object store.

Workers commit to it themselves; nobody has to be asked, locked or waited for::

    grokscape-ledger.json            what this folder is, and the version of its schema
    segments/<key>.parquet           one commit: trajectory rows, and trial rows in the metadata
    compacted/trajectories-*.parquet many commits, rewritten: plain tables for any reader of Parquet
    compacted/trials-*.parquet       one row a trial, and one for each other protocol that was made of it
    manifests/<id>.json              what a rewrite wrote and what that supersedes
    sweeps/<name>.json               which trials a sweep consists of, in order
    checkpoints/<xx>/<trial_id>.<step>.ckpt
    snapshots/<xx>/<trial_id>.<step>.npz

A commit is one file under a key that its content determines, so that a zombie and its successor write the same
thing; copies of a row (they may overlap without being equal) become one when they are read.
"""

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.ledger import upkeep
from pipeline.ledger.catalogue import (
    CHECKPOINTS,
    MANIFESTS,
    MARKER,
    SEGMENTS,
    SNAPSHOTS,
    SWEEPS,
    Listing,
    Store,
    checkpoint_name,
    checkpoint_path,
    snapshot_name,
    snapshot_path,
)
from pipeline.ledger.files import TEMPORARY, Entry, LedgerError
from pipeline.ledger.rows import (
    SCHEMA_VERSION,
    check_name,
    count_trials,
    float_values,
    make_segment,
    probe_columns,
    trial_slices,
)
from pipeline.ledger.sweep_row import SweepRow
from pipeline.ledger.upkeep import CompactReport, DropReport, MergeReport, Problem
from trainables.runtime.rows import Checkpoint, Snapshot, TrialRow, TrialState

MERGED_TRIALS = 64
"""How many trials one commit of a merge takes: their checkpoints are in memory together."""
TRIALS_PER_READ, _TRIALS_PER_READ_OF_COLUMNS = 100, 500
"""How many trials' trajectories an iterator has in memory: with every column, and with named ones."""
_FILES_OF_TRIALS = {CHECKPOINTS: (checkpoint_path, checkpoint_name), SNAPSHOTS: (snapshot_path, snapshot_name)}


@dataclass(frozen=True)
class TrialSize:
    """What one trial takes: its trajectory rows, its share of the files, its checkpoints, its snapshots."""

    rows: int
    bytes: int
    checkpoint_bytes: int
    snapshot_bytes: int


class Ledger:
    """One ledger.  Picklable: a copy in another process opens the files by itself, when it first needs them."""

    def __init__(self, uri: str) -> None:
        """Without a look at what is there; use :meth:`open`."""
        self._store = Store(uri)
        self.uri = self._store.files.uri

    @classmethod
    def open(cls, uri: str, *, create: bool = False) -> "Ledger":
        """The ledger at a local path or at any address that ``pyarrow.fs`` opens.

        ``s3://bucket/prefix?scheme=http&endpoint_override=host:port`` leads to a store other than Amazon's.

        :param create: make one where there is nothing yet, and make sure that it can be written.
        :raises LedgerError: when nothing is there, or something else; when it cannot be written; when its schema is
            not :data:`SCHEMA_VERSION`.
        """
        ledger = cls(uri)
        store, shown = ledger._store, ledger._store.files.shown
        # In this order: another process may be making it, and its marker is the first thing there.
        entries = store.files.root_entries()
        found = store.check_marker()
        if not found and entries:
            raise LedgerError(
                f"ledger: {shown} is not a ledger: it has no {MARKER}, but holds {entries[0]}; "
                "choose a ledger, an empty folder or a new one"
            )
        if not found and not create:
            raise LedgerError(f"ledger: there is no ledger at {shown}; running a sweep makes one")
        if create:
            ledger._prepare(found)
        return ledger

    @property
    def shown(self) -> str:
        """The address as messages show it: without credentials."""
        return self._store.files.shown

    def __repr__(self) -> str:
        return f"Ledger({self.shown!r})"

    def __reduce__(self) -> tuple[type["Ledger"], tuple[str]]:
        return type(self), (self.uri,)

    # --- trials -----------------------------------------------------------------------------------------------

    def commit(
        self,
        trials: Sequence[TrialRow],
        trajectory: Mapping[str, Any],
        checkpoints: Sequence[Checkpoint] = (),
        snapshots: Sequence[Snapshot] = (),
    ) -> None:
        """Store trial rows, their trajectory rows, checkpoints and snapshots, durably; the rows all or nothing.

        Committing the same content again changes nothing, whatever its times and places.  A checkpoint takes the
        place of the trial's earlier ones; that of a trial that was stopped or has failed is removed.

        :param trajectory: equally long columns: ``trial_id``, ``step`` and one for each probe; None is not measured.
        :raises LedgerError: when the rows contradict each other, or cannot be written; then nothing was stored.
        """
        named = {row.trial_id for row in trials}
        for what, given in (("checkpoint", checkpoints), ("snapshot", snapshots)):
            for file in given:
                if file.trial_id not in named:
                    told = f"the {what} of trial {file.trial_id} at step {file.step}"
                    raise LedgerError(f"ledger: {told} has no trial row in its commit")
        segment = make_segment(trials, trajectory)
        # In this order: rows must never promise a snapshot or a checkpoint that is not there, and a checkpoint carries
        # the rows that came with it, whose snapshots nobody takes again.  So a process may die between any two.
        files = [(snapshot_path(file.trial_id, file.step), file.data, False) for file in snapshots]
        # A checkpoint at the same step may be that of a run that was asked for less, and so knows less.
        files += [(checkpoint_path(file.trial_id, file.step), file.data, True) for file in checkpoints]
        written: list[str] = []
        try:
            for path, data, anew in files:
                there = self._store.files.exists(path)
                if anew or not there:
                    self._store.files.put(path, data)
                if not there:
                    written.append(path)
            self._put_segment(segment.key, segment.data)
        except LedgerError:
            for path in written:
                with suppress(LedgerError):
                    self._store.files.delete(path)
            raise
        self._prune_checkpoints(trials, checkpoints)

    def trials(self, trial_ids: Collection[str] | None = None) -> dict[str, TrialRow]:
        """The row that stands for each trial, ordered by trial.

        It is the one with the largest last step; at the same step an end beats ``running``, and a trial that reached
        it beats one that failed.
        """
        placed = self._store.consistently(self._store.placed)
        wanted = sorted(placed) if trial_ids is None else sorted(set(trial_ids) & placed.keys())
        return {trial_id: placed[trial_id].row for trial_id in wanted}

    def other_protocols(self) -> dict[str, list[TrialRow]]:
        """For each trial that was asked for in several ways: the furthest row of every way but the standing row's.

        A trial that went to its horizon may have been run again, not as far, with more probes: its trajectory has
        both, and only its rows tell which measurements that are.
        """
        found: dict[str, list[TrialRow]] = {}
        standing = self.trials()
        for placed in self._store.consistently(self._store.by_protocol):
            row = placed.row
            if row.trial_id in standing and row.config_json != standing[row.trial_id].config_json:
                found.setdefault(row.trial_id, []).append(row)
        return found

    def trajectories(self, trial_ids: Collection[str] | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """The trajectory rows of some trials, or of all: one for each (trial_id, step), in that order.

        :param columns: the probes wanted; all that any file has, without.
        :return: ``trial_id`` (string), ``step`` (int64), and float64 columns: null where not measured.
        """
        merged = self._store.consistently(lambda listing: self._store.read(listing, trial_ids, columns)).table
        found = {"trial_id": merged["trial_id"].cast(pa.string()), "step": merged["step"]}
        for name in columns if columns is not None else probe_columns(merged.column_names):
            missing = name not in merged.column_names
            found[name] = pa.chunked_array([pa.nulls(len(merged), pa.float64())]) if missing else merged[name]
        return pa.table(found)

    def iter_trajectories(
        self, trial_ids: Iterable[str], columns: Sequence[str] | None = None
    ) -> Iterator[tuple[str, pa.Table]]:
        """Each of these trials with its :meth:`trajectories`, in the order of ``trial_ids``, a batch in memory.

        A trial without rows comes with an empty table.
        """
        size = TRIALS_PER_READ if columns is None else _TRIALS_PER_READ_OF_COLUMNS
        ordered = list(trial_ids)
        for start in range(0, len(ordered), size):
            batch = ordered[start : start + size]
            table = self.trajectories(batch, columns)
            slices = trial_slices(table)
            for trial_id in batch:
                rows = slices.get(trial_id, slice(0, 0))
                yield trial_id, table.slice(rows.start, rows.stop - rows.start)

    def curves(
        self, trial_ids: Iterable[str], columns: Sequence[str] | None = None
    ) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        """The curves of each of these trials that has rows, in the order of ``trial_ids``, a batch in memory.

        :param columns: the probes wanted; without, those that the trial has measured.
        :return: pairs of a trial and its columns, equally long: ``step`` (int64, ascending), and float64 probes, NaN
            where not measured.
        """
        for trial_id, table in self.iter_trajectories(trial_ids, columns):
            if len(table):
                yield trial_id, _curves(table, keep_unmeasured=columns is not None)

    def history(self, trial_id: str, columns: Sequence[str]) -> dict[str, np.ndarray]:
        """The :meth:`curves` of one trial; empty columns where it has no rows yet."""
        return _curves(self.trajectories([trial_id], columns), keep_unmeasured=True)

    def checkpoint(self, trial_id: str) -> Checkpoint | None:
        """The newest checkpoint of a trial, or None; it may be ahead of the rows."""

        def read(listing: Listing) -> Checkpoint | None:
            found = self._newest([trial_id], self._entries_of(trial_id, CHECKPOINTS)).get(trial_id)
            if found is None:
                return None
            data = self._store.files.read(found.path).to_pybytes()
            return Checkpoint(trial_id=trial_id, step=checkpoint_name(found)[1], data=data)

        return self._store.consistently(read)

    def checkpoint_steps(self, trial_ids: Collection[str] | None = None) -> dict[str, int]:
        """The step of each trial's checkpoint, of those that have one."""
        found = self._newest(trial_ids, self._store.files.entries(CHECKPOINTS, recursive=True))
        return {trial_id: checkpoint_name(entry)[1] for trial_id, entry in found.items()}

    def snapshot_steps(self, trial_id: str) -> list[int]:
        """The steps at which a trial's weights are kept, ascending."""
        return sorted(snapshot_name(entry)[1] for entry in self._entries_of(trial_id, SNAPSHOTS))

    def snapshots(self, trial_id: str) -> dict[int, bytes]:
        """A trial's weights by step, ascending, as :func:`numpy.savez` wrote them."""
        paths = {step: snapshot_path(trial_id, step) for step in self.snapshot_steps(trial_id)}
        try:
            return {step: self._store.files.read(path).to_pybytes() for step, path in paths.items()}
        except FileNotFoundError:
            return {}  # dropped meanwhile

    # --- sweeps -----------------------------------------------------------------------------------------------

    def record_sweep(self, sweep: SweepRow) -> None:
        """Store a sweep; one of the same name is replaced (its trials stay)."""
        check_name("sweep", sweep.name)
        coordinates = len(json.loads(sweep.coordinates_json))
        if coordinates != len(sweep.trial_ids):
            raise LedgerError(
                f"ledger: sweep {sweep.name}: {len(sweep.trial_ids)} trials, but the coordinates of {coordinates}"
            )
        record = {"schema_version": SCHEMA_VERSION} | asdict(sweep)
        self._store.files.put(f"{SWEEPS}/{sweep.name}.json", json.dumps(record, indent=1).encode())

    def sweeps(self) -> list[SweepRow]:
        """Every sweep, the one recorded first first."""
        rows = [self._read_sweep(entry) for entry in self._sweep_entries()]
        return sorted((row for row in rows if row is not None), key=lambda row: (row.recorded_at, row.name))

    def sweep(self, name: str) -> SweepRow:
        """One sweep.

        :raises LedgerError: when there is none of this name; it lists those that there are.
        """
        for row in self.sweeps():
            if row.name == name:
                return row
        names = ", ".join(sorted(row.name for row in self.sweeps())) or "none yet"
        raise LedgerError(f"ledger: {self.shown} has no sweep {name!r}; there are: {names}")

    # --- upkeep -----------------------------------------------------------------------------------------------

    def files(self) -> int:
        """How many files there are for the rows; sweeps and checkpoints (one a trial that may go on) come on top."""
        return self._store.listing().file_count

    def sizes(self) -> dict[str, TrialSize]:
        """What each trial takes."""
        return self._store.consistently(self._sizes)

    def compact(self) -> CompactReport:
        """Rewrite the segments into few files; safe beside commits, readers and other compactions."""
        return upkeep.compact(self._store)

    def compact_if_needed(self, max_files: int = 256) -> CompactReport | None:
        """:meth:`compact` when more than ``max_files`` segments have piled up; None when not."""
        return self.compact() if len(self._store.listing().segments) > max_files else None

    def verify(self) -> list[Problem]:
        """Everything that is missing, doubled, torn or stray; reads every row once."""
        return upkeep.verify(self._store, self.sweeps)

    def drop(self, sweep_name: str) -> DropReport:
        """Remove a sweep, and those of its trials that no other sweep has.

        Not while a sweep with the same trials runs: what its workers commit meanwhile may stay or go.
        """
        sweep = self.sweep(sweep_name)
        others = [row for row in self.sweeps() if row.name != sweep_name]
        shared = {trial_id for row in others for trial_id in row.trial_ids}
        doomed = frozenset(sweep.trial_ids) - shared
        report = upkeep.compact(self._store, drop=doomed)
        for folder, (_, name_of) in _FILES_OF_TRIALS.items():
            for entry in self._store.files.entries(folder, recursive=True):
                if name_of(entry)[0] in doomed:
                    self._store.files.delete(entry.path)
        # Last, so that a drop that was interrupted can be said again.
        self._store.files.delete(f"{SWEEPS}/{sweep_name}.json")
        return DropReport(trials=report.dropped, kept=len(set(sweep.trial_ids) & shared))

    def merge(self, other: "Ledger") -> MergeReport:
        """Take over everything that another ledger holds; doing it again changes nothing.

        Of two sweeps of the same name the one recorded later stays.
        """
        if other.uri == self.uri:
            raise LedgerError(f"ledger: {self.shown} cannot be merged into itself")
        before = self.trials()
        theirs, their_others = other.trials(), other.other_protocols()
        ordered = sorted(theirs)
        rows = 0
        for start in range(0, len(ordered), MERGED_TRIALS):
            some = ordered[start : start + MERGED_TRIALS]
            table = other.trajectories(some)
            checkpoints = [found for found in map(other.checkpoint, some) if found is not None]
            columns = {name: table[name].combine_chunks() for name in table.column_names}
            for trial_id in some:  # one at a time in memory
                for step in set(other.snapshot_steps(trial_id)) - set(self.snapshot_steps(trial_id)):
                    path = snapshot_path(trial_id, step)
                    self._store.files.put(path, other._store.files.read(path))
            self.commit([theirs[trial_id] for trial_id in some], columns, checkpoints)
            for asked in (row for trial_id in some for row in their_others.get(trial_id, ())):
                self.commit([asked], {})
            rows += len(table)
        own_sweeps = {row.name: row for row in self.sweeps()}
        newer = [
            row
            for row in other.sweeps()
            if row.name not in own_sweeps or row.recorded_at > own_sweeps[row.name].recorded_at
        ]
        for row in newer:
            self.record_sweep(row)
        return MergeReport(
            trials=len(theirs),
            new_trials=len(theirs.keys() - before.keys()),
            rows=rows,
            sweeps=tuple(row.name for row in newer),
            replaced_sweeps=tuple(row.name for row in newer if row.name in own_sweeps),
        )

    # --- inside -----------------------------------------------------------------------------------------------

    def _prepare(self, found: bool) -> None:
        files = self._store.files
        files.create_root()
        if not found:
            self._store.create_marker()
        probe = f"{MANIFESTS}/{TEMPORARY}probe"
        files.put(probe, b"")
        files.delete(probe)

    def _put_segment(self, key: str, data: pa.Buffer) -> None:
        """Write a segment, unless it is there; under a key of its own where a rewrite has superseded the plain one.

        After a rewrite another copy does no harm; after a drop it is the only one.
        """
        superseded = self._store.superseded()
        path, copies = f"{SEGMENTS}/{key}.parquet", 0
        while path in superseded:
            copies += 1
            path = f"{SEGMENTS}/{key}-{copies}.parquet"
        if not self._store.files.exists(path):
            self._store.files.put(path, data)

    def _prune_checkpoints(self, trials: Sequence[TrialRow], checkpoints: Sequence[Checkpoint]) -> None:
        """Remove what has been overtaken; never what lies ahead, another worker may be there.

        That of a failed trial goes wherever it is: a trial that is run again begins anew.
        """
        keep_from: dict[str, float] = {checkpoint.trial_id: checkpoint.step for checkpoint in checkpoints}
        keep_from |= {row.trial_id: row.last_step + 1 for row in trials if row.state == TrialState.STOPPED}
        failed = [row.trial_id for row in trials if row.state == TrialState.FAILED]
        standing = self.trials(failed) if failed else {}
        keep_from |= {trial_id: math.inf for trial_id, row in standing.items() if row.state == TrialState.FAILED}
        for trial_id, step in keep_from.items():
            for entry in self._entries_of(trial_id, CHECKPOINTS):
                if checkpoint_name(entry)[1] < step:
                    self._store.files.delete(entry.path)

    def _entries_of(self, trial_id: str, folder: str) -> list[Entry]:
        """A trial's checkpoints or snapshots."""
        path_of, name_of = _FILES_OF_TRIALS[folder]
        entries = self._store.files.entries(path_of(trial_id, 0).rpartition("/")[0])
        return [entry for entry in entries if name_of(entry)[0] == trial_id]

    def _newest(self, trial_ids: Collection[str] | None, entries: Sequence[Entry]) -> dict[str, Entry]:
        """The newest checkpoint of each trial that has a row; the rows are read after the listing."""
        rows = self.trials(trial_ids)
        found: dict[str, tuple[int, Entry]] = {}
        for entry in entries:
            trial_id, step = checkpoint_name(entry)
            if trial_id in rows and step > found.get(trial_id, (-1, entry))[0]:
                found[trial_id] = (step, entry)
        return {trial_id: entry for trial_id, (_, entry) in found.items()}

    def _sizes(self, listing: Listing) -> dict[str, TrialSize]:
        merged = self._store.read(listing, columns=())
        rows = dict.fromkeys(self._store.placed(listing), 0) | count_trials(merged.table)
        share = dict.fromkeys(rows, 0.0)
        checkpoint_bytes, snapshot_bytes = dict.fromkeys(rows, 0), dict.fromkeys(rows, 0)
        counts = self._store.counts(listing.data)
        for entry in listing.data:
            for trial_id, count in counts[entry.path].items():
                share[trial_id] += entry.size * count / counts[entry.path].total()
        for folder, found in ((CHECKPOINTS, checkpoint_bytes), (SNAPSHOTS, snapshot_bytes)):
            for entry in self._store.files.entries(folder, recursive=True):
                trial_id = _FILES_OF_TRIALS[folder][1](entry)[0]
                if trial_id in found:
                    found[trial_id] += entry.size
        return {
            trial_id: TrialSize(count, round(share[trial_id]), checkpoint_bytes[trial_id], snapshot_bytes[trial_id])
            for trial_id, count in rows.items()
        }

    def _sweep_entries(self) -> list[Entry]:
        entries = self._store.files.entries(SWEEPS)
        return [entry for entry in entries if not entry.temporary and entry.name.endswith(".json")]

    def _read_sweep(self, entry: Entry) -> SweepRow | None:
        """A sweep; None where it was dropped meanwhile."""
        try:
            record = json.loads(self._store.files.read(entry.path).to_pybytes())
            if record.pop("schema_version") != SCHEMA_VERSION:
                raise LedgerError(f"ledger: {self.shown}/{entry.path}: written by another version of grokscape")
            return SweepRow(**record | {"trial_ids": tuple(record["trial_ids"])})
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LedgerError(f"ledger: {self.shown}/{entry.path} is torn or foreign: {error}") from None


def _curves(table: pa.Table, *, keep_unmeasured: bool) -> dict[str, np.ndarray]:
    """The columns of one trial's rows as arrays."""
    measured = [
        name for name in probe_columns(table.column_names) if keep_unmeasured or table[name].null_count < len(table)
    ]
    return {"step": table["step"].to_numpy()} | {name: float_values(table[name]) for name in measured}
