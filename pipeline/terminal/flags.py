"""The flags of ``python -m pipeline.sweep``, and the settings that they, the space and the defaults make together."""

import argparse
import math
import os
import re
from dataclasses import dataclass
from typing import Literal, NoReturn

from pipeline.execution.provenance import device_kind
from pipeline.spec.space_file import DEFAULT_SIZE, SIZES, LoadedSpace
from pipeline.tracking.client import DEFAULT_URI
from trainables.data.folder import FOLDER_VARIABLE
from trainables.engine.errors import GrokscapeError
from trainables.engine.trial import TrialConfig

DEFAULT_LEDGER = "results/ledger"
DEFAULT_FIGURES = "results/figures"
BAD_INPUT = 2


class InputError(GrokscapeError):
    """Bad input that no other room found: one line."""


@dataclass(frozen=True)
class Settings:
    """How to run a space: the flags, then what the space says, then the defaults."""

    ledger: str
    mlflow_uri: str | None
    device: str
    device_kind: str
    workers: int | None
    """None on a cluster whose size is not known yet."""
    cohort_size: int | Literal["auto"]
    cpus_per_cohort: float
    gpus_per_cohort: float
    max_hours: float | None
    local: bool
    address: str | None
    data: str | None
    """The folder of the data sets where --data named one, absolute."""
    rerun_failed: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of the whole usage."""
        self.exit(BAD_INPUT, f"error: {message} (--help tells more)\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = _Parser(
        prog="python -m pipeline.sweep",
        description="Run a search space, file every row in the ledger, and draw its phase diagram. Whatever the ledger "
        "has already is not run again: the same command resumes an interrupted sweep, adds what the file has gained, "
        "and continues trials whose horizon was raised.",
        epilog="Exit codes: 0 done, 1 some trials failed, 2 bad input, 130 interrupted. "
        "Example: python -m pipeline.sweep search_spaces/quick.py --dry-run",
    )
    found.add_argument("space", metavar="SPACE", help="a search-space file, such as search_spaces/quick.py")
    found.add_argument(
        "--dry-run", action="store_true", help="say what would be run, and what it would cost; run nothing"
    )
    found.add_argument("--json", action="store_true", help="print one JSON object on standard output, and nothing else")

    what = found.add_argument_group("what to run")
    what.add_argument(
        "--size",
        choices=SIZES,
        help=f"of a space that has sizes: as it was asked, or what a laptop can do of it (default: {DEFAULT_SIZE})",
    )
    what.add_argument("--max-steps", type=_whole, metavar="N", help="a shorter horizon: at most N steps a trial")
    what.add_argument("--seeds", type=_whole, metavar="N", help="the seeds 0 to N - 1 instead of the space's")
    what.add_argument("--rerun-failed", action="store_true", help="run trials again that failed before")

    how = found.add_argument_group("how to run it (the space may set these too; a flag goes before)")
    how.add_argument("--local", action="store_true", help="in this process, without Ray: one cohort at a time")
    how.add_argument("--address", metavar="HOST:PORT", help="on a running Ray cluster; default: Ray on this machine")
    how.add_argument(
        "--device", metavar="DEVICE", help="cpu or cuda (cuda:N with --local); default: a GPU if there is one"
    )
    how.add_argument("--workers", type=_whole, metavar="N", help="cohorts at a time; default: one a core, or a GPU")
    how.add_argument("--cohort-size", type=_size, metavar="N", help="trials that train in lock-step at most, or 'auto'")
    how.add_argument(
        "--gpus-per-trial",
        type=_gpus,
        metavar="N",
        help="GPUs of a cohort (a mini-batch trial is one by itself): a share, .25 for four on each, or a whole "
        "number, over which each batch is spread; default: 1",
    )
    how.add_argument("--max-hours", type=_hours, metavar="H", help="stop after so long; the same command goes on later")

    where = found.add_argument_group("where things are")
    where.add_argument("--ledger", metavar="URI", help=f"a folder, or s3://bucket/prefix; default: {DEFAULT_LEDGER}")
    where.add_argument(
        "--mlflow-uri", metavar="URI", help=f"MLflow's tracking address, or none; default: {DEFAULT_URI}"
    )
    where.add_argument(
        "--data",
        type=os.path.abspath,
        metavar="DIR",
        help=f"the folder of the data sets (of the workers, on a cluster); default: ${FOLDER_VARIABLE}",
    )
    where.add_argument("--out", metavar="DIR", help=f"where the figures go; default: {DEFAULT_FIGURES}/SWEEP")
    return found


def resolve(flags: argparse.Namespace, space: LoadedSpace) -> Settings:
    """The settings of this run.

    :raises InputError: for flags that contradict each other, and a device that is not there.
    """
    spec = space.spec
    device = flags.device or spec.device or _default_device()
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise InputError(f"--device {device}: must be cpu, cuda or cuda:N")
    if ":" in device and not flags.local:
        raise InputError(f"--device {device}: Ray hands out the GPUs; must be cuda, or --local be given")
    if flags.local and flags.address:
        raise InputError(f"--address {flags.address}: --local runs in this process; must be one of them")
    if flags.local and (flags.workers or 1) > 1:
        raise InputError(f"--workers {flags.workers}: --local runs one cohort at a time; must be 1, or without --local")
    try:
        kind = device_kind(device)
    except ValueError as error:
        if flags.address is None:
            raise InputError(f"--device {error}") from None
        kind = device  # The cluster has what this machine has not.
    on_gpu = device != "cpu"
    gpus = float(on_gpu) if spec.gpus_per_cohort is None else spec.gpus_per_cohort
    if flags.gpus_per_trial is not None:
        gpus = flags.gpus_per_trial
        if not on_gpu:
            raise InputError(f"--gpus-per-trial {gpus:g}: the device is the CPU; must be left, or with --device cuda")
    if on_gpu:
        _check_gpus(gpus, device, spec.base, flags)
        if flags.local and device == "cuda" and gpus <= 1:
            device = "cuda:0"
    cpus = spec.cpus_per_cohort or (max(1.0, gpus) if on_gpu else 1.0)
    workers = 1 if flags.local else flags.workers or spec.workers
    if workers is None and flags.address is None:
        workers = devices_here(on_gpu, cpus, gpus)
    mlflow_uri = flags.mlflow_uri or spec.mlflow_uri or DEFAULT_URI
    return Settings(
        ledger=flags.ledger or spec.ledger or DEFAULT_LEDGER,
        mlflow_uri=None if mlflow_uri == "none" else mlflow_uri,
        device=device,
        device_kind=kind,
        workers=workers,
        cohort_size=flags.cohort_size or spec.cohort_size,
        cpus_per_cohort=cpus,
        gpus_per_cohort=gpus if on_gpu else 0.0,
        max_hours=flags.max_hours or spec.max_hours,
        local=flags.local,
        address=flags.address,
        data=flags.data,
        rerun_failed=flags.rerun_failed,
    )


def _default_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def devices_here(on_gpu: bool, cpus: float, gpus: float) -> int:
    """How many cohorts this machine can train at a time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    slots = int(cores // cpus)
    if on_gpu and gpus > 0:
        import torch

        slots = min(slots, gpu_slots(torch.cuda.device_count(), gpus))
    return max(1, slots)


def gpu_slots(there: float, each: float) -> int:
    """How many cohorts so many GPUs train at a time; a cohort's share of a GPU is one of a single one."""
    return int(there) * math.floor(1 / each + 1e-6) if each < 1 else int(there // each)


def _check_gpus(gpus: float, device: str, base: TrialConfig, flags: argparse.Namespace) -> None:
    """
    :raises InputError: for GPUs of a cohort that cannot be, or are not there.
    """
    if gpus <= 1:
        return
    said = f"--gpus-per-trial {gpus:g}" if flags.gpus_per_trial is not None else f"gpus_per_cohort = {gpus:g}"
    if not base.several_devices:
        raise InputError(f"{said}: {type(base).__name__}s train on one GPU; must be at most 1")
    if ":" in device:
        raise InputError(f"{said}: must be 1 with --device {device}")
    if flags.address is None:
        import torch

        there = torch.cuda.device_count()
        if gpus > there:
            raise InputError(f"{said}: must be at most {there}, the GPUs of this machine")
        if flags.local and gpus != there:
            raise InputError(f"{said}: --local takes all {there} GPUs that CUDA_VISIBLE_DEVICES shows; must be {there}")


def _whole(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number of at least 1")
    return int(text)


def _gpus(text: str) -> float:
    try:
        gpus = float(text)
    except ValueError:
        gpus = 0.0
    if not (0 < gpus <= 1 or (gpus < float("inf") and gpus.is_integer() and gpus > 0)):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a share of a GPU, such as .25, or a whole number of them")
    return gpus


def _size(text: str) -> int | Literal["auto"]:
    try:
        return "auto" if text == "auto" else _whole(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or 'auto'") from None


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number of hours above 0")
    return hours
