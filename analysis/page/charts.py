"""The interactive page's charts: the cells, of which one is chosen by a click; beside them its trials' curves."""

import json
import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from analysis.data.sweep import STEP
from analysis.diagram import marks
from analysis.diagram.cells import Diagram
from analysis.diagram.marks import BAR_LANE, BAR_WIDTH, MEAN_SYMBOL, SHARE_SYMBOL, SUMMARY_LANE, UNCERTAIN_HATCH, Symbol
from analysis.diagram.tiles import COLOURS, Tiles, tiles
from analysis.diagram.words import by_words, event_name, event_text, median_text, standing_text, with_interval
from analysis.drawing.style import BEYOND_COLOUR, FAINT, GRID, INK, MEAN_COLOUR, STEM, ink_on, shortened
from analysis.page.curve_charts import CURVES, PLACES, curves_data, draw_curves

CELL = "cell"
"""The name of the selection: the index of the chosen cell."""
SELECTED, HOVERED, PLAIN, RING = "#dfe9f3", "#eef3f8", "#ffffff00", "#d55e00"
SHAPES = {
    "swatch": "square",
    "triangle": "triangle-up",
    "star": "M0,-1L0,1M-0.87,-0.5L0.87,0.5M-0.87,0.5L0.87,-0.5",
    "x": "M-0.8,-0.8L0.8,0.8M-0.8,0.8L0.8,-0.8",
    "bar": "M-1,-0.5L1,-0.5L1,0.5L-1,0.5Z",
    "line": "M-1,0L1,0",
}
"""Vega's names or paths of the shapes that it calls otherwise."""
HATCHES = {
    "////": ("lines", "M-1,1L1,-1M0,6L6,0M5,7L7,5"),
    "xxxx": ("crosses", "M0,0L6,6M0,6L6,0"),
    "....": ("dots", "M2,3L4,3M3,2L3,4"),
    UNCERTAIN_HATCH: ("open", "M-1,5L1,7M0,0L6,6M5,-1L7,1"),
}
"""Names and paths, in a tile of 6 x 6, of what matplotlib writes so."""
UNIT = alt.Scale(domain=[0, 1])
APART: dict[str, Any] = dict.fromkeys(("color", "fill", "stroke", "shape"), "independent")
"""Charts beside and over each other have scales, and so legends, of their own."""
TIMES_HEIGHT, SHARES_HEIGHT = 330, 110


def page_chart(diagram: Diagram) -> dict[str, Any]:
    """The Vega-Lite specification of the page's charts, data included; the curves by column."""
    cells = _cells_data(diagram)
    curves = curves_data(diagram)
    probes = [name for name in curves if name not in (*PLACES, STEP)]
    chosen = alt.selection_point(
        name=CELL,
        fields=["cell"],
        on="click[event.item && event.item.datum && isValid(event.item.datum.cell)]",
        value=[{"cell": _first_choice(diagram)}],
        empty=False,
        clear=False,
    )
    hovered = alt.selection_point(name="hover", fields=["cell"], on="pointerover", clear="pointerout", empty=False)
    draw = _row if diagram.y is None else _grid
    chart = alt.vconcat(draw(diagram, cells, chosen, hovered), draw_curves(diagram, chosen, probes), spacing=28)
    axis: dict[str, Any] = {
        "labelColor": INK,
        "titleColor": INK,
        "gridColor": GRID,
        "labelFontSize": 12,
        "titleFontSize": 13,
    }
    legend: dict[str, Any] = {"labelFontSize": 12, "titleFontSize": 12, "labelLimit": 260, "symbolOpacity": 1}
    chart = chart.resolve_scale(**APART)
    chart = chart.configure(font="system-ui, sans-serif", background="white").configure_view(stroke=None)
    chart = chart.configure_axis(**axis, titleFontWeight="normal").configure_legend(**legend)
    with alt.data_transformers.enable("default", max_rows=None):
        specification = json.loads(chart.to_json())
    specification["datasets"][CURVES] = curves
    for parameter in specification["params"]:
        # Altair lists every named view below the cells' own; Vega takes one for a selection.
        if "views" in parameter:
            parameter["views"] = [name for name in parameter["views"] if name.startswith("cells")]
    return specification


