"""``export``: plain tables, as any reader of Parquet sees them."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as dataset
import pytest

from pipeline.ledger import Ledger, SweepRow
from pipeline.ledger.__main__ import main
from tests.support.ledger_samples import COLUMNS, commit_steps, record, trial_row, value
from trainables.engine.config import canonical_json
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD
from trainables.engine.tasks import ModularAddition
from trainables.grokking import GrokkingTrial

GROKS = GrokkingTrial(task=ModularAddition(p=7), model=MLP(hidden=(8, 4)), horizon_steps=9)
FAILS = GROKS.replace(optimizer=SGD(learning_rate=0.5))


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """A trial that groks between steps 3 and 4, one that failed, one that was never run; and one of another kind."""
    monkeypatch.chdir(tmp_path)
    ledger = Ledger.open("results/ledger", create=True)
    steps = np.arange(10)
    accuracies = {"train_accuracy": np.where(steps > 1, 1.0, 0.2), "test_accuracy": np.where(steps > 3, 1.0, 0.1)}
    rows = {"trial_id": ["g"] * 10, "step": steps} | accuracies
    ledger.commit([trial_row("g", 9, "finished", config_json=canonical_json(GROKS.to_json()))], rows)
    failed = trial_row("f", 0, "failed", config_json=canonical_json(FAILS.to_json()), error="no", error_kind="error")
    ledger.commit([failed], {})
    commit_steps(ledger, "other", range(3))
    coordinates = [{"arm": "⊥", "seed": 0}, {"arm": "plain", "seed": 0}, {"arm": "plain", "seed": 1}]
    record(ledger, "empty", [])
    ledger.record_sweep(
        SweepRow(
            name="two",
            doc="Does it?\nIt does.",
            axes_json="[]",
            trial_ids=("g", "f", "never"),
            coordinates_json=json.dumps(coordinates),
            horizon_steps=9,
            revision="r",
            recorded_at="2026-01-02",
        )
    )
    return ledger


def tables(folder):
    """The folder's tables by name, as pyarrow's dataset reads the files."""
    return {path.stem: dataset.dataset(path).to_table() for path in Path(folder).iterdir()}


@pytest.mark.parametrize("compacted", [False, True])
def test_the_tables(ledger, capsys, compacted):
    if compacted:
        ledger.compact()
    assert main(["export"]) == 0
    printed = capsys.readouterr().out
    assert (
        printed == f"{ledger.uri}: wrote 2 sweeps, 4 trials and 13 measurements as Parquet tables into results/tables\n"
    )
    found = tables("results/tables")
    assert set(found) == {"sweeps", "trials", "measurements"}
    sweeps = found["sweeps"].to_pylist()
    assert [(row["sweep"], row["trials"]) for row in sweeps] == [("empty", 0), ("two", 3)]
    assert sweeps[1]["doc"] == "Does it?\nIt does."
    trials = {row["trial_id"]: row for row in found["trials"].to_pylist()}
    assert [row["sweep"] for row in trials.values()] == ["two", "two", "two", None]
    assert [row["state"] for row in trials.values()] == ["finished", "failed", None, "running"]
    groks, fails = trials["g"], trials["f"]
    assert (groks["axis.arm"], groks["axis.seed"], groks["phase"]) == ("⊥", 0, "grokking")
    assert [groks[f"t_gen_95_{name}"] for name in ("kind", "low_steps", "high_steps")] == ["event", 3, 4]
    assert [groks[f"t_mem_99_{name}"] for name in ("kind", "low_steps", "high_steps")] == ["event", 1, 2]
    assert (groks["config"], groks["config.task"], groks["config.task.p"]) == ("GrokkingTrial", "ModularAddition", 7)
    assert (groks["config.model.hidden"], groks["config.model.bias"]) == ("[8, 4]", GROKS.model.bias)
    assert (groks["config.optimizer"], fails["config.optimizer"]) == ("AdamW", "SGD")
    assert (fails["config.optimizer.learning_rate"], fails["error"], fails["t_gen_95_kind"]) == (0.5, "no", None)
    types = {field.name: field.type for field in found["trials"].schema}
    assert types["config.optimizer.weight_decay"] == pa.float64()
    assert types["t_gen_95_high_steps"] == types["t_gen_95_relapse_steps"] == pa.int64()
    measured = found["measurements"]
    assert measured.column_names == ["trial_id", "step", *sorted(COLUMNS)]
    assert measured["trial_id"].to_pylist() == ["g"] * 10 + ["other"] * 3
    assert measured["train_loss"].to_pylist() == [None] * 10 + value("other", "train_loss", range(3)).tolist()


def test_some_sweeps_into_a_folder_again(ledger, tmp_path, capsys):
    """Whole files or none: what was there is replaced, and what else is there stays."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    for names, count in ((["two"], 10), (["empty"], 0)):
        assert main(["export", *names, "--ledger", ledger.uri, "--out", "out"]) == 0
        assert sorted(path.name for path in Path("out").iterdir()) == [
            "measurements.parquet",
            "notes.txt",
            "sweeps.parquet",
            "trials.parquet",
        ]
        assert dataset.dataset("out/measurements.parquet").count_rows() == count


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "has no sweep 'nothing'; its sweeps: empty, two"),
        (["--out", "file/tables"], "cannot write the tables into file/tables: Not a directory"),
        (["--out", "s3://bucket/tables"], "--out s3://bucket/tables: must be a folder of this machine"),
    ],
)
def test_bad_input(ledger, capsys, arguments, message):
    Path("file").write_text("")
    assert main(["export", *arguments]) == 2
    assert message in capsys.readouterr().err
