"""What is drawn of a diagram, computed once for both backends: places, symbols, colours, and the words beside them.

Matplotlib (:mod:`analysis.diagram.picture`) and Vega (:mod:`analysis.page.charts`) only translate it.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from analysis.data.sweep import MISSING
from analysis.diagram.cells import TIE, Cell, Diagram, PlacedTrial
from analysis.diagram.words import by_words, event_name, event_words, trial_name
from analysis.drawing import style
from analysis.stats.survival import FOLLOW_UP
from pipeline.ledger.views.records import OTHER, UNFINISHED
from trainables.engine.events import EventKind
from trainables.engine.phase_colours import colours_of

MAIN_COLOUR, EARLIER_COLOUR = style.GEN_COLOUR, style.MEM_COLOUR


@dataclass(frozen=True)
class Symbol:
    """A mark at one place, or in a legend.

    Its shape is ``triangle``, ``square``, ``star``, ``x``, ``diamond``, ``circle``, ``bar``, ``line`` or ``swatch``.
    """

    shape: str
    stroke: str
    fill: str
    hatch: str = ""
    """As matplotlib writes it."""


MEAN_SYMBOL, SHARE_SYMBOL = Symbol("diamond", "white", style.MEAN_COLOUR), Symbol("circle", "white", style.MEAN_COLOUR)

# --- phases -------------------------------------------------------------------------------------------------------

BLANK_COLOURS = {OTHER: "#dcdcdc", UNFINISHED: "#f4f4f4", MISSING: "#ffffff", TIE: "#e8e0c8"}
"""Of trials without a declared phase, and of cells without a phase; they have an outline."""
ENDINGS = {EventKind.CENSORED: "", EventKind.FROZEN: "////", EventKind.DIVERGED: "xxxx", EventKind.STOPPED: "...."}
"""Hatches of the trials that a competing event ended; the plain ones first."""
NUMBERED = 0.1
"""Smaller parts of a bar have no number in them."""
HATCHED_COLOUR = "#c9c9c9"
"""Behind the hatches in a legend."""
UNCERTAIN_HATCH = "\\\\"
"""Over the tile of a cell whose seeds leave P open."""


@dataclass(frozen=True)
class Segment:
    """A part of a cell's bar: its trials in one phase that ended in one way."""

    phase: str
    ending: EventKind
    """The competing event; censored where there was none."""
    number: int
    low: float
    high: float
    """Shares of the cell's trials."""
    colour: str
    words: str
    """``memorization (not by τ), frozen``."""

    @property
    def hatch(self) -> str:
        """As matplotlib writes it."""
        return ENDINGS[self.ending]

    @property
    def edge(self) -> str:
        """The colour of the outline."""
        return style.AXIS_COLOUR if self.phase in BLANK_COLOURS else "white"


def phase_colours(diagram: Diagram) -> dict[str, str]:
    """The colour of each phase, in the order of a bar from the bottom upwards."""
    return colours_of(diagram.phases) | BLANK_COLOURS


def phase_words(diagram: Diagram, name: str) -> str:
    """A phase as legends say it: one that lacks a later event is never more than "not by tau"."""
    if name in (MISSING, TIE):
        return {MISSING: "not begun", TIE: "as many seeds in two phases"}[name]
    order = [rule.name for rule in diagram.events]
    phase = next((phase for phase in diagram.phases if phase.name == name and phase.happened), None)
    if phase is None:
        return name
    last = max(order.index(event) for event in phase.happened)
    return f"{name} (not by τ)" if any(order.index(event) > last for event in phase.not_happened) else name


def segments(diagram: Diagram, cell: Cell) -> list[Segment]:
    """The parts of a cell's bar from the bottom upwards."""
    parts: list[Segment] = []
    low = 0.0
    for phase, colour in phase_colours(diagram).items():
        endings = [_ending(placed) for placed in cell.trials if placed.phase == phase]
        for ending in ENDINGS:
            if number := endings.count(ending):
                words = phase_words(diagram, phase) + ("" if ending == EventKind.CENSORED else f", {ending}")
                high = low + number / len(cell.trials)
                parts.append(Segment(phase, ending, number, low, high, colour, words))
                low = high
    return parts


