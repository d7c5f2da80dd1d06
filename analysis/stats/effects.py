"""How much of a map is due to which axis: main effects and interactions, without what seed noise would show anyway.

A map is one number a cell, the mean over its trials of a value each (an RMST's or a probability's pseudo-observation,
:func:`pseudo_observations`, which has censoring in it).  An effect is the part of the map that a term adds to the
terms that do not contain it (type II sums of squares: Yates 1934): mu' Q mu, with the projection Q.  Its size is the
root of mu' Q mu / C over C cells, in the map's unit: how far it typically moves a cell from the average.

Seeds add noise to the map: the sum of squares of the observed map is too large by tr(Q V), V being the covariance of
the cell means, taken as diagonal.  So that is subtracted.  The ratio of the two is distributed about as a noncentral F
with Box's (1954) degrees of freedom, also where cells are not equally noisy (Brunner, Dette & Munk 1997); its interval
of the noncentrality (Steiger 2004) is the effect's, through Patnaik's (1949) approximation.

In simulations (20 cells, 3 and 5 seeds, log-normal times cut at tau) the intervals cover 97 to 100 % for RMST, and 95
to 100 % for P, whose noise is taken with half a trial more at either end: tests/benchmarks/bench_influence.py.  Where
cells share seeds that are good or bad everywhere, the noise is overstated, and the intervals are wide.
"""

import itertools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import fdtr

from analysis.stats.intervals import LEVEL, Estimate
from analysis.stats.survival import CensoredTimes, incidence


@dataclass(frozen=True)
class Effect:
    """What one axis, or two together beyond each alone, do to the map."""

    axes: tuple[str, ...]
    size: Estimate
    """Standard deviation over the cells that it makes, in the map's unit; no interval where all seeds agree."""
    share: float
    """Of the map's variance without noise; NaN where there is none."""


@dataclass(frozen=True)
class Decomposition:
    """A map and what it is made of."""

    effects: tuple[Effect, ...]
    """The axes in their order, then pairs of them."""
    size: float
    """Standard deviation of the map over its cells, without noise."""
    noise: float
    """Standard deviation that seeds give to one cell's number."""
    cells: int


def pseudo_observations(times: CensoredTimes, tau_steps: float) -> tuple[np.ndarray, np.ndarray]:
    """Each trial's part in RMST(tau) and in P(T <= tau): two arrays (n,).

    n theta - (n - 1) theta without the trial (Andersen, Klein & Rosthoj 2003); where nothing is censored before tau
    they are min(T, tau) and whether T <= tau.

    >>> times = CensoredTimes(np.array([90.0, 500.0]), np.array([90.0, np.inf]), np.array([1, 0]))  # one censored
    >>> [part.tolist() for part in pseudo_observations(times, 400)]
    [[90.0, 400.0], [1.0, 0.0]]
    """
    n = len(times)
    rows, of_trial = np.unique(np.column_stack([times.low, times.high, times.cause]), axis=0, return_inverse=True)
    of_trial = of_trial.reshape(-1)
    counts = np.bincount(of_trial).astype(float)
    distinct = CensoredTimes(rows[:, 0], rows[:, 1], rows[:, 2].astype(int))
    # All trials, and then one of each different outcome left out.
    weights = np.vstack([counts, counts - np.eye(len(rows))]) if n > 1 else counts[None]
    curves = incidence(distinct, weights)
    parts = []
    for estimates in (curves.restricted_mean(tau_steps), curves.by(tau_steps)):
        parts.append((n * estimates[0] - (n - 1) * estimates[1:] if n > 1 else estimates)[of_trial])
    return parts[0], parts[1]


