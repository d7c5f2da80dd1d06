"""What a trial says of a claim, and the claims that several figures make.

A test answers for one trial: True, False, or None where the trial is too short to tell.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from analysis.data.sweep import Trial
from analysis.paper.verdict import Claim, Tristate, per_seed
from analysis.paper.words import largest

TEST = "test_accuracy"


def reaches(trial: Trial, column: str, value: float, by: float | None = None) -> Tristate:
    """Whether a column is at ``value`` or above at some step up to ``by``, the trial's horizon by default."""
    by = trial.horizon_steps if by is None else by
    if trial.first_reaching(column, value) <= by:
        return True
    return False if trial.known_until >= by else None


def stays_below(trial: Trial, column: str, value: float, until: float | None = None) -> Tristate:
    """Whether a column is below ``value`` at every measurement up to a step, the trial's horizon by default."""
    until = trial.horizon_steps if until is None else until
    if trial.first_reaching(column, value) <= until:
        return False
    return True if trial.known_until >= until else None


def time_of(trial: Trial, event: str, threshold: float | None = None) -> float:
    """When an event came, at the first measurement that shows it.

    Infinite: not by the horizon, or never; NaN: not so far, in a trial that was not followed to its horizon.
    """
    came = trial.time(event, threshold)
    return math.nan if math.isinf(came) and trial.known_until < trial.horizon_steps else came


def between(value: float, low: float, high: float) -> Tristate:
    """Whether a number lies in [low, high]; None for NaN."""
    return None if math.isnan(value) else low <= value <= high


def at_least(value: float, bound: float) -> Tristate:
    """Whether ``value >= bound``; None where either is NaN."""
    return None if math.isnan(value) or math.isnan(bound) else value >= bound


def below(value: float, bound: float) -> Tristate:
    """Whether ``value < bound``; None where either is NaN."""
    return None if math.isnan(value) or math.isnan(bound) else value < bound


def every(parts: Iterable[Tristate]) -> Tristate:
    """False where one is; None where one is open; True otherwise."""
    answers = list(parts)
    return False if False in answers else None if None in answers else True


def reached(trial: Trial, value: float, bound: float, until: float | None = None) -> Tristate:
    """Whether a number that may still grow is ``bound`` or more; False only for a trial that is at its end.

    :param until: how far the number is known; as far as the trial's events by default.
    """
    if value >= bound:
        return True
    return False if (trial.known_until if until is None else until) >= trial.horizon_steps else None


def precedes(first: float, second: float, first_until: float, second_until: float) -> Tristate:
    """Whether the first of two times is the earlier one; each is infinite where it did not come so far.

    :param first_until: how far the first was looked for; likewise second.
    """
    if math.isinf(first):
        return False if math.isfinite(second) and second <= first_until else None
    if math.isinf(second):
        return True if second_until >= first else None
    return first < second


def each_seed(groups: Iterable[Mapping[Any, Trial]], test: Callable[[Trial], Tristate]) -> tuple[Tristate, ...]:
    """Seed by seed, whether a test holds of every trial of that seed; the groups have at most one each."""
    groups = list(groups)
    seeds = dict.fromkeys(seed for group in groups for seed in group)
    return tuple(every(test(group[seed]) for group in groups if seed in group) for seed in seeds)


# --- claims that several figures make -----------------------------------------------------------------------------


def reaching(
    text: str,
    trials: Collection[Trial],
    value: float,
    by: float | None = None,
    *,
    numbers: str = "",
    needed: int | None = None,
) -> Claim:
    """That the test accuracy reaches a value by a step; the numbers are the largest ones by default."""
    numbers = numbers or f"at most {largest(trials, TEST)}"
    return per_seed(text, trials, lambda trial: reaches(trial, TEST, value, by), numbers, needed)


def staying_below(
    text: str, trials: Collection[Trial], value: float, until: float | None = None, *, numbers: str = ""
) -> Claim:
    """That the test accuracy stays below a value up to a step; likewise."""
    numbers = numbers or f"at most {largest(trials, TEST)}"
    return per_seed(text, trials, lambda trial: stays_below(trial, TEST, value, until), numbers)
