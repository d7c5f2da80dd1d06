"""Fig. 13: the output scale α, where there is generalisation without it and where there is none."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from matplotlib.figure import SubFigure

from analysis.data.sweep import Sweep, Trial, paired
from analysis.drawing.panels import accuracy_panel, legend, shades
from analysis.paper.claims import each_seed, every, stays_below
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Claim, Tristate, Verdict, judge, report
from analysis.paper.words import largest, last_steps, percent, spread_steps

SHALLOW, DEEP, ENTROPY = ARMS = "MSE, 1 hidden layer", "MSE, 2 hidden layers", "CE, 2 hidden layers"
REACHED = 0.9
"""The test accuracy that "no run reaches"."""
MEMORISED, HALF = 0.9, 0.5
"""The test accuracy at which a delay ends: what generalises only in part (small p does) has a delay too."""

Runs = Mapping[float, Mapping[Any, Trial]]
"""The trials of an arm by α and seed."""


def runs(evidence: Sweep, arm: str) -> Runs:
    """The begun trials of an arm, by α and seed."""
    return {alpha: evidence.by_seed(arm=arm, alpha=alpha) for alpha in evidence.numbers("alpha")}


def delay(trial: Trial) -> tuple[float, bool]:
    """Steps from a training accuracy of .9 to a test accuracy of .5, and whether both came.

    Where only the first came, the least that can be between them: infinite where the weights can never change
    again.  NaN where neither did so far.
    """
    memorised = trial.event("t_mem", MEMORISED)
    generalised = trial.event("t_gen", HALF)
    if not memorised.occurred:
        return math.nan, False
    if generalised.occurred:
        return generalised.high_steps - memorised.high_steps, True
    return trial.known_until - memorised.high_steps, False


def longer(smaller: Trial, larger: Trial) -> Tristate:
    """Whether the delay at the larger α is the longer one."""
    (before, before_came), (after, after_came) = delay(smaller), delay(larger)
    if math.isnan(before) or math.isnan(after):
        return None
    if before_came and (after_came or after > before):
        return after > before
    # The smaller α's is still open, and has outlasted the other already.
    return False if after_came and after <= before else None


def verdict(evidence: Sweep) -> Verdict:
    """The delay from α to α in every seed of the shallow network; the largest test accuracy of the other two."""
    shallow = runs(evidence, SHALLOW)
    growing = Claim(
        "MSE, 1 hidden layer: the delay (training accuracy .9 to test accuracy .5) grows with α",
        tuple(every(longer(*pair) for pair in pairwise(row)) for row in paired(*shallow.values())),
        "; ".join(delay_words(alpha, trials) for alpha, trials in shallow.items() if trials),
    )
    return judge(growing, *(never(evidence, arm) for arm in (DEEP, ENTROPY)), memorising(shallow))


def delay_words(alpha: float, trials: Mapping[Any, Trial]) -> str:
    """``α 2: 1 400 [1 300, 1 500] steps``, with how many are still open."""
    delays = [delay(trial) for trial in trials.values()]
    came = [steps for steps, both in delays if both]
    words = f"α {alpha:g}: {spread_steps(came)} steps" if came else f"α {alpha:g}:"
    waiting = [steps for steps, both in delays if not both and not math.isnan(steps)]
    return f"{words} over {spread_steps(waiting)} in {len(waiting)} of {len(delays)}" if waiting else words


def never(evidence: Sweep, arm: str) -> Claim:
    """That no α brings an arm to a test accuracy of .9."""
    by_alpha = runs(evidence, arm)
    trials = [trial for group in by_alpha.values() for trial in group.values()]
    seeds = dict.fromkeys(trial.seed for trial in trials)
    best = [max(trial.largest("test_accuracy") for trial in trials if trial.seed == seed) for seed in seeds]
    memorised = sum(trial.largest("train_accuracy") >= REACHED for trial in trials)
    return Claim(
        f"{arm}: no run reaches a test accuracy of .9",
        each_seed(by_alpha.values(), lambda trial: stays_below(trial, "test_accuracy", REACHED)),
        f"the best of any α and seed by seed {percent(best)}; {memorised} of {len(trials)} runs have memorised, "
        f"in up to {last_steps(trials)} steps"
        if trials
        else "",
    )


def memorising(by_alpha: Runs) -> Claim:
    """The time to memorise, which a mere change of pace would stretch like the delay; and how far it generalises."""
    words = []
    for alpha, trials in by_alpha.items():
        times = [trial.time("t_mem", MEMORISED) for trial in trials.values()]
        memorised = [time for time in times if math.isfinite(time)]
        if memorised:
            words.append(f"α {alpha:g}: {spread_steps(memorised)} ({largest(trials.values(), 'test_accuracy')})")
    return report("MSE, 1 hidden layer: steps to a training accuracy of .9 (best test accuracy)", "; ".join(words))


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """A panel an arm: training (dashed) and test accuracy at every α."""
    panels = figure.subplots(1, 3, sharey=True)
    for axes, arm in zip(panels, ARMS, strict=True):
        ylabel = "test accuracy; training dashed" if arm == SHALLOW else ""
        accuracy_panel(axes, arm, shades(evidence, "alpha", "α = {:g}", arm=arm), start=5, level=REACHED, ylabel=ylabel)
    # The deep network's panel has room for it, where it was run.
    for axes in [axes for axes in (panels[1], panels[0], panels[2]) if axes.axison][:1]:
        legend(axes, loc="center right")


FIGURE = FigureSpec(
    title="The output scale α",
    statement="With mean squared error and one hidden layer the delay of generalisation grows with α; with two "
    "hidden layers, or with cross-entropy, no run reaches a test accuracy of .9.",
    space="fig13_alpha",
    verdict=verdict,
    draw=draw,
    size_in=(10.4, 3.9),
)
