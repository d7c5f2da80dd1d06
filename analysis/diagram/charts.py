"""The interactive page's charts: the cells, of which one is chosen by a click, and the curves of its trials."""

import json
import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from analysis.data.sweep import MISSING
from analysis.diagram.cells import Cell, Diagram
from analysis.diagram.tables import event_text, median_text, with_interval
from analysis.drawing import style
from analysis.drawing.style import DIVERGED_COLOUR, GEN_COLOUR, INK, MEAN_COLOUR, MEM_COLOUR, PHASE_COLOURS, STEM
from analysis.stats.survival import FOLLOW_UP
from trainables.engine.events import CENSORED, DIVERGED, EVENT, FROZEN

VALUES_IN_PAGE = 600_000
"""Curves are thinned so that the page holds about so many numbers."""
POINTS = (20, 100)
"""At least and at most so many points a curve."""
CELL = "cell"
"""The name of the selection: the index of the chosen cell."""
SELECTED, HOVERED, PLAIN = "#dfe9f3", "#eef3f8", "#ffffff00"


def page_chart(diagram: Diagram) -> dict[str, Any]:
    """The Vega-Lite specification of the page's charts, data included."""
    cells = _cells_data(diagram)
    chosen = alt.selection_point(
        name=CELL, fields=["cell"], on="click", value=[{"cell": _first_choice(diagram)}], empty=False, clear=False
    )
    hovered = alt.selection_point(name="hover", fields=["cell"], on="pointerover", clear="pointerout", empty=False)
    over = _row(diagram, cells, chosen, hovered) if diagram.y is None else _grid(diagram, cells, chosen, hovered)
    chart = alt.vconcat(over, _curves(diagram, chosen), spacing=28).resolve_scale(color="independent")
    axis: dict[str, Any] = {
        "labelColor": INK,
        "titleColor": INK,
        "gridColor": "#e6e6e6",
        "labelFontSize": 12,
        "titleFontSize": 13,
    }
    chart = chart.configure(font="system-ui, sans-serif", background="white").configure_view(stroke=None)
    chart = chart.configure_axis(**axis, titleFontWeight="normal").configure_legend(labelFontSize=12, titleFontSize=12)
    return json.loads(chart.to_json())


def _first_choice(diagram: Diagram) -> int:
    """The cell that is shown before anybody clicks: the soonest of those that grok."""
    means = [cell.t_gen.restricted_mean_steps.value for cell in diagram.cells]
    return int(np.nanargmin(means)) if not all(math.isnan(mean) for mean in means) else 0


# --- data ---------------------------------------------------------------------------------------------------------


def _cells_data(diagram: Diagram) -> pd.DataFrame:
    rows = []
    for index, cell in enumerate(diagram.cells):
        mean, reached = cell.t_gen.restricted_mean_steps, cell.t_gen.by_tau
        known = not math.isnan(mean.value)
        rows.append(
            {
                "cell": index,
                "x": cell.x,
                "y": cell.y,
                "label": cell.label,
                "n": len(cell.trials) - cell.count(MISSING),
                "phases": style.phases_words(cell),
                "mean": mean.value,
                "mean_low": mean.low,
                "mean_high": mean.high,
                "mean_text": with_interval(mean, ".0f") if known else "unfinished",
                "by_tau": reached.value,
                "by_tau_low": reached.low,
                "by_tau_high": reached.high,
                "by_tau_text": with_interval(reached, ".2f") if known else "unfinished",
                "median_text": median_text(cell.t_gen.median_steps, known=known),
                "t_mem_text": with_interval(cell.t_mem.restricted_mean_steps, ".0f"),
            }
        )
    return pd.DataFrame(rows)


def _cell_tooltip(diagram: Diagram) -> list[alt.Tooltip]:
    tau = diagram.tau_steps
    return [
        alt.Tooltip("label:N", title="cell"),
        alt.Tooltip("n:Q", title="seeds"),
        alt.Tooltip("phases:N", title=f"phases by {tau}"),
        alt.Tooltip("by_tau_text:N", title=f"P(t_gen ≤ {tau})"),
        alt.Tooltip("mean_text:N", title=f"RMST({tau}) of t_gen"),
        alt.Tooltip("median_text:N", title="median t_gen"),
        alt.Tooltip("t_mem_text:N", title=f"RMST({tau}) of t_mem"),
    ]


def trial_name(cell: Cell, index: int) -> str:
    """What tells a trial from the others of its cell: its seed."""
    trial = cell.trials[index].trial
    own = {name: value for name, value in trial.coordinates.items() if name not in cell.coordinates}
    return ", ".join(f"{name} {value}" for name, value in own.items()) or trial.trial_id


