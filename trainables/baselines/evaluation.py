"""A network looked at batch by batch: facts of every row, without ever holding the logits of more than one batch.

Shape suffixes: K cohort (one), B rows, V classes.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import torch
from torch import Tensor, nn

from trainables.baselines.batches import Batch
from trainables.engine.config import Config
from trainables.engine.losses import Loss
from trainables.engine.optimizers import stack_hyper
from trainables.engine.probes import LogitRows, Rows


@dataclass(frozen=True)
class Criterion:
    """The loss of a trial, on batches of any shape."""

    loss: Loss
    hyper: dict[str, Tensor]

    @classmethod
    def of(cls, loss: Loss, device: torch.device) -> "Criterion":
        """The loss with its per-trial values on the device."""
        components: list[Config] = [loss]
        return cls(loss, stack_hyper(components, device, varied=True))

    def rows(self, logits: Tensor, labels: Tensor) -> LogitRows:
        """The rows of a batch: of (B, V) and (B,), or (B, T, V) and (B, T), whose every position is a row."""
        logits_KBV, labels_KB = logits.reshape(1, -1, logits.shape[-1]), labels.reshape(1, -1)
        if "temperature" in self.hyper:
            logits_KBV = logits_KBV / self.hyper["temperature"].to(logits_KBV.dtype).view(1, 1, 1)
        losses_KB = self.loss.row_losses(logits_KBV, labels_KB, self.hyper)
        return LogitRows(logits_KBV, labels_KB, losses_KB, self.loss)


def evaluate(
    network: nn.Module,
    batches: Iterable[Batch],
    criterion: Criterion,
    autocast: torch.autocast,
    facts: Collection[str],
) -> Rows:
    """The rows of these batches at the network's weights, in evaluation mode; the network is left as it was.

    :param facts: names of :class:`trainables.engine.probes.Rows`: what is gathered, each of shape (1, rows); for none
        the network is not asked.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in facts}
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            for batch in batches if facts else ():
                with autocast:
                    logits = network(batch.inputs)
                rows = criterion.rows(logits, batch.labels)
                for name in facts:
                    found[name].append(getattr(rows, name))
    finally:
        network.train(training)
    return cast(Rows, SimpleNamespace(**{name: torch.cat(parts, dim=1) for name, parts in found.items()}))
