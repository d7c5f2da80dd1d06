"""``grokscape COMMAND``: one command over the modules that can be run, which stay as they are.

``grokscape sweep SPACE`` is ``python -m pipeline.sweep SPACE``; only the module that is asked for is loaded.
"""

import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from trainables.engine.errors import CommandLine
from trainables.engine.terminal import prepare_streams

COMMANDS = {
    "sweep": ("pipeline.sweep", "run a search space, file every row, draw its phase diagram"),
    "status": ("pipeline.status", "say how far the sweeps are, and who trains them"),
    "cancel": ("pipeline.cancel", "end a sweep that is running"),
    "ledger": ("pipeline.ledger.__main__", "list, show, verify, compact, drop, merge or export a ledger"),
    "mlflow": ("pipeline.tracking.__main__", "write a sweep of a ledger to MLflow"),
    "diagram": ("analysis.phase_diagram", "draw a phase diagram"),
    "report": ("analysis.report", "make one page of a sweep, to be opened in a browser"),
    "compare": ("analysis.compare", "compare sweeps, of one ledger or of several"),
    "figures": ("analysis.figures", "draw and judge the figures of the paper and of its neighbours"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is its own, or 2 for a command that there is not."""
    prepare_streams()
    given = sys.argv[1:] if arguments is None else list(arguments)
    name = _parser().parse_args(given[:1] or ["--help"]).command
    CommandLine.invoked_as = f"grokscape {name}"
    return import_module(COMMANDS[name][0]).main(given[1:])


def _parser() -> CommandLine:
    commands = "\n".join(f"  {name:9}{text}" for name, (_, text) in COMMANDS.items())
    parser = CommandLine(
        prog="grokscape",
        usage="grokscape COMMAND [ARGUMENT ...]",
        description=f"Sweeps for training dynamics, from a search space to a phase diagram.\n\n{commands}",
        epilog="grokscape COMMAND --help says more of each.",
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"grokscape {version('grokscape')}")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="one of those above")
    return parser


if __name__ == "__main__":
    sys.exit(main())
