"""Two arms of a comparison over the same seeds: the mean difference, its interval, and whether it lies in a region.

The interval is Student's for the mean of the differences, which with three seeds is wide, as it should be: resampling
three numbers would make one that is too narrow.  Beside it stands the p of flipping the differences' signs, which
assumes of their distribution only that it is symmetric, but cannot be small with few pairs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from analysis.survival import LEVEL, Estimate, pairs_needed, sign_flip_p
from analysis.verdict import Told


@dataclass(frozen=True)
class PairedDifference:
    """One arm minus another over the seeds that both have."""

    seeds: tuple[Any, ...]
    differences: tuple[float, ...]
    """One a seed."""
    estimate: Estimate
    """Their mean and its 95 % interval; without one (NaN) for a single pair."""
    p: float
    """The two-sided sign-flip p, exact up to 14 pairs."""

    @property
    def pairs(self) -> int:
        """How many seeds both arms have."""
        return len(self.seeds)

    def p_words(self) -> str:
        """``sign-flip p = 0.25, at least 0.25 with 3 pairs``: what so few pairs could have shown is said with it."""
        told = f"sign-flip p = {self.p:.3g}"
        if self.pairs >= pairs_needed():
            return told
        return f"{told}, at least {2.0 ** (1 - self.pairs):.3g} with {self.pairs} pairs"


def paired_difference(ours: Mapping[Any, float], theirs: Mapping[Any, float]) -> PairedDifference | None:
    """The difference of two arms' values by seed, over the seeds that both have; None without any."""
    seeds = tuple(seed for seed in ours if seed in theirs)
    if not seeds:
        return None
    differences = np.array([ours[seed] - theirs[seed] for seed in seeds])
    # The generator is for many pairs, of which not all flips are tried; the same evidence gives the same p.
    p = sign_flip_p(differences, np.random.default_rng(0))
    return PairedDifference(seeds, tuple(map(float, differences)), mean_with_t_interval(differences), p)


def mean_with_t_interval(values: Sequence[float] | np.ndarray, level: float = LEVEL) -> Estimate:
    """The mean and Student's interval for it; a single value has no interval (NaN)."""
    n = len(values)
    mean = float(np.mean(values))
    if n < 2:
        return Estimate(mean, math.nan, math.nan, "single value")
    half = float(stdtrit(n - 1, (1 + level) / 2) * np.std(values, ddof=1) / math.sqrt(n))
    return Estimate(mean, mean - half, mean + half, "Student's t")


def inside(estimate: Estimate, low: float, high: float) -> Told:
    """Whether a number lies in ``[low, high]``: yes where its whole interval does, no where none of it does."""
    if math.isnan(estimate.low):
        return None
    if low <= estimate.low and estimate.high <= high:
        return True
    return False if estimate.high < low or estimate.low > high else None
