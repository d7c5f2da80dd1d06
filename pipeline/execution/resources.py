"""From the settings of a run to what it uses of this machine, or of a cluster: a device, and shares of it."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.execution.provenance import device_kind
from pipeline.spec.settings import RunSettings, SettingsError
from trainables.engine.trial import TrialConfig


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What the cohorts of a run train on."""

    device: str
    """As torch names it."""
    device_kind: str
    """As rows name it: ``cpu:<model>`` or ``cuda:<model>``."""
    workers: int | None
    """Cohorts at a time; None on a cluster that has not been joined yet."""
    cpus_per_cohort: float
    gpus_per_cohort: float
    """0 on a CPU."""


def resolve(settings: RunSettings, base: TrialConfig) -> Resources:
    """The resources of a run of trials of the base's kind.

    :raises SettingsError: for settings that contradict each other, and for devices that this machine lacks.
    """
    device = settings.device or default_device()
    if ":" in device and not settings.local:
        raise SettingsError(f"--device {device}: Ray assigns the GPUs; pass --device cuda, or --local too")
    if settings.local and settings.address is not None:
        raise SettingsError(f"--address {settings.address}: --local runs in this process; drop one of them")
    if settings.local and (settings.workers or 1) > 1:
        raise SettingsError(f"--workers {settings.workers}: --local runs one cohort at a time; drop one of them")
    try:
        kind = device_kind(device)
    except ValueError as error:
        if settings.address is None:
            raise SettingsError(f"--device {error}") from None
        kind = device  # The cluster has what this machine lacks.
    gpus = 0.0
    if device != "cpu":
        gpus = settings.gpus_per_cohort or 1.0
        _check_gpus(gpus, device, settings, base)
        if settings.local and device == "cuda" and gpus <= 1:
            device = "cuda:0"
    cpus = settings.cpus_per_cohort or max(1.0, gpus)
    workers = 1 if settings.local else settings.workers
    if workers is None and settings.address is None:
        workers = slots_here(cpus, gpus)
    return Resources(device=device, device_kind=kind, workers=workers, cpus_per_cohort=cpus, gpus_per_cohort=gpus)


def default_device() -> str:
    """A GPU if this machine has one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def slots_here(cpus_per_cohort: float, gpus_per_cohort: float) -> int:
    """How many cohorts this machine can train at a time."""
    return slots(cpus_here(), _gpus_here() if gpus_per_cohort else 0, cpus_per_cohort, gpus_per_cohort)


def cpus_here() -> int:
    """How many CPUs this process may use: its affinity, and the quota of its control groups, rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, cpu_quotas())]))


def cpu_quotas(root: Path = Path("/")) -> Iterator[float]:
    """The CPUs that each control group of this process allows, from its own to the outermost; v1 and v2.

    A container sees its own group where the outermost one would be.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = ("cpu", "cpu,cpuacct") if controllers else ("", "unified")
        for base in {(root / "sys/fs/cgroup" / mount).resolve() for mount in mounts}:
            parts = [part for part in path.split("/") if part not in ("", "..")]
            for depth in range(len(parts), -1, -1):
                folder = base.joinpath(*parts[:depth])
                with suppress(OSError, ValueError):  # There is no such group here, or its quota is "max".
                    if controllers:
                        quota = int((folder / "cpu.cfs_quota_us").read_text())
                        period = int((folder / "cpu.cfs_period_us").read_text())
                    else:
                        quota, period = map(int, (folder / "cpu.max").read_text().split())
                    if quota > 0 and period > 0:
                        yield quota / period


def slots(cpus: float, gpus: float, cpus_per_cohort: float, gpus_per_cohort: float) -> int:
    """How many cohorts these CPUs and GPUs can train at a time, at least 1; a share must fit on a single GPU."""
    count = int(cpus // cpus_per_cohort)
    if gpus_per_cohort >= 1:
        count = min(count, int(gpus // gpus_per_cohort))
    elif gpus_per_cohort > 0:
        count = min(count, int(gpus) * math.floor(1 / gpus_per_cohort + 1e-6))
    return max(1, count)


def _check_gpus(gpus: float, device: str, settings: RunSettings, base: TrialConfig) -> None:
    """
    :raises SettingsError: for several GPUs of a cohort that the trials cannot use, or that this machine lacks.
    """
    if gpus <= 1:
        return
    flag = f"--gpus-per-cohort {gpus:g}"
    if not base.several_devices:
        raise SettingsError(f"{flag}: a {type(base).__name__} trains on one GPU; must be at most 1")
    if ":" in device:
        raise SettingsError(f"{flag}: must be 1 with --device {device}")
    if settings.address is None:
        available = _gpus_here()
        if gpus > available:
            raise SettingsError(f"{flag}: must be at most {available}, the GPUs of this machine")
        if settings.local and gpus != available:
            raise SettingsError(
                f"{flag}: --local takes all {available} GPUs that CUDA_VISIBLE_DEVICES shows; must be {available}"
            )


def _gpus_here() -> int:
    import torch

    return torch.cuda.device_count()
