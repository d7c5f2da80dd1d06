"""Curves of waiting of a diagram: the content of their picture, and their numbers as a table."""

import pandas as pd

from analysis.diagram import marks
from analysis.diagram.cells import Cell, Diagram
from analysis.diagram.words import event_words
from analysis.drawing.waiting import WaitingPanel, WaitingPicture, in_rows
from analysis.stats.survival import CensoredTimes
from analysis.stats.waiting import WaitingCurve, waiting_curve

WAITING_COLUMNS = {
    "cell": "the cell in words",
    "<axis>": "its value of each axis that all its trials share",
    "event": "the event's name",
    "step": "the numbers hold from here to the next row's step",
    "incidence": "the share of the cell's trials that had the event by then: the cumulative incidence",
    "incidence_low, incidence_high": "its pointwise 95 % interval, for trials whose interval holds the step, or that "
    "were not followed to it, from none of them to all",
    "estimator": "as in cells.csv",
}
"""What the columns of waiting.csv mean."""
WAITING_NOTE = (
    "A panel: the share of its seeds that had the event by then, {estimator}; a seed that diverged or froze never has "
    "it.  Band: at each time the 95 % interval of that share, as the tables give it at τ; it is not for the whole "
    "curve at once."
)


def waiting_picture(diagram: Diagram) -> WaitingPicture:
    """The curves of every cell, where the diagram has it."""
    axis = marks.time_axis(diagram)
    curves = [(cell, waiting(diagram, cell)) for cell in diagram.cells]
    estimators = sorted({curve.estimator for _, (curve, _) in curves if curve is not None})
    # Numbers grow upwards; names read from the top down.
    upwards = diagram.y is not None and diagram.y.numeric
    ticks = diagram.y.ticks if diagram.y else ()
    wrapped = in_rows(len(curves))
    panels = []
    for cell, (main, earlier) in curves:
        column, row = (cell.x, len(ticks) - 1 - cell.y if upwards else cell.y) if diagram.y else next(wrapped)
        title = f"{diagram.x.label} {diagram.x.ticks[cell.x]}" if diagram.y else cell.label
        note = _came(cell)
        panels.append(WaitingPanel(column=column, row=row, title=title, note=note, main=main, earlier=earlier))
    return WaitingPicture(
        title=diagram.title,
        subtitle=diagram.subtitle,
        notes=[WAITING_NOTE.format(estimator=" and ".join(estimators))],
        panels=panels,
        rows=ticks[::-1] if upwards else ticks,
        row_label=diagram.y.label if diagram.y else "",
        main=event_words(diagram.main),
        earlier=event_words(diagram.earlier) if diagram.earlier else "",
        logarithmic=axis.logarithmic,
        floor=axis.floor,
        tau=diagram.tau_steps,
    )


def waiting_table(diagram: Diagram) -> pd.DataFrame:
    """The curves' numbers, with the columns of :data:`WAITING_COLUMNS`."""
    rows = []
    for cell in diagram.cells:
        for rule, curve in zip((diagram.main, diagram.earlier), waiting(diagram, cell), strict=True):
            if rule is None or curve is None:
                continue
            same = {"cell": cell.label, **cell.coordinates, "event": rule.name, "estimator": curve.estimator}
            for step, share, low, high in zip(curve.steps, curve.incidence, curve.low, curve.high, strict=True):
                rows.append(same | {"step": step, "incidence": share, "incidence_low": low, "incidence_high": high})
    return pd.DataFrame(rows)


def waiting(diagram: Diagram, cell: Cell) -> tuple[WaitingCurve | None, WaitingCurve | None]:
    """The curves of a cell: of the main event, and of the one before it."""
    tau = diagram.tau_steps
    measured = [placed for placed in cell.trials if placed.main is not None]
    main, earlier = (
        waiting_curve(CensoredTimes.of([event for event in events if event is not None], tau), tau)
        for events in ([placed.main for placed in measured], [placed.earlier for placed in measured])
    )
    return main, earlier


def _came(cell: Cell) -> str:
    return f"{sum(placed.main is not None and placed.main.occurred for placed in cell.trials)} of {cell.measured}"