def _first_choice(diagram: Diagram) -> int:
    """The cell that is shown before anybody clicks: the one with the smallest mean."""
    means = [cell.main.restricted_mean_steps.value for cell in diagram.cells]
    return int(np.nanargmin(means)) if not all(math.isnan(mean) for mean in means) else 0


# --- data ---------------------------------------------------------------------------------------------------------


def _cells_data(diagram: Diagram) -> pd.DataFrame:
    shown = tiles(diagram)
    rows = []
    for index, cell in enumerate(diagram.cells):
        mean, reached = cell.main.restricted_mean_steps, cell.main.by_tau
        known = not math.isnan(mean.value)
        rows.append(
            {
                "cell": index,
                "x": cell.x,
                "y": cell.y,
                "label": cell.label,
                "n": cell.measured,
                "phases": marks.phases_text(diagram, cell),
                "mean": mean.value,
                "mean_low": mean.low,
                "mean_high": mean.high,
                "given_low": cell.main.given_steps.low,
                "given_high": cell.main.given_steps.high,
                "mean_text": with_interval(mean, ".0f") if known else "unfinished",
                "tile": shown.values[index],
                "headline": shown.texts[index],
                "by_tau": reached.value,
                "by_tau_low": reached.low,
                "by_tau_high": reached.high,
                "by_tau_text": with_interval(reached, ".2f") if known else "unfinished",
                "given_text": with_interval(cell.main.given_steps, ".0f"),
                "median_text": median_text(cell.main.median_steps, known=known),
                "standing_text": standing_text(diagram, cell) or "–",
                "fill": _fill(shown.colours[index], UNCERTAIN_HATCH if cell.uncertain else ""),
                "ink": ink_on(shown.colours[index]),
            }
        )
        if diagram.earlier is not None:
            rows[-1]["earlier_text"] = with_interval(cell.events[diagram.earlier.name].restricted_mean_steps, ".0f")
    return pd.DataFrame(rows)


def _cell_tooltip(diagram: Diagram) -> list[alt.Tooltip]:
    tau, name = diagram.tau_steps, event_name(diagram.main)
    titles = {
        "label:N": "cell",
        "n:Q": "seeds",
        "phases:N": f"phases by {tau}",
        "by_tau_text:N": by_words(diagram.main, str(tau)),
        "given_text:N": f"{name} given that",
        "mean_text:N": f"RMST({tau}) of {name}",
        "median_text:N": f"median {name}",
    }
    if any(standing_text(diagram, cell) for cell in diagram.cells):
        titles["standing_text:N"] = f"without {name}"
    if diagram.earlier is not None:
        titles["earlier_text:N"] = f"RMST({tau}) of {event_name(diagram.earlier)}"
    return [alt.Tooltip(field, title=title) for field, title in titles.items()]


def _trials_data(diagram: Diagram, stems: Sequence[marks.Stem]) -> pd.DataFrame:
    """One row a measured trial: where its marks are, and what they say."""
    rows = []
    for stem in stems:
        (main_low, main_high), (earlier_low, earlier_high) = stem.spans
        rows.append(
            {
                "cell": stem.cell,
                "x": stem.x,
                "lane": stem.lane,
                "width": stem.width,
                "trial": stem.name,
                "id": stem.placed.trial.trial_id,
                "phase": marks.phase_words(diagram, stem.placed.phase),
                "end": stem.end,
                "bottom": stem.bottom,
                "top": stem.top,
                "main_low": main_low,
                "main_high": main_high,
                "earlier_low": earlier_low,
                "earlier_high": earlier_high,
                **{f"event_{rule.name}": event_text(stem.placed.events[rule.name]) for rule in diagram.drawn},
            }
        )
    return pd.DataFrame(rows)


