"""What the page's charts are made of: colours that follow light and dark, symbols, scales, and paths.

A chart is as wide as its container: its places are shares of the width, and paths lie in a square that is stretched.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator

from analysis.diagram.marks import UNCERTAIN_HATCH
from analysis.drawing import style

SIDE = 1000
"""The square of a path: 0 is its left and its upper edge."""
VARIABLES = {
    style.INK: "ink",
    style.MEAN_COLOUR: "ink",
    style.FAINT: "faint",
    style.GRID: "grid",
    style.STEM: "stem",
    style.AXIS_COLOUR: "axis",
    style.GEN_COLOUR: "gen",
    style.MEM_COLOUR: "mem",
    "white": "page",
}
"""Colours of the house that a dark page shows in another shade, as variables of its style sheet."""
SHAPES = {
    "triangle": "M0 -5L5 4L-5 4Z",
    "square": "M-4 -4H4V4H-4Z",
    "diamond": "M0 -6L6 0L0 6L-6 0Z",
    "circle": "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0Z",
    "star": "M0 -5V5M-4.3 -2.5L4.3 2.5M-4.3 2.5L4.3 -2.5",
    "x": "M-4 -4L4 4M-4 4L4 -4",
    "bar": "M-7 -3H7V3H-7Z",
    "line": "M-7 0H7",
}
"""The shapes of :class:`analysis.diagram.marks.Symbol` around (0, 0); a swatch is an element of its own."""
HATCHES = {"": "", "////": "lines", "xxxx": "crosses", "....": "dots", UNCERTAIN_HATCH: "open"}
"""The style sheet's names of what matplotlib writes so."""


def paint(colour: str) -> str:
    """A colour as a style sheet has it."""
    return f"var(--{VARIABLES[colour]})" if colour in VARIABLES else colour


@dataclass(frozen=True)
class Scale:
    """Numbers from ``low`` to ``high`` as shares of a side."""

    low: float
    high: float
    logarithmic: bool = False

    def at(self, values: np.ndarray) -> np.ndarray:
        """Shares of the side; NaN for what a logarithm does not have."""
        values = np.asarray(values, dtype=float)
        if not self.logarithmic:
            return (values - self.low) / (self.high - self.low)
        logs = np.log(np.where(values > 0, values, np.nan))
        return (logs - math.log(self.low)) / math.log(self.high / self.low)

    def place(self, value: float) -> float:
        """In percent of the side, within it."""
        return round(100 * float(self.at(np.array(min(max(value, self.low), self.high)))), 2)

    def ticks(self, most: int = 4) -> list[tuple[float, str]]:
        """A few round numbers: their places in percent, and texts."""
        if not self.logarithmic:
            values = [float(value) for value in MaxNLocator(most, steps=[1, 2, 5, 10]).tick_values(self.low, self.high)]
        else:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            values = [10.0**power for power in range(first, last + 1, -(-(last - first + 1) // most) or 1)]
        reach = 1e-9 * abs(self.high - self.low)
        return [
            (self.place(value), number(value)) for value in values if self.low - reach <= value <= self.high + reach
        ]


def number(value: float) -> str:
    """``1000``, ``0.01``, ``1e-07``."""
    return f"{value:.0f}" if 1 <= abs(value) < 1e5 and value == round(value) else f"{value:g}"


def value_scale(values: Sequence[float], *, share: bool) -> Scale:
    """A scale that holds all finite values: logarithmic where they are positive and differ widely.

    :param share: fractions of 1, whose scale is 0 to 1, unless all are tiny.
    """
    finite = np.array(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    if not len(finite) or (share and finite.max() >= TINY):
        return Scale(0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    positive = finite[finite > 0]
    if low >= 0 and len(positive) and high / float(positive.min()) >= WIDE:
        return Scale(float(positive.min()) / 1.2, high * 1.2, logarithmic=True)
    room = 0.04 * (high - low) or 0.5 * abs(high) or 0.5
    return Scale(0.0 if 0 <= low < 0.3 * high else low - room, high + room)


TINY = 0.02
WIDE = 15
"""Positive values whose extremes differ by this factor are drawn on a logarithmic scale."""


def path(across: np.ndarray, up: np.ndarray, *, closed: bool = False) -> str:
    """The path through points, as shares of the square's sides (n,), with a gap where one is NaN.

    Relative, in whole numbers: a page has thousands of them.
    """
    known = np.isfinite(across) & np.isfinite(up)
    sides = np.column_stack([np.where(known, across, 0), np.where(known, 1 - up, 0)])
    points = np.rint(SIDE * np.clip(sides, -0.5, 1.5)).astype(int)
    parts: list[str] = []
    for run in np.split(np.arange(len(points)), np.flatnonzero(~known)):
        own = points[run[known[run]]]
        if len(own):
            # A single point is a dot, by the round end of its line.
            moves = np.diff(own, axis=0).ravel().tolist() or [0, 0]
            line = f"M{own[0, 0]} {own[0, 1]}l{' '.join(map(str, moves))}{'z' if closed else ''}"
            parts.append(line.replace(" -", "-"))
    return "".join(parts)
