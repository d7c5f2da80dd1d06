"""The ledger: every measured row exactly once, in Parquet, in a folder or an object store.

Workers commit to it themselves, without a server or a lock::

    grokscape-ledger.json            marks the folder as a ledger, with the version of its schema
    segments/<key>.parquet           one commit: trajectory rows, and trial rows in the metadata
    compacted/trajectories-*.parquet many commits, rewritten: plain tables for any reader of Parquet
    compacted/trials-*.parquet       one row a trial, and one for each other protocol that it was run with
    manifests/<id>.json              the files that a rewrite wrote, and those that they supersede
    sweeps/<name>.json               the trials of a sweep, in order
    checkpoints/<xx>/<trial_id>.<step>.ckpt
    snapshots/<xx>/<trial_id>.<step>.npz

A commit is one file under a key that its content determines, so that a zombie and its successor write the same
file; copies of a row (segments may overlap without being equal) are merged when they are read.
"""

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.ledger.catalogue import Catalogue, DamagedFileError
from pipeline.ledger.compaction import CompactReport, compact
from pipeline.ledger.files import TEMPORARY, Entry, FileGoneError, LedgerError
from pipeline.ledger.layout import (
    CHECKPOINTS,
    MANIFESTS,
    MARKER,
    SEGMENTS,
    SNAPSHOTS,
    SWEEPS,
    check_name,
    is_ours,
    trial_and_step,
    trial_path,
)
from pipeline.ledger.rows import curves_of, make_segment, probe_columns, trial_slices
from pipeline.ledger.sizes import TrialSize, trial_sizes
from pipeline.ledger.soundness import SCHEMA_VERSION, UnsoundError, sweep_row
from pipeline.ledger.strays import may_continue
from pipeline.ledger.sweep_row import SweepRow
from pipeline.ledger.verification import Problem, verify
from trainables.engine.config import parse_json
from trainables.engine.errors import one_line
from trainables.runtime.rows import Checkpoint, Snapshot, TrialRow, TrialState

MERGED_TRIALS = 64
"""How many trials one commit of a merge copies: their checkpoints are in memory together."""
TRIALS_PER_READ, _TRIALS_PER_READ_OF_COLUMNS = 100, 500
"""How many trials' trajectories an iterator has in memory: with every column, and with named ones."""
VALUES_PER_READ, _COLUMNS = 1 << 22, 32
"""More trials than that, up to this number of values together: each read may open every file.  The number of columns
is a guess where all are read."""


class LedgerMissingError(LedgerError):
    """There is no ledger at the address."""


@dataclass(frozen=True)
class DropReport:
    """How many trials a drop deleted, and how many it kept because another sweep has them."""

    trials: int
    kept: int


@dataclass(frozen=True)
class MergeReport:
    """What one ledger copied from another."""

    trials: int
    new_trials: int
    rows: int
    sweeps: tuple[str, ...]
    replaced_sweeps: tuple[str, ...]
    """Those of ``sweeps`` that replaced an older record of the same name."""