def _ending(placed: PlacedTrial) -> EventKind:
    if placed.main is None or placed.main.occurred:
        return EventKind.CENSORED
    return EventKind(placed.main.kind)


def phases_text(diagram: Diagram, cell: Cell) -> str:
    """``3 memorization (not by τ), 2 memorization (not by τ), frozen``."""
    return ", ".join(f"{part.number} {part.words}" for part in segments(diagram, cell))


def phase_legend(diagram: Diagram, *, probability: bool = False) -> list[tuple[str, Symbol]]:
    """The phases and endings that occur, in the order of a bar from its top down; below them P of the main event."""
    parts = [part for cell in diagram.cells for part in segments(diagram, cell)]
    used = {part.phase: Symbol("swatch", part.edge, part.colour) for part in parts}
    entries = [(phase_words(diagram, name), used[name]) for name in reversed(phase_colours(diagram)) if name in used]
    endings = {part.ending for part in parts} - {EventKind.CENSORED}
    entries += [
        (f"… {ending}", Symbol("swatch", "white", HATCHED_COLOUR, hatch))
        for ending, hatch in ENDINGS.items()
        if ending in endings
    ]
    return [*entries, (f"{by_words(diagram.main, 'τ')}, 95 %", SHARE_SYMBOL)] if probability else entries


def point_legend(diagram: Diagram) -> list[tuple[str, Symbol]]:
    """What the points of a diagram's settings are: with the event in some seed, without, or not known yet."""
    symbols = {symbol.shape: symbol for cell in diagram.cells for symbol in [point_symbol(cell, "white")]}
    name = event_name(diagram.main)
    words = {"circle": f"{name} by τ", "triangle": f"{name} not by τ", "square": "unfinished"}
    return [(text, symbols[shape]) for shape, text in words.items() if shape in symbols]


def point_symbol(cell: Cell, colour: str) -> Symbol:
    """A setting as a point of a colour; its shape says whether a seed has the main event."""
    share = cell.main.by_tau.value
    shape = "square" if math.isnan(share) else "circle" if share > 0 else "triangle"
    return Symbol(shape, style.INK, colour)


# --- a row of cells over time -------------------------------------------------------------------------------------

SEED_LANES = (0.14, 0.53)
SUMMARY_LANE = 0.8
BAR_LANE, BAR_WIDTH = sum(SEED_LANES) / 2, 0.48
"""Where in a cell of width 1 the seeds, what they say together, and the bar of their phases are drawn."""
FEW_SEEDS, WIDE, NARROW = 12, 6.0, 2.0
"""Up to this many trials per cell, bars are wide, in points."""
WIDE_TIMES = 15
"""Times whose extremes differ by this factor are drawn on a logarithmic scale."""


@dataclass(frozen=True)
class TimeAxis:
    """The vertical axis of a row: steps up to tau, and room above it for what did not come by then."""

    logarithmic: bool
    floor: float
    ceiling: float
    beyond: float
    """Where the trials without the event are drawn."""
    ticks: tuple[float, ...]


def time_axis(diagram: Diagram, *, band: float = 1.0) -> TimeAxis:
    """The axis on which every event of the row has its place.

    :param band: how high the room beyond tau is, of the usual height.
    """
    tau = diagram.tau_steps
    pairs = [(placed.earlier, placed.main) for cell in diagram.cells for placed in cell.trials]
    known = [event for pair in pairs for event in pair if event is not None]
    soonest = min((event.high_steps for event in known if event.kind != EventKind.CENSORED), default=math.inf)
    if tau / max(soonest, 1) >= WIDE_TIMES:
        floor = max(soonest * 0.72, 0.7)
        return TimeAxis(True, floor, tau * 1.42**band, tau * 1.19**band, tuple(style.round_steps(floor, tau)))
    return TimeAxis(False, 0.0, tau * (1 + 0.13 * band), tau * (1 + 0.065 * band), tuple(style.even_steps(0.0, tau)))


