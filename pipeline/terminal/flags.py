"""The flags of ``python -m pipeline.sweep``: a few of its own, and one for each field of the settings of a run."""

import argparse
from contextlib import suppress
from dataclasses import MISSING, Field, fields
from functools import partial
from typing import Any, get_args

from pipeline.execution.resources import default_device
from pipeline.spec.override_values import seeds_of
from pipeline.spec.settings import HOW, WHERE, RunSettings, SettingsError
from pipeline.spec.space_file import DEFAULT_SIZE, SIZES
from trainables.engine.config import ConfigError
from trainables.engine.errors import CommandLine, GrokscapeError

DONE, SOME_FAILED, BAD_INPUT = 0, 1, 2
ALIASES = {"gpus_per_cohort": ("--gpus-per-trial",)}
"""Mini-batch trials do not share a cohort."""


def parser() -> argparse.ArgumentParser:
    """The command line; flags of settings that are not given are not in its namespace."""
    command = CommandLine(
        prog="python -m pipeline.sweep",
        description="Run a search space, file every row in the ledger, and draw its phase diagram. Trials that the "
        "ledger already covers are not run again: the same command resumes an interrupted sweep, runs what was added "
        "to the file, and continues trials whose horizon was raised.",
        epilog="Exit codes: 0 done, 1 some trials failed, 2 bad input, 130 interrupted (SIGTERM: 143, SIGHUP: 129). "
        "Example: python -m pipeline.sweep search_spaces/quick.py --dry-run",
    )
    command.add_argument(
        "space",
        metavar="SPACE",
        help="a search-space file, such as search_spaces/quick.py, or a trial as MODULE:NAME, such as "
        "trainables.grokking:GrokkingTrial",
    )
    command.add_argument(
        "--dry-run", action="store_true", help="print what would run and its predicted cost; run nothing"
    )
    command.add_argument(
        "--detach",
        action="store_true",
        help="run in the background, beyond the end of this terminal, with a log in results/logs",
    )
    command.add_argument(
        "--json", action="store_true", help="print one JSON object to standard output, and nothing else"
    )

    what = command.add_argument_group("what to run")
    what.add_argument(
        "--size",
        choices=SIZES,
        help="for a space that has sizes: full, the whole question, or laptop, a version that a laptop can run; "
        f"default: {DEFAULT_SIZE}",
    )
    what.add_argument("--max-steps", type=_count, metavar="N", help="shorten the horizon to N steps")
    what.add_argument(
        "--seeds", type=_seeds, metavar="N", help="use the seeds 0 to N - 1 instead of the space's, or 0:20, or 0,3,7"
    )
    what.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="fix a field or an axis, such as optimizer.learning_rate=.01 or gradient=OrthogonalGradient; may be "
        "repeated",
    )
    what.add_argument(
        "--axis",
        action="append",
        default=[],
        metavar="PATH=VALUES",
        help="try these values of a field, such as optimizer.weight_decay=0,1,4 or loss.q=range(.1,1,.3), instead of "
        "the space's own or for the first time; may be repeated",
    )
    what.add_argument("--name", help="what to call the sweep that these flags make; default: by what they change")
    what.add_argument(
        "--components",
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module with components of your own first; may be repeated",
    )

    groups = {
        HOW: command.add_argument_group(f"{HOW} (a space may set these too; flags override the space)"),
        WHERE: command.add_argument_group(f"{WHERE} (likewise)"),
    }
    for spec in fields(RunSettings):
        names = [f"--{spec.name.replace('_', '-')}", *ALIASES.get(spec.name, ())]
        default = "" if spec.default in (None, False, MISSING) else f"; default: {spec.default}".removesuffix(".0")
        options: dict[str, Any] = {"dest": spec.name, "default": argparse.SUPPRESS}
        if spec.type is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options |= {"type": partial(_value, spec), "metavar": spec.metadata["metavar"]}
        groups[spec.metadata["group"]].add_argument(*names, help=f"{spec.metadata['help']}{default}", **options)
    return command


def override(settings: RunSettings, flags: argparse.Namespace) -> RunSettings:
    """The settings of a space with the flags that were given in their place.

    :raises SettingsError: for a flag about GPUs of a run on the CPU.
    """
    given = {spec.name: getattr(flags, spec.name) for spec in fields(RunSettings) if hasattr(flags, spec.name)}
    # A flag overrides what contradicts it in the space; two flags that contradict each other are an error.
    if given.get("local"):
        given = {"address": None, "workers": None} | given
    elif given.get("address"):
        given = {"local": False} | given
    settings = settings.replace(**given)
    if "gpus_per_cohort" in given and (settings.device or default_device()) == "cpu":
        raise SettingsError(
            f"--gpus-per-cohort {given['gpus_per_cohort']:g}: needs a GPU: drop it or pass --device cuda"
        )
    return settings


def _value(spec: Field[Any], text: str) -> Any:
    """The value of a setting from its text, checked as the settings check it."""
    none = spec.metadata["none"]
    if none and text == none:
        return None
    value: Any = text
    for kind in (int, float):
        if kind in (get_args(spec.type) or (spec.type,)):
            with suppress(ValueError):
                value = kind(text)
    try:
        RunSettings(**{spec.name: value})
    except ConfigError as error:
        reason = str(error).partition(f" = {value!r}: ")[2].replace(" or None", f" or {none!r}" if none else "")
        raise argparse.ArgumentTypeError(f"{text!r}: {reason}") from None
    return value


def _seeds(text: str) -> list[int]:
    try:
        return seeds_of(text)
    except GrokscapeError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be an integer of at least 1")
    return int(text)
