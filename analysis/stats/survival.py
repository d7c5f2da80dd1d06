"""How long until an event, from censored intervals with competing events: curves and restricted means.

The data are what :mod:`trainables.engine.events` says of one event in n trials: it lies in ``(low, high]``, or it
had not come by ``low`` (right-censored), or a competing event (divergence, freezing, a stop on other events) came
first.  A competing event is never treated as censoring: the curve is the cumulative incidence function (CIF), and the
headline is the restricted mean time RMST(tau) = integral from 0 to tau of (1 - CIF), in which a trial that never
gets there counts tau.  Nothing here averages over the successes alone.

Where every interval is short (one step, or at most 5 % of its upper end) the estimator is Aalen-Johansen's with
each event in the MIDDLE of its interval; it is Kaplan-Meier's, ``1 - CIF``, where nothing competes.  Otherwise it is
the NPMLE for interval-censored competing risks, which is Turnbull's where nothing competes, with each mass in the
middle of its support.  (At the upper ends, the first measurements that know of the events, the restricted mean of the
standard measuring schedule would be 4 to 15 steps late.)

Chance enters through explicit generators only.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.stats.intervals import (
    DRAWS,
    SHORTEST_STEPS,
    UNKNOWN,
    Estimate,
    clopper_pearson,
    dirichlet_weights,
    geometric_mean,
    percentile,
)
from trainables.engine.events import KINDS, Event, EventKind

SHORT_INTERVAL = 0.05
"""Up to this fraction of its upper end (or one step) an interval is taken as its middle."""
FOLLOW_UP = 0.9
"""A curve is carried to tau when somebody still at risk was followed beyond this fraction of tau: a trial that was
interrupted long before tau says nothing about tau."""
AT_THE_ENDS = 0.5
"""How much of a trial the restricted mean's interval supposes at 0 and at tau, each: a trial that groks at once, and
one that never does.  Of the methods compared in ``tests/benchmarks/bench_coverage.py`` this is the narrowest that
covers at least .92 with 3 trials and more, on every truth."""

_CENSORED, _EVENT = KINDS.index(EventKind.CENSORED), KINDS.index(EventKind.EVENT)


@dataclass(frozen=True)
class CensoredTimes:
    """When an event came in n trials: ``low`` and ``high`` in steps (n,), ``cause`` an index into KINDS (n,).

    The cause is 1 for the event in (low, high], 0 where it had not come by low (high is infinite then), and above 1
    for a competing event in (low, high].

    >>> CensoredTimes(low=np.array([90.0, 500.0]), high=np.array([94.0, np.inf]), cause=np.array([1, 0])).time.tolist()
    [92.0, 500.0]
    """

    low: np.ndarray
    high: np.ndarray
    cause: np.ndarray

    @classmethod
    def of(cls, events: Sequence[Event], tau_steps: float) -> "CensoredTimes":
        """What is known of these events at tau: later ones are censored."""
        cut = [event.by(tau_steps) for event in events]
        return cls(
            low=np.array([event.low_steps for event in cut], dtype=float),
            high=np.array([event.high_steps for event in cut], dtype=float),
            cause=np.array([KINDS.index(EventKind(event.kind)) for event in cut], dtype=int),
        )

    def __len__(self) -> int:
        return len(self.low)

    @property
    def came(self) -> np.ndarray:
        """Which trials have the event (n,), bool."""
        return self.cause == _EVENT

    @property
    def censored(self) -> np.ndarray:
        """Which trials had not ended, in the event or a competing one, when they were last seen (n,), bool."""
        return self.cause == _CENSORED

    @property
    def time(self) -> np.ndarray:
        """One number a trial (n,): the middle of the interval that holds its end; censored: the step up to which it
        was followed."""
        ended = self.cause != _CENSORED
        return np.where(ended, self.low + np.where(ended, self.high - self.low, 0.0) / 2, self.low)

    def joined(self, other: "CensoredTimes") -> "CensoredTimes":
        """These trials, then those."""
        columns = ((self.low, other.low), (self.high, other.high), (self.cause, other.cause))
        return CensoredTimes(*(np.concatenate(pair) for pair in columns))

    def known_by(self, tau_steps: float) -> np.ndarray:
        """Whether each trial's fate by tau is known (n,): the event, a competing one, or followed to tau."""
        return (self.cause != _CENSORED) | (self.low >= tau_steps)

    def followed_to(self, tau_steps: float) -> bool:
        """Whether the curve can be carried to tau: nobody is left at risk, or one was followed nearly to it."""
        if len(self) == 0:
            return False
        censored = self.low[self.cause == _CENSORED]
        ended = self.high[self.cause != _CENSORED]
        if len(censored) == 0 or censored.max() >= FOLLOW_UP * tau_steps:
            return True
        return len(ended) > 0 and bool(ended.max() > censored.max())

    def short(self) -> bool:
        """Whether every event's interval is short enough to stand for its middle."""
        ended = self.cause != _CENSORED
        width = self.high[ended] - self.low[ended]
        return bool(np.all(width <= np.maximum(1.0, SHORT_INTERVAL * self.high[ended]) * (1 + 1e-9)))


