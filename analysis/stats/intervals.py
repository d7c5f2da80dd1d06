"""Estimates with their confidence intervals: of a proportion, and of what a bootstrap resamples.

Chance enters through explicit generators only.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

LEVEL = 0.95
"""The confidence level of every interval."""
DRAWS = 10_000
"""Bootstrap resamples."""


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; NaN where the data cannot say (see ``method`` for how it was made)."""

    value: float
    low: float
    high: float
    method: str = ""


UNKNOWN = Estimate(math.nan, math.nan, math.nan, "not known by tau")


def wilson(successes: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval (1927) of a proportion; NaN for n = 0."""
    from scipy.stats import binomtest  # half a second to import: only when there is something to estimate

    if n == 0:
        return math.nan, math.nan
    interval = binomtest(successes, n).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def resamples(n: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of n trials is drawn, with replacement, in each resample: counts (draws, n)."""
    return rng.multinomial(n, np.full(n, 1.0 / n), size=draws).astype(float)


def expanded_percentile(replicates: np.ndarray, n: int, level: float = LEVEL) -> tuple[float, float]:
    """A percentile interval whose levels are widened for small n (Hesterberg 2015, section 4.3).

    The plain one is too narrow by sqrt((n - 1) / n) and takes normal quantiles for Student's.  No bootstrap can do
    much with very few: of simulated RMSTs (uniform, log-normal, two thirds of the trials have the event) this one
    covered 94-97 % with 10 trials, 85-93 % with 5 (the plain one 82-85 %) and 68-77 % with 3.  NaN for one trial, and
    where all replicates agree: they hold no interval.
    """
    if n < 2 or np.ptp(replicates) <= 1e-12 * max(1.0, float(np.abs(replicates).max())):
        return math.nan, math.nan
    tail = float(ndtr(math.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 - level) / 2)))
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return float(low), float(high)
