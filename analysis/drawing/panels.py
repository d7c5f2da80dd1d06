"""Panels of the paper's figures: axes in steps and accuracies, a title, a legend, and what the statement names."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from analysis.data.sweep import Sweep, Trial, thousands
from analysis.drawing.bands import draw_accuracies, ramp
from analysis.drawing.style import AXIS_COLOUR, FAINT, GRID, INK

Groups = Mapping[str, tuple[Sequence[Trial], Any]]
"""Some trials by the label of their line, each with its colour."""


def arms(sweep: Sweep, colours: Mapping[str, Any], **wanted: Any) -> Groups:
    """The trials of these arms, at these coordinates."""
    return {arm: (sweep.where(arm=arm, **wanted), colour) for arm, colour in colours.items()}


def shades(sweep: Sweep, axis: str, label: str, **wanted: Any) -> Groups:
    """The trials at these coordinates by a numeric axis, from light to dark; the label has ``{:g}`` for its value."""
    numbers = sweep.numbers(axis)
    colours = zip(numbers, ramp(len(numbers)), strict=True)
    return {label.format(number): (sweep.where(**{axis: number}, **wanted), colour) for number, colour in colours}


def accuracy_panel(
    axes: Axes,
    title: str,
    groups: Groups,
    *,
    name: str = "",
    trials: Sequence[Trial] = (),
    train: bool = True,
    level: float | None = None,
    **options: Any,
) -> bool:
    """Draw the test accuracies, and dashed the training accuracies, of groups of trials; return whether there are any.

    :param groups: by label, each with its colour.
    :param name: what was not run, where nothing was; the title by default.
    :param trials: those whose horizon the axis reaches; the groups' own by default.
    :param level: a test accuracy that the statement names.
    :param options: of :func:`step_panel`.
    """
    trials = trials or [trial for group, _ in groups.values() for trial in group]
    if not trials:
        not_run(axes, f"{name or title}: not run")
        return False
    for label, (group, colour) in groups.items():
        draw_accuracies(axes, group, colour=colour, label=label, train=train)
    step_panel(axes, title, trials, accuracy=True, **options)
    if level is not None:
        mark_level(axes, level)
    return True


def step_panel(
    axes: Axes,
    title: str,
    trials: Iterable[Trial],
    *,
    log: bool = True,
    start: float = 10,
    accuracy: bool = False,
    xlabel: str | None = None,
    ylabel: str = "",
    legend_at: Any = None,
) -> None:
    """Finish a panel whose horizontal axis is in steps, up to the longest horizon of the trials."""
    tidy(axes, title, xlabel=xlabel or ("steps (log scale)" if log else "steps"), ylabel=ylabel)
    if accuracy:
        accuracy_axis(axes)
    step_axis(axes, log=log, start=start, until=max(trial.horizon_steps for trial in trials))
    if legend_at is not None:
        legend(axes, loc=legend_at)


def tidy(axes: Axes, title: str = "", *, ylabel: str = "", xlabel: str = "steps") -> None:
    """The house's axes: no box, a faint grid, the title at the left."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(AXIS_COLOUR)
    axes.tick_params(color=AXIS_COLOUR, labelcolor=INK, labelsize=8.5)
    axes.grid(color=GRID, lw=0.7, zorder=0.5)
    axes.set_axisbelow(True)
    if title:
        axes.set_title(title, loc="left", fontsize=10, color=INK, fontweight="bold")
    axes.set_xlabel(xlabel, fontsize=9, color=INK)
    axes.set_ylabel(ylabel, fontsize=9, color=INK)


def accuracy_axis(axes: Axes) -> None:
    """The vertical axis from 0 to 100 %."""
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def step_axis(axes: Axes, *, log: bool, until: float, start: float = 1) -> None:
    """The horizontal axis in steps, linear or logarithmic, with plain numbers."""
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(start if log else -0.01 * until, until)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short_steps(value)))


def ratio_axis(axes: Axes) -> None:
    """The horizontal axis as ratios: logarithmic, with 1 inside, and plain numbers."""
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.8), max(high, 1.25))
    low, high = axes.get_xlim()
    digits = (1, 2, 5) if high / low > 8 else (1, 1.5, 2, 3, 5, 7)
    ticks = [digit * 10.0**power for power in range(-6, 7) for digit in digits]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _short_steps(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 10_000 else thousands(value)


def legend(axes: Axes, **options: Any) -> None:
    """A quiet legend; none where nothing has a label."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**({"fontsize": 8.5, "frameon": False, "labelspacing": 0.35, "handlelength": 1.8} | options))


def not_run(axes: Axes, what: str = "not run") -> None:
    """An empty panel that says so."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, what, ha="center", va="center", fontsize=10, color=FAINT, transform=axes.transAxes)


def mark_step(axes: Axes, step: float, text: str = "") -> None:
    """A vertical line at a step that the statement names."""
    axes.axvline(step, color=FAINT, lw=0.9, ls=(0, (4, 3)), zorder=1.5)
    if text:
        axes.text(step, 1.0, f" {text}", fontsize=8, color=FAINT, va="top", transform=axes.get_xaxis_transform())


def mark_event(axes: Axes, trials: Iterable[Trial], event: str, text: str | None = None) -> None:
    """A vertical line where an event came, in the middle one of the trials in which it did; the event's name at it."""
    steps = sorted(step for trial in trials if math.isfinite(step := trial.time(event)))
    if steps:
        mark_step(axes, steps[len(steps) // 2], event if text is None else text)


def mark_level(axes: Axes, value: float, text: str = "") -> None:
    """A horizontal line at a value that the statement names."""
    axes.axhline(value, color=FAINT, lw=0.9, ls=(0, (4, 3)), zorder=1.5)
    if text:
        axes.text(
            1.0, value, text, fontsize=8, color=FAINT, va="bottom", ha="right", transform=axes.get_yaxis_transform()
        )
