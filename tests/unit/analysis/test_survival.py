"""Curves, restricted means, intervals and comparisons on data whose answers are known."""

import math

import numpy as np
import pytest
from scipy.stats import binom, sem, t, ttest_ind

from analysis.stats.contrasts import holm, paired_contrast, pairs_needed, sign_flip_p
from analysis.stats.intervals import (
    clopper_pearson,
    geometric_mean,
    mean_with_t_interval,
    ratio_of_geometric_means,
)
from analysis.stats.survival import CensoredTimes, Summary, aalen_johansen, incidence, summarise, turnbull
from tests.support import known_truths
from tests.support.known_truths import PAIRS, TRUTHS, measured, restricted_mean
from trainables.engine.events import KINDS, Event

CENSORED, EVENT, DIVERGED, FROZEN, STOPPED = KINDS

TAU = 1000.0


def at(middle: float, width: float = 1.0) -> Event:
    return Event("t_gen", 0.95, EVENT, middle - width / 2, middle + width / 2)


def censored(low: float) -> Event:
    return Event("t_gen", 0.95, CENSORED, low, math.inf)


def ended(kind: str, high: float) -> Event:
    return Event("t_gen", 0.95, kind, high - 1, high)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def times(*events: Event) -> CensoredTimes:
    return CensoredTimes.of(events, TAU)


def summary_of(*events: Event, seed: int = 0) -> Summary:
    return summarise(times(*events), TAU, np.random.default_rng(seed))


def test_a_trial_without_the_event_counts_tau():
    for lost in (censored(TAU), ended(DIVERGED, 10), ended(FROZEN, 10)):
        summary = summary_of(at(100), at(200), at(300), lost)
        assert summary.restricted_mean_steps.value == pytest.approx((100 + 200 + 300 + TAU) / 4)
        assert summary.by_tau.value == 0.75
        assert summary.by_tau.method == "Clopper-Pearson"
        assert summary.estimator == "Aalen-Johansen"


def test_a_competing_event_is_not_censoring():
    """1 - KM with the diverged trials censored would say that the event always comes; the CIF says half."""
    data = times(ended(DIVERGED, 50), ended(DIVERGED, 60), at(500), at(600))
    assert incidence(data).by(TAU) == pytest.approx([0.5])


def test_median():
    assert summary_of(at(100), at(200), censored(TAU), censored(TAU)).median_steps == 200
    assert math.isnan(summary_of(at(100), censored(TAU), censored(TAU)).median_steps)
    assert math.isnan(summary_of(at(100), ended(DIVERGED, 5), ended(FROZEN, 7)).median_steps)


def test_later_events_are_censored_at_tau():
    summary = summary_of(at(100), at(1500))
    assert summary.by_tau.value == 0.5
    assert summary.restricted_mean_steps.value == pytest.approx((100 + TAU) / 2)


def test_interrupted_trials():
    """Two seeds of four were interrupted at 150: the one event after that stands for them too."""
    summary = summary_of(at(100), at(200), censored(150), censored(150))
    assert summary.by_tau.value == pytest.approx(1.0)
    assert summary.by_tau.method == "Aalen-Johansen, Clopper-Pearson at both extremes"
    assert (summary.by_tau.low, summary.by_tau.high) == (clopper_pearson(2, 4)[0], clopper_pearson(4, 4)[1])
    # S is 3/4 on [100, 200) and 0 after it.
    assert summary.restricted_mean_steps.value == pytest.approx(100 + 0.75 * 100)


def test_beyond_the_follow_up():
    for events in ([censored(300)] * 3, [at(100), censored(300)], []):
        summary = summary_of(*events)
        assert math.isnan(summary.by_tau.value)
        assert math.isnan(summary.restricted_mean_steps.value)
        assert summary.estimator == "none"
    assert summary_of(at(100), censored(950)).by_tau.value == 0.5


def test_all_alike():
    """Five seeds that never groked do not show that none does, nor five that all did that all do."""
    never, always = summary_of(*[censored(TAU)] * 5), summary_of(*[at(300)] * 5)
    assert (never.restricted_mean_steps.value, never.restricted_mean_steps.high) == (TAU, TAU)
    assert 600 < never.restricted_mean_steps.low < 0.9 * TAU
    assert (never.by_tau.low, never.by_tau.high) == (0.0, pytest.approx(1 - 0.025**0.2))
    assert math.isnan(never.given_steps.value)
    assert always.restricted_mean_steps.low < 300 < 400 < always.restricted_mean_steps.high
    assert (always.given_steps.value, always.given_steps.low) == (pytest.approx(300), pytest.approx(300))


def test_the_time_given_the_event():
    """The geometric mean over the seeds that have it; an interval needs two of them, and all fates known."""
    summary = summary_of(at(100), at(400), censored(TAU), ended(DIVERGED, 50))
    assert summary.given_steps.value == pytest.approx(200)
    half = 12.706204736 * math.log(2)  # Student's t with one degree of freedom; sd / sqrt(2) = log 4 / 2
    assert (summary.given_steps.low, summary.given_steps.high) == (pytest.approx(200 * math.exp(-half)), TAU)
    one, unknown = summary_of(at(100), censored(TAU)), summary_of(at(100), at(400), censored(250), censored(TAU))
    assert math.isnan(one.given_steps.low)
    assert math.isnan(unknown.given_steps.low)
    # The CIF jumps by 1/4 at 100 and by 3/8 at 400, where one of the four is lost between them.
    assert unknown.given_steps.value == pytest.approx(math.exp((math.log(100) / 4 + math.log(400) * 3 / 8) / (5 / 8)))


