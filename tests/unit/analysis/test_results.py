"""A sweep's tables and its picture, as Python and notebooks get them."""

import numpy as np
import pandas as pd
import pytest

from analysis import SweepError, open_sweep
from analysis.diagram.cells import build
from analysis.diagram.tables import cells_table, trials_table
from analysis.drawing import inline
from pipeline.ledger import Ledger
from tests.support.synthetic import MadeTrial, fill_ledger, make_trial, wd_vs_orthograd

SWEEP = "wd_vs_orthograd"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory):
    """A sweep of which one trial was not begun, and one failed before it measured."""
    trials = wd_vs_orthograd(seeds=2)
    trials[3] = MadeTrial(trials[3].trial_id, trials[3].coordinates)
    trials[5] = make_trial(trials[5].trial_id, trials[5].coordinates, t_mem=30, until_steps=300, state="failed")
    ledger = Ledger.open(str(tmp_path_factory.mktemp("result")), create=True)
    fill_ledger(ledger, SWEEP, trials)
    return open_sweep(SWEEP, ledger)


def test_outcomes_are_one_typed_row_a_trial(result):
    table = result.outcomes
    assert list(table["trial_id"]) == [trial.trial_id for trial in result.trials]
    kinds = {"weight_decay": "f", "seed": "i", "last_step": "i", "t_gen": "f", "final_test_loss": "f"}
    assert {name: table[name].dtype.kind for name in kinds} == kinds
    assert table.columns.is_unique
    missing, failed = table.iloc[3], table.iloc[5]
    assert (missing["state"], failed["state"], failed["last_step"]) == ("missing", "failed", 292)
    assert pd.isna(missing["t_gen"])
    assert pd.isna(missing["task.p"])
    assert set(table["task.p"].dropna()) == {113}
    # The numbers are those of the page's own table, which has the trials by cell.
    page = trials_table(build(result)).set_index("trial_id").loc[table["trial_id"]]
    for name in ("phase", "t_gen_kind", "t_gen_low_steps", "t_gen_high_steps"):
        assert list(map(str, table[name])) == list(map(str, page[name]))
    grokked = table[table["t_gen_kind"] == "event"]
    assert len(grokked) > 5
    assert ((grokked["t_gen_low_steps"] < grokked["t_gen"]) & (grokked["t_gen"] < grokked["t_gen_high_steps"])).all()
    assert table["t_gen"].notna().sum() == len(grokked)


def test_a_table_is_the_caller_s_own(result):
    table = result.outcomes
    table["phase"] = "mine"
    assert "mine" not in set(result.outcomes["phase"])


def test_cells_are_those_of_the_diagram(result):
    expected = cells_table(build(result)).rename(columns={"optimizer.weight_decay": "weight_decay"})
    pd.testing.assert_frame_equal(result.cells, expected)


def test_curves_are_a_table_with_the_axes(result):
    table = result.curves("test_accuracy", weight_decay=[1, 2])
    assert list(table) == ["trial_id", "arm", "weight_decay", "seed", "step", "test_accuracy"]
    assert set(table["weight_decay"]) == {1, 2}
    assert table["step"].dtype == np.int64
    one = table[table["trial_id"] == "adamw-2-1"]
    np.testing.assert_array_equal(one["test_accuracy"], result.by_seed(weight_decay=2)[1].curves["test_accuracy"])
    assert {"train_loss", "parameter_norm"} <= set(result.curves(weight_decay=1))
    with pytest.raises(SweepError, match=r"column 'tset_accuracy': was not measured; measured: .*test_accuracy"):
        result.curves("tset_accuracy")
    with pytest.raises(SweepError, match=r"weight_decay=5: no trial with measurements has it; the sweep's values: 0, "):
        result.curves("test_accuracy", weight_decay=5)


def test_a_notebook_shows_the_question_the_answer_and_the_picture(result):
    shown = result._repr_html_()
    question, answer = "How long does it take to grok", "t_gen comes soonest with ⊥AdamW"
    assert shown.index(question) < shown.index(answer) < shown.index("<table") < shown.index("data:image/png;base64,")
    assert len(repr(result)) < 5000


def test_the_plot_is_a_figure_that_shows_itself(result):
    figure = result.plot(event="t_mem")
    assert isinstance(figure, inline.Picture)
    data, size = figure._repr_png_()
    assert data.startswith(b"\x89PNG")
    assert size["width"] == int(figure.get_size_inches()[0] * 100)
    with pytest.raises(SweepError, match="--event nothing: must be one of t_mem, t_gen"):
        result.plot(event="nothing")


def test_a_sweep_without_measurements_says_so(tmp_path):
    ledger = Ledger.open(str(tmp_path), create=True)
    fill_ledger(ledger, SWEEP, [MadeTrial("one", {"optimizer.weight_decay": 1, "seed": 0})])
    empty = open_sweep(SWEEP, ledger)
    assert list(empty.outcomes["state"]) == ["missing"]
    assert len(empty.curves()) == 0
    assert "nothing was measured yet; run the sweep first" in empty._repr_html_()
    assert "nothing was measured yet" in repr(empty)
