"""Sweeps side by side as one picture: P and times at each shared setting, and how far each is from the first."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.comparing.sweeps import Entry, SweepComparison
from analysis.drawing import style
from analysis.drawing.bands import COLOURS
from analysis.drawing.panels import legend, ratio_axis, tidy
from analysis.drawing.style import FAINT, GRID, INK
from analysis.stats.intervals import Estimate

ROW_IN, HEAD_IN, FOOT_IN, WIDTH_IN = 0.46, 1.0, 0.85, 11.5
LONGEST_NAME = 60
NOTE = (
    "{event}; RMST(τ) counts τ for a seed without it, and its interval leaves room for seeds that never have it.  "
    "Ratios: in the seeds in which both have it, paired where seeds are shared.  95 % intervals: exact for P, Bayesian "
    "bootstrap for RMST, Student's of logarithms for ratios."
)


def draw_png(comparison: SweepComparison, path: Path) -> str:
    """Write the picture as a PNG file.

    :returns: the characters that are boxes in it, as :func:`analysis.drawing.style.to_png` does.
    """
    return style.to_png(lambda figure: draw(figure, comparison), path)


def draw(figure: Figure, comparison: SweepComparison) -> None:
    """Draw P, RMST and the ratios of times in three panels that share their rows."""
    rows, lanes = len(comparison.settings), len(comparison.sweeps)
    body = ROW_IN * rows * max(1.0, 0.55 * lanes)
    lines = style.wrapped([NOTE.format(event=comparison.event.words())], WIDTH_IN)
    foot = FOOT_IN + style.NOTE_LINE_IN * len(lines)
    height = HEAD_IN + body + foot
    figure.set_size_inches(WIDTH_IN, height)
    names = [textwrap.shorten(setting, LONGEST_NAME, placeholder=" …") for setting in comparison.settings]
    left = 0.35 + 0.075 * max(map(len, names))
    panels = figure.subplots(1, 3, sharey=True, width_ratios=(0.7, 1, 1))
    figure.subplots_adjust(
        left=left / WIDTH_IN, right=1 - 0.3 / WIDTH_IN, top=1 - HEAD_IN / height, bottom=foot / height, wspace=0.09
    )
    tau, event = comparison.tau_steps, comparison.event.name
    style.draw_head(figure, " against ".join(comparison.sweeps), f"{event}, τ = {tau} steps", 0.28 / WIDTH_IN)
    titles = f"P({event} ≤ τ)", "RMST(τ), steps", f"{event} over {comparison.sweeps[0]}'s"
    for axes, title in zip(panels, titles, strict=True):
        tidy(axes, style.safe(style.shortened(title)), xlabel="")
        axes.grid(visible=False, axis="y")
        for place in range(rows - 1):
            axes.axhline(place + 0.5, color=GRID, lw=0.7, zorder=0.5)
    shares, means, ratios = panels
    shares.set_xlim(-0.03, 1.03)
    means.set_xlim(0, tau * 1.03)
    ratios.axvline(1, color=FAINT, lw=1.0, zorder=1)
    ratios.set_xscale("log")
    for place, entries in enumerate(comparison.settings.values()):
        _draw_row(panels, comparison.sweeps, entries, place)
    shares.set_yticks(range(rows), [style.safe(name) for name in names], color=INK)
    shares.set_ylim(rows - 0.5, -0.5)
    for number, sweep in enumerate(comparison.sweeps):
        means.plot([], [], marker="o", color=COLOURS[number % len(COLOURS)], lw=2, label=style.safe(sweep))
    ratio_axis(ratios)
    legend(means, loc="upper center", bbox_to_anchor=(0.5, -0.32 / body), ncols=min(lanes, 3))
    style.draw_notes(figure, lines, 0.28 / WIDTH_IN)


def _draw_row(panels: Sequence[Axes], sweeps: Sequence[str], entries: Sequence[Entry], place: int) -> None:
    for entry in entries:
        number = sweeps.index(entry.sweep)
        at, colour = (
            place + 0.18 * (2 * number - len(sweeps) + 1) / max(1, len(sweeps) - 1),
            COLOURS[number % len(COLOURS)],
        )
        shown: list[Estimate | None] = [entry.summary.by_tau, entry.summary.restricted_mean_steps]
        shown.append(entry.contrast.ratio if entry.contrast else None)
        for axes, estimate in zip(panels, shown, strict=True):
            if estimate is not None and not math.isnan(estimate.value):
                axes.plot([estimate.low, estimate.high], [at, at], color=colour, lw=2, solid_capstyle="butt", zorder=3)
                axes.plot([estimate.value], [at], marker="o", ms=5, color=colour, ls="", zorder=4)
