"""Learning curves as a picture: the headline above a second quantity, a band a cell, labelled where it ends.

Nothing here computes a statistic: the numbers beside the labels are those of :mod:`analysis.curves.finals`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from analysis.curves.finals import CurveCell, Finals, Quantity
from analysis.data.sweep import ARM, Trial
from analysis.drawing import style
from analysis.drawing.bands import COLOURS, FEW, draw_band, late_range, ramp, stack
from analysis.drawing.panels import step_axis, tidy
from analysis.drawing.style import DIVERGED_COLOUR, FAINT, INK, STEM
from analysis.stats.paired import mean_words

MOST_COLOURS = len(COLOURS)
"""With more cells, the first and the best of the others are drawn in colour, the rest in grey."""
MOST_REMARKS = 6
WIDTH_IN, HEAD_IN, FOOT_IN = 9.4, 0.98, 0.62
LEFT_IN, RIGHT_IN, LABEL_IN = 0.78, 2.75, 0.45
CHARACTER_IN = 0.067
"""The width of a character of the numbers beside a line."""
UPPER_IN, LOWER_IN, GAP_IN = 3.4, 1.6, 0.22
WIDE = 15
"""Values other than shares whose extremes differ by this factor are drawn on a logarithmic scale."""


def draw_curves(results: Finals, path: Path) -> str:
    """Write the picture as a PNG file; return the characters that are boxes in it."""
    return style.to_png(lambda figure: draw_panels(figure, results), path)


def draw_panels(figure: Figure, results: Finals) -> None:
    """Draw the picture on a figure, whose size this sets."""
    colours = _colours(results)
    longest = max((len(_numbers(results, results.cells[index])) for index in colours), default=0)
    right = max(RIGHT_IN, 0.35 + CHARACTER_IN * longest)
    width = WIDTH_IN - RIGHT_IN + right
    notes = style.wrapped(_notes(results, len(results.cells) - len(colours)), width)
    foot = FOOT_IN + style.NOTE_LINE_IN * len(notes)
    heights = (UPPER_IN, LOWER_IN)[: len(results.shown)]
    height = HEAD_IN + sum(heights) + GAP_IN * (len(heights) - 1) + foot
    figure.set_size_inches(width, height)
    left, across = LEFT_IN / width, 1 - (LEFT_IN + right) / width
    style.draw_head(figure, results.title, results.subtitle, left)
    bottom = foot
    panels: list[Axes] = []
    for panel in reversed(heights):
        below = panels[0] if panels else None
        panels.insert(0, figure.add_axes((left, bottom / height, across, panel / height), sharex=below))
        bottom += panel + GAP_IN
    for axes, quantity in zip(panels, results.shown, strict=True):
        _draw_panel(axes, results, quantity, colours)
        last = axes is panels[-1]
        if quantity.share:
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
        axes.tick_params(labelbottom=last)
        tidy(
            axes,
            ylabel=style.safe(quantity.words),
            xlabel="" if not last else "epochs" if results.in_epochs else "steps",
        )
    _draw_labels(panels[0], results, colours)
    style.draw_notes(figure, notes, left)


def _colours(results: Finals) -> dict[int, Any]:
    """The colour of each cell that has one, by its number: shades where a single number is varied."""
    cells = results.cells
    if len(cells) <= MOST_COLOURS:
        varying = {name for cell in cells for name in cell.setting if cell.setting[name] != cells[0].setting.get(name)}
        values: list[Any] = [cell.setting.get(name) for name in varying for cell in cells]
        ordered = len(varying) == 1 and ARM not in varying and all(type(value) in (int, float) for value in values)
        shades: Sequence[Any] = ramp(len(cells)) if ordered and len(cells) > 2 else COLOURS
        ranks = np.argsort(np.argsort(values)) if ordered else np.arange(len(cells))
        return {index: shades[rank] for index, rank in enumerate(ranks.tolist())}
    headline = results.headline
    ended = [index for index, cell in enumerate(cells) if index and cell.values(headline)]
    if headline.larger_is_better is not None:
        ended.sort(key=lambda index: float(np.mean(cells[index].values(headline))), reverse=headline.larger_is_better)
    return dict(zip([0, *ended[: MOST_COLOURS - 1]], COLOURS, strict=False))


def _notes(results: Finals, grey: int) -> list[str]:
    headline = results.headline
    bands = max(len(cell.alive()) for cell in results.cells) > FEW
    what = "A line is the median of a cell's seeds, its band their range." if bands else "A line is a seed."
    numbers = f"Beside it: final {headline.words}{' in %' if headline.share else ''}, mean ± sd"
    if len(results.cells) > 1:
        points = " in points" if headline.share else ""
        numbers += f"; its difference to {results.cells[0].label}{points}, paired by seed, with Student's 95 % interval"
    losses = any(quantity.column.endswith("_loss") for quantity in results.shown)
    notes = [f"{what} {numbers}.{' The loss is that of each trial.' if losses else ''}"]
    if grey:
        order = {
            True: f" with the highest {headline.words}",
            False: f" with the lowest {headline.words}",
            None: " next",
        }
        others = f"the {MOST_COLOURS - 1}{order[headline.larger_is_better]}"
        notes.append(f"In colour: the first cell and {others}; in grey: the {grey} others, which are in cells.csv.")
    if any(trial.begun for cell in results.cells for trial in cell.diverged()):
        notes.append("A cross: a run diverged there.")
    remarks = [f"{cell.label}: {cell.remark()}" for cell in results.cells if cell.remark()]
    if len(remarks) > MOST_REMARKS:
        remarks[MOST_REMARKS:] = [f"{len(remarks) - MOST_REMARKS} more in cells.csv"]
    return [*notes, f"{'; '.join(remarks)}."] if remarks else notes


def _draw_panel(axes: Axes, results: Finals, quantity: Quantity, colours: Mapping[int, Any]) -> None:
    column = quantity.column
    for index, cell in enumerate(results.cells):
        trials = results.over(cell.alive())
        if index in colours:
            draw_band(axes, trials, column, colour=colours[index])
        elif (end := _line(trials, column)) is not None:
            axes.plot(*end, color=STEM, lw=0.9, zorder=1.5)
        for trial in results.over(cell.diverged()):
            steps, values = trial.measured(column)
            axes.plot(steps, values, color=colours.get(index, STEM), lw=0.9, zorder=2)
            axes.plot(steps[-1:], values[-1:], marker="X", ms=7.5, color=DIVERGED_COLOUR, mec="white", mew=0.7,
                      ls="", zorder=5)  # fmt: skip
    begun = results.over([trial for cell in results.cells for trial in cell.trials if trial.begun])
    span = late_range(begun, column)
    if span is None:
        return
    low, high = span
    if not quantity.share and low > 0 and high / low >= WIDE:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.15, high * 1.15)
        decades = np.log10(high / low)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        room = 0.06 * (high - low) or 0.06 * abs(high) or 0.01
        axes.set_ylim(low - room if low > room else 0 if low >= 0 else low - room, high + room)
        axes.yaxis.set_major_locator(MaxNLocator(6 if quantity is results.headline else 4, steps=[1, 2, 5, 10]))
    last = max(float(trial.measured(column)[0][-1]) for trial in begun if len(trial.measured(column)[0]))
    step_axis(axes, log=False, until=last)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=last >= 2))


def _line(trials: Sequence[Trial], column: str) -> tuple[np.ndarray, np.ndarray] | None:
    """The median over the trials' steps; None where none measured the column."""
    grid, stacked = stack(trials, column)
    return (grid, np.nanmedian(stacked, axis=0)) if len(stacked) else None