# --- marks and legends --------------------------------------------------------------------------------------------


def _shape(symbol: Symbol) -> str:
    return SHAPES.get(symbol.shape, symbol.shape)


def _points(chart: alt.Chart, symbol: Symbol, size: int) -> alt.Chart:
    """Points that look like a symbol."""
    return chart.mark_point(
        shape=_shape(symbol), stroke=symbol.stroke, fill=symbol.fill, size=size, strokeWidth=1.6, opacity=1,
        cursor="pointer",
    )  # fmt: skip


def _legend(title: str, entries: Sequence[tuple[str, Symbol]]) -> alt.Chart:
    """A chart without marks whose legend shows these symbols."""
    labels = [label for label, _ in entries]

    def look(channel: Any, values: Sequence[str]) -> Any:
        scale = alt.Scale(domain=labels, range=list(values))
        return channel("label:N", title=title, sort=None, scale=scale, legend=alt.Legend(symbolSize=110))

    return (
        alt.Chart(pd.DataFrame({"label": labels}))
        .mark_point(size=0, opacity=0)
        .encode(
            shape=look(alt.Shape, [_shape(symbol) for _, symbol in entries]),
            fill=look(alt.Fill, [_fill(symbol.fill, symbol.hatch) for _, symbol in entries]),
            stroke=look(alt.Stroke, [symbol.stroke for _, symbol in entries]),
        )
    )


def _fill(colour: str, hatch: str) -> str:
    """A colour, or the page's pattern of a hatch over it."""
    return f"url(#{_hatch_id(colour, hatch)})" if hatch else colour


def _hatch_id(colour: str, hatch: str) -> str:
    return f"hatch-{colour.removeprefix('#')}-{HATCHES[hatch][0]}"


def hatches(diagram: Diagram) -> list[dict[str, Any]]:
    """The patterns that the charts need: their id, colour, and the lines over it, thin ones on tiles with text."""
    colours = [*marks.phase_colours(diagram).values(), marks.HATCHED_COLOUR]
    pairs = [(colour, hatch) for colour in dict.fromkeys(colours) for hatch in marks.ENDINGS.values() if hatch]
    shown = zip(diagram.cells, tiles(diagram).colours, strict=True)
    tiled = dict.fromkeys(colour for cell, colour in shown if cell.uncertain)
    pairs += [(colour, UNCERTAIN_HATCH) for colour in (*tiled, marks.HATCHED_COLOUR)]
    return [
        {
            "id": _hatch_id(colour, hatch),
            "colour": colour,
            "path": HATCHES[hatch][1],
            "stroke": ink_on(colour) if hatch == UNCERTAIN_HATCH else "#fff",
            "width": 0.4 if hatch == UNCERTAIN_HATCH else 1.2,
        }
        for colour, hatch in pairs
    ]


# --- charts -------------------------------------------------------------------------------------------------------


