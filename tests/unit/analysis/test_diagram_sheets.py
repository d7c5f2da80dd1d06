"""Pictures on the sheets of a journal, with panels: legible letters, nothing cut, nothing over anything else."""

import math
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis.data.sweep import Sweep
from analysis.diagram.cells import Diagram, build, by_setting
from analysis.diagram.layout import AxisError
from analysis.diagram.picture import draw_diagram
from analysis.diagram.points import draw_points, has_points
from analysis.diagram.tiles import tiles
from analysis.drawing.sheet import WIDE, WIDTHS, Sheet
from analysis.page.cells import strips
from tests.support.synthetic import grid_sweep, make_sweep, make_trial, wd_vs_orthograd

LONG = "How long does it take until a network whose name is as long as this one's generalises, and does it need decay?"


def drawn(diagram: Diagram, sheet: Sheet, draw: Any = draw_diagram) -> tuple[Figure, list[Text]]:
    """The picture, and what is written on it."""
    figure = Figure(dpi=200)
    FigureCanvasAgg(figure)
    draw(figure, diagram, sheet)
    figure.draw_without_rendering()
    return figure, [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def three_axes() -> Sweep:
    """A grid of a zero and logarithmic values against two others, once for each of two tasks."""
    points = [(a, b, c, seed) for a in (0, 1, 10, 100) for b in (0.5, 0.6, 0.7) for c in ("u", "v") for seed in (0, 1)]
    return make_sweep([
        make_trial(f"{a}{b}{c}{seed}", {"m.a": a, "m.b": b, "task.c": c, "seed": seed}, t_mem=20,
                   t_gen=100 * (1 + a) * b if c == "u" else math.inf)
        for a, b, c, seed in points
    ])  # fmt: skip


def sampled() -> Sweep:
    """Two sampled axes, one of them with a zero, for each of two tasks; two seeds a setting."""
    rng = np.random.default_rng(0)
    points = [(10 ** rng.uniform(-4, -1), rng.uniform(0, 1) if k else 0.0, "uv"[k % 2]) for k in range(30)]
    points[3] = (0.0, *points[3][1:])
    trials = [
        make_trial(f"t{k}{seed}", {"o.rate": rate, "o.decay": decay, "task.c": c, "seed": seed}, t_mem=20,
                   t_gen=300 + k if rate > 1e-3 and seed else math.inf)
        for k, (rate, decay, c) in enumerate(points)
        for seed in (0, 1)
    ]  # fmt: skip
    return make_sweep(trials, sampled=frozenset({"o.rate", "o.decay"}))


@pytest.fixture(scope="module")
def diagrams() -> dict[str, Diagram]:
    row, grid = make_sweep(wd_vs_orthograd(), doc=LONG), three_axes()
    panels = build(grid, facet="c")
    return {
        "row": build(row),
        "row of arms": build(row, facet="arm"),
        "grid": build(make_sweep(grid_sweep())),
        "phases": replace(panels, colour="phase"),
        "long names": build(
            make_sweep(
                [
                    make_trial(f"t{i}", {"x.width": f"a rather long name, number {i}"}, t_mem=20, t_gen=90)
                    for i in range(14)
                ]
            )
        ),
        "points": by_setting(build(sampled(), facet="c")),
        "delays": replace(build(grid, facet="b"), colour="delay"),
    }


@pytest.mark.parametrize("sheet", [WIDE, *WIDTHS.values()], ids=["wide", *WIDTHS])
def test_every_text_is_legible(diagrams, sheet):
    for name, diagram in diagrams.items():
        figure, texts = drawn(diagram, sheet, draw_points if name == "points" else draw_diagram)
        width, height = figure.get_size_inches()
        assert sheet.width_in in (None, width), name
        assert min(text.get_fontsize() for text in texts) >= 6, name
        boxes = [(text, text.get_window_extent()) for text in texts]
        for text, box in boxes:
            inside = min(box.x0, box.y0, width * figure.dpi - box.x1, height * figure.dpi - box.y1) >= 0
            assert inside, f"{name}: {text.get_text()!r} is cut"
        for (one, first), (other, second) in combinations(boxes, 2):
            wide = min(first.x1, second.x1) - max(first.x0, second.x0)
            tall = min(first.y1, second.y1) - max(first.y0, second.y0)
            # Boxes hold the room of accents and descenders too, which is no ink; words beside each other need a gap.
            turned = one.get_rotation() or other.get_rotation()
            over = wide > -0.02 * figure.dpi and tall > 0.02 * figure.dpi and not turned
            assert not over, f"{name}: {one.get_text()!r} is over {other.get_text()!r}"


@pytest.mark.parametrize("sheet", [WIDE, WIDTHS["column"]], ids=["wide", "column"])
def test_the_restricted_mean_is_not_written_over_an_interval(sheet):
    """Of two seeds, the time given the event has a wider interval than RMST."""
    times = {1: (215, 225), 2: (130, 186)}
    row = make_sweep([
        make_trial(f"t{level}{seed}", {"o.decay": level, "seed": seed}, t_mem=20, t_gen=t_gen)
        for level, both in times.items()
        for seed, t_gen in enumerate(both)
    ])  # fmt: skip
    cells = build(row).cells
    assert any(cell.main.given_steps.high > cell.main.restricted_mean_steps.high for cell in cells)
    figure, texts = drawn(build(row), sheet)
    numbers = {f"{cell.main.restricted_mean_steps.value:.0f}" for cell in cells}
    written = [text.get_window_extent() for text in texts if text.get_text() in numbers]
    assert len(written) == len(numbers)
    bars = [line.get_window_extent() for line in figure.axes[0].lines if np.ptp(line.get_xdata()) == 0]
    assert not [bar for bar in bars for box in written if box.count_overlaps([bar])]


def test_the_page_writes_the_restricted_mean_where_there_is_room():
    """An interval from the first steps to tau leaves none before it."""
    row = make_sweep([make_trial(f"t{seed}", {"o.decay": 1, "seed": seed}, t_mem=20, t_gen=(30, 480)[seed])
                      for seed in (0, 1)])  # fmt: skip
    (strip,) = strips(build(row))["rows"]
    low, high = strip["summary"]["given"]
    assert low < 10 < 80 < high
    assert (strip["summary"]["before"], strip["summary"]["beside"]) == (False, high)


def test_without_a_title_there_are_no_notes():
    diagram = build(make_sweep(wd_vs_orthograd()))
    written = [text.get_text() for text in drawn(diagram, replace(WIDTHS["column"], titled=False))[1]]
    assert not [text for text in written if diagram.title[:20] in text or "RMST(τ) = " in text]


def test_tiles_without_texts_mark_what_is_a_bound():
    """On a map of many narrow tiles a delay that is only known to be longer has a triangle."""
    trials = [
        make_trial(f"{a}{b}", {"m.a": a, "m.b": b, "seed": 0}, t_mem=20, t_gen=100 if a < b else math.inf)
        for a in range(12) for b in range(4)
    ]  # fmt: skip
    diagram = replace(build(make_sweep(trials)), colour="delay")
    axes = drawn(diagram, WIDTHS["column"])[0].axes[0]
    triangles = [line for line in axes.lines if line.get_marker() == "^"]
    assert len(triangles) == sum(tiles(diagram).bounds) == 42


def test_a_facet_of_a_grid():
    """Every value has a panel, with the same axes and one scale; the cells are those of the glued diagram."""
    panels, glued = build(three_axes(), facet="c"), build(three_axes(), x="a", y="b")
    assert panels.facet is not None
    assert panels.facet.ticks == ("c u", "c v")
    assert (panels.x.ticks, panels.y and panels.y.ticks) == (("0", "1", "10", "100"), ("0.5", "0.6", "0.7"))
    assert {cell.coordinates["task.c"]: cell.panel for cell in panels.cells} == {"u": 0, "v": 1}
    assert panels.cells[0].label == "a 0, b 0.5, c u"

    def mean(diagram: Diagram) -> dict[str, float]:
        return {str(sorted(cell.coordinates.items())): cell.main.restricted_mean_steps.value for cell in diagram.cells}

    assert mean(panels) == mean(glued) == mean(panels.glued)
    assert panels.glued.y is not None
    assert panels.glued.y.ticks == tuple(f"c {c} · {b}" for c in "uv" for b in (0.5, 0.6, 0.7))
    assert len({(cell.x, cell.y) for cell in panels.glued.cells}) == len(panels.cells)
    assert len(drawn(panels, WIDE)[0].axes) == 2 + 1


def test_a_facet_of_a_row():
    diagram = build(make_sweep(wd_vs_orthograd()), facet="arm")
    assert diagram.facet is not None
    assert diagram.facet.ticks == ("AdamW", "⊥AdamW")
    assert diagram.x.ticks == ("0", "0.5", "1", "2", "4", "8", "16", "⊥AdamW")
    assert [cell.panel for cell in diagram.cells] == [0] * 7 + [1]
    assert [cell.label for cell in diagram.cells][-2:] == ["AdamW, weight decay 16", "⊥AdamW"]
    assert diagram.glued.x.ticks == ("AdamW · 0", *diagram.glued.x.ticks[1:7], "⊥AdamW")
    assert len(drawn(diagram, WIDE)[0].axes) == 4


def test_a_bad_facet():
    for options, message in (
        ({"facet": "d"}, "--facet d: no such axis; allowed: m.a, m.b, task.c, seed"),
        ({"facet": "a", "x": "a"}, "--facet m.a: is drawn already; pass another axis"),
        ({"facet": "a", "pool": ["a"]}, "--facet m.a: is pooled already; pass another axis"),
    ):
        with pytest.raises(AxisError) as error:
            build(three_axes(), **options)
        assert str(error.value) == message


def test_a_zero_beside_a_logarithmic_scale_is_set_apart():
    assert build(make_sweep(wd_vs_orthograd())).x.apart == (0,)
    grid = build(three_axes(), facet="c")
    assert grid.y is not None
    assert (grid.x.apart, grid.y.apart) == ((0,), ())
    assert grid.x.at(1) - grid.x.at(0) > grid.x.at(2) - grid.x.at(1)
    for values, apart in (([0, 1, 2, 3], ()), ([0, 0.25, 0.5, 0.75], ()), ([0, 1, 10], (0,)), ([0, 1], ())):
        trials = [make_trial(f"t{value}", {"o.rate": value, "seed": 0}) for value in values]
        assert build(make_sweep(trials)).x.apart == apart, values
    # Of many values the zero has a bin of its own, before logarithmic ones.
    rates = [0.0, *(10 ** (-4 + 0.2 * step) for step in range(20))]
    trials = [make_trial(f"t{rate}", {"o.rate": rate, "seed": 0}) for rate in rates]
    axis = build(make_sweep(trials)).x
    assert (axis.ticks[:2], axis.apart) == (("0", "0.0001–0.0003"), (0,))


def test_sampled_axes_as_points():
    """Every setting at its own values, within its tile, with the tile's kind of colour; a shape for the event."""
    diagram = build(sampled(), x="rate", y="decay", pool=["c"])
    assert has_points(diagram)
    assert not has_points(build(three_axes(), facet="c"))
    points = by_setting(diagram)
    assert (len(points.cells), {len(cell.trials) for cell in points.cells}) == (30, {2})
    assert points.y is not None
    for cell in points.cells:
        for axis, path, tick in ((points.x, "o.rate", cell.x), (points.y, "o.decay", cell.y)):
            assert axis.bins is not None
            place = axis.bins.place(cell.coordinates[path])
            assert axis.at(tick) - 0.5 - 1e-9 <= place <= axis.at(tick) + 0.5 + 1e-9
    (axes, _), colours = drawn(points, WIDE, draw_points)[0].axes, tiles(points).colours
    marks = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert [line.get_markerfacecolor() for line in marks] == [*colours]
    assert [line.get_marker() for line in marks] == ["o" if cell.main.by_tau.value else "^" for cell in points.cells]
    assert points.x.bins is not None
    assert points.x.bins.zero
