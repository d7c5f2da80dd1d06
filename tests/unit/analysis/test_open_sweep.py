"""A sweep read from a ledger and from MLflow: the same trials, outcomes and numbers, and what each refuses."""

import dataclasses
import json
import math
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from analysis import phase_diagram, results
from analysis.data.origin import Origin, command
from analysis.data.source import is_tracking, open_sweep
from analysis.data.sweep import MISSING, SweepError
from analysis.data.task import describe_task
from analysis.diagram.cells import build
from analysis.diagram.tables import cells_table, summary_lines, trials_table
from pipeline.ledger import Ledger, LedgerError
from pipeline.tracking import mirror as tracking
from tests.support.mlflow_runs import copied
from tests.support.synthetic import PROTOCOL, MadeTrial, fill_ledger, make_sweep, make_trial, wd_vs_orthograd
from trainables.engine.config import digest
from trainables.engine.events import ACCURACY_EVENTS, ACCURACY_PHASES, EventKind, falls_to, rises_to
from trainables.runtime.rows import TrialRow

# MLflow's own use of SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

SWEEP = "wd_vs_orthograd"


def sweep() -> list[MadeTrial]:
    """A sweep with every kind of trial: one was not begun, one was interrupted, one failed before it measured."""
    trials = wd_vs_orthograd(seeds=2)
    trials[3] = MadeTrial(trials[3].trial_id, trials[3].coordinates)
    trials[4] = make_trial(trials[4].trial_id, trials[4].coordinates, t_mem=30, until_steps=420)
    trials[5] = make_trial(trials[5].trial_id, trials[5].coordinates, t_mem=30, until_steps=300, state="failed")
    return trials


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The URIs of a ledger and of an MLflow database that hold the same sweep."""
    folder = tmp_path_factory.mktemp("sources")
    ledger = Ledger.open(str(folder / "ledger"), create=True)
    fill_ledger(ledger, SWEEP, sweep())
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    tracking.sync(ledger, SWEEP, uri)
    return ledger.uri, uri


def test_from_a_ledger(sources):
    frame, expected = open_sweep(SWEEP, sources[0]), make_sweep(sweep())
    assert frame.trials == expected.trials
    assert [trial.outcome for trial in frame.where()] == [trial.outcome for trial in expected.where()]
    assert frame.axes() == ("arm", "optimizer.weight_decay", "seed")
    assert (frame.doc, frame.horizon_steps, frame.task) == (expected.doc, 1500, expected.task)
    assert [trial.state for trial in frame.trials][3:6] == [MISSING, "running", "failed"]


def test_curves_that_stay_in_the_ledger(sources, monkeypatch):
    """A trial whose curves are too many to hold answers as one that has them."""
    held = open_sweep(SWEEP, sources[0])
    monkeypatch.setattr("analysis.data.ledger.VALUES_IN_MEMORY", 0)
    stored = open_sweep(SWEEP, sources[0])
    assert stored.extent() == held.extent()
    for ours, theirs in zip(stored.where(), held.where(), strict=True):
        assert not isinstance(ours.curves, dict)
        assert str(ours.outcome) == str(theirs.outcome)  # unknown steps are NaN
        for one, other in zip(ours.measured("test_accuracy"), theirs.measured("test_accuracy"), strict=True):
            np.testing.assert_array_equal(one, other)
    ours, theirs = stored.where()[0], held.where()[0]
    assert str(ours.event("t_gen", 0.8)) == str(theirs.event("t_gen", 0.8))
    assert str(ours.truncated_at(200).outcome) == str(theirs.truncated_at(200).outcome)


def test_from_mlflow(sources):
    ledger, mlflow = (open_sweep(SWEEP, uri) for uri in sources)
    assert [dataclasses.replace(trial, read_outcome=None) for trial in mlflow.trials] == [*ledger.trials]
    # Unknown steps are NaN, which does not equal itself.
    assert [str(trial.outcome) for trial in mlflow.where()] == [str(trial.outcome) for trial in ledger.where()]
    assert (mlflow.doc, mlflow.horizon_steps, mlflow.task) == (ledger.doc, ledger.horizon_steps, ledger.task)
    assert mlflow.sampled == ledger.sampled


def test_from_an_mlflow_of_an_earlier_version(sources, tmp_path):
    """Before version 3 of the content a threshold's metrics had no prefix, and there were no others of an event."""
    uri = copied(Path(sources[1].removeprefix("sqlite:///")), tmp_path / "mlflow.db")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        assert database.execute(
            "DELETE FROM latest_metrics WHERE key LIKE 'came.%' OR key IN ('t_mem', 't_gen')"
        ).rowcount
        renamed = database.execute("UPDATE latest_metrics SET key = substr(key, 4) WHERE key LIKE 'zz.%'")
        assert renamed.rowcount > 100
    old, new = open_sweep(SWEEP, uri), open_sweep(SWEEP, sources[1])
    assert [str(trial.outcome) for trial in old.where()] == [str(trial.outcome) for trial in new.where()]


