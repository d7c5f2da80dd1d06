"""Suggestions of Optuna as cohorts: what is open, what is equal, and whose study it is.  Nothing is trained."""

import os
import sqlite3
from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState
from ray import tune

from pipeline.execution.study import AGAIN, TAKEN_OVER, Study, check_objective, storage_address
from pipeline.execution.suggestions import Suggestions
from pipeline.ledger import Ledger
from pipeline.plan import CohortPlan
from pipeline.spec import SpecError
from pipeline.spec.space_file import load_space
from tests.support.sweep_runs import write_space


@pytest.fixture
def search(tmp_path):
    """A space, its study, and suggestions whose trials do not run."""
    sweep = (
        'base=BASE, axes={"optimizer.weight_decay": tune.uniform(0, 4)}, seeds=range(2), objective=Objective(budget=3)'
    )
    space = load_space(write_space(tmp_path, sweep, name="search"))
    database = tmp_path / "optuna.db"

    def suggestions(at_once=1, queued=frozenset()):
        study = Study(space, database, create=True)
        study.reopen()
        return study, Suggestions(
            space,
            study,
            ledger=Ledger.open(str(tmp_path / "ledger"), create=True),
            plan=lambda trials: [CohortPlan(tuple(trial.config for trial in trials), 0, 1.0)],
            record=lambda *arguments: None,
            at_once=at_once,
            queued=queued,
        )

    return space, database, suggestions


def test_an_open_suggestion_of_a_killed_run(search):
    _, database, suggestions = search
    _, killed = suggestions()
    (cohort,) = killed.more()
    ids = {trial.trial_id for trial in cohort.trials}
    assert len(ids) == 2
    # Another run: the first one reported no value, and the plan has its trials, which are not trained twice.
    study, resumed = suggestions(at_once=2, queued=ids)
    (other,) = resumed.more()
    assert ids.isdisjoint(trial.trial_id for trial in other.trials)
    assert len(study.trials()) == 4
    states = [trial.state for trial in optuna.load_study(study_name="search", storage=storage_address(database)).trials]
    assert states == [TrialState.FAIL, TrialState.RUNNING, TrialState.RUNNING]
    assert [AGAIN in trial.user_attrs for trial in study._study.trials] == [True, False, False]
    # And it counts once.
    assert (study.settled(), len(study.suggestions()), resumed.exhausted) == (0, 2, False)
    resumed.ended(dict.fromkeys(ids, "finished"))
    assert study.settled() == 1


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


def changed(space, **fields):
    other = load_space(space.path)
    object.__setattr__(other, "spec", replace(space.spec, **fields))
    return other


def ids_of(space, params):
    return {trial.config.trial_id for trial in space.spec.suggestion(params)}


def test_a_changed_question_begins_a_new_study_with_what_the_ledger_has(search):
    space, database, suggestions = search
    study, _ = suggestions()
    params = []
    for value in (12.0, None, 7.0):
        asked = study.ask()
        params.append(asked.params)
        study.tell(asked, value)
    in_ledger = set().union(*(ids_of(space, each) for each in params))
    longer = changed(space, base=space.spec.base.replace(horizon_steps=80), seeds=range(3))
    settled = ids_of(longer, params[2])
    for create in (False, True):
        second = Study(longer, database, create=create, in_ledger=in_ledger)
        assert not second.started
        assert second.change(settled) == (
            "objective: seeds is [0, 1, 2] (was [0, 1]), horizon_steps is 80 (was 40), so a new study, 'search #2', "
            "begins with the 3 suggestions so far: 1 have their new values in the ledger, 2 are evaluated first"
        )
        assert len(second.trials()) == 9
    # A run that is killed while it begins leaves a study without its question, which does not count.
    optuna.create_study(study_name="search #2", storage=storage_address(database)).set_user_attr(TAKEN_OVER, ["search"])
    second = Study(longer, database, create=True, in_ledger=in_ledger)
    second.start(settled, lambda trials: float(len(trials)))
    assert names_in(database) == ["search", "search #2", "search #3"]
    assert [(trial.params, trial.value) for trial in second.suggestions()] == [(params[2], 3.0)]
    assert (len(second.trials()), second.settled(), second.progress().number) == (9, 1, 3)
    again = Study(longer, database, create=True)
    assert again.started
    again.reopen()
    assert [again.ask().params for _ in "12"] == params[:2]
    # The first study is as it was, and a smaller question goes back to it.
    first = Study(space, database, create=True)
    assert [trial.value for trial in first.suggestions()] == [12.0, None, 7.0]
    assert first.change(settled) is None


