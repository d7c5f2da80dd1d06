"""The picture of a figure: its panels under a head that says what it is, what came out, and from how much."""

import warnings
from io import BytesIO

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis import style
from analysis.evidence import Evidence
from analysis.figure_results import FigureResult
from analysis.style import FAINT, INK
from analysis.verdict import MET, NOT_MET, NOT_RUN, REPORTED, UNDECIDED

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
"""Darker than the curves' colours, so that words in them are legible on white."""


def png(result: FigureResult, size: str) -> bytes:
    """The picture of a figure at a size of which something was measured, as PNG."""
    panels_width, panels_height = result.figure.size_in
    width, height = panels_width, panels_height + HEAD_IN
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    figure.set_layout_engine("constrained", w_pad=MARGIN_IN, h_pad=0.06)
    FigureCanvasAgg(figure)
    head, panels = figure.subfigures(2, 1, squeeze=False, height_ratios=(HEAD_IN, panels_height))[:, 0]
    evidence = result.evidence[size]
    left = MARGIN_IN / width
    title = f"{result.figure.label}   {result.figure.title}"
    head.text(left, 0.82, style.safe(title), fontsize=13.5, fontweight="bold", color=INK, va="top")
    status = result.status(size)
    told = head.text(left, 0.34, status, fontsize=10, fontweight="bold", color=STATUS_COLOURS[status], va="top")
    room = told.get_window_extent().width / (width * DPI)
    rest = style.safe(extent_words(evidence, checked=result.figure.check is not None))
    head.text(left + room + 0.12 / width, 0.34, rest, fontsize=10, color=FAINT, va="top")
    out = BytesIO()
    with warnings.catch_warnings():
        # A sign that the font lacks is drawn as a box; that is no reason to stop.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        result.figure.draw(evidence, panels)
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def extent_words(evidence: Evidence, *, checked: bool) -> str:
    """``at laptop size: 3 seeds, all 2000 steps``; of a check without training, that it is one."""
    if checked:
        return "computed from the definitions, no training"
    return f"at {evidence.size} size: {evidence.extent()}"
