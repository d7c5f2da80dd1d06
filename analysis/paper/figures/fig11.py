"""Fig. 11: the losses while three changes of the loss make a network grok."""

import math
from typing import Any

from matplotlib.figure import SubFigure

from analysis.data.sweep import Sweep, Trial
from analysis.drawing.bands import COLOURS, draw_band
from analysis.drawing.panels import accuracy_panel, arms, legend, not_run, step_panel
from analysis.drawing.style import GEN_COLOUR, MEM_COLOUR
from analysis.paper.claims import reached, time_of
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Claim, Tristate, Verdict, judge, per_seed, report
from analysis.paper.words import finals, spread, spread_steps

ARMS = STABLEMAX, LOGIT_NORM, TAYLOR = "StableMax", "CE + λ‖z‖", "Taylor softmax"
TEST_LOSS = "test_loss"
FALL = 10.0


def fall(trial: Trial) -> float:
    """The test loss at t_mem over the smallest one since; NaN before t_mem."""
    memorised = time_of(trial, "t_mem")
    steps, losses = trial.measured(TEST_LOSS)
    later = losses[steps >= memorised]
    return float(trial.at(TEST_LOSS, memorised) / later.min()) if len(later) else math.nan


def fastest(evidence: Sweep, seed: object) -> Tristate:
    """Whether Taylor generalises before both others, of one seed."""
    times = []
    for arm in (TAYLOR, STABLEMAX, LOGIT_NORM):
        trial = evidence.by_seed(arm=arm).get(seed)
        times.append(math.nan if trial is None else time_of(trial, "t_gen"))
    ours, *others = times
    # An event that has not come yet is later than one that has.
    followed = [evidence.by_seed(arm=arm).get(seed) for arm in (STABLEMAX, LOGIT_NORM)]
    later = [
        trial.known_until if math.isnan(time) and trial is not None else time
        for time, trial in zip(others, followed, strict=True)
    ]
    if math.isinf(ours) and all(math.isinf(time) for time in others):
        return False
    if math.isnan(ours) or any(math.isnan(time) for time in later):
        return None
    if all(ours < time for time in later):
        return True
    return False if any(time <= ours for time in others) else None


def verdict(evidence: Sweep) -> Verdict:
    """The fall of every test loss, and who is first."""
    groups = {arm: evidence.where(arm=arm) for arm in ARMS}
    falls = [
        per_seed(
            f"{arm}: the test loss falls at least 10-fold after t_mem",
            trials,
            lambda trial: reached(trial, fall(trial), FALL),
            f"by a factor of {spread(map(fall, trials), '.1f')}; t_mem at "
            f"{spread_steps(time_of(trial, 't_mem') for trial in trials)}",
        )
        for arm, trials in groups.items()
    ]
    seeds = list(dict.fromkeys(trial.seed for trial in evidence.where()))
    whole = all(groups.values())
    return judge(
        *falls,
        Claim(
            "Taylor softmax reaches a test accuracy of .95 before both others",
            tuple(fastest(evidence, seed) for seed in seeds) if whole else (),
            "; ".join(
                f"{arm} {spread_steps(time_of(trial, 't_gen') for trial in trials)}" for arm, trials in groups.items()
            ),
        ),
        report(
            "the test accuracy at the end",
            ", ".join(f"{arm} {finals(trials, 'test_accuracy', '.3f')}" for arm, trials in groups.items() if trials),
        ),
    )


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """A panel a loss: both losses; and below it the test accuracies of all three."""
    *panels, last = figure.subplots(1, len(ARMS) + 1)
    everything = evidence.where()
    for axes, arm in zip(panels, ARMS, strict=True):
        trials = evidence.where(arm=arm)
        if not trials:
            not_run(axes)
            continue
        draw_band(axes, trials, "train_loss", colour=MEM_COLOUR, dashed=True, label="train")
        draw_band(axes, trials, TEST_LOSS, colour=GEN_COLOUR, label="test")
        axes.set_yscale("log")
        step_panel(axes, f"{arm}: loss", everything, xlabel="steps")
    legend(panels[0], loc="lower left")
    groups = arms(evidence, dict(zip(ARMS, COLOURS, strict=False)))
    look: dict[str, Any] = {"train": False, "xlabel": "steps", "legend_at": "best"}
    accuracy_panel(last, "Test accuracy", groups, trials=everything, **look)


FIGURE = FigureSpec(
    title="Losses under StableMax, logit-norm regularisation and Taylor softmax",
    statement="With each of StableMax, cross-entropy + λ‖z‖ and Taylor softmax the test loss falls at least 10-fold "
    "after memorising, without weight decay; Taylor softmax generalises first.",
    space="fig11_losses",
    columns=("train_accuracy", "test_accuracy", "train_loss", TEST_LOSS),
    verdict=verdict,
    draw=draw,
    size_in=(12.0, 3.6),
)
