"""A space with an objective: Optuna suggests, its study is an ordinary one, a second run continues to the budget."""

import json
import math

import optuna
from optuna.trial import TrialState

from pipeline.ledger import Ledger
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
    assert all(math.isfinite(trial.value) and 0 < trial.value <= 40 for trial in first)
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
