"""The curves that a cell opens: of every measured quantity a chart, with a line for each of its trials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np

from analysis.data.sweep import STEP, Sweep, Trial, is_share
from analysis.diagram.words import event_name
from analysis.drawing.bands import EPOCH
from analysis.drawing.style import GEN_COLOUR, INK, MEM_COLOUR
from analysis.page.svg import Scale, paint, path, value_scale
from trainables.engine.events import EventRule

VALUES_IN_PAGE = 900_000
"""Curves are thinned so that the page holds about this many points."""
TRIALS_IN_PAGE = 2000
"""The page has the curves and the lines of about this number of trials, spread evenly over the cells."""
POINTS = (20, 100)
"""The least and the most points per curve."""
ROWS = {"test": GEN_COLOUR, "training": MEM_COLOUR, "other": INK}
"""The rows that a curve is of, with their colours; other: of neither split alone."""


@dataclass(frozen=True)
class Chart:
    """The frame of a quantity's curves, the same for every cell."""

    quantity: str
    """``accuracy`` for train_accuracy and test_accuracy, and every other column by itself."""
    scale: Scale
    rules: tuple[tuple[float, str, str], ...]
    """Thresholds of events: their height in percent, their colour and what they are."""


@dataclass(frozen=True)
class Curves:
    """The charts, and the paths that each cell has in them."""

    steps: Scale
    charts: tuple[Chart, ...]
    rows: dict[str, str]
    """The rows that occur, with their colours."""
    paths: list[list[tuple[int, str, str, str]]]
    """Of each cell: the chart's index, the trial's name, its rows, and the path."""
    points: int
    """The most points of a path."""
    flat: dict[str, float]
    """The columns that have one value in all trials at all times, which have no chart."""


def cell_curves(
    sweep: Sweep,
    cells: Sequence[Sequence[tuple[Trial, str]]],
    first: str,
    *,
    until_steps: int,
    rules: Sequence[EventRule] = (),
    logarithmic: bool = True,
) -> Curves:
    """The curves of every cell's first trials, thinned.

    :param cells: the trials of each cell, with their names.
    :param first: the column whose quantity has the first chart.
    :param rules: events whose thresholds are drawn.
    :param logarithmic: whether the scale of the steps is.
    """
    steps = Scale(float(logarithmic), float(max(until_steps, 2)), logarithmic)
    places, parts = _read(sweep, cells, until_steps)
    measured = {probe: None for part in parts for probe, values in part.items() if not np.isnan(values).all()}
    columns = [name for name in measured if name not in (STEP, EPOCH)]
    budget = VALUES_IN_PAGE // max(1, len(parts) * len(columns))
    points = min(max(budget, POINTS[0]), POINTS[1])
    ends = {column: [end for part in parts if column in part for end in _ends(part[column])] for column in columns}
    ends = {column: own for column, own in ends.items() if own}
    flat = {column: own[0] for column, own in ends.items() if min(own) == max(own) and column != first}
    columns = [column for column in ends if column not in flat]
    in_order = sorted(dict.fromkeys(map(quantity_of, columns)), key=lambda name: _rank(name, columns, first))
    charts = [_chart(quantity, columns, ends, rules) for quantity in in_order]
    drawn: list[list[tuple[int, str, str, str]]] = [[] for _ in cells]
    for (cell, _, name), part in zip(places, parts, strict=True):
        shown = _thinned(len(part[STEP]), points)
        across = steps.at(part[STEP][shown])
        for index, chart in enumerate(charts):
            for column in columns:
                if quantity_of(column) == chart.quantity and column in part:
                    line = path(across, chart.scale.at(part[column][shown]))
                    drawn[cell].append((index, name, rows_of(column), line))
    rows = {name: paint(colour) for name, colour in ROWS.items() if name in set(map(rows_of, columns))}
    return Curves(steps, tuple(charts), rows, drawn, points, flat)


def _read(
    sweep: Sweep, cells: Sequence[Sequence[tuple[Trial, str]]], until_steps: int
) -> tuple[list[tuple[int, int, str]], list[dict[str, np.ndarray]]]:
    """Cell, number and name of each trial that is shown, and its columns up to a step, without step 0."""
    most = trials_shown(len(cells))
    place, trials = {}, []
    for index, cell in enumerate(cells):
        for number, (trial, name) in enumerate(cell[:most]):
            place[trial.trial_id] = (index, number, name)
            trials.append(trial)
    trials.sort(key=lambda trial: trial.trial_id)  # as files have them: each is read once
    found = []
    for trial, curves in replace(sweep, trials=tuple(trials)).iter_curves():
        within = (curves[STEP] <= until_steps) & (curves[STEP] > 0)
        found.append((place[trial.trial_id], {probe: values[within] for probe, values in curves.items()}))
    found.sort(key=itemgetter(0))
    return [where for where, _ in found], [part for _, part in found]


def _rank(quantity: str, columns: Sequence[str], first: str) -> int:
    """The order of the charts: what is measured of both splits before shares of rows, norms, and others."""
    if quantity == quantity_of(first):
        return 0
    if quantity not in columns:
        return 1
    return 2 if is_share(quantity) else 3 if quantity.endswith("_norm") else 4


def _chart(
    quantity: str, columns: Sequence[str], ends: Mapping[str, Sequence[float]], rules: Sequence[EventRule]
) -> Chart:
    own = [column for column in columns if quantity_of(column) == quantity]
    scale = value_scale([end for column in own for end in ends[column]], share=all(map(is_share, own)))
    lines = tuple(
        (scale.place(rule.shown), paint(ROWS[rows_of(rule.column)]), f"{event_name(rule)}: {rule.words()}")
        for rule in rules
        if quantity_of(rule.column) == quantity and scale.low <= rule.shown <= scale.high
    )
    return Chart(quantity, scale, lines)


def _ends(values: np.ndarray) -> list[float]:
    """The smallest and the largest finite value, and the smallest positive one."""
    finite = values[np.isfinite(values)]
    return [float(edge(some)) for some in (finite, finite[finite > 0]) if len(some) for edge in (np.min, np.max)]


def trials_shown(cells: int) -> int:
    """The number of trials that the page shows one by one in each cell, the first ones, given the number of cells."""
    return max(5, TRIALS_IN_PAGE // cells)


def _thinned(rows: int, points: int) -> np.ndarray:
    """At most ``points`` of the rows, evenly by rank, the first and the last among them."""
    return np.unique(np.linspace(0, rows - 1, min(rows, points)).round().astype(int))


def quantity_of(column: str) -> str:
    """``accuracy`` for train_accuracy and test_accuracy."""
    return column.removeprefix("train_").removeprefix("test_")


def rows_of(column: str) -> str:
    """The rows that a column is of: one of :data:`ROWS`."""
    return {"train": "training", "test": "test"}.get(column.partition("_")[0], "other")
