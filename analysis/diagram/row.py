"""A row of cells over time: every seed's events as intervals, the restricted mean, and the phases below."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from analysis.diagram import marks
from analysis.diagram.cells import Cell, Diagram
from analysis.diagram.handles import LINES, draw_interval, draw_number, draw_symbol, legend_handles
from analysis.diagram.marks import BAR_LANE, BAR_WIDTH, MEAN_SYMBOL, SHARE_SYMBOL, SUMMARY_LANE, Stem
from analysis.diagram.words import estimator_words, notes
from analysis.drawing import style
from analysis.drawing.style import AXIS_COLOUR, BEYOND_COLOUR, FAINT, GRID, INK, MEAN_COLOUR, STEM

NOTE = (
    "A bar is the interval (L, R] that holds the event.  RMST(τ) = ∫₀^τ (1 − CIF): a seed without the event by τ "
    "counts τ, whatever the reason.  CIF: {estimator}.  95 % intervals: Bayesian bootstrap over seeds for RMST, exact "
    "for shares."
)


def draw_row(figure: Figure, diagram: Diagram) -> None:
    """Draw a diagram without a vertical axis: time above, phases below."""
    count = len(diagram.x.ticks)
    width, height = min(max(8.6, 3.6 + 0.98 * count), 24.0), 6.9
    figure.set_size_inches(width, height)
    estimator = estimator_words(diagram)
    note = NOTE.format(estimator=f"{estimator}" if estimator else "not known yet")
    lines = style.wrapped(notes(diagram, note), width)
    left, footing = 0.78 / width, 0.56 + style.NOTE_LINE_IN * len(lines) + (0.24 if diagram.x.groups else 0.0)
    footing += 0.6 if _is_long(diagram) else 0.0
    shape = {"left": left, "right": 1 - 2.4 / width, "top": 1 - 0.98 / height, "bottom": footing / height}
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (2.8, 1), "hspace": 0.07} | shape)
    style.draw_head(figure, diagram.title, diagram.subtitle, left)
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(AXIS_COLOUR)
        axes.tick_params(axis="x", length=0)
        axes.tick_params(axis="y", color=AXIS_COLOUR, labelcolor=INK, labelsize=9.5)
        axes.grid(axis="y", color=GRID, lw=0.8, zorder=0.8)
        for index in range(0, count, 2):
            axes.axvspan(index - 0.5, index + 0.5, color="#f6f7f9", zorder=0, lw=0)
        axes.set_xlim(-0.5, count - 0.5)
    _draw_times(upper, diagram)
    _draw_shares(lower, diagram)
    _draw_ticks(lower, diagram)
    style.draw_notes(figure, lines, left)


def _draw_times(axes: Axes, diagram: Diagram) -> None:
    """The upper panel: each seed's events, and RMST of the main one."""
    tau, time = diagram.tau_steps, marks.time_axis(diagram)
    if time.logarithmic:
        axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator(time.ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(time.floor, time.ceiling)
    axes.axhspan(tau, time.ceiling, color=BEYOND_COLOUR, zorder=0.5, lw=0)
    axes.axhline(tau, color=FAINT, lw=0.9, ls=(0, (4, 3)), zorder=1.5)
    aside = axes.get_yaxis_transform()
    axes.text(-0.008, time.beyond, "not by τ", fontsize=9, color=FAINT, va="center", ha="right", transform=aside)
    axes.set_ylabel(f"steps{' (log scale)' if time.logarithmic else ''}", fontsize=10.5, color=INK)
    stems = list(marks.stems(diagram, time))
    _draw_stems(axes, stems)
    for cell in diagram.cells:
        _draw_mean(axes, cell)
    handles = legend_handles(marks.time_legend(diagram, stems))
    style.draw_legend(axes, handles, "Time to each event", (1.012, 1.0))


def _draw_stems(axes: Axes, stems: Sequence[Stem]) -> None:
    """All stems, as a few artists: one a line takes a second a thousand."""
    places = np.array([stem.x - 0.5 + stem.lane for stem in stems])
    widths = [stem.width for stem in stems]

    def lines(ends: list[tuple[float, float]], colour: str, width: float | list[float], zorder: float) -> None:
        known = [index for index, span in enumerate(ends) if not any(map(math.isnan, span))]
        if known:
            width = [width[index] for index in known] if isinstance(width, list) else width
            segments = [[(places[index], end) for end in ends[index]] for index in known]
            look: dict[str, Any] = {"colors": colour, "linewidths": width, "capstyle": "butt", "zorder": zorder}
            axes.add_collection(LineCollection(segments, **look), autolim=False)

    lines([(stem.bottom, stem.top) for stem in stems], STEM, 1.1, 2)
    lines([stem.spans[1] for stem in stems], marks.EARLIER_COLOUR, widths, 3)
    lines([stem.spans[0] for stem in stems], marks.MAIN_COLOUR, widths, 3.1)
    for end, symbol in marks.ENDS.items():
        ended = [index for index, stem in enumerate(stems) if stem.end == end]
        if ended:
            draw_symbol(axes, places[ended], [stems[index].top for index in ended], symbol, zorder=4)


def _draw_mean(axes: Axes, cell: Cell) -> None:
    mean, at = cell.main.restricted_mean_steps, cell.x - 0.5 + SUMMARY_LANE
    if math.isnan(mean.value):
        return
    given = cell.main.given_steps
    draw_interval(axes, at, mean.low, mean.high, MEAN_COLOUR, LINES["line"]["lw"])
    draw_interval(axes, at, given.low, given.high, MEAN_COLOUR, LINES["bar"]["lw"])
    draw_symbol(axes, at, mean.value, MEAN_SYMBOL, zorder=6)
    axes.annotate(
        f"{mean.value:.0f}",
        (at, mean.high),
        xytext=(0, 4.5),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=9.5,
        fontweight="bold",
        color=INK,
        zorder=6,
    )


def _draw_shares(axes: Axes, diagram: Diagram) -> None:
    """The lower panel: how many seeds ended in each phase, and P of the main event by tau."""
    for cell in diagram.cells:
        at = cell.x - 0.5 + BAR_LANE
        for part in marks.segments(diagram, cell):
            axes.bar(
                at,
                part.high - part.low,
                bottom=part.low,
                width=BAR_WIDTH,
                color=part.colour,
                edgecolor=part.edge,
                hatch=part.hatch,
                linewidth=0.8,
                zorder=3,
            )
            draw_number(axes, at, (part.low + part.high) / 2, part, 8.5, 1.2)
        reached, at = cell.main.by_tau, cell.x - 0.5 + SUMMARY_LANE
        if not math.isnan(reached.value):
            draw_interval(axes, at, reached.low, reached.high, MEAN_COLOUR)
            draw_symbol(axes, at, reached.value, SHARE_SYMBOL, zorder=5)
    axes.set_ylim(-0.04, 1.04)
    axes.set_yticks([0, 0.5, 1])
    axes.set_ylabel("share of seeds", fontsize=10.5, color=INK)
    handles = legend_handles(marks.phase_legend(diagram, probability=True))
    style.draw_legend(axes, handles, "Phase by τ", (1.012, 1.0))


def _is_long(diagram: Diagram) -> bool:
    """Whether the cells' names are too long to be written side by side."""
    return max(len(tick) for tick in diagram.x.ticks) > 12


def _draw_ticks(axes: Axes, diagram: Diagram) -> None:
    """The cells' names, what their values belong to, and n where it differs."""
    counts = [0] * len(diagram.x.ticks)
    for cell in diagram.cells:
        counts[cell.x] = cell.measured
    uneven, long = len(set(counts)) > 1, _is_long(diagram)
    ticks = [
        f"{style.short(tick)}\nn = {count}" if uneven else style.short(tick)
        for tick, count in zip(diagram.x.ticks, counts, strict=True)
    ]
    axes.set_xticks(range(len(ticks)), ticks, fontsize=8 if long else 10.5, color=INK)
    if long:
        for text in axes.get_xticklabels():
            text.set(rotation=20, ha="right", rotation_mode="anchor")
    if not diagram.x.groups:
        axes.set_xlabel(style.safe(diagram.x.label), fontsize=10.5, color=INK, labelpad=4)
        return
    depth = -0.215 - 0.16 * uneven - 0.55 * long
    along = axes.get_xaxis_transform()
    for group, places in groupby(range(len(ticks)), key=lambda place: diagram.x.groups[place]):
        if group:
            start, end = min(members := [*places]), max(members)
            axes.plot([start - 0.36, end + 0.36], [depth] * 2, color=FAINT, lw=1, clip_on=False, transform=along)
            look: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 10.5, "color": INK, "transform": along}
            axes.text((start + end) / 2, depth - 0.05, style.safe(group), **look)
