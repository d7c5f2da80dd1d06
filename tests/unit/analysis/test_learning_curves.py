"""Sweeps that are measured for their curves: what their final values are, and what is drawn and said of them."""

import csv
import itertools
import json
import math
import re

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import stats

from analysis import phase_diagram
from analysis.curves.finals import (
    CELL_COLUMNS,
    TRIAL_COLUMNS,
    Quantity,
    cells_table,
    choose,
    finals,
    summary_lines,
    trials_table,
)
from analysis.curves.picture import _colours, draw_panels, spread
from analysis.data.source import open_sweep
from analysis.data.sweep import SweepError
from pipeline import sweep as pipeline_sweep
from pipeline.ledger import Ledger
from pipeline.tracking import sync
from tests.support.batch_sweeps import write_language_space
from tests.support.synthetic import MadeTrial, fill_ledger
from tests.support.synthetic_baselines import AXES, CONFIG, HORIZON, make_baseline, three_methods

ACCURACY, LOSS = Quantity("test_accuracy"), Quantity("test_loss")


def results_of(folder, trials, tau_steps=None, **options):
    ledger = Ledger.open(str(folder / "ledger"), create=True)
    fill_ledger(ledger, "made", trials, horizon_steps=HORIZON, config=CONFIG, **{"axes": AXES, **options})
    return finals(open_sweep("made", ledger.uri), tau_steps=tau_steps)


@pytest.fixture(scope="module")
def methods(tmp_path_factory):
    return results_of(tmp_path_factory.mktemp("methods"), three_methods())


def texts_of(found):
    """Every text of the picture."""
    figure = Figure()
    FigureCanvasAgg(figure)
    draw_panels(figure, found)
    return [text.get_text() for part in (figure, *figure.axes) for text in part.texts], figure


def test_values_and_paired_differences(methods):
    first, second, _ = methods.cells
    assert [cell.label for cell in methods.cells] == ["softmax CE", "StableMax CE", "⊥SGD"]
    assert first.values(ACCURACY) == pytest.approx([50, 60, 55])
    assert second.values(LOSS) == pytest.approx([1.3, 1.3, 1.3])
    judge = stats.ttest_rel([51.5, 62, 57.5], [50, 60, 55]).confidence_interval(0.95)
    estimate = second.to_first.difference.estimate
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((2, judge.low, judge.high))
    assert methods.in_epochs
    assert methods.subtitle == "CIFAR10, ResNet18  ·  400 steps (4 epochs)  ·  3 seeds per cell"


def test_diverged_and_unfinished(methods):
    cell = methods.cells[2]
    assert cell.values(ACCURACY) == pytest.approx([70])
    assert cell.to_first.difference.pairs == 1
    assert cell.remark() == "1 of 3 diverged, 1 of 3 at step 200 of 400"
    lines = summary_lines(methods)
    assert lines[0].split("  ")[0] == "cell"
    assert " ".join(lines[2].split()) == "StableMax CE 3 57.00 ± 5.27 1.300 ± 0.000 +2.00 [+0.76, +3.24]"
    assert " ".join(lines[3].split()) == "⊥SGD 1 70.00 1.300 +20.00 1 of 3 diverged, 1 of 3 at step 200 of 400"


def test_compared_at_the_last_common_step(tmp_path):
    trials = [make_baseline({"arm": "a", "seed": seed}, accuracy=0.5) for seed in range(2)]
    trials += [
        make_baseline({"arm": "b", "seed": 0}, accuracy=0.9, until_steps=100),
        make_baseline({"arm": "b", "seed": 1}, accuracy=0.9, until_steps=300),
        MadeTrial("later", {"arm": "c", "seed": 0}),
    ]
    _, second, third = results_of(tmp_path, trials).cells
    assert second.values(ACCURACY) == pytest.approx([30, 30])  # a quarter of the way from 10 % to 90 %
    assert second.to_first.difference.estimate.value == pytest.approx(30 - 20)
    assert second.remark() == "at step 100 to 300 of 400"
    assert (third.values(ACCURACY), third.to_first, third.remark()) == ([], None, "1 of 1 not begun")
    lines = summary_lines(results_of(tmp_path, trials))
    assert "+10.00 [+10.00, +10.00] at step 100" in lines[2]
    assert " ".join(lines[3].split()) == "c 0 – – – 1 of 1 not begun"


def test_diverged_beside_running(tmp_path):
    trials = [
        make_baseline({"seed": 0}, accuracy=0.5, until_steps=50, diverged=True),
        make_baseline({"seed": 1}, accuracy=0.5, until_steps=200),
    ]
    cell = results_of(tmp_path, trials).cells[0]
    assert (cell.label, cell.values(ACCURACY), cell.own.step) == ("all trials", pytest.approx([30]), 200)
    alone = results_of(tmp_path, trials[:1])
    assert alone.cells[0].remark() == "1 of 1 diverged"
    assert "no final value" not in " ".join(texts_of(alone)[0])  # without a line there is nothing to label


