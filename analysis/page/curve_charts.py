"""The interactive page's chart of the chosen cell's curves: a probe, picked from a list, over the steps."""

import math
from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from analysis.data.sweep import STEP
from analysis.diagram.cells import Diagram
from analysis.diagram.words import trial_name
from analysis.drawing.style import GEN_COLOUR, INK, MEM_COLOUR

CURVES, PLACES = "curves", ("cell", "trial")
"""The data set's name, and its columns that say what a row is of."""
VALUES_IN_PAGE = 600_000
"""Curves are thinned so that the page holds about this many numbers."""
TRIALS_IN_PAGE = 2000
"""The page has the curves and the lines of about this number of trials, spread evenly over the cells."""
POINTS = (20, 100)
"""The least and the most points per curve."""
ROWS = {"test": GEN_COLOUR, "training": MEM_COLOUR, "other": INK}
"""The rows that a curve is of, with their colours; other: of neither split alone."""


def draw_curves(diagram: Diagram, chosen: alt.Parameter, columns: Sequence[str]) -> Any:
    """The trajectories of the chosen cell: a probe, picked from a list, over the steps.

    :param columns: the probes', of the data set :data:`CURVES`, which :func:`curves_data` makes.
    """
    shown = quantities(columns)
    first = _quantity(diagram.main.column)
    quantity = alt.param(
        name="quantity", value=first if first in shown else shown[0],
        bind=alt.binding_select(options=shown, name="curve ")
    )  # fmt: skip
    logarithm = alt.param(name="logarithm", value=False, bind=alt.binding_checkbox(name="log₁₀ of it "))
    scaled = "!isValid(datum.raw) ? null : logarithm ? (datum.raw > 0 ? log(datum.raw) / LN10 : null) : datum.raw"
    measured = {_rows(column) for column in columns}
    used = {name: colour for name, colour in ROWS.items() if name in measured}
    rows = alt.Color(
        "rows:N",
        title=None,
        scale=alt.Scale(domain=[*used], range=[*used.values()]),
        legend=alt.Legend(symbolType="stroke", symbolStrokeWidth=3),
    )
    lines = (
        alt.Chart(alt.NamedData(CURVES), name="curves")
        .transform_filter(chosen)
        .transform_filter("datum.step > 0")
        .transform_calculate(
            test="datum['test_' + quantity]", training="datum['train_' + quantity]", other="datum[quantity]"
        )
        .transform_fold([*used], as_=["rows", "raw"])
        .transform_calculate(value=scaled)
        .transform_filter("isValid(datum.value)")
        .mark_line(strokeWidth=1.6, opacity=0.85, point=alt.OverlayMarkDef(opacity=0, size=50))
        .encode(
            x=alt.X("step:Q", title="steps", scale=alt.Scale(type="log", domain=[1, diagram.tau_steps], nice=False)),
            y=alt.Y("value:Q", title=None),
            color=rows,
            detail="trial:N",
            tooltip=["trial:N", "rows:N", "step:Q", alt.Tooltip("raw:Q", title="value", format=".4g")],
        )
    )
    limits = pd.DataFrame(
        [{"raw": rule.shown, "quantity": _quantity(rule.column), "rows": _rows(rule.column)} for rule in diagram.drawn]
    )
    rules = (
        alt.Chart(limits)
        .transform_filter("quantity == datum.quantity")
        .transform_calculate(value=scaled)
        .mark_rule(strokeDash=[4, 4], opacity=0.7)
        .encode(y="value:Q", color=rows)
    )
    return (
        alt.layer(lines, rules)
        .add_params(quantity, logarithm)
        .properties(
            width=680,
            height=260,
            title=alt.Title(alt.expr("quantity + ' of the chosen cell, one line per seed'"), anchor="start"),
        )
    )


def curves_data(diagram: Diagram) -> dict[str, list[Any]]:
    """The curves by column, from which the page makes a row for each trial and step: cell, trial, step and the probes.

    Columns are shorter than rows, and rows as CSV would need a parser that the page's policy forbids.
    """
    most = trials_shown(diagram)
    place, trials = {}, []
    for index, cell in enumerate(diagram.cells):
        for number, placed in enumerate(cell.trials[:most]):
            place[placed.trial.trial_id] = (index, number, trial_name(cell, number))
            trials.append(placed.trial)
    trials.sort(key=lambda trial: trial.trial_id)  # as files have them: each is read once
    parts = []
    for trial, curves in replace(diagram.sweep, trials=tuple(trials)).iter_curves():
        within = curves[STEP] <= diagram.tau_steps
        part = {probe: values[within] for probe, values in curves.items() if probe not in PLACES}
        parts.append((place[trial.trial_id], part))
    parts.sort(key=itemgetter(0))
    measured = {probe: None for _, part in parts for probe, values in part.items() if not np.isnan(values).all()}
    columns = [name for name in measured if name != STEP]
    budget = VALUES_IN_PAGE // max(1, len(parts) * len(columns))
    data: dict[str, list[Any]] = {name: [] for name in (*PLACES, STEP, *columns)}
    for (index, _, name), part in parts:
        shown = _thinned(len(part[STEP]), min(max(budget, POINTS[0]), POINTS[1]))
        steps = part[STEP][shown].tolist()
        data["cell"] += [index] * len(steps)
        data["trial"] += [name] * len(steps)
        data[STEP] += steps
        for column in columns:
            values = part[column][shown].tolist() if column in part else [math.nan] * len(steps)
            data[column] += map(_short, values)
    return data


def trials_shown(diagram: Diagram) -> int:
    """How many trials of each cell the page shows one by one: the first ones."""
    return max(5, TRIALS_IN_PAGE // len(diagram.cells))


def _short(value: float) -> float | None:
    """Four digits, and nothing for what is not a finite number, which JSON lacks."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _thinned(rows: int, points: int) -> np.ndarray:
    """At most ``points`` of the rows, evenly by rank, the first and the last among them."""
    return np.unique(np.linspace(0, rows - 1, min(rows, points)).round().astype(int))


def quantities(columns: Sequence[str]) -> list[str]:
    """What can be shown: ``accuracy`` for train_accuracy and test_accuracy, and every other column by itself."""
    return list(dict.fromkeys(_quantity(name) for name in columns))


def _quantity(column: str) -> str:
    return column.removeprefix("train_").removeprefix("test_")


def _rows(column: str) -> str:
    """The rows that a column is of: one of :data:`ROWS`."""
    return {"train": "training", "test": "test"}.get(column.partition("_")[0], "other")
