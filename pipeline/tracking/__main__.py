"""The command line: ``python -m pipeline.tracking SWEEP`` brings MLflow to the state of the ledger."""

import argparse
import sys
from collections.abc import Sequence

from pipeline.ledger import Ledger, LedgerError
from pipeline.tracking.client import DEFAULT_URI, TrackingError
from pipeline.tracking.mirror import sync

DEFAULT_LEDGER = "results/ledger"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit code is 0, or 2 for bad input or an MLflow that fails."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.tracking", description="Bring MLflow to the state of the ledger, for one sweep."
    )
    parser.add_argument("sweep", metavar="SWEEP", help="the sweep's name: the stem of its search-space file")
    parser.add_argument("--ledger", metavar="URI", default=DEFAULT_LEDGER, help="default: %(default)s")
    parser.add_argument("--mlflow-uri", metavar="URI", default=DEFAULT_URI, help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        report = sync(Ledger.open(options.ledger), options.sweep, options.mlflow_uri)
    except (TrackingError, LedgerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.sweep}: {report}")
    print(report.browse)
    return 0


if __name__ == "__main__":
    sys.exit(main())
