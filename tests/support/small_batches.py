"""A mini-batch trial that trains within milliseconds: rows of noise, a small network with batch norm and dropout."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from trainables.baselines.batches import Batch, BatchOrder
from trainables.baselines.trial import BatchTrial
from trainables.engine.config import digest, option
from trainables.engine.randomness import AUGMENTATION_STREAM, WEIGHTS_STREAM, random_bits, signed_uniform, torch_seeded

ROWS, TEST_ROWS, FEATURES, CLASSES = 50, 21, 6, 3


class NoisyRows:
    """Rows of a fixed noise; training adds more, drawn for each step."""

    def __init__(self, order: BatchOrder, device: str) -> None:
        self.order, self._device = order, device
        bits = random_bits(0, 99, (ROWS + TEST_ROWS) * FEATURES)
        inputs = torch.from_numpy(signed_uniform(bits).astype(np.float32)).view(-1, FEATURES)
        labels = (inputs[:, 0] * inputs[:, 1] > 0).long() + (inputs[:, 2] > 0.3).long()
        self._halves = {"train": (inputs[:ROWS], labels[:ROWS]), "test": (inputs[ROWS:], labels[ROWS:])}

    def train(self, step: int, low: int, high: int) -> Batch:
        numbers = torch.from_numpy(self.order.numbers(step))
        noise = signed_uniform(random_bits(self.order.seed, AUGMENTATION_STREAM, len(numbers) * FEATURES, block=step))
        inputs, labels = self._halves["train"]
        noisy = inputs[numbers] + 0.1 * torch.from_numpy(noise.astype(np.float32)).view(-1, FEATURES)
        return Batch(noisy[low:high].to(self._device), labels[numbers][low:high].to(self._device))

    def measured(self, split: str, rows: int | None, at_once: int):
        inputs, labels = (half[:rows].to(self._device) for half in self._halves[split])
        for low in range(0, len(inputs), at_once):
            yield Batch(inputs[low : low + at_once], labels[low : low + at_once])


@dataclass(frozen=True, kw_only=True)
class SmallTrial(BatchTrial):
    """The trial."""

    batch_size: int = option(16, at_least=1)
    dropout: float = option(0.0, at_least=0.0, below=1.0)
    norm: bool = option(False)

    def network(self) -> nn.Module:
        with torch_seeded(self.seeds.init, WEIGHTS_STREAM):
            norm = [nn.BatchNorm1d(12)] if self.norm else []
            return nn.Sequential(
                nn.Linear(FEATURES, 12), *norm, nn.ReLU(), nn.Dropout(self.dropout), nn.Linear(12, CLASSES)
            )

    def batches(self, device: str) -> NoisyRows:
        return NoisyRows(BatchOrder(rows=ROWS, batch_size=self.batch_size, seed=self.seeds.order), device)

    def flops_per_step(self) -> float:
        return 6.0 * self.batch_size * (FEATURES * 12 + 12 * CLASSES)

    def data_fingerprint(self) -> str:
        return digest(["noise", ROWS])
