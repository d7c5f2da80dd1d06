"""One sweep, read from a ledger or from an MLflow tracking address: the same trials and outcomes from both.

A ledger holds the trajectories, so that any threshold can be asked of it.  MLflow holds the intervals of the
standard thresholds as metrics, and down-sampled curves: another threshold is refused, with a word about the ledger.
"""

import json
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ledger import Ledger
from trainables.engine.outcome import (
    DIVERGED,
    FROZEN,
    GEN_THRESHOLD,
    MEM_THRESHOLD,
    TEST_THRESHOLDS,
    TRAIN_THRESHOLDS,
    Event,
    Outcome,
    outcome,
    outcome_from_metrics,
)

TRACKING_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
DEFAULT_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
MISSING = "missing"
"""The state of a trial that the sweep names and nobody has begun."""
ANSWER_WITHIN_S = 10.0
ACCURACIES = ("train_accuracy", "test_accuracy")

CurveReader = Callable[[Sequence[str], Sequence[str], int], pd.DataFrame]


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

    def curves(self, columns: Sequence[str], points: int) -> pd.DataFrame:
        """Columns ``trial_id``, ``step`` and those of ``columns`` that exist, at most ``points`` rows a trial."""
        measured = [trial.trial_id for trial in self.trials if trial.outcome is not None]
        return self.read_curves(measured, columns, points)


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
    return "://" in uri and uri.partition(":")[0].partition("+")[0] in TRACKING_SCHEMES


def thin(frame: pd.DataFrame, points: int) -> pd.DataFrame:
    """At most ``points`` rows of each trial, evenly by rank, the first and the last among them."""
    if frame.empty:
        return frame
    rank = frame.groupby("trial_id", sort=False).cumcount().to_numpy()
    size = frame.groupby("trial_id", sort=False)["step"].transform("size").to_numpy()
    # A row is kept where the even grid of `points` ranks over its trial moves on to a new value.
    slot = np.floor(rank * (points - 1) / np.maximum(size - 1, 1))
    before = np.floor((rank - 1) * (points - 1) / np.maximum(size - 1, 1))
    return frame[(size <= points) | (rank == 0) | (slot > before)].reset_index(drop=True)


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

    def curves(trial_ids: Sequence[str], columns: Sequence[str], points: int) -> pd.DataFrame:
        return thin(ledger.trajectories(trial_ids, columns=columns).to_pandas(), points)

    return SweepFrame(
        name=row.name,
        doc=row.doc,
        task=describe_task([_flat(json.loads(trial.config_json)) for trial in found.values()]),
        horizon_steps=row.horizon_steps,
        sampled=_sampled(row.axes_json),
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


def _sampled(axes_json: str) -> frozenset[str]:
    return frozenset(axis["path"] for axis in json.loads(axes_json).get("axes", []) if axis["kind"] == "sampled")


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested config as dotted paths."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def describe_task(configs: Sequence[Mapping[str, Any]]) -> str:
    """``ModularAddition, p 113, train fraction 0.4``: what all trials' tasks have in common, from flat configs."""
    words = []
    for path in dict.fromkeys(path for config in configs for path in config if path.startswith("task.")):
        values = {str(config.get(path)) for config in configs}
        if len(values) > 1:
            continue
        name, value = path.removeprefix("task."), values.pop()
        words.append(value.rpartition(".")[2] if name == "class" else f"{name.replace('_', ' ')} {value}")
    return ", ".join(words)
