"""How much earlier or later an event comes by what was set: accelerated failure time models with a cure fraction.

The model, for a trial with the columns x of its setting (Boag 1949; Farewell 1982; Kalbfleisch & Prentice 2002, 2.2):

    P(T <= t) = p(x) F((log t - a - x b) / s)

F is the normal or the logistic distribution: times are log-normal or log-logistic.  exp(b_j) is a ratio of times.
p(x) is the share of trials that ever get there.  It depends on the setting, since whether a network groks at all is
what a phase diagram is a diagram of: with one share for all, settings in which nothing happens would be read as very
slow ones, and every ratio would be wrong.  Its logit is additive in columns of its own, with a log-F(1, 1) prior on
each (Greenland & Mansournia 2015), because settings in which all trials or none get there separate the data; the
ratios have no prior.

A trial contributes p (F(z_high) - F(z_low)) for an event in (low, high], 1 - p F(z_low) where it was followed to low
without one, and 1 - p for a competing event, after which the event never comes.

Intervals are from the profile likelihood, which is not symmetric where the data are one-sided and has no upper end
where they set none.  The deviance at their ends is m log(1 + t^2 / d), t being Student's quantile with d degrees of
freedom for m events, one of which the share takes where there is one: without, and with exact log-normal times, this
is Student's interval, and for many events the usual 3.84.  In simulations (all get there, some too late; 35 to 100 %;
some settings never) it covers 95 to 98 % with 3, 5 and 10 seeds, 93 % at worst where the times are in truth
log-logistic; 3.84 would cover 84 to 95 %: tests/benchmarks/bench_influence.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.special import expit, log_expit, log_ndtr, stdtrit

from analysis.stats.intervals import LEVEL, Estimate
from analysis.stats.survival import CensoredTimes

LEAST_DEGREES = 3
"""Fewer degrees of freedom (events that are left when each coefficient has taken one) carry no model."""
FARTHEST = math.log(1e3)
"""A ratio whose bound lies beyond this has no bound."""
_FURTHEST_LOG = 700.0
"""Of a scale that a line search may try: where all times are equal, it steps far."""
_EARLIEST = 0.25
"""Steps; where an event at step 0 is put on the log scale."""
_SPREAD = 10.0
"""Standard deviation of the prior of the overall logit of p: it matters only where all trials get there."""


class Times(StrEnum):
    """The distribution of the times of those that get there."""

    LOG_NORMAL = "log-normal"
    LOG_LOGISTIC = "log-logistic"


class TooFewError(Exception):
    """The data carry no such model; the message says why."""


@dataclass(frozen=True)
class TimeRegression:
    """A fitted model."""

    distribution: Times
    coefficients: np.ndarray
    """b: the change of log time with each column (k,)."""
    intervals: np.ndarray
    """The 95 % interval of each (k, 2); infinite where the data set no bound."""
    intercept: float
    """a: the mean log time at the columns' means."""
    scale: float
    """s."""
    shares: np.ndarray
    """p of each trial (n,)."""
    log_likelihood: float
    """Penalized by the prior."""
    events: int

    def ratio(self, column: int, change: float = 1.0) -> Estimate:
        """The ratio of times for a change of a column: below 1, the event comes earlier."""
        low, high = sorted(change * self.intervals[column])
        bounds = (math.exp(low) if math.isfinite(low) else 0.0, math.exp(high) if math.isfinite(high) else math.inf)
        return Estimate(math.exp(change * self.coefficients[column]), *bounds, f"{self.distribution}, profile")


