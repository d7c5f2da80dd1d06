"""``--detach``: the same command again as a process of its own, which outlives the terminal, with a log."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pipeline.ledger.files import Files, LedgerError, open_files
from pipeline.sharing.lease import live_leases, this_place
from pipeline.spec.settings import DEFAULT_LEDGER
from pipeline.terminal.signals import Interrupted
from trainables.engine.errors import GrokscapeError, redact
from trainables.engine.terminal import print_line, shown

FLAG = "--detach"
LOGS = "results/logs"
START_S = 120.0
LOOK_EVERY_S = 0.2


def detach(arguments: Sequence[str], sweep: str, ledger: str) -> int:
    """Start the command without ``--detach``, wait until it trains or has ended, and say how to follow it.

    :return: 0 when it is at work, or its exit code.
    :raises GrokscapeError: when its log cannot be written.
    """
    log = Path(LOGS, f"{sweep}.log")
    files = open_files(ledger)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open("ab")  # Another driver of this sweep may be writing to it.
    except OSError as error:
        raise GrokscapeError(f"{FLAG}: cannot write the log {log}: {error.strerror}") from None
    with file:
        begin = file.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.sweep", *(each for each in arguments if each != FLAG)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    until = time.monotonic() + START_S
    try:
        while time.monotonic() < until and process.poll() is None and not _trains(process.pid, files):
            time.sleep(LOOK_EVERY_S)
    except Interrupted as interruption:
        if interruption.name != "SIGHUP":  # the end of the terminal, which it outlives
            process.terminate()
        raise
    if process.poll() is not None:
        for line in log.read_bytes()[begin:].decode(errors="replace").splitlines()[-3:]:
            print_line(shown(line), sys.stderr if process.returncode else sys.stdout)
        return process.returncode
    print_line(f"{sweep}: runs in the background as process {process.pid}, its log is {log}", sys.stdout)
    where = "" if ledger == DEFAULT_LEDGER else f" --ledger {shlex.quote(redact(ledger))}"
    print_line(f"follow   python -m pipeline.status {sweep}{where}", sys.stdout)
    print_line(f"end      python -m pipeline.cancel {sweep}{where}", sys.stdout)
    return 0


def _trains(pid: int, files: Files) -> bool:
    """Whether a process of this machine is past what may prevent its run: it says how far it is."""
    with suppress(LedgerError):  # It says itself what is wrong.
        return any(
            lease.pid == pid and lease.place == this_place() and lease.progress.total for lease in live_leases(files)
        )
    return False
