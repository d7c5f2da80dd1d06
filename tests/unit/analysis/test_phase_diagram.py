"""Where trials are in the diagram, the numbers of its cells, and its command line."""

import csv
import math
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from analysis import phase_diagram
from analysis.data.sweep import MISSING, Sweep, SweepError
from analysis.diagram import tables, words
from analysis.diagram.cells import UNFINISHED, Cell, Diagram, build
from analysis.diagram.layout import AxisError, lay_out
from analysis.diagram.marks import phase_colours, phase_legend, segments, stems, time_axis, time_legend
from analysis.diagram.page import page
from analysis.diagram.picture import draw_png
from analysis.diagram.tiles import check_tiles, tiles
from analysis.diagram.words import contrast_text
from analysis.stats.intervals import clopper_pearson
from pipeline.ledger import Ledger
from tests.support.synthetic import MadeTrial, fill_ledger, grid_sweep, make_sweep, make_trial, wd_vs_orthograd
from trainables.engine.events import ACCURACY_EVENTS, ACCURACY_PHASES, EventKind, PhaseRule, falls_to, rises_to

COMPREHENSION, GROKKING, TEST_ONLY, MEMORIZATION, CONFUSION = PHASES = tuple(phase.name for phase in ACCURACY_PHASES)


def ticks_of(trials: list[MadeTrial], x: str | None = None, y: str | None = None, **frame: object):
    layout = lay_out(make_sweep(trials, **frame), x, y)
    return layout.x.ticks, layout.y.ticks if layout.y else None


def cells_of(diagram: Diagram) -> dict[str, Cell]:
    return {cell.label: cell for cell in diagram.cells}


def parts(diagram: Diagram, cell: Cell) -> list[tuple[str, str, int]]:
    return [(part.phase, part.ending, part.number) for part in segments(diagram, cell)]


# --- layout -------------------------------------------------------------------------------------------------------


def test_arms_with_axes_of_their_own_are_a_row():
    layout = lay_out(make_sweep(wd_vs_orthograd()))
    assert layout.x.ticks == ("0", "0.5", "1", "2", "4", "8", "16", "⊥AdamW")
    assert layout.x.groups == ("AdamW, weight decay",) * 7 + ("",)
    assert layout.y is None
    assert layout.places[:6] == ((0, 0),) * 5 + ((1, 0),)
    # Naming the axis that one arm has changes nothing: settings are never pooled.
    assert lay_out(make_sweep(wd_vs_orthograd()), x="weight_decay") == layout


def test_two_axes_are_a_grid():
    assert ticks_of(grid_sweep()) == (("0.3", "0.4", "0.5", "0.6"), ("float16", "float32", "float64"))
    assert ticks_of(grid_sweep(), x="dtype") == (("float16", "float32", "float64"), ("0.3", "0.4", "0.5", "0.6"))
    assert ticks_of(grid_sweep(), y="train_fraction")[1] == ("0.3", "0.4", "0.5", "0.6")


def test_an_axis_that_an_arm_lacks():
    assert ticks_of(wd_vs_orthograd(), x="weight_decay", y="arm") == (
        ("0", "0.5", "1", "2", "4", "8", "16", "–"),
        ("AdamW", "⊥AdamW"),
    )


def test_seeds_as_an_axis():
    diagram = build(make_sweep(grid_sweep(2)), x="train_fraction", y="seed")
    assert len(diagram.cells) == 23 - 1  # 4 fractions x 3 dtypes x 2 seeds, without the cell that was left out
    assert all(len(cell.trials) == 1 for cell in diagram.cells)


def test_further_grid_axes_are_never_pooled():
    points = [(a, b, c) for a in (1, 2) for b in (3, 4) for c in ("u", "v")]
    trials = [make_trial(f"t{i}", {"m.a": a, "m.b": b, "m.c": c, "seed": 0}) for i, (a, b, c) in enumerate(points)]
    x, y = ticks_of(trials)
    assert x == ("1", "2")
    assert y == ("3 · u", "3 · v", "4 · u", "4 · v")