NEITHER = "neither"
ENDS = {
    EventKind.CENSORED: Symbol("triangle", MAIN_COLOUR, "white"),
    NEITHER: Symbol("triangle", EARLIER_COLOUR, "white"),
    EventKind.FROZEN: Symbol("star", MAIN_COLOUR, MAIN_COLOUR),
    EventKind.DIVERGED: Symbol("x", style.DIVERGED_COLOUR, style.DIVERGED_COLOUR),
    EventKind.STOPPED: Symbol("square", MAIN_COLOUR, "white"),
}
"""What a stem ends in where the main event did not come."""


@dataclass(frozen=True)
class Stem:
    """One measured trial: from its earlier event up to its main one, or to why that did not come."""

    cell: int
    """Its index in the diagram."""
    x: int
    lane: float
    width: float
    """Of its bars, in points."""
    placed: PlacedTrial
    name: str
    end: str
    """One of :data:`ENDS`; empty where the main event came."""
    top: float
    bottom: float
    """NaN without an earlier event: then there is no line."""
    spans: tuple[tuple[float, float], tuple[float, float]]
    """(low, high] of the main and of the earlier event, from the axis' floor upwards; NaN where they did not come."""


def stems(diagram: Diagram, axis: TimeAxis) -> Iterator[Stem]:
    """Every measured trial of a row of cells."""
    for index, cell in enumerate(diagram.cells):
        count = len(cell.trials)
        lanes = np.linspace(*SEED_LANES, count) if count > 1 else [BAR_LANE]
        for number, (placed, lane) in enumerate(zip(cell.trials, lanes, strict=True)):
            main, earlier = placed.main, placed.earlier
            if main is None:
                continue
            followed = main.low_steps >= FOLLOW_UP * diagram.tau_steps
            censored = main.kind == EventKind.CENSORED
            top = main.high_steps if not censored else axis.beyond if followed else main.low_steps
            neither = censored and earlier is not None and earlier.kind == EventKind.CENSORED
            came = [event if event is not None and event.occurred else None for event in (main, earlier)]
            main_span, earlier_span = (
                (max(event.low_steps, axis.floor), max(event.high_steps, axis.floor)) if event else (math.nan, math.nan)
                for event in came
            )
            yield Stem(
                cell=index,
                x=cell.x,
                lane=float(lane),
                width=WIDE if count <= FEW_SEEDS else NARROW,
                placed=placed,
                name=trial_name(cell, number),
                end="" if main.occurred else NEITHER if neither else main.kind,
                top=max(top, axis.floor),
                bottom=earlier_span[1],
                spans=(main_span, earlier_span),
            )


def time_legend(diagram: Diagram, drawn: Iterable[Stem]) -> list[tuple[str, Symbol]]:
    """What the marks of a row mean: labels and symbols, of what occurs."""
    main, earlier = diagram.main, diagram.earlier
    entries = [(event_words(main), Symbol("bar", MAIN_COLOUR, MAIN_COLOUR))]
    if earlier is not None:
        entries.append((event_words(earlier), Symbol("bar", EARLIER_COLOUR, EARLIER_COLOUR)))
        entries.append((f"from {event_name(earlier)} to {event_name(main)}", Symbol("line", style.STEM, style.STEM)))
    words = {
        EventKind.CENSORED: f"{event_name(main)} not by τ",
        NEITHER: "neither by τ",
        EventKind.FROZEN: "frozen",
        EventKind.DIVERGED: "diverged",
        EventKind.STOPPED: "stopped on other events",
    }
    ends = {stem.end for stem in drawn}
    entries += [(words[end], symbol) for end, symbol in ENDS.items() if end in ends]
    return [
        *entries,
        (f"RMST(τ) of {event_name(main)}", MEAN_SYMBOL),
        ("its 95 % interval", Symbol("line", style.MEAN_COLOUR, style.MEAN_COLOUR)),
        (f"{event_name(main)} given that it comes, 95 %", Symbol("bar", style.MEAN_COLOUR, style.MEAN_COLOUR)),
    ]
