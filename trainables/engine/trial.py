"""What every trial has, whatever it trains: seeds, a protocol, an identity, and the cohort that it builds.

A *trial* is one training run.  Its identity (:attr:`TrialConfig.trial_id`) hashes what decides the path of its
weights and nothing else.  Its *protocol* (horizon, schedule, probes, events, stopping) sets how far that path is
followed, what is measured on it, and what is waited for.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from trainables.engine.config import Config, ConfigError, digest, option
from trainables.engine.events import EventRule, PhaseRule, check_declared
from trainables.engine.stopping import Stopping


@dataclass(frozen=True, kw_only=True)
class Seeds(Config):
    """One seed for each source of randomness, so that they can vary together or separately."""

    split: int = option(0, at_least=0, per_trial=True)
    """Which rows are for training."""
    init: int = option(0, at_least=0, per_trial=True)
    """The initial weights."""
    order: int = option(0, at_least=0, per_trial=True)
    """The order of the training rows (or of the batches), and every random draw during training."""

    @classmethod
    def all(cls, seed: int) -> Self:
        """The same seed for everything."""
        return cls(split=seed, init=seed, order=seed)


MOST_MEASUREMENTS = 10_000_000


@dataclass(frozen=True, kw_only=True)
class MeasuringTimes(Config):
    """Base of the schedules of measurements."""

    @abstractmethod
    def steps(self, horizon_steps: int) -> np.ndarray:
        """The measured steps in ``[0, horizon_steps]``, ascending, both ends included; int64."""


@dataclass(frozen=True, kw_only=True)
class EverySteps(MeasuringTimes):
    """Measure at step 0, every ``every_steps`` steps, and at the last: for curves, where no time is estimated."""

    every_steps: int = option(at_least=1, example=10)

    def steps(self, horizon_steps: int) -> np.ndarray:
        if horizon_steps // self.every_steps > MOST_MEASUREMENTS:
            raise ConfigError(
                f"EverySteps.every_steps = {self.every_steps}: makes more than {MOST_MEASUREMENTS} measurements "
                f"up to step {horizon_steps}"
            )
        return np.array([*range(0, horizon_steps, self.every_steps), horizon_steps], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Measuring(MeasuringTimes):
    """Measure every step up to ``dense_until_steps``, then geometrically, and at the last step.

    The ratio of at most 1.05 bounds how wide the interval of an event can be, relative to its time.
    """

    dense_until_steps: int = option(20, at_least=0, at_most=MOST_MEASUREMENTS)
    ratio: float = option(1.05, above=1.0, at_most=1.05)

    def steps(self, horizon_steps: int) -> np.ndarray:
        # But for its end the grid does not depend on the horizon.
        steps = list(range(min(self.dense_until_steps, horizon_steps) + 1))
        while steps[-1] < horizon_steps:
            steps.append(min(max(steps[-1] + 1, int(steps[-1] * self.ratio)), horizon_steps))
        return np.array(steps, dtype=np.int64)


def check_members(trials: "Sequence[TrialConfig]") -> None:
    """Make sure that trials may train in one cohort.

    :raises ConfigError: when they differ in more than per-trial values.
    """
    if len({trial.cohort_key for trial in trials}) != 1:
        raise ConfigError(f"a cohort of {len(trials)} trials: must differ in per-trial values only")


def check_states(states: Sequence[Mapping[str, Any]], members: int) -> None:
    """Make sure that checkpoints fit a cohort of this many members.

    :raises ValueError: when there is not one state per member, or when they are at different steps.
    """
    if len(states) != members or len({state["step"] for state in states}) != 1:
        raise ValueError(
            f"{len(states)} states at steps {sorted({state['step'] for state in states})}: "
            f"must be one for each of {members} members, all at one step"
        )


class Cohort:
    """K trials of one shape in lock-step.  A solo trial, and every baseline, is a cohort of one."""

    trials: "Sequence[TrialConfig]"
    """The members, in order."""
    step: int
    """How many updates every active member has made."""

    @abstractmethod
    def advance(self, steps: int) -> None:
        """Make ``steps`` updates of every active member."""

    @abstractmethod
    def measure(self) -> dict[str, np.ndarray]:
        """Measure at the present step: the columns of the probes that are due, each (K,); change nothing."""

    @abstractmethod
    def snapshot(self, member: int) -> dict[str, np.ndarray]:
        """One member's weights by name."""

    def notes(self) -> list[str]:
        """Messages for the user since the last call, one line each: a smaller batch after running out of memory."""
        return []

    @abstractmethod
    def finite(self) -> np.ndarray:
        """Whether each member's loss, gradient and weights are finite at the present step: shape (K,), bool."""

    @abstractmethod
    def frozen(self) -> np.ndarray:
        """Whether each member's weights provably never change after the present step: shape (K,), bool."""

    def retire(self, members: Sequence[int]) -> None:
        """Stop updating these members (a mask: shapes stay); nobody advances a cohort of one after that."""

    def compact(self) -> None:
        """Drop the retired members; the others keep their order."""

    @abstractmethod
    def state_dict(self, member: int) -> dict[str, Any]:
        """What one member needs to continue bit for bit, in any packing."""

    @abstractmethod
    def load_state_dict(self, states: Sequence[dict[str, Any]]) -> None:
        """Continue from one state a member; all must be at the same step."""

    def arithmetic(self) -> dict[str, str]:
        """What decides the last digits beside the device, the source and the packages, in words for the record."""
        return {"subnormals": "kept"}

    def close(self) -> None:
        """Free what outlives the object: processes on other devices."""