def test_a_new_study_takes_over_only_what_its_axes_and_the_ledger_have(search):
    space, database, suggestions = search
    study, _ = suggestions()
    study._study.enqueue_trial({"optimizer.weight_decay": 0.5})
    study._study.enqueue_trial({"optimizer.weight_decay": 3.5})
    params = [study.ask().params for _ in "12"]
    in_ledger = set().union(*(ids_of(space, each) for each in params))
    narrower = {"optimizer.weight_decay": tune.uniform(0, 1)}
    other = Study(changed(space, axes=narrower), database, create=False, in_ledger=in_ledger)
    assert [trial.coordinates for trial in other.trials()] == [params[0] | {"seed": seed} for seed in (0, 1)]
    others = Study(changed(space, seeds=[7, 8]), database, create=False, in_ledger=in_ledger)
    assert others.trials() == []
    assert others.change(frozenset()).endswith(
        "'search #2', begins; the ledger has no trial of the suggestions so far that serves it"
    )


def test_what_could_not_suggest_is_refused_without_a_study(search, tmp_path):
    spec = search[0].spec
    check_objective(spec, "file:///tmp/ledger")
    with pytest.raises(SpecError, match="needs a ledger in a local folder; s3://bucket/prefix is not one"):
        check_objective(spec, "s3://key:secret@bucket/prefix")
    for sampler, line in (
        (optuna.samplers.GridSampler({"other": [1]}), "GridSampler cannot suggest"),
        (Broken(), r"Broken cannot suggest \(ZeroDivisionError: no luck\)$"),
    ):
        asked = replace(spec, objective=replace(spec.objective, sampler=sampler))
        with pytest.raises(SpecError, match=rf"^objective\.sampler: {line}"):
            check_objective(asked, "ledger")


def test_the_database_opens_in_other_tools(search, tmp_path):
    Study(search[0], search[1], create=True)
    assert names_in(tmp_path / "optuna.db") == ["search"]


def names_in(database):
    with sqlite3.connect(database) as opened:
        names = [name for (name,) in opened.execute("SELECT study_name FROM studies")]
    opened.close()
    return names


def test_a_study_in_a_folder_with_any_name(search, tmp_path):
    folder = tmp_path / "a?b #1 50%25 {x} ä=1&uri=false"
    folder.mkdir()
    Study(search[0], folder / "optuna.db", create=True)
    assert names_in(folder / "optuna.db") == ["search"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name, "search.py"]


def test_an_equal_suggestion_waits_for_the_one_that_is_running(tmp_path):
    sweep = (
        'base=BASE, axes={"optimizer.weight_decay": tune.choice([1.0])}, seeds=range(2), objective=Objective(budget=4)'
    )
    space = load_space(write_space(tmp_path, sweep, name="search"))
    study = Study(space, tmp_path / "optuna.db", create=True)
    study.reopen()
    planned = []

    def plan(trials):
        planned.extend(trials)
        return [CohortPlan(tuple(trial.config for trial in trials), 0, 1.0)]

    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    source = Suggestions(space, study, ledger=ledger, plan=plan, record=lambda *arguments: None, at_once=2)
    (cohort,) = source.more()
    assert not source.more()
    assert (len(study.suggestions()), study.settled(), len(planned)) == (2, 0, 2)
    first, second = (trial.trial_id for trial in cohort.trials)
    source.ended({first: "failed"})
    assert study.settled() == 0
    source.ended({second: "failed"})
    assert study.settled() == 2
    # What has ended in this run is not trained again in it, even where failed trials are to be rerun.
    assert not source.more()
    assert (study.settled(), len(planned), source.exhausted) == (4, 2, True)


