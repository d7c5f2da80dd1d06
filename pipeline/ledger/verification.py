"""Verification: read a whole ledger and report what is missing, damaged, contradictory, stray or unfinished."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.ledger.catalogue import Catalogue, DamagedFileError, Listing
from pipeline.ledger.files import Entry, FileGoneError, LedgerError
from pipeline.ledger.layout import CHECKPOINTS, FOLDERS, SEGMENTS, SNAPSHOTS, is_ours, trial_and_step
from pipeline.ledger.rows import PlacedRow, merge_conflicts, segment_key, trial_slices
from pipeline.ledger.soundness import Conflict
from pipeline.ledger.strays import foreign, strays
from pipeline.ledger.sweep_row import SweepRow
from trainables.engine.config import ConfigError, from_json, parse_json
from trainables.engine.terminal import shown
from trainables.engine.trial import Measuring
from trainables.runtime.archives import check_archive, weights_of
from trainables.runtime.rows import TrialRow, TrialState


class ProblemKind(StrEnum):
    """What is wrong with a ledger."""

    MISSING = "missing"
    """A file, a row or a snapshot that should exist does not."""
    DAMAGED = "damaged"
    """A file cannot be read, or a row has a value that no sweep writes, so that readers leave it out."""
    CONFLICT = "conflict"
    """Different values were committed for one step of a trial."""
    GAP = "gap"
    """A trial lacks rows that its own row promises."""
    STRAY = "stray"
    """A file that a killed process left behind, or that is not the ledger's; no row is affected."""
    UNFINISHED = "unfinished"
    """A sweep has trials that nobody has begun: it runs, or was interrupted, and the same command resumes it."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    kind: ProblemKind
    where: str
    what: str

    @property
    def harmless(self) -> bool:
        """Whether no row is affected."""
        return self.kind in (ProblemKind.STRAY, ProblemKind.UNFINISHED)

    def __str__(self) -> str:
        return shown(f"{self.kind}: {self.where}: {self.what}")


Sweeps = Callable[[], tuple[list[SweepRow], dict[str, str]]]
"""Returns the sweeps, and what is wrong with the others, by path."""


def verify(catalogue: Catalogue, sweeps: Sweeps) -> list[Problem]:
    """Read every row and report everything that is wrong.

    :raises LedgerError: when the ledger cannot be listed.
    """
    return catalogue.retry(lambda: _Checks(catalogue).run(sweeps), attempts=5)


class _Checks:
    """One pass over a ledger."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._problems: list[Problem] = []
        self._digests: dict[str, str] = {}
        """Of the compacted files, by path, as their manifests say."""

    def run(self, sweeps: Sweeps) -> list[Problem]:
        if self._closed_folders():
            return self._problems
        listing = self._catalogue.listing(require_all=False)
        for path, reason in listing.damaged.items():
            self._report(ProblemKind.DAMAGED, path, f"{reason}; restore it from a copy, or delete it and verify again")
        for path in listing.missing:
            self._report(ProblemKind.MISSING, path, "a manifest names this file; restore it from a copy")
        for manifest in listing.manifests.values():
            self._digests |= manifest.digests
        readable = replace(
            listing,
            segments=tuple(filter(self._check_file, listing.segments)),
            trajectories=tuple(filter(self._check_file, listing.trajectories)),
            trials=tuple(filter(self._check_file, listing.trials)),
        )
        latest = self._catalogue.latest_rows(readable)
        merged = self._catalogue.read(readable)
        self._check_conflicts(readable, merged.conflicts)
        self._check_steps(latest, merged.table)
        self._check_sweeps(sweeps, latest)
        self._check_archives(latest)
        self._check_strays(listing, latest)
        return self._problems

    def _closed_folders(self) -> bool:
        """Whether a folder of the ledger is a link or a file, so that nothing more can be said."""
        for folder in FOLDERS:
            try:
                self._catalogue.files.entries(folder)
            except LedgerError as error:
                self._report(ProblemKind.DAMAGED, folder, str(error).removeprefix("ledger: "))
        return bool(self._problems)

    def _report(self, kind: ProblemKind, where: str, what: str) -> None:
        self._problems.append(Problem(kind, where, what))

    def _check_file(self, entry: Entry) -> bool:
        """Return whether a file can be read; report what is wrong with it."""
        before = len(self._problems)
        readable = self._check_content(entry)
        # No checksum of Parquet covers the footer, which names the columns.
        if entry.path in self._digests and len(self._problems) == before:
            content = self._catalogue.files.read(entry.path)
            if hashlib.sha256(content).hexdigest() != self._digests[entry.path]:
                what = "its content is not what its manifest names; restore it from a copy"
                self._report(ProblemKind.DAMAGED, entry.path, what)
        return readable

    def _check_content(self, entry: Entry) -> bool:
        """Return whether every page of a file is intact, and a segment's content is what its name says."""
        try:
            values: list[dict[str, Any]] = []
            if not entry.name.startswith("trajectories-"):
                values = self._catalogue.values_of(entry)
                odd = self._catalogue.rows_of(entry).odd
                for what in odd:
                    self._report(ProblemKind.DAMAGED, entry.path, what)
                if odd or entry.name.startswith("trials-"):
                    return True
            table = self._catalogue.table_of(entry, strict=True)
            if entry.path.startswith(f"{SEGMENTS}/"):
                key = segment_key(values, table.drop_columns(["segment"]))
                if not entry.name.startswith(key):
                    what = f"its content does not match its name (expected {key})"
                    self._report(ProblemKind.DAMAGED, entry.path, what)
                    return False
        except FileGoneError:
            raise
        except LedgerError as error:
            reason = error.reason if isinstance(error, DamagedFileError) else str(error)
            what = f"{reason}; restore it from a copy, or delete it and verify again"
            self._report(ProblemKind.DAMAGED, entry.path, what)
            return False
        return True

    def _check_conflicts(self, listing: Listing, conflicts: Sequence[Conflict]) -> None:
        recorded = [conflict for manifest in listing.manifests.values() for conflict in manifest.conflicts]
        for conflict in merge_conflicts([*recorded, *conflicts]):
            columns = ", ".join(conflict.columns)
            self._report(
                ProblemKind.CONFLICT,
                f"trial {conflict.trial_id}",
                f"different values for {conflict.rows} steps from step {conflict.first_step} on, in {columns}; "
                "readers get the first in the order of segment keys",
            )

    def _check_steps(self, latest: dict[str, PlacedRow], table: pa.Table) -> None:
        """Compare rows and snapshots with each trial's own row: its last step, and when it measures."""
        all_steps = table["step"].to_numpy()
        steps_of = {trial_id: all_steps[rows] for trial_id, rows in trial_slices(table).items()}
        snapshots: dict[str, set[int]] = {}
        for entry in self._catalogue.files.entries(SNAPSHOTS, recursive=True):
            trial_id, step = trial_and_step(entry)
            snapshots.setdefault(trial_id, set()).add(step)
        for trial_id in sorted(latest.keys() | steps_of.keys()):
            steps = steps_of.get(trial_id, np.array([], np.int64))
            if trial_id not in latest:
                self._report(ProblemKind.MISSING, f"trial {trial_id}", f"{len(steps)} rows, but no trial row")
                continue
            row = latest[trial_id].row
            if row.state == TrialState.FAILED and not len(steps):
                continue  # it failed before its first measurement
            if not len(steps) or steps[-1] != row.last_step:
                rows = f"its rows end at step {steps[-1]}" if len(steps) else "it has no rows"
                self._report(ProblemKind.GAP, f"trial {trial_id}", f"{rows}, but its trial row says {row.last_step}")
                continue
            config = parse_json(row.config_json, for_terminal=False)
            expected = _measured_steps(config, row.last_step)
            gaps = np.setdiff1d(expected, steps)
            if len(gaps):
                what = f"{len(gaps)} measured steps are missing, from {gaps[0]} on"
                self._report(ProblemKind.GAP, f"trial {trial_id}", what)
            lost = sorted(_snapshot_steps(config, row, expected) - snapshots.get(trial_id, set()))
            if lost:
                what = f"{len(lost)} snapshots, from step {lost[0]} on"
                self._report(ProblemKind.MISSING, f"trial {trial_id}", what)

    def _check_sweeps(self, sweeps: Sweeps, latest: dict[str, PlacedRow]) -> None:
        rows, odd = sweeps()
        for path, reason in odd.items():
            self._report(ProblemKind.DAMAGED, path, f"{reason}; delete it, or run the sweep again")
        for sweep in rows:
            missing = [trial_id for trial_id in sweep.trial_ids if trial_id not in latest]
            if missing:
                some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
                what = f"{len(missing)} of its {len(sweep.trial_ids)} trials have no row yet: {some}"
                hint = "if it was interrupted, run the same command again to resume"
                self._report(ProblemKind.UNFINISHED, f"sweep {sweep.name}", f"{what}; {hint}")

    def _check_archives(self, latest: Collection[str]) -> None:
        """Check the sums of checkpoints and snapshots; nothing in a checkpoint is unpickled."""
        for folder, check in ((CHECKPOINTS, check_archive), (SNAPSHOTS, weights_of)):
            for entry in self._catalogue.files.entries(folder, recursive=True):
                if not is_ours(entry.path) or trial_and_step(entry)[0] not in latest:
                    continue
                try:
                    check(self._catalogue.files.read(entry.path).to_pybytes())
                except FileGoneError:
                    continue  # a newer one has replaced it
                except ValueError as error:
                    self._report(ProblemKind.DAMAGED, entry.path, f"{error}; delete it")

    def _check_strays(self, listing: Listing, latest: dict[str, PlacedRow]) -> None:
        for entry in listing.leftover:
            self._report(ProblemKind.STRAY, entry.path, "superseded; compact deletes it")
        for path, what in foreign(self._catalogue):
            self._report(ProblemKind.STRAY, path, what)
        for entry, what in strays(self._catalogue, listing, latest):
            self._report(ProblemKind.STRAY, entry.path, f"{what}; compact deletes it when it is an hour old")


def _measured_steps(config: Mapping[str, Any], last_step: int) -> np.ndarray:
    """Return the steps at which a trial is measured; none for a config that does not say."""
    try:
        schedule = from_json(config["measuring"])
        return schedule.steps(last_step) if isinstance(schedule, Measuring) else np.array([], np.int64)
    except (ConfigError, KeyError, MemoryError):
        return np.array([], np.int64)


def _snapshot_steps(config: Mapping[str, Any], row: TrialRow, measured: np.ndarray) -> set[int]:
    """Return the steps at which a trial's weights are kept: every n-th measurement, and its end."""
    every = config.get("snapshots_every")
    if not len(measured) or not isinstance(every, int) or every < 1:
        return set()
    return set(measured[::every].tolist()) | (
        {row.last_step} if row.state in (TrialState.FINISHED, TrialState.STOPPED) else set()
    )
