"""Curves of waiting as small multiples: one panel a cell, its own curve with its band, all others faintly behind.

Bands of a few seeds are wide, and would hide each other in one panel.  All panels lie in one matplotlib axes, of
which each has a unit square: a hundred axes would take seconds.
"""

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.drawing import style
from analysis.drawing.style import AXIS_COLOUR, FAINT, GEN_COLOUR, GRID, INK, MEM_COLOUR
from analysis.stats.waiting import WaitingCurve

BEHIND_COLOUR = "#d9d9d9"
BAND = 0.17
"""How dense a band is."""
MOST_ABREAST = 6
"""The most panels in a row where there is no vertical axis."""
WIDE = 300
"""A time axis with at least so much between its ends has a tick at each power of ten only."""
MOST_PANELS = 150
"""More are no picture."""
PANEL_IN, SMALL_PANEL_IN = (1.95, 1.5), (1.35, 1.05)
GAP_IN = 0.32
"""To the right of a panel."""
MOST_LETTERS = 33
"""A longer title has several lines."""


@dataclass(frozen=True, kw_only=True)
class WaitingPanel:
    """One cell; its column from the left and its row from the top."""

    column: int
    row: int
    title: str
    note: str
    """How many trials had the event."""
    main: WaitingCurve | None
    earlier: WaitingCurve | None = None


@dataclass(frozen=True, kw_only=True)
class WaitingPicture:
    """All panels, and what they share."""

    title: str
    subtitle: str
    notes: Sequence[str]
    panels: Sequence[WaitingPanel]
    rows: Sequence[str]
    """The ticks of the vertical axis, from the top down; empty: there is none."""
    row_label: str
    main: str
    earlier: str
    """What the events are called; the earlier one empty where there is none."""
    logarithmic: bool
    floor: float
    tau: float


