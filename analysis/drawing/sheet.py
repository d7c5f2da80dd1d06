"""The sheet that a picture is drawn on: how wide it is, how large its letters are, and what surrounds its panels.

Everything is placed in inches from the lower left corner, so that a picture may be measured before its height is known.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.textpath import text_to_path

from analysis.drawing import style
from analysis.drawing.style import FAINT, INK

LINE = 1.35
"""The height of a line, of its letters' size."""
TURNED = 32
"""The angle of ticks that are too long, in degrees."""
SIDE_IN = 2.5
"""For the legends beside the panels."""
LEAST_WIDTH_IN = 8.6


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The width of a picture and the sizes of its letters, in points."""

    width_in: float | None = None
    """None: as wide as the panels need, with the legends beside them; otherwise they are below."""
    titled: bool = True
    """Whether the title and the notes are on it."""
    title: float = 16
    subtitle: float = 10.5
    label: float = 10.5
    tick: float = 10
    value: float = 11
    small: float = 7
    """The smallest letters."""
    legend: float = 8.5
    note: float = 8
    symbols: float = 1.0
    """The size of symbols and lines, of the usual one."""
    margin_in: float = 0.28


WIDE = Sheet()
WIDTHS = {
    "column": Sheet(
        width_in=3.3, title=9, subtitle=7, label=7.5, tick=7, value=7.5, small=6, legend=6.5, note=6, symbols=0.6,
        margin_in=0.04,
    ),
    "page": Sheet(
        width_in=6.8, title=11.5, subtitle=8, label=8.5, tick=8, value=9, small=6, legend=7, note=6.5, symbols=0.75,
        margin_in=0.04,
    ),
}  # fmt: skip
"""The widths of a journal's column and page."""


@dataclass(frozen=True)
class Key:
    """A legend: its title and its entries."""

    title: str
    handles: Sequence[Patch | Line2D]
    down_in: float = 0.0
    """Beside the panels, how far below their top it begins at least."""


@dataclass(frozen=True)
class ColourKey:
    """A scale of colours, its label and the labels of its ticks."""

    label: str
    colours: ScalarMappable
    ticks: Sequence[float]
    texts: Sequence[str]


@dataclass(frozen=True)
class Panels:
    """What is drawn in the middle: its size, and how it is drawn with its upper left corner at a place, in inches."""

    width_in: float
    height_in: float
    draw: Callable[[float, float], None]


@dataclass(frozen=True)
class Surroundings:
    """What is written around the panels."""

    title: str
    subtitle: str
    notes: Sequence[str]
    keys: Sequence[Key]
    colours: ColourKey | None = None


@dataclass
class _Pile:
    """Blocks below each other: each measured before it is drawn."""

    blocks: list[tuple[float, Callable[[float], None]]] = field(default_factory=list)
    """Heights, and how to draw from the upper edge down."""

    def add(self, height_in: float, draw: Callable[[float], None]) -> None:
        self.blocks.append((height_in, draw))

    @property
    def height_in(self) -> float:
        return sum(height for height, _ in self.blocks)

    def draw(self, top_in: float) -> None:
        for height, draw in self.blocks:
            draw(top_in)
            top_in -= height


def compose(figure: Figure, sheet: Sheet, around: Surroundings, panels: Panels) -> None:
    """Set the figure's size, and draw the panels and what surrounds them."""
    beside = sheet.width_in is None
    width = sheet.width_in or max(LEAST_WIDTH_IN, panels.width_in + SIDE_IN + sheet.margin_in)
    figure.set_size_inches(width, 1.0)
    left, room = sheet.margin_in, width - 2 * sheet.margin_in
    head, foot, keys = _Pile(), _Pile(), _Pile()
    if sheet.titled:
        _add_text(head, figure, sheet, around.title, sheet.title, room, INK, weight="bold")
        head.add(0.35 * sheet.title / 72, lambda _: None)
        _add_text(
            head, figure, sheet, _together(around.subtitle, sheet.subtitle, room / 2), sheet.subtitle, room, FAINT
        )
        head.add(1.1 * sheet.title / 72, lambda _: None)
        foot.add(2 * sheet.note / 72, lambda _: None)
        for note in around.notes:
            _add_text(foot, figure, sheet, note, sheet.note, room, FAINT)
    key_left = left + panels.width_in + 0.14 if beside else left
    key_room = SIDE_IN - 0.2 if beside else room
    if around.colours is not None and not beside:
        _add_colours(keys, figure, sheet, around.colours, key_left, key_room, across=True)
    for key in around.keys:
        if beside and key.down_in > keys.height_in:
            keys.add(key.down_in - keys.height_in, lambda _: None)
        _add_key(keys, figure, sheet, key, key_left, key_room)
    if around.colours is not None and beside:
        _add_colours(keys, figure, sheet, around.colours, key_left, key_room, across=False)
    gap = 0.0 if beside else 0.06
    body = max(panels.height_in, keys.height_in) if beside else panels.height_in + gap + keys.height_in
    edge = 0.18 if beside else sheet.margin_in
    height = head.height_in + body + foot.height_in + 2 * edge
    figure.set_size_inches(width, height)
    top = height - edge
    head.draw(top)
    top -= head.height_in
    panels.draw(left, top)
    keys.draw(top if beside else top - panels.height_in - gap)
    foot.draw(top - body)


def add_axes(figure: Figure, left_in: float, bottom_in: float, width_in: float, height_in: float) -> Axes:
    """Axes at a place in inches, in a figure whose size is set."""
    width, height = figure.get_size_inches()
    return figure.add_axes((left_in / width, bottom_in / height, width_in / width, height_in / height))


