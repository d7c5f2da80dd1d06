"""The phase diagram as a picture made to be shown; nothing here computes a statistic.

A row of cells is drawn by :mod:`analysis.diagram.row`.  A grid of cells is drawn here: the restricted mean time as
colour and number, P by tau, and a bar of phases in each tile.
"""

import math
import warnings
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from analysis.diagram.cells import Cell, Diagram
from analysis.diagram.row import draw_row
from analysis.diagram.tables import with_interval
from analysis.drawing import style
from analysis.drawing.style import INK

DPI = 200
COLOURS = "cividis_r"
"""Bright is soon, dark is late; made for colour-blind readers."""
DETAILED_TILES = 150
"""Up to so many tiles carry numbers."""
SIDE_ROOM_IN = 2.5
NOTE = (
    "A tile: RMST(τ) = ∫₀^τ (1 − CIF) of t_gen, in which a seed that does not get there counts τ; P(t_gen ≤ τ) with "
    "its 95 % interval; the bar counts the seeds in each phase (by first crossings of .9)."
)


def draw_png(diagram: Diagram, path: Path) -> None:
    """Write the picture of a diagram as a PNG file: a row of cells over time, or a grid of cells."""
    figure = Figure(dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # A sign that the font lacks is drawn as a box; that is no reason to stop.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        (draw_row if diagram.y is None else draw_grid)(figure, diagram)
        figure.savefig(path, metadata={"Software": None})


def draw_grid(figure: Figure, diagram: Diagram) -> None:
    """Draw a diagram with two axes."""
    assert diagram.y is not None
    columns, rows = len(diagram.x.ticks), len(diagram.y.ticks)
    detailed = columns * rows <= DETAILED_TILES
    side, tall = (1.16, min(max(0.92, 2.9 / rows), 1.2)) if detailed else (0.55, 0.4)
    margin = 0.62 + 0.082 * max(len(tick) for tick in diagram.y.ticks)
    body = max(tall * rows, 3.1)
    width = max(8.6, margin + side * columns + SIDE_ROOM_IN)
    notes = style.note_lines(NOTE, diagram, width)
    footing = 0.85 + style.NOTE_LINE_IN * len(notes)
    height = 1.0 + body + footing
    figure.set_size_inches(width, height)
    top = (footing + body) / height
    axes = figure.add_axes((margin / width, top - tall * rows / height, 1 - (margin + SIDE_ROOM_IN) / width,
                            tall * rows / height))  # fmt: skip
    style.draw_head(figure, diagram.title, diagram.subtitle, 0.28 / width)
    mappable, ticks = _scale(diagram)
    there = {(cell.x, cell.y) for cell in diagram.cells}
    for x, y in ((x, y) for x in range(columns) for y in range(rows) if (x, y) not in there):
        axes.add_patch(Rectangle((x - 0.48, y - 0.47), 0.96, 0.94, fc="white", ec="#d0d0d0", hatch="////", lw=0.6))
    # Numbers grow upwards; names read from the top down.
    up = 1 if diagram.y.numeric else -1
    for cell in diagram.cells:
        _draw_tile(axes, cell, mappable, up, detailed=detailed)
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
    handles = style.phase_handles(diagram.cells)
    if len(there) < columns * rows:
        handles.append(Patch(fc="white", ec="#d0d0d0", hatch="////", label="not in the sweep"))
    style.draw_legend(figure, handles, "Phase by τ (bars)", (1 - 2.36 / width, top))
    bar_axes = figure.add_axes((1 - 2.33 / width, top - 3.05 / height, 0.16 / width, 1.25 / height))
    bar = figure.colorbar(mappable, cax=bar_axes)
    bar.set_label("RMST(τ) of t_gen, steps", fontsize=8.5, color=INK)
    bar.outline.set_visible(False)
    bar.set_ticks(ticks, labels=[f"{tick:.0f}" for tick in ticks], fontsize=8.5)
    bar.ax.minorticks_off()
    style.draw_notes(figure, notes, 0.28 / width)


def _scale(diagram: Diagram) -> tuple[ScalarMappable, list[float]]:
    """Colours up to tau, on a logarithmic scale where the means differ eightfold; and the ticks of their bar."""
    means = [cell.t_gen.restricted_mean_steps.value for cell in diagram.cells]
    high = float(diagram.tau_steps)
    low = max(min((mean for mean in means if not math.isnan(mean)), default=high), 1.0)
    if high / low >= 8:
        return ScalarMappable(LogNorm(low, high), COLOURS), style.round_steps(low, high)
    low = min(low, 0.9 * high)
    return ScalarMappable(Normalize(low, high), COLOURS), style.even_steps(low, high)


def _draw_tile(axes: Axes, cell: Cell, mappable: ScalarMappable, up: int, *, detailed: bool) -> None:
    mean = cell.t_gen.restricted_mean_steps.value
    known = not math.isnan(mean)
    colour = [float(part) for part in mappable.to_rgba(mean)[:3]] if known else [0.95] * 3  # type: ignore[arg-type]
    axes.add_patch(Rectangle((cell.x - 0.48, cell.y - 0.47), 0.96, 0.94, fc=colour, ec="none", zorder=2))
    text: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 4}
    if detailed:
        ink = style.ink_on(colour)
        headline: dict[str, Any] = {"fontsize": 11 if known else 8.5, "fontweight": "bold", "color": ink}
        axes.text(cell.x, cell.y + 0.25 * up, f"{mean:.0f}" if known else "unfinished", **headline, **text)
        if known:
            reached = f"P {with_interval(cell.t_gen.by_tau, '.2f')}"
            axes.text(cell.x, cell.y - 0.02 * up, reached, fontsize=7, color=ink, **text)
    left = cell.x - 0.42
    for phase, ending, number in style.segments(cell):
        part, fill = 0.84 * number / len(cell.trials), style.PHASE_COLOURS[phase]
        edge = "#9a9a9a" if style.is_blank(phase) else "white"
        look: dict[str, Any] = {"fc": fill, "ec": edge, "hatch": style.ENDINGS[ending], "lw": 0.8, "zorder": 3}
        axes.add_patch(Rectangle((left, cell.y - 0.39 * up), part, 0.2 * up, **look))
        if detailed:
            box = {"fc": fill, "ec": "none", "pad": 0.8} if style.ENDINGS[ending] else None
            place = (left + part / 2, cell.y - 0.295 * up)
            axes.text(*place, str(number), fontsize=7, color=style.ink_on(fill), bbox=box, **text)
        left += part