def test_horizons_and_tau(tmp_path):
    trials = [make_baseline({"arm": arm, "seed": 0}, accuracy=0.5) for arm in "ab"]
    axes = {"axes": [], "arms": [{"name": "a", "horizon_steps": 400}, {"name": "b", "horizon_steps": 200}]}
    _, second = results_of(tmp_path, trials, axes=axes).cells
    assert second.values(ACCURACY) == pytest.approx([30])
    assert (second.trials[0].last_step, second.remark()) == (200, "")
    assert second.to_first.difference.estimate.value == pytest.approx(0)
    told = results_of(tmp_path, trials, tau_steps=100).cells
    assert [cell.values(ACCURACY) for cell in told] == [pytest.approx([20])] * 2
    for tau in (0, 401):
        with pytest.raises(SweepError, match=f"--tau {tau}: must be above 0 and at most the sweep's horizon, 400"):
            results_of(tmp_path, trials, tau_steps=tau)


def test_columns_are_explained(methods):
    cells, trials = cells_table(methods), trials_table(methods)
    explained = {name for names in CELL_COLUMNS for name in names.split(", ")} - {"<axis>"} | {"arm"}
    explained = {name.replace("<headline>", "test_accuracy").replace("<second>", "test_loss") for name in explained}
    assert {re.sub("_(percent|points)$", "", name) for name in cells.columns} == explained
    explained = {name for names in TRIAL_COLUMNS for name in names.split(", ")}
    losses = {"train_loss", "test_loss", "train_accuracy", "test_accuracy"}
    assert set(trials.columns) == explained - {"<axis>", "<column>"} | {"arm", "seed"} | losses
    assert cells["n"].tolist() == [3, 3, 1]
    assert cells["diverged"].tolist() == [0, 0, 1]
    assert cells["unfinished"].tolist() == [0, 0, 1]
    assert math.isnan(cells["difference_points"][0])
    assert trials["epoch"].tolist() == [4] * 7 + [1.5, 2]
    assert trials["test_loss"][7] == pytest.approx(2.3 - 0.25)  # of one that diverged, the last that was a number


def test_picture(methods):
    texts, figure = texts_of(methods)
    for text in ("StableMax CE", "57.00 ± 5.27   +2.00 [+0.76, +3.24]", "55.00 ± 5.00", "70.00   +20.00"):
        assert text in texts
    notes = " ".join(" ".join(texts).split())
    assert "A cross: a run diverged there. ⊥SGD: 1 of 3 diverged, 1 of 3 at step 200 of 400." in notes
    lower, upper = figure.axes
    assert (lower.get_xlabel(), upper.get_ylabel(), lower.get_ylabel()) == ("epochs", "test accuracy", "test loss")
    assert upper.get_xlim()[1] == 4
    assert len(upper.collections) == 2  # bands of three; of the third cell two are alive, a line each
    assert [line.get_marker() for line in upper.lines].count("X") == 1


def test_without_epochs(tmp_path):
    found = results_of(tmp_path, [make_baseline({"seed": 0}, accuracy=0.5, epochs=False)])
    assert not found.in_epochs
    assert found.subtitle == "CIFAR10, ResNet18  ·  400 steps  ·  1 seed per cell"
    texts, figure = texts_of(found)
    assert figure.axes[0].get_xlabel() == "steps"
    assert figure.axes[1].get_xlim()[1] == HORIZON
    assert summary_lines(found)[0].split() == ["cell", "n", "test", "accuracy,", "%", "test", "loss"]
    assert not any("difference" in text for text in texts)


def test_colours(tmp_path):
    rates = [make_baseline({"optimizer.learning_rate": rate}, accuracy=0.5) for rate in (0.3, 0.1, 0.2)]
    found = results_of(tmp_path / "few", rates)
    assert [cell.label for cell in found.cells] == [f"learning rate {rate}" for rate in (0.3, 0.1, 0.2)]
    lightness = [float(np.mean(_colours(found)[index][:3])) for index in range(3)]
    assert lightness[1] > lightness[2] > lightness[0]  # the larger, the darker
    many = [make_baseline({"optimizer.learning_rate": index / 10}, accuracy=0.2 + index / 20) for index in range(1, 13)]
    found = results_of(tmp_path / "many", many)
    assert [*_colours(found)] == [0, 11, 10, 9, 8, 7, 6]
    texts, _ = texts_of(found)
    assert "5 others" in texts
    assert any("in grey: the 5 others" in " ".join(text.split()) for text in texts)


def test_spread():
    assert spread([], 0.1) == []
    assert spread([0.9, 0.5, 0.1], 0.1) == [0.9, 0.5, 0.1]
    close = spread([0.5, 0.499, 0.498, 0.02, 0.01], 0.1)
    assert all(upper - lower >= 0.1 - 1e-9 for upper, lower in itertools.pairwise(close))
    assert (min(close), max(close)) == pytest.approx((0.05, 0.5))
    assert spread([1.0] * 20, 0.1)[-1] == pytest.approx(0.025)


