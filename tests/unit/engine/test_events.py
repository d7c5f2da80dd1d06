"""Declared events: intervals, censoring, competing events, phases; and stopping by the same definition."""

import math

import numpy as np
import pytest

from trainables.engine.config import ConfigError, from_json
from trainables.engine.events import (
    ACCURACY_EVENTS,
    ACCURACY_PHASES,
    LIU_2022_EVENTS,
    LIU_2022_PHASES,
    EventRule,
    PhaseRule,
    check_declared,
    decides,
    falls_to,
    outcome,
    outcome_from_metrics,
    rises_to,
)
from trainables.engine.stopping import Stopping

STEPS = np.array([0, 1, 2, 4, 8, 16, 32, 64, 128])
T_MEM, T_GEN = ACCURACY_EVENTS
FIT = falls_to("train_loss", 0.1, 0.01, name="t_fit", headline=0.1)
RELAPSE = falls_to("test_accuracy", 0.5, name="t_relapse", after="t_gen")


def at(test, train=None, steps=STEPS, stop_reason=None, rules=ACCURACY_EVENTS):
    test = np.array(test, dtype=float)
    train = np.ones(len(test)) if train is None else np.array(train, dtype=float)
    columns = {"train_accuracy": train, "test_accuracy": test}
    return outcome(steps[: len(test)], columns, rules, stop_reason=stop_reason)


def gen(*arguments, **options):
    return at(*arguments, **options).event("t_gen")


def test_an_event_lies_between_the_last_below_and_the_first_above():
    event = gen([0, 0, 0.2, 0.5, 0.97, 0.97, 0.97])
    assert (event.kind, event.low_steps, event.high_steps) == ("event", 4, 8)
    assert event.first_crossing_steps == 8
    assert math.isnan(event.relapse_steps)


def test_a_short_crossing_does_not_count_and_is_kept_beside():
    event = gen([0, 0.96, 0.96, 0, 0, 0.96, 0.96, 0.96, 0.96])
    assert (event.low_steps, event.high_steps) == (8, 16)
    assert event.first_crossing_steps == 1


def test_a_run_of_three_must_also_last_five_percent_of_the_steps():
    values = [0, 0, 0.99, 0.99, 0.99]
    assert gen(values, steps=np.array([0, 1000, 1001, 1002, 1003])).kind == "censored"
    assert gen(values, steps=np.array([0, 1000, 1001, 1030, 1060])).high_steps == 1001
    short = T_GEN.replace(hold_measurements=1, hold_fraction=0.0)
    assert gen(values[:3], steps=np.array([0, 1000, 1001]), rules=(short,)).high_steps == 1001


def test_a_relapse_is_recorded():
    event = gen([0, 0, 0.96, 0.96, 0.96, 0.96, 0.1, 0.1, 0.1])
    assert event.occurred
    assert (event.high_steps, event.relapse_steps) == (2, 32)


def test_no_event_is_censored_at_the_last_step_and_a_pending_one_before_its_run():
    event = gen([0.1] * 9)
    assert (event.kind, event.low_steps, event.high_steps) == ("censored", 128, math.inf)
    pending = gen([0.1] * 7 + [0.99, 0.99])
    assert (pending.kind, pending.low_steps, pending.first_crossing_steps) == ("censored", 32, 64)


@pytest.mark.parametrize(("reason", "kind"), [("diverged", "diverged"), ("frozen", "frozen"), ("success", "stopped")])
def test_whatever_ended_the_trial_first_competes(reason, kind):
    """A stop on success too: it depended on how the trial went, and this event was not waited for."""
    event = gen([0.1, 0.1, 0.2, 0.2], stop_reason=reason)
    assert (event.kind, event.low_steps, event.high_steps) == (kind, 2, 4)
    assert gen([0, 0.96, 0.96, 0.96, 0.96], stop_reason=reason).occurred


def test_frozen_weights_hold_what_they_have_reached():
    assert gen([0, 0, 0, 0.96], stop_reason="frozen").occurred
    assert gen([0, 0, 0, 0.96], stop_reason="diverged").kind == "diverged"
    assert gen([0, 0, 0, 0.96]).kind == "censored"


def test_steps_at_which_a_column_was_not_measured_are_skipped():
    event = gen([0, 0.2, math.nan, 0.99, math.nan, 0.99, 0.99])
    assert (event.kind, event.low_steps, event.high_steps) == ("event", 1, 4)
    assert gen([0.1, math.nan, 0.1, math.nan]).low_steps == 2
    diverged = gen([0.1, 0.1, 0.1, math.nan], stop_reason="diverged")
    assert (diverged.low_steps, diverged.high_steps) == (2, 4)


def test_crossing_at_the_first_measurement():
    event = at([0.6] * 5).event("t_gen", 0.5)
    assert (event.kind, event.low_steps, event.high_steps) == ("event", 0, 0)


