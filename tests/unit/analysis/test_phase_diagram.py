"""The numbers of a diagram's cells, its events, its comparisons of arms, its tables and files."""

import itertools
import math
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from analysis.data.sweep import MISSING, SweepError
from analysis.diagram import tables, words
from analysis.diagram.cells import UNFINISHED, Cell, Diagram, build
from analysis.diagram.marks import phase_colours, phase_legend, segments, stems, time_axis, time_legend
from analysis.diagram.picture import draw_png
from analysis.diagram.words import contrast_text
from analysis.page.page import page
from analysis.stats.intervals import clopper_pearson
from tests.support.synthetic import MadeTrial, grid_sweep, make_sweep, make_trial, wd_vs_orthograd
from trainables.engine.events import ACCURACY_EVENTS, ACCURACY_PHASES, EventKind, PhaseRule, falls_to, rises_to

COMPREHENSION, GROKKING, TEST_ONLY, MEMORIZATION, CONFUSION = PHASES = tuple(phase.name for phase in ACCURACY_PHASES)


def cells_of(diagram: Diagram) -> dict[str, Cell]:
    return {cell.label: cell for cell in diagram.cells}


def parts(diagram: Diagram, cell: Cell) -> list[tuple[str, str, int]]:
    return [(part.phase, part.ending, part.number) for part in segments(diagram, cell)]


# --- cells --------------------------------------------------------------------------------------------------------


def test_phase_frequencies():
    diagram = build(make_sweep(wd_vs_orthograd()))
    cell = cells_of(diagram)["AdamW, weight decay 8"]
    assert [cell.count(phase) for phase in PHASES] == [0, 4, 0, 1, 0]
    share = cell.shares[GROKKING]
    assert (share.value, (share.low, share.high)) == (0.8, clopper_pearson(4, 5))
    assert parts(diagram, cell) == [(GROKKING, EventKind.CENSORED, 4), (MEMORIZATION, EventKind.CENSORED, 1)]


def test_competing_events():
    diagram = build(make_sweep(wd_vs_orthograd()))
    cells = cells_of(diagram)
    assert (MEMORIZATION, EventKind.FROZEN, 2) in parts(diagram, cells["AdamW, weight decay 0"])
    assert cells["AdamW, weight decay 0"].ended_by(EventKind.FROZEN) == 2
    assert cells["AdamW, weight decay 16"].ended_by(EventKind.DIVERGED) == 1
    # They are known outcomes: P(t_gen by tau) keeps all five in its denominator.
    assert cells["AdamW, weight decay 0"].main.by_tau.high == pytest.approx(clopper_pearson(0, 5)[1])


def test_unfinished_and_missing_trials():
    trials = [
        make_trial("done", {"seed": 0}, t_mem=30, t_gen=200),
        make_trial("early", {"seed": 1}, t_mem=30, until_steps=400),
        MadeTrial("never", {"seed": 2}),
    ]
    diagram = build(make_sweep(trials))
    (cell,) = diagram.cells
    assert [cell.count(phase) for phase in (GROKKING, UNFINISHED, MISSING)] == [1, 1, 1]
    assert cell.shares[GROKKING].value == 1.0
    assert cell.shares[GROKKING].high - cell.shares[GROKKING].low == pytest.approx(1 - clopper_pearson(1, 1)[0])
    assert math.isnan(cell.main.restricted_mean_steps.value)
    assert cell.events["t_mem"].by_tau.value == 1.0
    assert any("unfinished" in line for line in tables.summary_lines(diagram))
    assert sum(part.number for part in segments(diagram, cell)) == 3


def test_an_arm_that_was_asked_for_less_is_not_unfinished():
    """It has all its rows; of a later tau it says up to where it was asked, and claims nothing beyond."""
    trials = [
        *(make_trial(f"long {seed}", {"arm": "long", "seed": seed}, t_mem=30, t_gen=900) for seed in range(3)),
        *(make_trial(f"short {seed}", {"arm": "short", "seed": seed}, horizon_steps=300) for seed in range(3)),
        *(make_trial(f"cut {seed}", {"arm": "cut", "seed": seed}, until_steps=400) for seed in range(3)),
    ]
    rows = {row[0]: row[1:] for row in tables.summary_rows(build(make_sweep(trials)))}
    assert rows["short"][1] == rows["short"][3] == "asked to 300"
    assert rows["short"][-1].endswith("t_mem not by 300")
    assert rows["cut"][1] == rows["cut"][3] == "unfinished"


