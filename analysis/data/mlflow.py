"""One sweep from an MLflow tracking address, as :mod:`pipeline.tracking` has shown it there.

MLflow holds the interval of each event at each standard threshold as metrics, and down-sampled curves; another
threshold is refused, with a word about the ledger.  MLflow itself is imported on first use.
"""

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pandas as pd

from analysis.data.load import (
    MISSING,
    LoadError,
    SweepFrame,
    Trial,
    arm_horizons,
    describe_task,
    measured_for_curves,
    sampled_axes,
)
from pipeline.tracking.client import TrackingError, call, check, connect, is_sqlite, shown
from pipeline.tracking.content import KIND_TAG, SYNCED_TAG, TRIAL_ID_TAG
from trainables.engine.events import TEST_THRESHOLDS, TRAIN_THRESHOLDS, outcome_from_metrics

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUNS_PER_PAGE = 1000
CURVE_READERS = 8
"""How many curves are asked of MLflow at once: each is a request."""
NOT_CURVES = re.compile(r"last_step$|t_(mem|gen)_")
"""Metrics that are outcomes, not probes."""


def load_mlflow(uri: str, sweep: str, train_threshold: float, test_threshold: float) -> SweepFrame:
    """The sweep of that name.

    :raises LoadError: when MLflow does not answer, has no such sweep, or was asked for another threshold.
    """
    _check_thresholds(train_threshold, test_threshold)
    if is_sqlite(uri) and not Path(urlsplit(uri).path.removeprefix("/")).is_file():
        raise LoadError(f"--from {uri}: there is no such file")
    try:
        check(uri)
        return _load(connect(uri), uri, sweep, train_threshold, test_threshold)
    except TrackingError as error:
        raise LoadError(str(error)) from None


def _check_thresholds(train_threshold: float, test_threshold: float) -> None:
    for name, value, standard in (
        ("train", train_threshold, TRAIN_THRESHOLDS),
        ("test", test_threshold, TEST_THRESHOLDS),
    ):
        if value not in standard:
            raise LoadError(
                f"--{name}-threshold {value:g}: MLflow holds the outcomes of {', '.join(map(str, standard))} only; "
                "any other threshold can be asked of the ledger (--from its folder)"
            )


def _load(client: "MlflowClient", uri: str, sweep: str, train_threshold: float, test_threshold: float) -> SweepFrame:
    sheet, runs = _read_experiment(client, uri, sweep)
    trials = []
    for entry in sheet["trials"]:
        run = runs.get(entry["trial_id"])
        metrics = run.data.metrics if run else {}
        trials.append(
            Trial(
                trial_id=entry["trial_id"],
                coordinates=entry["coordinates"],
                state=run.data.tags.get("grokscape.state", MISSING) if run else MISSING,
                stop_reason=run.data.tags.get("grokscape.stop_reason") if run else None,
                last_step=int(metrics.get("last_step", 0)),
                outcome=outcome_from_metrics(metrics) if _holds_outcome(metrics) else None,
            )
        )

    def curves(trial_ids: Sequence[str], columns: Sequence[str] | None) -> pd.DataFrame:
        return _read_curves(client, uri, {id_: runs[id_] for id_ in trial_ids}, columns)

    configs = _configs(runs)
    return SweepFrame(
        name=sheet["name"],
        doc=sheet["doc"],
        task=describe_task(configs),
        horizon_steps=sheet["horizon_steps"],
        sampled=sampled_axes(sheet["axes"]),
        trials=tuple(trials),
        train_threshold=train_threshold,
        test_threshold=test_threshold,
        source=shown(uri),
        read_curves=curves,
        for_curves=measured_for_curves(configs),
        arm_horizons=arm_horizons(sheet["axes"]),
    )


def _configs(runs: Mapping[str, "Run"]) -> list[dict[str, Any]]:
    """The trials' configs, without those that were too long for a tag and are cut."""
    found = []
    for run in runs.values():
        try:
            found.append(json.loads(run.data.tags.get("grokscape.config", "")))
        except ValueError:
            continue
    return found


def _holds_outcome(metrics: Mapping[str, float]) -> bool:
    return any(name.endswith("_kind") for name in metrics)


def _read_experiment(client: "MlflowClient", uri: str, sweep: str) -> tuple[dict[str, Any], dict[str, "Run"]]:
    """What the sweep's own run says of it, and the trials' runs by trial id."""
    experiment = call(uri, client.get_experiment_by_name, sweep)
    if experiment is None or experiment.lifecycle_stage == "deleted":
        names = sorted(found.name for found in call(uri, client.search_experiments) if found.name != "Default")
        raise LoadError(f"{sweep}: no such sweep in MLflow at {shown(uri)}; there: {', '.join(names) or 'none'}")
    runs: list[Run] = []
    token = None
    while True:
        page = call(uri, client.search_runs, [experiment.experiment_id], max_results=RUNS_PER_PAGE, page_token=token)
        runs += page
        token = page.token
        if not token:
            break
    parents = [run for run in runs if run.data.tags.get(KIND_TAG) == "sweep"]
    again = f"python -m pipeline.tracking {sweep} writes it again from the ledger"
    if not parents:
        raise LoadError(f"{sweep} in MLflow at {shown(uri)}: the sweep's own run is missing; {again}")
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = call(uri, client.download_artifacts, parents[0].info.run_id, "sweep.json", folder)
            sheet = json.loads(Path(path).read_text(encoding="utf-8"))
        except (TrackingError, OSError, ValueError) as error:
            raise LoadError(f"{sweep} in MLflow at {shown(uri)}: sweep.json: {error}; {again}") from None
    return sheet, {
        run.data.tags[TRIAL_ID_TAG]: run
        for run in runs
        # A run without the tag is being written: it is not there yet.
        if run.data.tags.get(KIND_TAG) == "trial" and SYNCED_TAG in run.data.tags
    }


def _read_curves(
    client: "MlflowClient", uri: str, runs: Mapping[str, "Run"], columns: Sequence[str] | None
) -> pd.DataFrame:
    """The down-sampled curves that MLflow holds: a row for each trial and step."""
    wanted = [
        (id_, run, name)
        for id_, run in runs.items()
        for name in run.data.metrics
        if (columns is None or name in columns) and not NOT_CURVES.match(name)
    ]

    def read(item: tuple[str, "Run", str]) -> pd.DataFrame:
        trial_id, run, name = item
        history = call(uri, client.get_metric_history, run.info.run_id, name)
        values = {point.step: point.value for point in history}
        return pd.DataFrame(
            {"trial_id": trial_id, "step": list(values), "column": name, "value": list(values.values())}
        )

    with ThreadPoolExecutor(CURVE_READERS) as pool:
        parts = list(pool.map(read, wanted))
    if not parts:
        return pd.DataFrame({"trial_id": [], "step": []})
    long = pd.concat(parts, ignore_index=True).set_index(["trial_id", "step", "column"])["value"]
    return long.unstack("column").rename_axis(columns=None).reset_index()  # noqa: PD010 (nothing to aggregate)
