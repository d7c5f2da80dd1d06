"""A sweep from an MLflow tracking address, as :mod:`pipeline.tracking` wrote it.

MLflow holds the interval of each declared event at each of its thresholds as metrics, and down-sampled curves.  It is
imported on first use.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.data.sweep import ARM, STEP, Curves, Sweep, SweepError, Trial
from pipeline.ledger.soundness import MOST_STEPS
from pipeline.ledger.sweep_row import protocols
from pipeline.tracking.client import TrackingError, at_home, call, check, connect, is_sqlite, runs_of, sqlite_path
from pipeline.tracking.content import (
    CAME_PREFIX,
    DETAIL_PREFIX,
    KIND_TAG,
    SYNCED_TAG,
    TRIAL_ID_TAG,
    fitted_key,
    fitted_name,
    numbers,
    read_sheet,
)
from trainables.engine.config import parse_json
from trainables.engine.errors import GrokscapeError, one_line, redact
from trainables.engine.events import KINDS, TIMES, EventRule, Outcome, StopReason, outcome_from_metrics
from trainables.runtime.rows import TrialState

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

CURVE_READERS = 8
"""How many curves are asked of MLflow at once: each is a request."""
MOST_NAMES = 20
"""How many of MLflow's experiments a message lists."""
OUTCOME_PARTS = ("kind", *TIMES)
NOT_CURVES = re.compile(
    rf"last_step$|{re.escape(CAME_PREFIX)}|{re.escape(DETAIL_PREFIX)}|.*_({'|'.join(OUTCOME_PARTS)})$"
)
"""Metrics that are outcomes, not probes; the axes and the names of events are others."""


def read_mlflow(uri: str, name: str) -> Sweep:
    """The sweep of that name, from its tags and metrics alone: a run's files may be gone, or somebody else's.

    :raises SweepError: when MLflow does not answer, has no such sweep, or has one that is not ours.
    """
    uri = at_home(uri)
    if is_sqlite(uri) and not sqlite_path(uri).is_file():
        raise SweepError(f"--from {uri}: no such file")
    try:
        check(uri)
        return _read(connect(uri), uri, name)
    except TrackingError as error:
        raise SweepError(str(error)) from None


def _read(client: "MlflowClient", uri: str, name: str) -> Sweep:
    runs = _runs(client, uri, name)

    def unsound(what: str, reason: str, *options: str) -> SweepError:
        again = shlex.join(["python", "-m", "pipeline.tracking", name, "--mlflow-uri", redact(uri), *options])
        return SweepError(f"{name} in MLflow at {redact(uri)}: {what}: {reason}; {again} writes it from the ledger")

    own = [run for run in runs if run.data.tags.get(KIND_TAG) == "sweep"]
    if not own:
        raise unsound("the sweep's own run", "is missing")
    first = min(own, key=lambda run: (run.info.start_time, run.info.run_id))
    # Tags and metrics of somebody else can be anything, and so can what is raised for them.
    try:
        row = read_sheet(first.data.tags, name)
        design = parse_json(row.axes_json)
        asked = protocols(design, row.horizon_steps)
    except Exception as error:
        raise unsound("the sweep's own run", _reason(error)) from None
    begun = {
        run.data.tags[TRIAL_ID_TAG]: run
        for run in runs
        # A run without the tag is still being written: leave it out.
        if run.data.tags.get(KIND_TAG) == "trial" and {TRIAL_ID_TAG, SYNCED_TAG} <= run.data.tags.keys()
    }
    trials = []
    others: set[str] = set()
    for trial_id, coordinates in zip(row.trial_ids, parse_json(row.coordinates_json), strict=True):
        known = asked.get(coordinates.get(ARM), asked[None])
        if trial_id in begun:
            run = begun[trial_id]
            try:
                known = known | _trial(run.data.tags, run.data.metrics, coordinates, known["events"])
            except Exception as error:
                raise unsound(f"run {run.info.run_id}", _reason(error), "--anew") from None
        trials.append(Trial(trial_id=trial_id, space=name, coordinates=coordinates, **known))
        others |= {*numbers(coordinates), *(fitted_key(rule.name) for rule in known["events"])}
    return Sweep(
        name=name,
        trials=tuple(trials),
        doc=row.doc,
        horizon_steps=row.horizon_steps,
        design=design,
        source=redact(uri),
        reader=lambda trial_ids, columns: _curves(client, uri, {id_: begun[id_] for id_ in trial_ids}, columns, others),
    )


def _reason(error: Exception) -> str:
    plain = isinstance(error, ValueError | GrokscapeError)
    return one_line(error, 200) if plain else f"{type(error).__name__}: {one_line(error, 200)}"


