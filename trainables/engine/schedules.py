"""Learning-rate schedules: a factor in [0, 1] for every update.  They are part of a trial's identity."""

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.engine.config import Config, ConfigError, option


@dataclass(frozen=True, kw_only=True)
class Schedule(Config):
    """Base of the schedules."""

    @abstractmethod
    def factor(self, updates: Tensor) -> Tensor:
        """Return the factor of the learning rate, in [0, 1].

        :param updates: the number of the update, from 1; shape (), float64, on the device.
        :returns: shape (), float64.
        """


@dataclass(frozen=True, kw_only=True)
class ConstantSchedule(Schedule):
    """A constant learning rate."""

    def factor(self, updates: Tensor) -> Tensor:
        return torch.ones_like(updates)


@dataclass(frozen=True, kw_only=True)
class Warmup(Schedule):
    """Rise linearly from 1/``warmup_steps`` at update 1 to 1 at update ``warmup_steps``; then stay constant."""

    warmup_steps: int = option(at_least=1, example=5)

    def factor(self, updates: Tensor) -> Tensor:
        return (updates / self.warmup_steps).clamp(max=1.0)


@dataclass(frozen=True, kw_only=True)
class StepDecay(Schedule):
    """Multiply by ``gamma`` after every ``every_steps`` updates, as in ``torch.optim.lr_scheduler.StepLR``.

    The ResNets of Prieto et al. 2025, Fig. 17, divide by 10 every 30 epochs.
    """

    every_steps: int = option(at_least=1, example=3)
    gamma: float = option(0.1, above=0.0, at_most=1.0)

    def factor(self, updates: Tensor) -> Tensor:
        return self.gamma ** torch.floor((updates - 1) / self.every_steps)


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Fall along half a cosine from 1 to ``final_fraction`` at update ``total_steps`` (Loshchilov and Hutter 2017).

    A linear warm-up comes first, as in :class:`Warmup`; after ``total_steps`` the factor stays at ``final_fraction``.
    ``total_steps``, unlike the horizon, is part of the trial's identity, because it changes the path of the weights.
    """

    total_steps: int = option(at_least=1, example=80)
    warmup_steps: int = option(0, at_least=0, example=5)
    final_fraction: float = option(0.0, at_least=0.0, at_most=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup_steps >= self.total_steps:
            raise ConfigError(
                f"Cosine.warmup_steps = {self.warmup_steps}: must be below total_steps = {self.total_steps}"
            )

    def factor(self, updates: Tensor) -> Tensor:
        progress = (updates - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        half = (1 + torch.cos(math.pi * progress.clamp(0.0, 1.0))) / 2
        falling = self.final_fraction + (1 - self.final_fraction) * half
        return torch.where(updates < self.warmup_steps, updates / max(self.warmup_steps, 1), falling)