def three_axes() -> Sweep:
    """Two by two by two settings of three seeds; c is what slows down."""
    points = [(a, b, c, seed) for a in (1, 2) for b in (3, 4) for c in ("u", "v") for seed in range(3)]
    return make_sweep([
        make_trial(f"t{a}{b}{c}{seed}", {"m.a": a, "m.b": b, "m.c": c, "seed": seed}, t_mem=20,
                   t_gen=100 * a if c == "u" else math.inf)
        for a, b, c, seed in points
    ])  # fmt: skip


def test_a_third_axis_is_fixed_or_pooled():
    fixed = build(three_axes(), x="a", y="b", fix=["c=u"])
    assert [cell.label for cell in fixed.cells] == ["a 1, b 3", "a 2, b 3", "a 1, b 4", "a 2, b 4"]
    assert {cell.main.by_tau.value for cell in fixed.cells} == {1.0}
    assert "c u" in fixed.subtitle
    assert {cell.measured for cell in build(three_axes(), fix=["a=1.0", "b=3e0"]).cells} == {3}, "numbers in any way"
    pooled = build(three_axes(), x="a", y="b", pool=["c"])
    assert [cell.measured for cell in pooled.cells] == [6] * 4
    assert {cell.main.by_tau.value for cell in pooled.cells} == {0.5}
    assert "pooled over c" in pooled.subtitle
    for options, message in {
        ("fix", "c=w"): "--fix c=w: c must be one of: u, v",
        ("fix", "c"): "--fix c: must be AXIS=VALUE",
        ("fix", "d=1"): "--fix d: no such axis; allowed: m.a, m.b, m.c, seed",
        ("pool", "a"): "--pool m.a: is drawn; it must be drawn or pooled",
    }.items():
        with pytest.raises(AxisError) as error:
            build(three_axes(), x="a", **{options[0]: [options[1]]})
        assert str(error.value) == message


def test_what_the_tiles_show():
    diagram = build(make_sweep(grid_sweep()))
    labels = [cell.label for cell in diagram.cells]
    frozen, soon, cut = (labels.index(f"train fraction {x}, dtype {y}") for x, y in
                         (("0.3", "float16"), ("0.6", "float16"), ("0.6", "float64")))  # fmt: skip
    shares = tiles(replace(diagram, colour="p"))
    assert [shares.texts[index] for index in (frozen, soon, cut)] == ["0.00", "1.00", "unfinished"]
    given = tiles(replace(diagram, colour="given"))
    assert (given.texts[frozen], given.texts[soon]) == ("–", f"{diagram.cells[soon].main.given_steps.value:.0f}")
    means = tiles(diagram)
    assert means.scale.colour(means.values[soon]) > means.scale.colour(means.values[frozen]), "bright is soon"
    norms = tiles(replace(diagram, colour="parameter_norm@300"))
    assert 20 + 8 * math.log1p(300 / 1.05) < norms.values[soon] <= 20 + 8 * math.log1p(300), "as planted"
    with pytest.raises(SweepError, match=r"--colour speed@30: column 'speed' was not measured"):
        tiles(replace(diagram, colour="speed@30"))
    with pytest.raises(SweepError, match=r"--colour speed: must be one of rmst, p, given, median, or COLUMN@STEP"):
        check_tiles("speed")


def test_pictures_for_a_paper(tmp_path):
    """Vector formats with their fonts inside, the same bytes each time."""
    diagram = build(make_sweep(wd_vs_orthograd()))
    for suffix, sign in {"pdf": b"/FontFile2", "svg": b"<path"}.items():
        first, again = (tmp_path / f"{name}.{suffix}" for name in ("first", "again"))
        for path in (first, again):
            draw_png(diagram, path)
        assert sign in first.read_bytes()
        assert first.read_bytes() == again.read_bytes()


