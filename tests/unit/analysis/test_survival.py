"""Curves, restricted means, intervals and comparisons on data whose answers are known."""

import math

import numpy as np
import pytest

from analysis.stats.contrasts import holm, paired_contrast, pairs_needed, sign_flip_p
from analysis.stats.intervals import expanded_percentile, resamples, wilson
from analysis.stats.survival import CensoredTimes, aalen_johansen, incidence, summarise, turnbull
from trainables.engine.events import KINDS, Event

CENSORED, EVENT, DIVERGED, FROZEN, STOPPED = KINDS

TAU = 1000.0


def at(high: float, width: float = 1.0) -> Event:
    return Event("t_gen", 0.95, EVENT, high - width, high, first_crossing_steps=high)


def censored(low: float) -> Event:
    return Event("t_gen", 0.95, CENSORED, low, math.inf)


def ended(kind: str, high: float) -> Event:
    return Event("t_gen", 0.95, kind, high - 1, high)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def times(*events: Event) -> CensoredTimes:
    return CensoredTimes.of(events, TAU)


def test_a_trial_without_the_event_counts_tau():
    for lost in (censored(TAU), ended(DIVERGED, 10), ended(FROZEN, 10)):
        summary = summarise([at(100), at(200), at(300), lost], TAU, rng())
        assert summary.restricted_mean_steps.value == pytest.approx((100 + 200 + 300 + TAU) / 4)
        assert summary.by_tau.value == 0.75
        assert summary.by_tau.method == "Wilson"
        assert summary.estimator == "Aalen-Johansen"


def test_a_competing_event_is_not_censoring():
    """1 - KM with the diverged trials censored would say that the event always comes; the CIF says half."""
    data = times(ended(DIVERGED, 50), ended(DIVERGED, 60), at(500), at(600))
    assert incidence(data).by(TAU) == pytest.approx([0.5])


def test_median():
    assert summarise([at(100), at(200), censored(TAU), censored(TAU)], TAU, rng()).median_steps == 200
    assert math.isnan(summarise([at(100), censored(TAU), censored(TAU)], TAU, rng()).median_steps)
    assert math.isnan(summarise([at(100), ended(DIVERGED, 5), ended(FROZEN, 7)], TAU, rng()).median_steps)


def test_later_events_are_censored_at_tau():
    summary = summarise([at(100), at(1500)], TAU, rng())
    assert summary.by_tau.value == 0.5
    assert summary.restricted_mean_steps.value == pytest.approx((100 + TAU) / 2)


def test_interrupted_trials():
    """Two seeds of four were interrupted at 150: the one event after that stands for them too."""
    summary = summarise([at(100), at(200), censored(150), censored(150)], TAU, rng())
    assert summary.by_tau.value == pytest.approx(1.0)
    assert summary.by_tau.method == "Aalen-Johansen, Wilson at both extremes"
    assert (summary.by_tau.low, summary.by_tau.high) == (wilson(2, 4)[0], wilson(4, 4)[1])
    # S is 3/4 on [100, 200) and 0 after it.
    assert summary.restricted_mean_steps.value == pytest.approx(100 + 0.75 * 100)


def test_beyond_the_follow_up():
    for events in ([censored(300)] * 3, [at(100), censored(300)], []):
        summary = summarise(events, TAU, rng())
        assert math.isnan(summary.by_tau.value)
        assert math.isnan(summary.restricted_mean_steps.value)
        assert summary.estimator == "none"
    # A crossing that is too young to count at tau is censored just before it: that is followed far enough.
    assert summarise([at(100), censored(950)], TAU, rng()).by_tau.value == 0.5


def test_all_alike():
    """Five failures leave Wilson's interval open; the bootstrap has nothing to say and must not say "certain"."""
    summary = summarise([censored(TAU)] * 5, TAU, rng())
    assert summary.restricted_mean_steps.value == TAU
    assert math.isnan(summary.restricted_mean_steps.low)
    assert summary.by_tau.low == 0.0
    assert summary.by_tau.high == pytest.approx(0.4345, abs=1e-4)


