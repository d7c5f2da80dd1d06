"""``--detach``: the same command again as a process of its own, which outlives the terminal, with a log."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.ledger.files import open_files
from pipeline.sharing import live_leases
from pipeline.spec.settings import DEFAULT_LEDGER
from trainables.engine.errors import redact
from trainables.engine.terminal import print_line, shown

FLAG = "--detach"
LOGS = "results/logs"
START_S = 120.0
LOOK_EVERY_S = 0.2


def detach(arguments: Sequence[str], sweep: str, ledger: str) -> int:
    """Start the command without ``--detach``, wait until it trains or has ended, and say how to follow it.

    :return: 0 when it is at work, or its exit code.
    """
    log = Path(LOGS, f"{sweep}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.sweep", *(each for each in arguments if each != FLAG)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    until = time.monotonic() + START_S
    files = open_files(ledger)
    while time.monotonic() < until and process.poll() is None:
        if any(lease.pid == process.pid for lease in live_leases(files)):
            break
        time.sleep(LOOK_EVERY_S)
    if process.poll() is not None:
        for line in log.read_text(errors="replace").splitlines()[-3:]:
            print_line(shown(line), sys.stderr if process.returncode else sys.stdout)
        return process.returncode
    print_line(f"{sweep}: runs in the background as process {process.pid}, its log is {log}", sys.stdout)
    where = "" if ledger == DEFAULT_LEDGER else f" --ledger {shlex.quote(redact(ledger))}"
    print_line(f"follow   python -m pipeline.status {sweep}{where}", sys.stdout)
    print_line(f"end      python -m pipeline.cancel {sweep}{where}", sys.stdout)
    return 0
