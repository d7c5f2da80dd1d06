"""The phase diagram as a picture made to be shown; nothing here computes a statistic.

A row of cells is drawn by :mod:`analysis.diagram.row`.  A grid of cells is drawn here: a number or a phase as colour
and text, P by tau, and a bar of phases in each tile; a panel for each value of the facet.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from analysis.diagram import marks
from analysis.diagram.cells import Cell, Diagram
from analysis.diagram.handles import draw_number, draw_symbol, legend_handles
from analysis.diagram.marks import Symbol
from analysis.diagram.row import draw_row, row_note
from analysis.diagram.tiles import COLOURS, Tiles, abbreviated, tiles
from analysis.diagram.words import by_words, event_words, notes, with_interval
from analysis.drawing import sheet as sheets
from analysis.drawing import style
from analysis.drawing.sheet import ColourKey, Key, Panels, Sheet, Surroundings, Ticks, add_axes, text_in
from analysis.drawing.style import INK

DETAILED_TILES = 150
"""Up to this many tiles carry numbers."""
WIDEST_IN = 13.0
"""Panels that would be wider together are below each other."""
GAP_IN = 0.3
"""Between panels."""
TILE = 0.96, 0.94
"""The size of a tile, of its cell."""
NOTE = "{event}.  A tile: {shown}; {by} with its 95 % interval; the bar counts the seeds in each phase."


def draw_png(diagram: Diagram, path: Path, sheet: Sheet = sheets.WIDE) -> str:
    """Write the picture of a diagram, as PNG or by the path's ending: a row of cells over time, or a grid of cells.

    :returns: the characters that are boxes in it, as :func:`analysis.drawing.style.to_png` does.
    """
    return style.to_png(lambda figure: draw_diagram(figure, diagram, sheet), path)


def draw_diagram(figure: Figure, diagram: Diagram, sheet: Sheet = sheets.WIDE) -> None:
    """Draw a diagram on an empty figure, whose size this sets."""
    (draw_row if diagram.y is None else draw_grid)(figure, diagram, sheet)


def draw_grid(figure: Figure, diagram: Diagram, sheet: Sheet = sheets.WIDE) -> None:
    """Draw a diagram with two axes."""
    grid = _Grid.of(diagram, sheet)
    bounds = [] if grid.value or not any(grid.shown.bounds) else [("more than this: not by τ", _bound_symbol(INK))]
    handles = legend_handles([*marks.phase_legend(diagram), *grid.shown.legend, *bounds], sheet.symbols)
    if len(diagram.cells) < grid.columns * grid.rows * len(grid.titles):
        handles.append(Patch(fc="white", ec="#d0d0d0", hatch="////", label="not in the sweep"))
    title = "Phase by τ (bars)" if grid.shown.scale else "Phase by τ"
    around = Surroundings(
        title=diagram.title,
        subtitle=diagram.subtitle,
        notes=notes(diagram, _note(diagram, grid.shown)),
        keys=[Key(title, handles)],
        colours=colour_key(grid.shown),
    )
    panels = Panels(grid.width_in, grid.height_in, lambda left, top: _draw_panels(figure, grid, left, top))
    sheets.compose(figure, sheet, around, panels)


def caption(diagram: Diagram) -> list[str]:
    """What a picture without a title leaves to its caption: the question, what it is of, and how to read it."""
    note = row_note(diagram) if diagram.y is None else _note(diagram, tiles(diagram))
    return [diagram.title, diagram.subtitle, *notes(diagram, note)]


def _note(diagram: Diagram, shown: Tiles) -> str:
    return NOTE.format(event=event_words(diagram.main), shown=shown.note, by=by_words(diagram.main, "τ"))


def _bound_symbol(ink: str) -> Symbol:
    """On a tile without a label whose number is a lower bound."""
    return Symbol("triangle", ink, "none")


@dataclass(frozen=True)
class _Grid:
    """What a grid shows, and its sizes in inches."""

    diagram: Diagram
    sheet: Sheet
    shown: Tiles
    across: int
    """Panels beside each other."""
    margin: float
    """Left of the tiles: the vertical axis."""
    side: float
    tall: float
    value: float
    """The size of the texts in the tiles, in points; 0: there are none."""
    reached: tuple[str, ...]
    """P in each tile; empty where it does not fit."""
    ticks: Ticks
    """Of the horizontal axis."""

    @classmethod
    def of(cls, diagram: Diagram, sheet: Sheet) -> "_Grid":
        assert diagram.y is not None
        shown = tiles(diagram)
        number = len(diagram.facet.ticks) if diagram.facet else 1
        columns, rows = diagram.x.cells, diagram.y.cells
        detailed = len(diagram.x.ticks) * len(diagram.y.ticks) <= DETAILED_TILES
        ticks = max(text_in(style.shortened(tick), sheet.tick) for tick in diagram.y.ticks)
        margin = ticks + 1.9 * sheet.label / 72 + 0.1
        if sheet.width_in is None:
            side = 1.16 if detailed else 0.55
            across = max(1, min(number, int((WIDEST_IN - margin) // (side * columns + GAP_IN))))
        else:
            # As many panels beside each other as leave tiles in which the smallest letters fit.
            room = sheet.width_in - margin - 2 * sheet.margin_in
            texts = shown.texts if shown.scale else abbreviated(shown.texts)
            least = max(text_in(text, sheet.small, bold=True) for text in texts) / 0.9 if detailed else 0.1
            for across in range(number, 0, -1):
                side = min((room - (across - 1) * GAP_IN) / (across * columns), 1.5)
                if side >= min(least, 0.5):
                    break
        inside = 0.9 * side
        value = _size(shown.texts, sheet, inside)
        if not value and shown.scale is None:
            shown = replace(shown, texts=abbreviated(shown.texts))
            value = _size(shown.texts, sheet, inside)
        reached = _reached(diagram, sheet, inside) if detailed else ()
        if sheet.width_in is None:
            tall = min(max(0.92, 2.9 / rows), 1.2) if detailed else 0.4
        else:
            written = 1.4 * (value * detailed + sheet.small * bool(reached)) / 72
            tall = min(max(written + 0.22, 0.62 * side, 0.45), 0.9) if detailed else min(max(0.7 * side, 0.12), 0.4)
        left = margin + sheet.margin_in + side / 2
        below = Ticks.of([*map(style.shortened, diagram.x.ticks)], sheet.tick, side, left)
        value = value if detailed else 0.0
        return cls(diagram, sheet, shown, across, margin, side, tall, value, reached, below)

    @property
    def titles(self) -> tuple[str, ...]:
        """Of the panels."""
        return self.diagram.facet.ticks if self.diagram.facet else ("",)

    @property
    def columns(self) -> int:
        return len(self.diagram.x.ticks)

    @property
    def rows(self) -> int:
        assert self.diagram.y is not None
        return len(self.diagram.y.ticks)

    @property
    def head(self) -> float:
        """Above a panel: its title."""
        return 1.7 * self.sheet.label / 72 if self.diagram.facet else 0.0

    @property
    def panel(self) -> tuple[float, float]:
        """The size of a panel."""
        assert self.diagram.y is not None
        return self.side * self.diagram.x.cells, self.tall * self.diagram.y.cells

    @property
    def foot(self) -> float:
        """Below the panels: the horizontal axis."""
        return self.ticks.height_in + 1.4 * self.sheet.label / 72 + 0.05

    @property
    def width_in(self) -> float:
        return self.margin + self.across * self.panel[0] + (self.across - 1) * GAP_IN

    @property
    def height_in(self) -> float:
        down = math.ceil(len(self.titles) / self.across)
        return down * (self.head + self.panel[1]) + (down - 1) * GAP_IN * 0.5 + self.foot


def _size(texts: Sequence[str], sheet: Sheet, inside: float) -> float:
    """The largest size in which the texts fit into the tiles, in points; 0 where the smallest is too large."""
    size = sheet.value
    while size >= sheet.small:
        if all(text_in(text, size, bold=True) <= inside for text in texts):
            return size
        size -= 0.5
    return 0.0


def _reached(diagram: Diagram, sheet: Sheet, inside: float) -> tuple[str, ...]:
    """P of each cell as it fits into the tiles: with its interval, without, or not at all."""
    known = [not math.isnan(cell.main.by_tau.value) for cell in diagram.cells]
    for write in (lambda share: f"P {with_interval(share, '.2f')}", lambda share: f"P {share.value:.2f}"):
        texts = [write(cell.main.by_tau) if there else "" for cell, there in zip(diagram.cells, known, strict=True)]
        if all(text_in(text, sheet.small) <= inside / 0.95 for text in texts):
            return tuple(texts)
    return ()


def colour_key(shown: Tiles) -> ColourKey | None:
    """The colours of the tiles' numbers; None where they show phases."""
    if (scale := shown.scale) is None:
        return None
    norm = (LogNorm if scale.logarithmic else Normalize)(scale.low, scale.high)
    colours = ScalarMappable(norm, f"{COLOURS}{'_r' if scale.small_is_bright else ''}")
    texts = [f"{tick:{shown.form.replace('d', '.0f')}}" for tick in scale.ticks]
    return ColourKey(shown.label, colours, scale.ticks, texts)