def test_a_sampled_axis_is_binned_or_pooled():
    rng = np.random.default_rng(0)
    rates, decays = 10 ** rng.uniform(-4, -1, 40), rng.uniform(0, 1, 40)
    trials = [
        make_trial(f"t{i}", {"o.rate": float(rates[i]), "o.decay": float(decays[i]), "o.eps": float(decays[i] / 7)})
        for i in range(40)
    ]
    frame = make_sweep(trials, sampled=frozenset({"o.rate", "o.decay", "o.eps"}))
    layout = lay_out(frame)
    assert layout.y is not None
    assert layout.pooled == ("o.eps",)
    assert "pooled over eps" in build(frame).subtitle
    # Three decades: logarithmic bins, eight of them; every trial lies in one whose range holds it.
    for (column, row), rate, decay in zip(layout.places, rates, decays, strict=True):
        low, high = map(float, layout.x.ticks[column].split("–"))
        assert low * 0.94 <= rate <= high * 1.06
        low, high = map(float, layout.y.ticks[row].split("–"))
        assert low - 0.01 <= decay <= high + 0.01


def test_the_bins_of_a_domain():
    """They span what could have been drawn, on its own scale, and empty ones stay."""
    rates = 10 ** np.linspace(-3.9, -2.6, 20)
    trials = [make_trial(f"t{i}", {"o.rate": float(rate), "seed": 0}, t_gen=100) for i, rate in enumerate(rates)]
    sweep = make_sweep(trials, sampled=frozenset({"o.rate"}))
    axis = {"path": "o.rate", "kind": "sampled", "domain": "LogUniform Float(0.0001, 1)"}
    layout = lay_out(replace(sweep, design={**sweep.design, "axes": [axis]}))
    assert layout.x.ticks[0] == "0.0001–0.00032"
    assert layout.x.ticks[-1] == "0.32–1"
    assert {place for place, _ in layout.places} == {0, 1, 2}


def test_separate_seeds_are_replicates():
    trials = [make_trial(f"{i}{j}", {"seeds.split": i, "seeds.init": j}) for i in range(2) for j in range(3)]
    diagram = build(make_sweep(trials))
    assert [len(cell.trials) for cell in diagram.cells] == [6]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ("decay", None, "--x decay: no such axis; allowed: arm, optimizer.weight_decay, seed"),
        (None, "momentum", "--y momentum: no such axis; allowed: arm, optimizer.weight_decay, seed"),
        ("arm", "arm", "--y arm: is the horizontal axis already; pass another axis, or none"),
    ],
)
def test_an_unknown_axis(x, y, message):
    with pytest.raises(AxisError) as error:
        lay_out(make_sweep(wd_vs_orthograd()), x, y)
    assert str(error.value) == message


def test_an_ambiguous_ending():
    trials = [make_trial(f"t{i}", {"a.size": i, "b.size": -i}) for i in range(3)]
    with pytest.raises(AxisError, match=r"--x size: could be a\.size or b\.size"):
        lay_out(make_sweep(trials), "size")


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
    monkeypatch.setattr("analysis.diagram.curve_charts.TRIALS_IN_PAGE", 0)
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
    assert tables.summary_lines(diagram)[0].split()[2] == "P(t_fit"
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


# --- the command line ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ledger_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("source") / "ledger"
    ledger = Ledger.open(str(folder), create=True)
    fill_ledger(ledger, "wd_vs_orthograd", wd_vs_orthograd())
    fill_ledger(ledger, "planned", [MadeTrial("later", {"seed": 0})])
    return str(folder)