@dataclass(frozen=True)
class Incidence:
    """Step curves of the cumulative incidence of the event, one for each set of weights.

    ``steps``: where the curves may jump, ascending (J,); ``jumps``: by how much (B, J).
    """

    steps: np.ndarray
    jumps: np.ndarray
    estimator: str

    def by(self, tau_steps: float) -> np.ndarray:
        """CIF(tau), shape (B,)."""
        return self.jumps @ (self.steps <= tau_steps).astype(float)

    def restricted_mean(self, tau_steps: float) -> np.ndarray:
        """RMST(tau), the integral of 1 - CIF from 0 to tau, in steps (B,)."""
        return tau_steps - self.jumps @ np.clip(tau_steps - self.steps, 0.0, tau_steps)

    def median(self) -> np.ndarray:
        """The first step at which the curve reaches one half (B,); NaN where it never does."""
        reached = np.cumsum(self.jumps, axis=1) >= 0.5 - 1e-9
        if self.steps.size == 0:
            return np.full(len(self.jumps), math.nan)
        return np.where(reached.any(axis=1), self.steps[reached.argmax(axis=1)], math.nan)


def incidence(times: CensoredTimes, weights: np.ndarray | None = None) -> Incidence:
    """The estimator that the intervals call for: :func:`aalen_johansen` of short ones, otherwise :func:`turnbull`.

    :param weights: how much each trial counts, (B, n); by default 1 each, and B is 1.

    >>> times = CensoredTimes(np.array([90.0, 20.0]), np.array([94.0, 80.0]), np.array([1, 1]))
    >>> incidence(times).estimator, incidence(times).by(90).tolist()
    ('Turnbull', [0.5])
    """
    weights = np.ones((1, len(times))) if weights is None else np.asarray(weights, dtype=float)
    times, weights = _distinct(times, weights)
    return aalen_johansen(times, weights) if times.short() else turnbull(times, weights)


def _distinct(times: CensoredTimes, weights: np.ndarray) -> tuple[CensoredTimes, np.ndarray]:
    """Each different outcome once, with the weights of all its trials: many trials share few measured steps."""
    rows = np.stack([times.low, times.high, times.cause.astype(float)])
    order = np.lexsort(rows)
    rows = rows[:, order]
    firsts = np.flatnonzero(np.append(True, np.any(rows[:, 1:] != rows[:, :-1], axis=0))[: len(times)])
    if len(firsts) == len(times):
        return times, weights
    low, high, cause = rows[:, firsts]
    return CensoredTimes(low, high, cause.astype(int)), np.add.reduceat(weights[:, order], firsts, axis=1)


def aalen_johansen(times: CensoredTimes, weights: np.ndarray) -> Incidence:
    """Aalen & Johansen (1978): CIF(t) = sum over s <= t of S(s-) d_event(s) / Y(s); events come before censoring.

    It is 1 - S of Kaplan & Meier (1958) where nothing competes.

    :param weights: how much each trial counts, (B, n).

    >>> steps = np.array([10.0, 20.0, 30.0])  # the event, censored, the event
    >>> times = CensoredTimes(steps, np.array([10.0, np.inf, 30.0]), np.array([1, 0, 1]))
    >>> aalen_johansen(times, np.ones((1, 3))).jumps.round(3).tolist()
    [[0.333, 0.667]]
    """
    time = times.time
    ends = times.cause != _CENSORED
    steps = np.unique(time[ends])
    at_step = (time[:, None] == steps) & ends[:, None]
    at_risk = weights @ (time[:, None] >= steps).astype(float)
    ended = weights @ at_step.astype(float)
    event = weights @ (at_step & times.came[:, None]).astype(float)
    occupied = np.where(at_risk > 0, at_risk, 1.0)  # where nobody is at risk nothing ends, and the hazard is 0
    survival = np.cumprod(1.0 - ended / occupied, axis=1)
    before = np.concatenate([np.ones((len(weights), 1)), survival[:, :-1]], axis=1)[:, : len(steps)]
    return Incidence(steps, before * event / occupied, "Aalen-Johansen")


def turnbull(times: CensoredTimes, weights: np.ndarray, tolerance: float = 1e-10, rounds: int = 20_000) -> Incidence:
    """The NPMLE by EM: Turnbull (1976), for competing risks as in Hudgens, Satten & Longini (2001).

    Each cause has mass on its innermost intervals only, ``(left, right]`` without another end between; what is
    left, "after everything seen", is a further cell that the censored trials share.

    :param weights: how much each trial counts, (B, n).

    >>> times = CensoredTimes(np.array([0.0, 20.0, 70.0]), np.array([40.0, 60.0, np.inf]), np.array([1, 1, 0]))
    >>> curve = turnbull(times, np.ones((1, 3)))
    >>> curve.steps.tolist(), curve.jumps.round(3).tolist()  # in the middle of (20, 40]
    ([30.0], [[0.667]])
    """
    cells = [
        (cause, left, right)
        for cause in sorted(set(times.cause.tolist()) - {_CENSORED})
        for left, right in _innermost(times, cause)
    ]
    cause, left, right = (np.array(column) for column in zip(*cells, (_CENSORED, math.inf, math.inf), strict=True))
    censored = (times.cause == _CENSORED)[:, None]
    possible = (times.cause[:, None] == cause) & (times.low[:, None] <= left) & (right <= times.high[:, None])
    possible |= censored & (times.low[:, None] <= left)
    may_be = possible.astype(float)
    total = weights.sum(axis=1, keepdims=True)
    mass = np.full((len(weights), len(cause)), 1.0 / len(cause))
    for _ in range(rounds):
        likelihood = np.maximum(mass @ may_be.T, np.finfo(float).tiny)
        updated = mass * ((weights / likelihood) @ may_be) / total
        change = np.abs(updated - mass).max()
        mass = updated
        if change < tolerance:
            break
    own = np.flatnonzero(cause == _EVENT)
    middle = (left + right)[own] / 2
    order = np.argsort(middle, kind="stable")
    return Incidence(middle[order], mass[:, own[order]], "Turnbull")


def _innermost(times: CensoredTimes, cause: int) -> list[tuple[float, float]]:
    """A left end directly followed by a right end; at a tie the right end comes first: (a, b] and (b, c] are apart."""
    own = times.cause == cause
    lefts = times.low[own | (times.cause == _CENSORED)]
    ends = sorted([(value, 1) for value in lefts] + [(value, 0) for value in times.high[own]])
    return [
        (float(left), float(right))
        for (left, is_left), (right, next_is_left) in itertools.pairwise(ends)
        if is_left and not next_is_left
    ]


@dataclass(frozen=True)
class Summary:
    """What one cell's trials say of one event."""

    by_tau: Estimate
    """P(the event by tau)."""
    given_steps: Estimate
    """The geometric mean of the time, given that the event comes by tau: never without ``by_tau`` beside it."""
    restricted_mean_steps: Estimate
    median_steps: float
    """NaN where the curve does not cross one half by tau."""
    estimator: str


def summarise(times: CensoredTimes, tau_steps: float, rng: np.random.Generator, draws: int = DRAWS) -> Summary:
    """P by tau, the time given the event, RMST(tau) and the median of one event.

    >>> times = CensoredTimes(low=np.array([90.0, 190.0]), high=np.array([94.0, 199.0]), cause=np.array([1, 1]))
    >>> summarise(times, 1500, np.random.default_rng(0)).by_tau
    Estimate(value=1.0, low=0.158..., high=1.0, method='Clopper-Pearson')
    """
    if not times.followed_to(tau_steps):
        return Summary(UNKNOWN, UNKNOWN, UNKNOWN, math.nan, "none")
    curve = incidence(times)
    return Summary(
        by_tau=_by_tau(times, curve, tau_steps),
        given_steps=_given(times, curve, tau_steps),
        restricted_mean_steps=percentile(
            float(curve.restricted_mean(tau_steps)[0]),
            restricted_mean_draws(times, tau_steps, rng, draws),
            f"{curve.estimator}, Bayesian bootstrap",
        ),
        median_steps=float(curve.median()[0]),
        estimator=curve.estimator,
    )


