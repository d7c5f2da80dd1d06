"""The configuration that all mini-batch trials share: loss, gradient rule, optimizer, network and batches."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from trainables.baselines.batches import Batches
from trainables.baselines.updates import check_optimizer
from trainables.engine.config import ConfigError, option
from trainables.engine.gradients import GradientRule, PlainGradient
from trainables.engine.losses import Loss, SoftmaxCrossEntropy
from trainables.engine.optimizers import SGD, Optimizer
from trainables.engine.probes import STANDARD, Probe, Watcher
from trainables.engine.schedules import ConstantSchedule, Schedule
from trainables.engine.stopping import Stopping
from trainables.engine.trial import EverySteps, MeasuringTimes, TrialConfig

OWN_COLUMNS = ("epoch", "learning_rate", "micro_batch_size")
"""The columns that the cohort adds to those of the probes: passes over the training rows so far, η of the next update,
and the number of rows that go through the network at a time."""


@dataclass(frozen=True, kw_only=True)
class BatchSettings(TrialConfig):
    """Base of the trials that a :class:`trainables.baselines.cohort.BatchCohort` trains.

    Loss, gradient rule and probes are the engine's.  The batch of a step does not depend on ``micro_batch_size`` or on
    the number of devices.  Two things do: batch normalisation takes its statistics from each micro-batch (the column
    ``micro_batch_size`` records its size), and dropout draws different masks on several devices.
    """

    largest_cohort: ClassVar[int | None] = 1
    several_devices: ClassVar[bool] = True

    batch_size: int = option(128, at_least=1)
    """Rows per update, over all micro-batches and devices."""
    loss: Loss = option(SoftmaxCrossEntropy())
    gradient: GradientRule = option(PlainGradient())
    optimizer: Optimizer = option(SGD())
    schedule: Schedule = option(ConstantSchedule())
    precision: str = option("float32", choices=("float32", "bfloat16", "float16"))
    """The dtype of the network's operations under torch's autocast; float16 scales the loss.  Weights stay float32, and
    the loss has its own dtype."""
    micro_batch_size: int | None = option(None, at_least=1, execution=True)
    """Most rows per forward and backward pass, over all devices; gradients accumulate over the batch.  None: the whole
    batch, or as many rows as fit in memory."""
    compile: bool = option(False, execution=True)
    """Whether to compile the network by ``torch.compile``."""
    measuring: MeasuringTimes = option(EverySteps(every_steps=500), protocol=True)
    stopping: Stopping = option(Stopping(on_success=False, on_frozen=False), protocol=True)
    measured_train_rows: int = option(1000, at_least=1, protocol=True)
    """How many training rows a measurement evaluates, for collapse, margins and the training accuracy."""
    test_rows: int | None = option(None, at_least=1, protocol=True)
    """How many test rows a measurement evaluates; None: all."""
    probes: tuple[Probe, ...] = option(STANDARD, protocol=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_optimizer(self.optimizer)
        if self.precision == "float16" and self.gradient.init_state({}):
            raise ConfigError(
                f"gradient = {type(self.gradient).__name__}: remembers gradients, and in float16 some are infinite; "
                "must be used with precision bfloat16 or float32"
            )
        for probe in self.probes:
            if isinstance(probe, Watcher):
                raise ConfigError(f"{type(probe).__name__}: reads every full-batch step; not for mini-batch trials")
            if probe.reads_activations:
                raise ConfigError(f"{type(probe).__name__}: reads hidden activations; not for mini-batch trials")
            probe.check(None)

    def columns(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
        """Return the cohort's own columns and those of the probes."""
        return (*OWN_COLUMNS, *(name for probe in self.probes for name in probe.names(shapes, None)))

    @abstractmethod
    def network(self) -> nn.Module:
        """Build the network on the CPU, float32, with initial weights that follow from ``seeds.init``.

        Its forward pass maps a batch's inputs to logits, (B, V) or (B, T, V).
        """

    def to_device(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Move the network to a device, in that device's fastest memory layout."""
        return network.to(device)

    @abstractmethod
    def batches(self, device: str) -> Batches:
        """Load the data onto a device.

        :raises ConfigError: when there are too few rows.
        """