def _row(diagram: Diagram, cells: pd.DataFrame, chosen: alt.Parameter, hovered: alt.Parameter) -> alt.VConcatChart:
    """A row of cells over time, and the phases below."""
    width = min(max(640, 92 * len(diagram.x.ticks)), 1800)
    x, bare = _cells_axis(diagram, shown=True), _cells_axis(diagram, shown=False)
    lane = alt.XOffset("lane:Q", scale=UNIT)
    time = marks.time_axis(diagram)
    stems = list(marks.stems(diagram, time))
    trials = _trials_data(diagram, stems)
    y_scale = alt.Scale(type="log" if time.logarithmic else "linear", domain=[time.floor, time.ceiling], nice=False)
    y_axis = alt.Axis(values=list(time.ticks), format="d", domain=False, ticks=False)
    y_title = f"steps{' (log scale)' if time.logarithmic else ''}"

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title=y_title, scale=y_scale, axis=y_axis)

    fill = alt.when(chosen).then(alt.value(SELECTED)).when(hovered).then(alt.value(HOVERED)).otherwise(alt.value(PLAIN))
    titles = {
        "trial": "trial",
        "phase": "phase",
        **{f"event_{rule.name}": event_name(rule) for rule in diagram.drawn},
        "id": "trial id",
    }
    seed_tooltip = [alt.Tooltip(f"{field}:N", title=title) for field, title in titles.items()]
    base, drawn = alt.Chart(cells), alt.Chart(trials)
    back = (
        base.mark_bar(cursor="pointer", size=0.94 * width / len(diagram.x.ticks))
        .encode(
            x=bare,
            xOffset=alt.XOffset(datum=0.5, scale=UNIT),
            y=alt.value(0),
            y2=alt.value(TIMES_HEIGHT),
            color=fill,
            tooltip=_cell_tooltip(diagram),
        )
        .add_params(chosen, hovered)
        .properties(name="cells")
    )
    tau = pd.DataFrame({"tau": [diagram.tau_steps], "beyond": [time.beyond], "text": ["not by τ"]})
    band = alt.Chart(tau).mark_rect(color=BEYOND_COLOUR).encode(y=y("tau"), y2=alt.value(0))
    tau_line = alt.Chart(tau).mark_rule(strokeDash=[5, 4], color=FAINT).encode(y=y("tau"))
    aside = alt.Chart(tau).mark_text(align="right", dx=-6, color=FAINT, fontSize=12)
    aside = aside.encode(x=alt.value(0), y=y("beyond"), text="text:N")
    lines = drawn.mark_rule(color=STEM).encode(x=bare, xOffset=lane, y=y("bottom"), y2="top:Q")
    bars = [
        drawn.mark_rule(color=colour, cursor="pointer").encode(
            x=bare,
            xOffset=lane,
            strokeWidth=alt.StrokeWidth("width:Q", scale=None),
            y=y(f"{role}_low"),
            y2=f"{role}_high:Q",
            tooltip=seed_tooltip,
        )
        for role, colour in (("earlier", marks.EARLIER_COLOUR), ("main", marks.MAIN_COLOUR))
    ]
    points = [
        _points(drawn.transform_filter(f"datum.end == '{end}'"), symbol, 60).encode(
            x=bare, xOffset=lane, y=y("top"), tooltip=seed_tooltip
        )
        for end, symbol in marks.ENDS.items()
        if (trials["end"] == end).any()
    ]
    at = alt.XOffset(datum=SUMMARY_LANE, scale=UNIT)
    summary = [
        *(
            base.mark_rule(color=MEAN_COLOUR, strokeWidth=thick).encode(
                x=bare, xOffset=at, y=y(f"{what}_low"), y2=f"{what}_high:Q"
            )
            for what, thick in (("mean", 1.3), ("given", 6))
        ),
        _points(base, MEAN_SYMBOL, 110)
        .encode(x=bare, xOffset=at, y=y("mean"), tooltip=_cell_tooltip(diagram))
        .properties(name="means"),
        base.mark_text(dy=-14, fontWeight="bold", color=INK).encode(
            x=bare, xOffset=at, y=y("mean_high"), text=alt.Text("mean:Q", format=".0f")
        ),
    ]
    legend = _legend("time to each event", marks.time_legend(diagram, stems))
    times = alt.layer(band, back, tau_line, aside, lines, *bars, *points, *summary, legend)
    times = times.properties(width=width, height=TIMES_HEIGHT)
    return alt.vconcat(times, _shares(diagram, base, x, width), spacing=10).resolve_scale(**APART)


