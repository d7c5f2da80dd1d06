"""Training curves as the paper's figures show them: seeds as bands, the onset of softmax collapse marked.

A band spans the seeds' extremes, its line is their median; with one or two seeds every line is drawn.  Nothing is
extended: where a seed was not followed, it is left out, and a line ends where the last seed does.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from analysis.data.sweep import STEP, Trial
from analysis.drawing.style import DIVERGED_COLOUR, GEN_COLOUR, MEM_COLOUR

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#555555")
"""Okabe and Ito's palette, for what has no order: arms, tasks, losses."""
DTYPE_COLOURS = {"float16": "#e69f00", "bfloat16": "#cc79a7", "float32": "#56b4e9", "float64": "#005b8e"}
COLLAPSE_COLOUR = DIVERGED_COLOUR
COLLAPSE_LEVEL = 0.5
"""The onset of collapse is where this share of the training rows has collapsed."""
EPOCH = "epoch"
"""The column that says how often the training rows have been seen."""
EARLY = 8
"""The first 1 / EARLY of the measurements may lie outside the picture."""
FEW = 2
"""Up to this many seeds, each has its own line and there is no band."""


def ramp(count: int) -> list[Any]:
    """Colours for what has an order (decays, α): from light to dark, legible on white."""
    return [colormaps["YlGnBu"](share) for share in np.linspace(0.36, 1.0, max(count, 1))[:count]]


def draw_band(
    axes: Axes,
    trials: Sequence[Trial],
    column: str,
    *,
    colour: Any = GEN_COLOUR,
    label: str | None = None,
    dashed: bool = False,
    width: float = 1.8,
) -> None:
    """A column of the trials of one group over steps; nothing where none of them measured it."""
    curves = [(steps, values) for steps, values in (trial.measured(column) for trial in trials) if len(steps)]
    if not curves:
        return
    look: dict[str, Any] = {"color": colour, "lw": width, "ls": (0, (3.2, 1.6)) if dashed else "-", "zorder": 3}
    if len(curves) <= FEW:
        for index, (steps, values) in enumerate(curves):
            axes.plot(steps, values, label=label if index == 0 else None, **look)
        return
    grid, stacked = stack(trials, column)
    with np.errstate(all="ignore"):
        low, high = np.nanmin(stacked, axis=0), np.nanmax(stacked, axis=0)
        axes.fill_between(grid, low, high, color=colour, alpha=0.08 if dashed else 0.18, lw=0, zorder=2)
        axes.plot(grid, np.nanmedian(stacked, axis=0), label=label, **look)


def stack(trials: Sequence[Trial], column: str) -> tuple[np.ndarray, np.ndarray]:
    """The trials' values of a column on the union of their measured steps: (T,) and (trials, T), NaN beyond a trial.

    Between two of its own measurements a trial is interpolated.  A trial that was stopped on success keeps its last
    accuracy up to the longest of the others.
    """
    measured = [trial.measured(column) for trial in trials]
    grid = np.unique(np.concatenate([steps for steps, _ in measured])) if measured else np.empty(0)
    rows = []
    for trial, (steps, values) in zip(trials, measured, strict=True):
        if not len(steps):
            continue
        keeps = column.endswith("_accuracy") and trial.stop_reason is not None
        rows.append(np.interp(grid, steps, values, left=math.nan, right=values[-1] if keeps else math.nan))
    return grid, np.array(rows).reshape(len(rows), len(grid))


def over_epochs(trial: Trial) -> Trial:
    """The trial with its epochs where its steps are, for a horizontal axis that means the same everywhere."""
    return replace(trial, curves={**trial.curves, STEP: trial.curves[EPOCH]})


def late_range(trials: Sequence[Trial], column: str) -> tuple[float, float] | None:
    """The extremes of a column without its first measurements, which, far off, would leave no room for what differs.

    None where no trial measured it.
    """
    shown = [values[-(-len(values) // EARLY) :] for _, values in (trial.measured(column) for trial in trials)]
    late = [value for values in shown for value in values]
    return (float(min(late)), float(max(late))) if late else None


def draw_accuracies(
    axes: Axes, trials: Sequence[Trial], *, colour: Any = None, label: str = "", train: bool = True
) -> None:
    """Test accuracy as a line and training accuracy dashed; without a colour, both in the house's own colours."""
    if train:
        look: dict[str, Any] = {"colour": colour or MEM_COLOUR, "dashed": True, "width": 1.3}
        draw_band(axes, trials, "train_accuracy", label=None if colour else "train", **look)
    draw_band(axes, trials, "test_accuracy", colour=colour or GEN_COLOUR, label=label if colour else "test")


def collapse_onset(trial: Trial, column: str = "sc_any_fraction", level: float = COLLAPSE_LEVEL) -> float:
    """The first step at which more than ``level`` of the training rows have collapsed; infinite where none so far."""
    return trial.first_reaching(column, math.nextafter(level, 1))


def mark_collapse(
    axes: Axes,
    trials: Sequence[Trial],
    *,
    colour: Any = COLLAPSE_COLOUR,
    column: str = "sc_any_fraction",
    label: str | None = None,
) -> None:
    """Mark each seed's onset of softmax collapse on its test curve: a ring, and a thin line down to the axis."""
    for trial in trials:
        onset = collapse_onset(trial, column)
        if math.isinf(onset):
            continue
        height = trial.at("test_accuracy", onset)
        axes.plot([onset, onset], [axes.get_ylim()[0] if axes.get_yscale() == "log" else 0, height], color=colour,
                  lw=0.7, ls=":", zorder=2.5)  # fmt: skip
        axes.plot([onset], [height], marker="o", ms=6, mfc="white", mec=colour, mew=1.5, ls="", zorder=5, label=label)
        label = None