def test_a_column_that_was_never_measured_decides_no_phase():
    """All NaN: neither P nor the phase says "not by tau"."""
    (made,) = [make_trial("nan", {"seed": 0}, t_mem=30)]
    never = np.full(len(made.rows["step"]), math.nan)
    (cell,) = build(make_sweep([replace(made, rows={**made.rows, "test_accuracy": never})])).cells
    assert (cell.count(UNFINISHED), cell.count(MEMORIZATION)) == (1, 0)
    assert math.isnan(cell.main.by_tau.value)


def test_tau():
    diagram = build(make_sweep(wd_vs_orthograd()), tau_steps=300)
    cells = cells_of(diagram)
    assert cells["AdamW, weight decay 0.5"].main.by_tau.value == 0.0
    assert cells["AdamW, weight decay 0.5"].count(MEMORIZATION) == 5
    assert cells["AdamW, weight decay 0"].ended_by(EventKind.FROZEN) == 0  # they froze later than tau
    assert cells["⊥AdamW"].main.by_tau.value == 1.0
    for tau in (0, -3, 1501):
        with pytest.raises(SweepError, match=f"--tau {tau}: must be above 0 and at most the sweep's horizon, 1500"):
            build(make_sweep(wd_vs_orthograd()), tau_steps=tau)


def test_numbers_do_not_depend_on_the_other_cells():
    whole = cells_of(build(make_sweep(wd_vs_orthograd())))
    part = cells_of(build(make_sweep([t for t in wd_vs_orthograd() if t.coordinates.get("arm") == "⊥AdamW"])))
    (alone,) = part.values()
    assert alone.events == whole["⊥AdamW"].events


# --- events -------------------------------------------------------------------------------------------------------

T_COLLAPSE = rises_to("sc_true_fraction", 0.5, name="t_collapse")
T_FIT = falls_to("train_loss", 0.1, 0.001, name="t_fit", headline=0.1)


def test_the_main_event():
    diagram = build(make_sweep(wd_vs_orthograd()))
    assert (diagram.main.name, diagram.main.shown) == ("t_gen", 0.95)
    assert diagram.earlier == ACCURACY_EVENTS[0]
    first = build(make_sweep(wd_vs_orthograd()), event="t_mem")
    assert (first.main.name, first.earlier) == ("t_mem", None)
    assert first.cells[0].main == diagram.cells[0].events["t_mem"]
    half, most = (build(make_sweep(wd_vs_orthograd()), event=f"t_gen:{threshold}") for threshold in (0.5, 0.97))
    assert half.cells[1].main.restricted_mean_steps.value < most.cells[1].main.restricted_mean_steps.value
    # Phases follow the declared headlines, whichever threshold is drawn.
    assert [cell.shares for cell in half.cells] == [cell.shares for cell in most.cells]


def test_a_bad_event():
    for event, message in {
        "t_collapse": "must be one of t_mem, t_gen, with or without a threshold (NAME:NUMBER); or a column with a "
        "threshold (COLUMN>=NUMBER, COLUMN<=NUMBER)",
        "t_gen:1.5": "the threshold must be a fraction between 0 and 1",
        "t_gen:nan": "the threshold must be a fraction between 0 and 1",
        "t_gen:": "the threshold must be a fraction between 0 and 1",
        "parameter_norm>=high": "the threshold must be a number",
        "speed>=3": "column 'speed' was not measured",
    }.items():
        with pytest.raises(SweepError) as error:
            build(make_sweep(wd_vs_orthograd()), event=event)
        assert str(error.value) == f"--event {event}: {message}"


