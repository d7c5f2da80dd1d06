"""``python -m analysis.phase_diagram SWEEP``: the phase diagram of a finished or a running sweep.

It reads a ledger or an MLflow tracking address, with the same numbers from both, and writes ``phase_diagram.png``,
``report.html``, ``waiting.png``, ``effects.png``, and the tables ``cells``, ``outcomes``, ``waiting``,
``effects`` and ``sensitivity``, as CSV and as Parquet.  A sweep without events gets its learning curves and final
values instead: ``curves.png`` and the tables ``cells`` and ``finals``.  Of two sampled axes ``points.png`` has every
setting at its own values, where the diagram has bins.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.drawing.guard import drawing
from trainables.engine.errors import CommandLine, GrokscapeError
from trainables.engine.terminal import prepare_streams, shown

DEFAULT_SOURCE = "results/ledger"
DEFAULT_FIGURES = "results/figures"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command_line = CommandLine(
        prog="python -m analysis.phase_diagram",
        description="Draw when the trials of a sweep reach an event, and which phase they end in: a picture, an "
        "interactive page, tables.",
        epilog="An axis is named as the search space names it, or by its ending: weight_decay for "
        "optimizer.weight_decay; arm and seed are axes too. A sweep without events has learning curves and final "
        "values instead of a phase diagram: no axes and no event. Exit codes: 0 done, 2 bad input.",
    )
    add_choices(command_line)
    command_line.add_argument(
        "--format",
        dest="formats",
        action="append",
        default=[],
        choices=("pdf", "svg"),
        help="write the picture in this format too, with its fonts inside; may be repeated",
    )
    command_line.add_argument(
        "--width",
        choices=("column", "page"),
        help="draw the picture as wide as a journal's column (3.3 in) or page (6.8 in), in letters of 6 points or more",
    )
    command_line.add_argument(
        "--no-title",
        dest="titled",
        action="store_false",
        help="leave out the picture's title and notes, for a figure with a caption: caption.txt has them",
    )
    return command_line


def add_choices(command_line: argparse.ArgumentParser) -> None:
    """Add the options that say what is drawn, of which sweep, and where the files go."""
    command_line.add_argument("sweep", metavar="SWEEP", help="the sweep's name: the stem of its search-space file")
    command_line.add_argument("--x", metavar="AXIS", help="the horizontal axis; by default the sweep's shape decides")
    command_line.add_argument("--y", metavar="AXIS", help="the vertical axis; by default the sweep's shape decides")
    command_line.add_argument(
        "--fix",
        action="append",
        default=[],
        metavar="AXIS=VALUE",
        help="take the trials with this value only; may be repeated",
    )
    command_line.add_argument(
        "--pool",
        action="append",
        default=[],
        metavar="AXIS",
        help="pool the values of an axis in each cell, as seeds are; may be repeated",
    )
    command_line.add_argument(
        "--facet", metavar="AXIS", help="draw a panel for each value of this axis, all on the same scales"
    )
    command_line.add_argument(
        "--event",
        help="the event to draw: a declared one, NAME or NAME:THRESHOLD (t_gen:.9), or any column's crossing "
        "('sc_any_fraction>=.5'), which MLflow cannot answer; default: the last declared one",
    )
    command_line.add_argument(
        "--from",
        dest="source",
        metavar="URI",
        default=DEFAULT_SOURCE,
        help="a ledger (folder or s3://...) or an MLflow address (http(s)://, sqlite:///, postgresql://); "
        "default: %(default)s",
    )
    command_line.add_argument("--out", metavar="DIR", help=f"the folder of the files; default: {DEFAULT_FIGURES}/SWEEP")
    command_line.add_argument(
        "--colour",
        metavar="WHAT",
        help="what the tiles of a grid show: rmst, p, given (the time of those that have the event), median, delay "
        "(the median time from the earlier event to this one), phase (of most seeds), or any column at a step, "
        "COLUMN@STEP (test_accuracy@400), by its median; default: rmst",
    )
    command_line.add_argument(
        "--tau", type=int, metavar="STEPS", help="ignore what comes after this step; default: the sweep's horizon"
    )


def choices(options: argparse.Namespace) -> dict[str, Any]:
    """What is drawn, of the options that :func:`add_choices` adds, by the names of :func:`analysis.draw.numbers_of`."""
    names = ("x", "y", "event", "fix", "pool", "facet", "colour")
    return {name: getattr(options, name) for name in names} | {"tau_steps": options.tau}


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, print the results and the files; the exit code is 0, or 2 for bad input."""
    prepare_streams()
    options = parser().parse_args(arguments)
    try:
        with drawing():
            from analysis.draw import draw

            figures = draw(
                options.source,
                options.sweep,
                options.out or Path(DEFAULT_FIGURES) / options.sweep,
                **choices(options),
                formats=options.formats,
                width=options.width,
                titled=options.titled,
            )
    except GrokscapeError as error:
        print(f"error: {shown(error)}", file=sys.stderr)
        return 2
    for line in (*figures.summary, "", *figures.paths, f"Open it: {figures.open_command}"):
        print(shown(line))
    return 0


if __name__ == "__main__":
    sys.exit(main())
