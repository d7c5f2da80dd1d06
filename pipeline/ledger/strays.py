"""Files that killed processes leave behind: no row is affected, and a compaction deletes them when they are stale."""

from collections.abc import Iterator, Mapping
from itertools import chain

from pipeline.ledger.catalogue import Catalogue, Listing
from pipeline.ledger.files import Entry
from pipeline.ledger.layout import CHECKPOINTS, FOLDERS, SNAPSHOTS, SWEEPS, is_ours, trial_and_step
from pipeline.ledger.rows import PlacedRow
from trainables.engine.events import StopReason
from trainables.runtime.rows import TrialRow, TrialState

STALE_S = 3600.0
"""A stray file is deleted at this age; a younger one may belong to a process that is still at work."""


def may_continue(row: TrialRow) -> bool:
    """Whether the trial's checkpoint is of use.

    Another sweep may raise the horizon of a finished trial, or declare an event that did not stop this one; a trial
    that has diverged or frozen is complete, and a failed one is run again from its beginning.
    """
    return row.state != TrialState.FAILED and row.stop_reason not in (StopReason.DIVERGED, StopReason.FROZEN)


def strays(catalogue: Catalogue, listing: Listing, latest: Mapping[str, PlacedRow]) -> Iterator[tuple[Entry, str]]:
    """Find the stray files that a compaction deletes once they are stale, and say what each is.

    :param latest: the current row of each trial.
    """
    entries = {folder: catalogue.files.entries(folder, recursive=True) for folder in (SWEEPS, CHECKPOINTS, SNAPSHOTS)}
    for entry in chain(listing.temporary, catalogue.files.entries(""), *entries.values()):
        if entry.temporary:
            yield entry, "a temporary file"
    for entry in entries[SNAPSHOTS]:
        if is_ours(entry.path) and trial_and_step(entry)[0] not in latest:
            yield entry, "the snapshot of a trial that has no row"
    checkpoints = [(entry, *trial_and_step(entry)) for entry in entries[CHECKPOINTS] if is_ours(entry.path)]
    newest: dict[str, int] = {}
    for _, trial_id, step in checkpoints:
        newest[trial_id] = max(step, newest.get(trial_id, -1))
    for entry, trial_id, step in checkpoints:
        if trial_id not in latest:
            yield entry, "the checkpoint of a trial that has no row"
        elif not may_continue(row := latest[trial_id].row):
            yield entry, f"the checkpoint of a trial that has {row.stop_reason or row.state}"
        elif step < newest[trial_id]:
            yield entry, "an older checkpoint than the trial's newest"


def foreign(catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """Find what is in the ledger's folders without a name of its own, by path; nobody reads or deletes it."""
    for folder in FOLDERS:
        for path in catalogue.files.links(folder):
            yield path, "a link, which is never followed"
        for entry in catalogue.files.entries(folder, recursive=True):
            if not entry.temporary and not is_ours(entry.path):
                yield entry.path, "not a file of the ledger"


def delete_stale(catalogue: Catalogue, listing: Listing, latest: Mapping[str, PlacedRow]) -> None:
    """Delete the stray files that nobody can still be working on."""
    for entry, _ in strays(catalogue, listing, latest):
        if entry.age_s > STALE_S:
            catalogue.files.delete(entry.path)
