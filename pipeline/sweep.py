"""``python -m pipeline.sweep SPACE``, and ``run(SWEEP, name=...)`` from Python: from a search space to its answer.

Only the command line is here, which is read before anything heavy is loaded; :mod:`pipeline.command` does the rest.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.spec import SweepSpec
from pipeline.spec.base_trial import named_space
from pipeline.spec.from_python import python_settings, python_space
from pipeline.terminal.flags import BAD_INPUT, DONE, override, parser
from pipeline.terminal.signals import Interrupted, raised_once
from trainables.engine.errors import GrokscapeError, one_line
from trainables.engine.terminal import prepare_streams, print_line
from trainables.runtime.status import own_place

if TYPE_CHECKING:
    from analysis.results import SweepResult


def run(spec: SweepSpec, *, name: str, doc: str | None = None, silent: bool = False, **settings: Any) -> "SweepResult":
    """Run what the ledger lacks of a space, and open the sweep: the command line's run from a script or a notebook.

    ::

        result = run(SWEEP, name="decay", local=True)
        result.outcomes, result.cells, result.curves("test_accuracy")
        result.plot()

    Nothing that the ledger has is trained again: the same call opens the sweep within seconds, resumes one that was
    interrupted, and runs only what was added.  Trials that fail are counted in the output and have the state
    ``failed`` in ``result.outcomes``.  The figures' files are written where ``out`` is given, or MLflow shows them.

    :param name: of the sweep in the ledger and in MLflow.
    :param doc: its question, with which tables and pictures are headed; the docstring of the calling module, without.
    :param silent: print nothing.
    :param settings: fields of :class:`pipeline.RunSettings`, in the place of those that the space has:
        ``ledger="results/ledger"``, ``local=True``, ``mlflow_uri=None``, ``workers=2``.
    :raises GrokscapeError: for anything that prevents the run, in one line, before it starts.
    :raises KeyboardInterrupt: when it is interrupted; the same call resumes it.
    """
    space = python_space(spec, name, sys._getframe(1).f_globals if doc is None else {"__doc__": doc})
    chosen = override(space.spec.settings, argparse.Namespace(**python_settings(settings)))
    import torch

    from pipeline.command import opened, run

    threads = torch.get_num_threads()  # A cohort in this process takes one thread, for good.
    try:
        with warnings.catch_warnings(), raised_once():
            warnings.filterwarnings("ignore", message="IProgress not found")  # MLflow's tqdm, in a notebook.
            done = run(space, chosen, silent=silent, from_python=True)
    finally:
        torch.set_num_threads(threads)
    if done.interrupted is not None:
        raise KeyboardInterrupt(f"{name}: call run again to resume") from None
    return opened(name, chosen)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    prepare_streams()
    flags = parser().parse_args(arguments)
    try:
        with raised_once():
            return _main(flags, sys.argv[1:] if arguments is None else arguments)
    except GrokscapeError as error:
        print_line(f"error: {error}", sys.stderr)
        return BAD_INPUT
    except Exception as error:
        # A bug in a component of the user's own: one line with its place.
        if not (place := own_place(error)):
            raise
        print_line(f"error: {type(error).__name__}: {one_line(error)}{place}", sys.stderr)
        return BAD_INPUT
    except Interrupted as interruption:
        print_line(f"interrupted ({interruption.name})", sys.stderr)
        return interruption.exit_code


def _main(flags: argparse.Namespace, arguments: Sequence[str]) -> int:
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
    if flags.detach:
        from pipeline.terminal.detach import detach

        return detach(arguments, space.name, settings.ledger)
    result = run(space, settings, silent=flags.json)
    if flags.json:
        print(json.dumps(result.to_json()))
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
