"""What an MLflow database holds, for the tests: runs by trial id, curves, copies of the database."""

import sqlite3
from contextlib import closing
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from pipeline.tracking.content import DETAIL_PREFIX
from trainables.engine.events import ACCURACY_EVENTS, Outcome, outcome_from_metrics


def copied(database: Path, to: Path) -> str:
    """The address of a copy; copying the bytes would leave out what the write-ahead log holds."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)
    return f"sqlite:///{to}"


def trial_runs(uri: str, sweep: str = "sample") -> dict[str, Run]:
    """The trials' runs by trial id."""
    return {
        run.data.tags["grokscape.trial_id"]: run
        for run in all_runs(uri, sweep)
        if run.data.tags.get("grokscape.kind") == "trial"
    }


def all_runs(uri: str, sweep: str = "sample", view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(sweep)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], run_view_type=view))


def curve(uri: str, run: Run, key: str) -> dict[int, float]:
    history = MlflowClient(tracking_uri=uri).get_metric_history(run.info.run_id, key)
    assert len({metric.step for metric in history}) == len(history), "a step is there twice"
    return {metric.step: metric.value for metric in history}


def whole(uri: str, run: Run) -> dict[str, list[tuple[int, int, str]]]:
    """Every value of every metric that a run holds."""
    client = MlflowClient(tracking_uri=uri)
    return {
        key: sorted((m.step, m.timestamp, repr(m.value)) for m in client.get_metric_history(run.info.run_id, key))
        for key in run.data.metrics
    }


def outcome_of(run: Run) -> Outcome:
    """The outcome of the standard events that a run holds."""
    metrics = {key.removeprefix(DETAIL_PREFIX): value for key, value in run.data.metrics.items()}
    return outcome_from_metrics(metrics, ACCURACY_EVENTS)