def _draw_panels(figure: Figure, grid: _Grid, left: float, top: float) -> None:
    diagram, sheet = grid.diagram, grid.sheet
    assert diagram.y is not None
    wide, tall = grid.panel
    number = len(grid.titles)
    # Numbers grow upwards; names read from the top down.
    up = 1 if diagram.y.numeric else -1
    for panel, title in enumerate(grid.titles):
        down, along = divmod(panel, grid.across)
        x = left + grid.margin + along * (wide + GAP_IN)
        y = top - (down + 1) * (grid.head + tall) - down * GAP_IN * 0.5
        axes = add_axes(figure, x, y, wide, tall)
        axes.set_xlim(-0.5, diagram.x.cells - 0.5)
        ends = -0.5, diagram.y.cells - 0.5
        axes.set_ylim(*ends[::up])
        if title:
            axes.set_title(style.safe(title), fontsize=sheet.label, color=INK, pad=0.35 * sheet.label)
        _draw_ticks(axes, grid, below=panel + grid.across >= number, aside=along == 0)
        own = [(index, cell) for index, cell in enumerate(diagram.cells) if cell.panel == panel]
        occupied = {(cell.x, cell.y) for _, cell in own}
        for column, row in ((column, row) for column in range(grid.columns) for row in range(grid.rows)):
            if (column, row) not in occupied:
                place = diagram.x.at(column), diagram.y.at(row)
                axes.add_patch(_tile(place, fc="white", ec="#d0d0d0", hatch="////", lw=0.6))
        for index, cell in own:
            _draw_tile(axes, grid, cell, index, up)
    across: dict[str, Any] = {"fontsize": sheet.label, "color": INK, "transform": figure.dpi_scale_trans}
    middle = left + grid.margin + (grid.width_in - grid.margin) / 2
    figure.text(middle, top - grid.height_in, style.safe(diagram.x.label), ha="center", va="bottom", **across)
    middle = top - (grid.height_in - grid.foot + grid.head) / 2
    look: dict[str, Any] = {"rotation": 90, "ha": "left", "va": "center", **across}
    figure.text(left, middle, style.safe(diagram.y.label), **look)