def test_what_is_known_by_an_earlier_time():
    late = at([0, 0, 0, 0, 0, 0.96, 0.96, 0.96, 0.96])
    assert late.by(64).event("t_gen").time_steps == 12
    cut = late.by(15).event("t_gen")
    assert (cut.kind, cut.low_steps, cut.high_steps, cut.time_steps) == ("censored", 15, math.inf, math.inf)
    assert math.isnan(cut.first_crossing_steps)
    assert at([0.1] * 9).by(10).event("t_gen").low_steps == 10
    frozen = at([0.1] * 5, stop_reason="frozen")
    assert frozen.by(7).event("t_gen").kind == "censored"
    assert frozen.by(8).event("t_gen").kind == "frozen"


def test_phases_as_liu_et_al_had_them():
    """A first crossing counts, and what is delayed is so by a thousand steps; by ratio and hold it is neither."""
    steps = np.array([0, 100, 200, 900, 1150, 2000, 3000])
    columns = {"train_accuracy": np.array([0, 0.95, 1, 1, 1, 1, 1.0]),
               "test_accuracy": np.array([0, 0, 0, 0, 0.92, 0.1, 0.1])}  # fmt: skip
    theirs = outcome(steps, columns, LIU_2022_EVENTS)
    assert theirs.event("t_gen").high_steps == 1150
    assert theirs.phase(LIU_2022_PHASES) == "grokking"
    assert outcome(steps, columns, ACCURACY_EVENTS).phase(ACCURACY_PHASES) == "memorization"
    columns["test_accuracy"][3] = 0.92
    assert outcome(steps, columns, LIU_2022_EVENTS).phase(LIU_2022_PHASES) == "comprehension"


def test_a_hold_that_is_unfinished_is_no_event_by_then():
    late = at([0, 0, 0, 0, 0, 0.96, 0.96, 0.96, 0.96])
    cut = late.by(63).event("t_gen")
    assert (cut.kind, cut.low_steps, cut.first_crossing_steps) == ("censored", 63, 16)
    pending = at([0, 0, 0, 0, 0, 0.96, 0.96])
    assert pending.by(32).event("t_gen").low_steps == 32, "followed to tau: not by tau"
    assert pending.by(64).event("t_gen").low_steps == 8, "the run may turn out to have held"
    frozen = at([0, 0, 0, 0, 0, 0.96, 0.96], stop_reason="frozen").event("t_gen")
    assert (frozen.kind, frozen.high_steps, frozen.decided_steps) == ("event", 16, 32)


def test_a_loss_falls():
    losses = np.array([2, 1, 0.09, 0.05, 0.009, 0.009, 0.009, 0.02])
    found = outcome(STEPS[:8], {"train_loss": losses}, [FIT])
    assert (found.event("t_fit").low_steps, found.event("t_fit").high_steps) == (1, 2)
    assert (found.event("t_fit", 0.01).high_steps, found.event("t_fit", 0.01).relapse_steps) == (8, 64)
    assert (FIT.key(0.01), FIT.words(), FIT.hardest) == ("t_fit_0p01", "train loss ≤ 0.1", 0.01)
    assert (T_GEN.key(0.95), T_GEN.words()) == ("t_gen_95", "test accuracy ≥ 0.95")


def test_a_later_fall_counts_from_the_event_that_it_comes_after():
    rules = (*ACCURACY_EVENTS, RELAPSE)
    fell = at([0, 0, 0.99, 0.99, 0.99, 0.2, 0.2, 0.2], rules=rules).event("t_relapse")
    assert (fell.kind, fell.low_steps, fell.high_steps) == ("event", 8, 16)
    assert at([0.1] * 9, rules=rules).event("t_relapse").kind == "censored"
    assert at([0.1] * 9, rules=rules, stop_reason="frozen").event("t_relapse").kind == "frozen"


@pytest.mark.parametrize(
    ("train", "test", "phase"),
    [
        ([0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1], "grokking"),
        ([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1], "comprehension"),
        ([0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0], "memorization"),
        ([0] * 6, [0] * 6, "confusion"),
        ([0] * 6, [0, 0, 0, 1, 1, 1], "test only"),
        # A crossing of .9 is no headline, nor is a hold that the end cuts short.
        ([0, 1, 1, 1, 1, 1], [0, 0.94, 0.94, 0.94, 0.94, 0.94], "memorization"),
        ([0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1], "memorization"),
    ],
)
def test_phases_follow_the_headline_events(train, test, phase):
    assert at(test, train).phase(ACCURACY_PHASES) == phase


