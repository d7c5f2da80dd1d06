"""A made-up sweep of any size in a ledger, written as the files that a compaction leaves; nothing is trained.

Committing and compacting 50 million rows takes longer than anything that reads them, so the files are written directly.
"""

import hashlib
import json
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow as pa

from pipeline.ledger import Ledger, SweepRow
from pipeline.ledger.catalogue import Manifest
from pipeline.ledger.compaction import FULL_ROWS
from pipeline.ledger.layout import COMPACTED, MANIFESTS
from pipeline.ledger.rows import PlacedRow, to_parquet, trial_table
from tests.support.sample_sweep import COLUMNS
from trainables.engine.config import canonical_json, digest
from trainables.engine.models import MLP
from trainables.engine.optimizers import AdamW
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Measuring, Seeds
from trainables.grokking import GrokkingTrial
from trainables.runtime.rows import TrialRow, TrialState

HORIZON_STEPS, SIDE, GRID = 100_000, 20, 400
"""A grid of 20 learning rates and 20 weight decays; what is more than 400 trials are seeds."""
NAME = "large"
MEASURING = Measuring(dense_until_steps=103, ratio=1.0185)
"""500 rows a trial."""


def write(folder: Path, trials: int) -> Ledger:
    """A ledger with the sweep :data:`NAME`; the same numbers give the same trials."""
    ledger = Ledger.open(str(folder), create=True)
    rng = np.random.default_rng(0)
    coordinates = [
        {
            "optimizer.learning_rate": round(1e-4 * 1.3 ** (number % SIDE), 8),
            "optimizer.weight_decay": round(0.01 * 1.5 ** (number // SIDE % SIDE), 6),
            "seed": number // GRID,
        }
        for number in range(trials)
    ]
    ids = [digest(place) for place in coordinates]
    steps = MEASURING.steps(HORIZON_STEPS)
    rows = len(steps)
    noise = {name: rng.lognormal(0, 1, min(FULL_ROWS, trials * rows) + rows) for name in COLUMNS}
    paths, placed = [], []
    order = sorted(range(trials), key=ids.__getitem__)
    size = -(-FULL_ROWS // rows)
    for start in range(0, trials, size):
        chunk = order[start : start + size]
        columns = _trajectories([coordinates[number] for number in chunk], chunk, steps, noise)
        names = pa.array([ids[number] for number in chunk])
        segments = pa.array([digest([ids[number]]) + "0" * 16 for number in chunk])
        codes = pa.array(np.repeat(np.arange(len(chunk), dtype=np.int32), rows))
        table = pa.table(
            {
                "trial_id": pa.DictionaryArray.from_arrays(codes, names),
                **{name: pa.array(values) for name, values in columns.items()},
                "segment": pa.DictionaryArray.from_arrays(codes, segments),
            }
        )
        paths.append(_put(folder, "trajectories", start, to_parquet(table)))
        placed += [PlacedRow(_row(ids[number], coordinates[number]), "0" * 32) for number in chunk]
    paths.append(_put(folder, "trials", 0, to_parquet(trial_table(placed))))
    manifest = Manifest(files=tuple(path for path, _ in paths), supersedes=(), conflicts=(), digests=dict(paths))
    (folder / MANIFESTS).mkdir(exist_ok=True)
    (folder / MANIFESTS / f"{UUID(int=1).hex}.json").write_bytes(manifest.to_json())
    base = _config(coordinates[0])
    ledger.record_sweep(
        SweepRow(
            name=NAME,
            doc="When does a made-up trial grok?\n\nNothing is trained.",
            axes_json=canonical_json(
                {
                    "arms": [],
                    "axes": [
                        {"path": path, "kind": "listed"}
                        for path in ("optimizer.learning_rate", "optimizer.weight_decay")
                    ],
                    "seeds": [],
                    "events": [rule.to_json() for rule in base.events],
                    "phases": [rule.to_json() for rule in base.phases],
                }
            ),
            trial_ids=tuple(ids),
            coordinates_json=canonical_json(coordinates),
            horizon_steps=HORIZON_STEPS,
            revision="r1",
            recorded_at="2026-01-02T03:04:05+00:00",
        )
    )
    return ledger


def _trajectories(places, seeds, steps, noise):
    """The columns of some trials, one after the other."""
    known = np.maximum(steps, 0.5)
    train, test = [], []
    for place, seed in zip(places, seeds, strict=True):
        rng = np.random.default_rng(seed)
        t_mem = 200 * (1 + rng.random())
        t_gen = 1200 / place["optimizer.weight_decay"] ** 0.8 * (1 + rng.random())
        # Logistic in log(step), with noise, so that crossings are undone and found again.
        wave = 1 + 0.1 * rng.standard_normal(len(steps))
        train.append(1 / (1 + (t_mem / known * wave) ** 6 / 99))
        test.append(1 / (1 + (t_gen / known * wave) ** 6 / 19))
    columns = {"step": np.tile(steps, len(places))}
    columns |= {name: noise[name][: len(columns["step"])] for name in COLUMNS}
    columns["train_accuracy"] = np.round(np.concatenate(train) * 5107) / 5107
    columns["test_accuracy"] = np.round(np.concatenate(test) * 7662) / 7662
    return columns


def _config(place) -> GrokkingTrial:
    return GrokkingTrial(
        task=ModularAddition(),
        model=MLP(),
        optimizer=AdamW(learning_rate=place["optimizer.learning_rate"], weight_decay=place["optimizer.weight_decay"]),
        seeds=Seeds.all(place["seed"]),
        measuring=MEASURING,
        horizon_steps=HORIZON_STEPS,
    )


def _row(trial_id, place) -> TrialRow:
    return TrialRow(
        trial_id=trial_id,
        config_json=canonical_json(_config(place).to_json()),
        state=TrialState.FINISHED,
        last_step=HORIZON_STEPS,
        device_kind="cpu:made up",
        data_fingerprint="data",
        source_hash="source",
        provenance_json=json.dumps({"made": "up", "versions": {"torch": "2.13"}, "platform": "x" * 400}),
        committed_at="2026-01-02T03:04:05+00:00",
    )


def _put(folder: Path, kind: str, number: int, content: pa.Buffer) -> tuple[str, str]:
    """Write a compacted file; its path and digest."""
    path = f"{COMPACTED}/{kind}-{UUID(int=number + 1).hex}.parquet"
    (folder / COMPACTED).mkdir(exist_ok=True)
    (folder / path).write_bytes(content)
    return path, hashlib.sha256(content).hexdigest()
