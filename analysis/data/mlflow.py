"""A sweep from an MLflow tracking address, as :mod:`pipeline.tracking` wrote it.

MLflow holds the interval of each declared event at each of its thresholds as metrics, and down-sampled curves.  It is
imported on first use.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from analysis.data.sweep import ARM, MISSING, STEP, Curves, Sweep, SweepError, Trial, protocols
from pipeline.tracking.client import TrackingError, call, check, connect, is_sqlite, runs_of
from pipeline.tracking.content import KIND_TAG, SYNCED_TAG, TRIAL_ID_TAG
from trainables.engine.errors import redact
from trainables.engine.events import EventRule, Outcome, outcome_from_metrics

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

CURVE_READERS = 8
"""How many curves are asked of MLflow at once: each is a request."""
NOT_CURVES = re.compile(r"last_step$|.*_(kind|low_steps|high_steps|first_crossing_steps|relapse_steps)$")
"""Metrics that are outcomes, not probes."""


def read_mlflow(uri: str, name: str) -> Sweep:
    """The sweep of that name.

    :raises SweepError: when MLflow does not answer, or has no such sweep.
    """
    if is_sqlite(uri) and not Path(urlsplit(uri).path.removeprefix("/")).is_file():
        raise SweepError(f"--from {uri}: no such file")
    try:
        check(uri)
        return _read(connect(uri), uri, name)
    except TrackingError as error:
        raise SweepError(str(error)) from None


def _read(client: "MlflowClient", uri: str, name: str) -> Sweep:
    sheet, runs = _read_experiment(client, uri, name)
    asked = protocols(sheet["axes"], sheet["horizon_steps"])
    trials = []
    for entry in sheet["trials"]:
        known = asked.get(entry["coordinates"].get(ARM), asked[None])
        if entry["trial_id"] in runs:
            data = runs[entry["trial_id"]].data
            known = known | {
                "config": _config(data.tags),
                "state": data.tags.get("grokscape.state", MISSING),
                "stop_reason": data.tags.get("grokscape.stop_reason"),
                "last_step": int(data.metrics.get("last_step", 0)),
                "read_outcome": _outcome(data.metrics, known["events"]),
            }
        trials.append(Trial(space=sheet["name"], **entry, **known))
    return Sweep(
        name=sheet["name"],
        trials=tuple(trials),
        doc=sheet["doc"],
        horizon_steps=sheet["horizon_steps"],
        design=sheet["axes"],
        source=redact(uri),
        reader=lambda trial_ids, columns: _curves(client, uri, {id_: runs[id_] for id_ in trial_ids}, columns),
    )


def _outcome(metrics: Mapping[str, float], rules: Sequence[EventRule]) -> Outcome | None:
    """The events that a run holds, of these; None where nothing was measured."""
    if not metrics.keys() - {"last_step"}:
        return None
    held = [rule for rule in rules if all(f"{rule.key(each)}_kind" in metrics for each in rule.thresholds)]
    return outcome_from_metrics(metrics, held)


def _config(tags: Mapping[str, str]) -> dict[str, Any]:
    """A trial's config; empty where it was too long for a tag and is cut."""
    try:
        return json.loads(tags.get("grokscape.config", ""))
    except ValueError:
        return {}


def _read_experiment(client: "MlflowClient", uri: str, sweep: str) -> tuple[dict[str, Any], dict[str, "Run"]]:
    """What the sweep's own run says of it, and the trials' runs by trial id."""
    experiment = call(uri, client.get_experiment_by_name, sweep)
    if experiment is None or experiment.lifecycle_stage == "deleted":
        names = sorted(each.name for each in call(uri, client.search_experiments) if each.name != "Default")
        raise SweepError(f"{sweep}: no such sweep in MLflow at {redact(uri)}; it has: {', '.join(names) or 'none'}")
    runs = runs_of(client, uri, experiment.experiment_id)
    parents = [run for run in runs if run.data.tags.get(KIND_TAG) == "sweep"]
    again = f"python -m pipeline.tracking {sweep} writes it again from the ledger"
    if not parents:
        raise SweepError(f"{sweep} in MLflow at {redact(uri)}: the sweep's own run is missing; {again}")
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = call(uri, client.download_artifacts, parents[0].info.run_id, "sweep.json", folder)
            sheet = json.loads(Path(path).read_text(encoding="utf-8"))
        except (TrackingError, OSError, ValueError) as error:
            raise SweepError(f"{sweep} in MLflow at {redact(uri)}: sweep.json: {error}; {again}") from None
    return sheet, {
        run.data.tags[TRIAL_ID_TAG]: run
        for run in runs
        # A run without the tag is still being written: leave it out.
        if run.data.tags.get(KIND_TAG) == "trial" and SYNCED_TAG in run.data.tags
    }


def _curves(
    client: "MlflowClient", uri: str, runs: Mapping[str, "Run"], columns: Sequence[str] | None
) -> Iterator[tuple[str, Curves]]:
    """The down-sampled curves that MLflow holds, trial by trial."""
    wanted = [
        (trial_id, run.info.run_id, name)
        for trial_id, run in runs.items()
        for name in run.data.metrics
        if (columns is None or name in columns) and not NOT_CURVES.match(name)
    ]

    def read(item: tuple[str, str, str]) -> tuple[str, str, dict[int, float]]:
        trial_id, run_id, name = item
        history = call(uri, client.get_metric_history, run_id, name)
        return trial_id, name, {point.step: point.value for point in history}

    with ThreadPoolExecutor(CURVE_READERS) as pool:
        for trial_id, histories in groupby(pool.map(read, wanted), key=lambda item: item[0]):
            values = {name: points for _, name, points in histories}
            steps = sorted(set().union(*values.values()))
            curves = {name: np.array([points.get(step, np.nan) for step in steps]) for name, points in values.items()}
            yield trial_id, {STEP: np.array(steps), **curves}