def _draw_ticks(axes: Axes, grid: _Grid, *, below: bool, aside: bool) -> None:
    diagram, sheet = grid.diagram, grid.sheet
    assert diagram.y is not None
    look: dict[str, Any] = {"fontsize": sheet.tick, "color": INK}
    ticks = [style.short(tick) for tick in diagram.x.ticks] if below else [""] * grid.columns
    axes.set_xticks([*map(diagram.x.at, range(grid.columns))], ticks, **look)
    grid.ticks.turn(axes)
    ticks = [style.short(tick) for tick in diagram.y.ticks] if aside else [""] * grid.rows
    axes.set_yticks([*map(diagram.y.at, range(grid.rows))], ticks, **look)
    axes.tick_params(length=0, pad=3)
    axes.spines[:].set_visible(False)


def _tile(place: tuple[float, float], **look: Any) -> Rectangle:
    (x, y), (wide, tall) = place, TILE
    return Rectangle((x - wide / 2, y - tall / 2), wide, tall, **look)


def _draw_tile(axes: Axes, grid: _Grid, cell: Cell, index: int, up: int) -> None:
    diagram, sheet = grid.diagram, grid.sheet
    assert diagram.y is not None
    colour = grid.shown.colours[index]
    ink = style.ink_on(colour)
    x, y = place = diagram.x.at(cell.x), diagram.y.at(cell.y)
    axes.add_patch(_tile(place, fc=colour, ec="none", zorder=2))
    text: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 4, "color": ink}
    if cell.uncertain:
        axes.add_patch(_tile(place, fc="none", ec=(ink, 0.35), lw=0, hatch=marks.UNCERTAIN_HATCH, zorder=2.1))
        text["bbox"] = {"fc": colour, "ec": "none", "pad": 1.5 * sheet.symbols}
    reached = grid.reached[index] if grid.reached else ""
    if grid.value:
        at = y + (0.25 if grid.reached else 0.13) * up
        axes.text(x, at, grid.shown.texts[index], fontsize=grid.value, fontweight="bold", **text)
    elif grid.shown.bounds[index]:
        draw_symbol(axes, x, y + 0.1 * up, _bound_symbol(ink), zorder=4, size=0.6 * sheet.symbols)
    if reached:
        at = y - (0.02 if grid.value else -0.15) * up
        axes.text(x, at, reached, fontsize=sheet.small, **text)
    numbered = grid.value > 0 or bool(grid.reached)
    for part in marks.segments(diagram, cell):
        start, width = x - 0.42 + 0.84 * part.low, 0.84 * (part.high - part.low)
        look: dict[str, Any] = {"fc": part.colour, "ec": part.edge, "hatch": part.hatch, "zorder": 3}
        axes.add_patch(Rectangle((start, y - 0.39 * up), width, 0.2 * up, lw=0.8 * sheet.symbols, **look))
        if numbered and text_in(str(part.number), sheet.small) < 0.9 * width * grid.side:
            draw_number(axes, start + width / 2, y - 0.295 * up, part, sheet.small, 0.8)