def in_rows(panels: int) -> Iterator[tuple[int, int]]:
    """Columns and rows for this number of panels in reading order, in rows of about equal length."""
    columns = -(-panels // -(-panels // MOST_ABREAST))
    return ((index % columns, index // columns) for index in range(panels))


def draw_waiting(figure: Figure, picture: WaitingPicture) -> None:
    """Draw the picture into an empty figure, and set its size."""
    columns, rows = (1 + max(getattr(panel, way) for panel in picture.panels) for way in ("column", "row"))
    wide, tall = PANEL_IN if columns <= MOST_ABREAST else SMALL_PANEL_IN
    margin = 0.8 + 0.09 * max(map(len, picture.rows), default=0)
    above = 0.28 + 0.14 * max(len(_lines(panel)) for panel in picture.panels)
    body_wide, body_tall = columns * (wide + GAP_IN), rows * (tall + above)
    width = max(8.6, margin + body_wide + 0.1)
    lines = style.wrapped(picture.notes, width)
    head, footing = 1.1, 0.62 + style.NOTE_LINE_IN * len(lines)
    height = head + body_tall + footing
    figure.set_size_inches(width, height)
    style.draw_head(figure, picture.title, picture.subtitle, 0.28 / width)
    _draw_key(figure, picture, (margin / width, 1 - 0.82 / height))
    axes = figure.add_axes((margin / width, footing / height, body_wide / width, body_tall / height))
    axes.set_axis_off()
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    # A square's left and lower edges are its panel's; the gaps are to the right and above.
    _draw_panels(axes, picture, _Squares(picture, wide / (wide + GAP_IN), tall / (tall + above)))
    for row, tick in enumerate(picture.rows):
        place = -0.55 / (wide + GAP_IN), row + 1 - 0.5 * tall / (tall + above)
        axes.text(*place, style.safe(tick), fontsize=10, color=INK, va="center", ha="right")
    if picture.row_label:
        place = 0.28 / width, 1 - (head - 0.02) / height
        figure.text(*place, style.safe(picture.row_label), fontsize=9, color=FAINT, va="center")
    unit = f"steps{' (log scale)' if picture.logarithmic else ''}"
    figure.text((margin + body_wide / 2) / width, (footing - 0.4) / height, unit, fontsize=9.5, color=INK, ha="center")
    style.draw_notes(figure, lines, 0.28 / width)


@dataclass(frozen=True)
class _Squares:
    """Where in the axes a time and a share of a panel are."""

    picture: WaitingPicture
    wide: float
    tall: float

    def x(self, steps: Any) -> np.ndarray:
        floor, tau = self.picture.floor, self.picture.tau
        inside = np.maximum(np.asarray(steps, dtype=float), floor)
        if self.picture.logarithmic:
            return self.wide * np.log(inside / floor) / math.log(tau / floor)
        return self.wide * (inside - floor) / (tau - floor)

    def y(self, share: Any) -> np.ndarray:
        return 1 - self.tall * np.asarray(share, dtype=float)

    def corners(self, curve: WaitingCurve, values: np.ndarray) -> np.ndarray:
        """The corners of a step curve in the panel at (0, 0): (2 J - 1, 2)."""
        return np.column_stack([self.x(np.repeat(curve.steps, 2)[1:]), self.y(np.repeat(values, 2)[:-1])])

    def line(self, curve: WaitingCurve) -> np.ndarray:
        return self.corners(curve, curve.incidence)

    def band(self, curve: WaitingCurve) -> np.ndarray:
        return np.concatenate([self.corners(curve, curve.low), self.corners(curve, curve.high)[::-1]])


def _draw_panels(axes: Axes, picture: WaitingPicture, squares: _Squares) -> None:
    panels = picture.panels
    places = [np.array([panel.column, panel.row]) for panel in panels]

    def lines(parts: Iterable[np.ndarray], colour: str, width: float, zorder: float) -> None:
        look: dict[str, Any] = {"colors": colour, "linewidths": width, "zorder": zorder, "joinstyle": "miter"}
        axes.add_collection(LineCollection([*parts], **look), autolim=False)

    def all_over(part: np.ndarray) -> Iterator[np.ndarray]:
        return (place + part for place in places)

    known = [(place, panel.main) for place, panel in zip(places, panels, strict=True) if panel.main is not None]
    earlier = [(place, panel.earlier) for place, panel in zip(places, panels, strict=True) if panel.earlier]
    for share in (0.5, 1):
        lines(all_over(np.array([[0, squares.y(share)], [squares.wide, squares.y(share)]])), GRID, 0.7, 0.5)
    for _, curve in known:
        lines(all_over(squares.line(curve)), BEHIND_COLOUR, 0.8, 1)
    bands = [place + squares.band(curve) for place, curve in known]
    axes.add_collection(PolyCollection(bands, fc=GEN_COLOUR, alpha=BAND, lw=0, zorder=2), autolim=False)
    lines((place + squares.line(curve) for place, curve in earlier), MEM_COLOUR, 1.1, 3)
    lines(all_over(np.array([[0, squares.y(1)], [0, 1], [squares.wide, 1]])), AXIS_COLOUR, 0.8, 3.5)
    lines((place + squares.line(curve) for place, curve in known), GEN_COLOUR, 1.9, 4)
    lowest = {panel.column: max(other.row for other in panels if other.column == panel.column) for panel in panels}
    first = {panel.row: min(other.column for other in panels if other.row == panel.row) for panel in panels}
    for panel in panels:
        _draw_words(axes, panel, squares)
        if panel.row == lowest[panel.column]:
            for tick in _ticks(picture):
                at = panel.column + float(squares.x(tick))
                axes.plot([at, at], [panel.row + 1, panel.row + 1.03], color=AXIS_COLOUR, lw=0.8)
                axes.text(at, panel.row + 1.05, f"{tick:g}", fontsize=7.5, color=INK, ha="center", va="top")
        if panel.column == first[panel.row]:
            for share in (0, 0.5, 1):
                at = panel.row + float(squares.y(share))
                axes.text(panel.column - 0.03, at, f"{share:.0%}", fontsize=7.5, color=INK, ha="right", va="center")


def _draw_words(axes: Axes, panel: WaitingPanel, squares: _Squares) -> None:
    top = panel.row + float(squares.y(1)) - 0.04
    title, size = _lines(panel), 8.5 if len(_lines(panel)) == 1 else 7.5
    axes.text(panel.column, top, "\n".join(map(style.safe, title)), fontsize=size, color=INK, va="bottom")
    look: dict[str, Any] = {"fontsize": 7.5, "color": FAINT, "va": "bottom", "ha": "right", "zorder": 5}
    axes.text(panel.column + 0.97 * squares.wide, panel.row + 0.98, style.safe(panel.note), **look)


def _lines(panel: WaitingPanel) -> list[str]:
    if len(panel.title) <= MOST_LETTERS:
        return [panel.title]
    head, _, tail = panel.title.rpartition(", ")
    shape: dict[str, Any] = {"width": MOST_LETTERS + 4, "max_lines": 2, "placeholder": " …"}
    return [*textwrap.wrap(head, **shape), *textwrap.wrap(tail, **shape)]


def _ticks(picture: WaitingPicture) -> list[float]:
    """Few enough for a small panel, tau always."""
    if not picture.logarithmic:
        return [0.0, picture.tau / 2, picture.tau]
    digits = (1, 3) if picture.tau / picture.floor < WIDE else (1,)
    steps = [digit * 10.0**power for power in range(12) for digit in digits]
    return [*(step for step in steps if picture.floor <= step < 0.4 * picture.tau), picture.tau]


def _draw_key(figure: Figure, picture: WaitingPicture, at: tuple[float, float]) -> None:
    handles: list[Patch | Line2D] = [
        Line2D([], [], color=GEN_COLOUR, lw=1.9, label=style.safe(picture.main)),
        Patch(fc=GEN_COLOUR, alpha=BAND, label="its pointwise 95 % band"),
    ]
    if picture.earlier:
        handles.append(Line2D([], [], color=MEM_COLOUR, lw=1.1, label=style.safe(picture.earlier)))
    handles.append(Line2D([], [], color=BEHIND_COLOUR, lw=0.8, label="the other panels"))
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=at, ncols=4, fontsize=8.5, frameon=False,
                  borderaxespad=0, handlelength=1.5, columnspacing=1.6)  # fmt: skip