def test_an_event_that_was_not_declared():
    declared = build(make_sweep(wd_vs_orthograd(), events=(*ACCURACY_EVENTS, T_COLLAPSE)))
    asked = build(make_sweep(wd_vs_orthograd()), event="sc_true_fraction>=.5")
    means = [[cell.main.restricted_mean_steps for cell in diagram.cells] for diagram in (declared, asked)]
    assert list(map(str, means[0])) == list(map(str, means[1]))
    assert asked.title == "When is sc true fraction ≥ 0.5, by weight decay?"
    falls = build(make_sweep(wd_vs_orthograd()), event="train_loss<=0.1")
    assert falls.main.words() == "train loss ≤ 0.1"
    # A column is no event: every label says what is asked of it.
    assert "P(train loss ≤ 0.1 by 1500)" in tables.summary_lines(falls)[0]
    legend = [label for label, _ in time_legend(falls, list(stems(falls, time_axis(falls))))]
    legend += [label for label, _ in phase_legend(falls, probability=True)]
    assert not [label for label in legend if "train_loss" in label]
    assert {"train loss ≤ 0.1", "RMST(τ) of train loss ≤ 0.1", "P(train loss ≤ 0.1 by τ), 95 %"} <= {*legend}
    assert "train_loss ≤" not in page(falls)


def test_a_page_of_many_trials_shows_the_first_of_each_cell(monkeypatch):
    monkeypatch.setattr("analysis.page.curves.TRIALS_IN_PAGE", 0)
    diagram = build(make_sweep(wd_vs_orthograd(seeds=7)))
    text = page(diagram)
    assert text.count("the first 5 of 7 trials; outcomes.csv has all") == len(diagram.cells)


def test_a_stop_on_the_success_of_other_events_competes():
    """Trials that stopped when they generalised, and were never waited for until half their rows had collapsed."""
    sweep = make_sweep(wd_vs_orthograd(), events=(*ACCURACY_EVENTS, T_COLLAPSE))
    diagram = build(sweep)
    cells = cells_of(diagram)
    assert (diagram.main, diagram.earlier) == (T_COLLAPSE, None)
    assert cells["⊥AdamW"].ended_by(EventKind.STOPPED) == 5
    assert cells["⊥AdamW"].main.by_tau.value == 0.0
    sentence = words.stopped_sentence(diagram)
    assert "stopped on the success of other events before t_collapse (sc true fraction ≥ 0.5)" in sentence
    assert sentence in tables.summary_lines(diagram)
    assert words.stopped_sentence(build(sweep, event="t_gen")) == ""


def test_a_kind_without_accuracies(tmp_path):
    phases = (PhaseRule(name="fitted", happened=("t_fit",)), PhaseRule(name="not fitted"))
    diagram = build(make_sweep(grid_sweep(), events=(T_FIT,), phases=phases, doc="A sweep."), event="t_fit:.001")
    assert diagram.title == "When is train loss ≤ 0.001, by train fraction and dtype?"
    assert tables.summary_lines(diagram)[0].startswith("seeds with t_fit ")
    table = tables.cells_table(diagram)
    assert table["fitted"].tolist() == [3] * 11
    assert set(table["t_fit_threshold"]) == {0.001}
    assert not [name for name in table if "gen" in name or "mem" in name or "grok" in name]
    assert not [name for name in tables.trials_table(diagram) if "delay" in name]
    draw_png(diagram, tmp_path / "grid.png")


def test_a_sweep_that_declares_no_phases():
    diagram = build(make_sweep(wd_vs_orthograd(), phases=()))
    cell = cells_of(diagram)["AdamW, weight decay 8"]
    assert parts(diagram, cell) == [("reached", EventKind.CENSORED, 4), ("not reached", EventKind.CENSORED, 1)]


def test_a_grid_of_cells_is_a_grid_in_the_terminal():
    """A cell that nobody asked for is empty, and one that is unfinished says so."""
    trials = [
        make_trial(f"{x}{y}{seed}", {"decay": x, "fraction": y, "seed": seed}, t_mem=30, t_gen=t_gen)
        for (x, y, t_gen), seed in itertools.product(
            [(0, 0, math.inf), (1, 0, math.inf), (0, 1, 100), (1, 1, 200)], (0, 1)
        )
    ]
    trials.append(make_trial("late", {"decay": 2, "fraction": 2, "seed": 0}, t_mem=30, until_steps=300))
    diagram = build(make_sweep(trials), x="decay", y="fraction")
    lines = [" ".join(line.split()) for line in tables.summary_lines(diagram)]
    assert lines[0].startswith("seeds with t_gen by step 1500, of all")
    assert lines[1:5] == ["fraction ↓ decay → 0 1 2", "2 0/?", "1 2/2 99 2/2 196", "0 0/2 0/2"]


