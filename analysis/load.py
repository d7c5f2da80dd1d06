"""One sweep, read from a ledger or from an MLflow tracking address: the same trials and outcomes from both.

A ledger holds the trajectories, so that any threshold can be asked of it.  MLflow holds the intervals of the
standard thresholds as metrics, and down-sampled curves: another threshold is refused, with a word about the ledger.
"""

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ledger import Ledger
from pipeline.tracking_content import KIND_TAG, SYNCED_TAG, TRIAL_ID_TAG, flatten
from pipeline.tracking_server import TrackingError, call, check, connect, is_database, is_sqlite, shown
from trainables.engine.outcome import (
    GEN_THRESHOLD,
    MEM_THRESHOLD,
    TEST_THRESHOLDS,
    TRAIN_THRESHOLDS,
    Event,
    Outcome,
    outcome,
    outcome_from_metrics,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MISSING = "missing"
"""The state of a trial that the sweep names and nobody has begun."""
ACCURACIES = ("train_accuracy", "test_accuracy")
RUNS_PER_PAGE = 1000
CURVE_READERS = 8
"""How many curves are asked of MLflow at once: each is a request."""

CurveReader = Callable[[Sequence[str], Sequence[str] | None], pd.DataFrame]


class LoadError(ValueError):
    """A source that cannot be read, or cannot answer: one clear line."""


@dataclass(frozen=True)
class Trial:
    """One trial of the sweep; ``outcome`` is None where nothing was measured."""

    trial_id: str
    coordinates: Mapping[str, Any]
    state: str
    stop_reason: str | None
    last_step: int
    outcome: Outcome | None

    def complete(self, tau_steps: float) -> bool:
        """Whether everything up to tau is known: followed that far, or ended for a reason that settles it."""
        return self.outcome is not None and (self.last_step >= tau_steps or self.stop_reason is not None)


@dataclass(frozen=True)
class SweepFrame:
    """A sweep as the analysis sees it, whatever it was read from."""

    name: str
    doc: str
    """The docstring of the search space."""
    task: str
    """The task in words, for subtitles."""
    horizon_steps: int
    sampled: frozenset[str]
    """The axes that were drawn or suggested, not listed."""
    trials: tuple[Trial, ...]
    """Every trial of the sweep in its order, the missing ones too."""
    train_threshold: float
    test_threshold: float
    source: str
    read_curves: CurveReader

    def axes(self) -> tuple[str, ...]:
        """Every coordinate's name, in the order in which the trials bring them up."""
        return tuple(dict.fromkeys(name for trial in self.trials for name in trial.coordinates))

    def t_mem(self, trial: Trial) -> Event:
        """When a measured trial reached the chosen training accuracy."""
        assert trial.outcome is not None
        return trial.outcome.event("t_mem", self.train_threshold)

    def t_gen(self, trial: Trial) -> Event:
        """When a measured trial reached the chosen test accuracy."""
        assert trial.outcome is not None
        return trial.outcome.event("t_gen", self.test_threshold)

    def curves(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Columns ``trial_id``, ``step`` and every probe, or those of ``columns``, that was measured at all.

        From MLflow they are as coarse as it holds them; NaN is what was not measured, or is not a number.
        """
        measured = [trial.trial_id for trial in self.trials if trial.outcome is not None]
        frame = self.read_curves(measured, columns)
        return frame.dropna(axis="columns", how="all").sort_values(["trial_id", "step"], ignore_index=True)


def load(
    uri: str, sweep: str, *, train_threshold: float = MEM_THRESHOLD, test_threshold: float = GEN_THRESHOLD
) -> SweepFrame:
    """The sweep of that name from a ledger's URI or an MLflow tracking address.

    :raises LoadError: for a source that does not answer, an unknown sweep, or a threshold it cannot evaluate.
    :raises pipeline.ledger.LedgerError: for a folder that is no ledger, or a ledger without the sweep.
    """
    for name, value in (("train", train_threshold), ("test", test_threshold)):
        if not 0 < value <= 1:
            raise LoadError(f"--{name}-threshold {value:g}: must be a fraction above 0 and at most 1")
    if is_tracking(uri):
        return _from_mlflow(uri, sweep, train_threshold, test_threshold)
    return _from_ledger(uri, sweep, train_threshold, test_threshold)


def is_tracking(uri: str) -> bool:
    """Whether a URI is an MLflow tracking address (a server or a database) rather than a ledger's."""
    return uri.startswith(("http://", "https://")) or is_database(uri)


# --- the ledger ---------------------------------------------------------------------------------------------------


def _from_ledger(uri: str, sweep: str, train_threshold: float, test_threshold: float) -> SweepFrame:
    if uri.endswith(".db") and Path(uri).is_file():
        raise LoadError(f"--from {uri}: is a file, not a ledger; for an MLflow database say sqlite:///{uri}")
    ledger = Ledger.open(uri)
    row = ledger.sweep(sweep)
    found = ledger.trials(row.trial_ids)
    table = ledger.trajectories(tuple(found), columns=ACCURACIES)
    thresholds = {
        "train_thresholds": tuple(sorted({*TRAIN_THRESHOLDS, train_threshold})),
        "test_thresholds": tuple(sorted({*TEST_THRESHOLDS, test_threshold})),
    }
    outcomes = {
        trial_id: outcome(*series, stop_reason=found[trial_id].stop_reason, **thresholds)
        for trial_id, series in _by_trial(table).items()
    }
    trials = tuple(
        Trial(
            trial_id=trial_id,
            coordinates=coordinates,
            state=found[trial_id].state if trial_id in found else MISSING,
            stop_reason=found[trial_id].stop_reason if trial_id in found else None,
            last_step=found[trial_id].last_step if trial_id in found else 0,
            outcome=outcomes.get(trial_id),
        )
        for trial_id, coordinates in zip(row.trial_ids, json.loads(row.coordinates_json), strict=True)
    )

    def curves(trial_ids: Sequence[str], columns: Sequence[str] | None) -> pd.DataFrame:
        return ledger.trajectories(trial_ids, columns=columns).to_pandas()

    return SweepFrame(
        name=row.name,
        doc=row.doc,
        task=describe_task(flatten(json.loads(trial.config_json)) for trial in found.values()),
        horizon_steps=row.horizon_steps,
        sampled=_sampled(json.loads(row.axes_json)),
        trials=trials,
        train_threshold=train_threshold,
        test_threshold=test_threshold,
        source=uri,
        read_curves=curves,
    )


def _by_trial(table: pa.Table) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Steps, training and test accuracies of each trial; rows at which an accuracy was not measured are left out."""
    measured = table.filter(pc.and_(*(pc.is_valid(table[column]) for column in ACCURACIES)))
    ids = measured["trial_id"].to_numpy(zero_copy_only=False)
    columns = [measured[name].to_numpy() for name in ("step", *ACCURACIES)]
    edges = [0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist(), len(ids)] if len(ids) else []
    return {str(ids[start]): tuple(column[start:end] for column in columns) for start, end in pairwise(edges)}


def _sampled(axes: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(axis["path"] for axis in axes.get("axes", ()) if axis["kind"] == "sampled")


def describe_task(configs: Iterable[Mapping[str, str]]) -> str:
    """``modular addition, p 113, train fraction 0.4``: what the tasks of all flattened configs have in common."""
    told = [{path: text for path, text in config.items() if path.partition(".")[0] == "task"} for config in configs]
    words = []
    for path in sorted(told[0]) if told else ():
        if any(config.get(path) != told[0][path] for config in told):
            continue
        if path == "task":
            words.append(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", told[0][path]).lower())
        else:
            words.append(f"{path.removeprefix('task.').replace('_', ' ')} {told[0][path]}")
    return ", ".join(words)


# --- MLflow -------------------------------------------------------------------------------------------------------


def _from_mlflow(uri: str, sweep: str, train_threshold: float, test_threshold: float) -> SweepFrame:
    for name, value, standard in (
        ("train", train_threshold, TRAIN_THRESHOLDS),
        ("test", test_threshold, TEST_THRESHOLDS),
    ):
        if value not in standard:
            raise LoadError(
                f"--{name}-threshold {value:g}: MLflow holds the outcomes of {', '.join(map(str, standard))} only; "
                "any other threshold can be asked of the ledger (--from its folder)"
            )
    if is_sqlite(uri) and not Path(urlsplit(uri).path.removeprefix("/")).is_file():
        raise LoadError(f"--from {uri}: there is no such file")
    check(uri)
    client = connect(uri)
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

    return SweepFrame(
        name=sheet["name"],
        doc=sheet["doc"],
        task=describe_task(run.data.params for run in runs.values()),
        horizon_steps=sheet["horizon_steps"],
        sampled=_sampled(sheet["axes"]),
        trials=tuple(trials),
        train_threshold=train_threshold,
        test_threshold=test_threshold,
        source=shown(uri),
        read_curves=curves,
    )


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
        if (columns is None or name in columns) and not re.match(r"last_step$|t_(mem|gen)_", name)
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