def _runs(client: "MlflowClient", uri: str, sweep: str) -> "list[Run]":
    """Every run of the sweep's experiment."""
    experiment = call(uri, client.get_experiment_by_name, fitted_name(sweep))
    if experiment is None or experiment.lifecycle_stage == "deleted":
        names = sorted(each.name for each in call(uri, client.search_experiments) if each.name != "Default")
        held = ", ".join([*names[:MOST_NAMES], *(["..."] if len(names) > MOST_NAMES else [])]) or "none"
        raise SweepError(f"{sweep}: no such sweep in MLflow at {redact(uri)}; it has: {held}")
    return runs_of(client, uri, experiment.experiment_id)


def _trial(
    tags: Mapping[str, str], metrics: Mapping[str, float], coordinates: Mapping[str, Any], rules: Sequence[EventRule]
) -> dict[str, Any]:
    """What a run says of its trial: fields of :class:`Trial`.

    :raises ValueError: for what no run of ours says.
    """
    reason = tags.get("grokscape.stop_reason")
    return {
        "config": _config(tags.get("grokscape.config", "")),
        "state": TrialState(tags.get("grokscape.state", "")),
        "stop_reason": reason and StopReason(reason),
        "last_step": _step(metrics.get("last_step", 0)),
        "error": tags.get("grokscape.error"),
        "read_outcome": _outcome(metrics, rules) if metrics.keys() - numbers(coordinates) - {"last_step"} else None,
        "read_finals": _finals(metrics, {*numbers(coordinates), *(fitted_key(rule.name) for rule in rules)})
        | {rule.column: metrics[key] for rule in rules if (key := fitted_key(rule.column)) in metrics},
    }


def _finals(metrics: Mapping[str, float], others: Set[str]) -> dict[str, float]:
    """The last value of each probe: what MLflow has of a metric with its run."""
    return {key: value for key, value in metrics.items() if key not in others and not NOT_CURVES.match(key)}


def _outcome(metrics: Mapping[str, float], rules: Sequence[EventRule]) -> Outcome:
    """The events that a run holds, of these."""
    held: dict[str, float] = {}
    for rule in rules:
        for key in (f"{rule.key(threshold)}_{part}" for threshold in rule.thresholds for part in OUTCOME_PARTS):
            # Without the prefix: a sync by version 2 or before wrote it.
            for written in (fitted_key(f"{DETAIL_PREFIX}{key}"), fitted_key(key)):
                if written in metrics:
                    held.setdefault(key, metrics[written])
    for key, value in held.items():
        if key.endswith("_kind") and value not in range(len(KINDS)):
            raise ValueError(f"{key} = {value}: must be an integer below {len(KINDS)}")
        if key.endswith("_low_steps"):
            _step(value)
    return outcome_from_metrics(
        held, [rule for rule in rules if all(f"{rule.key(each)}_kind" in held for each in rule.thresholds)]
    )


def _step(value: float) -> int:
    if not (0 <= value < MOST_STEPS and value == int(value)):
        raise ValueError(f"{value} is no step: must be an integer in [0, 2^40)")
    return int(value)


def _config(text: str) -> dict[str, Any]:
    """A trial's config; empty where it was too long for a tag and is cut, or is no config."""
    try:
        config = parse_json(text)
    except ValueError:
        return {}
    return config if isinstance(config, dict) else {}


def _curves(
    client: "MlflowClient", uri: str, runs: Mapping[str, "Run"], columns: Sequence[str] | None, others: Set[str]
) -> Iterator[tuple[str, Curves]]:
    """The down-sampled curves that MLflow holds, trial by trial.

    :param others: metrics that are no curves, beside those of :data:`NOT_CURVES`.
    """
    names = None if columns is None else {fitted_key(name): name for name in columns}
    wanted = [
        (trial_id, run.info.run_id, key, key if names is None else names[key])
        for trial_id, run in runs.items()
        for key in run.data.metrics
        if (names is None or key in names) and key not in others and not NOT_CURVES.match(key)
    ]

    def read(item: tuple[str, str, str, str]) -> tuple[str, str, dict[int, float]]:
        trial_id, run_id, key, name = item
        history = call(uri, client.get_metric_history, run_id, key)
        return trial_id, name, {point.step: point.value for point in history}

    with ThreadPoolExecutor(CURVE_READERS) as pool:
        for trial_id, histories in groupby(pool.map(read, wanted), key=lambda item: item[0]):
            values = {name: points for _, name, points in histories}
            steps = sorted(set().union(*values.values()))
            curves = {name: np.array([points.get(step, np.nan) for step in steps]) for name, points in values.items()}
            yield trial_id, {STEP: np.array(steps), **curves}
