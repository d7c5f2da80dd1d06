"""Where trials are in a diagram: axes, bins, what is fixed and pooled; and what its tiles show."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.data.sweep import Sweep, SweepError
from analysis.diagram.cells import TIE, UNFINISHED, Cell, build
from analysis.diagram.layout import AxisError, lay_out
from analysis.diagram.marks import phase_colours
from analysis.diagram.picture import draw_png
from analysis.diagram.tables import trials_table
from analysis.diagram.tiles import abbreviated, check_tiles, tiles
from tests.support.synthetic import MadeTrial, grid_sweep, make_sweep, make_trial, wd_vs_orthograd


def ticks_of(trials: list[MadeTrial], x: str | None = None, y: str | None = None, **frame: object):
    layout = lay_out(make_sweep(trials, **frame), x, y)
    return layout.x.ticks, layout.y.ticks if layout.y else None


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
    with pytest.raises(SweepError, match=r"--colour speed: must be one of rmst, .*, phase, or COLUMN@STEP"):
        check_tiles("speed")


def one_cell(*trials: MadeTrial) -> Cell:
    (cell,) = build(make_sweep(trials)).cells
    return cell


def grokked(seed: int, t_gen: float = 300, **ending: Any) -> MadeTrial:
    return make_trial(f"t{seed}", {"seed": seed}, t_mem=30, t_gen=t_gen, **ending)


def test_the_phase_of_a_cell():
    """Of most seeds, whatever the unfinished ones will do."""
    late, cut = {"t_gen": math.inf}, {"t_gen": math.inf, "until_steps": 200}
    assert one_cell(grokked(0), grokked(1), grokked(2, **late)).phase == "grokking"
    assert one_cell(grokked(0), grokked(1, **late)).phase == TIE
    assert one_cell(grokked(0), grokked(1), grokked(2, **cut)).phase == "grokking"
    assert one_cell(grokked(0), grokked(1, **late), grokked(2, **cut)).phase == UNFINISHED
    assert one_cell(grokked(0, **cut), MadeTrial("never", {"seed": 1})).phase == UNFINISHED
    diagram = build(make_sweep(grid_sweep()))
    shown = tiles(replace(diagram, colour="phase"))
    assert shown.scale is None
    assert abbreviated(("memorization", "grokking", "coexistence", "comprehension", "tie")) == (
        "memo.", "grok.", "coex.", "comp.", "tie")  # fmt: skip
    assert set(zip(shown.texts, shown.colours, strict=True)) == {
        (phase, phase_colours(diagram)[phase]) for phase in ("grokking", "memorization", UNFINISHED)
    }


def test_the_delay_of_a_cell():
    """The median of t_gen - t_mem, and where fewer than half have t_gen what it is above; none without t_mem."""
    table = trials_table(build(make_sweep([grokked(0, 200), grokked(1, 300), grokked(2, 900)]))).iloc[1]
    known = one_cell(grokked(0, 200), grokked(1, 300), grokked(2, 900)).delay
    assert known is not None
    assert table.delay_low_steps < known.median_steps < table.delay_high_steps
    assert math.isnan(known.above_steps)
    frozen = {"t_gen": math.inf, "stop_reason": "frozen", "until_steps": 600}
    open_ended = one_cell(grokked(0), grokked(1, math.inf), grokked(2, **frozen)).delay
    assert open_ended is not None
    assert math.isnan(open_ended.median_steps)
    assert 500 < open_ended.above_steps <= 600 - 30, "the one that froze was followed that far, and then never"
    never = one_cell(make_trial("a", {"seed": 0})).delay
    assert never is not None
    assert (never.trials, math.isnan(never.above_steps)) == (0, True)
    diagram = replace(build(make_sweep(grid_sweep())), colour="delay")
    texts = dict(zip([cell.label for cell in diagram.cells], tiles(diagram).texts, strict=True))
    assert texts["train fraction 0.3, dtype float16"].startswith("> ")
    coloured = {value for value, bound in zip(tiles(diagram).values, tiles(diagram).bounds, strict=True) if bound}
    assert coloured == {diagram.tau_steps}, "a bound is no sign of a short delay"
    assert float(texts["train fraction 0.6, dtype float16"]) == pytest.approx(1.1 * 300 - 40, rel=0.1)
    with pytest.raises(SweepError, match="--colour delay: no phase of wd_vs_orthograd compares t_mem with an earlier"):
        tiles(replace(build(make_sweep(grid_sweep()), event="t_mem"), colour="delay"))


def test_cells_that_leave_p_open():
    late = {"t_gen": math.inf}
    assert one_cell(grokked(0)).uncertain
    assert not one_cell(*map(grokked, range(3))).uncertain
    assert one_cell(grokked(0), grokked(1), grokked(2, **late)).uncertain
    assert not one_cell(*map(grokked, range(4)), grokked(4, **late)).uncertain
    assert not tiles(build(make_sweep(grid_sweep()))).legend
    assert [label for label, _ in tiles(build(make_sweep(grid_sweep(2)))).legend] == [
        "P(t_gen ≤ τ) open: 95 % interval wider than 0.75"
    ]


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
