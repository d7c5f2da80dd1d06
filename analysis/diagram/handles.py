"""Symbols and legends of a diagram in matplotlib, translated from :mod:`analysis.diagram.marks`."""

import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from analysis.diagram.marks import NUMBERED, Segment, Symbol
from analysis.drawing.style import ink_on, safe

MARKERS: dict[str, dict[str, Any]] = {
    "triangle": {"marker": "^", "ms": 6.5, "mew": 1.3},
    "square": {"marker": "s", "ms": 6, "mew": 1.3},
    "star": {"marker": (6, 2, 0), "ms": 8, "mew": 1.4},
    "x": {"marker": "x", "ms": 6.5, "mew": 2.2},
    "diamond": {"marker": "D", "ms": 7, "mew": 1.0},
    "circle": {"marker": "o", "ms": 5.5, "mew": 0.8},
}
LINES: dict[str, dict[str, Any]] = {"bar": {"lw": 6, "solid_capstyle": "butt"}, "line": {"lw": 1.2}}
LABEL_WIDTH = 28
"""Characters of a line of a label."""


def look(symbol: Symbol, size: float = 1.0) -> dict[str, Any]:
    """What ``Line2D`` needs to draw a symbol, at its usual size times ``size``."""
    shape = LINES.get(symbol.shape) or MARKERS[symbol.shape]
    sized = {name: size * value if name in ("ms", "mew", "lw") else value for name, value in shape.items()}
    if symbol.shape in LINES:
        return {"color": symbol.stroke, **sized}
    return {"mfc": symbol.fill, "mec": symbol.stroke, "ls": "", **sized}


def draw_symbol(axes: Axes, x: ArrayLike, y: ArrayLike, symbol: Symbol, zorder: float, size: float = 1.0) -> None:
    """Draw a symbol at one place, or at several."""
    axes.plot(np.atleast_1d(x), np.atleast_1d(y), zorder=zorder, **look(symbol, size))


def draw_interval(axes: Axes, x: float, low: float, high: float, colour: str, width: float = 2.2) -> None:
    """Draw a vertical interval; nothing where it is not known."""
    axes.plot([x, x], [low, high], color=colour, lw=width, solid_capstyle="butt", zorder=4)


def draw_number(axes: Axes, x: float, y: float, part: Segment, size: float, pad: float) -> None:
    """Draw how many trials a part of a bar has into it; nothing where it is too small."""
    if part.high - part.low >= NUMBERED:
        box = {"fc": part.colour, "ec": "none", "pad": pad} if part.hatch else None
        look: dict[str, Any] = {"ha": "center", "va": "center", "color": ink_on(part.colour), "bbox": box, "zorder": 4}
        axes.text(x, y, str(part.number), fontsize=size, **look)


def legend_handles(entries: Iterable[tuple[str, Symbol]], size: float = 1.0) -> list[Patch | Line2D]:
    """The entries of a legend."""
    handles: list[Patch | Line2D] = []
    for label, symbol in entries:
        label = "\n".join(map(safe, textwrap.wrap(label, LABEL_WIDTH)))
        if symbol.shape == "swatch":
            handles.append(Patch(fc=symbol.fill, ec=symbol.stroke, hatch=symbol.hatch * (1 + (size < 1)), label=label))
        else:
            handles.append(Line2D([], [], label=label, **look(symbol, size)))
    return handles
