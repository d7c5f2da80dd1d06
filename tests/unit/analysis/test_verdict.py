"""The one rule of verdicts, and what can be told of a trial that was not followed far enough."""

import math

import numpy as np
import pytest

from analysis.data.sweep import Trial
from analysis.paper.claims import at_least, below, between, every, reaches, stays_below
from analysis.paper.verdict import MET, NOT_MET, NOT_RUN, NOTHING, REPORTED, UNDECIDED, Claim, judge, per_seed, report
from analysis.paper.words import percent, spread, spread_steps


@pytest.mark.parametrize(
    ("holds", "needed", "status"),
    [
        ((), None, NOT_RUN),
        ((True,), None, UNDECIDED),
        ((False,), None, UNDECIDED),
        ((False, False), None, UNDECIDED),
        ((True, True), None, UNDECIDED),
        ((True, True, True), None, MET),
        ((True,) * 5, None, MET),
        ((True, True, True, True, False), None, UNDECIDED),
        ((True, True, True, True, False), 4, MET),
        ((True, True, True), 4, UNDECIDED),
        ((True, True, False, False), None, UNDECIDED),
        ((True, False, False), None, NOT_MET),
        ((False, False, False, True, True), None, NOT_MET),
        ((False, False, None, None, None), None, UNDECIDED),
        ((False, False, False, None, None), None, NOT_MET),
        ((True, True, True, None), None, UNDECIDED),
        ((True, True, True, True, None), 4, MET),
        ((None, None, None), None, UNDECIDED),
    ],
)
def test_status_of_a_claim(holds, needed, status):
    assert Claim("it holds", holds, "numbers", needed).status == status


def test_min_seeds():
    assert Claim("an identity", (True,), "", min_seeds=1).status == MET
    assert Claim("an identity", (False,), "", min_seeds=1).status == NOT_MET


def test_reason_of_a_claim():
    assert Claim("it", (True,), "").reason == "holds in 1, fails in 0 of 1 seed; 3 seeds are needed"
    assert Claim("it", (True, False, True, None), "").reason == "holds in 2, fails in 1 of 4 seeds, open in 1"
    assert Claim("it", (True, True, True), "").reason == ""


def test_status_of_a_verdict():
    met, not_met = Claim("a", (True,) * 3, ""), Claim("b", (False,) * 3, "")
    short, missing, told = Claim("c", (None,) * 3, ""), Claim("d", (), ""), report("e", "12")
    assert judge(met).status == MET
    assert judge(met, told).status == MET
    assert judge(met, short).status == UNDECIDED
    assert judge(met, missing).status == UNDECIDED
    assert judge(met, short, missing, not_met).status == NOT_MET
    assert judge(told).status == REPORTED
    assert judge(report("e", "")).status == NOT_RUN
    assert judge(missing).status == NOT_RUN
    assert judge(missing, told).status == NOT_RUN
    assert NOTHING.status == judge().status == NOT_RUN


def test_reason_of_a_verdict():
    verdict = judge(Claim("a", (True,) * 3, ""), Claim("b", (False,) * 3, ""), Claim("c", (None,) * 3, ""))
    assert verdict.reason == "b: not met"
    assert judge(Claim("a", (True,) * 3, ""), Claim("d", (), "")).reason == "d: not run"
    assert judge(Claim("a", (True,) * 3, "")).reason == ""


def trial(values, steps=None, *, horizon=100, stop_reason=None):
    values = np.array(values, dtype=float)
    steps = np.arange(len(values), dtype=float) * 10 if steps is None else np.array(steps, dtype=float)
    return Trial(
        trial_id="t", space="s", coordinates={"seed": 0}, last_step=int(steps[-1]), horizon_steps=horizon,
        stop_reason=stop_reason, curves={"step": steps, "test_accuracy": values},
    )  # fmt: skip


def test_reaches():
    rising = trial([0, 0.2, 0.6, 0.9])
    assert reaches(rising, "test_accuracy", 0.5, by=20) is True
    assert reaches(rising, "test_accuracy", 0.5, by=19) is False
    assert reaches(rising, "test_accuracy", 0.95, by=30) is False
    assert reaches(rising, "test_accuracy", 0.95, by=31) is None, "not followed so far"
    assert reaches(trial([0, 0.2], stop_reason="frozen"), "test_accuracy", 0.5, by=99) is False


def test_stays_below():
    flat = trial([0.01, 0.01, 0.015])
    assert stays_below(flat, "test_accuracy", 0.02) is None, "20 of 100 steps"
    assert stays_below(flat, "test_accuracy", 0.02, until=20) is True
    assert stays_below(flat, "test_accuracy", 0.015, until=20) is False, "below is below"
    assert stays_below(trial([0.01, 0.5]), "test_accuracy", 0.02) is False, "a failure is one however short"
    assert stays_below(trial([0.01] * 11), "test_accuracy", 0.02) is True
    assert stays_below(trial([0.01, 0.01], stop_reason="frozen"), "test_accuracy", 0.02) is True


def test_nan_is_undecided():
    assert (at_least(1, 1), at_least(0.9, 1), at_least(math.nan, 1), at_least(1, math.nan)) == (True, False, None, None)
    assert (below(1, 1), below(0.9, 1), below(math.nan, 1)) == (False, True, None)
    assert (between(1, 1, 2), between(3, 1, 2), between(math.nan, 1, 2)) == (True, False, None)
    assert (every([True, True]), every([True, None]), every([None, False])) == (True, None, False)


def test_per_seed():
    trials = [trial([0, 0.9]), trial([0, 0.1]), trial([0, 0.8])]
    found = per_seed("high", trials, lambda each: at_least(each.final("test_accuracy"), 0.5), "numbers", needed=2)
    assert found == Claim("high", (True, False, True), "numbers", 2)
    assert found.status == MET


def test_numbers_in_words():
    assert spread([0.5, 0.4, 0.7, math.nan]) == "0.50 [0.40, 0.70]"
    assert spread([0.5, 0.5]) == "0.50"
    assert spread([]) == spread([math.nan]) == "–"
    assert spread_steps([12000, 9000, math.inf]) == "12\u202f000 [9\u202f000, never]"
    assert spread_steps([math.inf, math.inf]) == "never"
    assert spread_steps([100, math.inf]) == "100 [100, never]"
    assert percent([0.5, 0.625]) == "56.2\u202f% [50\u202f%, 62.5\u202f%]"