def fit_times(
    times: CensoredTimes,
    columns: np.ndarray,
    cure_columns: np.ndarray | None = None,
    distribution: Times = Times.LOG_NORMAL,
    *,
    intervals: bool = True,
) -> TimeRegression:
    """Fit the model by maximum (penalized) likelihood.

    :param columns: x of each trial (n, k), without one for the intercept.
    :param cure_columns: what p depends on (n, m), likewise; None: every trial gets there in the end, and none may
        have a competing event.
    :param intervals: without, they are left out (NaN), which is much faster.
    :raises TooFewError: where the events do not determine the coefficients.

    >>> from trainables.engine.events import Event
    >>> events = [Event("t_gen", 0.95, "event", t - 1, t) for t in (100, 130, 90, 210, 190, 240)]
    >>> doubled = np.array([[0.0]] * 3 + [[1.0]] * 3)
    >>> model = fit_times(CensoredTimes.of(events, 500), doubled, np.zeros((6, 0)))
    >>> round(model.ratio(0).value, 2)  # As of the geometric means.
    2.02
    """
    came = times.came
    k, m = columns.shape[1], int(came.sum())
    degrees = m - k - 1 - (cure_columns is not None)
    centred = columns - columns[came].mean(axis=0) if m else columns
    if degrees < LEAST_DEGREES:
        needed = LEAST_DEGREES + m - degrees
        raise TooFewError(f"{m} trials have the event, and it takes {needed}; more seeds or steps may bring them")
    if np.linalg.matrix_rank(np.column_stack([np.ones(m), centred[came]])) < k + 1:
        raise TooFewError("the settings in which the event came do not tell the columns apart")
    likelihood = _Likelihood(times, centred, cure_columns, distribution)
    best = likelihood.best()
    b = best.point[1 : 1 + k]
    ends = np.full((k, 2), math.nan)
    if intervals:
        cutoff = m * math.log1p(stdtrit(degrees, (1 + LEVEL) / 2) ** 2 / degrees)
        ends = np.array([likelihood.ends(1 + j, best, cutoff) for j in range(k)]).reshape(k, 2)
    return TimeRegression(
        distribution=distribution,
        coefficients=b,
        intervals=ends,
        intercept=float(best.point[0]),
        scale=math.exp(best.point[1 + k]),
        shares=likelihood.shares(best.point),
        log_likelihood=-best.value,
        events=m,
    )


def better(models: Sequence[TimeRegression]) -> TimeRegression:
    """The likelier of models of the same data with as many parameters, which is also that of the smaller AIC.

    >>> times = CensoredTimes(np.full(5, 99.0), np.array([100.0, 120, 130, 150, 180]), np.ones(5, dtype=int))
    >>> models = [fit_times(times, np.zeros((5, 0)), distribution=each) for each in Times]
    >>> better(models).log_likelihood == max(model.log_likelihood for model in models)
    True
    """
    return max(models, key=lambda model: model.log_likelihood)


def p_of_more(fewer: TimeRegression, more: TimeRegression) -> float:
    """The p of the columns that the second model has beyond the first's, on the same data.

    The F test that the deviance stands for: exact for exact log-normal times, where the deviance is m log(RSS ratio).

    >>> time, decay = np.array([100.0, 130, 90, 210, 190, 240]), np.array([[0.0]] * 3 + [[1.0]] * 3)
    >>> times = CensoredTimes(time - 1, time, np.ones(6, dtype=int))
    >>> round(p_of_more(fit_times(times, decay[:, :0]), fit_times(times, decay)), 3)
    0.006
    """
    from scipy.stats import f  # half a second to import: only when there is something to compare

    extra = len(more.coefficients) - len(fewer.coefficients)
    degrees = more.events - len(more.coefficients) - 1
    deviance = max(0.0, 2 * (more.log_likelihood - fewer.log_likelihood))
    return float(f.sf(math.expm1(deviance / more.events) * degrees / extra, extra, degrees))


@dataclass(frozen=True)
class _Optimum:
    point: np.ndarray
    value: float
    """The penalized negative log-likelihood."""
    inverse: np.ndarray
    """An approximate inverse of its Hessian."""


