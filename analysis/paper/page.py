"""One self-contained page with every figure: the table of verdicts, then each figure beside its verdict."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.data.sweep import FULL, LAPTOP
from analysis.drawing.page import render
from analysis.paper.picture import STATUS_COLOURS, png
from analysis.paper.results import FigureResult, by_room
from analysis.paper.verdict import NOT_RUN, STATUSES

TITLE = "Grokking at the edge of numerical stability: results"
INTRODUCTION = (
    "Every figure and statement of Prieto et al. (2025, arXiv:2501.04697), run again: drawn from the kept runs and "
    "judged by one rule. Met: every seed meets the statement, with at least three. Not met: more than half of at least "
    "three seeds fail it. Undecided: too few seeds, or runs too short to decide it. A claim about two means is judged "
    "by the interval of their difference. Reported: no threshold is claimed. Full is the paper's own size; laptop asks "
    "the same question with fewer steps, and its verdict is about that size."
)
PIXELS_PER_INCH = 100
"""How large a picture is shown at most."""


def write_page(results: Sequence[FigureResult], path: Path) -> None:
    """Write the page as one HTML file."""
    path.write_text(page(results), encoding="utf-8")


def page(results: Sequence[FigureResult]) -> str:
    """The page's HTML, pictures included."""
    first = [result.status(result.sizes[0]) if result.sizes else NOT_RUN for result in results]
    return render(
        "paper/page.html.j2",
        title=TITLE,
        introduction=INTRODUCTION,
        counts={status: first.count(status) for status in STATUSES if status in first},
        colours=STATUS_COLOURS,
        rooms=by_room(results),
        columns=(LAPTOP, FULL),
        picture_of=_picture,
        not_run=NOT_RUN,
    )


def _picture(result: FigureResult, size: str) -> dict[str, Any]:
    return {
        "words": f"{result.figure.label} {result.extent(size)}",
        "width": round(PIXELS_PER_INCH * result.figure.size_in[0]),
        "data": base64.b64encode(png(result, size, head=False)).decode(),
    }
