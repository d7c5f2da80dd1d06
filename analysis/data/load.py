"""One sweep as the analysis sees it, read from a ledger or from MLflow: the same trials and outcomes from both.

A ledger holds the trajectories, so that any threshold can be asked of it.  What MLflow holds is told in
:mod:`analysis.data.mlflow`.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ledger import Ledger
from trainables.engine.errors import GrokscapeError
from trainables.engine.events import (
    GEN_THRESHOLD,
    MEM_THRESHOLD,
    TEST_THRESHOLDS,
    TRAIN_THRESHOLDS,
    Event,
    Outcome,
    outcome,
)

MISSING = "missing"
"""The state of a trial that the sweep names and nobody has begun."""
ACCURACIES = ("train_accuracy", "test_accuracy")
TRACKING_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")

CurveReader = Callable[[Sequence[str], Sequence[str] | None], pd.DataFrame]


class LoadError(GrokscapeError):
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
    for_curves: bool = False
    """Whether all that is begun is measured for its curves, so that no time of an event is estimated."""
    arm_horizons: Mapping[str, int] = field(default_factory=dict)
    """The horizon of each arm that was asked for."""

    @property
    def question(self) -> str:
        """What the space's docstring opens with, if that is a question; otherwise empty."""
        opening = " ".join(self.doc.strip().partition("\n\n")[0].split())
        return opening.partition("?")[0] + "?" if "?" in opening else ""

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

    :raises LoadError: for an MLflow that does not answer or lacks the sweep, or a threshold it cannot evaluate.
    :raises pipeline.ledger.LedgerError: for a folder that is no ledger, or a ledger without the sweep.
    """
    for name, value in (("train", train_threshold), ("test", test_threshold)):
        if not 0 < value <= 1:
            raise LoadError(f"--{name}-threshold {value:g}: must be a fraction above 0 and at most 1")
    if is_tracking(uri):
        from analysis.data.mlflow import load_mlflow

        return load_mlflow(uri, sweep, train_threshold, test_threshold)
    return _from_ledger(uri, sweep, train_threshold, test_threshold)


def is_tracking(uri: str) -> bool:
    """Whether a URI is an MLflow tracking address (a server or a database) rather than a ledger's."""
    scheme, found, _ = uri.partition("://")
    return bool(found) and scheme.partition("+")[0] in TRACKING_SCHEMES


# --- the ledger ---------------------------------------------------------------------------------------------------


def _from_ledger(uri: str, sweep: str, train_threshold: float, test_threshold: float) -> SweepFrame:
    if uri.endswith(".db") and Path(uri).is_file():
        raise LoadError(f"--from {uri}: is a file, not a ledger; for an MLflow database say sqlite:///{uri}")
    ledger = Ledger.open(uri)
    row = ledger.sweep(sweep)
    found = ledger.trials(row.trial_ids)
    configs = [json.loads(trial.config_json) for trial in found.values()]
    axes = json.loads(row.axes_json)
    table = ledger.trajectories(tuple(found), columns=ACCURACIES)
    thresholds: dict[str, Any] = {
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
        task=describe_task(configs),
        horizon_steps=row.horizon_steps,
        sampled=sampled_axes(axes),
        trials=trials,
        train_threshold=train_threshold,
        test_threshold=test_threshold,
        source=uri,
        read_curves=curves,
        for_curves=measured_for_curves(configs),
        arm_horizons=arm_horizons(axes),
    )


def _by_trial(table: pa.Table) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Steps, training and test accuracies of each trial; rows at which an accuracy was not measured are left out."""
    measured = table.filter(pc.and_(*(pc.is_valid(table[column]) for column in ACCURACIES)))
    ids = measured["trial_id"].to_numpy(zero_copy_only=False)
    columns = [measured[name].to_numpy() for name in ("step", *ACCURACIES)]
    edges = [0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist(), len(ids)] if len(ids) else []
    return {str(ids[start]): tuple(column[start:end] for column in columns) for start, end in pairwise(edges)}


def sampled_axes(axes: Mapping[str, Any]) -> frozenset[str]:
    """The axes that were drawn or suggested, from what ``SweepSpec.axes_json`` says."""
    return frozenset(axis["path"] for axis in axes.get("axes", ()) if axis["kind"] == "sampled")


def arm_horizons(axes: Mapping[str, Any]) -> dict[str, int]:
    """The horizon of each arm, from what ``SweepSpec.axes_json`` says; without those of which it says none."""
    arms = axes.get("arms", ())
    return {arm["name"]: arm["horizon_steps"] for arm in arms if arm.get("horizon_steps") is not None}


def measured_for_curves(configs: Iterable[Mapping[str, Any]]) -> bool:
    """Whether each of these trials is measured by ``EverySteps``, too seldom to tell when an event came."""
    classes = [config.get("measuring", {}).get("class", "") for config in configs]
    return bool(classes) and all(name == "EverySteps" for name in classes)


def describe_task(configs: Iterable[Mapping[str, Any]]) -> str:
    """``modular addition, p 113, train fraction 0.4``: what the tasks of all these configs have in common.

    Of a baseline it is the data set and the model: ``CIFAR10, ResNet18``.
    """
    configs = list(configs)
    data = [_shared_class(configs, name) for name in ("images", "text")]
    if any(data):
        return ", ".join(filter(None, [*data, _shared_class(configs, "model")]))
    tasks = [config.get("task", {}) for config in configs]
    words = []
    for name in sorted(tasks[0]) if tasks else ():
        value = tasks[0][name]
        if isinstance(value, Mapping | list) or any(task.get(name) != value for task in tasks):
            continue
        if name == "class":
            words.append(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", value.rpartition(":")[2]).lower())
        else:
            words.append(f"{name.replace('_', ' ')} {value}")
    return ", ".join(words)


def _shared_class(configs: Sequence[Mapping[str, Any]], component: str) -> str:
    """The class that a component has in all of these configs; empty where they differ, or one has no such component."""
    classes = {config.get(component, {}).get("class", "").rpartition(":")[2] for config in configs}
    return classes.pop() if len(classes) == 1 else ""
