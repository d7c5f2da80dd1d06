"""The live view: what is left, from censored durations; plain lines; the phase map."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from pipeline.execution.study import Progress
from pipeline.sharing import Lease, RunProgress
from pipeline.spec import PlannedTrial
from pipeline.terminal.live_view import LiveView, PlainView
from pipeline.terminal.phase_map import PhaseMap, glyphs_of
from pipeline.terminal.tally import Tally, expected_steps_left
from trainables.engine.events import ACCURACY_PHASES, PhaseRule
from trainables.engine.terminal import print_line
from trainables.runtime.job import CohortJob
from trainables.runtime.status import MemberStatus

ARMS = [
    (f"a{wd}{seed}", {"arm": "AdamW", "optimizer.weight_decay": wd, "seed": seed})
    for wd in (0, 16, 2)
    for seed in (0, 1)
]
ARMS += [(f"o{seed}", {"arm": "⊥AdamW", "seed": seed}) for seed in (0, 1)]


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def status(trial_id, step, state="running", phase="confusion"):
    return MemberStatus(trial_id, step, state, None, phase)


def planned(trials, horizon_steps=1000, phases=ACCURACY_PHASES):
    """Trials of no kind at all, by (id, coordinates)."""
    configs = (SimpleNamespace(trial_id=name, horizon_steps=horizon_steps, phases=phases) for name, _ in trials)
    return [PlannedTrial(config, point) for config, (_, point) in zip(configs, trials, strict=True)]


COHORT = CohortJob(trials=(), device="cpu")


class TestStepsLeft:
    def test_without_an_end_seen_everything_runs_to_the_horizon(self):
        assert expected_steps_left([], [100, 900], [100, 900], horizon_steps=1000).tolist() == [900, 100]

    def test_the_mean_of_what_is_over_where_nothing_runs(self):
        over = [100, 300, 1000, 1000]
        assert expected_steps_left(over, [], [0], horizon_steps=1000) == pytest.approx([np.mean(over)])

    def test_given_that_it_runs_still(self):
        # Of those older than 200 one ended at 300, two at the horizon.
        (left,) = expected_steps_left([100, 300, 1000, 1000], [], [200], horizon_steps=1000)
        assert left == pytest.approx(np.mean([300, 1000, 1000]) - 200)

    def test_censored_durations_count_as_survived_so_far(self):
        # Ten that run at 500 say that the one that ended at 100 is rare: 1/11 of the mass, by hand.
        (left,) = expected_steps_left([100], [500] * 10, [0], horizon_steps=1000)
        assert left == pytest.approx(100 + 900 * 10 / 11)

    def test_against_the_truth_of_an_exponential(self):
        rng = np.random.default_rng(0)
        times, censoring = rng.exponential(400, 4000), rng.uniform(0, 1000, 4000)
        over = [int(t) for t, c in zip(times, censoring, strict=True) if t <= c]
        running = [int(c) for t, c in zip(times, censoring, strict=True) if t > c]
        (left,) = expected_steps_left(over, running, [0], horizon_steps=1000)
        assert left == pytest.approx(400 * (1 - np.exp(-1000 / 400)), rel=0.05)
        naive = np.mean(over)
        assert left > 1.3 * naive

    def test_older_than_any_that_is_over(self):
        assert expected_steps_left([10, 10], [500], [500], horizon_steps=1000).tolist() == [500]


class TestTally:
    def test_counts_rate_and_time_left(self):
        clock = Clock()
        tally = Tally(planned(ARMS), clock=clock)
        tally.add_cached("a00", "finished", "memorization", 1000)
        tally.add_cached("a01", "failed", "", 0)
        assert tally.headline() == "1 of 8 done, 0 running, 1 cached, 1 failed"
        assert (tally.left_s(), tally.pace()) == (None, "starting")
        clock.now = 20.0  # Ray's start is no training
        tally.reported(COHORT, [status("a20", 100), status("a21", 100)])
        clock.now = 30.0
        tally.reported(COHORT, [status("a20", 600), status("a21", 600)])
        assert tally.steps_per_s() == pytest.approx(100.0)
        assert tally.headline() == "1 of 8 done, 2 running, 1 cached, 1 failed"
        # One over at the horizon, two censored at 600: all go to the horizon.
        assert tally.left_s() == pytest.approx((2 * 400 + 4 * 1000) / 100)
        assert tally.pace().startswith("100 steps/s, about 48 s left (until ")
        tally.ended({"a20": "stopped", "a21": "failed"})
        assert tally.headline() == "2 of 8 done, 0 running, 1 cached, 2 failed"
        assert tally.states["a20"] == ("stopped", "confusion")

    def test_the_last_trial_takes_its_own_time(self):
        clock = Clock()
        tally = Tally(planned(ARMS[:2]), clock=clock)
        tally.reported(COHORT, [status("a00", 0), status("a01", 0)])
        clock.now = 10.0
        tally.reported(COHORT, [status("a00", 900), status("a01", 100)])
        # 100 steps/s for both together: the second alone needs 900 at its half of that.
        assert tally.left_s() == pytest.approx(900 / 50)
        clock.now = 20.0
        tally.reported(COHORT, [status("a00", 999), status("a01", 999)])
        assert ", under 1 s left (" in tally.pace()
        tally.ended({"a00": "finished", "a01": "finished"})
        assert tally.left_s() == 0.0

    def test_arms_of_different_horizons_are_told_apart(self):
        clock = Clock()
        tally = Tally(planned(ARMS[:2], 1000) + planned(ARMS[2:5], 100), clock=clock)
        tally.add_cached(ARMS[2][0], "finished", "confusion", 100)
        tally.reported(COHORT, [status("a00", 0)])
        clock.now = 10.0
        tally.reported(COHORT, [status("a00", 200)])
        # That one was over at 100 steps says nothing of those that go to 1000: 800 + 1000, and two of 100.
        assert tally.left_s() == pytest.approx((800 + 1000 + 2 * 100) / 20)

    def test_slow_arms_take_longer_than_their_steps_say(self):
        clock = Clock()
        tally = Tally(planned(ARMS[:3]), costs_s={"a00": 0.1, "a01": 0.1, ARMS[2][0]: 1.0}, clock=clock)
        tally.reported(COHORT, [status("a00", 0)])
        clock.now = 10.0
        tally.reported(COHORT, [status("a00", 200)])
        # Twice as slow as predicted, 20 steps/s: 800 and 1000 such steps, and 1000 of ten times the cost.
        assert tally.left_s() == pytest.approx((800 + 1000 + 10 * 1000) / 20)

    def test_other_drivers_take_their_share(self):
        clock = Clock()
        tally = Tally(planned(ARMS[:3]), clock=clock)
        tally.reported(COHORT, [status("a00", 0)])
        clock.now = 10.0
        tally.reported(COHORT, [status("a00", 200)])
        other = Lease(
            driver="", sweep="", host="far", pid=1, place="", started_at="", trials=("a01",),
            progress=RunProgress(steps_per_s=15.0),
        )  # fmt: skip
        tally.elsewhere([other], {})
        assert tally.headline() == "0 of 3 done, 1 running here and 1 elsewhere, 0 cached, 0 failed"
        assert tally.left_s() == pytest.approx((800 + 1000 + 1000) / (20 + 15))
        tally.ended({"a00": "finished", ARMS[2][0]: "finished"})
        assert tally.pace() == "waiting for far (process 1)"

    def test_a_continued_trial_counts_its_new_steps_only(self):
        clock = Clock()
        tally = Tally(planned(ARMS[:1]), clock=clock)
        cohort = CohortJob(trials=(), device="cpu", start_step=500)
        tally.reported(cohort, [status("a00", 500)])
        clock.now = 1.0
        tally.reported(cohort, [status("a00", 510)])
        assert tally.steps_per_s() == pytest.approx(10.0)

    def test_a_retried_trial_is_not_counted_twice(self):
        tally = Tally(planned(ARMS[:1]), clock=Clock())
        for step in (0, 300, 100, 200, 400):
            tally.reported(COHORT, [status("a00", step)])
        assert tally._done_steps == 400


class TestPlainLines:
    def test_every_ten_seconds_at_most_and_when_trials_end(self):
        clock, stream = Clock(), io.StringIO()
        with PlainView(Tally(planned(ARMS), clock=clock), stream, clock) as view:
            for second in range(25):
                clock.now = float(second)
                view.reported(COHORT, [status("a00", 10 * second)])
            assert len(stream.getvalue().splitlines()) == 2
            clock.now = 25.5
            view.ended({"a00": "stopped"})
            view.ended({"a01": "stopped"})
            lines = stream.getvalue().splitlines()
            assert len(lines) == 3
            assert lines[-1].startswith("1 of 8 done, 0 running, 0 cached, 0 failed; ")
        assert stream.getvalue().splitlines()[-1] == "2 of 8 done, 0 running, 0 cached, 0 failed after 26 s"
        assert "\x1b" not in stream.getvalue()


class TestPhaseMap:
    def rendered(self, trials, states, width=100, height=20, phases=ACCURACY_PHASES):
        console = Console(width=width, file=io.StringIO(), color_system=None)
        for part in PhaseMap(planned(trials, phases=phases)).render(states, width=width, height=height):
            console.print(part)
        return [line.rstrip() for line in console.file.getvalue().splitlines()]

    def test_arms_are_rows_and_numbers_are_sorted(self):
        states = {"a00": ("stopped", "grokking"), "a01": ("running", "memorization"), "a20": ("failed", "")}
        states["o1"] = ("finished", "comprehension")
        assert self.rendered(ARMS, states) == [
            "arm ↓  weight decay →",
            "        0   2   16  –",
            "AdamW   ●▲  ✗·  ··",
            "⊥AdamW              ·■",
        ]

    def test_wide_characters_have_their_room(self):
        trials = [("a", {"arm": "学习率", "x": "高", "seed": 0}), ("b", {"arm": "b", "x": "低", "seed": 0})]
        assert self.rendered(trials, {}, width=24) == ["arm ↓  x →", "        高  低", "学习率  ·", "b           ·"]

    def test_two_axes(self):
        trials = [(f"{x}{y}", {"x.first": x, "y.second_one": y, "seed": 0}) for x in "abc" for y in (1, 0.5)]
        assert self.rendered(trials, {"b0.5": ("stopped", "grokking")}) == [
            "second one ↓  first →",
            "     a  b  c",
            "1    ·  ·  ·",
            "0.5  ·  ●  ·",
        ]

    def test_what_does_not_fit_is_counted(self):
        trials = [(f"{x},{y}", {"x": x, "y": y}) for x in range(50) for y in range(30)]
        lines = self.rendered(trials, {}, width=60, height=10)
        assert max(map(len, lines)) <= 60
        assert len(lines) == 2 + 10
        assert lines[-1].startswith("+21")
        assert lines[1].split()[-1].startswith("+")
        shown = len(lines[1].split()) - 1
        assert lines[1].split()[-1] == f"+{50 - shown}"

    def test_trials_without_phases_are_done_or_not(self):
        trials = [(name, {"x": name, "seed": 0}) for name in "abcd"]
        states = {"a": ("finished", ""), "b": ("running", ""), "c": ("failed", "")}
        assert self.rendered(trials, states, phases=())[-1].split() == ["✓", "✓", "✗", "·"]
        assert PhaseMap(planned(trials, phases=())).legend().plain == "✓ done  · waiting, faint: running"

    def test_phases_of_a_space_have_their_own_colours_or_distinct_ones(self):
        phases = [PhaseRule(name="collapse", colour="#123456"), PhaseRule(name="none"), PhaseRule(name="late")]
        glyphs = glyphs_of([*phases, *ACCURACY_PHASES, PhaseRule(name="collapse", colour="#000000")])
        assert list(glyphs) == ["collapse", "none", "late", *(phase.name for phase in ACCURACY_PHASES)]
        assert glyphs["collapse"] == ("■", "#123456")
        assert len({glyph for glyph, _ in glyphs.values()}) == len(glyphs)
        assert len({colour for _, colour in glyphs.values()}) == len(glyphs)

    def test_suggestions_are_listed_the_latest_first(self):
        points = planned([(f"s{number}", {"decay": number / 3, "rate": 1 / (number + 1)}) for number in range(4)])
        table = PhaseMap(points, listed=True)
        console = Console(width=60, file=io.StringIO(), color_system=None)
        console.print(*table.render({"s3": ("finished", "grokking")}, width=60, height=3))
        lines = [line.split() for line in console.file.getvalue().splitlines() if line.strip()]
        assert lines == [
            ["decay", "·", "rate", "↓"],
            ["1", "·", "0.25", "●"],
            ["0.666667", "·", "0.333333", "·"],
            ["+2"],
        ]

    def test_no_axis_at_all(self):
        assert (
            self.rendered([("a", {"seed": 0}), ("b", {"seed": 1})], {"b": ("finished", "confusion")})[-1].strip()
            == "·○"
        )


def test_the_screen_of_a_terminal():
    console = Console(width=80, height=24, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    with LiveView(Tally(planned(ARMS)), "wd_vs_orthograd", console) as view:
        view.reported(COHORT, [status("a00", 10, phase="grokking")])
        view.ended({"a00": "stopped"})
    screen = console.file.getvalue()
    assert "wd_vs_orthograd  1 of 8 done, 0 running, 0 cached, 0 failed" in screen
    assert "●" in screen
    assert "weight decay" in screen
    # Every line of the last picture fits.
    plain = Console(width=80, height=24, file=io.StringIO(), color_system=None)
    plain.print(view._picture())
    assert max(len(line) for line in plain.file.getvalue().splitlines()) <= 80


def test_names_of_others_are_text():
    """Neither markup nor escape sequences of a space or a ledger reach the terminal."""
    points = [
        ("a", {"arm": "[bold]\x1b[2J", "axis[red]": "[/red]\n", "seed": 0}),
        ("b", {"arm": "b", "axis[red]": "x"}),
    ]
    console = Console(width=80, height=24, file=io.StringIO(), color_system=None, force_terminal=True)
    with LiveView(Tally(planned(points)), "[/red]\x1b]0;title\x07", console) as view:
        view.noted("[link]\x1b[8m")
    screen = console.file.getvalue()
    for text in (
        r"[/red]\x1b]0;title\x07  0 of 2",
        r"[bold]\x1b[2J",
        "axis[red] →",
        r"[/red]\n",
        r"note: [link]\x1b[8m",
    ):
        assert text in screen
    assert "\x1b[2J" not in screen
    stream = io.StringIO()
    print_line("failed   \x1b[2J [link]\nok", stream)
    assert stream.getvalue() == "failed   \\x1b[2J [link]\\nok\n"


def test_suggested_trials_are_added():
    tally = Tally([])
    assert tally.headline() == "0 of 0 done, 0 running, 0 cached, 0 failed"
    console = Console(width=80, file=io.StringIO())
    with LiveView(tally, "search", console) as view:
        tally.set_trials(planned(ARMS[:2]), Progress(number=4, budget=14, trials_to_come=20))
        view.reported(COHORT, [status("a00", 10)])
    assert tally.headline().startswith("suggestion 4 of 14: 0 of 22 done, 1 running")


class TestNotes:
    REPORT = (MemberStatus("0123456789abcdef", 3, "running", None, "", ("continues with 8",)),)

    def test_a_note_is_a_line_of_its_own_at_once(self):
        tally, stream = Tally(planned(ARMS)), io.StringIO()
        PlainView(tally, stream).reported(COHORT, self.REPORT)
        assert stream.getvalue() == "note: 01234567: continues with 8\n"
        assert tally.notes == ["01234567: continues with 8"]

    def test_it_stays_above_the_live_picture(self):
        console = Console(file=io.StringIO(), force_terminal=True, width=80, height=30)
        with LiveView(Tally(planned(ARMS)), "tiny", console) as view:
            view.reported(COHORT, self.REPORT)
        assert console.file.getvalue().count("note: 01234567: continues with 8") == 1
