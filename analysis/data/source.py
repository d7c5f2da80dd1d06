"""Opening a sweep, wherever it is: in a ledger, in MLflow, or in a file that a figure keeps."""

from dataclasses import replace
from pathlib import Path

from analysis.data.kept import read_kept
from analysis.data.ledger import read_ledger
from analysis.data.sweep import Sweep, SweepError
from pipeline.ledger import Ledger
from trainables.engine.events import GEN_THRESHOLD, MEM_THRESHOLD

TRACKING_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")


def open_sweep(
    name: str, uri: str, *, train_threshold: float = MEM_THRESHOLD, test_threshold: float = GEN_THRESHOLD
) -> Sweep:
    """Open the sweep of that name::

        sweep = open_sweep("quick", "results/ledger")
        for trial in sweep.where(weight_decay=1):
            print(trial.seed, trial.event("t_gen", .95).high_steps)

    :param uri: a ledger (a folder or an address), an MLflow tracking address, or a folder with ``<name>.parquet``
        as the figures keep it.
    :raises SweepError: for an MLflow that does not answer or lacks the sweep, or a threshold it cannot evaluate.
    :raises pipeline.ledger.LedgerError: for a folder that is no ledger, or a ledger without the sweep.
    """
    for option, value in (("train", train_threshold), ("test", test_threshold)):
        if not 0 < value <= 1:
            raise SweepError(f"--{option}-threshold {value:g}: must be a fraction above 0 and at most 1")
    if is_tracking(uri):
        from analysis.data.mlflow import read_mlflow

        return read_mlflow(uri, name, train_threshold, test_threshold)
    if uri.endswith(".db") and Path(uri).is_file():
        raise SweepError(f"--from {uri}: is a file, not a ledger; for an MLflow database say sqlite:///{uri}")
    sweep = read_kept(name, Path(uri)) or read_ledger(Ledger.open(uri), name)
    asked = {"train_threshold": train_threshold, "test_threshold": test_threshold}
    return replace(sweep, trials=tuple(replace(trial, **asked) for trial in sweep.trials), **asked)  # type: ignore[arg-type]


def is_tracking(uri: str) -> bool:
    """Whether a URI is an MLflow tracking address (a server or a database) rather than a ledger's."""
    scheme, separator, _ = uri.partition("://")
    return bool(separator) and scheme.partition("+")[0] in TRACKING_SCHEMES