def _trials_data(diagram: Diagram) -> pd.DataFrame:
    """One row a measured trial: where its marks are, and what they say."""
    tau, rows = diagram.tau_steps, []
    beyond = tau * 1.19
    for index, cell in enumerate(diagram.cells):
        lanes = np.linspace(0.12, 0.55, len(cell.trials)) if len(cell.trials) > 1 else [0.33]
        for number, (placed, lane) in enumerate(zip(cell.trials, lanes, strict=True)):
            mem, gen = placed.t_mem, placed.t_gen
            if mem is None or gen is None:
                continue
            top = gen.high_steps
            if gen.kind == CENSORED:
                top = beyond if gen.low_steps >= FOLLOW_UP * tau else gen.low_steps
            rows.append(
                {
                    "cell": index,
                    "x": cell.x,
                    "lane": lane,
                    "trial": trial_name(cell, number),
                    "id": placed.trial.trial_id,
                    "phase": placed.phase,
                    "end": gen.kind if gen.kind != CENSORED or mem.kind != CENSORED else "neither",
                    "top": max(top, 1),
                    "mem_low": max(mem.low_steps, 0.7) if mem.kind == EVENT else None,
                    "mem_high": mem.high_steps if mem.kind == EVENT else None,
                    "gen_low": max(gen.low_steps, 0.7) if gen.kind == EVENT else None,
                    "gen_high": gen.high_steps if gen.kind == EVENT else None,
                    "t_mem": event_text(mem),
                    "t_gen": event_text(gen),
                }
            )
    return pd.DataFrame(rows)


def thin(frame: pd.DataFrame, points: int) -> pd.DataFrame:
    """At most ``points`` rows of each trial, evenly by rank, the first and the last among them.

    :param frame: ``trial_id``, ``step`` and others, sorted by both.
    """
    rank = frame.groupby("trial_id", sort=False).cumcount().to_numpy()
    last = np.maximum(frame.groupby("trial_id", sort=False)["step"].transform("size").to_numpy() - 1, 1)
    # A row is kept where the even grid of `points` places over its trial moves on.
    place, before = (np.floor(ranks * (points - 1) / last) for ranks in (rank, rank - 1))
    return frame[(last < points) | (rank == 0) | (place > before)].reset_index(drop=True)


def _curves_data(diagram: Diagram) -> tuple[str, list[str]]:
    """The curves as CSV text with a row for each trial and step, and the names of its probe columns."""
    place = {
        placed.trial.trial_id: (index, trial_name(cell, number))
        for index, cell in enumerate(diagram.cells)
        for number, placed in enumerate(cell.trials)
    }
    parts = [pd.DataFrame(curves).assign(trial_id=trial.trial_id) for trial, curves in diagram.frame.curves()]
    frame = pd.concat(parts, ignore_index=True).dropna(axis="columns", how="all")
    columns = [name for name in frame.columns if name not in ("trial_id", "step")]
    budget = VALUES_IN_PAGE // max(1, frame["trial_id"].nunique() * len(columns))
    frame = thin(frame[frame["step"] <= diagram.tau_steps], min(max(budget, POINTS[0]), POINTS[1]))
    placed_at = frame["trial_id"].map(place)
    table = pd.DataFrame({"cell": placed_at.str[0], "trial": placed_at.str[1], "step": frame["step"]})
    rounded = pd.DataFrame({name: [f"{value:.4g}" for value in frame[name]] for name in columns}).replace("nan", "")
    return pd.concat([table, rounded], axis="columns").to_csv(index=False), columns


def quantities(columns: Sequence[str]) -> list[str]:
    """What can be shown: ``accuracy`` for train_accuracy and test_accuracy, and every other column by itself."""
    return list(dict.fromkeys(name.removeprefix("train_").removeprefix("test_") for name in columns))


# --- charts -------------------------------------------------------------------------------------------------------


