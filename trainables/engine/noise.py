"""Chance during training (dropout) that needs no state: every draw is a function of the member's seed and the step."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.engine.randomness import NOISE_STREAM, random_bits


class Noise:
    """The draws of one step.  A member's are the same in any packing; they may differ between kinds of device."""

    def __init__(self, seeds: Sequence[int], step: int, device: torch.device) -> None:
        """The draws that the members with these seeds make at ``step``; call number by call number."""
        self._generators = []
        for seed in seeds:
            # Two hashes, so that neither seeds nor steps that follow each other give related generators.
            key = int(random_bits(seed, NOISE_STREAM, 1)[0]) ^ int(random_bits(step, NOISE_STREAM + 1, 1)[0])
            self._generators.append(torch.Generator(device).manual_seed(key))
        self._device = device

    def keep(self, shape: Sequence[int], dropped: float) -> Tensor:
        """Which units are kept, times 1/(1 - dropped): shape (K, *shape), float32 (Srivastava et al. 2014).

        :param dropped: the probability that a unit is dropped.
        """
        kept = torch.empty((len(self._generators), *shape), device=self._device)
        for member, generator in zip(kept, self._generators, strict=True):
            member.bernoulli_(1 - dropped, generator=generator)
        return kept.div_(1 - dropped)