class _Likelihood:
    """The penalized negative log-likelihood of (a, b, log s, overall logit of p, its changes), with its gradient."""

    def __init__(
        self, times: CensoredTimes, columns: np.ndarray, cure_columns: np.ndarray | None, distribution: Times
    ) -> None:
        never = ~times.censored & ~times.came
        if cure_columns is None and never.any():
            raise ValueError("cure_columns: must be given where there are competing events")
        # Each different row once, with how often it occurs: trials of a cell share their censoring.
        kind = np.where(times.came, 1, np.where(never, 2, 0))
        self.cures = cure_columns is not None
        cure = np.zeros((len(kind), 0)) if cure_columns is None else cure_columns
        rows = np.column_stack([kind, times.low, np.where(kind == 1, times.high, math.inf), columns, cure])
        rows, self.place, self.count = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
        self.place = self.place.reshape(-1)
        self.kind, self.columns, self.k = rows[:, 0].astype(int), rows[:, 3 : 3 + columns.shape[1]], columns.shape[1]
        self.design = np.column_stack([np.ones(len(rows)), self.columns])
        cure = rows[:, 3 + self.k :]
        self.cure = np.column_stack([np.ones(len(rows)), cure - np.average(cure, axis=0, weights=self.count)])
        with np.errstate(divide="ignore"):
            self.low = np.log(rows[:, 1])
            self.high = np.log(np.maximum(rows[:, 2], _EARLIEST))
        self.low[self.low >= self.high] = -math.inf  # An event at the first measurement.
        self.log_cdf = log_ndtr if distribution == Times.LOG_NORMAL else log_expit
        self.distribution = distribution

    def log_pdf(self, z: np.ndarray) -> np.ndarray:
        if self.distribution == Times.LOG_NORMAL:
            return -0.5 * z * z - 0.5 * math.log(2 * math.pi)
        return log_expit(z) + log_expit(-z)

    def shares(self, point: np.ndarray) -> np.ndarray:
        if not self.cures:
            return np.ones(len(self.place))
        return expit(self.cure @ point[self.k + 2 :])[self.place]

    def __call__(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        k = self.k
        location, log_scale = self.design @ point[: k + 1], point[k + 1]
        scale = math.exp(min(log_scale, _FURTHEST_LOG))
        low, high = (self.low - location) / scale, (self.high - location) / scale
        logit = self.cure @ point[k + 2 :] if self.cures else np.full(len(self.kind), math.inf)
        log_p, log_not = log_expit(logit), log_expit(-logit)
        came, lost, never = (self.kind == kind for kind in (1, 0, 2))
        value = np.zeros(len(self.kind))
        d_low, d_high, d_logit = np.zeros_like(value), np.zeros_like(value), np.zeros_like(value)
        # An event: log(F(high) - F(low)), on the side of 0 on which the two do not cancel.
        left, right = np.where(low + high > 0, -high, low)[came], np.where(low + high > 0, -low, high)[came]
        upper, lower = self.log_cdf(right), self.log_cdf(left)
        inside = upper + np.log(-np.expm1(np.minimum(lower - upper, -1e-300)))
        value[came] = inside + log_p[came]
        d_high[came] = np.exp(self.log_pdf(high[came]) - inside)
        d_low[came] = -np.exp(np.where(np.isinf(low[came]), -math.inf, self.log_pdf(low[came])) - inside)
        d_logit[came] = np.exp(log_not[came])
        # Followed to low without it: log(1 - p F(low)) = log((1 - p) + p S(low)).
        still = log_p[lost] + self.log_cdf(-low[lost])
        value[lost] = np.logaddexp(log_not[lost], still)
        density = np.where(np.isinf(low[lost]), -math.inf, self.log_pdf(low[lost]))
        d_low[lost] = -np.exp(log_p[lost] + density - value[lost])
        d_logit[lost] = np.exp(still - value[lost]) - np.exp(log_p[lost])
        value[never], d_logit[never] = log_not[never], -np.exp(log_p[never])
        d_location = -(d_low + d_high) / scale
        d_scale = -(np.where(d_low == 0, 0, d_low * np.where(np.isinf(low), 0, low)) + d_high * np.where(came, high, 0))
        gradient = np.concatenate(
            [self.design.T @ (self.count * d_location), [self.count @ d_scale],
             self.cure.T @ (self.count * d_logit) if self.cures else []]
        )  # fmt: skip
        total = float(self.count @ value)
        if self.cures:
            overall, changes = point[k + 2], point[k + 3 :]
            total += float(np.sum(changes / 2 + log_expit(-changes))) - 0.5 * (overall / _SPREAD) ** 2
            gradient[k + 2] -= overall / _SPREAD**2
            gradient[k + 3 :] += 0.5 - expit(changes)
        return -total, -gradient

    def best(self) -> _Optimum:
        """The best of two starts: that most get there, and that only those do that did."""
        came = self.kind == 1
        weights = self.count[came]
        middle = np.where(np.isinf(self.low), self.high - 0.7, (self.low + self.high) / 2)[came]
        root = np.sqrt(weights)
        first = np.linalg.lstsq(self.design[came] * root[:, None], middle * root, rcond=None)[0]
        spread = np.sqrt(np.average((middle - self.design[came] @ first) ** 2, weights=weights))
        size = self.k + 2 + (self.cure.shape[1] if self.cures else 0)
        share = weights.sum() / self.count.sum()
        candidates = []
        for logit in (3.0, math.log(share / (1 - share)) if share < 1 else 5.0) if self.cures else (0.0,):
            start = np.zeros(size)
            start[: self.k + 1], start[self.k + 1] = first, math.log(max(spread, 0.02))
            if self.cures:
                start[self.k + 2] = logit
            candidates.append(self._minimum(start, np.arange(size)))
        return min(candidates, key=lambda optimum: optimum.value)

    def _minimum(self, start: np.ndarray, free: np.ndarray) -> _Optimum:
        from scipy.optimize import minimize  # only when there is something to fit

        def partial(values: np.ndarray) -> tuple[float, np.ndarray]:
            point = start.copy()
            point[free] = values
            value, gradient = self(point)
            return value, gradient[free]

        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found = minimize(partial, start[free], jac=True, method="BFGS", options={"gtol": 1e-5, "maxiter": 400})
        point = start.copy()
        point[free] = found.x
        return _Optimum(point, float(found.fun), found.hess_inv)

    def ends(self, index: int, best: _Optimum, cutoff: float) -> tuple[float, float]:
        """Where the profile deviance of a coefficient reaches the cutoff, on both sides; infinite where it does not."""
        free = np.delete(np.arange(len(best.point)), index)
        step = math.sqrt(max(best.inverse[index, index], 1e-8) * cutoff)
        return self._end(index, free, best, cutoff, -step), self._end(index, free, best, cutoff, step)

    def _end(self, index: int, free: np.ndarray, best: _Optimum, cutoff: float, step: float) -> float:
        """The secant rule on the root of the deviance, which is nearly a line."""
        target, near, far = math.sqrt(cutoff), (0.0, 0.0), (step, 0.0)
        point = best.point
        for _ in range(25):
            if abs(far[0]) > FARTHEST:
                return math.copysign(math.inf, step)
            start = point.copy()
            start[index] = best.point[index] + far[0]
            profile = self._minimum(start, free)
            root = math.sqrt(max(0.0, 2 * (profile.value - best.value)))
            far = (far[0], root)
            if abs(root - target) < 1e-3 * target:
                break
            point = profile.point
            slope = (far[1] - near[1]) / (far[0] - near[0])
            # A flat profile: look further out, at most three times as far.
            following = far[0] + (target - far[1]) / slope if slope * step > 0 else 3 * far[0]
            limit = 3 * max(abs(far[0]), abs(step))
            near, far = far, (math.copysign(min(max(abs(following), 1e-6), limit), step), 0.0)
        return float(best.point[index] + far[0])
