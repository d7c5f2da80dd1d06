"""Estimates with their confidence intervals: of a share, of a mean that is bounded, of a geometric mean.

``python -m tests.benchmarks coverage`` measures how often they cover, and how wide they are, beside other methods.
Chance enters through explicit generators only.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, stdtrit

LEVEL = 0.95
"""The confidence level of every interval."""
DRAWS = 10_000
"""Draws of a Bayesian bootstrap."""
SHORTEST_STEPS = 0.5
"""The time of an event at the first measurement, where a logarithm is taken of it."""


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; NaN where the data cannot say (see ``method`` for how it was made)."""

    value: float
    low: float
    high: float
    method: str = ""


UNKNOWN = Estimate(math.nan, math.nan, math.nan, "not known by tau")


def clopper_pearson(successes: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval of a proportion (Clopper & Pearson 1934); NaN for n = 0.

    Over all true shares it covers at least ``level``, at any n.

    >>> clopper_pearson(0, 5)
    (0.0, 0.5218...)
    """
    if n == 0:
        return math.nan, math.nan
    tail, failures = (1 - level) / 2, n - successes
    low = 0.0 if successes == 0 else float(betaincinv(successes, failures + 1, tail))
    high = 1.0 if failures == 0 else float(betaincinv(successes + 1, failures, 1 - tail))
    return low, high


def dirichlet_weights(counts: np.ndarray, end: float, draws: int, rng: np.random.Generator) -> np.ndarray:
    """The weights of a Bayesian bootstrap (Rubin 1981) with a pseudo-observation at either end of what is possible.

    A mean that is known to lie between two ends gets an interval even where all observations agree, and few
    observations leave room for what they have not shown.

    :param counts: how many observations each of the distinct values stands for (n,).
    :param end: how much of an observation is put at each end.
    :returns: (draws, n + 2), each row with sum 1; the last two columns are the lower end's and the upper end's.

    >>> dirichlet_weights(np.ones(3), 0.5, 1000, np.random.default_rng(0)).shape
    (1000, 5)
    """
    gammas = rng.standard_gamma(np.append(counts, [end, end]).astype(float), size=(draws, len(counts) + 2))
    return gammas / gammas.sum(axis=1, keepdims=True)


def percentile(estimate: float, draws: np.ndarray, method: str, level: float = LEVEL) -> Estimate:
    """An estimate with the middle of the distribution from which draws (B,) are at hand, itself included.

    Of draws of a posterior it is the credible interval of equal tails (Rubin 1981).

    >>> middle = percentile(20.0, np.arange(41.0), "all alike")
    >>> round(middle.low, 9), round(middle.high, 9)
    (1.0, 39.0)
    """
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(estimate, min(float(low), estimate), max(float(high), estimate), method)


def mean_with_t_interval(values: Sequence[float] | np.ndarray, level: float = LEVEL) -> Estimate:
    """The mean and Student's interval (1908) for it; a single value has no interval (NaN).

    Where all values agree the interval is the mean itself.

    >>> mean_with_t_interval([1.0, 2.0, 3.0])
    Estimate(value=2.0, low=-0.484..., high=4.484..., method="Student's t")
    """
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return Estimate(mean, math.nan, math.nan, "single value")
    half = float(stdtrit(n - 1, (1 + level) / 2) * np.std(values, ddof=1) / math.sqrt(n))
    return Estimate(mean, mean - half, mean + half, "Student's t")


def ratio_of_geometric_means(first: np.ndarray, second: np.ndarray, level: float = LEVEL) -> Estimate:
    """Second over first, of independent positive values, with Welch's interval (1947) of their logarithms.

    NaN with fewer than two values on a side.

    >>> round(ratio_of_geometric_means(np.array([100.0, 110.0]), np.array([200.0, 220.0])).value, 9)
    2.0
    """
    if min(len(first), len(second)) < 2:
        return UNKNOWN
    logs = [np.log(values) for values in (first, second)]
    squared_errors = [float(np.var(each, ddof=1)) / len(each) for each in logs]
    difference, total = float(np.mean(logs[1]) - np.mean(logs[0])), sum(squared_errors)
    if total == 0:
        return Estimate(math.exp(difference), math.exp(difference), math.exp(difference), "Welch's t, of logarithms")
    freedom = total**2 / sum(each**2 / (len(values) - 1) for each, values in zip(squared_errors, logs, strict=True))
    half = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(total)
    low, high = math.exp(difference - half), math.exp(difference + half)
    return Estimate(math.exp(difference), low, high, "Welch's t, of logarithms")


def geometric_mean(values: Sequence[float] | np.ndarray, level: float = LEVEL) -> Estimate:
    """The geometric mean of positive values and Student's interval of their logarithms; NaN without any.

    >>> round(geometric_mean([100.0, 400.0]).value, 9)
    200.0
    """
    if len(values) == 0:
        return UNKNOWN
    logs = mean_with_t_interval(np.log(np.maximum(values, np.finfo(float).tiny)), level)
    value, low, high = (float(np.exp(min(end, 700.0))) for end in (logs.value, logs.low, logs.high))
    return Estimate(value, low, high, f"{logs.method}, of logarithms")
