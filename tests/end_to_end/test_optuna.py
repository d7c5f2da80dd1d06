"""A space with an objective: Optuna suggests, its study is an ordinary one, a second run continues to the budget."""

import json
import math
import sqlite3

import optuna
import pytest
from optuna.trial import TrialState

from pipeline.execution.suggestions import AGAIN, METRIC, Study, Suggestions
from pipeline.ledger import Ledger
from pipeline.plan import CohortPlan
from pipeline.spec import SpecError
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


class Searcher:
    """Suggests through the study itself, as Ray's searcher does."""

    def __init__(self, study):
        self.study = study
        self.asked = {}

    def suggest(self, trial_id):
        space = {"optimizer.weight_decay": optuna.distributions.FloatDistribution(0, 4)}
        self.asked[trial_id] = self.study.ask(fixed_distributions=space)
        return self.asked[trial_id].params

    def on_trial_complete(self, trial_id, result=None, error=False):
        state = TrialState.FAIL if error else TrialState.COMPLETE
        self.study.tell(self.asked[trial_id], None if error else result[METRIC], state=state)


@pytest.fixture
def search(tmp_path):
    """A space, its study, and suggestions whose trials do not run."""
    sweep = (
        'base=BASE, axes={"optimizer.weight_decay": tune.uniform(0, 4)}, seeds=range(2), objective=Objective(budget=3)'
    )
    space = load_space(write_space(tmp_path, sweep, name="search"))
    address = f"sqlite:///{tmp_path}/optuna.db"

    def suggestions(at_once=1):
        study = Study(space, address, create=True)
        study.reopen()
        recorded = []
        return study, Suggestions(
            space,
            study,
            searcher=Searcher(study._study),
            ledger=Ledger.open(str(tmp_path / "ledger"), create=True),
            plan=lambda trials: [CohortPlan(tuple(trial.config for trial in trials), 0, 1.0)],
            record=recorded.append,
            at_once=at_once,
        )

    return space, address, suggestions


def test_an_open_suggestion_of_a_killed_run(search):
    _, address, suggestions = search
    _, killed = suggestions()
    (cohort,) = killed.more()
    assert len(cohort.trials) == 2
    # Another run: the first one reported no value.
    study, resumed = suggestions()
    (same,) = resumed.more()
    assert [trial.trial_id for trial in same.trials] == [trial.trial_id for trial in cohort.trials]
    assert len(study.trials()) == 2
    states = [trial.state for trial in optuna.load_study(study_name="search", storage=address).trials]
    assert states == [TrialState.FAIL, TrialState.RUNNING]
    assert [AGAIN in trial.user_attrs for trial in study._study.trials] == [True, False]
    # And it counts once.
    assert (study.settled(), len(study.suggestions()), resumed.exhausted) == (0, 1, False)


def test_limits_of_suggestions(search):
    study, source = search[2](at_once=2)
    first, second = source.more(), source.more()
    assert first
    assert second
    assert not source.more()
    # The ledger has no rows of them, so they are failures: they count, and have no value.
    source.ended({trial.trial_id: "failed" for trial in first[0].trials})
    assert study.settled() == 1
    assert source.more()
    assert source.exhausted
    source.ended({trial.trial_id: "failed" for trial in second[0].trials})
    assert not source.more()


def test_a_study_of_another_question(search, tmp_path):
    space, address, _ = search
    Study(space, address, create=True)
    other = space.spec.with_overrides(max_steps=7)
    changed = load_space(space.path)
    object.__setattr__(changed, "spec", other)
    with pytest.raises(SpecError, match="was made for another base, horizon, axes, seeds or event"):
        Study(changed, address, create=True)


def test_a_ledger_that_is_not_a_local_folder(tmp_path):
    class Remote:
        uri = shown = "s3://bucket/prefix"

    from pipeline.execution.suggestions import storage_address

    with pytest.raises(SpecError, match="needs a ledger in a local folder; s3://bucket/prefix is not one"):
        storage_address(Remote())


def test_the_database_opens_in_other_tools(search, tmp_path):
    Study(search[0], search[1], create=True)
    with sqlite3.connect(tmp_path / "optuna.db") as database:
        names = [name for (name,) in database.execute("SELECT study_name FROM studies")]
    database.close()
    assert names == ["search"]