def decompose(
    values: Sequence[np.ndarray], axes: Mapping[str, Sequence[Hashable]], ends: tuple[float, float] | None = None
) -> Decomposition | None:
    """Main effects of all axes and interactions of all pairs.

    :param values: the trials' values of each cell.
    :param axes: the level of each cell, by axis; None where a cell does not have the axis.
    :param ends: for shares, ``(0, 1)``: the intervals take each cell to be as noisy as with half a trial more at
        either end (Jeffreys), because three seeds that agree do not make it certain that all would.
    :returns: None with fewer than three cells, or no cell with two trials: then noise cannot be told from effects.

    >>> cells = [np.array([10.0, 12.0]), np.array([20.0, 21.0]), np.array([30.0, 33.0]), np.array([40.0, 41.0])]
    >>> found = decompose(cells, {"decay": [0, 0, 1, 1], "dtype": ["a", "b", "a", "b"]})
    >>> [(effect.axes, round(effect.size.value, 1)) for effect in found.effects][:2]
    [(('decay',), 10.1), (('dtype',), 4.6)]
    """
    counts = np.array([len(each) for each in values])
    if len(values) < 3 or counts.max() < 2:
        return None
    means = np.array([each.mean() for each in values])
    spreads = np.array([each.var(ddof=1) if len(each) > 1 else math.nan for each in values])
    pooled = np.average(spreads[counts > 1], weights=counts[counts > 1] - 1)
    noise = np.where(counts > 1, spreads, pooled) / counts
    noise[noise <= 1e-12 * np.square(means).max()] = 0.0  # The seeds agree, but for rounding.
    wide = noise if ends is None else np.array([_spread_with(each, ends) for each in values]) / counts
    terms = {term: columns for term, columns in _terms(axes).items() if columns.shape[1]}
    cells, one = len(values), np.ones((len(values), 1))
    total = _without_noise(np.eye(cells) - 1.0 / cells, means, noise) / cells
    if total <= 1e-12 * np.square(means).max():
        total = 0.0  # All cells agree, but for rounding.
    effects = []
    for term, columns in terms.items():
        others = [other for name, other in terms.items() if not {*term} <= {*name}]
        projection = _projection(np.column_stack([one, *others, columns])) - _projection(
            np.column_stack([one, *others])
        )
        if np.trace(projection) < 0.5:
            continue  # Other terms say the same.
        left = _without_noise(projection, means, noise)
        low, high = _bounds(projection, left, wide, counts)
        left = max(0.0, left)
        size = Estimate(math.sqrt(left / cells), math.sqrt(low / cells), math.sqrt(high / cells), "noncentral F")
        effects.append(Effect(term, size, min(1.0, left / cells / total) if total > 0 else math.nan))
    return Decomposition(tuple(effects), math.sqrt(max(0.0, total)), math.sqrt(noise.mean()), cells)


def _terms(axes: Mapping[str, Sequence[Hashable]]) -> dict[tuple[str, ...], np.ndarray]:
    """The columns of each axis, centred over the cells that have it, and the products of each pair."""
    single: dict[tuple[str, ...], np.ndarray] = {}
    for axis, levels in axes.items():
        has = np.array([level is not None for level in levels])
        distinct = [level for level in dict.fromkeys(levels) if level is not None]
        columns = np.array([[level == one for one in distinct] for level in levels], dtype=float)
        columns[has] -= columns[has].mean(axis=0)
        single[(axis,)] = columns[:, : max(0, len(distinct) - 1)]
    pairs = {
        (*one, *other): (single[one][:, :, None] * single[other][:, None, :]).reshape(len(single[one]), -1)
        for one, other in itertools.combinations(single, 2)
    }
    return single | pairs


def _projection(columns: np.ndarray) -> np.ndarray:
    """On the space of the columns (C, C)."""
    left, singular, _ = np.linalg.svd(columns, full_matrices=False)
    basis = left[:, singular > 1e-9 * singular.max()]
    return basis @ basis.T


def _without_noise(projection: np.ndarray, means: np.ndarray, noise: np.ndarray) -> float:
    """An unbiased estimate of mu' Q mu."""
    return float(means @ projection @ means - np.diag(projection) @ noise)


def _spread_with(values: np.ndarray, ends: tuple[float, float]) -> float:
    """The variance of the values with half a value more at either end."""
    weights = np.append(np.ones(len(values)), [0.5, 0.5])
    values = np.append(values, ends)
    return float(np.average((values - np.average(values, weights=weights)) ** 2, weights=weights))


def _bounds(projection: np.ndarray, left: float, noise: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of mu' Q mu, which is estimated as ``left``; NaN where all seeds of all cells agree."""
    weights = np.diag(projection)
    trace = float(weights @ noise)
    if trace <= 0:
        return math.nan, math.nan
    upper = trace**2 / float(noise @ projection**2 @ noise)
    parts = (weights * noise) ** 2 / np.maximum(counts - 1, 1)
    lower = trace**2 / float(parts.sum())
    ratio = max(0.0, left / trace + 1)

    def below(excess: float) -> float:
        """P(a ratio of at most the observed one), where mu' Q mu = excess tr(Q V)."""
        degrees = upper * (1 + excess) ** 2 / (1 + 2 * excess)
        return float(fdtr(degrees, lower, ratio / (1 + excess)))

    return tuple(trace * _where(below, level) for level in ((1 + LEVEL) / 2, (1 - LEVEL) / 2))  # type: ignore[return-value]


def _where(below: Callable[[float], float], level: float) -> float:
    """Where a falling function reaches a level; 0 where it is below it from the start."""
    from scipy.optimize import brentq  # only when there is something to estimate

    if below(0.0) <= level:
        return 0.0
    far = 1.0
    while below(far) > level:
        far *= 4
    return float(brentq(lambda excess: below(excess) - level, 0.0, far, xtol=1e-6))
