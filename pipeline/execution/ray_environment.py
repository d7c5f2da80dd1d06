"""What Ray and Tune read from the environment, set before either is imported; free of Ray itself."""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path

from trainables.engine.errors import GrokscapeError

SILENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # Ctrl-C is the command line's to handle: Tune would go on for a while and then return as if nothing was.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # The ledger is the state; Tune's own snapshots are of no use.
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
}
CONNECT_TIMEOUT_S = 5.0
JOIN_TIMEOUT_S = 15.0


class RayAddressError(GrokscapeError):
    """A cluster address that nobody answers at, or that is no address."""


def prepare(address: str | None, environment: MutableMapping[str, str] = os.environ) -> None:
    """Set the environment for a cluster at ``address``, or for one of our own (None).

    Ours is protected by a token that lives as long as it does, unless the user has one: Ray's default would write
    one under the home directory, which need not be writable.  To join a cluster, the token that the user has is used.
    """
    environment.update(SILENT)
    if address is None:
        environment["RAY_AUTH_MODE"] = "token"
        if not _has_token(environment):
            environment["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    elif _has_token(environment):
        environment.setdefault("RAY_AUTH_MODE", "token")


def check_address(address: str) -> None:
    """Whether something listens there.

    :raises RayAddressError: in one line, within a few seconds.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
        raise RayAddressError(f"--address {address}: must be host:port, as `ray start --head` tells it")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
        raise RayAddressError(f"--address {address}: no Ray cluster can be reached there ({reason})") from None


def check_cluster(address: str) -> None:
    """Whether a Ray cluster of our version answers there and lets us in.

    In a process of its own: Ray itself goes on asking for minutes, and writes to the terminal meanwhile.

    :raises RayAddressError: in one line, within :data:`JOIN_TIMEOUT_S` or so.
    """
    asking = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        done = subprocess.run(asking, capture_output=True, text=True, timeout=JOIN_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise RayAddressError(f"--address {address}: what listens there does not answer as a Ray cluster") from None
    if done.returncode == 0:
        return
    told = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    if any("AuthToken" in line or "AuthenticationError" in line for line in told):
        reason = "it wants the token that it was started with, in RAY_AUTH_TOKEN or ~/.ray/auth_token"
    else:
        versions = [line for line in told if line.startswith(("Ray:", "Python:"))]
        reason = "; ".join(versions) or (told[-1] if told else f"health check {done.returncode}")
    raise RayAddressError(f"--address {address}: the Ray cluster does not let us in: {reason[:300]}")


def _has_token(environment: MutableMapping[str, str]) -> bool:
    if environment.get("RAY_AUTH_TOKEN") or environment.get("RAY_AUTH_TOKEN_PATH"):
        return True
    return (Path(environment.get("HOME", "~")).expanduser() / ".ray" / "auth_token").is_file()
