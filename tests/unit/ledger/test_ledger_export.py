"""``export``: plain tables, as any reader of Parquet sees them."""

import errno
import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.dataset as dataset
import pyarrow.parquet as pq
import pytest

from pipeline.ledger import Ledger, SweepRow
from pipeline.ledger.__main__ import main
from pipeline.ledger.views.export import export
from tests.support.ledger_samples import COLUMNS, commit_steps, record, trial_row
from trainables.engine.config import canonical_json
from trainables.engine.events import rises_to
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
    return {path.stem: dataset.dataset(path).to_table() for path in Path(folder).glob("*.parquet")}


@pytest.mark.parametrize("compacted", [False, True])
def test_the_tables(ledger, capsys, compacted):
    if compacted:
        ledger.compact()
    assert main(["export", "two"]) == 0
    printed = capsys.readouterr().out
    assert printed == f"{ledger.uri}: wrote 3 trials and 10 measurements of two into results/tables/two\n"
    found = tables("results/tables/two")
    assert set(found) == {"trials", "measurements"}
    sweep = json.loads(Path("results/tables/two/sweep.json").read_text())
    assert (sweep["sweep"], sweep["doc"], sweep["axes"]) == ("two", "Does it?\nIt does.", ["arm", "seed"])
    trials = {row["trial_id"]: row for row in found["trials"].to_pylist()}
    assert list(trials) == ["g", "f", "never"]  # in the order of the sweep
    assert [row["state"] for row in trials.values()] == ["finished", "failed", "missing"]
    groks, fails, never = trials.values()
    assert (groks["arm"], groks["seed"], groks["phase"]) == ("⊥", 0, "grokking")
    assert (never["arm"], never["seed"], never["class"], never["phase"]) == ("plain", 1, None, "missing")
    for stem in ("t_gen", "t_gen_95"):
        assert [groks[f"{stem}_{name}"] for name in ("kind", "low_steps", "high_steps")] == ["event", 3, 4]
    assert [groks[f"t_mem_90_{name}"] for name in ("kind", "low_steps", "high_steps")] == ["event", 1, 2]
    assert (groks["t_gen"], groks["t_mem"], groks["final_test_accuracy"]) == (3.5, 1.5, 1.0)
    assert (groks["class"], groks["task"], groks["task.p"]) == ("GrokkingTrial", "ModularAddition", 7)
    assert (groks["model.hidden"], groks["model.bias"]) == ("[8,4]", GROKS.model.bias)
    assert (groks["optimizer"], fails["optimizer"]) == ("AdamW", "SGD")
    assert (fails["optimizer.learning_rate"], fails["error"], fails["t_gen_95_kind"]) == (0.5, "no", None)
    types = {field.name: field.type for field in found["trials"].schema}
    assert types["optimizer.weight_decay"] == pa.float64()
    assert types["t_gen_high_steps"] == types["t_gen_95_relapse_steps"] == pa.int64()
    assert pq.ParquetFile("results/tables/two/measurements.parquet").num_row_groups == 1
    measured = found["measurements"]
    assert measured.column_names == ["trial_id", "step", *sorted(COLUMNS)]
    assert measured["trial_id"].to_pylist() == ["g"] * 10
    assert measured["step"].to_pylist() == list(range(10))
    assert measured["train_loss"].to_pylist() == [None] * 10


def test_outcomes_are_what_the_sweep_asks(ledger):
    """Its own events, by its own horizon, though the trial was declared others and went further."""
    sweep = ledger.sweep("two")
    for name, horizon in (("near", 3), ("far", 9)):
        design = {"horizon_steps": horizon, "events": [rises_to("test_accuracy", 0.5, name="t_half").to_json()]}
        asked = replace(sweep, name=name, horizon_steps=horizon, axes_json=json.dumps(design))
        ledger.record_sweep(asked)
        export(ledger, name, name)
    near, far = (tables(name)["trials"].slice(0, 1).to_pylist()[0] for name in ("near", "far"))
    assert (near["t_half_50_kind"], near["t_half"], near["final_test_accuracy"]) == ("censored", None, 0.1)
    assert (far["t_half_50_kind"], far["t_half"], far["final_test_accuracy"]) == ("event", 3.5, 1.0)
    assert not any(name.startswith("t_gen") for name in near)


def test_a_second_export_replaces_the_first_all_or_nothing(ledger, monkeypatch):
    """What else is in the folder stays."""
    Path("out").mkdir()
    Path("out/notes.txt").write_text("mine")
    for name, count in (("two", 10), ("empty", 0)):
        assert main(["export", name, ledger.uri, "--out", "out"]) == 0
        files = sorted(path.name for path in Path("out").iterdir())
        assert files == ["measurements.parquet", "notes.txt", "sweep.json", "trials.parquet"]
        assert dataset.dataset("out/measurements.parquet").count_rows() == count
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    monkeypatch.setattr(json, "dumps", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    assert main(["export", "two", ledger.uri, "--out", "out"]) == 2
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before


@pytest.mark.parametrize(
    ("where", "trial_ids"),
    [
        ("phase == 'grokking'", ["g"]),
        ("t_gen - t_mem >= 2 and seed in (0, 3)", ["g"]),
        ("learning_rate > 0.01 or arm == 'plain'", ["f", "never"]),
        ("learning_rate == None", ["never"]),
        ("not learning_rate < 0.4", ["f", "never"]),
        ("-optimizer.learning_rate * 2 < -.9", ["f"]),
        ("test_accuracy > .9", ["g"]),
        ("'SG' in optimizer and error != None", ["f"]),
        ("0 <= last_step < 5", ["f"]),
    ],
)
def test_where(ledger, where, trial_ids):
    assert main(["export", "two", "--out", "out", "--where", where]) == 0
    found = tables("out")
    assert found["trials"]["trial_id"].to_pylist() == trial_ids
    assert set(found["measurements"]["trial_id"].to_pylist()) == {"g"} & set(trial_ids)
    assert json.loads(Path("out/sweep.json").read_text())["where"] == where


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("learning_rat > 1", "learning_rat: no such column; nearest: learning_rate"),
        ("bias > 1 and dtype == 'float32'", "dtype: could be loss.dtype, model.dtype; name one of them"),
        ("phase = 'grokking'", "is no expression; compare with ==; for example: weight_decay > 1 and"),
        ("(seed > 1) & (seed < 3)", "write and, or, not; allowed: columns, numbers, texts"),
        ("__import__('os').system('touch hacked')", "__import__('os').system('touch hacked'): allowed: columns"),
        ("phase.__class__ == 1", "phase.__class__: no such column"),
        ("[x for x in phase] == 1", "allowed: columns"),
        ("phase == 'groking'", "is true of no trial of two; wrote nothing"),
        ("arm > 3", "cannot order 'plain' and 3"),
        ("arm * 3 == 3", "cannot compute with 'plain'"),
        ("seed > 1" * 200, "must have at most 1000"),
    ],
)
def test_a_filter_runs_no_code(ledger, capsys, where, message):
    assert main(["export", "two", "--where", where]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: --where ")
    assert error.count("\n") == 1
    assert not Path("hacked").exists()
    assert not list(Path("results").rglob(".tmp*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "has no sweep 'nothing'; its sweeps: empty, two"),
        (["two", "--out", "file/tables"], "cannot write the tables into file/tables: Not a directory"),
        (["two", "--out", "s3://bucket/tables"], "--out s3://bucket/tables: must be a folder of this machine"),
    ],
)
def test_bad_input(ledger, capsys, arguments, message):
    Path("file").write_text("")
    assert main(["export", *arguments]) == 2
    assert message in capsys.readouterr().err
