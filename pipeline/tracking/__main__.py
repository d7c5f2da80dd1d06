"""The command line: ``python -m pipeline.tracking SWEEP`` syncs a sweep from the ledger to MLflow."""

import sys
from collections.abc import Sequence

from pipeline.spec.settings import DEFAULT_LEDGER, DEFAULT_MLFLOW_URI, TRACKING_VARIABLE, default_mlflow_uri, with_home
from trainables.engine.errors import CommandLine, GrokscapeError
from trainables.engine.terminal import prepare_streams, shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0, or 2 for bad input or a failure of MLflow."""
    prepare_streams()
    parser = CommandLine(prog="python -m pipeline.tracking", description="Sync one sweep from the ledger to MLflow.")
    parser.add_argument("sweep", metavar="SWEEP", help="the sweep's name: the stem of its search-space file")
    parser.add_argument("--ledger", metavar="URI", default=DEFAULT_LEDGER, help="default: %(default)s")
    parser.add_argument(
        "--mlflow-uri",
        metavar="URI",
        default=default_mlflow_uri(),
        help=f"default: ${TRACKING_VARIABLE}, or {DEFAULT_MLFLOW_URI}",
    )
    parser.add_argument("--anew", action="store_true", help="remove every run and write it again")
    options = parser.parse_args(arguments)
    from pipeline.ledger import Ledger  # late: --help need not wait for pyarrow
    from pipeline.tracking.mirror import sync

    try:
        report = sync(
            Ledger.open(options.ledger), options.sweep, with_home("mlflow_uri", options.mlflow_uri), anew=options.anew
        )
    except GrokscapeError as error:
        print(f"error: {shown(error)}", file=sys.stderr)
        return 2
    print(shown(f"{options.sweep}: {report}"))
    print(shown(report.browse))
    return 0


if __name__ == "__main__":
    sys.exit(main())
