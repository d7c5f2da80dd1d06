"""Mini-batch trials through the house that the grokking engine lives in: Ray, ledger, MLflow, figures, and again."""

import json
import subprocess
import sys

import pytest
from mlflow import MlflowClient

from pipeline.ledger import Ledger
from tests.support.batch_sweeps import write_language_space, write_vision_space
from tests.support.sweep_runs import contents, environment, run_sweep

# MLflow's own use of SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

ARMS = """base=BASE, arms=[
    Arm(name="softmax CE"),
    Arm(name="StableMax CE, ⊥", patch={"loss": StableMaxCrossEntropy(), "gradient": OrthogonalGradient()}),
]"""
KINDS = {
    "language": (write_language_space, "test_perplexity", ()),
    "vision": (write_vision_space, "test_accuracy", ("--local",)),
}


@pytest.fixture(scope="module", params=list(KINDS))
def swept(request, tmp_path_factory):
    """A sweep of two arms, of language through Ray with everything by default."""
    write, column, flags = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    write(folder, ARMS, horizon=8, every=4, data=folder)
    return folder, write, column, run_sweep(folder, "tiny.py", *flags, figures=True)


def test_one_command_gives_everything(swept):
    folder, _, column, done = swept
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 of 2 done, 0 running, 0 cached, 0 failed" in done.stdout
    ledger = Ledger.open(str(folder / "results/ledger"))
    assert {row.state for row in ledger.trials().values()} == {"finished"}
    assert ledger.verify() == []
    table = ledger.trajectories()
    assert table["step"].to_pylist() == [0, 4, 8] * 2
    assert None not in table[column].to_pylist()

    client = MlflowClient(f"sqlite:///{folder}/results/mlflow.db")
    runs = client.search_runs([found.experiment_id for found in client.search_experiments()])
    steps, values = table["step"].to_pylist(), table[column].to_pylist()
    last = {value for step, value in zip(steps, values, strict=True) if step == 8}
    assert {run.data.metrics[column] for run in runs if column in run.data.metrics} == last

    drawn = subprocess.run(
        [sys.executable, "-m", "analysis.phase_diagram", "tiny", "--out", "drawn"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (drawn.returncode, drawn.stderr) == (0, "")
    for figures in ("drawn", "results/figures/tiny"):
        for name in ("curves.png", "cells.csv", "finals.csv"):
            assert (folder / figures / name).stat().st_size, name
    told = (folder / "drawn/finals.csv").read_text()
    assert all(arm in told for arm in ("softmax CE", "StableMax CE, ⊥"))


def test_again_runs_nothing_and_a_longer_horizon_would_go_on(swept):
    folder, write, *_ = swept
    before = contents(folder / "results/ledger")
    again = json.loads(run_sweep(folder, "tiny.py", "--json", "--mlflow-uri", "none").stdout)
    assert {name: again[name] for name in ("cached", "finished", "failed")} == {"cached": 2, "finished": 0, "failed": 0}
    write(folder, ARMS, horizon=12, every=4, data=folder)
    assert "2 to continue" in run_sweep(folder, "tiny.py", "--dry-run").stdout
    assert contents(folder / "results/ledger") == before


@pytest.mark.parametrize("swept", ["language"], indirect=True)  # of vision, the tests of faults see to it
def test_a_longer_horizon_continues_as_if_it_had_never_stopped(swept, tmp_path):
    folder, write, *_ = swept
    write(folder, ARMS, horizon=12, every=4, data=folder)
    longer = run_sweep(folder, "tiny.py", "--mlflow-uri", "none")
    assert (longer.returncode, longer.stderr) == (0, "")
    assert "2 of 2 done, 0 running, 0 cached, 0 failed" in longer.stdout
    # In workers of Ray's, in two parts; and without Ray, in one.
    write(tmp_path, ARMS, horizon=12, every=4, data=folder)
    fresh = run_sweep(tmp_path, "tiny.py", "--local", "--mlflow-uri", "none")
    assert fresh.returncode == 0, fresh.stderr
    assert contents(folder / "results/ledger") == contents(tmp_path / "results/ledger")