@pytest.mark.parametrize("tau", [None, 400])
@pytest.mark.parametrize("event", [None, "t_gen:.5", "t_mem:.9"])
def test_same_diagram_from_both(sources, tau, event):
    ledger, mlflow = (build(open_sweep(SWEEP, uri), event=event, tau_steps=tau) for uri in sources)
    pd.testing.assert_frame_equal(cells_table(ledger), cells_table(mlflow), check_exact=True)
    pd.testing.assert_frame_equal(trials_table(ledger), trials_table(mlflow), check_exact=True)
    if tau is None:  # where a seed stands earlier than at its end MLflow does not say
        assert summary_lines(ledger) == summary_lines(mlflow)


def test_same_outcomes_from_both(sources):
    """MLflow has the numbers of the configuration as texts of one tag, and the last values of probes as metrics."""
    ledger, mlflow = (results.open_sweep(SWEEP, uri).outcomes for uri in sources)
    pd.testing.assert_frame_equal(ledger, mlflow, check_like=True)


def table(curves) -> pd.DataFrame:
    return pd.concat([pd.DataFrame(each).assign(trial_id=trial.trial_id) for trial, each in curves])


def test_curves_from_mlflow(sources):
    ledger, mlflow = (table(open_sweep(SWEEP, uri).iter_curves()) for uri in sources)
    assert set(mlflow.columns) == set(ledger.columns)
    both = ledger.merge(mlflow, on=["trial_id", "step"], suffixes=("", "_mlflow"))
    assert len(both) == len(mlflow) > 0.4 * len(ledger)
    assert set(mlflow["trial_id"]) == set(ledger["trial_id"])
    for name in ("test_accuracy", "test_loss", "parameter_norm"):
        assert np.array_equal(both[name], both[f"{name}_mlflow"])
    some = table(open_sweep(SWEEP, sources[1]).iter_curves(["test_accuracy"]))
    assert list(some.columns) == ["step", "test_accuracy", "trial_id"]


def test_declared_events_and_phases(sources):
    for uri in sources:
        sweep = open_sweep(SWEEP, uri)
        assert (sweep.events, sweep.phases) == (ACCURACY_EVENTS, ACCURACY_PHASES)


def test_undeclared_thresholds_and_events(sources):
    collapse = rises_to("sc_true_fraction", 0.5, name="t_collapse")
    ledger, mlflow = (open_sweep(SWEEP, uri) for uri in sources)
    assert ledger.trials[0].event("t_gen", 0.42).threshold == 0.42
    with pytest.raises(SweepError, match=r"event t_gen at 0\.42: MLflow holds 0\.5, 0\.9, 0\.95, 0\.99 only; .*ledger"):
        mlflow.trials[0].event("t_gen", 0.42)
    with pytest.raises(SweepError, match=r"event t_collapse: must be one of: t_mem, t_gen"):
        ledger.trials[0].event("t_collapse")
    with pytest.raises(SweepError, match=r"event t_collapse: MLflow holds declared events only; .*ledger"):
        open_sweep(SWEEP, sources[1], [collapse])
    asked = open_sweep(SWEEP, sources[0], [collapse])
    assert [rule.name for rule in asked.events] == ["t_mem", "t_gen", "t_collapse"]
    kinds = {trial.stop_reason: trial.event("t_collapse").kind for trial in asked.where()}
    assert kinds["success"] == EventKind.STOPPED, "nobody knows whether they would have collapsed"
    assert kinds[None] == EventKind.EVENT


