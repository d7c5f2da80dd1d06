"""Two arms of a comparison over the same seeds: the mean difference, its interval, and whether it lies in a region.

The interval is Student's for the mean of the differences, which is wide with three seeds, as it should be: resampling
three numbers would make one that is too narrow.  Beside it is the p of flipping the differences' signs, which assumes
only that their distribution is symmetric, but cannot be small with few pairs.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.stats.contrasts import pairs_needed, sign_flip_p
from analysis.stats.intervals import Estimate, mean_with_t_interval


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
        """``sign-flip p = 0.25, at least 0.25 with 3 pairs``: with few pairs, the least p that they allow."""
        words = f"sign-flip p = {self.p:.3g}"
        if self.pairs >= pairs_needed():
            return words
        return f"{words}, at least {2.0 ** (1 - self.pairs):.3g} with {self.pairs} pairs"

    def words(self, style: str = ".2f") -> str:
        """``+0.12 [−1.03, +1.27]``; a single pair has no interval."""
        estimate = self.estimate
        value, low, high = (signed(number, style) for number in (estimate.value, estimate.low, estimate.high))
        return value if math.isnan(estimate.low) else f"{value} [{low}, {high}]"


def paired_difference(ours: Mapping[Any, float], theirs: Mapping[Any, float]) -> PairedDifference | None:
    """The mean difference of two arms' values by seed, over the seeds that both have, with Student's interval (1908).

    :returns: None without a seed that both have.

    >>> paired_difference({0: 0.9, 1: 0.7, 2: 0.8}, {0: 0.5, 1: 0.4, 3: 0.1}).words()
    '+0.35 [−0.29, +0.99]'
    """
    seeds = tuple(seed for seed in ours if seed in theirs)
    if not seeds:
        return None
    differences = np.array([ours[seed] - theirs[seed] for seed in seeds])
    # The generator is for many pairs, of which not all flips are tried; the same evidence gives the same p.
    p = sign_flip_p(differences, np.random.default_rng(0))
    return PairedDifference(seeds, tuple(map(float, differences)), mean_with_t_interval(differences), p)


def inside(estimate: Estimate, low: float, high: float) -> bool | None:
    """Whether a number lies in ``[low, high]``: True where its whole interval does, False where none of it does.

    None where a part of it does, or where it has no interval.  That is how equivalence is shown (Schuirmann 1987).

    >>> inside(Estimate(0.5, 0.4, 0.6), 0, 1), inside(Estimate(0.5, 0.4, 1.6), 0, 1), inside(Estimate(5, 4, 6), 0, 1)
    (True, None, False)
    """
    if math.isnan(estimate.low):
        return None
    if low <= estimate.low and estimate.high <= high:
        return True
    return False if estimate.high < low or estimate.low > high else None


def mean_words(values: Iterable[float], style: str = ".2f") -> str:
    """Mean and standard deviation (of n - 1) of some values; a dash without any, and no deviation of one.

    >>> mean_words([87.0, 87.4]), mean_words([87.0]), mean_words([])
    ('87.20 ± 0.28', '87.00', '–')
    """
    known = [*values]
    if not known:
        return "–"
    deviation = f" ± {np.std(known, ddof=1):{style}}" if len(known) > 1 else ""
    return f"{np.mean(known):{style}}{deviation}"


def signed(value: float | None, style: str = ".2f") -> str:
    """A number with its sign, a real minus; a dash for None.

    >>> signed(-0.5), signed(None)
    ('−0.50', '–')
    """
    return "–" if value is None else f"{value:+{style}}".replace("-", "−")
