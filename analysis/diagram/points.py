"""Sampled axes as points: every setting at its own values, coloured as the tiles are.

The tiles of two sampled axes pool the settings of a bin; here each is alone, and its shape says whether a seed has the
main event.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from analysis.diagram import marks
from analysis.diagram.cells import Diagram, by_setting
from analysis.diagram.handles import draw_symbol, legend_handles
from analysis.diagram.layout import GAP, Axis, Bins
from analysis.diagram.picture import colour_key
from analysis.diagram.tiles import PHASE, tiles
from analysis.diagram.words import event_words, notes
from analysis.drawing import sheet as sheets
from analysis.drawing import style
from analysis.drawing.sheet import Key, Panels, Sheet, Surroundings, add_axes, text_in
from analysis.drawing.style import AXIS_COLOUR, FAINT, GRID, INK

PANEL_IN, LEAST_IN = 4.6, 2.4
"""The width of a panel: where the sheet is as wide as it needs, and the least beside another on other sheets."""
GAP_IN = 0.3
MANY_POINTS = 150
"""More points are smaller."""
ROUND = (1.0, 2.0, 5.0)
NOTE = "{event}.  A point: the seeds of one setting; its colour: {shown}."


def has_points(diagram: Diagram) -> bool:
    """Whether both axes are drawn in bins, whose settings can be drawn as points."""
    return diagram.x.bins is not None and diagram.y is not None and diagram.y.bins is not None


def draw_points_png(diagram: Diagram, path: Path, sheet: Sheet = sheets.WIDE) -> str:
    """Write the picture of a diagram's settings, as PNG or by the path's ending; see :func:`has_points`.

    :returns: the characters that are boxes in it, as :func:`analysis.drawing.style.to_png` does.
    """
    points = by_setting(diagram)
    return style.to_png(lambda figure: draw_points(figure, points, sheet), path)


def draw_points(figure: Figure, points: Diagram, sheet: Sheet = sheets.WIDE) -> None:
    """Draw the settings of a diagram, as :func:`analysis.diagram.cells.by_setting` makes them cells."""
    assert points.y is not None
    shown = tiles(points)
    keys = [Key("A setting", legend_handles(marks.point_legend(points), sheet.symbols))]
    if points.colour == PHASE:
        keys.append(Key("Phase by τ", legend_handles(marks.phase_legend(points), sheet.symbols)))
    titles = points.facet.ticks if points.facet else ("",)
    margin = 1.9 * sheet.label / 72 + max(text_in(text, sheet.tick) for _, text in _ticks(points.y)) + 0.12
    foot = (1.4 * sheet.tick + 1.5 * sheet.label) / 72 + 0.08
    head = 1.7 * sheet.label / 72 if points.facet else 0.0
    room = (sheet.width_in or math.inf) - margin - 2 * sheet.margin_in
    across = min(len(titles), 2 if sheet.width_in is None else max(1, int((room + GAP_IN) // (LEAST_IN + GAP_IN))))
    wide = PANEL_IN if sheet.width_in is None else (room - (across - 1) * GAP_IN) / across
    tall = min(0.75 * wide, 3.6)
    down = math.ceil(len(titles) / across)
    height = down * (head + tall + foot)

    def draw(left: float, top: float) -> None:
        for panel, title in enumerate(titles):
            row, column = divmod(panel, across)
            x = left + margin + column * (wide + GAP_IN)
            y = top - row * (head + tall + foot) - head - tall
            axes = add_axes(figure, x, y, wide, tall)
            _prepare(axes, points, sheet, named=column == 0)
            if title:
                axes.set_title(style.safe(title), fontsize=sheet.label, color=INK, pad=0.35 * sheet.label)
            _draw_panel(axes, points, shown.colours, panel, sheet)

    around = Surroundings(
        title=points.title,
        subtitle=points.subtitle,
        notes=notes(points, NOTE.format(event=event_words(points.main), shown=shown.note)),
        keys=keys,
        colours=colour_key(shown),
    )
    width = margin + across * wide + (across - 1) * GAP_IN + (0.1 if sheet.width_in is None else 0.0)
    sheets.compose(figure, sheet, around, Panels(width, height, draw))


def _prepare(axes: Axes, points: Diagram, sheet: Sheet, *, named: bool) -> None:
    assert points.y is not None
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(AXIS_COLOUR)
    axes.grid(color=GRID, lw=0.8 * sheet.symbols, zorder=0.5)
    look: dict[str, Any] = {"fontsize": sheet.tick, "color": INK}
    for axis, set_ticks, set_limits in (
        (points.x, axes.set_xticks, axes.set_xlim),
        (points.y, axes.set_yticks, axes.set_ylim),
    ):
        places, texts = zip(*_ticks(axis), strict=True)
        set_ticks(places, texts, **look)
        set_limits(-0.7, axis.cells - 0.3)
    for axis, span in ((points.x, axes.axvspan), (points.y, axes.axhspan)):
        if axis.bins is not None and axis.bins.zero:
            span(0.5, 0.5 + GAP, color="white", zorder=1, lw=0)
            span(0.5 + GAP / 2 - 0.02, 0.5 + GAP / 2 + 0.02, color=FAINT, zorder=1.1, lw=0)
    axes.tick_params(color=AXIS_COLOUR, length=3 * sheet.symbols, pad=3)
    axes.set_xlabel(style.safe(points.x.label), fontsize=sheet.label, color=INK, labelpad=2)
    axes.set_ylabel(style.safe(points.y.label) if named else "", fontsize=sheet.label, color=INK, labelpad=3)


def _draw_panel(axes: Axes, points: Diagram, colours: Sequence[str], panel: int, sheet: Sheet) -> None:
    assert points.x.bins is not None
    assert points.y is not None
    assert points.y.bins is not None
    size = sheet.symbols * (1.1 if len(points.cells) <= MANY_POINTS else 0.7)
    for cell, colour in zip(points.cells, colours, strict=True):
        x, y = (cell.coordinates.get(bins.path) for bins in (points.x.bins, points.y.bins))
        if cell.panel == panel and x is not None and y is not None:
            place = points.x.bins.place(x), points.y.bins.place(y)
            draw_symbol(axes, *place, marks.point_symbol(cell, colour), zorder=3, size=size)


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    """Round values of an axis that is drawn in bins: their places, and as text."""
    bins = axis.bins
    assert bins is not None
    values = [value for value in _round_values(bins) if bins.low * (1 - 1e-9) <= value <= bins.high * (1 + 1e-9)]
    zero = [(0.0, "0")] if bins.zero else []
    return [*zero, *((bins.place(value), f"{value:g}") for value in values)]


def _round_values(bins: Bins) -> list[float]:
    if not bins.logarithmic:
        return [float(value) for value in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(bins.low, bins.high)]
    decades = math.log10(bins.high / bins.low)
    digits = ROUND if decades < 2.5 else ROUND[:1]
    return [float(value) for value in LogLocator(10, digits, numticks=8).tick_values(bins.low, bins.high)]
