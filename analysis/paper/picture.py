"""The picture of a figure: its panels under a head with its title, its verdict and the extent of its runs."""

from io import BytesIO

from matplotlib.figure import Figure, SubFigure

from analysis.drawing import style
from analysis.drawing.style import FAINT, INK
from analysis.paper.results import FigureResult
from analysis.paper.verdict import MET, NOT_MET, NOT_RUN, REPORTED, UNDECIDED

DPI = 160
HEAD_IN = 0.72
MARGIN_IN = 0.16
STATUS_COLOURS = {
    MET: "#007a5a",
    NOT_MET: "#b83b00",
    UNDECIDED: "#8a6100",
    REPORTED: "#005b8e",
    NOT_RUN: "#6b6b6b",
}
"""Darker than the curves' colours, so that text is legible on white."""


def png(result: FigureResult, size: str, *, head: bool = True) -> bytes:
    """The picture of a figure at a size of which something was measured, as PNG; with its head or the panels alone."""
    width, height = result.figure.size_in
    ratios = (HEAD_IN, height) if head else (height,)

    def draw(figure: Figure) -> None:
        figure.set_size_inches(width, sum(ratios))
        figure.set_layout_engine("constrained", w_pad=MARGIN_IN, h_pad=0.06)
        *above, panels = figure.subfigures(len(ratios), 1, squeeze=False, height_ratios=ratios)[:, 0]
        for place in above:
            _draw_head(place, result, size, width)
        result.figure.draw(result.evidence[size], panels)

    out = BytesIO()
    style.to_png(draw, out, dpi=DPI)
    return out.getvalue()


def _draw_head(place: SubFigure, result: FigureResult, size: str, width_in: float) -> None:
    left = MARGIN_IN / width_in
    title = f"{result.figure.label}   {result.figure.title}"
    place.text(left, 0.82, style.safe(title), fontsize=13.5, fontweight="bold", color=INK, va="top")
    status = result.status(size)
    word = place.text(left, 0.34, status, fontsize=10, fontweight="bold", color=STATUS_COLOURS[status], va="top")
    room = word.get_window_extent().width / (width_in * DPI)
    rest = style.safe(result.extent(size))
    place.text(left + room + 0.12 / width_in, 0.34, rest, fontsize=10, color=FAINT, va="top")