def _cells_axis(diagram: Diagram, *, shown: bool) -> alt.X:
    """The cells by their ticks; below a tick its arm, where several arms have axes of their own."""
    groups = diagram.x.groups or ("",) * len(diagram.x.ticks)
    owners = list(dict.fromkeys(group for group in groups if group))
    ticks = [shortened(tick) for tick in diagram.x.ticks]
    names = [[tick, group] if group and len(owners) > 1 else tick for tick, group in zip(ticks, groups, strict=True)]
    axis = alt.Axis(
        labelExpr=f"{json.dumps(names)}[datum.value]",
        labelAngle=0 if max(len(tick) for tick in ticks) < 14 else -25,
        labelLimit=260,
        ticks=False,
        domain=False,
    )
    return alt.X(
        "x:O",
        title=(owners[0] if len(owners) == 1 else "" if owners else diagram.x.label) or None,
        scale=alt.Scale(domain=list(range(len(ticks))), paddingInner=0.06, paddingOuter=0.03),
        axis=axis if shown else None,
    )


def _shares(diagram: Diagram, base: alt.Chart, x: alt.X, width: int) -> Any:
    """Stacked phase frequencies, and P of the main event by tau with its interval."""
    parts = [
        {
            "cell": index,
            "x": cell.x,
            "low": part.low,
            "high": part.high,
            "middle": (part.low + part.high) / 2,
            "number": part.number,
            "what": f"{part.number} {part.words}",
            "fill": _fill(part.colour, part.hatch),
            "edge": part.edge,
            "ink": ink_on(part.colour),
        }
        for index, cell in enumerate(diagram.cells)
        for part in marks.segments(diagram, cell)
    ]
    bar = alt.Chart(pd.DataFrame(parts))
    at_bar = alt.XOffset(datum=BAR_LANE, scale=UNIT)
    share_axis = alt.Axis(values=[0, 0.5, 1], domain=False)
    bars = bar.mark_bar(cursor="pointer", size=BAR_WIDTH * width / len(diagram.x.ticks)).encode(
        x=x,
        xOffset=at_bar,
        y=alt.Y("low:Q", title="share of seeds", scale=UNIT, axis=share_axis),
        y2="high:Q",
        fill=alt.Fill("fill:N", scale=None),
        stroke=alt.Stroke("edge:N", scale=None),
        tooltip=[alt.Tooltip("what:N", title="seeds")],
    )
    numbers = bar.transform_filter(f"datum.high - datum.low >= {marks.NUMBERED}").mark_text(fontSize=11)
    numbers = numbers.encode(
        x=x, xOffset=at_bar, y=alt.Y("middle:Q", scale=UNIT), text="number:Q", fill=alt.Fill("ink:N", scale=None)
    )
    at = alt.XOffset(datum=SUMMARY_LANE, scale=UNIT)
    interval = base.mark_rule(color=MEAN_COLOUR, strokeWidth=2.5).encode(
        x=x, xOffset=at, y=alt.Y("by_tau_low:Q", scale=UNIT), y2="by_tau_high:Q"
    )
    share = _points(base, SHARE_SYMBOL, 70).encode(
        x=x, xOffset=at, y=alt.Y("by_tau:Q", scale=UNIT), tooltip=_cell_tooltip(diagram)
    )
    legend = _legend("phase by τ", marks.phase_legend(diagram, probability=True))
    return alt.layer(bars, numbers, interval, share, legend).properties(width=width, height=SHARES_HEIGHT)