@dataclass(frozen=True, kw_only=True)
class TrialConfig(Config):
    """Base of the trial kinds."""

    largest_cohort: ClassVar[int | None] = None
    """How many trials of the kind may train in one cohort at most; None: as many as fit."""
    several_devices: ClassVar[bool] = False
    """Whether a cohort of the kind can be spread over more than one GPU."""

    seeds: Seeds = option(Seeds())
    horizon_steps: int = option(protocol=True, at_least=1, at_most=2**40 - 1, example=10)
    measuring: MeasuringTimes = option(Measuring(), protocol=True)
    stopping: Stopping = option(Stopping(), protocol=True)
    snapshots_every: int = option(0, at_least=0, protocol=True)
    """Store the weights at every n-th measurement, the first included; 0: never."""
    events: tuple[EventRule, ...] = option((), protocol=True)
    """What is waited for.  A trial stops on success when all have held; without any it has final values, no times."""
    phases: tuple[PhaseRule, ...] = option((), protocol=True)
    """What a run is called by the events that came: the first that fits."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_declared(self.events, self.phases)

    def check_columns(self) -> None:
        """Make sure that no column is measured twice, and that every event's column is measured.

        :raises ConfigError: naming the column, or the event and the columns that there are.
        """
        # Columns of single tensors are known by the model only.
        measured = [column for column in self.columns({}) if "." not in column]
        twice = next((column for column in measured if measured.count(column) > 1), None)
        if twice is not None:
            raise ConfigError(f"probes: column {twice!r} is measured twice; two probes must not share a column")
        for rule in self.events:
            if "." not in rule.column and rule.column not in measured:
                raise ConfigError(
                    f"events: {rule.name} looks at column {rule.column!r}, which no probe measures; "
                    f"must be one of: {', '.join(measured)}; probes=(*STANDARD, ...) keeps the standard ones"
                )

    def grid(self) -> np.ndarray:
        """The measured steps, ascending, int64."""
        return self.measuring.steps(self.horizon_steps)

    def due(self, place: int | None, every: int) -> bool:
        """Whether what happens at every n-th measurement happens at the measurement number ``place`` (from 0).

        It also happens at the horizon, so that the end of a run is known, and at a step outside the schedule (None).
        """
        return place is None or place % every == 0 or place == len(self.grid()) - 1

    @cached_property
    def trial_id(self) -> str:
        """20 hexadecimal digits that name the path of the weights: the same content has the same id anywhere."""
        return digest(self.identity())

    @cached_property
    def cohort_key(self) -> str:
        """Trials with the same key may train in one cohort."""
        return hashlib.sha256(self.shared_text.encode()).hexdigest()[:20]

    @classmethod
    @abstractmethod
    def build(cls, trials: Sequence[Self], device: str) -> Cohort:
        """The cohort of these trials at step 0 on a torch device; they must share their ``cohort_key``."""

    @abstractmethod
    def columns(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
        """The columns that the trial measures.

        :param shapes: of the weights by name, without the cohort axis.
        """

    @abstractmethod
    def flops_per_step(self) -> float:
        """Floating-point operations of one update, for predicting costs."""

    @abstractmethod
    def data_fingerprint(self) -> str:
        """A digest of the rows that the trial trains and tests on."""