def text_in(text: str, size: float, *, bold: bool = False) -> float:
    """How wide a line of text is, in inches.

    >>> text_in("1500", 7.2) < text_in("1500", 7.2, bold=True) < 0.5
    True
    """
    letters = FontProperties(size=size, weight="bold" if bold else "normal")
    return float(text_to_path.get_text_width_height_descent(text, letters, False)[0]) / 72


@dataclass(frozen=True)
class Ticks:
    """How the ticks below an axis are written: their angle in degrees, and the room that they need, in inches."""

    angle: int
    height_in: float

    @classmethod
    def of(cls, texts: Sequence[str], size: float, side_in: float, left_in: float) -> "Ticks":
        """Level where they fit into a side each; else turned, upright where the first would not fit on the sheet.

        :param left_in: the room to the left of the first tick.
        """
        widths = [text_in(text, size) for text in texts]
        if max(widths) <= 0.97 * side_in:
            return cls(0, 1.3 * size / 72)
        if widths[0] * math.cos(math.radians(TURNED)) < left_in:
            return cls(TURNED, max(widths) * math.sin(math.radians(TURNED)) + 1.1 * size / 72)
        return cls(90, max(widths) + 0.4 * size / 72)

    def turn(self, axes: Axes) -> None:
        """Turn the ticks of axes."""
        for text in axes.get_xticklabels() if self.angle else ():
            look = {"ha": "right", "va": "top"} if self.angle == TURNED else {"ha": "right", "va": "center"}
            text.set(rotation=self.angle, rotation_mode="anchor", **look)


def lines(text: str, size: float, width_in: float, *, bold: bool = False) -> list[str]:
    """Text in lines of at most this width; a longer word has a line of its own."""
    wrapped: list[str] = []
    for word in text.split(" "):
        longer = f"{wrapped[-1]} {word}" if wrapped else word
        if wrapped and text_in(longer, size, bold=bold) <= width_in:
            wrapped[-1] = longer
        else:
            wrapped.append(word)
    return wrapped


def _together(text: str, size: float, most_in: float) -> str:
    """Text whose parts between dots stay in one line each, where they are not too long."""
    parts = text.split("  ·  ")
    return "  ·  ".join(part.replace(" ", "\u00a0") if text_in(part, size) < most_in else part for part in parts)


def _add_text(
    pile: _Pile, figure: Figure, sheet: Sheet, text: str, size: float, room: float, colour: str, weight: str = "normal"
) -> None:
    whole = text.replace(" %", "\u00a0%")  # a number and its sign in one line
    written = "\n".join(map(style.safe, lines(whole, size, room, bold=weight == "bold")))

    def draw(top: float) -> None:
        look: dict[str, Any] = {
            "fontsize": size,
            "color": colour,
            "fontweight": weight,
            "linespacing": LINE,
            "va": "top",
        }
        figure.text(sheet.margin_in, top, written, transform=figure.dpi_scale_trans, **look)

    pile.add((written.count("\n") + 1) * size * LINE / 72, draw)


def _add_key(pile: _Pile, figure: Figure, sheet: Sheet, key: Key, left: float, room: float) -> None:
    """A legend, in as many columns as there is room for."""

    def legend(columns: int) -> Legend:
        return style.draw_legend(
            figure, key.handles, key.title, (0.0, 0.0), size=sheet.legend, columns=columns,
            transform=figure.dpi_scale_trans,
        )  # fmt: skip

    for columns in range(1 if sheet.width_in is None else min(4, len(key.handles)), 0, -1):
        drawn = legend(columns)
        size = drawn.get_window_extent()
        if columns == 1 or size.width / figure.dpi <= room:
            break
        drawn.remove()
    pile.add(
        size.height / figure.dpi + (0.16 if sheet.width_in is None else 0.07),
        lambda top: drawn.set_bbox_to_anchor((left, top), figure.dpi_scale_trans),
    )


def _add_colours(
    pile: _Pile, figure: Figure, sheet: Sheet, key: ColourKey, left: float, room: float, *, across: bool
) -> None:
    letters = style.title_size(sheet.legend)
    label = lines(key.label, letters, room, bold=True)
    above = len(label) * letters * LINE / 72 + 0.05
    length, thick = (min(2.2, room - 0.2), 0.09) if across else (1.25, 0.16)
    below = 0.12 + 1.4 * sheet.legend / 72 if across else 0.1

    def draw(top: float) -> None:
        written = "\n".join(map(style.safe, label))
        look: dict[str, Any] = {
            "fontsize": letters,
            "color": INK,
            "fontweight": "bold",
            "linespacing": LINE,
            "va": "top",
        }
        figure.text(left, top, written, transform=figure.dpi_scale_trans, **look)
        wide, tall = (length, thick) if across else (thick, length)
        inset = 0.12 if across else 0.0
        cax = add_axes(figure, left + inset, top - above - tall, wide, tall)
        bar = figure.colorbar(key.colours, cax=cax, orientation="horizontal" if across else "vertical")
        bar.outline.set_visible(False)
        texts = _apart(key, sheet.legend, length) if across else [*key.texts]
        bar.set_ticks(key.ticks, labels=texts, fontsize=sheet.legend)
        bar.ax.minorticks_off()
        bar.ax.tick_params(length=2, pad=2)

    pile.add(above + (thick if across else length) + below, draw)


def _apart(key: ColourKey, size: float, length: float) -> list[str]:
    """The texts of a scale's ticks along a bar, from the right on; empty where one would touch the next."""
    middles = np.asarray(key.colours.norm(np.array(key.ticks, dtype=float))) * length
    texts, edge = [], float("inf")
    for middle, text in reversed([*zip(middles.tolist(), key.texts, strict=True)]):
        half = text_in(text, size) / 2
        if free := middle + half < edge:
            edge = middle - half - 0.06
        texts.append(text if free else "")
    return texts[::-1]
