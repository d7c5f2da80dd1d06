"""Randomness during training (dropout): every draw is a function of the member's seed, the step and its place.

The generator is SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"): it mixes
the bits of a counter, so that all members draw at once, on any device alike, and in any packing the same.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trainables.engine.randomness import NOISE_STREAM, random_bits

# As signed integers, whose products and sums modulo 2^64 have the same bits.
GAMMA = 0x9E3779B97F4A7C15 - 2**64
MULTIPLIERS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)
SHIFTS, LAST_SHIFT = (30, 27), 31


def noise_keys(seeds: Sequence[int], device: torch.device) -> Tensor:
    """Return each member's key: shape (K,), int64."""
    words = np.array([random_bits(seed, NOISE_STREAM, 1)[0] for seed in seeds], dtype=np.uint64)
    return torch.from_numpy(words.view(np.int64)).to(device)


class Noise:
    """The random draws of one step; a new object for the same step repeats them."""

    def __init__(self, keys_K: Tensor, step: Tensor) -> None:
        """
        :param keys_K: of :func:`noise_keys`.
        :param step: the number of the step, shape (), on the same device: a replayed graph reads the present one.
        """
        self._state_K = mixed_(keys_K + step.long() * GAMMA)

    def keep(self, shape: Sequence[int], dropped: float) -> Tensor:
        """Draw a dropout mask, scaled by 1/(1 - dropped): shape (K, *shape), float32 (Srivastava et al. 2014).

        :param dropped: the probability that a unit is dropped, exact to 2^-32.
        """
        self._state_K = self._state_K + GAMMA
        stream_K1 = mixed_(self._state_K.clone()).unsqueeze(1)
        count = math.prod(shape)
        counter_N = torch.arange(1, -(-count // 2) + 1, device=stream_K1.device)
        bits_KN = mixed_(stream_K1 + counter_N * GAMMA).view(torch.int32)[:, :count]
        kept_KN = (bits_KN >= min(round(dropped * 2**32), 2**32 - 1) - 2**31).float()
        return kept_KN.mul_(1 / (1 - dropped)).view(-1, *shape)


def mixed_(words: Tensor) -> Tensor:
    """Apply SplitMix64's output function to int64 ``words`` in place, as if they were unsigned; any shape."""
    for shift, multiplier in zip(SHIFTS, MULTIPLIERS, strict=True):
        _fold(words, shift).mul_(multiplier)
    return _fold(words, LAST_SHIFT)


def _fold(words: Tensor, shift: int) -> Tensor:
    """Compute words ^ (words >> shift) in place; masked, because torch's shift copies the sign."""
    return words.bitwise_xor_((words >> shift).bitwise_and_(2 ** (64 - shift) - 1))