class Ledger:
    """One ledger.  Picklable: a copy in another process opens the files itself, when it first needs them."""

    def __init__(self, uri: str) -> None:
        """Name a ledger without checking that it exists; use :meth:`open`."""
        self._catalogue = Catalogue(uri)
        self.uri = self._catalogue.files.uri

    @classmethod
    def open(cls, uri: str, *, create: bool = False) -> "Ledger":
        """Open the ledger at a local path or at any address that ``pyarrow.fs`` opens.

        ``s3://bucket/prefix?scheme=http&endpoint_override=host:port`` names a store other than Amazon's.

        :param create: create one where there is nothing yet, and check that it can be written.
        :raises LedgerMissingError: when there is no ledger, without ``create``.
        :raises LedgerError: when the place holds something else or cannot be written, or its schema is not
            :data:`SCHEMA_VERSION`.
        """
        ledger = cls(uri)
        # In this order: another process may be creating the ledger, and writes the marker first.
        names = ledger._catalogue.files.root_entries()
        marked = ledger._catalogue.check_marker()
        if not marked and names:
            raise LedgerError(
                f"ledger: {ledger.shown} is not a ledger: it has no {MARKER}, but contains {names[0]}; "
                "choose a ledger, an empty folder or a new one"
            )
        if not marked and not create:
            raise LedgerMissingError(f"ledger: there is no ledger at {ledger.shown}; run a sweep to create one")
        if create:
            ledger._prepare(marked)
        return ledger

    @property
    def shown(self) -> str:
        """The address as messages show it: without credentials."""
        return self._catalogue.files.shown

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

        Committing the same content again changes nothing, whatever its times and places.  A checkpoint replaces the
        trial's earlier ones; those of a trial that has failed, diverged or frozen are deleted.

        :param trajectory: equally long columns: ``trial_id``, ``step`` and one for each probe; None is not measured.
        :raises LedgerError: when the rows contradict each other, or cannot be written; then nothing was stored.
        """
        with_row = {row.trial_id for row in trials}
        for what, items in (("checkpoint", checkpoints), ("snapshot", snapshots)):
            for item in items:
                if item.trial_id not in with_row:
                    where = f"the {what} of trial {item.trial_id} at step {item.step}"
                    raise LedgerError(f"ledger: {where} has no trial row in its commit")
        key, segment = make_segment(trials, trajectory)
        # In this order: rows must never promise a snapshot or a checkpoint that does not exist, and a checkpoint
        # carries the rows that came with it, whose snapshots nobody takes again.  So a process may die at any point.
        files = [(trial_path(SNAPSHOTS, item.trial_id, item.step), item.data, False) for item in snapshots]
        # A checkpoint at the same step may come from a protocol that measured less: replace it.
        files += [(trial_path(CHECKPOINTS, item.trial_id, item.step), item.data, True) for item in checkpoints]
        written: list[str] = []
        try:
            for path, data, replaces in files:
                exists = self._catalogue.files.exists(path)
                if replaces or not exists:
                    self._catalogue.files.put(path, data)
                if not exists:
                    written.append(path)
            self._put_segment(key, segment)
        except LedgerError:
            for path in written:
                with suppress(LedgerError):
                    self._catalogue.files.delete(path)
            raise
        self._prune_checkpoints(trials, checkpoints)

    def trials(self, trial_ids: Collection[str] | None = None) -> dict[str, TrialRow]:
        """Return the current row of each trial, ordered by trial.

        It is the one with the largest last step; at the same step an ended trial beats a running one, and any other
        end beats a failure.
        """
        latest = self._catalogue.retry_on_rewrite(self._catalogue.latest_rows)
        selected = sorted(latest) if trial_ids is None else sorted(set(trial_ids) & latest.keys())
        return {trial_id: latest[trial_id].row for trial_id in selected}

    def other_protocols(self) -> dict[str, list[TrialRow]]:
        """Return, for each trial that was run with several protocols, the furthest row of each but the current row's.

        A trial that went to its horizon may have been run again, not as far, with more probes: its trajectory has
        both, and only its rows say which measurements each run made.
        """
        others: dict[str, list[TrialRow]] = {}
        current = self.trials()
        for placed in self._catalogue.retry_on_rewrite(self._catalogue.latest_by_protocol):
            row = placed.row
            if row.trial_id in current and row.config_json != current[row.trial_id].config_json:
                others.setdefault(row.trial_id, []).append(row)
        return others

    def trajectories(self, trial_ids: Collection[str] | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the trajectory rows of some trials (default: all), one for each (trial_id, step), in that order.

        :param columns: the probes to read; default: all that any file has.
        :return: ``trial_id`` (string), ``step`` (int64), and float64 columns: null where not measured.
        """
        merged = self._catalogue.retry_on_rewrite(lambda listing: self._catalogue.read(listing, trial_ids, columns))
        table = merged.table
        arrays = {"trial_id": table["trial_id"].cast(pa.string()), "step": table["step"]}
        for name in columns if columns is not None else probe_columns(table.column_names):
            missing = name not in table.column_names
            arrays[name] = pa.chunked_array([pa.nulls(len(table), pa.float64())]) if missing else table[name]
        return pa.table(arrays)

    def iter_trajectories(
        self, trial_ids: Iterable[str], columns: Sequence[str] | None = None
    ) -> Iterator[tuple[str, pa.Table]]:
        """Yield each of these trials with its :meth:`trajectories`, in the order of ``trial_ids``.

        Only a batch of trials is in memory.  A trial without rows comes with an empty table.
        """
        for batch in self._batches(list(trial_ids), columns):
            table = self.trajectories(batch, columns)
            slices = trial_slices(table)
            for trial_id in batch:
                rows = slices.get(trial_id, slice(0, 0))
                yield trial_id, table.slice(rows.start, rows.stop - rows.start)

    def _batches(self, trial_ids: list[str], columns: Sequence[str] | None) -> Iterator[list[str]]:
        """Divide trials into what an iterator reads together."""
        least = TRIALS_PER_READ if columns is None else _TRIALS_PER_READ_OF_COLUMNS
        most_rows = VALUES_PER_READ // (_COLUMNS if columns is None else len(columns) + 2)
        rows = self.trials(trial_ids)
        batch: list[str] = []
        total = 0
        for trial_id in trial_ids:
            own = rows[trial_id].last_step + 1 if trial_id in rows else 0  # at most one a step
            if len(batch) >= least and total + own > most_rows:
                yield batch
                batch, total = [], 0
            batch.append(trial_id)
            total += own
        if batch:
            yield batch

    def probes(self) -> list[str]:
        """Return every column of measurements that any trial has, sorted."""
        return sorted(self._catalogue.retry_on_rewrite(self._catalogue.probes))

    def curves(
        self, trial_ids: Iterable[str], columns: Sequence[str] | None = None
    ) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        """Yield each of these trials that has rows with its curves, in the order of ``trial_ids``.

        Only a batch of trials is in memory.

        :param columns: the probes to read; default: those that the trial has measured.
        :return: pairs of a trial's id and its columns, equally long: ``step`` (int64, ascending), and float64 probes,
            NaN where not measured.
        """
        for trial_id, table in self.iter_trajectories(trial_ids, columns):
            if len(table):
                yield trial_id, curves_of(table, keep_unmeasured=columns is not None)

    def history(self, trial_id: str, columns: Sequence[str]) -> dict[str, np.ndarray]:
        """Read the :meth:`curves` of one trial; the columns are empty while it has no rows."""
        return curves_of(self.trajectories([trial_id], columns), keep_unmeasured=True)

    def checkpoint(self, trial_id: str) -> Checkpoint | None:
        """Read the newest checkpoint of a trial, or return None; it may be ahead of the rows."""

        def read() -> Checkpoint | None:
            step = self._newest([trial_id], self._entries_of(trial_id, CHECKPOINTS)).get(trial_id)
            if step is None:
                return None
            data = self._catalogue.files.read(trial_path(CHECKPOINTS, trial_id, step)).to_pybytes()
            return Checkpoint(trial_id=trial_id, step=step, data=data)

        return self._catalogue.retry(read)

    def discard(self, checkpoint: Checkpoint) -> None:
        """Delete a checkpoint that cannot be used."""
        self._catalogue.files.delete(trial_path(CHECKPOINTS, checkpoint.trial_id, checkpoint.step))

    def checkpoint_steps(self, trial_ids: Collection[str] | None = None) -> dict[str, int]:
        """Return the step of the newest checkpoint of each trial that has one."""
        return self._newest(trial_ids, self._catalogue.files.entries(CHECKPOINTS, recursive=True))

    def snapshot_steps(self, trial_id: str) -> list[int]:
        """Return the steps at which a trial's weights are kept, ascending."""
        return sorted(trial_and_step(entry)[1] for entry in self._entries_of(trial_id, SNAPSHOTS))

    def snapshots(self, trial_id: str) -> dict[int, bytes]:
        """Read a trial's weights by step, ascending, as :func:`numpy.savez` wrote them."""
        paths = {step: trial_path(SNAPSHOTS, trial_id, step) for step in self.snapshot_steps(trial_id)}
        try:
            return {step: self._catalogue.files.read(path).to_pybytes() for step, path in paths.items()}
        except FileGoneError:
            return {}  # dropped meanwhile

    # --- sweeps -----------------------------------------------------------------------------------------------

    def record_sweep(self, sweep: SweepRow) -> None:
        """Store a sweep; replace one of the same name (its trials stay)."""
        check_name("sweep", sweep.name)
        record = {"schema_version": SCHEMA_VERSION} | asdict(sweep)
        try:
            record |= asdict(sweep_row(record, sweep.name))
        except UnsoundError as error:
            raise LedgerError(f"ledger: {error}") from None
        self._catalogue.files.put(f"{SWEEPS}/{sweep.name}.json", json.dumps(record, indent=1).encode())

    def sweeps(self) -> list[SweepRow]:
        """Return every sweep whose record is sound, in the order in which they were recorded."""
        return self._read_sweeps()[0]

    def sweep(self, name: str) -> SweepRow:
        """Return one sweep.

        :raises LedgerError: when there is none of this name, or it is unsound; the message lists the sweeps.
        """
        sweeps, odd = self._read_sweeps()
        if reason := odd.get(path := f"{SWEEPS}/{name}.json"):
            raise DamagedFileError(f"{self.shown}/{path}", reason)
        rows = {row.name: row for row in sweeps}
        if name not in rows:
            names = ", ".join(sorted(rows)) or "none yet"
            raise LedgerError(f"ledger: {self.shown} has no sweep {name!r}; its sweeps: {names}")
        return rows[name]

    # --- upkeep -----------------------------------------------------------------------------------------------

    def files(self) -> int:
        """Count the files that the rows take; sweeps, checkpoints and snapshots come on top."""
        return self._catalogue.listing().file_count

    def sizes(self) -> dict[str, TrialSize]:
        """Return the size of each trial."""
        return self._catalogue.retry_on_rewrite(lambda listing: trial_sizes(self._catalogue, listing))

    def compact(self) -> CompactReport:
        """Rewrite the segments into few files; safe during commits, reads and other compactions."""
        return compact(self._catalogue)

    def compact_if_needed(self, max_files: int = 256) -> CompactReport | None:
        """Compact when there are more than ``max_files`` segments; else return None."""
        return self.compact() if len(self._catalogue.listing().segments) > max_files else None

    def verify(self) -> list[Problem]:
        """Read every row and report everything that is missing, damaged, contradictory or stray."""
        return verify(self._catalogue, self._read_sweeps)

    def left_out(self) -> list[str]:
        """Say which files have rows that readers leave out, because they are unsound; :meth:`verify` says why."""
        rows = self._catalogue.retry_on_rewrite(self._catalogue.odd_rows)
        return sorted([*rows, *self._read_sweeps()[1]])

    def drop(self, sweep_name: str) -> DropReport:
        """Delete a sweep, and those of its trials that no other sweep has.

        Do not run it while a sweep with the same trials runs: what its workers commit meanwhile may stay or go.
        """
        sweep = self.sweep(sweep_name)
        sweeps, odd = self._read_sweeps()
        if odd:
            where = min(odd)
            raise LedgerError(
                f"ledger: {self.shown}/{where} is unsound, so that its trials are not known, which may be those of "
                f"{sweep_name}; delete it first, or run that sweep again"
            )
        others = [row for row in sweeps if row.name != sweep_name]
        shared = {trial_id for row in others for trial_id in row.trial_ids}
        dropped = frozenset(sweep.trial_ids) - shared
        count = self.drop_trials(dropped)
        # Last, so that an interrupted drop can be run again.
        self._catalogue.files.delete(f"{SWEEPS}/{sweep_name}.json")
        return DropReport(trials=count, kept=len(set(sweep.trial_ids) & shared))

    def drop_trials(self, trial_ids: Collection[str]) -> int:
        """Delete the rows, checkpoints and snapshots of some trials, whichever sweeps have them; return how many."""
        dropped = frozenset(trial_ids)
        report = compact(self._catalogue, drop=dropped)
        for folder in (CHECKPOINTS, SNAPSHOTS):
            for entry in self._catalogue.files.entries(folder, recursive=True):
                if trial_and_step(entry)[0] in dropped:
                    self._catalogue.files.delete(entry.path)
        return report.dropped

    def merge(self, other: "Ledger") -> MergeReport:
        """Copy everything from another ledger; doing it again changes nothing.

        Of two sweeps of the same name the one recorded later wins.
        """
        if other.uri == self.uri:
            raise LedgerError(f"ledger: {self.shown} cannot be merged into itself")
        before = self.trials()
        theirs, their_others = other.trials(), other.other_protocols()
        ordered = sorted(theirs)
        rows = 0
        for start in range(0, len(ordered), MERGED_TRIALS):
            batch = ordered[start : start + MERGED_TRIALS]
            table = other.trajectories(batch)
            checkpoints = [checkpoint for checkpoint in map(other.checkpoint, batch) if checkpoint is not None]
            columns = {name: table[name].combine_chunks() for name in table.column_names}
            for trial_id in batch:  # one snapshot at a time in memory
                for step in set(other.snapshot_steps(trial_id)) - set(self.snapshot_steps(trial_id)):
                    path = trial_path(SNAPSHOTS, trial_id, step)
                    self._catalogue.files.put(path, other._catalogue.files.read(path))
            self.commit([theirs[trial_id] for trial_id in batch], columns, checkpoints)
            for row in (row for trial_id in batch for row in their_others.get(trial_id, ())):
                self.commit([row], {})
            rows += len(table)
        own_sweeps = {row.name: row for row in self.sweeps()}
        newer = [
            sweep
            for sweep in other.sweeps()
            if sweep.name not in own_sweeps or sweep.recorded_at > own_sweeps[sweep.name].recorded_at
        ]
        for sweep in newer:
            self.record_sweep(sweep)
        return MergeReport(
            trials=len(theirs),
            new_trials=len(theirs.keys() - before.keys()),
            rows=rows,
            sweeps=tuple(sweep.name for sweep in newer),
            replaced_sweeps=tuple(sweep.name for sweep in newer if sweep.name in own_sweeps),
        )

    # --- private ----------------------------------------------------------------------------------------------

    def _prepare(self, marked: bool) -> None:
        """Create what is missing, and check that the ledger can be written."""
        files = self._catalogue.files
        files.create_root()
        if not marked:
            self._catalogue.create_marker()
        probe = f"{MANIFESTS}/{TEMPORARY}probe"
        files.put(probe, b"")
        files.delete(probe)

    def _put_segment(self, key: str, data: pa.Buffer) -> None:
        """Write a segment unless it exists; use another name where a rewrite has superseded the plain one.

        After a rewrite this copy does no harm; after a drop it is the only one.
        """
        superseded = self._catalogue.superseded()
        path, copies = f"{SEGMENTS}/{key}.parquet", 0
        while path in superseded:
            copies += 1
            path = f"{SEGMENTS}/{key}-{copies}.parquet"
        if not self._catalogue.files.exists(path):
            self._catalogue.files.put(path, data)

    def _prune_checkpoints(self, trials: Sequence[TrialRow], checkpoints: Sequence[Checkpoint]) -> None:
        """Delete superseded checkpoints, but none that is ahead: another worker may have written it.

        A failed trial loses all of them: it is run again from its beginning.
        """
        keep_from: dict[str, float] = {checkpoint.trial_id: checkpoint.step for checkpoint in checkpoints}
        keep_from |= {row.trial_id: row.last_step + 1 for row in trials if not may_continue(row)}
        failed = [row.trial_id for row in trials if row.state == TrialState.FAILED]
        current = self.trials(failed) if failed else {}
        keep_from |= {trial_id: math.inf for trial_id, row in current.items() if row.state == TrialState.FAILED}
        for trial_id, step in keep_from.items():
            for entry in self._entries_of(trial_id, CHECKPOINTS):
                if trial_and_step(entry)[1] < step:
                    self._catalogue.files.delete(entry.path)

    def _entries_of(self, trial_id: str, folder: str) -> list[Entry]:
        """List a trial's checkpoints or snapshots."""
        entries = self._catalogue.files.entries(trial_path(folder, trial_id, 0).rpartition("/")[0])
        return [entry for entry in entries if trial_and_step(entry)[0] == trial_id]

    def _newest(self, trial_ids: Collection[str] | None, entries: Sequence[Entry]) -> dict[str, int]:
        """Return the step of the newest checkpoint of each trial that has a row; read the rows after the listing."""
        rows = self.trials(trial_ids)
        newest: dict[str, int] = {}
        for trial_id, step in map(trial_and_step, entries):
            if trial_id in rows:
                newest[trial_id] = max(step, newest.get(trial_id, step))
        return newest

    def _read_sweeps(self) -> tuple[list[SweepRow], dict[str, str]]:
        """Read the sweeps, in the order in which they were recorded; and what is wrong with the others, by path."""
        rows, odd = [], {}
        for entry in self._catalogue.files.entries(SWEEPS):
            if not is_ours(entry.path):
                continue
            with suppress(FileGoneError):  # dropped meanwhile
                try:
                    record = parse_json(self._catalogue.files.read(entry.path).to_pybytes(), for_terminal=False)
                    rows.append(sweep_row(record, entry.name.removesuffix(".json")))
                except (ValueError, UnsoundError) as error:
                    odd[entry.path] = one_line(error)
        return sorted(rows, key=lambda row: (row.recorded_at, row.name)), odd
