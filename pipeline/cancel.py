"""``python -m pipeline.cancel SWEEP``: end a sweep that is running, on whichever machines; nothing is lost.

Each of its drivers finds the request beside its lease at the next renewal, within seconds, and ends as by Ctrl-C.
"""

import sys
import time
from collections.abc import Sequence

from pipeline.spec.settings import DEFAULT_LEDGER
from trainables.engine.errors import CommandLine, GrokscapeError
from trainables.engine.terminal import prepare_streams, print_line

LOOK_EVERY_S = 0.5
WAIT_S = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """End every driver of a sweep; the exit code is 0, 1 if one goes on, 2 for bad input."""
    prepare_streams()
    options = _parser().parse_args(arguments)
    try:
        return _cancel(options.sweep, options.ledger)
    except GrokscapeError as error:
        print_line(f"error: {error}", sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _cancel(sweep: str, uri: str) -> int:
    from pipeline.ledger import Ledger
    from pipeline.ledger.files import open_files
    from pipeline.sharing import live_leases

    ledger = Ledger.open(uri)
    ledger.sweep(sweep)
    files = open_files(ledger.uri)
    running = {lease.driver: lease for lease in live_leases(files) if lease.sweep == sweep}
    if not running:
        print_line(f"{sweep}: is not running", sys.stdout)
        return 0
    for lease in running.values():
        files.put(lease.cancel_path, b"")
        print_line(f"{sweep}: asked {lease.host} (process {lease.pid}) to end", sys.stdout)
    until = time.monotonic() + WAIT_S
    while running and time.monotonic() < until:
        time.sleep(LOOK_EVERY_S)
        live = {lease.driver for lease in live_leases(files)}
        for driver in running.keys() - live:
            lease = running.pop(driver)
            print_line(f"{sweep}: {lease.host} (process {lease.pid}) has ended", sys.stdout)
    for lease in running.values():
        print_line(f"{sweep}: {lease.host} (process {lease.pid}) has not ended after {WAIT_S:g} s", sys.stdout)
    return 1 if running else 0


def _parser() -> CommandLine:
    parser = CommandLine(
        prog="python -m pipeline.cancel",
        description="End a sweep that is running, on whichever machines. What is trained stays in the ledger: the same "
        "command resumes it.",
    )
    parser.add_argument("sweep", metavar="SWEEP", help="the sweep's name, see python -m pipeline.status")
    parser.add_argument(
        "--ledger", metavar="URI", default=DEFAULT_LEDGER, help=f"the ledger; default: {DEFAULT_LEDGER}"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