def test_intervals_reproduce():
    events = [at(value) for value in np.random.default_rng(9).uniform(120, 800, 25)] + [censored(TAU)]
    first, again, other = (summarise(events, TAU, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    mean = first.restricted_mean_steps
    assert 120 < mean.low < mean.value < mean.high <= TAU


def test_many_trials_have_the_interval_of_few_draws_of_outcomes():
    """Beyond a hundred trials outcomes are drawn instead of trials: the interval is the same, but for chance."""
    events = [at(float(value)) for value in np.random.default_rng(9).choice([200, 250, 400, 800], 150)]
    events += [censored(TAU)] * 30 + [ended(DIVERGED, 90)] * 20
    mean = summarise(events, TAU, rng()).restricted_mean_steps
    trials = incidence(times(*events), resamples(200, 10_000, rng())).restricted_mean(TAU)
    assert (mean.low, mean.high) == pytest.approx(expanded_percentile(trials, 200), rel=0.01)


def test_coverage_of_the_widened_bootstrap():
    """400 samples of 5 from a known distribution; neither reaches 95 %, one comes near."""
    source = np.random.default_rng(3)
    covered = {"widened": 0, "plain": 0}
    weights = resamples(5, 1000, np.random.default_rng(4))
    for sample in source.uniform(100, 900, size=(400, 5)):
        means = weights @ sample / 5
        low, high = expanded_percentile(means, 5)
        covered["widened"] += low <= 500 <= high
        low, high = np.quantile(means, [0.025, 0.975])
        covered["plain"] += low <= 500 <= high
    assert covered["plain"] < 0.87 * 400
    assert covered["widened"] > 0.89 * 400


def test_wilson():
    """Against his formula: (s + z²/2n ± z sqrt(s (1 - s) / n + z²/4n²)) / (1 + z²/n)."""
    z, n = 1.959963984540054, 5
    for successes in range(n + 1):
        share = successes / n
        half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        expected = [(share + z * z / (2 * n) + sign * half) / (1 + z * z / n) for sign in (-1, 1)]
        assert wilson(successes, n) == pytest.approx(expected, abs=1e-12)
    assert wilson(0, 5)[0] == 0.0
    assert wilson(5, 5)[1] == 1.0
    assert all(math.isnan(bound) for bound in wilson(0, 0))


def test_short_and_long_intervals():
    short = [at(100, 5.0), at(20, 1.0), at(8, 1.0)]
    assert times(*short).short()
    assert summarise([*short, censored(TAU)], TAU, rng()).estimator == "Aalen-Johansen"
    assert not times(*short, at(100, 6.0)).short()
    assert summarise([*short, at(100, 6.0), censored(TAU)], TAU, rng()).estimator == "Turnbull"


def test_turnbull_by_hand():
    """(0, 100], (50, 150] and (120, 200]: the innermost intervals are (50, 100] and (120, 150]; EM by hand."""
    data = times(at(100, 100), at(150, 100), at(200, 80))
    curve = turnbull(data, np.ones((1, 3)))
    assert curve.steps.tolist() == [100, 150]
    # The first needs (50, 100], the third (120, 150]; the second shares: p = (1 + p) / 3, so p = 1/2.
    assert curve.jumps[0] == pytest.approx([0.5, 0.5], abs=1e-6)


def test_turnbull_without_overlaps_is_aalen_johansen():
    events = [at(100), at(200), ended(DIVERGED, 150), ended(FROZEN, 300), at(400), censored(250), censored(TAU)]
    data = times(*events)
    weights = np.vstack([np.ones(7), [2, 0, 1, 1, 1, 1, 1], [1, 1, 0, 3, 0, 1, 1]])
    exact, em = aalen_johansen(data, weights), turnbull(data, weights)
    grid = np.arange(0, TAU, 7)
    assert np.array([em.by(t) for t in grid]) == pytest.approx(np.array([exact.by(t) for t in grid]), abs=1e-6)


def test_weights_are_counts():
    """A weight of two is the same as the trial appearing twice."""
    events = [at(100), at(200), ended(DIVERGED, 150), censored(300), censored(TAU)]
    counts = [2, 1, 0, 3, 1]
    repeated = [event for event, count in zip(events, counts, strict=True) for _ in range(count)]
    weighted = incidence(times(*events), np.array([counts])).restricted_mean(TAU)
    assert weighted == pytest.approx(incidence(times(*repeated)).restricted_mean(TAU))


def test_no_event():
    data = times(censored(TAU), ended(DIVERGED, 10))
    for curve in (aalen_johansen(data, np.ones((1, 2))), turnbull(data, np.ones((1, 2)))):
        assert curve.by(TAU) == pytest.approx([0.0])
        assert curve.restricted_mean(TAU) == pytest.approx([TAU])
        assert np.isnan(curve.median()).all()


def test_causes_are_indices_of_kinds():
    assert times(censored(5), at(5), *(ended(kind, 5) for kind in KINDS[2:])).cause.tolist() == list(range(len(KINDS)))


# --- comparing ----------------------------------------------------------------------------------------------------


def test_paired_difference():
    ours, theirs = times(*map(at, (100, 110, 120, 130, 140))), times(*map(at, (200, 260, 230, 240, 250)))
    found = paired_contrast([theirs], [ours], TAU, rng())
    assert found is not None
    expected = incidence(ours).restricted_mean(TAU)[0] - incidence(theirs).restricted_mean(TAU)[0]
    assert found.difference_steps.value == pytest.approx(expected)
    assert found.pairs == 5
    assert found.p == 2 / 32  # the least that five pairs can reach
    assert found.difference_steps.low < expected < found.difference_steps.high < 0


def test_pairing_removes_what_seeds_share():
    """Both arms follow the seeds; paired, a constant gain of 20 has no spread at all."""
    seeds = np.array([100, 300, 500, 700, 900.0])
    theirs, ours = (times(*map(at, values)) for values in (seeds, seeds - 20))
    found = paired_contrast([theirs], [ours], TAU, rng())
    assert found is not None
    assert found.difference_steps.value == pytest.approx(-20)
    assert math.isnan(found.difference_steps.low)  # all pairs alike: no interval, not one of no width


def test_the_best_cell_is_chosen_on_the_other_seeds():
    """Pure noise: the best of many cells on the same seeds would look far better than it is."""
    noise = np.random.default_rng(8)
    flattered, honest = [], []
    for _ in range(40):
        cells = [times(*map(at, noise.uniform(100, 900, 5).round())) for _ in range(10)]
        reference = times(*map(at, noise.uniform(100, 900, 5).round()))
        found = paired_contrast(cells, [reference], TAU, rng())
        assert found is not None
        honest.append(found.difference_steps.value)
        best = min(incidence(cell).restricted_mean(TAU)[0] for cell in cells)
        flattered.append(incidence(reference).restricted_mean(TAU)[0] - best)
    assert np.mean(flattered) > 120
    assert abs(np.mean(honest)) < 60


def test_too_few_pairs_or_unknown_curves():
    one, many = times(at(5)), times(at(5), at(6))
    assert paired_contrast([one], [one], TAU, rng()) is None
    assert paired_contrast([many], [times(censored(5), censored(5))], TAU, rng()) is None


def test_sign_flips():
    assert sign_flip_p(np.full(6, 3.0), rng()) == 2 / 64
    assert sign_flip_p(np.zeros(4), rng()) == 1.0
    assert sign_flip_p(np.array([5.0, -5.0]), rng()) == 1.0
    many = sign_flip_p(np.random.default_rng(1).normal(0.3, 1, 40), rng())
    assert 0 < many < 0.5
    assert pairs_needed() == 6


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
