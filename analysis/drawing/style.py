"""How the analysis' pictures and pages look: colours, and what surrounds a picture: its head, notes, legends, ticks.

Colours are from the Okabe-Ito palette and differ in lightness too.
"""

import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Transform

from analysis.drawing.fonts import families
from analysis.drawing.guard import quiet
from trainables.engine.terminal import shown

MEM_COLOUR, GEN_COLOUR, MEAN_COLOUR, DIVERGED_COLOUR = "#e69f00", "#0072b2", "#111111", "#d55e00"
INK, FAINT, GRID, STEM = "#222222", "#6b6b6b", "#e6e6e6", "#c4c4c4"
BEYOND_COLOUR = "#ececec"
"""Behind what did not come by tau."""
AXIS_COLOUR = "#9a9a9a"
"""Of axes, ticks and outlines."""
NOTE_SIZE, NOTE_LINE_IN = 8, 0.155
DPI = 200
_DEFAULTS: dict[Any, Any] = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
"""A figure is drawn by its own canvas; asking for the backend would choose one."""


VECTOR: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
"""Formats beside PNG, and the metadata that would make two equal drawings differ."""


def to_png(draw: Callable[[Figure], None], target: Path | BinaryIO, *, dpi: int = DPI) -> str:
    """Draw a figure and write it as PNG, by matplotlib's own settings: the user's do not matter.

    :param target: a path that ends in ``.pdf`` or ``.svg`` makes such a file instead, with its fonts inside.
    :returns: the characters that no font of this machine has, which are drawn as boxes.
    """
    suffix = target.suffix.removeprefix(".") if isinstance(target, Path) else ""
    kind, metadata = (suffix, VECTOR[suffix]) if suffix in VECTOR else ("png", {"Software": None})
    with own_settings():
        figure, missing = drawn(draw, Figure(dpi=dpi, facecolor="white"))
        matplotlib.rcParams.update({"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "grokscape"})
        figure.savefig(target, format=kind, metadata=metadata)
    return missing


@contextmanager
def own_settings() -> Iterator[None]:
    """Draw in this block by matplotlib's own settings, whatever the user's are."""
    with matplotlib.rc_context(_DEFAULTS), quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # They are returned.
        yield


def drawn(draw: Callable[[Figure], None], figure: Figure) -> tuple[Figure, str]:
    """Draw on an empty figure, with the fonts that its texts need; return it, and the characters that no font has."""
    FigureCanvasAgg(figure)
    draw(figure)
    fonts, missing = families({each for text in figure.findobj(Text) for each in text.get_text()})
    if len(fonts) > 1:
        matplotlib.rcParams["font.family"] = fonts
        figure.clear()
        draw(figure)
    return figure, missing


def ink_on(colour: str | Sequence[float]) -> str:
    """A legible text colour on ``colour``."""
    red, green, blue = to_rgb(colour)  # type: ignore[arg-type]
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else INK


def draw_head(figure: Figure, title: str, subtitle: str, left: float) -> None:
    """The question, as large as it fits, and below it the task and what else the picture is of."""
    width, height = figure.get_size_inches()
    title = textwrap.shorten(title, 220, placeholder=" …")
    head = figure.text(left, 1 - 0.2 / height, safe(title), fontsize=16, fontweight="bold", color=INK, va="top")
    for _ in range(2):  # Hinting: a smaller size is not smaller in proportion.
        room = (1 - left - 0.2 / width) * width * figure.dpi / head.get_window_extent().width
        head.set_fontsize(max(8.0, min(16.0, room * head.get_fontsize())))
    figure.text(left, 1 - 0.55 / height, safe(subtitle), fontsize=10.5, color=FAINT, va="top")


def wrapped(texts: Iterable[str], width_in: float) -> list[str]:
    """Notes as lines of the picture's width."""
    return [safe(line) for text in texts for line in textwrap.wrap(text, int(width_in * 14.6))]


def draw_notes(figure: Figure, lines: Sequence[str], left: float) -> None:
    """The notes at the bottom edge."""
    place = 0.13 / figure.get_size_inches()[1]
    figure.text(left, place, "\n".join(lines), fontsize=NOTE_SIZE, color=FAINT, va="bottom", linespacing=1.35)


def draw_legend(
    parent: Axes | Figure,
    handles: Sequence[Patch | Line2D],
    title: str,
    at: tuple[float, float],
    *,
    size: float = 8.5,
    columns: int = 1,
    transform: Transform | None = None,
) -> Legend:
    """A legend whose upper left corner is at a place in the parent's own coordinates, or in those of a transform."""
    return parent.legend(
        handles=handles,
        title=title,
        loc="upper left",
        bbox_to_anchor=at,
        bbox_transform=transform,
        ncols=columns,
        fontsize=size,
        title_fontproperties={"weight": "bold", "size": title_size(size)},
        borderpad=0.4 if transform is None else 0.0,
        columnspacing=1.2,
        frameon=False,
        alignment="left",
        labelspacing=0.5,
        handlelength=1.5,
        borderaxespad=0,
    )


def title_size(size: float) -> float:
    """Of a legend's title, for labels of a size."""
    return size + (1 if size > 8 else 0.5)


def even_steps(low: float, high: float) -> list[float]:
    """Round numbers from ``low`` to well below ``high``, evenly, and ``high`` itself."""
    between = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
    return [*(float(value) for value in between if low <= value < 0.93 * high), high]


def round_steps(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, 20, ... from ``low`` to well below ``high``, and ``high`` itself."""
    steps = [digit * 10.0**power for power in range(12) for digit in (1, 2, 5)]
    return [*(value for value in steps if low <= value < 0.8 * high), high]


def shortened(tick: str) -> str:
    """A tick of at most 28 characters."""
    return tick if len(tick) <= 28 else f"{tick[:15]}…{tick[-12:]}"


def short(tick: str) -> str:
    """A tick of at most 28 characters, for matplotlib."""
    return safe(shortened(tick))


def safe(text: str) -> str:
    """Text without what matplotlib would read as mathematics, and without control characters."""
    return shown(text).replace("$", r"\$")
