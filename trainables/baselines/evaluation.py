"""A network looked at batch by batch: facts of every row, without ever holding the logits of more than one batch.

Shape suffixes: K cohort (one), B rows, V classes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from trainables.baselines.batches import Batch
from trainables.engine.config import Config
from trainables.engine.losses import Loss
from trainables.engine.optimizers import stack_hyper
from trainables.engine.probes import LogitRows


@dataclass(frozen=True)
class StreamedRows:
    """The facts of :class:`trainables.engine.probes.Rows`, gathered over batches: each of shape (1, rows)."""

    losses_KB: Tensor
    correct_KB: Tensor
    margins_KB: Tensor
    rank_KB: Tensor
    scale_KB: Tensor
    collapsed_KB: Tensor
    loss_collapsed_KB: Tensor


FACTS = tuple(spec.name for spec in fields(StreamedRows))


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
    network: nn.Module, batches: Iterable[Batch], criterion: Criterion, autocast: torch.autocast
) -> StreamedRows:
    """The rows of these batches at the network's weights, in evaluation mode; the network is left as it was."""
    found: dict[str, list[Tensor]] = {name: [] for name in FACTS}
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                with autocast:
                    logits = network(batch.inputs)
                rows = criterion.rows(logits, batch.labels)
                for name in FACTS:
                    found[name].append(getattr(rows, name))
    finally:
        network.train(training)
    return StreamedRows(**{name: torch.cat(parts, dim=1) for name, parts in found.items()})
