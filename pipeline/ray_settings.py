"""What Ray and Tune read from the environment, set before either is imported; free of Ray itself."""

import os
import secrets
import socket
from collections.abc import MutableMapping
from pathlib import Path

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


class RayAddressError(ValueError):
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


def _has_token(environment: MutableMapping[str, str]) -> bool:
    if environment.get("RAY_AUTH_TOKEN") or environment.get("RAY_AUTH_TOKEN_PATH"):
        return True
    return (Path(environment.get("HOME", "~")).expanduser() / ".ray" / "auth_token").is_file()
