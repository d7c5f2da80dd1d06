"""Schedules of the learning rate: a factor in [0, 1] for every update, part of what decides the path of the weights."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.engine.config import Config


@dataclass(frozen=True, kw_only=True)
class Schedule(Config):
    """Base of the schedules."""

    @abstractmethod
    def factor(self, updates: Tensor) -> Tensor:
        """What the learning rate is multiplied by, in [0, 1].

        :param updates: the number of the update, from 1; shape (), float64, on the device.
        :returns: shape (), float64.
        """


@dataclass(frozen=True, kw_only=True)
class ConstantSchedule(Schedule):
    """The learning rate as it is."""

    def factor(self, updates: Tensor) -> Tensor:
        return torch.ones_like(updates)
