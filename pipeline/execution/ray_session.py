"""A Ray of our own on this machine: a private folder for its files, and the end of all its processes."""

import contextlib
import os
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from trainables.engine.errors import GrokscapeError

SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
"""Where the folder lies if the user's temporary folder has too long a name."""
LONGEST_FOLDER = 42
"""Bytes: Ray appends ``/session_<date>_<time>_<microseconds>_<pid>/sockets/plasma_store``, and a socket's path has at
most 107 bytes (103 on macOS)."""
PLAIN = re.compile(r"[\w./+-]+", re.ASCII)
"""Ray reads a socket's path as a part of an address."""
KILL_TIMEOUT_S = 10.0


class RayStartError(GrokscapeError):
    """Ray does not start on this machine."""


def make_private_folder() -> Path:
    """Make a new folder that only this user can open, with a path that is short enough for Ray's sockets.

    :raises RayStartError: if there is no place for one.
    """
    for parent in dict.fromkeys([tempfile.gettempdir(), *SHORT_FOLDERS]):
        with contextlib.suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix="grokscape-", dir=parent))
            if len(os.fsencode(ray_folder(folder))) <= LONGEST_FOLDER and PLAIN.fullmatch(str(folder)):
                return folder
            folder.rmdir()
    places = ", ".join(dict.fromkeys([tempfile.gettempdir(), *SHORT_FOLDERS]))
    raise RayStartError(
        f"no temporary folder for Ray: none of {places} is writable and has a path of at most {LONGEST_FOLDER - 24} "
        "plain characters; set TMPDIR to such a folder, or pass --local"
    )


def ray_folder(private: Path) -> Path:
    """Ray's own folder in a private one: Ray opens its own to everybody."""
    return private / "ray"


def end_session(session: int) -> None:
    """Kill the processes of a session, except this one, and wait until they are gone."""
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while (pids := list(_members(session))) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _members(session: int) -> Iterator[int]:
    """The processes of a session that run; a zombie does not."""
    import psutil

    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):
            if pid != os.getpid() and os.getsid(pid) == session and psutil.Process(pid).status() != "zombie":
                yield pid
