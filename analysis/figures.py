"""``python -m analysis.figures fig02``: draw a figure of the paper, a neighbour or a dispute, and judge its statement.

Without ``--from`` it reads the runs that are kept in the repository, so that nothing has to be trained.  ``all`` makes
one page of every figure; no name prints the table of verdicts.
"""

import argparse
import sys
from collections.abc import Sequence

from analysis.data.sweep import SIZES
from analysis.drawing.guard import drawing
from trainables.engine.errors import CommandLine, GrokscapeError
from trainables.engine.terminal import prepare_streams, shown

DEFAULT_OUT = "results/figures"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    flags = CommandLine(
        prog="python -m analysis.figures",
        description="Draw a figure from its runs, and judge its statement.",
        epilog="Verdicts: met, not met, undecided (too few seeds or too short), reported (no threshold is claimed), "
        "not run. Exit codes: 0 done, 2 bad input.",
    )
    flags.add_argument("figure", metavar="FIGURE", nargs="?", help="fig02, prop1, ... or all; without: the verdicts")
    flags.add_argument(
        "--from",
        dest="source",
        metavar="LEDGER",
        help="a ledger (folder or s3://...); default: the runs kept in the repository",
    )
    flags.add_argument("--out", metavar="DIR", default=DEFAULT_OUT, help="output folder; default: %(default)s")
    flags.add_argument("--size", choices=SIZES, help="only this size")
    flags.add_argument("--keep", action="store_true", help="replace the kept runs by those of --from")
    flags.add_argument("--markdown", action="store_true", help="print the table of verdicts as in the README")
    return flags


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, judge and print; the exit code is 0, or 2 for bad input."""
    prepare_streams()
    options = parser().parse_args(arguments)
    try:
        with drawing():
            from analysis.paper.command import run

            run(options)
    except GrokscapeError as error:
        print(f"error: {shown(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
