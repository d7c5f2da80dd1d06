"""Evaluation batch by batch: gather facts about every row while holding the logits of only one batch.

Shape suffixes: K cohort (one), B rows, V classes.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import torch
from torch import Tensor, nn

from trainables.baselines.batches import Batch
from trainables.engine.losses import Loss
from trainables.engine.optimizers import stack_hyper
from trainables.engine.probes import Rows


@dataclass(frozen=True)
class Criterion:
    """The loss of a trial, on batches of any shape."""

    loss: Loss
    hyper: dict[str, Tensor]

    @classmethod
    def of(cls, loss: Loss, device: torch.device) -> "Criterion":
        """Put the loss's per-trial values on the device."""
        return cls(loss, stack_hyper([loss], device, varied=True))

    def rows(self, logits: Tensor, labels: Tensor) -> Rows:
        """Return the rows of a batch, from (B, V) and (B,), or (B, T, V) and (B, T), where every token is a row."""
        logits_KBV, labels_KB = logits.reshape(1, -1, logits.shape[-1]), labels.reshape(1, -1)
        if "temperature" in self.hyper:
            logits_KBV = logits_KBV / self.hyper["temperature"].to(logits_KBV.dtype).view(1, 1, 1)
        losses_KB = self.loss.row_losses(logits_KBV, labels_KB, self.hyper)
        return Rows(logits_KBV, labels_KB, losses_KB, self.loss, self.hyper)


def evaluate(
    network: nn.Module,
    batches: Iterable[Batch],
    criterion: Criterion,
    autocast: torch.autocast,
    facts: Collection[str],
) -> Rows:
    """Evaluate the network on these batches in evaluation mode, then restore its mode.

    :param facts: the attributes of :class:`trainables.engine.probes.Rows` to gather, each of shape (1, rows); without
        any, skip the network.
    """
    gathered: dict[str, list[Tensor]] = {name: [] for name in facts}
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            for batch in batches if facts else ():
                with autocast:
                    logits = network(batch.inputs)
                rows = criterion.rows(logits, batch.labels)
                for name in facts:
                    gathered[name].append(getattr(rows, name))
    finally:
        network.train(training)
    return cast(Rows, SimpleNamespace(**{name: torch.cat(parts, dim=1) for name, parts in gathered.items()}))
