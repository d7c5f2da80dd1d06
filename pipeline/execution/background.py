"""What runs beside the training: the ledger's compaction."""

import sys
import threading

from pipeline.ledger import Ledger, LedgerError

COMPACT_EVERY_S = 60.0


class Upkeep:
    """Compacts the ledger during a ``with`` block, and at its end unless that raises."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger-upkeep", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: object, *_: object) -> None:
        self._over.set()
        if kind is None:
            self._thread.join()
            self._compact()

    def _run(self) -> None:
        while not self._over.wait(COMPACT_EVERY_S):
            self._compact()

    def _compact(self) -> None:
        try:
            self._ledger.compact_if_needed()
        except LedgerError as error:
            # The rows are safe as they are; only the number of their files grows.
            print(f"warning: cannot compact the ledger: {error}", file=sys.stderr)
