"""Opening a sweep, wherever it is: in a ledger, in MLflow, or in a file that a figure keeps."""

from collections.abc import Sequence
from pathlib import Path

from analysis.data.kept import read_kept
from analysis.data.ledger import read_ledger
from analysis.data.sweep import Sweep, SweepError
from pipeline.ledger import Ledger
from trainables.engine.events import EventRule

TRACKING_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")


def open_sweep(name: str, uri: str | Ledger, events: Sequence[EventRule] = ()) -> Sweep:
    """Open the sweep of that name::

        sweep = open_sweep("quick", "results/ledger")
        for trial in sweep.where(weight_decay=1):
            print(trial.seed, trial.event("t_gen").high_steps)

    :param uri: a ledger (opened, a folder or an address), an MLflow tracking address, or a folder with
        ``<name>.parquet`` as the figures keep it.
    :param events: events to take beside the declared ones: see :meth:`Sweep.with_events`.
    :raises SweepError: for an MLflow that does not answer or lacks the sweep, or events that it does not hold.
    :raises pipeline.ledger.LedgerError: for a folder that is no ledger, or a ledger without the sweep.
    """
    if isinstance(uri, Ledger):
        sweep = read_ledger(uri, name)
    elif is_tracking(uri):
        from analysis.data.mlflow import read_mlflow

        sweep = read_mlflow(uri, name)
    elif uri.endswith(".db") and Path(uri).is_file():
        raise SweepError(f"--from {uri}: is a file, not a ledger; for an MLflow database say sqlite:///{uri}")
    else:
        sweep = read_kept(name, Path(uri)) or read_ledger(Ledger.open(uri), name)
    return sweep.with_events(*events) if events else sweep


def is_tracking(uri: str) -> bool:
    """Whether a URI is an MLflow tracking address (a server or a database) rather than a ledger's."""
    scheme, separator, _ = uri.partition("://")
    return bool(separator) and scheme.partition("+")[0] in TRACKING_SCHEMES
