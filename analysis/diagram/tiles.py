"""What the tiles of a grid show: a number a cell, with its scale of colours.

By default it is the restricted mean; P by tau, the time given the event, the median, or any measured column at a step
may be asked for.
"""

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from matplotlib import colormaps
from matplotlib.colors import to_hex

from analysis.data.sweep import Sweep, SweepError, is_share
from analysis.diagram.cells import Cell, Diagram
from analysis.diagram.words import event_name
from analysis.drawing import style

RMST, P, GIVEN, MEDIAN = TILES = ("rmst", "p", "given", "median")
COLOURS = "cividis"
"""Bright is soon, or much; made for colour-blind readers, and known to both backends by this name."""
WIDE = 8
"""Positive numbers whose extremes differ by this factor are coloured on a logarithmic scale."""
UNKNOWN_COLOUR = "#f2f2f2"


@dataclass(frozen=True)
class Scale:
    """Colours from ``low`` to ``high``."""

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False
    small_is_bright: bool = True

    def colour(self, value: float) -> str:
        """The colour of a tile."""
        if math.isnan(value):
            return UNKNOWN_COLOUR
        numbers = (self.low, self.high, min(max(value, self.low), self.high))
        low, high, at = map(math.log, numbers) if self.logarithmic else numbers
        share = (at - low) / (high - low)
        return to_hex(colormaps[COLOURS](1 - share if self.small_is_bright else share))

    def ink(self, value: float) -> str:
        """A legible text colour on the tile."""
        return style.ink_on(self.colour(value))


@dataclass(frozen=True)
class Tiles:
    """A number a cell, in the order of the cells."""

    label: str
    """``RMST(τ) of t_gen, steps``."""
    values: tuple[float, ...]
    """NaN where it is not known, or there is none."""
    texts: tuple[str, ...]
    scale: Scale
    form: str
    """How a number is written: ``d`` for whole steps."""


def check_tiles(asked: str) -> None:
    """Make sure that ``--colour`` can be read.

    :raises SweepError: naming what is allowed.
    """
    if asked not in TILES and not _column_and_step(asked):
        raise SweepError(f"--colour {asked}: must be one of {', '.join(TILES)}, or COLUMN@STEP (test_accuracy@400)")


def _column_and_step(asked: str) -> tuple[str, int] | None:
    match = re.fullmatch(r"(\w+)@(\d{1,12})", asked, re.ASCII)
    return (match[1], int(match[2])) if match else None


def tiles(diagram: Diagram) -> Tiles:
    """The numbers that the diagram's tiles show.

    :raises SweepError: for a column that was not measured.
    """
    name, tau = event_name(diagram.main), float(diagram.tau_steps)
    if (measured := _column_and_step(diagram.colour)) is not None:
        return _of_column(diagram, *measured)
    if diagram.colour == P:
        values = tuple(cell.main.by_tau.value for cell in diagram.cells)
        scale = Scale(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), small_is_bright=False)
        return Tiles(f"P({name} ≤ τ)", values, _texts(values, ".2f", diagram.cells), scale, ".2f")
    label, steps = {
        RMST: (f"RMST(τ) of {name}, steps", [cell.main.restricted_mean_steps.value for cell in diagram.cells]),
        GIVEN: (f"{name} given that it comes by τ, steps", [cell.main.given_steps.value for cell in diagram.cells]),
        MEDIAN: (f"median {name}, steps", [cell.main.median_steps for cell in diagram.cells]),
    }[diagram.colour]
    low = max(min((value for value in steps if not math.isnan(value)), default=tau), 1.0)
    if tau / low >= WIDE:
        scale = Scale(low, tau, tuple(style.round_steps(low, tau)), logarithmic=True)
    else:
        low = min(low, 0.9 * tau)
        scale = Scale(low, tau, tuple(style.even_steps(low, tau)))
    return Tiles(label, tuple(steps), _texts(steps, ".0f", diagram.cells), scale, "d")


def _of_column(diagram: Diagram, column: str, step: int) -> Tiles:
    """The median of a column over each cell's seeds, at the last measurement up to the step."""
    at = _values_at(diagram.sweep, column, step)
    if not at:
        raise SweepError(f"--colour {column}@{step}: column {column!r} was not measured")
    values = []
    for cell in diagram.cells:
        own = [at[placed.trial.trial_id] for placed in cell.trials if placed.trial.trial_id in at]
        known = [value for value in own if not math.isnan(value)]
        values.append(statistics.median(known) if known else math.nan)
    known = [value for value in values if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    if is_share(column):
        scale = Scale(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), small_is_bright=False)
    else:
        logarithmic = low > 0 and high / low >= WIDE
        high = high if high > low else low + 1.0
        middle = math.sqrt(low * high) if logarithmic else (low + high) / 2
        scale = Scale(low, high, (low, middle, high), logarithmic, small_is_bright=False)
    label = f"{column.replace('_', ' ')} at step {step}"
    form = ".2f" if is_share(column) else ".3g"
    return Tiles(label, tuple(values), _texts(values, form, diagram.cells), scale, form)


def _values_at(sweep: Sweep, column: str, step: int) -> dict[str, float]:
    """The column's value of each trial that has measured it."""
    return {
        trial.trial_id: replace(trial, curves=curves).at(column, min(step, trial.last_step))
        for trial, curves in sweep.iter_curves([column])
        if column in curves
    }


def _texts(values: Sequence[float], form: str, cells: Sequence[Cell]) -> tuple[str, ...]:
    """The numbers in words: what there is not is a dash, and what is not known yet unfinished."""
    return tuple(
        f"{value:{form}}" if not math.isnan(value) else "unfinished" if math.isnan(cell.main.by_tau.value) else "–"
        for value, cell in zip(values, cells, strict=True)
    )