def test_the_command_writes_its_files(ledger_uri, tmp_path, capsys):
    out = tmp_path / "deep" / "figures"
    assert phase_diagram.main(["wd_vs_orthograd", "--from", ledger_uri, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == [
        "cells.csv",
        "effects.csv",
        "effects.png",
        "outcomes.csv",
        "phase_diagram.html",
        "phase_diagram.png",
        "sensitivity.csv",
        "waiting.csv",
        "waiting.png",
    ]
    for path in out.iterdir():
        assert str(path) in said
    assert "⊥AdamW" in said
    assert "RMST(1500)" in said
    assert f"{out / 'phase_diagram.html'}" in said.splitlines()[-1]
    with open(out / "outcomes.csv", newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 40
    with open(out / "cells.csv", newline="", encoding="utf-8") as file:
        rows = {row["cell"]: row for row in csv.DictReader(file)}
    assert float(rows["AdamW, weight decay 8"]["t_gen_by_tau"]) == 0.8
    assert rows["AdamW, weight decay 0"]["t_gen_median_steps"] == ""


def test_the_default_places(ledger_uri, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "ledger").symlink_to(ledger_uri)
    assert phase_diagram.main(["wd_vs_orthograd", "--x", "weight_decay", "--y", "arm", "--tau", "800"]) == 0
    assert (tmp_path / "results/figures/wd_vs_orthograd/phase_diagram.png").is_file()
    assert "RMST(800)" in capsys.readouterr().out


def test_bad_input(ledger_uri, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "some.db").write_text("")
    for arguments, expected in (
        (["wd_vs_orthograd", "--x", "nope"], "--x nope: no such axis; allowed: arm, optimizer.weight_decay, seed"),
        (["wd_vs_orthograd", "--tau", "0"], "--tau 0: must be above 0"),
        (
            ["wd_vs_orthograd", "--event", "t_gen:1.5"],
            "--event t_gen:1.5: the threshold must be a fraction between 0 and 1",
        ),
        (["wd_vs_orthograd", "--event", "t_fit"], "--event t_fit: must be one of t_mem, t_gen"),
        (["nope"], "nope"),
        (["planned"], "nothing was measured yet"),
        (["wd_vs_orthograd", "--from", str(tmp_path / "none")], "no ledger"),
        (["wd_vs_orthograd", "--from", str(tmp_path / "some.db")], "for an MLflow database "),
        (["wd_vs_orthograd", "--from", f"sqlite:///{tmp_path}/none.db"], "no such file"),
        (["wd_vs_orthograd", "--from", "http://127.0.0.1:1"], "cannot be reached"),
        (["wd_vs_orthograd", "--out", str(tmp_path / "file" / "x")], "cannot be written"),
    ):
        source = [] if "--from" in arguments else ["--from", ledger_uri]
        out = [] if "--out" in arguments else ["--out", str(tmp_path / "out")]
        assert phase_diagram.main([*arguments, *source, *out]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert expected in said.err


def test_a_sweep_without_measurements_says_why():
    missing = make_sweep([MadeTrial("a", {"seed": 0}), MadeTrial("b", {"seed": 1})])
    one, other = missing.trials
    failed = replace(one, state="failed")
    for trials, why in (((one,), "run the sweep first"), ((failed,), "all trials failed"), ((failed, other), "1 of 2")):
        with pytest.raises(SweepError, match=why):
            build(replace(missing, trials=trials))


def test_help(capsys):
    with pytest.raises(SystemExit) as end:
        phase_diagram.main(["--help"])
    assert end.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for part in ("--from URI", "default: results/ledger", "results/figures/SWEEP", "Exit codes: 0 done, 2 bad input"):
        assert part in said


def test_another_threshold_from_the_ledger(ledger_uri, tmp_path, capsys):
    assert phase_diagram.main(["wd_vs_orthograd", "--from", ledger_uri, "--out", str(tmp_path / "usual")]) == 0
    usual = capsys.readouterr().out.partition("\n\n")[0]
    arguments = ["wd_vs_orthograd", "--from", ledger_uri, "--event", "t_gen:.37", "--out", str(tmp_path)]
    assert phase_diagram.main(arguments) == 0
    assert capsys.readouterr().out.partition("\n\n")[0] != usual
    with open(tmp_path / "cells.csv", newline="", encoding="utf-8") as file:
        row = next(iter(csv.DictReader(file)))
    assert (row["t_mem_threshold"], row["t_gen_threshold"]) == ("0.99", "0.37")
