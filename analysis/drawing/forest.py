"""A table of methods with their differences to a baseline drawn in its middle: a forest plot that can be read.

Each row has its numbers as text and its difference as a point with an interval, on one scale for all rows; behind it
lies the region in which a claim about the difference holds, and beside it, hollow, what was published.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from analysis.drawing.style import FAINT, GRID, INK
from analysis.stats.intervals import Estimate

SCALE = (0.365, 0.655)
"""Where in the width the scale of the differences lies."""
GROUP, NAME, VALUE, TEXT, PUBLISHED, PUBLISHED_DIFFERENCE = 0.0, 0.105, 0.342, 0.81, 0.915, 1.0
"""The columns: the first two begin here, the others end here."""
REGION_COLOUR = "#e3efe9"
LEAST, MOST = (-3.0, 3.0), (-12.0, 12.0)
"""The scale reaches at least and at most so far; what lies beyond is drawn as an arrow."""
SIZE = 9.0
KEY = (
    "Filled: the mean difference and its interval, in the colour of its verdict; small rings: seeds; diamond: the "
    "paper; shaded: where the statement wants it."
)


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """One method."""

    name: str
    colour: Any
    value: str = "–"
    """Its own value, in words."""
    difference: Estimate | None = None
    """To the baseline of its group."""
    text: str = ""
    """The difference in words."""
    points: Sequence[float] = ()
    """The difference by seed."""
    status_colour: Any = INK
    region: tuple[float, float] | None = None
    """Where a claim wants the difference; ends may be infinite."""
    published: str = ""
    published_difference: float | None = None
    faint: bool = False
    """Whether it is not to be compared: a run that is not at its end."""


@dataclass(frozen=True, kw_only=True)
class ForestGroup:
    """The methods on one data set; the baseline first."""

    name: str
    note: str
    """Below the name."""
    rows: Sequence[ForestRow]


def draw_forest(axes: Axes, groups: Sequence[ForestGroup], *, value: str, difference: str) -> None:
    """Draw the table into axes that it has for itself.

    :param value, difference: what the columns of the methods' values and of the differences are called.
    """
    axes.set_axis_off()
    rows = sum(len(group.rows) for group in groups)
    gap = 0.45
    axes.set_xlim(0, 1)
    bottom = rows + gap * (len(groups) - 1) - 0.5
    axes.set_ylim(bottom + 1.0, -2.0)
    low, high = _reach(groups)
    _draw_head(axes, value, difference)
    axes.text(GROUP, bottom + 0.75, KEY, va="center", fontsize=7.5, color=FAINT)
    for tick in _ticks(low, high):
        place = _place(tick, low, high)
        axes.plot([place, place], [-0.6, bottom], color=FAINT if tick == 0 else GRID, lw=1.0 if tick == 0 else 0.7,
                  zorder=1)  # fmt: skip
        label = f"{tick:+g}".replace("-", "−") if tick else "0"
        axes.text(place, -0.72, label, ha="center", va="bottom", fontsize=7.5, color=FAINT)
    y = 0.0
    for index, group in enumerate(groups):
        if index:
            axes.plot([0, 1], [y - 0.5 - gap / 2] * 2, color=GRID, lw=0.8, zorder=0.5)
        axes.text(GROUP, y, group.name, va="center", fontsize=SIZE, fontweight="bold", color=INK)
        axes.text(GROUP, y + 0.5, group.note, va="top", fontsize=7.5, color=FAINT, linespacing=1.4)
        for row in group.rows:
            _draw_row(axes, row, y, low, high)
            y += 1.0
        y += gap


def _draw_head(axes: Axes, value: str, difference: str) -> None:
    middle = sum(SCALE) / 2
    for place, text, align in (
        (VALUE, value, "right"),
        (middle, difference, "center"),
        (PUBLISHED, "paper", "right"),
        (PUBLISHED_DIFFERENCE, "difference", "right"),
    ):
        axes.text(place, -1.62, text, ha=align, va="center", fontsize=8.2, color=FAINT)


def _draw_row(axes: Axes, row: ForestRow, y: float, low: float, high: float) -> None:
    ink = FAINT if row.faint else INK
    axes.plot([NAME], [y], marker="s", ms=5.5, color=row.colour, ls="")
    axes.text(NAME + 0.012, y, row.name, va="center", fontsize=SIZE, color=ink)
    axes.text(VALUE, y, row.value, va="center", ha="right", fontsize=SIZE, color=ink)
    axes.text(TEXT, y, row.text, va="center", ha="right", fontsize=SIZE, color=ink if row.faint else row.status_colour)
    axes.text(PUBLISHED, y, row.published, va="center", ha="right", fontsize=SIZE, color=FAINT)
    if row.region is not None:
        start, end = (_place(min(max(edge, low), high), low, high) for edge in row.region)
        axes.add_patch(Rectangle((start, y - 0.4), end - start, 0.8, color=REGION_COLOUR, lw=0, zorder=0.6))
    if row.published_difference is not None:
        text = f"{row.published_difference:+.2f}".replace("-", "−")
        axes.text(PUBLISHED_DIFFERENCE, y, text, va="center", ha="right", fontsize=SIZE, color=FAINT)
        _mark(axes, row.published_difference, y, low, high, marker="D", ms=4.2, mfc="white", mec=FAINT, zorder=3)
    if row.difference is None:
        return
    colour = FAINT if row.faint else row.status_colour
    estimate = row.difference
    if math.isfinite(estimate.low) and not row.faint:
        ends = [_place(min(max(end, low), high), low, high) for end in (estimate.low, estimate.high)]
        axes.plot(ends, [y, y], color=colour, lw=1.8, zorder=3.5, solid_capstyle="butt")
        for end, beyond, arrow in ((ends[0], estimate.low < low, "<"), (ends[1], estimate.high > high, ">")):
            axes.plot(
                [end], [y], marker=arrow if beyond else "|", ms=5 if beyond else 7, color=colour, ls="", zorder=3.6
            )
    for point in row.points:
        _mark(axes, point, y, low, high, marker="o", ms=2.6, mfc="white", mec=colour, mew=0.8, zorder=3.8)
    _mark(
        axes,
        estimate.value,
        y,
        low,
        high,
        marker="o",
        ms=5.5,
        mfc="white" if row.faint else colour,
        mec=colour,
        zorder=4,
    )


def _mark(axes: Axes, value: float, y: float, low: float, high: float, **look: Any) -> None:
    """A point on the scale; what lies beyond it is left to the text."""
    if low <= value <= high:
        axes.plot([_place(value, low, high)], [y], ls="", **look)


def _place(value: float, low: float, high: float) -> float:
    return SCALE[0] + (value - low) / (high - low) * (SCALE[1] - SCALE[0])


def _reach(groups: Sequence[ForestGroup]) -> tuple[float, float]:
    """The scale's ends, whole numbers: all means, published differences and, where there is room, intervals."""
    values = [0.0]
    for row in (row for group in groups for row in group.rows):
        values += [] if row.published_difference is None else [row.published_difference]
        if row.difference is not None:
            values += [row.difference.value, row.difference.low, row.difference.high]
    known = [value for value in values if math.isfinite(value)]
    low = max(MOST[0], min(LEAST[0], math.floor(min(known) - 0.3)))
    return low, min(MOST[1], max(LEAST[1], math.ceil(max(known) + 0.3)))


def _ticks(low: float, high: float) -> list[float]:
    step = 1 if high - low <= 8 else 2 if high - low <= 16 else 4
    return [float(tick) for tick in np.arange(math.ceil(low / step) * step, high + 1e-9, step)]
