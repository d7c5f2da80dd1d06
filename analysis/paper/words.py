"""Numbers of some trials, one a seed, in words."""

import math
from collections.abc import Iterable, Sequence

from analysis.data.sweep import Trial, thousands


def spread(values: Iterable[float], style: str = ".2f") -> str:
    """``0.53 [0.49, 0.58]``: the median and the extremes over the seeds, those that are known; ``–`` without any."""
    known = sorted(value for value in values if not math.isnan(value))
    if not known:
        return "–"
    middle = _middle(known)
    texts = [_text(value, style) for value in (middle, known[0], known[-1])]
    return texts[0] if texts[1] == texts[2] else f"{texts[0]} [{texts[1]}, {texts[2]}]"


def spread_steps(values: Iterable[float]) -> str:
    """Likewise for steps: ``12 000 [11 400, 13 100]``; an infinite one reads ``never``."""
    return spread(values, "steps")


def percent(values: Iterable[float]) -> str:
    """Likewise for fractions: ``53 % [49 %, 58 %]``."""
    return spread(values, "%")


def _middle(known: Sequence[float]) -> float:
    """The median; of an even number the lower middle where the upper is infinite."""
    low, high = known[(len(known) - 1) // 2], known[len(known) // 2]
    return low if math.isinf(high) else (low + high) / 2


def _text(value: float, style: str) -> str:
    if math.isinf(value):
        return "never"
    if style == "steps":
        return thousands(value)
    return f"{100 * value:.3g}\u202f%" if style == "%" else f"{value:{style}}"


# --- of a group of trials -----------------------------------------------------------------------------------------


def largest(trials: Iterable[Trial], column: str) -> str:
    """A share's largest values."""
    return percent(trial.largest(column) for trial in trials)


def finals(trials: Iterable[Trial], column: str, style: str = "%") -> str:
    """A column's last values."""
    return spread((trial.final(column) for trial in trials), style)


def first_steps(trials: Iterable[Trial], column: str, value: float) -> str:
    """The first steps at which a column is at a value or above."""
    return spread_steps(trial.first_reaching(column, value) for trial in trials)


def last_steps(trials: Iterable[Trial]) -> str:
    """How far the trials were run."""
    return spread_steps(float(trial.last_step) for trial in trials)
