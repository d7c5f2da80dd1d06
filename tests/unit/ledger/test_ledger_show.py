"""``show``: a sweep and a trial as somebody reads them."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from pipeline.ledger import Ledger, SweepRow
from pipeline.ledger.__main__ import main
from pipeline.ledger.soundness import trial_row as sound
from tests.support.ledger_samples import commit_steps, record, trial_row, value
from trainables.engine.config import canonical_json
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD
from trainables.engine.tasks import ModularAddition
from trainables.grokking import GrokkingTrial

GROKS = GrokkingTrial(task=ModularAddition(p=7), model=MLP(hidden=(8, 4)), horizon_steps=9)
FAILS = GROKS.replace(optimizer=SGD(learning_rate=0.5))
TRACEBACK = """Traceback (most recent call last):
  File "/home/me/mylosses.py", line 12, in row_losses
    return logits @ 3
RuntimeError: no \x1b[31mred
"""


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """A trial that groks between steps 3 and 4, one that failed, one that was never run."""
    monkeypatch.chdir(tmp_path)
    ledger = Ledger.open("results/ledger", create=True)
    steps = np.arange(10)
    measured = {
        "train_accuracy": np.where(steps > 1, 1.0, 0.2),
        "test_accuracy": np.where(steps > 3, 1.0, 0.1),
        "margin": [None, float("nan"), *range(8)],
        "norm.weight_1": steps / 3,
    }
    provenance = canonical_json({"commit": "c0ffee", "versions": {"torch": "2.13"}})
    configured = {"config_json": canonical_json(GROKS.to_json()), "provenance_json": provenance}
    ledger.commit(
        [trial_row("1234567890", 9, "finished", **configured)],
        {"trial_id": ["1234567890"] * 10, "step": steps} | measured,
    )
    error = {"error": "RuntimeError: no (mylosses.py:12, in row_losses)", "error_kind": "error", "traceback": TRACEBACK}
    fails = FAILS.to_json() | {"loss": {"class": "mylosses:Mine", "q": 0.5}}
    ledger.commit([trial_row("1234567899", 0, "failed", config_json=canonical_json(fails), **error)], {})
    coordinates = [
        {"arm": name, "optimizer.learning_rate": rate} for name, rate in (("⊥", 1e-3), ("plain", 0.5), ("plain", 2.0))
    ]
    ledger.record_sweep(
        SweepRow(
            name="two",
            doc="Does it?",
            axes_json="[]",
            trial_ids=("1234567890", "1234567899", "never"),
            coordinates_json=json.dumps(coordinates),
            horizon_steps=9,
            revision="r",
            recorded_at="2026-01-02",
        )
    )
    return ledger


def lines(capsys, *arguments):
    assert main(["show", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("compacted", [False, True])
def test_a_sweep(ledger, capsys, compacted):
    if compacted:
        ledger.compact()
    assert lines(capsys, "two") == [
        "two: 3 trials: 1 finished, 1 failed, 1 missing",
        "phases: 1 grokking",
        "events: in (low, high] steps; > N: not by step N",
        "",
        "trial       arm    learning_rate  state     step   t_mem   t_gen  phase",
        "1234567890  ⊥              0.001  finished     9  (1, 2]  (3, 4]  grokking",
        "1234567899  plain            0.5  failed       0",
        "never       plain              2  missing",
        "",
        "1 trial failed, error: RuntimeError: no (mylosses.py:12, in row_losses)",
        "  show 1234567899 has the traceback",
    ]


def test_some_trials_of_a_sweep(ledger, capsys):
    shown = lines(capsys, "two", ledger.uri, "--where", "arm == 'plain' and margin == None")
    assert shown[0] == "two: 2 of 3 trials: 1 failed, 1 missing"
    assert [line[:10].strip() for line in shown[2:]][:3] == ["trial", "1234567899", "never"]
    assert lines(capsys, "two", "--where", "margin > 6 and t_gen < 4")[0] == "two: 1 of 3 trials: 1 finished"


def test_a_sweep_without_events(ledger, capsys):
    """Its last values stand for them."""
    commit_steps(ledger, "plain", range(3))
    record(ledger, "finals", ["plain"])
    shown = lines(capsys, "finals")
    assert shown[0] == "finals: 1 trial: 1 running"
    assert shown[2].split() == ["trial", "state", "step", "test_accuracy", "test_loss", "train_accuracy", "train_loss"]
    assert shown[3].split()[:4] == ["plain", "running", "2", f"{value('plain', 'test_accuracy', 2):.4g}"]


def test_a_trial(ledger, capsys):
    shown = lines(capsys, "1234567890")
    assert shown[:2] == [
        "trial 1234567890: finished at step 9",
        "  in two, of 9 steps: arm = ⊥, optimizer.learning_rate = 0.001",
    ]
    assert "  t_gen  test accuracy ≥ 0.95   (3, 4]" in shown
    assert "  phase: grokking" in shown
    start = shown.index("configuration: what differs from the defaults (--all: everything)")
    configured = [
        "  GrokkingTrial",
        "    horizon_steps = 9",
        "    task = ModularAddition",
        "      p = 7",
        "    model = MLP",
        "      hidden = [8,4]",
    ]
    assert sorted(shown[start + 1 : shown.index("", start)]) == sorted(configured)
    start = shown.index("measurements: 10 rows, 4 columns; 1 columns of single tensors: --all")
    assert [line.split() for line in shown[start + 1 : start + 5]] == [
        ["step", "0", "1", "2", "...", "7", "8", "9"],
        ["test_accuracy", "0.1", "0.1", "0.1", "...", "1", "1", "1"],
        ["train_accuracy", "0.2", "0.2", "1", "...", "1", "1", "1"],
        ["margin", "-", "nan", "0", "...", "5", "6", "7"],
    ]
    assert "  commit          c0ffee" in shown
    assert "  versions.torch  2.13" in shown
    everything = lines(capsys, "1234567890", "--all")
    assert "      label_corruption = 0" in everything
    assert any(line.split()[:2] == ["norm.weight_1", "0"] for line in everything)


def test_a_failure(ledger, capsys):
    """With its whole traceback, which drives no terminal; a component of an unknown class is shown as it is."""
    shown = lines(capsys, "1234567899")
    assert shown[shown.index("    loss = mylosses:Mine") + 1] == "      q = 0.5"
    assert shown[shown.index("failure: error") + 1 :] == [
        "  RuntimeError: no (mylosses.py:12, in row_losses)",
        "",
        "  Traceback (most recent call last):",
        '    File "/home/me/mylosses.py", line 12, in row_losses',
        "      return logits @ 3",
        "  RuntimeError: no \\x1b[31mred",
    ]


def test_a_traceback_is_no_part_of_what_a_commit_is(ledger):
    """Two workers of different places fail alike, and rows of older ledgers have none."""
    row = ledger.trials()["1234567899"]
    files = ledger.files()
    ledger.commit([replace(row, traceback="elsewhere")], {})
    assert ledger.files() == files
    older = {name: value for name, value in asdict(row).items() if name != "traceback"}
    assert sound(older) == replace(row, traceback=None)


def test_what_there_is_not(ledger, capsys):
    for arguments, message in (
        (["three"], "has no sweep 'three' and no trial whose id begins so; its sweeps: two"),
        (["12345"], "2 trials of {uri} begin with '12345': 1234567890, 1234567899"),
        (["1234567890", "--where", "seed > 1"], "--where seed > 1: chooses among the trials of a sweep"),
    ):
        assert main(["show", *arguments]) == 2
        error = capsys.readouterr().err
        assert message.format(uri=ledger.uri) in error
        assert error.count("\n") == 1
    assert lines(capsys, "nev") == [
        "trial never: nobody has begun it",
        "  in two, of 9 steps: arm = plain, optimizer.learning_rate = 2",
    ]
