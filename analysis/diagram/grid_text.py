"""A grid of cells as a grid of texts: how many seeds have the event, and how soon, for a terminal.

The intervals of every number stand in ``cells.csv``; a line a cell, with them, is of use for a row of cells only.
"""

import math

from analysis.diagram.cells import Cell, Diagram
from analysis.diagram.words import event_name

LEAST_CELLS = 5
"""A smaller grid is a table with intervals."""


def is_grid(diagram: Diagram) -> bool:
    """Whether the cells lie on two axes, and are too many for a line each."""
    return diagram.y is not None and len(diagram.cells) >= LEAST_CELLS


def grid_rows(diagram: Diagram) -> list[tuple[str, ...]]:
    """The ticks of the axes and the label of each cell, placed as in the picture: ``2/3  286``.

    A cell that nobody has asked for is empty; ``1/?`` are the seeds so far of one that is unfinished.
    """
    diagram = diagram.glued
    assert diagram.y is not None
    places = {(cell.x, cell.y): cell for cell in diagram.cells}
    rows = [(f"{diagram.y.label} ↓  {diagram.x.label} →", *diagram.x.ticks)]
    for row in reversed(range(len(diagram.y.ticks))):
        texts = [_text(places.get((column, row))) for column in range(len(diagram.x.ticks))]
        rows.append((diagram.y.ticks[row], *texts))
    return rows


def grid_sentence(diagram: Diagram) -> str:
    """What the texts of the cells are."""
    name = event_name(diagram.main)
    seeds = "trials" if diagram.pooled else "seeds"
    return f"{seeds} with {name} by step {diagram.tau_steps}, of all; then the steps it takes them (geometric mean)"


def _text(cell: Cell | None) -> str:
    if cell is None:
        return ""
    came = sum(placed.main is not None and placed.main.occurred for placed in cell.trials)
    if math.isnan(cell.main.by_tau.value):
        return f"{came}/?"
    at = cell.main.given_steps.value
    return f"{came}/{cell.measured}" + ("" if math.isnan(at) else f"  {at:.0f}")
