"""What the tiles of a grid show: a number a cell, with its scale of colours.

By default it is the restricted mean; P by tau, the time given the event, the median, the delay between two events, the
phase of most seeds, or any measured column at a step may be asked for.
"""

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from matplotlib import colormaps
from matplotlib.colors import to_hex

from analysis.data.sweep import Sweep, SweepError, is_share
from analysis.diagram import marks
from analysis.diagram.cells import TIE, WIDE_INTERVAL, Cell, Diagram
from analysis.diagram.marks import Symbol
from analysis.diagram.words import by_words, event_name
from analysis.drawing import style

RMST, P, GIVEN, MEDIAN, DELAY, PHASE = TILES = ("rmst", "p", "given", "median", "delay", "phase")
NOTES = {
    RMST: "RMST(τ) = ∫₀^τ (1 − CIF) of {name}, in which a seed without the event by τ counts τ",
    DELAY: (
        "the median delay of {name} over the seeds that have the earlier event; >: half wait longer than that, and it "
        "is coloured as τ"
    ),
}
COLOURS = "cividis"
"""Bright is soon, or much; made for colour-blind readers, and known to both backends by this name."""
WIDE = 8
"""Positive numbers whose extremes differ by this factor are coloured on a logarithmic scale."""
UNKNOWN_COLOUR = "#f2f2f2"
BOUND = ">"
"""Before a number that is a lower bound."""


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


@dataclass(frozen=True)
class Tiles:
    """A number a cell, in the order of the cells."""

    label: str
    """``RMST(τ) of t_gen, steps``."""
    values: tuple[float, ...]
    """NaN where it is not known, or there is none."""
    texts: tuple[str, ...]
    colours: tuple[str, ...]
    scale: Scale | None
    """None where the colours are those of phases."""
    form: str
    """How a number is written: ``d`` for whole steps."""
    note: str
    """What a tile's number is, in a sentence about tiles."""
    legend: tuple[tuple[str, Symbol], ...]
    """Of what else the tiles show: ties of phases, and uncertain cells."""

    @property
    def bounds(self) -> tuple[bool, ...]:
        """Which numbers are lower bounds."""
        return tuple(text.startswith(BOUND) for text in self.texts)


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
    if diagram.colour == PHASE:
        return _of_phases(diagram)
    if (measured := _column_and_step(diagram.colour)) is not None:
        return _of_column(diagram, *measured)
    if diagram.colour == P:
        values = tuple(cell.main.by_tau.value for cell in diagram.cells)
        scale = Scale(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), small_is_bright=False)
        return _scaled(diagram, f"P({name} ≤ τ)", values, scale, ".2f")
    if diagram.colour == DELAY:
        if diagram.earlier is None:
            raise SweepError(f"--colour delay: no phase of {diagram.sweep.name} compares {name} with an earlier event")
        label, steps, texts = f"median delay of {name} after {event_name(diagram.earlier)}, steps", *_delays(diagram)
    else:
        label, steps = {
            RMST: (f"RMST(τ) of {name}, steps", [cell.main.restricted_mean_steps.value for cell in diagram.cells]),
            GIVEN: (f"{name} given that it comes by τ, steps", [cell.main.given_steps.value for cell in diagram.cells]),
            MEDIAN: (f"median {name}, steps", [cell.main.median_steps for cell in diagram.cells]),
        }[diagram.colour]
        texts = [*_texts(steps, ".0f", diagram.cells)]
    low = max(min((value for value in steps if not math.isnan(value)), default=tau), 1.0)
    if tau / low >= WIDE:
        scale = Scale(low, tau, tuple(style.round_steps(low, tau)), logarithmic=True)
    else:
        low = min(low, 0.9 * tau)
        scale = Scale(low, tau, tuple(style.even_steps(low, tau)))
    return _scaled(diagram, label, steps, scale, "d", texts)


def _scaled(
    diagram: Diagram, label: str, values: Sequence[float], scale: Scale, form: str, texts: Sequence[str] = ()
) -> Tiles:
    texts = texts or _texts(values, form.replace("d", ".0f"), diagram.cells)
    colours = tuple(map(scale.colour, values))
    note = NOTES.get(diagram.colour, label).format(name=event_name(diagram.main))
    return Tiles(label, tuple(values), tuple(texts), colours, scale, form, note, tuple(_uncertain_legend(diagram)))


def _delays(diagram: Diagram) -> tuple[list[float], list[str]]:
    """The median delay of each cell for its colour, tau where only a bound is known; and in words, with the bound."""
    values, texts = [], []
    for cell in diagram.cells:
        assert cell.delay is not None
        median, above = cell.delay.median_steps, cell.delay.above_steps
        known, bounded = not math.isnan(median), not math.isnan(above)
        # A bound is what is left of tau after the earlier event: a low one is no sign of a short delay.
        values.append(median if known else diagram.tau_steps if bounded else math.nan)
        texts.append(f"{median:.0f}" if known else f"{BOUND} {above:.0f}" if bounded else "–")
    return values, texts


def _of_phases(diagram: Diagram) -> Tiles:
    """The phase that most seeds of each cell end in."""
    colours = marks.phase_colours(diagram)
    phases = [cell.phase for cell in diagram.cells]
    ties = [(marks.phase_words(diagram, TIE), Symbol("swatch", style.AXIS_COLOUR, colours[TIE]))] * (TIE in phases)
    legend = (*ties, *_uncertain_legend(diagram))
    nothing = (math.nan,) * len(phases)
    own = tuple(colours[phase] for phase in phases)
    note = "the phase of most seeds, whatever unfinished ones do"
    return Tiles("phase of most seeds", nothing, tuple(phases), own, None, "", note, legend)


def abbreviated(texts: Sequence[str]) -> tuple[str, ...]:
    """Phases by their first letters, as many as tell them apart: ``mem.``, ``grok.``."""
    different = set(texts)
    letters = next(number for number in range(4, 99) if len({text[:number] for text in different}) == len(different))
    return tuple(text if len(text) <= letters + 1 else f"{text[:letters].strip()}." for text in texts)


def _uncertain_legend(diagram: Diagram) -> list[tuple[str, Symbol]]:
    if not any(cell.uncertain for cell in diagram.cells):
        return []
    words = f"{by_words(diagram.main, 'τ')} open: 95 % interval wider than {WIDE_INTERVAL:g}"
    return [(words, Symbol("swatch", style.AXIS_COLOUR, marks.HATCHED_COLOUR, marks.UNCERTAIN_HATCH))]


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
    return _scaled(diagram, label, values, scale, form)


def _values_at(sweep: Sweep, column: str, step: int) -> dict[str, float]:
    """The column's value of each trial that has measured it."""
    return {
        trial.trial_id: replace(trial, curves=curves).at(column, min(step, trial.last_step))
        for trial, curves in sweep.iter_curves([column])
        if column in curves
    }


def _texts(values: Sequence[float], form: str, cells: Sequence[Cell]) -> tuple[str, ...]:
    """The numbers in words: what there is not is a dash, and what is not known yet says why."""
    return tuple(
        f"{value:{form}}" if not math.isnan(value) else cell.unknown if math.isnan(cell.main.by_tau.value) else "–"
        for value, cell in zip(values, cells, strict=True)
    )
