"""Two arms over the same seeds: the difference of their restricted means, its interval, and its permutation p."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.stats.intervals import DRAWS, LEVEL, Estimate, expanded_percentile, resamples
from analysis.stats.survival import CensoredTimes, incidence

FLIPS = 20_000
"""Sign flips that are drawn where there are more; up to 14 pairs all are enumerated."""


@dataclass(frozen=True)
class Contrast:
    """RMST(tau) of the second side minus the first's, in steps, over paired seeds; negative: the second is sooner."""

    difference_steps: Estimate
    p: float
    """Two-sided, by flipping signs within pairs."""
    pairs: int
    p_holm: float = math.nan
    """Adjusted over the exploratory contrasts; NaN for the one declared beforehand."""


def paired_contrast(
    first: Sequence[CensoredTimes], second: Sequence[CensoredTimes], tau_steps: float, rng: np.random.Generator
) -> Contrast | None:
    """Compare two sides over the same seeds, each at its best cell as chosen on the OTHER seeds.

    :param first: one :class:`CensoredTimes` a candidate cell, all with the same seeds in the same order; likewise
        second.
    :returns: None with fewer than two seeds, or where a curve is not known to tau.

    A seed's value is its pseudo-observation of the restricted mean (Andersen, Hansen & Klein 2004), which is
    min(t, tau) itself where nothing is censored before tau.  Choosing the cell on the other seeds keeps the choice
    from flattering its own side; with a single candidate there is no choice.
    """
    pairs = len(first[0])
    if pairs < 2 or not all(times.followed_to(tau_steps) for times in (*first, *second)):
        return None
    differences = _at_the_best(second, tau_steps) - _at_the_best(first, tau_steps)
    means = resamples(pairs, DRAWS, rng) @ differences / pairs
    estimate = Estimate(float(differences.mean()), *expanded_percentile(means, pairs), "paired bootstrap")
    return Contrast(estimate, sign_flip_p(differences, rng), pairs)


def _at_the_best(candidates: Sequence[CensoredTimes], tau_steps: float) -> np.ndarray:
    """Each seed's pseudo-observation at the candidate with the smallest RMST on the other seeds (n,)."""
    others, values = [], []
    for times in candidates:
        n = len(times)
        without = incidence(times, np.ones((n, n)) - np.eye(n)).restricted_mean(tau_steps)
        others.append(without)
        values.append(n * incidence(times).restricted_mean(tau_steps) - (n - 1) * without)
    return np.take_along_axis(np.array(values), np.argmin(others, axis=0)[None], axis=0)[0]


def sign_flip_p(differences: np.ndarray, rng: np.random.Generator) -> float:
    """The two-sided permutation p of a mean paired difference; exact up to 14 pairs, else from 20000 flips."""
    from scipy.stats import permutation_test  # half a second to import: only when there is something to compare

    if len(differences) < 2:
        return 1.0
    test = permutation_test(
        (np.asarray(differences),), np.sum, permutation_type="samples", vectorized=True, n_resamples=FLIPS, rng=rng
    )
    return float(test.pvalue)


def pairs_needed(level: float = 1 - LEVEL) -> int:
    """The fewest pairs whose smallest possible two-sided sign-flip p, 2 / 2^n, is below ``level``."""
    return math.floor(math.log2(2 / level)) + 1


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjustment, in the order given."""
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted
