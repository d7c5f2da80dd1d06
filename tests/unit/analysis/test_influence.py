"""What axes do: ratios of times and effects on maps, on data whose answers are known, and in words."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.diagram.cells import build
from analysis.diagram.influence import (
    EFFECT_COLUMNS,
    influence,
    influence_lines,
    influence_panels,
    influence_table,
    ratio_words,
)
from analysis.stats.design import design
from analysis.stats.effects import decompose, pseudo_observations
from analysis.stats.intervals import Estimate
from analysis.stats.regression import Times, TooFewError, fit_times, p_of_more
from analysis.stats.survival import CensoredTimes
from tests.support.known_truths import TAU, measured
from tests.support.synthetic import grid_sweep, make_sweep, make_trial, wd_vs_orthograd
from trainables.engine.events import KINDS, EventKind

EVENT, DIVERGED = KINDS.index(EventKind.EVENT), KINDS.index(EventKind.DIVERGED)
DOUBLINGS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])


def observed(times: np.ndarray, *, diverged: np.ndarray | None = None) -> CensoredTimes:
    """What is known at tau of events at these times (inf: never); some diverged at 630."""
    data = measured(times)
    if diverged is not None:
        data.low[diverged], data.high[diverged], data.cause[diverged] = 600, 630, DIVERGED
    return data


# --- ratios of times ----------------------------------------------------------------------------------------------


def test_exact_log_normal_times_have_student_s_interval():
    rng = np.random.default_rng(0)
    logs = rng.normal(5, 0.4, 12)
    exact = CensoredTimes(np.exp(logs - 1e-7), np.exp(logs + 1e-7), np.full(12, EVENT))
    column = np.repeat([0.0, 1.0], 6)[:, None]
    model = fit_times(exact, column)
    difference = logs[6:].mean() - logs[:6].mean()
    # Student's interval of a difference of means, with the pooled deviation and 10 degrees of freedom.
    residuals = logs - np.where(column[:, 0] == 1, logs[6:].mean(), logs[:6].mean())
    half = 2.228139 * math.sqrt(np.sum(residuals**2) / 10 * (1 / 6 + 1 / 6))
    assert model.coefficients[0] == pytest.approx(difference, abs=1e-5)
    assert model.intervals[0] == pytest.approx((difference - half, difference + half), abs=1e-3)
    assert model.ratio(0, 2.0).value == pytest.approx(math.exp(2 * difference), abs=1e-4)


@pytest.mark.parametrize("distribution", Times)
def test_intervals_cover_the_ratio(distribution):
    """Three seeds at five doublings: some never get there, more or fewer of them by setting, some too late."""
    shares, slope, covered, draws = np.array([0.4, 0.7, 1.0, 1.0, 0.5]), -0.45, 0, 40
    columns = np.repeat(DOUBLINGS, 3)
    levels = (columns[:, None] == DOUBLINGS).astype(float)
    for draw in range(draws):
        rng = np.random.default_rng([3, draw])
        noise = rng.normal(size=15) if distribution == Times.LOG_NORMAL else rng.logistic(size=15) * 0.55
        times = 400 * np.exp(slope * columns + 0.3 * noise)
        times[rng.random(15) > np.repeat(shares, 3)] = math.inf
        diverged = np.isinf(times) & (rng.random(15) < 0.5)
        low, high = fit_times(observed(times, diverged=diverged), columns[:, None], levels, distribution).intervals[0]
        covered += low <= slope <= high
    assert covered >= 0.88 * draws


def test_settings_in_which_nothing_happens_do_not_change_the_ratio():
    """They are ones that never get there, and no slow ones: p depends on the setting, and diverged trials say so."""
    rng = np.random.default_rng(1)
    columns = np.repeat(DOUBLINGS, 5)
    times = 300 * np.exp(-0.4 * columns + 0.2 * rng.normal(size=25))
    clean = fit_times(observed(times), columns[:, None], np.zeros((25, 0)))
    more = np.append(columns, [3.0] * 5)
    levels = (more[:, None] == np.unique(more)).astype(float)
    nothing = np.append(times, [math.inf] * 5)
    for diverged in (np.isinf(nothing), None):
        model = fit_times(observed(nothing, diverged=diverged), more[:, None], levels)
        assert model.coefficients[0] == pytest.approx(clean.coefficients[0], abs=0.02)
        assert model.shares[-1] < 0.3 < 0.9 < model.shares[0]
    one_share = fit_times(observed(nothing), more[:, None], np.zeros((30, 0)))
    assert one_share.shares[0] == one_share.shares[-1]


def test_more_columns_are_tested_as_by_f():
    rng = np.random.default_rng(2)
    logs = np.repeat(DOUBLINGS, 4) ** 2 * 0.05 + 5 + 0.1 * rng.normal(size=20)
    exact = CensoredTimes(np.exp(logs - 1e-7), np.exp(logs + 1e-7), np.full(20, EVENT))
    line = np.repeat(DOUBLINGS, 4)[:, None]
    curve = np.column_stack([line, line**2])
    rss = [np.sum((logs - x @ np.linalg.lstsq(x, logs, rcond=None)[0]) ** 2)
           for x in (np.column_stack([np.ones(20), line]), np.column_stack([np.ones(20), curve]))]  # fmt: skip
    from scipy.stats import f

    expected = f.sf((rss[0] - rss[1]) / (rss[1] / 17), 1, 17)
    assert p_of_more(fit_times(exact, line), fit_times(exact, curve)) == pytest.approx(expected, rel=1e-3)


def test_data_that_carry_no_model():
    few = observed(np.array([100.0, 150, 200, 90, math.inf]))
    with pytest.raises(TooFewError, match="4 trials have the event, and it takes 6; more seeds"):
        fit_times(few, np.arange(5.0)[:, None], np.zeros((5, 0)))
    same = observed(np.array([100.0, 150, 200, 90, 70, 80]))
    with pytest.raises(TooFewError, match="do not tell the columns apart"):
        fit_times(same, np.ones((6, 1)))


def test_axes_are_coded():
    settings = [
        {"arm": arm, **({"decay": decay} if arm == "plain" else {}), "bias": bias}
        for arm, decay in (("plain", 0), ("plain", 1), ("plain", 4), ("rule", None))
        for bias in (False, True)
    ]
    came = np.array([setting.get("decay") != 0 or setting["bias"] for setting in settings])
    coded = design(settings, came, "arm")
    assert [(column.axis, column.group, column.start, column.end) for column in coded.columns] == [
        ("arm", None, "plain", "rule"),
        ("decay", "plain", None, None),
        ("decay", "plain", 1, 0),
        ("bias", "plain", False, True),
        ("bias", "rule", False, True),
    ]
    arm, decay, zero, plain, rule = (column.values.tolist() for column in coded.columns)
    assert arm == [0, 0, 0, 0, 0, 0, 1, 1]
    assert decay == [0, 0, 0, 0, 2, 2, 0, 0], "the arm without it is compared at decay 1"
    assert zero == [1, 1, 0, 0, 0, 0, 0, 0]
    assert (plain, rule) == ([0, 1, 0, 1, 0, 1, 0, 0], [0] * 7 + [1])
    silent = design(settings, np.array([setting.get("decay") != 0 for setting in settings]), "arm")
    assert [(each.group, each.axis, each.level) for each in silent.silent] == [("plain", "decay", 0)]
    assert silent.used.tolist() == [False, False, *[True] * 6]
    alone = design(settings, np.array([setting["arm"] == "rule" for setting in settings]), "arm")
    assert [(each.axis, each.level) for each in alone.alone] == [("arm", "rule")]
    together = design([{"a": a, "b": b} for a, b in ((1, "u"), (2, "v"), (4, "w"))], np.ones(3, bool))
    assert [column.axis for column in together.confounded] == ["b"]
    narrow = design([{"share": share} for share in (0.6, 0.7, 0.9)], np.ones(3, bool)).columns[0]
    assert (narrow.start, narrow.end, narrow.change) == (0.6, 0.9, pytest.approx(math.log2(1.5)))


# --- effects on maps ----------------------------------------------------------------------------------------------

LEVELS: dict[str, list[Any]] = {"a": [i for i in range(4) for _ in range(3)], "b": [*range(3)] * 4}
A, B = (np.array(levels, dtype=float) for levels in LEVELS.values())


def test_a_map_without_noise_is_taken_apart():
    found = decompose([np.full(2, value) for value in 10 * A + 7 * (B == 2) + 2 * A * B], LEVELS)
    assert found is not None
    sizes = {effect.axes: effect.size.value for effect in found.effects}
    main_a, main_b, both = (10 + 2) * A.std(), (7 * (B == 2) + 3 * B).std(), 2 * A.std() * B.std()
    assert sizes == pytest.approx({("a",): main_a, ("b",): main_b, ("a", "b"): both})
    assert sum(effect.share for effect in found.effects) == pytest.approx(1)
    assert math.isnan(found.effects[0].size.low), "all seeds agree"


def test_noise_is_taken_off_and_intervals_cover():
    """Three seeds: axis a moves cells by 20, b by nothing, with noise of 30 in a trial."""
    truth, draws, squares = 20 * A / A.std(), 120, []
    covered = dict.fromkeys((("a",), ("b",), ("a", "b")), 0)
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        found = decompose([mean + 30 * rng.standard_normal(3) for mean in truth], LEVELS)
        assert found is not None
        for effect in found.effects:
            expected = 20.0 if effect.axes == ("a",) else 0.0
            covered[effect.axes] += effect.size.low <= expected <= effect.size.high
            if effect.axes == ("b",):
                squares.append(effect.size.value > 0)
    assert min(covered.values()) >= 0.92 * draws
    assert np.mean(squares) < 0.6, "nothing is found about half of the time"


def test_seeds_that_agree_on_a_share_are_not_certain():
    edge = [np.full(3, float(value)) for value in A >= 2]
    bare, honest = decompose(edge, LEVELS), decompose(edge, LEVELS, (0.0, 1.0))
    assert bare is not None and honest is not None  # noqa: PT018
    assert [effect.size.value for effect in honest.effects] == [effect.size.value for effect in bare.effects]
    assert 0 < honest.effects[0].size.low < 0.5 < honest.effects[0].size.high
    assert honest.effects[1].size.high > 0.05


def test_an_axis_of_one_arm():
    found = decompose(
        [np.array([value, value + 1.0]) for value in (10, 20, 30, 5)],
        {"arm": ["plain"] * 3 + ["rule"], "decay": [1, 2, 4, None]},
    )
    assert found is not None
    assert [effect.axes for effect in found.effects] == [("arm",), ("decay",)]
    assert decompose([np.ones(1)] * 4, {"a": [0, 1, 2, 3]}) is None


def test_pseudo_observations_are_what_was_seen():
    means, shares = pseudo_observations(observed(np.array([100.0, 700, math.inf, 340])), TAU)
    assert means[2] == pytest.approx(TAU)
    assert shares == pytest.approx([1, 1, 0, 1])


# --- words --------------------------------------------------------------------------------------------------------


def test_words():
    assert ratio_words(Estimate(0.5, 0.4, 0.8)) == "2.00 times earlier [1.25, 2.50]"
    assert ratio_words(Estimate(3, 1.5, math.inf)) == "3.00 times later [1.50, ∞]"
    assert ratio_words(Estimate(0.5, 0, 0.8)) == "2.00 times earlier [1.25, ∞]"
    uncertain = ratio_words(Estimate(0.9, 0.7, 1.2))
    assert uncertain == "neither earlier nor later for certain, × 0.90 [0.70, 1.20]"


def test_a_sweep_in_words():
    diagram = build(make_sweep(wd_vs_orthograd()))
    found = influence(diagram)
    assert found is not None
    arm, decay, mean, share, silent = influence_lines(diagram, found)
    assert arm.startswith("⊥AdamW instead of AdamW at weight decay 2 brings t_gen 4.")
    assert decay.startswith("doubling weight decay brings t_gen 1.3")
    assert "not the same all along" in decay
    assert "4 to 8 × 1.6" in decay
    assert mean.startswith("RMST(1500) varies by")
    assert share.startswith("P(t_gen ≤ 1500) varies by 0.42 (SD) over 8 cells, 0.07 by seeds: weight decay ")
    assert silent == "no t_gen, so no ratio: weight decay 0 of AdamW"
    assert [*influence_table(found)] == ", ".join(EFFECT_COLUMNS).split(", ")
    assert [len(panel.rows) for panel in influence_panels(diagram, found)] == [2, 3, 3]


def test_a_search_s_map_is_of_where_it_looked():
    sweep = make_sweep(wd_vs_orthograd())
    for own, said in ((sweep.design, False), ({**sweep.design, "suggested": True}, True)):
        diagram = build(replace(sweep, design=own))
        found = influence(diagram)
        assert found is not None
        assert any("the settings that were suggested" in line for line in influence_lines(diagram, found)) == said


def test_arms_with_the_same_axis_have_ratios_of_their_own():
    """Twice the rate is twice as fast in one arm, half as fast in the other; a third gets there at one rate only."""
    rng = np.random.default_rng(4)
    trials = []
    for arm, slope in (("one", -1.0), ("two", 1.0), ("three", 0.0)):
        for rate in (0.1, 0.2, 0.4, 0.8):
            for seed in range(3):
                place = {"arm": arm, "o.rate": rate, "x.rate": 1 if rate in (0.1, 0.8) else 2, "seed": seed}
                t_gen = 200 * (rate / 0.4) ** slope * rng.lognormal(0, 0.05)
                came = arm != "three" or rate == 0.8
                trials.append(make_trial(f"{arm}{rate}{seed}", place, t_mem=20, t_gen=t_gen if came else math.inf))
    diagram = build(make_sweep(trials))
    found = influence(diagram)
    assert found is not None
    lines = influence_lines(diagram, found)
    assert lines[0].startswith("two instead of one at o.rate 0.2 and x.rate 1 brings t_gen 4.0")
    assert lines[1].startswith(
        "three at o.rate 0.8 and x.rate 1 instead of one at o.rate 0.2 and x.rate 1 brings t_gen 1.9"
    )
    assert lines[2].startswith("doubling o.rate of one brings t_gen 1.97 times earlier [1.9")
    assert lines[3].startswith("doubling o.rate of two brings t_gen 1.99 times later [1.9")
    assert lines[-1].startswith("no t_gen, so no ratio: o.rate 0.1 of three, ")


def test_sweeps_that_carry_no_numbers():
    nothing = build(make_sweep([make_trial(f"{a}{s}", {"m.a": a, "seed": s}) for a in (1, 2, 4) for s in range(2)]))
    found = influence(nothing)
    assert found is not None
    assert found.ratios == ()
    assert "No ratios of times: the event did not come at two levels of an axis." in influence_lines(nothing, found)
    assert influence(build(make_sweep([make_trial(f"{s}", {"seed": s}, t_gen=300) for s in range(3)]))) is None
    unfinished = build(make_sweep([t for t in grid_sweep() if t.coordinates["loss.dtype"] == "float16"][:4]))
    assert influence(unfinished) is not None
