"""Clients of an MLflow tracking server or database: addresses, bounded waits, one-line errors, no log noise.

MLflow is imported on first use (it takes seconds).  Unless the environment says otherwise, it gives up on a dead
server after about ten seconds instead of four minutes, and sends no telemetry.
"""

import logging
import os
import re
import shlex
import socket
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from filelock import FileLock

from trainables.engine.errors import GrokscapeError, one_line, redact

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUNS_PER_PAGE = 1000
ARTIFACTS_FOLDER = "mlartifacts"
LOCATION_CHARACTERS = 200 - len("/") - 32 - len("/artifacts")
"""A database keeps 200 characters of the address of a run's files."""

ENVIRONMENT = {
    # Waits of 0, 2 and 4 s between the attempts: enough for a server that restarts.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
NOISY_LOGGERS = ("mlflow", "alembic", "sqlalchemy", "urllib3.connectionpool")


class TrackingError(GrokscapeError):
    """MLflow cannot be used or refused a request, in one line."""


def at_home(uri: str) -> str:
    """A SQLite address with the home folder in the place of ``~``, which MLflow takes for the name of a folder."""
    return re.sub(r"^(sqlite(?:\+\w+)?:///)(~.*)", lambda match: match[1] + os.path.expanduser(match[2]), uri)


def connect(uri: str) -> "MlflowClient":
    """Make a client of the tracking server or database at ``uri``; it sends nothing yet.

    :raises TrackingError: for an address that can never work.
    """
    _check_form(uri)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in NOISY_LOGGERS:
        # MLflow logs, with a traceback, what it then raises; we report the exception.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if not is_sqlite(uri):
        return call(uri, MlflowClient, tracking_uri=uri)
    return call(uri, _sqlite_client, uri)


def check(uri: str, timeout_s: float = 15) -> None:
    """Check that MLflow answers at ``uri``; for SQLite, that the file is usable or can be created.

    :raises TrackingError: within ``timeout_s`` when it cannot be used.
    """
    _check_form(uri)
    artifact_location(uri)
    if is_sqlite(uri):
        _check_sqlite(uri)
        return
    deadline = time.monotonic() + timeout_s
    _check_port(uri, timeout_s)
    error: list[TrackingError] = []

    def ask() -> None:
        try:
            if is_database(uri):
                call(uri, _connect_database, uri)
            else:
                call(uri, connect(uri).search_experiments, max_results=1)
        except TrackingError as problem:
            error.append(problem)

    # Some drivers wait for minutes and have no timeout to set: the thread is abandoned then.
    thread = threading.Thread(target=ask, name="mlflow-check", daemon=True)
    thread.start()
    thread.join(deadline - time.monotonic())
    if thread.is_alive():
        raise TrackingError(f"MLflow at {redact(uri)}: no answer within {timeout_s:g} s")
    if error:
        raise error[0]


def call(uri: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``function`` and raise every failure of MLflow, the network or the database as a TrackingError."""
    try:
        return function(*args, **kwargs)
    except TrackingError:
        raise
    except Exception as error:  # A database or a server of somebody else brings MLflow to raise anything.
        text = one_line(error, 400, address=uri.rstrip("/"))
        refused = re.search(r"Connection refused|Connection reset|Connection aborted|Name or service not known", text)
        if refused:
            text = f"cannot be reached ({refused[0].lower()})"
        elif isinstance(error, ImportError) and is_database(uri):
            text = f"needs a driver that is not installed ({text}); for PostgreSQL: pip install 'psycopg[binary]'"
        elif type(error).__module__ == "builtins" and not isinstance(error, OSError):
            text = f"{type(error).__name__}: {text}"
        raise TrackingError(f"MLflow at {redact(uri)}: {text}") from None


def runs_of(client: "MlflowClient", uri: str, experiment_id: str, where: str = "") -> "list[Run]":
    """List every run of an experiment, page by page.

    :param where: MLflow's filter; without, 10 000 runs take ten seconds, for each comes with all that it has.
    """
    runs: list[Run] = []
    token = None
    while True:
        page = call(uri, client.search_runs, [experiment_id], where, max_results=RUNS_PER_PAGE, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs


def artifact_location(uri: str) -> str | None:
    """Return where the files of a new experiment go: beside a SQLite file, under ``results`` for another database.

    A server chooses itself: None.

    :raises TrackingError: for a folder whose name a database cannot keep.
    """
    if not is_database(uri):
        return None
    folder = sqlite_path(uri).resolve().parent if is_sqlite(uri) else Path("results").resolve()
    location = (folder / ARTIFACTS_FOLDER).as_uri()
    if len(location) > LOCATION_CHARACTERS and not is_sqlite(uri):
        raise TrackingError(
            f"MLflow at {redact(uri)}: the folder of the figures, {location}, has {len(location)} characters; must be "
            f"at most {LOCATION_CHARACTERS}: run in a folder with a shorter name"
        )
    return location


def browse_hint(uri: str, experiment_id: str, query: str = "") -> str:
    """Say how to see an experiment: the web address at a server, else the command that starts a server.

    :param query: what the address says to the page.
    """
    page, shown = f"/#/experiments/{experiment_id}/runs{query and '?'}{query}", redact(uri)
    if not is_database(uri):
        return shown.rstrip("/") + page
    left_out = "" if shown == uri else ", with the user, password and query of the address"
    return f"mlflow server --backend-store-uri {shlex.quote(shown)}  # http://127.0.0.1:5000{page}{left_out}"


def is_sqlite(uri: str) -> bool:
    return uri.startswith("sqlite:")


def is_database(uri: str) -> bool:
    """Whether ``uri`` is a database that MLflow writes to directly, without a server."""
    return urlsplit(uri).scheme.partition("+")[0] in ("sqlite", "postgresql", "mysql", "mssql")


def _check_form(uri: str) -> None:
    scheme = urlsplit(uri).scheme
    if scheme in ("", "file"):
        raise TrackingError(
            f"MLflow at {redact(uri)!r}: MLflow no longer keeps runs in plain files; allowed: http(s)://HOST:PORT, "
            "sqlite:///PATH.db, postgresql://..."
        )
    if is_sqlite(uri) and not sqlite_path(uri).name:
        raise TrackingError(f"MLflow at {redact(uri)!r}: names no file; allowed: sqlite:///PATH.db")


def sqlite_path(uri: str) -> Path:
    """Parse an address: ``sqlite:///results/mlflow.db`` is a relative path, ``sqlite:////data/mlflow.db`` absolute."""
    return Path(re.sub(r"^sqlite(\+\w+)?:(///)?", "", uri).partition("?")[0])


def _sqlite_client(uri: str) -> "MlflowClient":
    """Make a client of a file, whose tables MLflow creates with it: two at once would spoil them for good."""
    from mlflow import MlflowClient

    path = sqlite_path(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    writable = os.access(path.parent, os.W_OK)
    with FileLock(path.with_name(f".{path.name}.lock")) if writable else nullcontext():
        _make_sqlite(path)
        return MlflowClient(tracking_uri=uri)


def _make_sqlite(path: Path) -> None:
    """Create a file in write-ahead mode: half the waits for the disk, and a web page never blocks the writer.

    An existing file keeps the mode that its owner chose.
    """
    if not path.exists():
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA journal_mode=WAL")


def _check_sqlite(uri: str) -> None:
    path = sqlite_path(uri)
    if path.exists():
        if not path.is_file() or not os.access(path, os.R_OK | os.W_OK):
            raise TrackingError(f"MLflow at {redact(uri)}: {path} is not a file that can be read and written")
        try:
            with closing(sqlite3.connect(path, timeout=10)) as database:
                names = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise TrackingError(
                f"MLflow at {redact(uri)}: {path} is not a SQLite database ({one_line(error)})"
            ) from None
        if names and "experiments" not in names:
            raise TrackingError(f"MLflow at {redact(uri)}: {path} is a database, but not MLflow's")
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise TrackingError(f"MLflow at {redact(uri)}: {folder} is not a writable folder")


def _connect_database(uri: str) -> None:
    """Connect without MLflow, which would first create its tables (slower than a check may be).

    While it waits for one server, it also blocks every other client in this process.
    """
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 1"))


def _check_port(uri: str, timeout_s: float) -> None:
    """Fail at once where nobody listens, before MLflow is imported and retries."""
    address = urlsplit(uri)
    try:
        port = address.port or {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306}.get(
            address.scheme.partition("+")[0]
        )
    except ValueError:  # its text may hold a part of the password
        reason = "the port is not a number; in a password, write / as %2F, @ as %40 and : as %3A"
        raise TrackingError(f"MLflow at {redact(uri)}: {reason}") from None
    behind_proxy = address.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(
        address.hostname or ""
    )
    if not address.hostname or port is None or behind_proxy:
        return
    try:
        socket.create_connection((address.hostname, port), timeout=timeout_s / 3).close()
    except OSError as error:
        raise TrackingError(
            f"MLflow at {redact(uri)}: cannot be reached ({error.strerror or one_line(error)})"
        ) from None
