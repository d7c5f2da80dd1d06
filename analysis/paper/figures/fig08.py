"""Fig. 8: zeroing the gradient of the true class's logit stops a run that generalises."""

import math

import numpy as np
from matplotlib.figure import SubFigure

from analysis.data.sweep import Sweep, Trial
from analysis.drawing.bands import COLOURS, draw_band
from analysis.drawing.panels import accuracy_panel, arms, mark_step, step_panel
from analysis.paper.claims import reached
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Tristate, Verdict, judge, per_seed, report
from analysis.paper.words import finals, percent, spread

CONTROL, ZEROED, LITERAL = ARMS = "control", "true class's gradient zeroed", "true class's logit times 0"
ARM_COLOURS = dict(zip(ARMS, (COLOURS[2], COLOURS[0], COLOURS[1]), strict=True))
TEST = "test_accuracy"
CHANGE, GAIN = 0.01, 0.25


def intervened_at(evidence: Sweep) -> int:
    """N: the first step whose update is made without the true class's gradient."""
    return int(evidence.values("at_step")[0])


def after(trial: Trial, since: int) -> np.ndarray:
    """The test accuracies from N on: where N itself was not looked at, from the first look after it."""
    steps, values = trial.measured(TEST)
    return values[steps >= since]


def at_change(trial: Trial, since: int) -> float:
    """The first of them; NaN for a run that has not reached N."""
    later = after(trial, since)
    return float(later[0]) if len(later) else math.nan


def change(trial: Trial, since: int) -> float:
    """How far the test accuracy goes from its value at N, up or down; NaN for a run that has not reached N."""
    later = after(trial, since)
    return float(abs(later - later[0]).max()) if len(later) else math.nan


def stopped(trial: Trial, since: int) -> Tristate:
    """Whether the test accuracy stays within a point of what it was at N; None where it may still leave it."""
    largest = change(trial, since)
    if largest >= CHANGE:
        return False
    return True if largest < CHANGE and trial.known_until >= trial.horizon_steps else None


def gain(trial: Trial, since: int) -> float:
    """The test accuracy at the horizon minus that at N; so far, for a run that has not reached it."""
    return trial.final(TEST) - at_change(trial, since)


def verdict(evidence: Sweep) -> Verdict:
    """The changed run may not move after N, and its control must; the text's own way of changing it is reported."""
    since = intervened_at(evidence)
    control, zeroed, literal = (evidence.where(arm=arm) for arm in ARMS)

    def starts(trials: tuple[Trial, ...]) -> str:
        return percent(at_change(trial, since) for trial in trials)

    def changes(trials: tuple[Trial, ...]) -> str:
        return percent(change(trial, since) for trial in trials)

    return judge(
        per_seed(
            "after N the test accuracy of the changed run stays within 1 point of what it was",
            zeroed,
            lambda trial: stopped(trial, since),
            f"N = {since}: {starts(zeroed)} there, then {changes(zeroed)} away from it at most; "
            f"{finals(zeroed, TEST)} at the end",
        ),
        per_seed(
            "the control gains at least 25 points after N",
            control,
            lambda trial: None if math.isnan(gained := gain(trial, since)) else reached(trial, gained, GAIN),
            f"{starts(control)} at N, {finals(control, TEST)} at the end",
        ),
        report("the training loss of the changed run", _losses(zeroed, since)),
        report(
            "the text's other reading, the true class's logit times 0: the test accuracy after N",
            f"{starts(literal)} at N, then at most {changes(literal)} away from it; {finals(literal, TEST)} at the end",
        ),
    )


def _losses(trials: tuple[Trial, ...], since: int) -> str:
    """The training loss at N and at the end; empty where no run is past N."""
    past = [trial for trial in trials if trial.last_step > since]
    if not past:
        return ""
    before, after = spread((trial.at("train_loss", since) for trial in past), ".1e"), finals(past, "train_loss", ".1e")
    return f"{before} at N, {after} at the end, with a training accuracy of {finals(past, 'train_accuracy')}"


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Left: the accuracies; right: the training loss; both with N marked."""
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
    since = intervened_at(evidence)
    groups = arms(evidence, ARM_COLOURS)
    accuracy_panel(left, "Test accuracy; training dashed", groups, log=False, start=1)
    for arm, (trials, colour) in groups.items():
        draw_band(right, trials, "train_loss", colour=colour, label=arm)
    right.set_yscale("log")
    step_panel(right, "Training loss", evidence.where(), log=False, start=1, legend_at="lower left")
    for axes in (left, right):
        mark_step(axes, since, "N")


FIGURE = FigureSpec(
    title="Softmax collapse by hand in a run that generalises",
    statement="From step N on the gradient with respect to the true class's logit is zero: the test accuracy changes "
    "by less than 1 point after N, while that of the control gains at least 25.",
    space="fig08_zeroed_true_class",
    columns=("train_accuracy", "test_accuracy", "train_loss"),
    verdict=verdict,
    draw=draw,
)
