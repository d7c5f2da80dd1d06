"""What Ray and Tune read from the environment, and whether a cluster answers.  Does not import Ray."""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from trainables.engine.errors import GrokscapeError

SILENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # The ledger is the state; Tune's own snapshots are not used.
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray then takes 127.0.0.1 for this machine's address, and its processes listen there only: its rule on macOS and
Windows (``get_node_ip_address`` in ``ray/_private/services.py``), which Linux obeys too."""
CONNECT_TIMEOUT_S = 5.0
JOIN_TIMEOUT_S = 15.0


class RayAddressError(GrokscapeError):
    """A cluster address that is malformed, does not answer, or rejects the connection."""


def variables(address: str | None, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What to set for Ray's process, which joins a cluster at ``address`` or starts one on this machine (None).

    A new random token protects a cluster on this machine, unless the user has one: Ray would write its own under the
    home directory, which may not be writable.  To join a cluster, Ray uses the user's token.
    """
    if address is None:
        token = {} if _has_token(environment) else {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
        return SILENT | LOOPBACK | {"RAY_AUTH_MODE": "token"} | token
    mode = {"RAY_AUTH_MODE": environment.get("RAY_AUTH_MODE", "token")} if _has_token(environment) else {}
    return SILENT | mode


def check_address(address: str) -> None:
    """Check that something listens at the address.

    :raises RayAddressError: in one line, within a few seconds.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
        raise RayAddressError(f"--address {address}: must be host:port, as `ray start --head` prints it")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
        raise RayAddressError(f"--address {address}: cannot connect ({reason})") from None


def check_cluster(address: str) -> None:
    """Check that a Ray cluster of our version answers at the address and accepts the connection.

    In a process of its own: Ray itself retries for minutes, and writes to the terminal meanwhile.

    :raises RayAddressError: in one line, within :data:`JOIN_TIMEOUT_S` or so.
    """
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        done = subprocess.run(
            command,
            env=os.environ | variables(address),
            capture_output=True,
            text=True,
            timeout=JOIN_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RayAddressError(f"--address {address}: does not answer like a Ray cluster") from None
    if done.returncode == 0:
        return
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    if any("AuthToken" in line or "AuthenticationError" in line for line in lines):
        reason = "set the token that it was started with in RAY_AUTH_TOKEN or ~/.ray/auth_token"
    else:
        versions = [line for line in lines if line.startswith(("Ray:", "Python:"))]
        reason = "; ".join(versions) or (lines[-1] if lines else f"health check {done.returncode}")
    raise RayAddressError(f"--address {address}: the Ray cluster rejected the connection: {reason[:300]}")


def _has_token(environment: Mapping[str, str]) -> bool:
    if environment.get("RAY_AUTH_TOKEN") or environment.get("RAY_AUTH_TOKEN_PATH"):
        return True
    return (Path(environment.get("HOME", "~")).expanduser() / ".ray" / "auth_token").is_file()
