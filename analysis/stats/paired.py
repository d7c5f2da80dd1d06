"""Two arms of a comparison over the same seeds: the mean difference, its interval, and whether it lies in a region.

The interval is Student's for the mean of the differences, which with three seeds is wide, as it should be: resampling
three numbers would make one that is too narrow.  Beside it stands the p of flipping the differences' signs, which
assumes of their distribution only that it is symmetric, but cannot be small with few pairs.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from analysis.data.sweep import Trial
from analysis.paper.verdict import Told
from analysis.stats.contrasts import pairs_needed, sign_flip_p
from analysis.stats.intervals import LEVEL, Estimate
from trainables.engine.events import DIVERGED


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


# --- two groups of trials ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """A group of trials beside another, at one step of both."""

    step: float
    """The horizon; or, where nothing of the two has come so far for a shared seed, the last step that they share."""
    complete: bool
    """Whether that is the horizon."""
    ours: Mapping[Any, float]
    """Accuracy by seed, in %."""
    theirs: Mapping[Any, float]
    difference: PairedDifference | None
    diverged: int
    """Trials of either that diverged, which have no accuracy."""


def compare(ours: Iterable[Trial], theirs: Iterable[Trial], column: str) -> Comparison | None:
    """Two groups' accuracies by seed (a group beside itself too); None where no seed of both has any.

    :param column: an accuracy, stored as a fraction.
    """
    sides = [{trial.seed: trial for trial in side if len(trial.measured(column)[0])} for side in (ours, theirs)]
    seeds = [seed for seed in sides[0] if seed in sides[1]]
    if not seeds:
        return None
    diverged = {
        trial.trial_id: trial for side in sides for trial in side.values() if trial.stop_reason == DIVERGED
    }.keys()
    # One that diverged will never have an accuracy at the end: it does not hold the others up, nor stand for them.
    alive = [seed for seed in seeds if not any(side[seed].trial_id in diverged for side in sides)]
    horizon = float(sides[0][seeds[0]].horizon_steps)
    at_end = [seed for seed in alive if all(side[seed].known_until >= horizon for side in sides)]
    complete = bool(at_end) or not alive
    last = (min(float(side[seed].measured(column)[0][-1]) for side in sides) for seed in alive)
    step = horizon if complete else min(last)
    left, right = (
        {seed: 100 * side[seed].at(column, step) for seed in seeds if side[seed].trial_id not in diverged}
        for side in sides
    )
    left, right = ({seed: value for seed, value in side.items() if not math.isnan(value)} for side in (left, right))
    return Comparison(step, complete, left, right, paired_difference(left, right), len(diverged))


# --- in words -----------------------------------------------------------------------------------------------------


def mean_words(values: Iterable[float], style: str = ".2f") -> str:
    """``87.17 ± 0.20``: mean and standard deviation; a dash without any, and no deviation of one."""
    found = [*values]
    if not found:
        return "–"
    deviation = f" ± {np.std(found, ddof=1):{style}}" if len(found) > 1 else ""
    return f"{np.mean(found):{style}}{deviation}"


def difference_words(found: PairedDifference) -> str:
    """``+0.12 [−1.03, +1.27]``; a single pair has no interval."""
    estimate = found.estimate
    if math.isnan(estimate.low):
        return signed(estimate.value, 2)
    return f"{signed(estimate.value, 2)} [{signed(estimate.low, 2)}, {signed(estimate.high, 2)}]"


def signed(value: float | None, digits: int) -> str:
    """A number with its sign, a real minus."""
    return "–" if value is None else f"{value:+.{digits}f}".replace("-", "−")
