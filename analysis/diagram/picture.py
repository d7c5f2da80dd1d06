"""The phase diagram as a picture made to be shown; nothing here computes a statistic.

A row of cells is drawn by :mod:`analysis.diagram.row`.  A grid of cells is drawn here: the restricted mean time as
colour and number, P by tau, and a bar of phases in each tile.
"""

import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from analysis.diagram import marks
from analysis.diagram.cells import Cell, Diagram
from analysis.diagram.handles import draw_number, legend_handles
from analysis.diagram.row import draw_row
from analysis.diagram.tiles import COLOURS, Scale, Tiles, tiles
from analysis.diagram.words import by_words, event_words, notes, with_interval
from analysis.drawing import style
from analysis.drawing.style import INK

DETAILED_TILES = 150
"""Up to this many tiles carry numbers."""
SIDE_ROOM_IN = 2.5
NOTE = "{event}.  A tile: {shown}; {by} with its 95 % interval; the bar counts the seeds in each phase."


def draw_png(diagram: Diagram, path: Path) -> str:
    """Write the picture of a diagram as a PNG file: a row of cells over time, or a grid of cells.

    :returns: the characters that are boxes in it, as :func:`analysis.drawing.style.to_png` does.
    """
    return style.to_png(lambda figure: draw_diagram(figure, diagram), path)


def draw_diagram(figure: Figure, diagram: Diagram) -> None:
    """Draw a diagram on a figure, whose size this sets."""
    (draw_row if diagram.y is None else draw_grid)(figure, diagram)


def draw_grid(figure: Figure, diagram: Diagram) -> None:
    """Draw a diagram with two axes."""
    assert diagram.y is not None
    columns, rows = len(diagram.x.ticks), len(diagram.y.ticks)
    detailed = columns * rows <= DETAILED_TILES
    side, tall = (1.16, min(max(0.92, 2.9 / rows), 1.2)) if detailed else (0.55, 0.4)
    margin = 0.62 + 0.082 * max(len(tick) for tick in diagram.y.ticks)
    body = max(tall * rows, 3.1)
    width = max(8.6, margin + side * columns + SIDE_ROOM_IN)
    shown = tiles(diagram)
    note = NOTE.format(event=event_words(diagram.main), shown=shown.note, by=by_words(diagram.main, "τ"))
    lines = style.wrapped(notes(diagram, note), width)
    footing = 0.85 + style.NOTE_LINE_IN * len(lines)
    height = 1.0 + body + footing
    figure.set_size_inches(width, height)
    top = (footing + body) / height
    axes = figure.add_axes((margin / width, top - tall * rows / height, 1 - (margin + SIDE_ROOM_IN) / width,
                            tall * rows / height))  # fmt: skip
    style.draw_head(figure, diagram.title, diagram.subtitle, 0.28 / width)
    occupied = {(cell.x, cell.y) for cell in diagram.cells}
    for x, y in ((x, y) for x in range(columns) for y in range(rows) if (x, y) not in occupied):
        axes.add_patch(Rectangle((x - 0.48, y - 0.47), 0.96, 0.94, fc="white", ec="#d0d0d0", hatch="////", lw=0.6))
    # Numbers grow upwards; names read from the top down.
    up = 1 if diagram.y.numeric else -1
    for index, cell in enumerate(diagram.cells):
        _draw_tile(axes, diagram, cell, shown, index, up, detailed=detailed)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(-0.5 * up + (rows - 1) * (up < 0), 0.5 * up + (rows - 1) * (up > 0))
    axes.set_xticks(range(columns), [style.short(tick) for tick in diagram.x.ticks], fontsize=10, color=INK)
    if max(len(tick) for tick in diagram.x.ticks) > 18 * side:
        for text in axes.get_xticklabels():
            text.set(rotation=25, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(rows), [style.safe(tick) for tick in diagram.y.ticks], fontsize=10, color=INK)
    axes.set_xlabel(style.safe(diagram.x.label), fontsize=11, color=INK)
    axes.set_ylabel(style.safe(diagram.y.label), fontsize=11, color=INK)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    handles = legend_handles([*marks.phase_legend(diagram), *shown.legend])
    if len(occupied) < columns * rows:
        handles.append(Patch(fc="white", ec="#d0d0d0", hatch="////", label="not in the sweep"))
    title = "Phase by τ (bars)" if shown.scale else "Phase by τ"
    style.draw_legend(figure, handles, title, (1 - 2.36 / width, top))
    if shown.scale is not None:
        _draw_scale(figure, shown, shown.scale, (1 - 2.33 / width, top - 3.05 / height, 0.16 / width, 1.25 / height))
    style.draw_notes(figure, lines, 0.28 / width)


def _draw_scale(figure: Figure, shown: Tiles, scale: Scale, place: tuple[float, float, float, float]) -> None:
    """The colours of the tiles' numbers."""
    norm = (LogNorm if scale.logarithmic else Normalize)(scale.low, scale.high)
    colours = ScalarMappable(norm, f"{COLOURS}{'_r' if scale.small_is_bright else ''}")
    bar = figure.colorbar(colours, cax=figure.add_axes(place))
    bar.set_label(style.safe(shown.label), fontsize=8.5, color=INK)
    bar.outline.set_visible(False)
    labels = [f"{tick:{shown.form.replace('d', '.0f')}}" for tick in scale.ticks]
    bar.set_ticks(scale.ticks, labels=labels, fontsize=8.5)
    bar.ax.minorticks_off()


def _draw_tile(axes: Axes, diagram: Diagram, cell: Cell, shown: Tiles, number: int, up: int, *, detailed: bool) -> None:
    colour = shown.colours[number]
    known, ink = not math.isnan(cell.main.by_tau.value), style.ink_on(colour)
    corner = cell.x - 0.48, cell.y - 0.47
    axes.add_patch(Rectangle(corner, 0.96, 0.94, fc=colour, ec="none", zorder=2))
    text: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 4}
    if cell.uncertain:
        axes.add_patch(
            Rectangle(corner, 0.96, 0.94, fc="none", ec=(ink, 0.35), lw=0, hatch=marks.UNCERTAIN_HATCH, zorder=2.1)
        )
        text["bbox"] = {"fc": colour, "ec": "none", "pad": 1.5}
    if detailed:
        size = 11 if max(map(len, shown.texts)) < 9 else 8.5
        headline: dict[str, Any] = {"fontsize": size, "fontweight": "bold", "color": ink}
        axes.text(cell.x, cell.y + 0.25 * up, shown.texts[number], **headline, **text)
        if known:
            reached = f"P {with_interval(cell.main.by_tau, '.2f')}"
            axes.text(cell.x, cell.y - 0.02 * up, reached, fontsize=7, color=ink, **text)
    for part in marks.segments(diagram, cell):
        left, width = cell.x - 0.42 + 0.84 * part.low, 0.84 * (part.high - part.low)
        look: dict[str, Any] = {"fc": part.colour, "ec": part.edge, "hatch": part.hatch, "lw": 0.8, "zorder": 3}
        axes.add_patch(Rectangle((left, cell.y - 0.39 * up), width, 0.2 * up, **look))
        if detailed:
            draw_number(axes, left + width / 2, cell.y - 0.295 * up, part, 7, 0.8)
