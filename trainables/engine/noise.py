"""Stateless randomness during training (dropout): every draw is a function of the member's seed and the step."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.engine.randomness import NOISE_STREAM, random_bits


class Noise:
    """The random draws of one step.  A member's draws do not depend on its cohort, but may differ on CPU and GPU."""

    def __init__(self, seeds: Sequence[int], step: int, device: torch.device) -> None:
        """Seed one generator per member for ``step``; repeating the same calls repeats the draws."""
        self._generators = []
        for seed in seeds:
            # Hash seed and step separately, so that neither consecutive seeds nor steps give related generators.
            key = int(random_bits(seed, NOISE_STREAM, 1)[0]) ^ int(random_bits(step, NOISE_STREAM + 1, 1)[0])
            self._generators.append(torch.Generator(device).manual_seed(key))
        self._device = device

    def keep(self, shape: Sequence[int], dropped: float) -> Tensor:
        """Draw a dropout mask, scaled by 1/(1 - dropped): shape (K, *shape), float32 (Srivastava et al. 2014).

        :param dropped: the probability that a unit is dropped.
        """
        kept = torch.empty((len(self._generators), *shape), device=self._device)
        for member, generator in zip(kept, self._generators, strict=True):
            member.bernoulli_(1 - dropped, generator=generator)
        return kept.div_(1 - dropped)
