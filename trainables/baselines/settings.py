"""What every mini-batch trial is made of: a loss, a gradient rule, an optimizer, its network and its batches."""

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
"""What the cohort itself adds to the probes' columns: passes over the training rows so far, η of the next update, and
how many rows go through the network at a time."""


@dataclass(frozen=True, kw_only=True)
class BatchSettings(TrialConfig):
    """Base of the trials that a :class:`trainables.baselines.cohort.BatchCohort` trains.

    The loss, the gradient rule and the probes are the engine's own.  The batch of a step is the same whatever
    ``micro_batch_size`` and the number of devices; but a network with batch normalisation takes its statistics from
    each micro-batch, which rows tell by their column ``micro_batch_size``, and dropout draws other masks on several
    devices.
    """

    largest_cohort: ClassVar[int | None] = 1
    several_devices: ClassVar[bool] = True

    batch_size: int = option(128, at_least=1)
    """Rows of one update, over all micro-batches and devices."""
    loss: Loss = option(SoftmaxCrossEntropy())
    gradient: GradientRule = option(PlainGradient())
    optimizer: Optimizer = option(SGD())
    schedule: Schedule = option(ConstantSchedule())
    precision: str = option("float32", choices=("float32", "bfloat16", "float16"))
    """Of the network's operations, by torch's autocast; float16 with scaling of the loss.  Weights are float32, and
    the loss has a dtype of its own."""
    micro_batch_size: int | None = option(None, at_least=1, execution=True)
    """Rows of one forward and backward pass at most, over all devices; gradients are accumulated over the batch.
    None: all of it, or as many as turn out to fit in memory."""
    compile: bool = option(False, execution=True)
    """Whether the network goes through ``torch.compile``."""
    measuring: MeasuringTimes = option(EverySteps(every_steps=500), protocol=True)
    stopping: Stopping = option(Stopping(on_success=False, on_frozen=False), protocol=True)
    measured_train_rows: int = option(1000, at_least=1, protocol=True)
    """How many training rows a measurement looks at: collapse, margins and the training accuracy are theirs."""
    test_rows: int | None = option(None, at_least=1, protocol=True)
    """How many test rows a measurement looks at; None: all."""
    probes: tuple[Probe, ...] = option(STANDARD, protocol=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_optimizer(self.optimizer)
        for probe in self.probes:
            if isinstance(probe, Watcher):
                raise ConfigError(f"{type(probe).__name__}: looks at every full-batch step; not for mini-batch trials")
            probe.check(None)

    def columns(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
        """Those of its probes, and where it stands."""
        return (*OWN_COLUMNS, *(name for probe in self.probes for name in probe.names(shapes, None)))

    @abstractmethod
    def network(self) -> nn.Module:
        """The network at its initial weights, which follow from ``seeds.init``: on the CPU, float32.

        Its forward pass makes logits, (B, V) or (B, T, V), of a batch's inputs.
        """

    def placed(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network on its device, laid out in memory as is best there."""
        return network.to(device)

    @abstractmethod
    def batches(self, device: str) -> Batches:
        """The data.

        :raises ConfigError: when there are too few rows, or none.
        """
