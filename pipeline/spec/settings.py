"""How a sweep is run: one frozen config that a space may carry, and whose flags override it.

:mod:`pipeline.execution.resources` turns them into the devices and workers of a machine or a cluster.
"""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

from trainables.engine.config import Config, ConfigError, option
from trainables.engine.errors import GrokscapeError, redact
from trainables.runtime.job import CHECKPOINT_EVERY_S

DEFAULT_LEDGER = "results/ledger"
DEFAULT_FIGURES = "results/figures"
DEFAULT_MLFLOW_URI = "sqlite:///results/mlflow.db"
MOST_WORKERS = 100_000
TRACKING_VARIABLE, RAY_VARIABLE = "MLFLOW_TRACKING_URI", "RAY_ADDRESS"
HOW, WHERE = "how to run it", "where things are"


class SettingsError(GrokscapeError):
    """Settings that contradict each other, or that this machine cannot satisfy: one line."""


def default_mlflow_uri() -> str:
    """Where MLflow is if no flag and no setting says: where its own variable says, or a file beside the ledger."""
    return os.environ.get(TRACKING_VARIABLE) or DEFAULT_MLFLOW_URI


def setting(
    default: Any,
    help: str,
    *,
    group: str,
    metavar: str = "N",
    none: str = "",
    factory: Callable[[], Any] | None = None,
    **bounds: float,
) -> Any:
    """A field of :class:`RunSettings`: its default and bounds, and what its flag needs.

    :param help: one phrase, without the default where that is a value.
    :param none: the word that means None on the command line.
    :param factory: makes the default, where the environment may say another than ``default``.
    """
    words = {"help": help, "group": group, "metavar": metavar, "none": none}
    metadata = {**option(default, **bounds).metadata, **words}  # type: ignore[arg-type]
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class RunSettings(Config):
    """How to run a space, for example ``SweepSpec(..., workers=4, max_hours=8)``.

    ``python -m pipeline.sweep --help`` describes the fields, as flags.
    """

    published: ClassVar[bool] = False

    local: bool = setting(False, "run in this process, without Ray: one cohort at a time", group=HOW)
    address: str | None = setting(
        None, "join a running Ray cluster; default: Ray on this machine", group=HOW, metavar="HOST:PORT"
    )
    device: str | None = setting(
        None, "cpu or cuda (cuda:N with --local); default: a GPU if there is one", group=HOW, metavar="DEVICE"
    )
    workers: int | None = setting(
        None,
        "cohorts at a time; default: as many as the cores, or the GPUs, allow",
        group=HOW,
        at_least=1,
        at_most=MOST_WORKERS,
    )
    cohort_size: int | None = setting(
        None,
        "maximum number of trials trained in lock-step; default: auto, by their cost",
        group=HOW,
        none="auto",
        at_least=1,
    )
    cpus_per_cohort: float | None = setting(
        None,
        "CPUs to reserve for a cohort; default: 1, or one for each of its GPUs",
        group=HOW,
        above=0,
        at_most=MOST_WORKERS,
    )
    gpus_per_cohort: float | None = setting(
        None,
        "GPUs of a cohort (a mini-batch trial is one by itself): a share, .25 for four cohorts on each GPU, or an "
        "integer, over which each batch is spread; default: 1",
        group=HOW,
        above=0,
    )
    max_hours: float | None = setting(
        None, "stop after H hours; run the same command again to resume", group=HOW, metavar="H", above=0, at_most=1e6
    )
    checkpoint_every_s: float = setting(
        CHECKPOINT_EVERY_S,
        "seconds between the checkpoints of a cohort",
        group=HOW,
        metavar="S",
        at_least=0,
        at_most=1e9,
    )
    rerun_failed: bool = setting(False, "rerun failed trials", group=HOW)
    rerun_changed: bool = setting(
        False,
        "rerun trials whose components' source has changed since; the rows that the older version made are deleted",
        group=HOW,
    )

    ledger: str = setting(DEFAULT_LEDGER, "a folder, or s3://bucket/prefix", group=WHERE, metavar="URI")
    mlflow_uri: str | None = setting(
        DEFAULT_MLFLOW_URI,
        f"MLflow's tracking address, or none; default: ${TRACKING_VARIABLE}, or {DEFAULT_MLFLOW_URI}",
        group=WHERE,
        metavar="URI",
        none="none",
        factory=default_mlflow_uri,
    )
    data: str | None = setting(
        None,
        "the folder of the data sets (of the workers, on a cluster); default: $GROKSCAPE_DATA",
        group=WHERE,
        metavar="DIR",
    )
    out: str | None = setting(
        None, f"where the figures go; default: {DEFAULT_FIGURES}/SWEEP", group=WHERE, metavar="DIR"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("ledger", "mlflow_uri", "data", "out"):
            if (place := getattr(self, name)) is not None:
                object.__setattr__(self, name, with_home(name, place))
        if self.device is not None and not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise ConfigError(f"RunSettings.device = {self.device!r}: must be cpu, cuda or cuda:N")
        gpus = self.gpus_per_cohort
        if gpus is not None and gpus > 1 and not gpus.is_integer():
            raise ConfigError(
                f"RunSettings.gpus_per_cohort = {gpus!r}: must be a share of one GPU, such as .25, or an integer"
            )

    def origin_of_mlflow_uri(self) -> str:
        """Words to add to an error about MLflow's address where the environment gave it."""
        with suppress(ConfigError):
            if self.mlflow_uri is not None and self.mlflow_uri == with_home("", os.environ.get(TRACKING_VARIABLE, "")):
                return f" ({TRACKING_VARIABLE} says this address; --mlflow-uri overrides it)"
        return ""

    def notes(self) -> list[str]:
        """What the environment says and these settings do, or do not, follow; a line each."""
        lines = []
        if self.mlflow_uri is not None and self.origin_of_mlflow_uri():
            lines.append(f"MLflow is at {redact(self.mlflow_uri)}, as {TRACKING_VARIABLE} says")
        cluster = os.environ.get(RAY_VARIABLE)
        if cluster and self.address is None and not self.local:
            lines.append(
                f"{RAY_VARIABLE} = {redact(cluster)} is not followed: Ray starts on this machine; to join a cluster, "
                "whose workers must reach the ledger, pass --address HOST:PORT"
            )
        return lines


def with_home(name: str, place: str) -> str:
    """A path or a SQLite address with the home folder in the place of ``~``.

    :raises ConfigError: for the home of a user whom this machine does not know.
    """
    match = re.fullmatch(r"(sqlite(?:\+\w+)?:///|file://|)(~.*)", place, re.DOTALL)
    if match is None:
        return place
    path = os.path.expanduser(match[2])
    if path.startswith("~"):
        raise ConfigError(
            f"RunSettings.{name} = {place!r}: there is no such home folder; write it out, or ./{match[2]} for a "
            "folder of that name"
        )
    return match[1] + path