def test_choose():
    def chosen(*columns):
        shown, listed = choose(columns)
        return [quantity.column for quantity in shown], list(listed)

    four = ["train_loss", "test_loss", "train_accuracy", "test_accuracy"]
    assert chosen("epoch", *four, "margin") == (["test_accuracy", "test_loss"], four)
    assert chosen("train_accuracy", "test_top5_accuracy") == (
        ["test_top5_accuracy"], ["train_accuracy", "test_top5_accuracy"]
    )  # fmt: skip
    assert chosen("train_loss", "norm", "test_loss") == (["test_loss", "train_loss"], ["train_loss", "test_loss"])
    assert chosen("epoch", "rank", "width") == (["rank", "width"], ["rank", "width"])
    assert chosen("epoch") == ([], [])


def test_columns_without_accuracies(tmp_path):
    """Numbers at the end that are neither accuracies nor losses."""
    trials = []
    for arm, level in (("a", 10.0), ("b", 12.0)):
        for seed in range(3):
            steps = np.array([0, 200, HORIZON])
            rows = {"step": steps, "effective_rank": (level + seed) * steps / HORIZON, "dead_fraction": steps / 1000}
            trials.append(MadeTrial(f"{arm}{seed}", {"arm": arm, "seed": seed}, rows))
    results = results_of(tmp_path, trials)
    lines = [" ".join(line.split()) for line in summary_lines(results)]
    assert lines == [
        "cell n effective rank dead fraction, % minus a [95 %]",
        "a 3 11 ± 1 40.00 ± 0.00",
        "b 3 13 ± 1 40.00 ± 0.00 +2 [+2, +2]",
    ]
    table = cells_table(results)
    assert table["difference"][1] == 2
    assert table["dead_fraction_mean_percent"].tolist() == [40, 40]
    texts, figure = texts_of(results)
    assert "13 ± 1   +2 [+2, +2]" in texts
    assert [axes.get_ylabel() for axes in figure.axes] == ["dead fraction", "effective rank"]
    alone = [MadeTrial(trial.trial_id, trial.coordinates, {"step": steps, "energy": steps / 7}) for trial in trials]
    texts, figure = texts_of(results_of(tmp_path / "alone", alone))
    assert [axes.get_ylabel() for axes in figure.axes] == ["energy"]


# --- the command --------------------------------------------------------------------------------------------------


def test_command(tmp_path, capsys):
    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    fill_ledger(ledger, "made", three_methods(), horizon_steps=HORIZON, config=CONFIG, axes=AXES)
    bare = MadeTrial("bare", {"seed": 0})
    fill_ledger(ledger, "begun", [bare], horizon_steps=HORIZON, config=CONFIG, axes=AXES)
    out = tmp_path / "figures"
    source = ["--from", ledger.uri, "--out", str(out)]
    assert phase_diagram.main(["made", *source]) == 0
    said = capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == [
        "cells.csv",
        "cells.parquet",
        "curves.png",
        "finals.csv",
        "finals.parquet",
        "report.html",
    ]
    assert said.splitlines()[-1].endswith(f"{out / 'report.html'}")
    assert "RMST" not in said
    with open(out / "finals.csv", newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 9
    for arguments, expected in (
        (["made", "--x", "arm"], "--x arm: made declares no event and has no phase diagram"),
        (["made", "--event", "t_gen"], "--event t_gen: made declares no event"),
        (["made", "--tau", "500"], "--tau 500: must be above 0"),
        (["begun"], "nothing was measured yet"),
    ):
        assert phase_diagram.main([*arguments, *source]) == 2
        told = capsys.readouterr()
        assert (told.out, told.err.count("\n")) == ("", 1)
        assert expected in told.err


def test_sweep_of_a_baseline(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # The command sets Ray's environment for its process, which here is the tests' own.
    write_language_space(tmp_path, "base=BASE, seeds=range(2)", horizon=4, every=2, data=tmp_path)
    assert pipeline_sweep.main(["tiny.py", "--local", "--mlflow-uri", "none"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        "figures  results/figures/tiny/curves.png",
        "open     xdg-open results/figures/tiny/report.html",
    ]
    assert [line.split()[:3] for line in lines if line.startswith("all trials")] == [["all", "trials", "2"]]


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")
def test_from_mlflow(tmp_path):
    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    fill_ledger(ledger, "made", three_methods()[:4], horizon_steps=HORIZON, config=CONFIG, axes=AXES)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    sync(ledger, "made", uri)
    from_both = [finals(open_sweep("made", source)) for source in (ledger.uri, uri)]
    tables = [(cells_table(found), trials_table(found)) for found in from_both]
    for ours, theirs in zip(*tables, strict=True):
        assert json.loads(ours.to_json()) == json.loads(theirs.to_json())
