"""Two arms over the same seeds: the difference of their restricted means, the ratio of their times, and a test."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from analysis.stats.intervals import (
    DRAWS,
    LEVEL,
    SHORTEST_STEPS,
    Estimate,
    dirichlet_weights,
    geometric_mean,
    percentile,
    ratio_of_geometric_means,
)
from analysis.stats.survival import CensoredTimes, incidence, restricted_mean_draws

FLIPS = 20_000
"""Sign flips that are drawn where there are more; up to 14 pairs all are enumerated."""
AT_THE_ENDS = 0.25
"""How much of a pair the difference's interval supposes at either extreme, where one side groks at once and the other
never does; chosen as :data:`analysis.stats.survival.AT_THE_ENDS` is."""
POWER = 0.8
"""With which an open comparison would be decided by as many pairs as :attr:`Contrast.pairs_to_decide` says."""


@dataclass(frozen=True)
class Contrast:
    """RMST(tau) of the second side minus the first's, in steps, over paired seeds; negative: the second is sooner.

    The difference's interval leaves room for seeds that never get there, as RMST itself does: with few pairs it is
    wide although all pairs agree.  The ratio is of the times themselves, in the pairs in which both sides have the
    event by tau, and says nothing of the others.
    """

    difference_steps: Estimate
    ratio: Estimate
    """The geometric mean of second / first over ``both`` pairs; NaN without any."""
    both: int
    p: float
    """Two-sided, by flipping signs within pairs; of the hypothesis that the sides of a pair could be exchanged."""
    pairs: int
    pairs_to_decide: float
    """About how many would give p < .05 with a power of .8, were the differences like these; infinite at 0."""
    p_holm: float = math.nan
    """Adjusted over all comparisons of its sweep; NaN for a single one."""


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

    >>> decay, projection = (np.array(times) for times in ([150.0, 170, 160], [110.0, 130, 90]))
    >>> sides = [CensoredTimes(low=each, high=each, cause=np.ones(3, dtype=int)) for each in (decay, projection)]
    >>> paired_contrast(sides[:1], sides[1:], 800, np.random.default_rng(0)).difference_steps.value
    -50.0
    """
    pairs = len(first[0])
    if pairs < 2 or not all(times.followed_to(tau_steps) for times in (*first, *second)):
        return None
    (theirs, their_times), (ours, our_times) = (_at_the_best(side, tau_steps) for side in (first, second))
    differences = ours - theirs
    weights = dirichlet_weights(np.ones(pairs), AT_THE_ENDS, DRAWS, rng)
    draws = weights @ np.append(differences, [-tau_steps, tau_steps])
    both = np.isfinite(their_times) & np.isfinite(our_times)
    return Contrast(
        difference_steps=percentile(float(differences.mean()), draws, "paired Bayesian bootstrap"),
        ratio=geometric_mean(our_times[both] / their_times[both]),
        both=int(both.sum()),
        p=sign_flip_p(differences, rng),
        pairs=pairs,
        pairs_to_decide=_pairs_to_decide(differences),
    )


def independent_contrast(
    first: CensoredTimes, second: CensoredTimes, tau_steps: float, rng: np.random.Generator
) -> Contrast | None:
    """Compare two sides that share no seeds: ``pairs`` is 0, and p is of exchanging trials between the sides.

    The ratio is of the geometric means over the trials that have the event; ``both`` is how many have it on the side
    that has fewer.

    :returns: None with fewer than two trials on a side, or where a curve is not known to tau.

    >>> first, second = (np.array(times) for times in ([150.0, 170, 160], [110.0, 130]))
    >>> sides = [CensoredTimes(low=each, high=each, cause=np.ones(len(each), dtype=int)) for each in (first, second)]
    >>> independent_contrast(*sides, 800, np.random.default_rng(0)).difference_steps.value
    -40.0
    """
    sides = first, second
    if min(map(len, sides)) < 2 or not all(times.followed_to(tau_steps) for times in sides):
        return None
    (theirs, their_times), (ours, our_times) = (_at_the_best([times], tau_steps) for times in sides)
    came = [each[np.isfinite(each)] for each in (their_times, our_times)]
    draws = restricted_mean_draws(second, tau_steps, rng) - restricted_mean_draws(first, tau_steps, rng)
    means = [float(incidence(times).restricted_mean(tau_steps)[0]) for times in sides]
    return Contrast(
        difference_steps=percentile(means[1] - means[0], draws, "Bayesian bootstrap of each side"),
        ratio=ratio_of_geometric_means(*came),
        both=min(map(len, came)),
        p=exchange_p(theirs, ours, rng),
        pairs=0,
        pairs_to_decide=math.inf,
    )