def test_intervals_reproduce():
    events = [at(value) for value in np.random.default_rng(9).uniform(120, 800, 25)] + [censored(TAU)]
    first, again, other = (summary_of(*events, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    mean = first.restricted_mean_steps
    assert 120 < mean.low < mean.value < mean.high <= TAU


def test_repeated_outcomes_count_as_so_many_trials():
    """Outcomes are drawn instead of trials: the interval is the same, but for chance."""
    generator = np.random.default_rng(9)
    values = generator.choice([200.0, 250.0, 400.0, 800.0], 150)
    one_by_one = values + generator.uniform(-0.01, 0.01, 150)
    grouped, single = (summary_of(*map(at, each)).restricted_mean_steps for each in (values, one_by_one))
    assert (grouped.low, grouped.high) == pytest.approx((single.low, single.high), rel=0.01)


def test_the_exact_interval_of_a_share():
    """Against the binomial tails that define it; its coverage is at least nominal whatever the share."""
    for n in (3, 5, 10):
        ends = [clopper_pearson(successes, n) for successes in range(n + 1)]
        for successes, (low, high) in enumerate(ends):
            assert successes == 0 or binom.sf(successes - 1, n, low) == pytest.approx(0.025)
            assert successes == n or binom.cdf(successes, n, high) == pytest.approx(0.025)
        for share in np.linspace(0.01, 0.99, 99):
            covered = [low <= share <= high for low, high in ends]
            assert binom.pmf(range(n + 1), n, share) @ covered >= 0.95
    assert all(math.isnan(bound) for bound in clopper_pearson(0, 0))


def test_intervals_of_means():
    values = [0.2, 0.5, 0.9]
    expected = t.interval(0.95, 2, np.mean(values), sem(values))
    found = mean_with_t_interval(values)
    assert (found.low, found.high) == pytest.approx(expected)
    other = [0.1, 0.15, 0.3, 0.2]
    judge = ttest_ind(other, values, equal_var=False).confidence_interval(0.95)
    ratio = ratio_of_geometric_means(np.exp(values), np.exp(other))
    assert (ratio.low, ratio.high) == pytest.approx(np.exp([judge.low, judge.high]))
    logs = geometric_mean(np.exp(values))
    assert (logs.low, logs.high) == pytest.approx(np.exp(expected))


@pytest.mark.parametrize("seeds", [3, 5])
def test_coverage_of_the_restricted_mean(seeds):
    """On every known truth; the benchmark ``coverage`` has the whole table.  300 draws err by 1.5 points."""
    generator = np.random.default_rng(11)
    for name, truth in TRUTHS.items():
        expected = restricted_mean(truth(generator, (200_000,)))
        covered = 0
        for sample in truth(generator, (300, seeds)):
            found = summarise(measured(sample), known_truths.TAU, generator, draws=1000).restricted_mean_steps
            covered += found.low <= expected <= found.high
        assert covered >= 0.91 * 300, name


def test_measured_times_are_not_late():
    """The middle of an interval is right on average; its upper end would be late by half of it."""
    generator = np.random.default_rng(12)
    times = TRUTHS["log-normal"](generator, (100_000,))
    assert incidence(measured(times)).restricted_mean(known_truths.TAU)[0] == pytest.approx(
        restricted_mean(times), abs=0.5
    )


def test_short_and_long_intervals():
    short = [at(100, 5.0), at(20, 1.0), at(8, 1.0)]
    assert times(*short).short()
    assert summary_of(*short, censored(TAU)).estimator == "Aalen-Johansen"
    assert not times(*short, at(100, 6.0)).short()
    assert summary_of(*short, at(100, 6.0), censored(TAU)).estimator == "Turnbull"


def test_turnbull_by_hand():
    """(0, 100], (50, 150] and (120, 200]: the innermost intervals are (50, 100] and (120, 150]; EM by hand."""
    data = times(at(50, 100), at(100, 100), at(160, 80))
    curve = turnbull(data, np.ones((1, 3)))
    assert curve.steps.tolist() == [75, 135]
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
    assert found.difference_steps.low < expected < 0 < found.difference_steps.high, "five pairs prove nothing of others"
    assert (found.both, found.ratio.high < 0.7) == (5, True)
    assert found.pairs_to_decide == pairs_needed()


def test_pairing_removes_what_seeds_share():
    """Both arms follow the seeds; paired, a constant factor has no spread at all."""
    seeds = np.array([100, 300, 500, 700, 900.0])
    theirs, ours = (times(*map(at, values)) for values in (seeds, 0.8 * seeds))
    found = paired_contrast([theirs], [ours], TAU, rng())
    assert found is not None
    assert found.difference_steps.value == pytest.approx(-100)
    assert (found.ratio.low, found.ratio.high) == (pytest.approx(0.8), pytest.approx(0.8))


def test_pairs_of_which_one_side_never_gets_there():
    """They count in the difference, and not in the ratio."""
    theirs, ours = times(at(400), at(400), censored(TAU)), times(at(200), at(200), at(300))
    found = paired_contrast([theirs], [ours], TAU, rng())
    assert found is not None
    assert found.difference_steps.value == pytest.approx((-200 - 200 - 700) / 3)
    assert (found.both, found.ratio.value) == (2, pytest.approx(0.5))


def test_coverage_and_size_of_the_contrast():
    """Equal sides of which one fifth groks: most pairs do not differ at all."""
    generator = np.random.default_rng(13)
    covered = significant = 0
    for sample in PAIRS["equal, one fifth groks"](generator, (200, 6)):
        found = paired_contrast([measured(sample[:, 0])], [measured(sample[:, 1])], known_truths.TAU, generator)
        assert found is not None
        covered += found.difference_steps.low <= 0 <= found.difference_steps.high
        significant += found.p < 0.05
    assert covered >= 0.93 * 200
    assert significant <= 0.05 * 200


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
