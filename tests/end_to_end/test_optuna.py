"""A space with an objective: Optuna suggests, its study is an ordinary one, a second run continues to the budget."""

import json

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

from analysis.data.source import open_sweep
from analysis.stats.survival import CensoredTimes, summarise
from pipeline import command
from pipeline.command import run
from pipeline.ledger import Ledger
from pipeline.spec import RunSettings
from pipeline.spec.space_file import load_space
from tests.support.sweep_runs import run_sweep, write_space

SEARCH = (
    'base=BASE, axes={{"optimizer.weight_decay": tune.uniform(0.0, 4.0), "optimizer.learning_rate": '
    "tune.loguniform(1e-3, 1e-1)}}, seeds=range(2), objective=Objective(budget={budget})"
)
FLAGS = ("search.py", "--mlflow-uri", "none", "--json")


def study_of(folder):
    storage = f"sqlite:///{folder}/results/ledger/optuna.db"
    return optuna.load_study(study_name="search", storage=storage)


def test_a_budget_then_a_larger_one(tmp_path):
    write_space(tmp_path, SEARCH.format(budget=3), name="search")
    done = run_sweep(tmp_path, *FLAGS, "--workers", "2")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    printed = json.loads(done.stdout)
    assert (printed["planned"], printed["finished"], printed["failed"]) == (6, 6, 0)
    first = study_of(tmp_path).trials
    assert [trial.state for trial in first] == [TrialState.COMPLETE] * 3
    assert all(0 < trial.value <= 41 for trial in first)  # 40 and a tie-break
    ledger = Ledger.open(str(tmp_path / "results/ledger"))
    sweep = ledger.sweep("search")
    assert len(sweep.trial_ids) == len(set(sweep.trial_ids)) == 6
    for number, point in enumerate(json.loads(sweep.coordinates_json)):
        assert point.pop("seed") == number % 2
        assert point == first[number // 2].params

    again = json.loads(run_sweep(tmp_path, *FLAGS).stdout)
    assert (again["planned"], again["cached"], again["finished"]) == (6, 6, 0)
    assert len(study_of(tmp_path).trials) == 3

    write_space(tmp_path, SEARCH.format(budget=5), name="search")
    planned = json.loads(run_sweep(tmp_path, *FLAGS, "--dry-run").stdout)
    assert (planned["planned"], planned["cached"], planned["new"]) == (10, 6, 4)
    more = run_sweep(tmp_path, *FLAGS, "--local")
    assert (more.returncode, more.stderr) == (0, "")
    assert {name: json.loads(more.stdout)[name] for name in ("planned", "cached", "finished")} == {
        "planned": 10,
        "cached": 6,
        "finished": 4,
    }
    trials = study_of(tmp_path).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 5
    assert [trial.params for trial in trials[:3]] == [trial.params for trial in first]
    assert len({json.dumps(trial.params) for trial in trials}) == 5
    assert ledger.verify() == []


FIT = (
    'base=BASE.replace(events=(rises_to("train_accuracy", 0.3, name="t_fit"),), phases=(), horizon_steps={horizon}), '
    'axes={{"optimizer.learning_rate": tune.loguniform(1e-4, 3e-2)}}, seeds=range({seeds}), '
    "objective=Objective(budget={budget})"
)


def local_run(folder, capsys, **values):
    path = write_space(folder, FIT.format(**values), name="fit")
    path.write_text(path.read_text().replace("SWEEP =", "from trainables.engine.events import rises_to\nSWEEP ="))
    settings = RunSettings(local=True, mlflow_uri=None, ledger=str(folder / "ledger"), out=str(folder / "out"))
    return run(load_space(path), settings), capsys.readouterr().out


def test_the_end_and_a_raised_horizon_with_more_seeds(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "_draw", lambda *_: (None, "not in this test"))
    monkeypatch.setattr(command, "_figures_on", lambda _: [])
    result, printed = local_run(tmp_path, capsys, horizon=20, seeds=2, budget=3)
    assert "suggestion 3 of 3: 6 of 6 done" in printed
    assert "among themselves they are ordered by their final train accuracy, for the sampler too" in printed
    table = pd.read_csv(tmp_path / "out/suggestions.csv")
    assert len(table) == 3
    assert (tmp_path / "out/suggestions.png").stat().st_size > 10_000
    ordered = table.sort_values(["rmst_steps", "tie_break"])
    assert result.best["suggestion"] == ordered["suggestion"].iloc[0]
    assert result.best["rmst_steps"] == table["rmst_steps"].min() < 20

    # The objective's number is the one of the phase diagram's table.
    ledger = Ledger.open(str(tmp_path / "ledger"))
    trials = open_sweep("fit", ledger).trials
    for row in table.itertuples():
        own = [trial.event("t_fit", 0.3) for trial in trials if trial.coordinates["optimizer.learning_rate"] == row._2]
        mean = summarise(CensoredTimes.of(own, 20), 20, np.random.default_rng(0)).restricted_mean_steps
        assert mean.value == pytest.approx(row.rmst_steps)
        assert [row.rmst_low_steps, row.rmst_high_steps] == pytest.approx([mean.low, mean.high], nan_ok=True)

    longer, printed = local_run(tmp_path, capsys, horizon=30, seeds=3, budget=3)
    assert "note: objective: seeds is [0, 1, 2] (was [0, 1]), horizon_steps is 30 (was 20), so a new study, " in printed
    assert (longer.planned, longer.cached + longer.finished) == (9, 9)
    again = pd.read_csv(tmp_path / "out/suggestions.csv")
    assert set(again["optimizer.learning_rate"]) == set(table["optimizer.learning_rate"])
    assert set(again["seeds"]) == {3}

    more, printed = local_run(tmp_path, capsys, horizon=20, seeds=2, budget=3)
    assert "the ledger has all 6 trials" in printed
    assert more.best == result.best