def _grid(diagram: Diagram, cells: pd.DataFrame, chosen: alt.Parameter, hovered: alt.Parameter) -> Any:
    """Tiles: RMST, or what was asked for, as colour and number, with P by tau below it."""
    assert diagram.y is not None
    side, tall = 108, 74
    shown = tiles(diagram)

    def axis(of: Any, channel: type[alt.X] | type[alt.Y], field: str) -> Any:
        order = list(range(len(of.ticks)))
        return channel(
            f"{field}:O",
            title=of.label,
            scale=alt.Scale(domain=order[::-1] if channel is alt.Y and of.numeric else order, padding=0),
            axis=alt.Axis(labelExpr=f"{json.dumps(of.ticks)}[datum.value]", labelAngle=0, ticks=False, domain=False),
        )

    place: dict[str, Any] = {"x": axis(diagram.x, alt.X, "x"), "y": axis(diagram.y, alt.Y, "y")}
    edge = alt.when(hovered).then(alt.value(INK)).otherwise(alt.value("white"))
    base = alt.Chart(cells)
    squares = (
        base.mark_rect(strokeWidth=3, cursor="pointer")
        .encode(**place, fill=alt.Fill("fill:N", scale=None), stroke=edge, tooltip=_cell_tooltip(diagram))
        .add_params(chosen, hovered)
        .properties(name="cells")
    )
    seeds = []
    for index, cell in enumerate(diagram.cells):
        top = len(diagram.y.ticks) - 1 - cell.y if diagram.y.numeric else cell.y
        parts = [part for part in marks.segments(diagram, cell) for _ in range(part.number)]
        for rank, part in enumerate(parts):
            across = cell.x + 0.1 + 0.8 * (rank + 0.5) / len(parts)
            fill = _fill(part.colour, part.hatch)
            seeds.append({"cell": index, "fill": fill, "edge": part.edge, "across": across, "down": top + 0.8})

    def along(channel: type[alt.X] | type[alt.Y], field: str, count: int, *, reverse: bool) -> Any:
        return channel(f"{field}:Q", scale=alt.Scale(domain=[0, count], reverse=reverse), axis=None)

    most = max(len(cell.trials) for cell in diagram.cells)
    dots = (
        alt.Chart(pd.DataFrame(seeds), name="dots")
        .mark_square(size=min(90, 5000 / most**2), opacity=1)
        .encode(
            x=along(alt.X, "across", len(diagram.x.ticks), reverse=False),
            y=along(alt.Y, "down", len(diagram.y.ticks), reverse=True),
            fill=alt.Fill("fill:N", scale=None),
            stroke=alt.Stroke("edge:N", scale=None),
        )
    )
    ink = alt.Color("ink:N", scale=None)
    mean = base.mark_text(dy=-17, fontSize=14, fontWeight="bold").encode(**place, text="headline:N", color=ink)
    known = base.transform_filter("isValid(datum.mean)").transform_calculate(reached="'P ' + datum.by_tau_text")
    reached = known.mark_text(dy=2, fontSize=10).encode(**place, text="reached:N", color=ink)
    # On top of the tiles, whose neighbours would hide its edge; the page lets the pointer through.
    ring = base.transform_filter(chosen).mark_rect(fillOpacity=0, stroke=RING, strokeWidth=3).encode(**place)
    seeds_layer = alt.layer(dots, _legend("phase by τ", [*marks.phase_legend(diagram), *shown.legend]))
    seeds_layer = seeds_layer.resolve_scale(**APART)
    cells_layer = alt.layer(squares, mean, reached, ring.properties(name="ring"), *_key(base, shown)).resolve_scale(
        **APART
    )
    together = alt.layer(cells_layer, seeds_layer).resolve_scale(x="independent", y="independent", **APART)
    size = {"width": side * len(diagram.x.ticks), "height": tall * len(diagram.y.ticks)}
    return together.properties(**size)


def _key(base: alt.Chart, shown: Tiles) -> list[alt.Chart]:
    """Without a size: its legend shows the scale by which the tiles are coloured; none where they show phases."""
    if (scale := shown.scale) is None:
        return []
    colour = alt.Color(
        "tile:Q",
        title=shown.label,
        scale=alt.Scale(
            type="log" if scale.logarithmic else "linear",
            domain=[scale.low, scale.high],
            scheme=COLOURS,  # type: ignore[arg-type]
            reverse=scale.small_is_bright,
            nice=False,
        ),
        legend=alt.Legend(values=list(scale.ticks), format=shown.form, gradientLength=130),
    )
    return [base.mark_point(size=0, opacity=0).encode(color=colour)]