def test_events_of_arms(tmp_path):
    """An event of another arm was not declared for a trial: its stop on success competes with it."""
    fit = falls_to("train_loss", 0.1, name="t_fit")
    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    made = [make_trial(arm, {"arm": arm}, t_mem=30, t_gen=200, stop_reason="success") for arm in ("fits", "groks")]
    fits, groks = ([rule.to_json() for rule in rules] for rules in ([fit], ACCURACY_EVENTS))
    arms = [
        {"name": "fits", "axes": [], "events": fits, "phases": []},
        {"name": "groks", "axes": [], "events": groks, "phases": PROTOCOL["phases"]},
    ]
    fill_ledger(ledger, "arms", made, axes={"axes": [], "arms": arms, "seeds": [], **PROTOCOL})
    first, second = open_sweep("arms", ledger.uri).trials
    assert [[rule.name for rule in trial.events] for trial in (first, second)] == [
        ["t_fit", "t_mem", "t_gen"], ["t_mem", "t_gen", "t_fit"]
    ]  # fmt: skip
    assert (first.phases, len(second.phases)) == ((), 5)
    assert second.event("t_fit").occurred


def test_an_unknown_sweep(sources):
    with pytest.raises(LedgerError, match=SWEEP):
        open_sweep("nope", sources[0])
    with pytest.raises(SweepError, match=rf"nope: no such sweep in MLflow .* it has: {SWEEP}"):
        open_sweep("nope", sources[1])


def test_a_missing_sheet(sources, tmp_path):
    client = MlflowClient(tracking_uri=sources[1])
    client.create_experiment("bare", artifact_location=(tmp_path / "files").as_uri())
    experiment = client.get_experiment_by_name("bare")
    with pytest.raises(SweepError, match=r"own run: is missing; python -m pipeline\.tracking bare"):
        open_sweep("bare", sources[1])
    client.create_run(experiment.experiment_id, tags={"grokscape.kind": "sweep"})
    with pytest.raises(
        SweepError, match=r"own run: its tags .* not complete; python -m pipeline.tracking bare --mlflow"
    ):
        open_sweep("bare", sources[1])


SHEET = "UPDATE tags SET value = ? WHERE key = 'grokscape.sheet'"
PIECES = "UPDATE tags SET value = ? WHERE key LIKE 'grokscape.sheet.%'"


@pytest.mark.parametrize(
    ("statement", "value", "message"),
    [
        ("UPDATE tags SET value = ? WHERE key = 'grokscape.sheet.0'", "{}", "own run: its tags .* are not complete"),
        (SHEET, "x" * 30, "own run: invalid literal"),
        (PIECES, json.dumps({"name": "../x"}), "own run: .* has no "),
        (PIECES, "[" * 5000, "own run: nested too deep"),
        ("UPDATE tags SET value = ? WHERE key = 'grokscape.state'", "done\x1b[31m", "run .* is not a valid TrialState"),
        ("UPDATE latest_metrics SET value = ? WHERE key = 'zz.t_gen_95_kind'", 99.0, "t_gen_95_kind = 99.0: must be"),
        ("UPDATE latest_metrics SET value = ? WHERE key = 'zz.t_gen_95_kind'", -1.0, "t_gen_95_kind = -1.0: must be"),
        ("UPDATE latest_metrics SET value = ? WHERE key = 'last_step'", 1e300, "is no step"),
        ("DELETE FROM latest_metrics WHERE key = 'zz.t_gen_95_low_steps' OR key = ?", "", "KeyError"),
        ("DROP TABLE latest_metrics", None, "no such table"),
        # Not needed for an answer.
        ("UPDATE tags SET value = ? WHERE key = 'grokscape.config'", "5", None),
        ("UPDATE runs SET artifact_uri = ?", "file:///etc", None),
    ],
)
def test_somebody_elses_mlflow_is_one_line(sources, tmp_path, capsys, statement, value, message):
    uri = copied(Path(sources[1].removeprefix("sqlite:///")), tmp_path / "mlflow.db")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        assert database.execute(statement, () if value is None else (value,)).rowcount
        if statement == PIECES:
            assert database.execute(SHEET, (f"1 {digest(value)}",)).rowcount
    code = phase_diagram.main([SWEEP, "--from", uri, "--out", str(tmp_path / "figures")])
    errors = capsys.readouterr().err
    assert (code, len(errors.splitlines())) == ((0, 0) if message is None else (2, 1)), errors
    assert re.search(message or "", errors), errors
    assert "\x1b" not in errors


