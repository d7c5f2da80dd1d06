"""Where the files of MLflow's runs are: beside a database, whose folder may move or be somebody else's.

MLflow keeps the absolute address of each run's files.  Ours are in one folder, so that a folder that was moved is
recognised, and nothing is written where a database or a server of somebody else points to.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pipeline.tracking.client import ARTIFACTS_FOLDER, artifact_location, is_sqlite, sqlite_path


def follow_move(uri: str) -> None:
    """Have the runs of a SQLite file find their files again after its folder was moved or copied.

    MLflow has no call for it.  Only addresses that end as ours do are changed.
    """
    if not is_sqlite(uri):
        return
    location = artifact_location(uri)
    assert location is not None
    with closing(sqlite3.connect(sqlite_path(uri), timeout=30)) as database, database:
        others = database.execute(
            "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE 'file:%/' || ?"
            " AND artifact_location != ?",
            (ARTIFACTS_FOLDER, location),
        )
        for (old,) in others.fetchall():
            if _path(old).exists() and not _path(location).exists():
                continue  # The database alone was copied.
            database.execute(
                "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?)"
                " WHERE artifact_uri LIKE 'file:%' AND substr(artifact_uri, 1, ?) = ? || '/'",
                (location, len(old) + 1, len(old) + 1, old),
            )
            database.execute(
                "UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?", (location, old)
            )


def may_write(uri: str, artifact_uri: str, names: Iterable[str]) -> bool:
    """Whether files of these names may be put at an address that MLflow names.

    A store, or the server itself, takes them anywhere; on this machine, only our own folder beside a database does,
    and no link in it leads out.
    """
    address = urlsplit(artifact_uri)
    if address.scheme not in ("", "file"):
        return True
    location = artifact_location(uri)
    if location is None:
        return False
    own = _path(location)
    folder = _path(artifact_uri)
    return all((folder / name).resolve().is_relative_to(own) for name in names)


def _path(address: str) -> Path:
    return Path(url2pathname(urlsplit(address).path))