def _row(diagram: Diagram, cells: pd.DataFrame, chosen: alt.Parameter, hovered: alt.Parameter) -> alt.VConcatChart:
    """A row of cells over time, and the phases below."""
    width = min(max(640, 92 * len(diagram.x.ticks)), 1800)
    x, bare = _cells_axis(diagram, shown=True), _cells_axis(diagram, shown=False)
    unit = alt.Scale(domain=[0, 1])
    lane = alt.XOffset("lane:Q", scale=unit)
    trials = _trials_data(diagram)
    tau = diagram.tau_steps
    ended = trials[["mem_high", "gen_high"]].min(axis=None)
    logarithmic = not math.isnan(ended) and tau / max(ended, 1) >= 15
    domain = [max(ended * 0.72, 0.7), tau * 1.42] if logarithmic else [0, tau * 1.3]
    ticks = style.round_steps(domain[0], tau) if logarithmic else np.linspace(0, tau, 6).tolist()
    y_scale = alt.Scale(type="log" if logarithmic else "linear", domain=domain, nice=False)
    y_axis = alt.Axis(values=ticks, format="d", domain=False, ticks=False)

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title="steps", scale=y_scale, axis=y_axis)

    fill = alt.when(chosen).then(alt.value(SELECTED)).when(hovered).then(alt.value(HOVERED)).otherwise(alt.value(PLAIN))
    seed_tooltip = ["trial:N", "phase:N", "t_mem:N", "t_gen:N", alt.Tooltip("id:N", title="trial id")]
    base, marks = alt.Chart(cells), alt.Chart(trials)
    back = (
        base.mark_bar(cursor="pointer", size=0.94 * width / len(diagram.x.ticks))
        .encode(
            x=bare,
            xOffset=alt.XOffset(datum=0.5, scale=unit),
            y=alt.value(0),
            y2=alt.value(330),
            color=fill,
            tooltip=_cell_tooltip(diagram),
        )
        .add_params(chosen, hovered)
        .properties(name="cells")
    )
    tau_line = alt.Chart(pd.DataFrame({"tau": [tau]})).mark_rule(strokeDash=[5, 4], color="#6b6b6b").encode(y=y("tau"))
    stems = marks.mark_rule(color=STEM).encode(x=bare, xOffset=lane, y=y("mem_high"), y2="top:Q")
    bars = [
        marks.mark_rule(color=colour, strokeWidth=7, cursor="pointer").encode(
            x=bare, xOffset=lane, y=y(f"{event}_low"), y2=f"{event}_high:Q", tooltip=seed_tooltip
        )
        for event, colour in (("mem", MEM_COLOUR), ("gen", GEN_COLOUR))
    ]
    endings = {
        CENSORED: ("triangle-up", GEN_COLOUR, "white"),
        "neither": ("triangle-up", MEM_COLOUR, "white"),
        FROZEN: ("diamond", GEN_COLOUR, GEN_COLOUR),
        DIVERGED: ("cross", DIVERGED_COLOUR, DIVERGED_COLOUR),
    }
    points = [
        marks.transform_filter(f"datum.end == '{end}'")
        .mark_point(shape=shape, stroke=stroke, fill=inside, size=60, strokeWidth=1.6, opacity=1, cursor="pointer")
        .encode(x=bare, xOffset=lane, y=y("top"), tooltip=seed_tooltip)
        for end, (shape, stroke, inside) in endings.items()
        if (trials["end"] == end).any()
    ]
    at = alt.XOffset(datum=0.82, scale=unit)
    summary = [
        base.mark_rule(color=MEAN_COLOUR, strokeWidth=2.5).encode(
            x=bare, xOffset=at, y=y("mean_low"), y2="mean_high:Q"
        ),
        base.mark_point(shape="diamond", fill=MEAN_COLOUR, stroke="white", size=110, opacity=1).encode(
            x=bare, xOffset=at, y=y("mean"), tooltip=_cell_tooltip(diagram)
        ),
        base.mark_text(dy=-14, fontWeight="bold", color=INK).encode(
            x=bare, xOffset=at, y=y("mean_top"), text=alt.Text("mean:Q", format=".0f")
        ),
    ]
    base_top = "isValid(datum.mean_high) ? datum.mean_high : datum.mean"
    summary[-1] = summary[-1].transform_calculate(mean_top=base_top)
    times = alt.layer(back, tau_line, stems, *bars, *points, *summary).properties(width=width, height=330)
    return alt.vconcat(times, _shares(diagram, base, x, width), spacing=10)


