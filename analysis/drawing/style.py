"""How the analysis' pictures and pages look: the colours of the phases, defined once, and the words around them.

Colours are from the Okabe-Ito palette and differ in lightness too: blues generalise, orange only memorises, grey
does neither.
"""

import textwrap
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from analysis.data.sweep import MISSING
from analysis.diagram.cells import UNFINISHED, Cell, Diagram, PlacedTrial
from analysis.diagram.tables import contrast_text
from trainables.engine.events import (
    CENSORED,
    COMPREHENSION,
    CONFUSION,
    DIVERGED,
    FROZEN,
    GROKKING,
    MEMORIZATION,
    TEST_ONLY,
)

PHASE_COLOURS = {
    COMPREHENSION: "#005b8e",
    GROKKING: "#56b4e9",
    TEST_ONLY: "#cc79a7",
    MEMORIZATION: "#e69f00",
    CONFUSION: "#b3b3b3",
    UNFINISHED: "#ffffff",
    MISSING: "#ffffff",
}
"""From the bottom of a bar upwards; every picture and page uses them."""
MEM_COLOUR, GEN_COLOUR, MEAN_COLOUR, DIVERGED_COLOUR = "#e69f00", "#0072b2", "#111111", "#d55e00"
ENDINGS = {CENSORED: "", FROZEN: "////", DIVERGED: "xxxx"}
"""Hatches of the trials that a competing event ended; the plain ones first."""

INK, FAINT, GRID, STEM = "#222222", "#6b6b6b", "#e6e6e6", "#c4c4c4"
NOTE_SIZE, NOTE_LINE_IN = 8, 0.155


def phase_words(phase: str) -> str:
    """A phase as legends say it: memorization is never more than "not by tau"."""
    return {MEMORIZATION: "memorization (not by τ)", MISSING: "not begun"}.get(phase, phase)


def ended_words(phase: str, ending: str) -> str:
    """``memorization (not by τ), frozen``."""
    return phase_words(phase) + ("" if ending == CENSORED else f", {ending}")


def is_blank(phase: str) -> bool:
    """Whether a phase says that nothing is known, and is drawn white with an outline."""
    return phase in (UNFINISHED, MISSING)


def ink_on(colour: str | Sequence[float]) -> str:
    """A text colour that is legible on ``colour``."""
    red, green, blue = to_rgb(colour)  # type: ignore[arg-type]
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else INK


def segments(cell: Cell) -> list[tuple[str, str, int]]:
    """The parts of a cell's bar from the bottom upwards: phase, how its trials ended, and their number."""

    def ending(placed: PlacedTrial) -> str:
        return placed.t_gen.kind if placed.t_gen is not None and placed.t_gen.kind in (FROZEN, DIVERGED) else CENSORED

    found = []
    for phase in PHASE_COLOURS:
        members = [ending(placed) for placed in cell.trials if placed.phase == phase]
        found += [(phase, kind, members.count(kind)) for kind in ENDINGS if kind in members]
    return found


def phases_words(cell: Cell) -> str:
    """``3 memorization (not by τ), 2 memorization (not by τ), frozen``."""
    return ", ".join(f"{number} {ended_words(phase, ending)}" for phase, ending, number in segments(cell))


def phase_handles(cells: Iterable[Cell]) -> list[Patch]:
    """Legend entries of the phases and endings that occur, in the order of a bar from its top down."""
    used = {(phase, ending) for cell in cells for phase, ending, _ in segments(cell)}
    phases, endings = {phase for phase, _ in used}, {ending for _, ending in used}
    handles = [
        Patch(fc=colour, ec="#9a9a9a" if is_blank(phase) else "white", label=phase_words(phase))
        for phase, colour in reversed(PHASE_COLOURS.items())
        if phase in phases
    ]
    return handles + [
        Patch(fc="#c9c9c9", ec="white", hatch=ENDINGS[kind], label=f"… {kind}")
        for kind in (FROZEN, DIVERGED)
        if kind in endings
    ]


def draw_head(figure: Figure, title: str, subtitle: str, left: float) -> None:
    """The question, as large as it fits, and below it the task and what else the picture is of."""
    width, height = figure.get_size_inches()
    title = textwrap.shorten(title, 220, placeholder=" …")
    head = figure.text(left, 1 - 0.2 / height, safe(title), fontsize=16, fontweight="bold", color=INK, va="top")
    room = (1 - left - 0.2 / width) * width * figure.dpi / head.get_window_extent().width
    head.set_fontsize(max(8.0, min(16.0, 16.0 * room)))
    figure.text(left, 1 - 0.55 / height, safe(subtitle), fontsize=10.5, color=FAINT, va="top")


def note_lines(text: str, diagram: Diagram, width_in: float) -> list[str]:
    """A note and the declared contrast, wrapped to the picture's width."""
    texts = [text] + [f"{contrast_text(found, diagram.tau_steps)}." for found in diagram.contrasts if found.declared]
    return wrapped(texts, width_in)


def wrapped(texts: Iterable[str], width_in: float) -> list[str]:
    """Notes as lines of the picture's width."""
    return [safe(line) for text in texts for line in textwrap.wrap(text, int(width_in * 14.6))]


def draw_notes(figure: Figure, lines: Sequence[str], left: float) -> None:
    """The notes at the bottom edge."""
    place = 0.13 / figure.get_size_inches()[1]
    figure.text(left, place, "\n".join(lines), fontsize=NOTE_SIZE, color=FAINT, va="bottom", linespacing=1.35)


def draw_legend(
    parent: Axes | Figure, handles: Sequence[Patch | Line2D], title: str, at: tuple[float, float]
) -> Legend:
    """A legend whose upper left corner is at a place in the parent's own coordinates."""
    return parent.legend(
        handles=handles,
        title=title,
        loc="upper left",
        bbox_to_anchor=at,
        fontsize=8.5,
        title_fontproperties={"weight": "bold", "size": 9.5},
        frameon=False,
        alignment="left",
        labelspacing=0.5,
        handlelength=1.5,
        borderaxespad=0,
    )


def even_steps(low: float, high: float) -> list[float]:
    """Round numbers from ``low`` to well below ``high``, evenly, and ``high`` itself."""
    between = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
    return [*(float(value) for value in between if low <= value < 0.93 * high), high]


def round_steps(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, 20, ... from ``low`` to well below ``high``, and ``high`` itself."""
    found = [digit * 10.0**power for power in range(12) for digit in (1, 2, 5)]
    return [*(value for value in found if low <= value < 0.8 * high), high]


def short(tick: str) -> str:
    """A tick of at most 28 signs."""
    return safe(tick if len(tick) <= 28 else f"{tick[:15]}…{tick[-12:]}")


def safe(text: str) -> str:
    """A text without what matplotlib would read as mathematics."""
    return text.replace("$", r"\$")
