"""Two groups of trials beside each other, seed by seed, at one step of both."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from analysis.data.sweep import Trial, is_share, shared_seeds
from analysis.stats.paired import PairedDifference, paired_difference
from trainables.engine.events import StopReason


@dataclass(frozen=True)
class Comparison:
    """A group of trials beside another, at one step of both."""

    step: float
    """The horizon; or, where no shared seed has reached it in both groups, the last step that all of them have."""
    complete: bool
    """Whether that is the horizon."""
    ours: Mapping[Any, float]
    """The column's value by seed; in % where it is a share."""
    theirs: Mapping[Any, float]
    difference: PairedDifference | None
    diverged: int
    """Trials of either that diverged, which have no final value."""


def compare(ours: Iterable[Trial], theirs: Iterable[Trial], column: str) -> Comparison | None:
    """Two groups' values of a column by seed (a group beside itself too); None where no seed of both has any."""
    sides = [{trial.seed: trial for trial in side if len(trial.measured(column)[0])} for side in (ours, theirs)]
    seeds = shared_seeds(*sides)
    if not seeds:
        return None
    diverged = {trial.trial_id for side in sides for trial in side.values() if trial.stop_reason == StopReason.DIVERGED}
    # One that diverged will never have a value at the end: it does not hold the others up, nor stand for them.
    alive = [seed for seed in seeds if not any(side[seed].trial_id in diverged for side in sides)]
    horizon = float(sides[0][seeds[0]].horizon_steps)
    at_end = [seed for seed in alive if all(side[seed].known_until >= horizon for side in sides)]
    complete = bool(at_end) or not alive
    last = (min(float(side[seed].measured(column)[0][-1]) for side in sides) for seed in alive)
    step = horizon if complete else min(last)
    scale = 100 if is_share(column) else 1
    left, right = (
        {seed: scale * side[seed].at(column, step) for seed in seeds if side[seed].trial_id not in diverged}
        for side in sides
    )
    left, right = ({seed: value for seed, value in side.items() if not math.isnan(value)} for side in (left, right))
    return Comparison(step, complete, left, right, paired_difference(left, right), len(diverged))