def test_the_command_reads_mlflow(sources, tmp_path, capsys):
    for name, uri in zip(("ledger", "mlflow"), sources, strict=True):
        assert phase_diagram.main([SWEEP, "--from", uri, "--out", str(tmp_path / name)]) == 0
    capsys.readouterr()
    for name in ("cells.csv", "outcomes.csv", "phase_diagram.png"):
        assert (tmp_path / "ledger" / name).read_bytes() == (tmp_path / "mlflow" / name).read_bytes()


def test_unmeasured_rows_are_skipped(tmp_path):
    """An accuracy that was not measured at a step says nothing of that step."""
    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    made = make_trial("t", {"seed": 0}, t_mem=30, t_gen=200)
    holes = dict(made.rows)
    accuracies = holes["test_accuracy"].tolist()
    between = int(np.searchsorted(holes["step"], 260))
    accuracies[between] = None
    holes["test_accuracy"] = accuracies
    fill_ledger(ledger, "holes", [MadeTrial("t", made.coordinates, holes)])
    (trial,) = open_sweep("holes", ledger.uri).trials
    (expected,) = make_sweep([made]).trials
    assert trial.event("t_gen").high_steps == expected.event("t_gen").high_steps
    assert math.isnan(trial.event("t_gen").relapse_steps)


def test_is_tracking():
    for uri in ("http://host:5000", "https://h", "sqlite:///a.db", "postgresql+psycopg://h/d", "mysql://h/d"):
        assert is_tracking(uri)
    for uri in ("results/ledger", "/data/x", "s3://bucket/x?scheme=http", "gs://b/x", "file:///data/x"):
        assert not is_tracking(uri)


def test_describe_task():
    def config(**task: object) -> dict[str, object]:
        return {"task": {"class": "ModularAddition", **task}, "horizon_steps": 5}

    assert describe_task([config(p=113, train_fraction=0.4)] * 2) == "modular addition, p 113, train fraction 0.4"
    assert describe_task([config(p=113, train_fraction=0.4), config(p=113, train_fraction=0.5)]) == (
        "modular addition, p 113"
    )
    assert describe_task([]) == ""
    assert describe_task([json.loads('{"model": {"class": "m.M"}}')]) == ""


def test_a_dead_server_is_one_line(capsys, tmp_path):
    assert phase_diagram.main([SWEEP, "--from", "http://127.0.0.1:9", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(Path(tmp_path).iterdir())


def test_where_the_trials_come_from():
    """Grouped by what made them and by what failed; a stranger's provenance may be anything."""
    common = {"config_json": "{}", "data_fingerprint": "d", "source_hash": "s", "committed_at": "2026-01-01"}
    known = json.dumps({"commit": "1a17bc0ffee", "dirty": True, "versions": {"torch": "2.13.0"}, "python": "3.11.7"})
    rows = [
        TrialRow(trial_id=f"t{index}", state=state, last_step=1000, train_s=1800.0, device_kind="cpu:x",
                 provenance_json=text, error=error, error_kind=error and "out_of_memory", **common)
        for index, (state, text, error) in enumerate(
            [("finished", known, None), ("failed", "[1", "no memory left"), ("failed", known, "no memory left")]
        )
    ]  # fmt: skip
    origin = Origin.of("abc", "2026-01-02", rows)
    assert origin.made_by == (
        "2 trials: grokscape at 1a17bc0 and changes, torch 2.13.0, Python 3.11.7, on cpu:x",
        "1 trial: unknown code, on cpu:x",
    )
    assert origin.failures == ("2 trials (t1, ...): out of memory: no memory left",)
    assert origin.cost() == "3\u202f000 steps, 1.5 hours of training"
    assert command("A question?\n\nCommand   python -m pipeline.sweep a.py\n") == "python -m pipeline.sweep a.py"
