"""What axes do, as rows with intervals: ratios of times as points around 1, sizes of effects as bars from 0."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from analysis.drawing import style
from analysis.drawing.panels import tidy
from analysis.drawing.style import FAINT, GEN_COLOUR, INK, STEM
from analysis.stats.intervals import Estimate

BAR_COLOUR, PAIR_COLOUR, NOISE_COLOUR = "#56b4e9", "#b9ddf3", STEM
"""Of one axis, of two axes together, and of what seeds do: light, for the interval on them."""
ROW_IN = 0.27
LABEL_IN, TEXT_IN = 3.3, 2.0
MOST_LETTERS = 44
"""A longer label has several lines."""
LINE_IN = 0.145


@dataclass(frozen=True, kw_only=True)
class EffectRow:
    """One axis, a change of it, two axes together, or the seeds."""

    label: str
    estimate: Estimate
    text: str
    colour: str = BAR_COLOUR


@dataclass(frozen=True, kw_only=True)
class EffectPanel:
    """Rows on one scale."""

    title: str
    xlabel: str
    rows: Sequence[EffectRow]
    ratio: bool = False
    """Points on a log scale around 1; otherwise bars from 0."""


def draw_effects(
    figure: Figure, title: str, subtitle: str, notes: Sequence[str], panels: Sequence[EffectPanel]
) -> None:
    """Draw the panels below each other into an empty figure, and set its size."""
    width = 9.2
    lines = style.wrapped(notes, width)
    head, footing, between = 0.95, 0.15 + style.NOTE_LINE_IN * len(lines), 0.95
    tall = [sum(map(_row_height, panel.rows)) + 0.08 for panel in panels]
    height = head + sum(tall) + between * len(panels) + footing
    figure.set_size_inches(width, height)
    style.draw_head(figure, title, subtitle, 0.28 / width)
    top = height - head
    for panel, size in zip(panels, tall, strict=True):
        top -= 0.32 + size
        axes = figure.add_axes((LABEL_IN / width, top / height, (width - LABEL_IN - TEXT_IN) / width, size / height))
        _draw_panel(axes, panel)
        figure.text(0.28 / width, (top + size + 0.1) / height, style.safe(panel.title), fontsize=10, color=INK,
                    fontweight="bold", va="bottom")  # fmt: skip
        top -= between - 0.32
    style.draw_notes(figure, lines, 0.28 / width)


def _draw_panel(axes: Axes, panel: EffectPanel) -> None:
    tidy(axes, xlabel=panel.xlabel)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    low, high = reach(panel)
    if panel.ratio:
        axes.set_xscale("log")
        ticks = ratio_ticks(low, high)
        axes.set_xticks(ticks)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
        axes.axvline(1, color=FAINT, lw=1, zorder=1)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_xlim(low, high)
    heights = [_row_height(row) for row in panel.rows]
    places = np.cumsum(heights) - np.array(heights) / 2  # In inches from the top.
    axes.set_ylim(sum(heights) + 0.08, 0)
    axes.set_yticks([])
    aside = axes.get_yaxis_transform()
    for place, row in zip(places, panel.rows, strict=True):
        axes.text(
            -0.02,
            place,
            "\n".join(map(style.safe, _label(row))),
            fontsize=8.5,
            color=INK,
            ha="right",
            va="center",
            transform=aside,
        )
        axes.text(1.02, place, style.safe(row.text), fontsize=8.5, color=INK, va="center", transform=aside)
        value, start, end = row.estimate.value, row.estimate.low, row.estimate.high
        if not panel.ratio:
            axes.barh(place, value, height=0.56 * ROW_IN, color=row.colour, zorder=2)
        if not math.isnan(start):
            ends = [min(max(start, low), high), min(max(end, low), high)]
            axes.plot(ends, [place, place], color=GEN_COLOUR if panel.ratio else INK, lw=1.8 if panel.ratio else 1.2,
                      zorder=3, solid_capstyle="butt")  # fmt: skip
            for at, beyond, arrow in ((ends[0], start < low, "<"), (ends[1], end > high, ">")):
                axes.plot(
                    [at], [place], marker=arrow if beyond else "|", ms=5, color=INK, ls="", zorder=3.5, clip_on=False
                )
        if panel.ratio:
            axes.plot([value], [place], marker="o", ms=5.5, color=GEN_COLOUR, ls="", zorder=4)


def _label(row: EffectRow) -> list[str]:
    return textwrap.wrap(row.label, MOST_LETTERS, max_lines=4, placeholder=" …")


def _row_height(row: EffectRow) -> float:
    """In inches."""
    return max(ROW_IN, LINE_IN * len(_label(row)) + 0.08)


def reach(panel: EffectPanel) -> tuple[float, float]:
    """The ends of the scale: all values, and intervals as far as they leave room."""
    values = [row.estimate.value for row in panel.rows]
    ends = [
        end for row in panel.rows for end in (row.estimate.low, row.estimate.high) if math.isfinite(end) and end > 0
    ]
    if not panel.ratio:
        return 0.0, max([*(1.12 * value for value in values), *(1.04 * end for end in ends), 1e-3])
    logs = np.log([*values, *ends, 1.0])
    most = 2.5 * max(math.log(1.3), float(np.abs(np.log(values)).max()))
    low, high = max(float(logs.min()), -most), min(float(logs.max()), most)
    room = 0.06 * (high - low) + 0.02
    return math.exp(low - room), math.exp(high + room)


def ratio_ticks(low: float, high: float) -> list[float]:
    """1, then halves and doubles, and what else has room."""
    wanted = [1.0, 0.5, 2, 0.2, 5, 0.1, 10, 0.3, 3, 0.7, 1.5, 0.8, 1.2, 0.9, 1.1, 0.6, 0.05, 20, 0.01, 100, 0.001, 1000]
    ticks: list[float] = []
    for tick in wanted:
        gaps = [abs(math.log(tick / other)) for other in ticks]
        if low <= tick <= high and min(gaps, default=math.inf) > 0.09 * math.log(high / low):
            ticks.append(tick)
    return sorted(ticks)