def _draw_labels(axes: Axes, results: Finals, colours: Mapping[int, Any]) -> None:
    """Each coloured cell's name and numbers, beside the end of its line."""
    ends: dict[int, tuple[float, float]] = {}
    for index in colours:
        line = _line(results.over(results.cells[index].alive()), results.headline.column)
        if line is not None:
            ends[index] = (float(line[0][-1]), float(line[1][-1]))
    order = sorted(ends, key=lambda index: -ends[index][1])
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted = [float(to_axes.transform(ends[index])[1]) for index in order]
    for index, at in zip(order, spread(wanted, LABEL_IN / UPPER_IN), strict=True):
        cell = results.cells[index]
        look: dict[str, Any] = {"textcoords": "axes fraction", "annotation_clip": False}
        arrow = {"arrowstyle": "-", "color": colours[index], "lw": 0.9, "ls": ":", "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", ends[index], (1.035, at), arrowprops=arrow, **look)
        place: dict[str, Any] = {"transform": axes.transAxes, "va": "center", "clip_on": False}
        axes.text(1.045, at + 0.025, style.short(cell.label), fontsize=9.5, fontweight="bold", color=colours[index],
                  **place)  # fmt: skip
        axes.text(1.045, at - 0.027, style.safe(_numbers(results, cell)), fontsize=8.5, color=INK, **place)
    if len(colours) < len(results.cells):
        at = -0.5 * LABEL_IN / UPPER_IN
        axes.text(1.045, at, f"{len(results.cells) - len(colours)} others", fontsize=8.5, color=FAINT,
                  transform=axes.transAxes, va="center", clip_on=False)  # fmt: skip


def _numbers(results: Finals, cell: CurveCell) -> str:
    own = cell.values(results.headline)
    if not own:
        return "no final value"
    words = mean_words(own, results.headline.style)
    if cell.own is not None and not cell.own.complete:
        words += f" at step {cell.own.step:.0f}"
    if cell is results.cells[0] or cell.to_first is None or cell.to_first.difference is None:
        return words
    return f"{words}   {cell.to_first.difference.words(results.headline.style)}"


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Places in [0, 1] near the wanted ones, descending as they are, and ``gap`` apart where there is room."""
    if not wanted:
        return []
    gap = min(gap, 1 / len(wanted))
    places: list[float] = []
    for place in wanted:
        places.append(min(place, 1 - gap / 2, *([places[-1] - gap] if places else [])))
    floor = gap / 2
    for index in reversed(range(len(places))):
        places[index] = max(places[index], floor)
        floor = places[index] + gap
    return places
