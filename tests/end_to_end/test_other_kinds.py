"""Trial kinds without accuracies go the whole way: Ray, success, resume, MLflow, diagram, final values, objective."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pipeline.ledger import Ledger
from tests.support.sweep_runs import environment, run_sweep

HEAD = '''"""When does it fit?"""
from ray import tune

from pipeline import Objective, SweepSpec
from tests.support.other_kinds import Decay, Regression

'''
REGRESSION = """SWEEP = SweepSpec(
    base=Regression(horizon_steps={horizon}), axes={{"learning_rate": [0.01, 0.5, 1.0]}}, seeds=range(3)
)
"""
DECAY = 'SWEEP = SweepSpec(base=Decay(horizon_steps=30), axes={"rate": [0.01, 0.1]}, seeds=range(3))\n'
SEARCH = """SWEEP = SweepSpec(
    base=Regression(horizon_steps=300),
    axes={{"learning_rate": tune.loguniform(1e-2, 1.0)}},
    objective=Objective(budget=4{more}),
    seeds=range(2),
)
"""


def diagram(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "analysis.phase_diagram", *arguments]
    return subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kinds")


def test_a_regression_with_declared_events(folder):
    space = folder / "fits.py"
    space.write_text(HEAD + REGRESSION.format(horizon=60))
    first = json.loads(run_sweep(folder, "fits.py", "--workers", "2", "--json").stdout)
    assert (first["planned"], first["finished"], first["failed"]) == (9, 9, 0)
    # A longer horizon continues those that did not stop on success.
    space.write_text(HEAD + REGRESSION.format(horizon=300))
    planned = json.loads(run_sweep(folder, "fits.py", "--json", "--dry-run").stdout)
    stopped = [row for row in Ledger.open(str(folder / "results/ledger")).trials().values() if row.stop_reason]
    assert {row.stop_reason for row in stopped} == {"success"}
    assert 0 < len(stopped) < 9
    assert (planned["cached"], planned["continued"], planned["new"]) == (len(stopped), 9 - len(stopped), 0)
    more = run_sweep(folder, "fits.py", "--local", figures=True)
    assert more.returncode == 0, more.stderr
    assert more.stderr == ""
    cells = pd.read_csv(folder / "results/figures/fits/cells.csv").set_index("learning_rate")
    assert cells.loc[1.0, "t_fit_by_tau"] == 1
    assert cells.loc[0.01, "t_fit_by_tau"] == 0
    assert cells.loc[1.0, "t_fit_rmst_steps"] < cells.loc[0.5, "t_fit_rmst_steps"] < cells.loc[0.01, "t_fit_rmst_steps"]
    assert cells.loc[1.0, "fitted"] == cells.loc[0.01, "not_fitted"] == 3
    page = (folder / "results/figures/fits/report.html").read_text()
    assert "test loss ≤ 0.1" in page
    assert "accuracy" not in page


def test_its_diagram_is_the_same_from_mlflow(folder):
    for source, out in (("results/ledger", "ledger"), ("sqlite:///results/mlflow.db", "mlflow")):
        drawn = diagram(folder, "fits", "--from", source, "--out", out)
        assert drawn.returncode == 0, drawn.stderr
    for name in ("cells.csv", "outcomes.csv"):
        assert (folder / "ledger" / name).read_text() == (folder / "mlflow" / name).read_text()
    lower = diagram(folder, "fits", "--event", "t_fit:0.01", "--out", "lower")
    assert lower.returncode == 0, lower.stderr
    unknown = diagram(folder, "fits", "--event", "t_gen")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "t_fit" in unknown.stderr


def test_its_time_is_an_objective(folder):
    (folder / "search.py").write_text(HEAD + SEARCH.format(more=', event="t_fit", threshold=0.01'))
    done = json.loads(run_sweep(folder, "search.py", "--local", "--json").stdout)
    assert (done["planned"], done["finished"], done["failed"]) == (8, 8, 0)
    assert done["best"]["event"] == "t_fit (test loss ≤ 0.01)"
    history = pd.read_csv(folder / "results/figures/search/suggestions.csv")
    without = history[history["seeds_with_t_fit"] == 0]
    # Nearer by its own column, which falls, is better.
    assert without.sort_values("tie_break")["final_test_loss"].is_monotonic_increasing
    (folder / "typo.py").write_text(HEAD + SEARCH.format(more=', event="t_gen"'))
    refused = run_sweep(folder, "typo.py", "--dry-run")
    assert refused.returncode == 2
    assert "objective.event = 't_gen': must be one of 't_fit'" in refused.stderr


def test_a_kind_without_events_has_final_values(folder):
    (folder / "decays.py").write_text(HEAD + DECAY)
    done = run_sweep(folder, "decays.py", "--local", figures=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "energy" in done.stdout
    figures = folder / "results/figures/decays"
    assert (figures / "curves.png").read_bytes().startswith(b"\x89PNG")
    finals = pd.read_csv(figures / "finals.csv")
    expected = 8 * (1 - finals["rate"]) ** 60 * (1 + finals["seed"]) ** 2
    assert finals["energy_joules"].tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    again = diagram(folder, "decays", "--from", "sqlite:///results/mlflow.db", "--out", "mlflow_decays")
    assert again.returncode == 0, again.stderr
    assert (figures / "finals.csv").read_text() == (folder / "mlflow_decays/finals.csv").read_text()
