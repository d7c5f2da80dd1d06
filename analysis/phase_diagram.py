"""``python -m analysis.phase_diagram SWEEP``: the phase diagram of a finished or a running sweep.

It reads a ledger or an MLflow tracking address, with the same numbers from both, and writes ``phase_diagram.png``,
``phase_diagram.html``, ``cells.csv`` and ``outcomes.csv``.  A sweep of baselines, whose trials are measured for their
curves, gets those instead: ``curves.png``, ``cells.csv`` and ``finals.csv``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.data.sweep import SweepError
from analysis.diagram.layout import AxisError
from analysis.report import draw
from pipeline.ledger import LedgerError
from trainables.engine.events import GEN_THRESHOLD, MEM_THRESHOLD

DEFAULT_SOURCE = "results/ledger"
DEFAULT_FIGURES = "results/figures"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="python -m analysis.phase_diagram",
        description="Draw when a sweep's networks memorise and generalise: a picture, an interactive page, tables.",
        epilog="An axis is named as the search space names it, or by its ending: weight_decay for "
        "optimizer.weight_decay; arm and seed are axes too. A sweep of baselines has learning curves instead of a "
        "phase diagram: no axes and no thresholds. Exit codes: 0 done, 2 bad input.",
    )
    found.add_argument("sweep", metavar="SWEEP", help="the sweep's name: the stem of its search-space file")
    found.add_argument("--x", metavar="AXIS", help="the horizontal axis; by default the sweep's shape decides")
    found.add_argument("--y", metavar="AXIS", help="the vertical axis; by default the sweep's shape decides")
    found.add_argument(
        "--from",
        dest="source",
        metavar="URI",
        default=DEFAULT_SOURCE,
        help="a ledger (folder or s3://...) or an MLflow address (http(s)://, sqlite:///, postgresql://); "
        "default: %(default)s",
    )
    found.add_argument("--out", metavar="DIR", help=f"where the files go; default: {DEFAULT_FIGURES}/SWEEP")
    found.add_argument(
        "--tau", type=int, metavar="STEPS", help="tell everything as of this step; default: the sweep's horizon"
    )
    found.add_argument(
        "--train-threshold",
        type=float,
        metavar="SHARE",
        default=MEM_THRESHOLD,
        help="the training accuracy that counts as memorised; default: %(default)s",
    )
    found.add_argument(
        "--test-threshold",
        type=float,
        metavar="SHARE",
        default=GEN_THRESHOLD,
        help="the test accuracy that counts as generalised; default: %(default)s",
    )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, say what came out and where it is; the exit code is 0, or 2 for bad input."""
    options = parser().parse_args(arguments)
    try:
        figures = draw(
            options.source,
            options.sweep,
            options.out or Path(DEFAULT_FIGURES) / options.sweep,
            options.x,
            options.y,
            tau_steps=options.tau,
            train_threshold=options.train_threshold,
            test_threshold=options.test_threshold,
        )
    except (SweepError, AxisError, LedgerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in figures.summary:
        print(line)
    print()
    for path in figures.paths:
        print(path)
    print(f"Open it: {figures.open_command}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
