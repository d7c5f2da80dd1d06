"""``python -m analysis.report SWEEP``: one self-contained page about a finished or a running sweep.

It reads a ledger or an MLflow tracking address, and writes ``report.html``: the question, the answer, the diagram whose
cells open their curves, the estimates, what failed, where it comes from, and how to reproduce and cite it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.drawing.guard import drawing
from analysis.phase_diagram import DEFAULT_FIGURES, add_choices, choices
from trainables.engine.errors import CommandLine, GrokscapeError
from trainables.engine.terminal import prepare_streams, shown


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command_line = CommandLine(
        prog="python -m analysis.report",
        description="Write one page about a sweep that works from a file, without a network: the answer, the diagram "
        "whose cells open their curves, the estimates, what failed, how to reproduce and cite it.",
        epilog="An axis is named as the search space names it, or by its ending. Exit codes: 0 done, 2 bad input.",
    )
    add_choices(command_line)
    return command_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, print the results and how to open it; the exit code is 0, or 2 for bad input."""
    prepare_streams()
    options = parser().parse_args(arguments)
    try:
        with drawing():
            from analysis.draw import open_command, write_report

            page, summary = write_report(
                options.source,
                options.sweep,
                options.out or Path(DEFAULT_FIGURES) / options.sweep,
                **choices(options),
            )
            opening = open_command(page)
    except GrokscapeError as error:
        print(f"error: {shown(error)}", file=sys.stderr)
        return 2
    for line in (*summary, "", page, f"Open it: {opening}"):
        print(shown(line))
    return 0


if __name__ == "__main__":
    sys.exit(main())