def _cells_axis(diagram: Diagram, *, shown: bool) -> alt.X:
    """The cells by their ticks; below a tick its arm, where the arms that have axes are several."""
    groups = diagram.x.groups or ("",) * len(diagram.x.ticks)
    owners = list(dict.fromkeys(group for group in groups if group))
    ticks = list(diagram.x.ticks)
    names = [[tick, group] if group and len(owners) > 1 else tick for tick, group in zip(ticks, groups, strict=True)]
    axis = alt.Axis(
        labelExpr=f"{json.dumps(names)}[datum.value]",
        labelAngle=0 if max(len(tick) for tick in ticks) < 14 else -25,
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
    """Stacked phase frequencies, and P(t_gen by tau) with its interval."""
    parts: list[dict[str, Any]] = []
    tops: dict[int, float] = {}
    for index, cell in enumerate(diagram.cells):
        for phase, ending, number in style.segments(cell):
            low = tops.get(index, 0.0)
            tops[index] = low + number / len(cell.trials)
            parts.append(
                {
                    "cell": index,
                    "x": cell.x,
                    "phase": phase,
                    "low": low,
                    "high": tops[index],
                    "what": f"{number} {style.ended_words(phase, ending)}",
                    "strength": 1.0 if ending == CENSORED else 0.55,
                }
            )
    unit = alt.Scale(domain=[0, 1])
    bars = (
        alt.Chart(pd.DataFrame(parts))
        .mark_bar(stroke="white", cursor="pointer", size=0.5 * width / len(diagram.x.ticks))
        .encode(
            x=x,
            xOffset=alt.XOffset(datum=0.335, scale=unit),
            y=alt.Y("low:Q", title="share of seeds", scale=unit, axis=alt.Axis(values=[0, 0.5, 1], domain=False)),
            y2="high:Q",
            color=_phase_colour(diagram),
            opacity=alt.Opacity("strength:Q", scale=None, legend=None),
            tooltip=[alt.Tooltip("what:N", title="seeds")],
        )
    )
    at = alt.XOffset(datum=0.82, scale=unit)
    interval = base.mark_rule(color=MEAN_COLOUR, strokeWidth=2.5).encode(
        x=x, xOffset=at, y=alt.Y("by_tau_low:Q", scale=unit), y2="by_tau_high:Q"
    )
    share = base.mark_point(shape="circle", fill=MEAN_COLOUR, stroke="white", size=70, opacity=1).encode(
        x=x, xOffset=at, y=alt.Y("by_tau:Q", scale=unit), tooltip=_cell_tooltip(diagram)
    )
    return alt.layer(bars, interval, share).properties(width=width, height=110)


def _phase_colour(diagram: Diagram) -> alt.Color:
    used = {phase for cell in diagram.cells for phase, _, _ in style.segments(cell)}
    phases = [phase for phase in PHASE_COLOURS if phase in used]
    return alt.Color(
        "phase:N",
        title="phase by τ",
        scale=alt.Scale(domain=phases, range=[PHASE_COLOURS[phase] for phase in phases]),
        legend=alt.Legend(labelExpr="datum.label == 'memorization' ? 'memorization (not by τ)' : datum.label"),
    )


def _grid(diagram: Diagram, cells: pd.DataFrame, chosen: alt.Parameter, hovered: alt.Parameter) -> Any:
    """Tiles: RMST as colour and number, with P by tau below it."""
    assert diagram.y is not None
    side, tall = 108, 74
    means = cells["mean"].dropna()
    low = max(float(means.min()), 1.0) if len(means) else 1.0
    logarithmic = diagram.tau_steps / low >= 8

    def axis(of: Any, channel: type[alt.X] | type[alt.Y], field: str) -> Any:
        order = list(range(len(of.ticks)))
        return channel(
            f"{field}:O",
            title=of.label,
            scale=alt.Scale(domain=order[::-1] if channel is alt.Y and of.numeric else order, padding=0),
            axis=alt.Axis(labelExpr=f"{json.dumps(of.ticks)}[datum.value]", labelAngle=0, ticks=False, domain=False),
        )

    place: dict[str, Any] = {"x": axis(diagram.x, alt.X, "x"), "y": axis(diagram.y, alt.Y, "y")}
    colour = alt.Color(
        "mean:Q",
        title="RMST(τ), steps",
        scale=alt.Scale(
            type="log" if logarithmic else "linear",
            domain=[low, diagram.tau_steps],
            scheme="cividis",
            reverse=True,
            nice=False,
        ),
    )
    edge = alt.when(hovered).then(alt.value(INK)).otherwise(alt.value("white"))
    middle = (low * diagram.tau_steps) ** 0.5 if logarithmic else (low + diagram.tau_steps) / 2
    ink = alt.when(f"isValid(datum.mean) && datum.mean > {middle}").then(alt.value("white")).otherwise(alt.value(INK))
    base = alt.Chart(cells)
    tiles = (
        base.mark_rect(strokeWidth=3, cursor="pointer", invalid=None)
        .encode(**place, color=colour, stroke=edge, tooltip=_cell_tooltip(diagram))
        .add_params(chosen, hovered)
        .properties(name="cells")
    )
    seeds = []
    for index, cell in enumerate(diagram.cells):
        top = len(diagram.y.ticks) - 1 - cell.y if diagram.y.numeric else cell.y
        phases = [phase for phase in PHASE_COLOURS for placed in cell.trials if placed.phase == phase]
        for rank, phase in enumerate(phases):
            across = cell.x + 0.1 + 0.8 * (rank + 0.5) / len(phases)
            seeds.append({"cell": index, "phase": phase, "across": across, "down": top + 0.8})
    number = "isValid(datum.mean) ? format(datum.mean, '.0f') : 'unfinished'"
    mean = base.transform_calculate(told=number).mark_text(dy=-17, fontSize=14, fontWeight="bold")
    reached = base.mark_text(dy=2, fontSize=10).encode(**place, text="by_tau_text:N", color=ink)

    def along(channel: type[alt.X] | type[alt.Y], field: str, count: int, *, reverse: bool) -> Any:
        return channel(f"{field}:Q", scale=alt.Scale(domain=[0, count], reverse=reverse), axis=None)

    most = max(len(cell.trials) for cell in diagram.cells)
    dots = (
        alt.Chart(pd.DataFrame(seeds), name="dots")
        .mark_square(size=min(90, 5000 / most**2), opacity=1, stroke="white")
        .encode(
            x=along(alt.X, "across", len(diagram.x.ticks), reverse=False),
            y=along(alt.Y, "down", len(diagram.y.ticks), reverse=True),
            color=_phase_colour(diagram),
        )
    )
    texts = mean.encode(**place, text="told:N", color=ink)
    # On top of the tiles, whose neighbours would hide its edge; the page lets the pointer through.
    ring = base.transform_filter(chosen).mark_rect(fillOpacity=0, stroke="#d55e00", strokeWidth=3).encode(**place)
    together = alt.layer(alt.layer(tiles, texts, reached, ring.properties(name="ring")), dots)
    size = {"width": side * len(diagram.x.ticks), "height": tall * len(diagram.y.ticks)}
    return together.resolve_scale(x="independent", y="independent", color="independent").properties(**size)


def _curves(diagram: Diagram, chosen: alt.Parameter) -> Any:
    """The trajectories of the chosen cell: a probe, picked from a list, over the steps."""
    text, columns = _curves_data(diagram)
    shown = quantities(columns)
    quantity = alt.param(
        name="quantity", value="accuracy" if "accuracy" in shown else shown[0],
        bind=alt.binding_select(options=shown, name="curve ")
    )  # fmt: skip
    logarithm = alt.param(name="logarithm", value=False, bind=alt.binding_checkbox(name="log₁₀ of it "))
    parse = dict.fromkeys(["cell", "step", *columns], "number") | {"trial": "string"}
    data = alt.InlineData(values=text, format=alt.CsvDataFormat(type="csv", parse=parse))
    own = "isValid(datum['train_' + quantity]) ? datum['train_' + quantity] : datum[quantity]"
    scaled = "!isValid(datum.raw) ? null : logarithm ? (datum.raw > 0 ? log(datum.raw) / LN10 : null) : datum.raw"
    lines = (
        alt.Chart(data, name="curves")
        .transform_filter(chosen)
        .transform_filter("datum.step > 0")
        .transform_calculate(training=own, test="datum['test_' + quantity]")
        .transform_fold(["training", "test"], as_=["rows", "raw"])
        .transform_calculate(value=scaled)
        .transform_filter("isValid(datum.value)")
        .mark_line(strokeWidth=1.6, opacity=0.85, point=alt.OverlayMarkDef(opacity=0, size=50))
        .encode(
            x=alt.X("step:Q", title="steps", scale=alt.Scale(type="log", domain=[1, diagram.tau_steps], nice=False)),
            y=alt.Y("value:Q", title=None),
            color=alt.Color(
                "rows:N",
                title="rows",
                scale=alt.Scale(domain=["test", "training"], range=[GEN_COLOUR, MEM_COLOUR]),
            ),
            detail="trial:N",
            tooltip=["trial:N", "rows:N", "step:Q", alt.Tooltip("raw:Q", title="value", format=".4g")],
        )
    )
    limits = pd.DataFrame(
        {"value": [diagram.frame.train_threshold, diagram.frame.test_threshold], "rows": ["training", "test"]}
    )
    rules = (
        alt.Chart(limits)
        .transform_filter("quantity == 'accuracy' && !logarithm")
        .mark_rule(strokeDash=[4, 4], opacity=0.7)
        .encode(y="value:Q", color="rows:N")
    )
    return (
        alt.layer(lines, rules)
        .add_params(quantity, logarithm)
        .properties(
            width=680,
            height=260,
            title=alt.Title(alt.expr("quantity + ' of the chosen cell, a line a seed'"), anchor="start"),
        )
    )