def test_the_answer():
    diagram = build(make_sweep(wd_vs_orthograd()))
    soonest = min(diagram.cells, key=lambda cell: cell.main.restricted_mean_steps.value)
    given = words.with_interval(soonest.main.given_steps, ".0f")
    assert words.answer(diagram) == (
        f"t_gen comes soonest with ⊥AdamW: in 5 of 5 seeds by step 1500, at {given} steps; some seed has it in 6 of 8 "
        "cells"
    )
    assert words.answer(diagram) in tables.summary_lines(diagram)
    assert words.answer(diagram) in page(diagram)
    never = [trial for trial in wd_vs_orthograd() if trial.trial_id.startswith("adamw-0-")]
    assert words.answer(build(make_sweep(never))) == "No seed of 1 cell has t_gen: test accuracy ≥ 0.95 by step 1500"
    cut = [make_trial("early", {"seed": 0}, until_steps=100)]
    assert words.answer(build(make_sweep(cut))) == ""


def test_the_words_of_what_is_drawn():
    diagram = build(make_sweep(wd_vs_orthograd()))
    legend = [label for label, _ in time_legend(diagram, list(stems(diagram, time_axis(diagram))))]
    assert legend == [
        "t_gen: test accuracy ≥ 0.95",
        "t_mem: train accuracy ≥ 0.99",
        "from t_mem to t_gen",
        "t_gen not by τ",
        "neither by τ",
        "frozen",
        "diverged",
        "RMST(τ) of t_gen",
        "its 95 % interval",
        "t_gen given that it comes, 95 %",
    ]
    assert words.phases_definition(diagram).startswith("Phases: by t_mem (train accuracy ≥ 0.99) and t_gen (test")


# --- comparing arms -----------------------------------------------------------------------------------------------


def test_arms_are_compared():
    diagram = build(make_sweep(wd_vs_orthograd()))
    (compared,) = diagram.contrasts
    text = contrast_text(compared, diagram.tau_steps)
    assert text.startswith("⊥AdamW minus AdamW at its best weight decay as chosen on the other seeds: -")
    assert "times as long in 5 of 5 paired seeds, p = 0.0625" in text
    assert words.contrast_texts(diagram)[1:] == ["5 pairs cannot reach p < 0.05: at best 0.0625; 6 pairs can"]
    assert build(make_sweep(grid_sweep())).contrasts == ()


def three_arms(**design: object) -> Diagram:
    """Three arms at two training fractions; c is twice as fast as a, and b as fast as a."""
    times = {"a": 200, "b": 200, "c": 100}
    trials = [
        make_trial(f"{arm}{fraction}{seed}", {"arm": arm, "task.train_fraction": fraction, "seed": seed}, t_mem=30,
                   t_gen=t_gen * (1 + seed / 10) / fraction)
        for arm, t_gen in times.items()
        for fraction in (0.4, 0.8)
        for seed in range(6)
    ]  # fmt: skip
    sweep = make_sweep(trials)
    return build(replace(sweep, design={**sweep.design, **design}))


def test_arms_are_compared_at_each_setting_of_the_axes_that_they_share():
    diagram = three_arms(contrasts=[["c", "b"]])
    texts = words.contrast_texts(diagram)
    assert [text.partition(":")[0] for text in texts] == [
        "c minus b, train fraction 0.4",
        "c minus b, train fraction 0.8",
    ]
    for compared in diagram.contrasts:
        assert compared.contrast.ratio.value == pytest.approx(0.5, rel=0.05)
        assert (compared.contrast.p, compared.contrast.p_holm) == (2 / 64, 4 / 64)


def test_without_declared_contrasts_every_arm_is_compared_with_the_first():
    texts = words.contrast_texts(three_arms())
    assert [text[:9] for text in texts[:4]] == ["b minus a"] * 2 + ["c minus a"] * 2
    assert texts[-1] == "Every arm is compared with the first: the space declares no contrasts"
    assert words.contrast_texts(three_arms(), most=2)[2].startswith("2 further comparisons of arms")


