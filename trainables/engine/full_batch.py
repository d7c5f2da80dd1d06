"""What a full-batch trial is made of: its components, checked against each other."""

from collections.abc import Mapping
from dataclasses import dataclass

from trainables.engine.config import Config, ConfigError, option
from trainables.engine.events import ACCURACY_EVENTS, ACCURACY_PHASES, EventRule, PhaseRule
from trainables.engine.gradients import GradientRule, PlainGradient
from trainables.engine.interventions import Intervention, NoIntervention
from trainables.engine.losses import Loss, SoftmaxCrossEntropy
from trainables.engine.models import MLP, Model
from trainables.engine.optimizers import AdamW, Optimizer
from trainables.engine.penalties import NoPenalty, Penalty
from trainables.engine.probes import STANDARD, Probe
from trainables.engine.schedules import ConstantSchedule, Schedule
from trainables.engine.tasks import ModularAddition, Task
from trainables.engine.trial import TrialConfig
from trainables.engine.updates import PlainUpdate, UpdateRule


@dataclass(frozen=True, kw_only=True)
class FullBatchTrial(TrialConfig):
    """Base of the trials that a :class:`trainables.engine.cohort.GrokkingCohort` trains."""

    task: Task = option(example=ModularAddition.example())
    model: Model = option(MLP())
    alpha: float = option(1.0, above=0.0, per_trial=True)
    """α: the logits are multiplied by it, and the learning rate is divided by α², as the released code does."""
    loss: Loss = option(SoftmaxCrossEntropy())
    penalty: Penalty = option(NoPenalty())
    gradient: GradientRule = option(PlainGradient())
    optimizer: Optimizer = option(AdamW())
    update: UpdateRule = option(PlainUpdate())
    schedule: Schedule = option(ConstantSchedule())
    intervention: Intervention = option(NoIntervention())
    probes: tuple[Probe, ...] = option(STANDARD, protocol=True)
    events: tuple[EventRule, ...] = option(ACCURACY_EVENTS, protocol=True)
    phases: tuple[PhaseRule, ...] = option(ACCURACY_PHASES, protocol=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.model.check(self.task)
        for probe in self.probes:
            probe.check(self.task)
        penalties = (self.penalty, self.intervention.penalty(self.penalty))
        reading: list[Config] = [penalty for penalty in penalties if penalty.reads_activations]
        reading += [probe for probe in self.probes if probe.reads_activations]
        if reading and not (self.model.layers and self.model.readout):
            raise ConfigError(
                f"{type(reading[0]).__name__}: {type(self.model).__name__} shows no hidden activations; must be one "
                "with layers and a readout, such as an MLP with a hidden layer"
            )

    def columns(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
        """Those of its probes."""
        return tuple(name for probe in self.probes for name in probe.names(shapes, self.task))

    def flops_per_step(self) -> float:
        """One forward and one backward pass over the training rows."""
        return 3.0 * self.task.train_rows * self.model.flops_per_row(self.task)

    def data_fingerprint(self) -> str:
        """A digest of the training and test rows of this split."""
        return self.task.fingerprint(self.seeds)
