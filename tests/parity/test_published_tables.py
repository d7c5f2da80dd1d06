"""The analysis' estimates on data sets of the textbooks, against the tables that are printed there."""

import math

import numpy as np
import pytest

from analysis.stats.contrasts import sign_flip_p
from analysis.stats.intervals import mean_with_t_interval
from analysis.stats.survival import CensoredTimes, aalen_johansen, turnbull

SIX_MP = [6, 6, 6, 7, 10, 13, 16, 22, 23]
SIX_MP_CENSORED = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
"""Weeks of remission of leukaemia under 6-mercaptopurine (Freireich et al. 1963)."""

RADIOTHERAPY = """0 7, 0 8, 0 5, 4 11, 5 12, 5 11, 6 10, 7 16, 7 14, 11 15, 11 18, 17 25, 17 25, 19 35, 18 26, 25 37,
26 40, 27 34, 36 44, 36 48, 37 44, 15, 17, 18, 22, 24, 24, 32, 33, 34, 36, 36, 37, 37, 37, 38, 40, 45, 46, 46, 46, 46,
46, 46, 46, 46"""
"""Months to retraction of the breast after radiotherapy (Finkelstein & Wolfe 1985): (low, high], or beyond low."""

MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
"""Eighths of an inch by which crossed plants are taller than self-fertilized ones (Darwin 1876)."""


def known(intervals):
    """Events of one cause in (low, high], and what had not come by low where high is infinite."""
    low, high = np.array(intervals, dtype=float).T
    return CensoredTimes(low, high, np.isfinite(high).astype(int))


def test_kaplan_meier_of_remissions():
    """Kalbfleisch & Prentice, The Statistical Analysis of Failure Time Data; Cox & Oakes, Analysis of Survival Data."""
    data = known([(week, week) for week in SIX_MP] + [(week, math.inf) for week in SIX_MP_CENSORED])
    curve = aalen_johansen(data, np.ones((1, len(data))))
    printed = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    assert curve.steps.tolist() == list(printed)
    assert {week: round(1 - curve.by(week)[0], 3) for week in printed} == printed
    assert curve.median().tolist() == [23]


def test_turnbull_of_retractions():
    """The NPMLE as R's package interval has it (Fay & Shaw 2010, Journal of Statistical Software 36(2))."""
    pairs = [text.split() for text in RADIOTHERAPY.replace("\n", " ").split(",")]
    data = known([(float(pair[0]), float(pair[1]) if len(pair) > 1 else math.inf) for pair in pairs])
    assert len(data) == 46
    curve = turnbull(data, np.ones((1, 46)))
    printed = {(4, 5): 0.0463, (6, 7): 0.0334, (7, 8): 0.0887, (11, 12): 0.0708, (24, 25): 0.0926, (33, 34): 0.0818}
    printed[38, 40] = 0.1209
    mass = dict(zip(curve.steps.tolist(), curve.jumps[0].tolist(), strict=True))
    assert {ends: mass[sum(ends) / 2] for ends in printed} == pytest.approx(printed, abs=6e-5)
    assert 1 - sum(printed.values()) == pytest.approx(0.4656, abs=1e-3)


def test_fisher_s_test_of_darwin_s_maize():
    """The Design of Experiments (1935), §21: 863 of the 32 768 sign flips have as large a sum, on either side."""
    exact = 2 * 863 / 2**15
    assert sign_flip_p(np.array(MAIZE, dtype=float), np.random.default_rng(0)) == pytest.approx(exact, abs=0.004)
    # §17: the mean is 20.933 with a standard error of 9.746, so that t is 2.148 with 14 degrees of freedom.
    mean = mean_with_t_interval(MAIZE)
    assert (mean.value, (mean.high - mean.value) / 2.1448) == (
        pytest.approx(20.933, abs=5e-4),
        pytest.approx(9.746, 1e-4),
    )
