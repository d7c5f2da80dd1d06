"""The analysis' estimates against outside judges: scikit-survival, surpyval, scipy, quadrature, the likelihood."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from sksurv.nonparametric import cumulative_incidence_competing_risks, kaplan_meier_estimator

from analysis.stats.regression import Times, fit_times
from analysis.stats.survival import CensoredTimes, aalen_johansen, turnbull

CASES = range(20)


def sample(seed: int, n: int = 40, causes: int = 3) -> CensoredTimes:
    """Random times with ties (coarse steps), competing causes 1..causes, and censoring at any time."""
    rng = np.random.default_rng(seed)
    cause = rng.integers(0, causes + 1, n)
    time = rng.integers(1, 30, n) * 10.0
    if not (cause == 1).any():
        cause[0] = 1
    return CensoredTimes(
        low=np.where(cause == 0, time, time - 1), high=np.where(cause == 0, math.inf, time), cause=cause
    )


def one(data: CensoredTimes) -> np.ndarray:
    return np.ones((1, len(data)))


def times_of(data: CensoredTimes) -> np.ndarray:
    return data.time


@pytest.mark.parametrize("seed", CASES)
def test_kaplan_meier(seed):
    data = sample(seed, causes=1)
    times, survival = kaplan_meier_estimator(data.cause == 1, times_of(data))
    curve = aalen_johansen(data, one(data))
    assert [1 - curve.by(time)[0] for time in times] == pytest.approx(survival.tolist(), abs=1e-12)


@pytest.mark.parametrize("seed", CASES)
def test_cumulative_incidence(seed):
    data = sample(seed)
    times, incidence = cumulative_incidence_competing_risks(data.cause, times_of(data))
    curve = aalen_johansen(data, one(data))
    # Row 0 is the total risk, row 1 the first cause, which is the event.
    assert [curve.by(time)[0] for time in times] == pytest.approx(incidence[1].tolist(), abs=1e-12)


@pytest.mark.parametrize("seed", CASES)
def test_weights(seed):
    data = sample(seed, n=12)
    counts = np.random.default_rng(100 + seed).multinomial(12, np.full(12, 1 / 12))
    rows = np.repeat(np.arange(12), counts)
    if not (data.cause[rows] == 1).any():
        counts[np.flatnonzero(data.cause == 1)[0]] += 1
        rows = np.repeat(np.arange(12), counts)
    times, incidence = cumulative_incidence_competing_risks(
        np.append(data.cause[rows], [2, 3]), np.append(times_of(data)[rows], [1e6, 1e6])
    )
    padded = CensoredTimes(
        low=np.append(data.low, [1e6 - 1] * 2),
        high=np.append(data.high, [1e6] * 2),
        cause=np.append(data.cause, [2, 3]),
    )
    curve = aalen_johansen(padded, np.append(counts, [1, 1])[None].astype(float))
    assert [curve.by(time)[0] for time in times] == pytest.approx(incidence[1].tolist(), abs=1e-12)


@pytest.mark.parametrize("seed", CASES)
def test_restricted_mean(seed):
    """RMST(tau) = integral of 1 - CIF, by quadrature over scikit-survival's curve."""
    data, tau = sample(seed), 260.0
    times, incidence = cumulative_incidence_competing_risks(data.cause, times_of(data))

    def survival(t: float) -> float:
        place = np.searchsorted(times, t, side="right") - 1
        return 1.0 - (incidence[1][place] if place >= 0 else 0.0)

    inside = times[(times > 0) & (times < tau)]
    edges = [0.0, *inside.tolist(), tau]
    expected = sum(quad(survival, a, b)[0] for a, b in pairwise(edges))
    assert aalen_johansen(data, one(data)).restricted_mean(tau)[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", CASES)
def test_turnbull_at_exact_times(seed):
    """With intervals of one step on a grid of ten the NPMLE is Aalen-Johansen's, competing risks and all."""
    data = sample(seed)
    times, incidence = cumulative_incidence_competing_risks(data.cause, times_of(data))
    curve = turnbull(data, one(data))
    last = times_of(data)[data.cause != 0].max()
    for time, expected in zip(times, incidence[1], strict=True):
        if time < last or not (data.low[data.cause == 0] >= last).any():
            assert curve.by(time)[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_turnbull_maximises_the_likelihood(seed):
    """Overlapping intervals: no random reallocation of the mass makes the data likelier, and the score is at most n."""
    rng = np.random.default_rng(seed)
    n = 15
    cause = rng.integers(0, 3, n)
    cause[:2] = 1
    low = rng.uniform(0, 80, n).round()
    high = np.where(cause == 0, math.inf, low + rng.uniform(5, 60, n).round())
    data = CensoredTimes(low, high, cause)
    curve = turnbull(data, one(data))
    other = turnbull(CensoredTimes(low, high, np.where(cause == 1, 2, np.where(cause == 2, 1, 0))), one(data))
    rest = 1.0 - curve.jumps[0].sum() - other.jumps[0].sum()
    assert rest >= -1e-9

    def log_likelihood(event: np.ndarray, competing: np.ndarray, after: float) -> float:
        total = 0.0
        for left, right, kind in zip(low, high, cause, strict=True):
            if kind == 0:
                parts = event[curve.steps > left].sum() + competing[other.steps > left].sum() + after
            else:
                mass, steps = (event, curve.steps) if kind == 1 else (competing, other.steps)
                parts = mass[(steps > left) & (steps <= right)].sum()
            total += math.log(max(parts, 1e-300))
        return total

    best = log_likelihood(curve.jumps[0], other.jumps[0], max(rest, 0.0))
    size = len(curve.steps) + len(other.steps) + 1
    own = np.concatenate([curve.jumps[0], other.jumps[0], [max(rest, 0.0)]])
    for _ in range(200):
        toward = rng.dirichlet(np.full(size, 0.5))
        if not (cause == 0).any():
            toward[-1] = 0.0
            toward /= toward.sum()
        for share in (0.01, 0.1, 0.5):
            moved = (1 - share) * own + share * toward
            event, competing, after = np.split(moved, [len(curve.steps), size - 1])
            assert log_likelihood(event, competing, float(after[0])) <= best + 1e-6


def intervals(seed: int, cured: float) -> tuple[CensoredTimes, np.ndarray]:
    """Log-normal times by a number and a group, known to 10 %, followed to 400; some never come."""
    rng = np.random.default_rng(seed)
    columns = np.column_stack([rng.normal(size=60), rng.integers(0, 2, 60)])
    times = np.exp(5 + columns @ [0.5, -0.3] * (cured == 0) + 0.4 * rng.normal(size=60))
    times[rng.random(60) < cured] = math.inf
    low = 1.1 ** np.floor(np.log(np.minimum(times, 1e6)) / math.log(1.1))
    came = 1.1 * low < 400
    high = np.where(came, 1.1 * low, math.inf)
    return CensoredTimes(np.where(came, low, 400.0), high, came.astype(int)), columns


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("distribution", Times)
def test_regression_of_times(seed, distribution):
    surpyval = pytest.importorskip("surpyval")
    data, columns = intervals(seed, cured=0.0)
    judge = surpyval.AFT(surpyval.LogNormal if distribution == Times.LOG_NORMAL else surpyval.LogLogistic)
    x = np.column_stack([data.low, np.where(data.cause == 1, data.high, data.low)])
    theirs = judge.fit(x=x, Z=columns, c=np.where(data.cause == 1, 2, 1))
    ours = fit_times(data, columns, None, distribution, intervals=False)
    # Its exp(b x) multiplies the speed of time, not the time.
    assert ours.coefficients == pytest.approx(-theirs.params[2:], abs=2e-3)
    scale = theirs.params[1] if distribution == Times.LOG_NORMAL else 1 / theirs.params[1]
    assert ours.scale == pytest.approx(scale, rel=5e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_share_that_gets_there(seed):
    surpyval = pytest.importorskip("surpyval")
    data, _ = intervals(seed, cured=0.4)
    x = np.column_stack([data.low, np.where(data.cause == 1, data.high, data.low)])
    theirs = surpyval.LogNormal.fit(x=x, c=np.where(data.cause == 1, 2, 1), lfp=True)
    ours = fit_times(data, np.zeros((60, 0)), np.zeros((60, 0)), intervals=False)
    assert ours.intercept == pytest.approx(theirs.params[0], abs=5e-3)
    assert ours.scale == pytest.approx(theirs.params[1], rel=1e-2)
    assert ours.shares[0] == pytest.approx(theirs.lfp_p, abs=5e-3)
