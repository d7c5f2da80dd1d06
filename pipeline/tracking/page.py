"""How MLflow's page shows an experiment and a sweep's own run: its kind, its question, saved views, the answer.

A saved view is a tag of the experiment, as the page's own button "Save view" writes it (MLflow 3.17,
``savedViewEnvelope.ts``); the page reads it for an address with ``viewStateShareKey``, and lists it under "Views".
Whether the page is in its mode "Model training" is the browser's setting, which the address overrides; the tag of
the experiment's kind serves the list of experiments, and older pages.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pyarrow.csv

from pipeline.ledger import SweepRow
from pipeline.tracking.content import (
    CAME_PREFIX,
    CELL_TAG,
    PHASE_TAG,
    TAG_CHARACTERS,
    fitted_key,
    fitted_text,
    milliseconds,
    numbers,
)
from trainables.engine.config import canonical_json, parse_json

EXPERIMENT_TAG_CHARACTERS = 5000
TRIALS_VIEW, CELLS_VIEW = "grokscape-trials", "grokscape-cells"
PAGE_QUERY = f"workflowType=machine_learning&viewStateShareKey={TRIALS_VIEW}"
"""What an address of the page needs to show the trials with their axes and outcomes."""

CELLS_FILE, TABLE_FILE = "cells.csv", "cells.json"
TABLES_TAG = {"mlflow.loggedArtifacts": json.dumps([{"path": TABLE_FILE, "type": "table"}])}
"""Of a run with a table that the page can show; with these spaces, for which ``MlflowClient.load_table`` looks."""

NAME_PIXELS, COLUMN_PIXELS = 330, 110
SHOWN = (".png", ".html", TABLE_FILE)
"""Files that the page shows, by their ends."""
SECTION = "grokscape"
MOST_AXES, MOST_EVENTS = 4, 4
"""How many have charts and columns of their own in a view."""


def experiment_tags(sweep: SweepRow) -> dict[str, str]:
    """The tags of a sweep's experiment."""
    tags = {"mlflow.experimentKind": "custom_model_development", "mlflow.note.content": sweep.doc}
    for key, name, view in ((CELLS_VIEW, "Cells", _cells_view(sweep)), (TRIALS_VIEW, "Trials", _trials_view(sweep))):
        # The page lists the views by this time, the newest first.
        created = milliseconds(sweep.recorded_at) + (key == TRIALS_VIEW)
        for state in (view, {name: value for name, value in view.items() if not name.startswith("compareRun")}):
            text = canonical_json({"name": name, "createdAt": created, "state": canonical_json(state)})
            if len(text) <= EXPERIMENT_TAG_CHARACTERS:
                tags[f"mlflow.sharedViewState.{key}"] = text
                break
    return {key: fitted_text(text, EXPERIMENT_TAG_CHARACTERS) for key, text in tags.items()}


def description(sweep: SweepRow, answer: str, place: str, files: Sequence[str]) -> str:
    """What the sweep's own run says, in Markdown: the question, links to what the page can show, the answer, the rest.

    :param answer: lines of a table, shown as they are; those that do not fit are left out, and it is said.
    :param place: the page's address of the run's files.
    """
    # A docstring's "Result    ..." and "Cost      ..." would run together.
    question, _, more = re.sub(r"(?m)^(\w+) {2,}", r"\n**\1** ", sweep.doc).partition("\n\n")
    # The page would show a picture at its full size, and push all else out of the window.
    links = " · ".join(f"[{name}]({place}/{quote(name)})" for name in files if name.endswith(SHOWN))
    shown: list[str] = []
    room = TAG_CHARACTERS - len(question) - len(links) - len(more) - 100
    for line in answer.splitlines():
        if (room := room - len(line) - 1) < 0:
            shown.append(f"... the rest is in {CELLS_FILE}")
            break
        shown.append(line)
    table = ["\n".join(["```text", *shown, "```"])] if shown else []
    return "\n\n".join(filter(None, [question, links, *table, more]))


def table_text(path: str) -> str:
    """A CSV file as a table for MLflow's page, which shows nothing in a column with a dot in its name."""
    table = pyarrow.csv.read_csv(path)
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    names = [name.replace(".", "/") for name in table.column_names]
    return json.dumps({"columns": names, "data": [list(row) for row in rows]})


