"""What each trial takes: its measurements, and the bytes of its rows, checkpoints and snapshots."""

from dataclasses import dataclass

from pipeline.ledger.catalogue import Catalogue, Listing
from pipeline.ledger.layout import CHECKPOINTS, SNAPSHOTS, trial_and_step
from pipeline.ledger.rows import count_trials


@dataclass(frozen=True)
class TrialSize:
    """The size of one trial: its trajectory rows, its share of the files, its checkpoints, its snapshots."""

    rows: int
    bytes: int
    checkpoint_bytes: int
    snapshot_bytes: int


def trial_sizes(catalogue: Catalogue, listing: Listing) -> dict[str, TrialSize]:
    """Measure every trial; a file of several is shared among them by their numbers of measurements."""
    merged = catalogue.read(listing, columns=())
    rows = dict.fromkeys(catalogue.latest_rows(listing), 0) | count_trials(merged.table)
    share = dict.fromkeys(rows, 0.0)
    checkpoint_bytes, snapshot_bytes = dict.fromkeys(rows, 0), dict.fromkeys(rows, 0)
    counts = catalogue.counts(listing)
    for entry in listing.data:
        for trial_id, count in counts[entry.path].items():
            share[trial_id] += entry.size * count / counts[entry.path].total()
    for folder, sizes in ((CHECKPOINTS, checkpoint_bytes), (SNAPSHOTS, snapshot_bytes)):
        for entry in catalogue.files.entries(folder, recursive=True):
            trial_id = trial_and_step(entry)[0]
            if trial_id in sizes:
                sizes[trial_id] += entry.size
    return {
        trial_id: TrialSize(count, round(share[trial_id]), checkpoint_bytes[trial_id], snapshot_bytes[trial_id])
        for trial_id, count in rows.items()
    }
