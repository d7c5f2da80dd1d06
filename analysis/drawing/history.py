"""The history of a search: what each suggestion came to, with its interval, and the best so far."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.drawing import style
from analysis.drawing.panels import tidy
from analysis.drawing.style import BEYOND_COLOUR, DIVERGED_COLOUR, FAINT, GEN_COLOUR

WIDTH_IN, PANEL_IN, LEFT_IN, RIGHT_IN, HEAD_IN, FOOT_IN = 7.2, 2.9, 0.85, 0.25, 0.95, 0.62


@dataclass(frozen=True)
class HistoryPoint:
    """One suggestion, in the order in which they were made."""

    rmst_steps: float
    """NaN where it has no value: a trial failed."""
    low_steps: float
    high_steps: float
    reached: bool
    """Whether a seed has the event by tau."""


def draw_history(points: Sequence[HistoryPoint], path: Path, *, title: str, event: str, tau_steps: int) -> str:
    """Write the picture as a PNG file; return the characters that are boxes in it.

    :param event: in words, such as ``t_gen (test accuracy ≥ 0.95)``.
    """

    def draw(figure: Figure) -> None:
        notes = style.wrapped([_note(points)], WIDTH_IN)
        foot = FOOT_IN + style.NOTE_LINE_IN * len(notes)
        height = HEAD_IN + PANEL_IN + foot
        figure.set_size_inches(WIDTH_IN, height)
        left = LEFT_IN / WIDTH_IN
        style.draw_head(figure, title, f"{event}  ·  τ = {tau_steps} steps", left)
        across = 1 - (LEFT_IN + RIGHT_IN) / WIDTH_IN
        axes = figure.add_axes((left, foot / height, across, PANEL_IN / height))
        _draw_points(axes, points, tau_steps)
        tidy(axes, ylabel=f"RMST({tau_steps}), steps", xlabel="suggestion")
        style.draw_notes(figure, notes, left)

    return style.to_png(draw, path)


def _draw_points(axes: Axes, points: Sequence[HistoryPoint], tau_steps: int) -> None:
    number = np.arange(1, len(points) + 1)
    rmst = np.array([point.rmst_steps for point in points])
    reached = np.array([point.reached for point in points])
    known = np.isfinite(rmst)
    ends = np.array([(point.low_steps, point.high_steps) for point in points])
    axes.axhspan(tau_steps, 1.08 * tau_steps, color=BEYOND_COLOUR, lw=0, zorder=0)
    axes.vlines(number[known], *ends[known].T, color=GEN_COLOUR, lw=1.4, alpha=0.35, zorder=2)
    axes.plot(number[known & reached], rmst[known & reached], "o", ms=5.5, color=GEN_COLOUR, zorder=4)
    without = known & ~reached
    axes.plot(number[without], rmst[without], "o", ms=5.5, mfc="white", mec=GEN_COLOUR, zorder=4)
    axes.plot(number[~known], np.full(np.sum(~known), tau_steps), "x", ms=6, color=DIVERGED_COLOUR, zorder=4)
    best = np.fmin.accumulate(rmst)
    axes.step(number, best, where="post", color=FAINT, lw=1.2, zorder=3)
    axes.set_ylim(0, 1.08 * tau_steps)
    axes.set_xlim(0.5, max(len(points), 1) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _note(points: Sequence[HistoryPoint]) -> str:
    texts = ["A point is a suggestion with the 95 % interval of its restricted mean, the line the best so far."]
    if not all(point.reached for point in points):
        texts.append("Hollow: no seed has the event by τ.")
    if any(math.isnan(point.rmst_steps) for point in points):
        texts.append("A cross: a trial failed, or the values do not go together.")
    return " ".join(texts)