def median_or_bound(times: CensoredTimes) -> tuple[float, float]:
    """The median, NaN where the curve does not cross one half; and then what it is above, otherwise NaN.

    Whoever had not ended by ``low``, or whose end is a competing event, counts as later than ``low``: half of all are
    later than the median of these bounds, however different the times are up to which the trials were followed.

    >>> times = CensoredTimes(np.array([90.0, 800.0, 900.0]), np.array([94.0, np.inf, np.inf]), np.array([1, 0, 0]))
    >>> median_or_bound(times)
    (nan, 800.0)
    """
    if len(times) == 0:
        return math.nan, math.nan
    median = float(incidence(times).median()[0])
    bound = float(np.sort(times.low)[(len(times) - 1) // 2])
    return median, bound if math.isnan(median) else math.nan


def restricted_mean_draws(
    times: CensoredTimes, tau_steps: float, rng: np.random.Generator, draws: int = DRAWS
) -> np.ndarray:
    """RMST(tau) in steps under the weights of a Bayesian bootstrap (Rubin 1981), (draws,).

    It is over the trials, and over :data:`AT_THE_ENDS` of one at each end of time.

    >>> times = CensoredTimes(np.array([90.0, 190.0]), np.array([94.0, 199.0]), np.array([1, 1]))
    >>> restricted_mean_draws(times, 400, np.random.default_rng(0), draws=1000).shape
    (1000,)
    """
    distinct, counts = _distinct(times, np.ones((1, len(times))))
    at_once = CensoredTimes(np.array([-1.0]), np.array([0.0]), np.array([_EVENT]))
    never = CensoredTimes(np.array([tau_steps]), np.array([math.inf]), np.array([_CENSORED]))
    weights = dirichlet_weights(counts[0], AT_THE_ENDS, draws, rng)
    return incidence(distinct.joined(at_once).joined(never), weights).restricted_mean(tau_steps)


def _by_tau(times: CensoredTimes, curve: Incidence, tau_steps: float) -> Estimate:
    """P by tau: a share with its exact interval where every trial's fate by tau is known, and otherwise the CIF.

    The CIF's interval goes from the lower bound, should none of the unknown trials have had the event by tau, to the
    upper bound, should all: it holds whatever kept them from being known, and with three seeds, of which one is
    unknown, a bootstrap would say no more than [0, 1].
    """
    n, reached = len(times), int(times.came.sum())
    unknown = int(np.sum(~times.known_by(tau_steps)))
    if not unknown:
        return Estimate(reached / n, *clopper_pearson(reached, n), "Clopper-Pearson")
    low, high = clopper_pearson(reached, n)[0], clopper_pearson(reached + unknown, n)[1]
    return Estimate(float(curve.by(tau_steps)[0]), low, high, f"{curve.estimator}, Clopper-Pearson at both extremes")


def _given(times: CensoredTimes, curve: Incidence, tau_steps: float) -> Estimate:
    """The geometric mean of the time given the event by tau; without an interval where a trial's fate is unknown.

    Student's interval of the logarithms over the trials that have the event (a single one has no interval).
    """
    reached = times.came
    if not reached.any():
        return Estimate(math.nan, math.nan, math.nan, "no event by tau")
    if times.known_by(tau_steps).all():
        mean = geometric_mean(np.maximum(times.time[reached], SHORTEST_STEPS))
        return replace(mean, high=min(mean.high, tau_steps))  # a NaN stays one
    jumps = curve.jumps[0] * (curve.steps <= tau_steps)
    logs = np.log(np.maximum(curve.steps, SHORTEST_STEPS))
    return Estimate(float(np.exp(jumps @ logs / jumps.sum())), math.nan, math.nan, f"{curve.estimator}, not all known")