def test_delays_are_intervals_too():
    found = at([0, 0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1, 1, 1])
    assert found.delay("t_mem", "t_gen") == (8 - 2, 16 - 1)
    assert found.delay_ratio("t_mem", "t_gen") == (8 / 2, 16 / 1)
    never = at([0] * 9, [0, 0, 1, 1, 1, 1, 1, 1, 1])
    assert never.delay("t_mem", "t_gen") == (128 - 2, math.inf)
    assert all(math.isnan(value) for value in at([0] * 9, [0] * 9).delay("t_mem", "t_gen"))


def test_metrics_carry_the_whole_outcome():
    for found in (
        at([0, 0, 0.2, 0.5, 0.97, 0.97, 0.97]),
        at([0.1] * 5, stop_reason="success"),
        at([0, 0, 0.96, 0.96, 0.96, 0.96, 0.1, 0.1, 0.1]),
    ):
        metrics = found.to_metrics()
        assert all(math.isfinite(value) for value in metrics.values())
        assert repr(outcome_from_metrics(metrics, ACCURACY_EVENTS)) == repr(found)
    assert metrics["t_gen_95_low_steps"] == 1
    with pytest.raises(KeyError, match=r"t_gen at 0.97: must be one of: t_mem_90"):
        found.event("t_gen", 0.97)


def test_rules_are_data_and_refuse_what_cannot_be():
    for rule in (FIT, RELAPSE, *ACCURACY_EVENTS, *ACCURACY_PHASES):
        assert from_json(rule.to_json()) == rule
    for make, message in (
        (lambda: rises_to("a", name="t"), r"EventRule.thresholds = \(\): must be different, and at least one"),
        (lambda: rises_to("a", 1, 2, name="t", headline=3), r"headline = 3.0: must be one of the thresholds, 1, 2"),
        (lambda: rises_to("a", 1, name="t gen"), r"EventRule.name = 't gen': must be a name"),
        (lambda: EventRule(name="t", column="a", direction="up", thresholds=(1,)), "must be one of 'rises', 'falls'"),
        (lambda: check_declared((T_GEN, T_GEN), ()), "the name 't_gen' appears twice"),
        (lambda: check_declared((RELAPSE, T_GEN), ()), "t_relapse.after = 't_gen': must be one of the events before"),
        (
            lambda: check_declared((FIT,), ACCURACY_PHASES),
            "'comprehension' looks at event 't_mem'; must be one of: t_fit",
        ),
        (lambda: check_declared((), (PhaseRule(name="all"),) * 2), "the name 'all' appears twice"),
        (lambda: PhaseRule(name="a", colour="red;background:url(x)"), "PhaseRule.colour = .*: must be '#rrggbb'"),
    ):
        with pytest.raises(ConfigError, match=message):
            make()


def test_a_success_decides_what_its_events_imply():
    both, lower = (T_MEM, T_GEN), (T_GEN.replace(name="later", thresholds=(0.9,), headline=0.9),)
    assert decides(both, both)
    assert decides(both, lower)
    assert decides((*both, RELAPSE), (T_GEN, RELAPSE))
    for asked in (
        (rises_to("test_accuracy", 0.999, name="t_gen"),),
        (T_GEN.replace(hold_measurements=9),),
        (FIT,),
        (falls_to("test_accuracy", 0.5, name="t"),),
        (T_GEN.replace(headline=0.99), RELAPSE),
    ):
        assert not decides((*both, RELAPSE), asked)


def reason(n=9, *, test, finite=True, frozen=False, events=ACCURACY_EVENTS, stopping=None):
    columns = {"train_accuracy": np.ones(9)[:n], "test_accuracy": np.array(test, dtype=float)[:n]}
    return (stopping or Stopping()).reason(STEPS[:n], columns, events, finite=finite, frozen=frozen)


def test_stopping_for_success_censors_no_declared_threshold():
    test = np.array([0, 0, 0.9, 0.96, 0.96, 0.99, 0.99, 0.99, 0.99])
    assert [reason(n, test=test) for n in range(1, len(STEPS) + 1)] == [None] * 7 + ["success"] * 2
    stopped = at(test[:8])
    assert all(event.occurred for event in stopped.events)
    assert repr(stopped) == repr(at(test))
    assert reason(test=test, stopping=Stopping(on_success=False)) is None
    assert reason(test=test, events=(*ACCURACY_EVENTS, RELAPSE)) is None, "it may still fall"
    assert reason(test=test, events=()) is None, "nothing is waited for"
    fallen = [0, 0.99, 0.99, 0.99, 0.99, 0.1, 0.1, 0.1, 0.1]
    assert reason(test=fallen, events=(*ACCURACY_EVENTS, RELAPSE)) == "success"


def test_stopping_reasons_in_order():
    zero = np.zeros(9)
    assert reason(test=zero, finite=False, frozen=True) == "diverged"
    assert reason(test=zero, frozen=True) == "frozen"
    assert reason(test=zero, frozen=True, stopping=Stopping(on_frozen=False)) is None
    assert reason(test=zero) is None
