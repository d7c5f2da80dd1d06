"""``python -m pipeline.sweep SPACE``: from a search-space file to its phase diagram.

Only the command line is here, which is read before anything heavy is loaded; :mod:`pipeline.command` does the rest.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from pipeline.spec.base_trial import named_space
from pipeline.terminal.flags import BAD_INPUT, DONE, override, parser
from pipeline.terminal.signals import Interrupted, raised_once
from trainables.engine.errors import GrokscapeError
from trainables.engine.terminal import prepare_streams, print_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    prepare_streams()
    flags = parser().parse_args(arguments)
    try:
        with raised_once():
            return _main(flags)
    except GrokscapeError as error:
        print_line(f"error: {error}", sys.stderr)
        return BAD_INPUT
    except Interrupted as interruption:
        print_line(f"interrupted ({interruption.name})", sys.stderr)
        return interruption.exit_code


def _main(flags: argparse.Namespace) -> int:
    space = named_space(
        flags.space,
        size=flags.size,
        components=flags.components,
        sets=flags.set,
        axes=flags.axis,
        max_steps=flags.max_steps,
        seeds=flags.seeds,
        sweep_name=flags.name,
    )
    settings = override(space.spec.settings, flags)
    from pipeline.command import dry_run, run

    if flags.dry_run:
        dry_run(space, settings, as_json=flags.json)
        return DONE
    result = run(space, settings, silent=flags.json)
    if flags.json:
        print(json.dumps(result.to_json()))
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