def _trials_view(sweep: SweepRow) -> dict[str, Any]:
    """A row a trial, by its first axis: the axes, the phase, when each event came, where it stood at the end."""
    axes, events, columns = _axes(sweep), _declared(sweep, "name"), _declared(sweep, "column")
    phases = [f"tags.`{PHASE_TAG}`"] if events else []
    charts: list[dict[str, Any]] = []
    for event in events[-1:]:
        charts += [_scatter(axis, event) for axis in axes]
        if len(axes) > 1:
            axis_defs = {"xaxis": _axis(axes[1]), "yaxis": _axis(axes[0]), "zaxis": _axis(event)}
            charts.append({"type": "CONTOUR", **axis_defs})
        charts.append(
            {"type": "PARALLEL", "selectedParams": [], "selectedMetrics": [*axes, event], "showAllRuns": True}
        )
    charts += [{"type": "LINE", "metricKey": column, "selectedMetricKeys": [column]} for column in columns]
    shown = [*(f"metrics.`{key}`" for key in (*axes, *events, *columns, "last_step")), *phases]
    return _rows(axes, shown) | _charts(charts)


def _cells_view(sweep: SweepRow) -> dict[str, Any]:
    """A row a cell, which are means over its seeds; bars that compare them."""
    axes, events, columns = _axes(sweep), _declared(sweep, "name"), _declared(sweep, "column")
    keys = [*(f"{CAME_PREFIX}{event}" for event in events), *columns, "last_step"]
    bars = [{"type": "BAR", "metricKey": key} for key in keys]
    group = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": CELL_TAG}]}
    shown = [f"metrics.`{key}`" for key in (*axes, *keys)]
    return {"groupBy": group, "useGroupedValuesInCharts": True, **_rows(axes, shown), **_charts(bars)}


def _rows(axes: Sequence[str], shown: Sequence[str]) -> dict[str, Any]:
    """Rows by the first axis, and their columns, in this order, beside the page's own; names wide enough to read."""
    name = "attributes.`Run Name`"
    return {
        # By date, the page would fold the trials under the sweep's own run.
        "orderByKey": f"metrics.`{axes[0]}`" if axes else "attributes.run_name",
        "orderByAsc": True,
        "selectedColumns": list(shown),
        "columnOrder": [name, *shown, "duration"],
        "columnWidths": {name: NAME_PIXELS} | dict.fromkeys(shown, COLUMN_PIXELS),
        "runsHiddenMode": "SHOW_ALL",
    }


def _charts(cards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    common = {"deleted": False, "isGenerated": False, "metricSectionId": SECTION, "runsCountToCompare": 100}
    return {
        "compareRunCharts": [{"uuid": f"{SECTION}-{at}", **common, **card} for at, card in enumerate(cards)],
        "compareRunSections": [
            {"uuid": SECTION, "name": "Question and answer", "display": True, "isReordered": True, "isGenerated": False}
        ],
        "isAccordionReordered": True,
    }


def _scatter(x: str, y: str) -> dict[str, Any]:
    return {"type": "SCATTER", "xaxis": _axis(x), "yaxis": _axis(y)}


def _axis(key: str) -> dict[str, str]:
    return {"key": key, "type": "METRIC"}


def _axes(sweep: SweepRow) -> list[str]:
    """The metrics of the numeric axes that differ between trials, in the order of the space; seeds are none."""
    values: dict[str, set[float]] = {}
    for coordinates in json.loads(sweep.coordinates_json):
        for key, value in numbers(coordinates).items():
            if key != "seed" and not key.startswith("seeds."):
                values.setdefault(key, set()).add(value)
    declared = [fitted_key(axis["path"]) for axis in _design(sweep).get("axes", ())]
    varied = [key for key, different in values.items() if len(different) > 1]
    return sorted(varied, key=lambda key: declared.index(key) if key in declared else len(declared))[:MOST_AXES]


def _declared(sweep: SweepRow, field: str) -> list[str]:
    """A field of each event that the sweep or an arm of it declares, as metrics' names, each once."""
    design = _design(sweep)
    rules = [rule for part in (design, *design.get("arms", ())) for rule in part.get("events", ())]
    return list(dict.fromkeys(fitted_key(rule[field]) for rule in rules))[:MOST_EVENTS]


def _design(sweep: SweepRow) -> dict[str, Any]:
    return parse_json(sweep.axes_json)