def test_ten_pairs():
    diagram = build(make_sweep(wd_vs_orthograd(seeds=10)))
    assert diagram.contrasts[0].contrast.p < 0.05
    assert "cannot" not in " ".join(words.contrast_texts(diagram))


def test_arms_are_compared_over_shared_seeds():
    trials = [t for t in wd_vs_orthograd() if t.trial_id not in ("perp-4", "adamw-2-0")]
    assert build(make_sweep(trials)).contrasts[0].contrast.pairs == 3


def test_title():
    assert build(make_sweep(wd_vs_orthograd())).title.endswith("and does ⊥Grad need any?")
    plain = build(make_sweep(grid_sweep(), doc="A sweep."))
    assert plain.title == "When is test accuracy ≥ 0.95, by train fraction and dtype?"


# --- tables and files ---------------------------------------------------------------------------------------------


def documented(columns: dict[str, str], axes: tuple[str, ...]) -> set[str]:
    """Every column name that the documentation's placeholders stand for."""
    fillings = {"axis": axes, "event": ("t_mem", "t_gen"), "phase": [phase.replace(" ", "_") for phase in PHASES]}
    return {
        re.sub(r"<\w+>", filling, name)
        for entry in columns
        for name in entry.split(", ")
        for found in [re.search(r"<(\w+)>", name)]
        for filling in (fillings[found[1]] if found else ("",))
    }


def test_columns_are_documented():
    frame = make_sweep(wd_vs_orthograd())
    diagram = build(frame)
    assert set(tables.cells_table(diagram)) == documented(tables.CELL_COLUMNS, ("arm", "optimizer.weight_decay"))
    assert set(tables.trials_table(diagram)) == documented(tables.TRIAL_COLUMNS, frame.axes())


def test_lines_of_a_table_are_aligned_as_a_terminal_shows_them():
    assert tables.aligned([("cell", "n"), ("学习", "2"), ("a", "30")]) == ["cell  n", "学习  2", "a     30"]


def test_intervals_and_delays():
    table = tables.trials_table(build(make_sweep(wd_vs_orthograd()))).set_index("trial_id")
    row = table.loc["adamw-4-0"]
    assert (row.t_gen_low_steps, row.t_gen_high_steps) == (254, 266)
    assert (row.delay_low_steps, row.delay_high_steps) == (
        row.t_gen_low_steps - row.t_mem_high_steps,
        row.t_gen_high_steps - row.t_mem_low_steps,
    )
    assert math.isinf(table.loc["adamw-8-2"].delay_high_steps)
    assert math.isnan(table.loc["adamw-16-0"].delay_low_steps)


@pytest.mark.parametrize(
    "trials",
    [
        wd_vs_orthograd(),
        wd_vs_orthograd(seeds=1),
        grid_sweep(),
        [make_trial("only", {})],
        [make_trial("a", {"seed": 0}, until_steps=3), MadeTrial("b", {"seed": 1})],
        [make_trial(f"t{i}", {"x.width": f"a rather long name, number {i}"}, t_mem=20, t_gen=90) for i in range(14)],
        [make_trial(f"t{i}", {"seed": i}, t_mem=300, t_gen=900.0 + i) for i in range(40)],
    ],
    ids=["decay", "one-seed", "grid", "one-trial", "hardly-begun", "long-names", "many-seeds"],
)
def test_every_shape_is_drawn(trials, tmp_path):
    draw_png(build(make_sweep(trials, doc="Costs $5 and $6, 你好 ?")), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_reproduces(tmp_path):
    for name in ("a.png", "b.png"):
        draw_png(build(make_sweep(grid_sweep())), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_phase_colours_differ_in_lightness():
    """Among filled phases the lightness differs, so that they survive colour blindness and grey printing."""
    colours = phase_colours(build(make_sweep(grid_sweep())))
    filled = [colours[phase] for phase in PHASES]
    light = sorted(
        sum(weight * int(colour[place : place + 2], 16) for weight, place in ((0.299, 1), (0.587, 3), (0.114, 5)))
        for colour in filled
    )
    assert min(b - a for a, b in pairwise(light)) > 3
