"""Outcomes: intervals, censoring, competing events, phases; and stopping by the same definition."""

import math

import numpy as np
import pytest

from trainables.engine.events import (
    COMPREHENSION,
    CONFUSION,
    GROKKING,
    MEMORIZATION,
    TEST_ONLY,
    Criterion,
    outcome,
    outcome_from_metrics,
    sustained_at,
)
from trainables.engine.stopping import Stopping

STEPS = np.array([0, 1, 2, 4, 8, 16, 32, 64, 128])


def at(test, train=None, steps=STEPS, stop_reason=None):
    test = np.array(test, dtype=float)
    train = np.ones(len(test)) if train is None else np.array(train, dtype=float)
    return outcome(steps[: len(test)], train, test, stop_reason=stop_reason)


def test_an_event_lies_between_the_last_below_and_the_first_above():
    event = at([0, 0, 0.2, 0.5, 0.97, 0.97, 0.97]).t_gen
    assert (event.kind, event.low_steps, event.high_steps) == ("event", 4, 8)
    assert event.first_crossing_steps == 8
    assert math.isnan(event.relapse_steps)


def test_a_short_crossing_does_not_count_and_is_kept_beside():
    event = at([0, 0.96, 0.96, 0, 0, 0.96, 0.96, 0.96, 0.96]).t_gen
    assert (event.low_steps, event.high_steps) == (8, 16)
    assert event.first_crossing_steps == 1


def test_a_run_of_three_must_also_last_five_percent_of_the_steps():
    steps = np.array([0, 1000, 1001, 1002, 1003])
    values = np.array([0, 0, 0.99, 0.99, 0.99])
    assert sustained_at(steps, values, Criterion(0.95)) is None
    assert sustained_at(np.array([0, 1000, 1001, 1030, 1060]), values, Criterion(0.95)) == 2


def test_a_relapse_is_recorded():
    event = at([0, 0, 0.96, 0.96, 0.96, 0.96, 0.1, 0.1, 0.1]).t_gen
    assert event.occurred
    assert (event.high_steps, event.relapse_steps) == (2, 32)


def test_no_event_is_censored_at_the_last_step_and_a_pending_one_before_its_run():
    event = at([0.1] * 9).t_gen
    assert (event.kind, event.low_steps, event.high_steps) == ("censored", 128, math.inf)
    pending = at([0.1] * 7 + [0.99, 0.99]).t_gen
    assert (pending.kind, pending.low_steps, pending.first_crossing_steps) == ("censored", 32, 64)


@pytest.mark.parametrize("reason", ["diverged", "frozen"])
def test_divergence_and_freezing_compete(reason):
    event = at([0.1, 0.1, 0.2, 0.2], stop_reason=reason).t_gen
    assert (event.kind, event.low_steps, event.high_steps) == (reason, 2, 4)
    assert at([0, 0.96, 0.96, 0.96, 0.96], stop_reason=reason).t_gen.occurred


def test_frozen_weights_hold_what_they_have_reached():
    assert at([0, 0, 0, 0.96], stop_reason="frozen").t_gen.occurred
    assert at([0, 0, 0, 0.96], stop_reason="diverged").t_gen.kind == "diverged"
    assert at([0, 0, 0, 0.96]).t_gen.kind == "censored"


def test_nan_is_below_everything():
    assert at([0, 0.99, 0.99, math.nan, 0.99], stop_reason=None).t_gen.kind == "censored"


def test_crossing_at_the_first_measurement():
    event = at([0.6] * 5).event("t_gen", 0.5)
    assert (event.kind, event.low_steps, event.high_steps) == ("event", 0, 0)


def test_what_is_known_by_an_earlier_time():
    late = at([0, 0, 0, 0, 0, 0.96, 0.96, 0.96, 0.96])
    assert late.by(16).t_gen.occurred
    cut = late.by(15).t_gen
    assert (cut.kind, cut.low_steps, cut.high_steps) == ("censored", 8, math.inf)
    assert math.isnan(cut.first_crossing_steps)
    assert at([0.1] * 9).by(10).t_gen.low_steps == 10
    frozen = at([0.1] * 5, stop_reason="frozen")
    assert frozen.by(7).t_gen.kind == "censored"
    assert frozen.by(8).t_gen.kind == "frozen"


@pytest.mark.parametrize(
    ("train", "test", "phase"),
    [
        ([0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1], GROKKING),
        ([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1], COMPREHENSION),
        ([0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0], MEMORIZATION),
        ([0] * 6, [0] * 6, CONFUSION),
        ([0] * 6, [0, 0, 0, 1, 1, 1], TEST_ONLY),
    ],
)
def test_phases(train, test, phase):
    assert at(test, train).phase() == phase


def test_liu_et_als_absolute_delay_is_the_option():
    found = at([0, 0, 0, 0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1, 1, 1, 1])
    assert found.phase() == GROKKING
    assert found.phase(delayed_steps=1000) == COMPREHENSION


def test_delays_are_intervals_too():
    found = at([0, 0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1, 1, 1])
    assert found.delay() == (8 - 2, 16 - 1)
    assert found.delay_ratio() == (8 / 2, 16 / 1)
    never = at([0] * 9, [0, 0, 1, 1, 1, 1, 1, 1, 1])
    assert never.delay() == (128 - 2, math.inf)
    assert all(math.isnan(value) for value in at([0] * 9, [0] * 9).delay())


def test_metrics_carry_the_whole_outcome():
    for found in (
        at([0, 0, 0.2, 0.5, 0.97, 0.97, 0.97]),
        at([0.1] * 5, stop_reason="frozen"),
        at([0, 0, 0.96, 0.96, 0.96, 0.96, 0.1, 0.1, 0.1]),
    ):
        metrics = found.to_metrics()
        assert all(math.isfinite(value) for value in metrics.values())
        assert repr(outcome_from_metrics(metrics)) == repr(found)
    assert metrics["t_gen_95_low_steps"] == 1
    with pytest.raises(KeyError, match=r"t_gen at 0.97: not among t_mem_90"):
        found.event("t_gen", 0.97)


def test_stopping_for_success_censors_no_reported_threshold():
    train, test = np.ones(9), np.array([0, 0, 0.9, 0.96, 0.96, 0.99, 0.99, 0.99, 0.99])
    reasons = [
        Stopping().reason(STEPS[:n], train[:n], test[:n], finite=True, frozen=False) for n in range(1, len(STEPS) + 1)
    ]
    assert reasons == [None] * 7 + ["success"] * 2
    stopped = outcome(STEPS[:8], train[:8], test[:8])
    assert all(event.occurred for event in stopped.events)
    assert repr(stopped) == repr(outcome(STEPS, train, test))
    assert Stopping(on_success=False).reason(STEPS, train, test, finite=True, frozen=False) is None


def test_stopping_reasons_in_order():
    zero = np.zeros(9)
    assert Stopping().reason(STEPS, zero, zero, finite=False, frozen=True) == "diverged"
    assert Stopping().reason(STEPS, zero, zero, finite=True, frozen=True) == "frozen"
    assert Stopping(on_frozen=False).reason(STEPS, zero, zero, finite=True, frozen=True) is None
    assert Stopping().reason(STEPS, zero, zero, finite=True, frozen=False) is None