def _at_the_best(candidates: Sequence[CensoredTimes], tau_steps: float) -> tuple[np.ndarray, np.ndarray]:
    """Each seed's value and time (n,) at the candidate with the smallest RMST on the other seeds.

    The value is its pseudo-observation; the time is infinite where the event did not come by tau.
    """
    others, values, times = [], [], []
    for candidate in candidates:
        n = len(candidate)
        without = incidence(candidate, np.ones((n, n)) - np.eye(n)).restricted_mean(tau_steps)
        others.append(without)
        values.append(n * incidence(candidate).restricted_mean(tau_steps) - (n - 1) * without)
        came = candidate.came
        times.append(np.where(came, np.maximum(candidate.time, SHORTEST_STEPS), math.inf))
    best = np.argmin(others, axis=0)[None]
    value, time = (np.take_along_axis(np.array(each), best, axis=0)[0] for each in (values, times))
    return value, time


def _pairs_to_decide(differences: np.ndarray) -> float:
    """By the normal approximation, and never fewer than a sign-flip test needs; infinite where the mean is 0."""
    mean = abs(float(differences.mean()))
    if mean == 0:
        return math.inf
    quantiles = float(ndtri((1 + LEVEL) / 2) + ndtri(POWER))
    return float(max(pairs_needed(), math.ceil((quantiles * float(differences.std(ddof=1)) / mean) ** 2)))


def sign_flip_p(differences: np.ndarray, rng: np.random.Generator) -> float:
    """The two-sided permutation p of the mean of paired differences (n,), by flipping signs (Fisher 1935, §21).

    Exact up to 14 pairs, else from 20 000 flips; 1 with fewer than two pairs.

    >>> sign_flip_p(np.array([3.0, 5.0, 4.0]), np.random.default_rng(0))
    0.25
    """
    from scipy.stats import permutation_test  # half a second to import: only when there is something to compare

    if len(differences) < 2:
        return 1.0
    test = permutation_test(
        (np.asarray(differences),), np.sum, permutation_type="samples", vectorized=True, n_resamples=FLIPS, rng=rng
    )
    return float(test.pvalue)


def exchange_p(first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> float:
    """The two-sided permutation p of a difference of means between independent samples (n,) and (m,) (Pitman 1937).

    Exact where there are at most 20 000 ways to divide the values, else from as many.

    >>> exchange_p(np.array([1.0, 2.0, 3.0]), np.array([7.0, 8.0, 9.0]), np.random.default_rng(0))
    0.1
    """
    from scipy.stats import permutation_test  # half a second to import: only when there is something to compare

    def difference(one: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.mean(one, axis=axis) - np.mean(other, axis=axis)

    test = permutation_test((first, second), difference, vectorized=True, n_resamples=FLIPS, rng=rng)
    return float(test.pvalue)


def pairs_needed(level: float = 1 - LEVEL) -> int:
    """The fewest pairs whose smallest possible two-sided sign-flip p, 2 / 2^n, is below ``level``.

    >>> pairs_needed(0.05)  # 2 / 2^6 = 0.03
    6
    """
    return math.floor(math.log2(2 / level)) + 1


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjustment of several p values, in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted
