"""Learning curves as a picture made to be shown: test accuracy above test loss, a band a cell, labelled where it ends.

Nothing here computes a statistic: the numbers beside the labels are those of :mod:`analysis.curves.finals`.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from analysis.curves.finals import ACCURACY, LOSS, CurveCell, Finals, against_first
from analysis.data.sweep import ARM, Trial
from analysis.diagram.picture import DPI
from analysis.drawing import style
from analysis.drawing.bands import COLOURS, FEW, draw_band, late_range, ramp, stack, step_axis, tidy
from analysis.drawing.style import DIVERGED_COLOUR, FAINT, INK, STEM
from analysis.stats.paired import mean_words

MOST_COLOURS = len(COLOURS)
"""With more cells, the first and the best of the others are drawn in colour, the rest in grey."""
MOST_REMARKS = 6
WIDTH_IN, HEAD_IN, FOOT_IN = 9.4, 0.98, 0.62
LEFT_IN, RIGHT_IN, LABEL_IN = 0.78, 2.75, 0.45
ACCURACY_IN, LOSS_IN, GAP_IN = 3.4, 1.6, 0.22
WIDE_LOSSES = 15
"""Losses whose extremes differ by this factor are drawn on a logarithmic scale."""


def draw_curves(found: Finals, path: Path) -> None:
    """Write the picture as a PNG file."""
    figure = Figure(dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # A sign that the font lacks is drawn as a box; that is no reason to stop.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        _draw(figure, found)
        figure.savefig(path, metadata={"Software": None})


def _draw(figure: Figure, found: Finals) -> None:
    colours = _colours(found)
    notes = style.wrapped(_notes(found, len(found.cells) - len(colours)), WIDTH_IN)
    foot = FOOT_IN + style.NOTE_LINE_IN * len(notes)
    height = HEAD_IN + ACCURACY_IN + GAP_IN + LOSS_IN + foot
    figure.set_size_inches(WIDTH_IN, height)
    left, across = LEFT_IN / WIDTH_IN, 1 - (LEFT_IN + RIGHT_IN) / WIDTH_IN
    lower = figure.add_axes((left, foot / height, across, LOSS_IN / height))
    bottom = (foot + LOSS_IN + GAP_IN) / height
    upper = figure.add_axes((left, bottom, across, ACCURACY_IN / height), sharex=lower)
    style.draw_head(figure, found.title, found.subtitle, left)
    _draw_panel(upper, found, ACCURACY, colours)
    _draw_panel(lower, found, LOSS, colours)
    upper.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    upper.tick_params(labelbottom=False)
    tidy(upper, ylabel="test accuracy", xlabel="")
    tidy(lower, ylabel="test loss", xlabel="epochs" if found.in_epochs else "steps")
    _draw_labels(upper, found, colours)
    style.draw_notes(figure, notes, left)


def _colours(found: Finals) -> dict[int, Any]:
    """The colour of each cell that has one, by its number: shades where a single number is varied."""
    cells = found.cells
    if len(cells) <= MOST_COLOURS:
        varying = {name for cell in cells for name in cell.setting if cell.setting[name] != cells[0].setting.get(name)}
        values: list[Any] = [cell.setting.get(name) for name in varying for cell in cells]
        ordered = len(varying) == 1 and ARM not in varying and all(type(value) in (int, float) for value in values)
        shades: Sequence[Any] = ramp(len(cells)) if ordered and len(cells) > 2 else COLOURS
        ranks = np.argsort(np.argsort(values)) if ordered else np.arange(len(cells))
        return {index: shades[rank] for index, rank in enumerate(ranks.tolist())}
    ended = [index for index, cell in enumerate(cells) if index and cell.accuracies()]
    best = sorted(ended, key=lambda index: -float(np.mean(cells[index].accuracies())))[: MOST_COLOURS - 1]
    return dict(zip([0, *best], COLOURS, strict=False))


def _notes(found: Finals, grey: int) -> list[str]:
    drawn = max(len(cell.alive()) for cell in found.cells) > FEW
    what = "A line is the median of a cell's seeds, its band their range." if drawn else "A line is a seed."
    told = "Beside it: final test accuracy in %, mean ± sd"
    if len(found.cells) > 1:
        told += f"; its difference to {found.cells[0].label} in points, paired by seed, with Student's 95 % interval"
    notes = [f"{what} {told}. The loss is each trial's own."]
    if grey:
        notes.append(
            f"In colour: the first cell and the {MOST_COLOURS - 1} with the highest final test accuracy; in grey: the "
            f"{grey} others, which cells.csv has too."
        )
    if any(trial.begun for cell in found.cells for trial in cell.diverged()):
        notes.append("A cross: there a run diverged.")
    remarks = [f"{cell.label}: {cell.remark()}" for cell in found.cells if cell.remark()]
    if len(remarks) > MOST_REMARKS:
        remarks[MOST_REMARKS:] = [f"{len(remarks) - MOST_REMARKS} more in cells.csv"]
    return [*notes, f"{'; '.join(remarks)}."] if remarks else notes


def _draw_panel(axes: Axes, found: Finals, column: str, colours: Mapping[int, Any]) -> None:
    for index, cell in enumerate(found.cells):
        trials = found.over(cell.alive())
        if index in colours:
            draw_band(axes, trials, column, colour=colours[index])
        elif (end := _line(trials, column)) is not None:
            axes.plot(*end, color=STEM, lw=0.9, zorder=1.5)
        for trial in found.over(cell.diverged()):
            steps, values = trial.measured(column)
            axes.plot(steps, values, color=colours.get(index, STEM), lw=0.9, zorder=2)
            axes.plot(steps[-1:], values[-1:], marker="X", ms=7.5, color=DIVERGED_COLOUR, mec="white", mew=0.7,
                      ls="", zorder=5)  # fmt: skip
    begun = found.over([trial for cell in found.cells for trial in cell.trials if trial.begun])
    span = late_range(begun, column)
    if span is None:
        return
    low, high = span
    if column == LOSS and low > 0 and high / low >= WIDE_LOSSES:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.15, high * 1.15)
        decades = np.log10(high / low)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        room = 0.06 * (high - low) or 0.06 * abs(high) or 0.01
        axes.set_ylim(low - room if low > room else 0 if low >= 0 else low - room, high + room)
        axes.yaxis.set_major_locator(MaxNLocator(6 if column == ACCURACY else 4, steps=[1, 2, 5, 10]))
    last = max(float(trial.measured(column)[0][-1]) for trial in begun if len(trial.measured(column)[0]))
    step_axis(axes, log=False, until=last)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=last >= 2))


def _line(trials: Sequence[Trial], column: str) -> tuple[np.ndarray, np.ndarray] | None:
    """The median over the trials' steps; None where none measured the column."""
    grid, stacked = stack(trials, column)
    return (grid, np.nanmedian(stacked, axis=0)) if len(stacked) else None


def _draw_labels(axes: Axes, found: Finals, colours: Mapping[int, Any]) -> None:
    """Each coloured cell's name and numbers, beside the end of its line."""
    low, high = axes.get_ylim()
    ends: dict[int, tuple[float, float]] = {}
    for index in colours:
        line = _line(found.over(found.cells[index].alive()), ACCURACY)
        if line is not None:
            ends[index] = (float(line[0][-1]), float(line[1][-1]))
    order = sorted(ends, key=lambda index: -ends[index][1])
    wanted = [(ends[index][1] - low) / (high - low) for index in order]
    for index, at in zip(order, spread(wanted, LABEL_IN / ACCURACY_IN), strict=True):
        cell = found.cells[index]
        look: dict[str, Any] = {"textcoords": "axes fraction", "annotation_clip": False}
        arrow = {"arrowstyle": "-", "color": colours[index], "lw": 0.9, "ls": ":", "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", ends[index], (1.035, at), arrowprops=arrow, **look)
        place: dict[str, Any] = {"transform": axes.transAxes, "va": "center", "clip_on": False}
        axes.text(1.045, at + 0.025, style.short(cell.label), fontsize=9.5, fontweight="bold", color=colours[index],
                  **place)  # fmt: skip
        axes.text(1.045, at - 0.027, style.safe(_numbers(found, cell)), fontsize=8.5, color=INK, **place)
    if len(colours) < len(found.cells):
        at = -0.5 * LABEL_IN / ACCURACY_IN
        axes.text(1.045, at, f"{len(found.cells) - len(colours)} others", fontsize=8.5, color=FAINT,
                  transform=axes.transAxes, va="center", clip_on=False)  # fmt: skip


def _numbers(found: Finals, cell: CurveCell) -> str:
    own = cell.accuracies()
    if not own:
        return "no final value"
    words = mean_words(own)
    if cell.own is not None and not cell.own.complete:
        words += f" at step {cell.own.step:.0f}"
    if cell is found.cells[0] or cell.to_first is None or cell.to_first.difference is None:
        return words
    return f"{words}   {against_first(cell).partition(' at ')[0]}"


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
