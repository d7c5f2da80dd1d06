"""Curves of waiting: the cumulative incidence of an event over time, with a pointwise confidence band.

The curve is :func:`analysis.stats.survival.incidence`'s: Kaplan-Meier's 1 - S where nothing competes, Aalen-Johansen's
with competing events, Turnbull's where intervals are wide.  The band is, at each time t, the interval that P(event by
t) has in every table of the house: that of a proportion, from its lower bound for the trials that surely had the event
by t to its upper bound for those that possibly had.  Uncertain at t are the trials whose interval ``(low, high]``
holds t, and those that were not followed to t.  So the band ends, at tau, in the interval of P(event by tau), and it
covers at every t with every number of trials, because Clopper and Pearson's (1934) does, whatever kept a trial from
being followed.  Greenwood's has no width where the curve has not risen yet and covers far too little with few trials
(Fay, Brittain & Proschan 2013, whose band is this one where all trials are followed).
"""

from dataclasses import dataclass

import numpy as np

from analysis.stats.intervals import clopper_pearson
from analysis.stats.survival import CensoredTimes, incidence


@dataclass(frozen=True)
class WaitingCurve:
    """Right-continuous steps from 0 to tau, or to where the trials were followed: each value holds until the next."""

    steps: np.ndarray
    """Where the curve or its band may jump, ascending (J,)."""
    incidence: np.ndarray
    """P(event by then) (J,)."""
    low: np.ndarray
    high: np.ndarray
    """Its pointwise 95 % interval (J,)."""
    estimator: str
    trials: int


def waiting_curve(times: CensoredTimes, tau_steps: float) -> WaitingCurve | None:
    """The cumulative incidence of the event with its band; None without trials.

    >>> from trainables.engine.events import Event
    >>> events = [Event("t_gen", 0.95, "event", 95, 100), Event("t_gen", 0.95, "censored", 500, float("inf"))]
    >>> curve = waiting_curve(CensoredTimes.of(events, 500), 500)
    >>> curve.incidence.tolist()[-1]
    0.5
    """
    if not len(times):
        return None
    censored, event = times.censored, times.came
    end = tau_steps if times.followed_to(tau_steps) else float(times.low[censored].max())
    curve = incidence(times)
    jumps = np.concatenate([curve.steps, times.low[event | censored], times.high[event], [0.0, end]])
    steps = np.unique(jumps[jumps <= end])
    surely = np.sum(event & (times.high <= steps[:, None]), axis=1)
    # Up to the next step a trial's event may have come just after its low end; at the end itself it has not.
    begun = np.where(steps[:, None] < end, times.low <= steps[:, None], times.low < end)
    possibly = np.sum((event | censored) & begun, axis=1)
    bounds = {count: clopper_pearson(int(count), len(times)) for count in np.union1d(surely, possibly)}
    return WaitingCurve(
        steps=steps,
        incidence=np.array([curve.by(step)[0] for step in steps]),
        low=np.array([bounds[count][0] for count in surely]),
        high=np.array([bounds[count][1] for count in possibly]),
        estimator=curve.estimator,
        trials=len(times),
    )