def foreign(kind, database):
    """A file in the place of the study."""
    storage = (
        None if kind in ("text", "other", "link", "pipe") else optuna.storages.RDBStorage(storage_address(database))
    )
    if kind == "text":
        database.write_text("not SQLite at all, but long enough for its header to be read")
    elif kind == "other":
        with sqlite3.connect(database) as opened:
            opened.execute("CREATE TABLE experiments (name TEXT)")
        opened.close()
    elif kind == "pipe":
        os.mkfifo(database)
    elif kind == "link":
        database.symlink_to(database.parent / "elsewhere.db")
    elif kind == "damaged":
        optuna.create_study(study_name="search", storage=storage)
        data = bytearray(database.read_bytes())
        data[200:] = b"x" * (len(data) - 200)
        database.write_bytes(data)
    elif kind == "maximised":
        optuna.create_study(study_name="search", storage=storage, direction="maximize")
    else:
        optuna.create_study(study_name="search", storage=storage).optimize(
            lambda trial: trial.suggest_float("x", 0, 1), 2
        )


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("text", r"optuna\.db cannot be used as Optuna's study \(file is not a database\)"),
        ("damaged", r"optuna\.db cannot be used as Optuna's study \("),
        ("other", r"optuna\.db is a database, but not Optuna's"),
        ("pipe", r"optuna\.db is not a file"),
        ("link", r"optuna\.db is a symbolic link"),
        ("maximised", "the study 'search' in optuna.db is somebody else's"),
        ("anothers", "the study 'search' in optuna.db is somebody else's"),
    ],
)
def test_a_study_of_somebody_else_is_one_line_and_stays(search, tmp_path, kind, line):
    database = tmp_path / "optuna.db"
    foreign(kind, database)
    before = database.read_bytes() if database.is_file() else None
    for create in (False, True):
        with pytest.raises(SpecError, match=f"^objective: .*{line}") as caught:
            Study(search[0], database, create=create)
        assert "\n" not in str(caught.value)
    assert (database.read_bytes() if database.is_file() else None) == before
    assert not (tmp_path / "elsewhere.db").exists()


class Broken(optuna.samplers.RandomSampler):
    def sample_relative(self, *arguments):
        raise ZeroDivisionError("no luck")


def test_a_sampler_that_fails_is_one_line(search, monkeypatch):
    study = Study(search[0], search[1], create=True)
    study.reopen()
    study._study.sampler = Broken()
    with pytest.raises(SpecError, match=r"^objective\.sampler: Broken cannot suggest \(ZeroDivisionError: no luck\)$"):
        study.ask()


def test_a_seed_of_more_bits_than_optuna_takes(tmp_path):
    sweep = 'base=BASE, axes={"task.p": tune.choice([5, 7])}, sampling_seed=2**40, objective=Objective(budget=1)'
    study = Study(load_space(write_space(tmp_path, sweep)), tmp_path / "optuna.db", create=True)
    study.reopen()
    assert study.ask().params["task.p"] in (5, 7)


def test_values_that_are_bad_together_are_a_suggestion_without_a_value(tmp_path):
    sweep = (
        'base=BASE, axes={"task.p": tune.choice([5, 53]), "task.train_fraction": tune.uniform(0.02, 0.5)}, '
        "sampling_seed=4, objective=Objective(budget=6)"
    )
    space = load_space(write_space(tmp_path, sweep, name="search"))
    study = Study(space, tmp_path / "optuna.db", create=True)
    study.reopen()
    study._study.enqueue_trial({"task.p": 5, "task.train_fraction": 0.02})
    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    plan = lambda trials: [CohortPlan(tuple(trial.config for trial in trials), 0, 1.0)]  # noqa: E731
    source = Suggestions(space, study, ledger=ledger, plan=plan, record=lambda *arguments: None, at_once=1)
    (cohort,) = source.more()
    assert [trial.state for trial in study.suggestions()] == [TrialState.FAIL, TrialState.RUNNING]
    assert [trial.config for trial in study.trials()] == list(cohort.trials)
