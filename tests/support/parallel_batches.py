"""Small trials for several processes: in float64, so that only what is wrong differs from one process by much."""

import os
import signal
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tests.support.small_batches import CLASSES, SmallTrial
from trainables.baselines.cohort import BatchCohort
from trainables.engine.config import option
from trainables.engine.randomness import WEIGHTS_STREAM, torch_seeded


class ToFloat64(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.double()


class Broken(nn.Module):
    """Passes its inputs on; in the second process something happens, from some number of rows on."""

    def __init__(self, how: str, rows: int) -> None:
        super().__init__()
        self.how, self.rows, self.seen = how, rows, 0

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training and dist.is_initialized() and dist.get_rank() == 1 and len(inputs) >= self.rows:
            self.seen += 1
            if self.how == "memory":
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {len(inputs)} MiB")
            if self.how == "bug":
                raise ValueError("a bug")
            if self.how == "killed" and self.seen > 3:
                os.kill(os.getpid(), signal.SIGKILL)
        return inputs


@dataclass(frozen=True, kw_only=True)
class ParallelTrial(SmallTrial):
    """Trained by two processes, wherever it is built."""

    exact: bool = option(True)
    convolved: bool = option(False)
    """Six features as two channels of three places, so that one row has a batch statistic."""
    broken: str = option("", choices=("", "memory", "bug", "killed"))
    broken_rows: int = option(1)

    def network(self) -> nn.Module:
        if self.convolved:
            with torch_seeded(self.seeds.init, WEIGHTS_STREAM):
                convolution = [nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 4, 1), nn.BatchNorm1d(4)]
                return nn.Sequential(
                    ToFloat64(), *convolution, nn.Flatten(), nn.ReLU(), nn.Linear(12, CLASSES)
                ).double()
        network = super().network()
        if not self.exact:
            return network
        broken = [Broken(self.broken, self.broken_rows)] if self.broken else []
        # What breaks leaves the other waiting: between a batch norm and the gradients.
        return nn.Sequential(ToFloat64(), *network, *broken).double()

    @classmethod
    def build(cls, trials, device: str = "cpu") -> BatchCohort:
        return BatchCohort(trials, device, processes=2)
