"""Loss spikes: sudden rises of the training loss, typical of adaptive optimizers (Prieto et al. 2025, App. H)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trainables.engine.probes import Observation, Watcher

WINDOW_STEPS = 50
RISE = 10.0
FLOORS: Mapping[str, float] = {"loss_spikes": 0.0, "loss_spikes_resolved": 2.0**-23}
"""The floor of each column: losses below it count as equal to it."""

RECENT, HIGH, COUNT = "spikes_recent", "spikes_high", "spikes_count"


@dataclass(frozen=True, kw_only=True)
class LossSpikes(Watcher):
    """The number of spikes of the training loss before the current step.

    A spike begins when the mean loss of the training rows is at least 10 times its minimum over the last 50 steps (and
    above that minimum: 0 is no spike over 0), and lasts until the loss is below 10 times that minimum again.

    ``loss_spikes`` uses the loss unchanged; after an exact 0, any positive loss within 50 steps is a spike.
    ``loss_spikes_resolved`` raises losses to at least 2⁻²³, the smallest positive float32 loss of a single row, so that
    the flicker of a float32 loss around 0 does not count and runs in different dtypes are comparable.  Both are NaN in
    a run continued from a checkpoint whose earlier steps were not watched.
    """

    columns: ClassVar[tuple[str, ...]] = tuple(FLOORS)

    def start(self, members: int, device: torch.device) -> dict[str, Tensor]:
        flags_KC = torch.zeros(members, len(FLOORS), dtype=torch.float64, device=device)
        recent = torch.full((members, WINDOW_STEPS), torch.inf, dtype=torch.float64, device=device)
        return {RECENT: recent, HIGH: flags_KC, COUNT: flags_KC.clone()}

    def watch(self, state: Mapping[str, Tensor], losses_K: Tensor, updates: Tensor) -> dict[str, Tensor]:
        losses_K1, floors = losses_K.unsqueeze(1), list(FLOORS.values())
        lowest_K1 = state[RECENT].amin(1, keepdim=True)
        high_KC = torch.cat(
            [
                (losses_K1 >= RISE * lowest_K1.clamp(min=floor)) & (losses_K1 > lowest_K1.clamp(min=floor))
                for floor in floors
            ],
            dim=1,
        ).double()
        begins_KC = high_KC * (1 - state[HIGH])
        # Overwrite the oldest loss with this one.
        oldest = torch.arange(WINDOW_STEPS, device=updates.device) == updates % WINDOW_STEPS
        return {
            RECENT: torch.where(oldest, losses_K1, state[RECENT]),
            HIGH: high_KC,
            COUNT: state[COUNT] + begins_KC,
        }

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        return dict(zip(self.columns, seen.watched[COUNT].unbind(1), strict=True))
