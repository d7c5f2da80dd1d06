"""App. I: Adam's ε, and a log-softmax written by hand."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from matplotlib.figure import SubFigure

from analysis.data.sweep import Sweep, Trial
from analysis.drawing.bands import COLOURS
from analysis.drawing.panels import accuracy_panel, not_run, shades
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Claim, Tristate, Verdict, judge, report
from analysis.paper.words import finals, spread

NATIVE, BY_HAND = "native", "by hand"
COLLAPSE, TEST, TRAIN = "sc_any_fraction", "test_accuracy", "train_accuracy"
GAP = 0.08
"""How far below the smallest ε's a test accuracy must end: the gap that Fig. 2's statement asks for."""
STILL = 0.01
"""A test accuracy that changes by less than this over the second half of the run has stopped."""
BEFORE_COLLAPSE = 0.1
MEMORISED = 0.99


def frozen(smallest: Trial, larger: Trial) -> Tristate:
    """Whether the larger ε has ended learning before collapse, and the smallest ε shows that there was more to learn.

    All of: it has memorised; its test accuracy changes by less than a point over the second half of the run; it ends
    at least 8 points below the smallest ε's; and fewer than a tenth of its rows are in collapse at the end.
    """
    horizon = larger.horizon_steps
    best, half, end = smallest.at(TEST, horizon), larger.at(TEST, horizon / 2), larger.at(TEST, horizon)
    if math.isnan(best) or math.isnan(half) or math.isnan(end):
        return None
    return (
        larger.largest(TRAIN) >= MEMORISED
        and abs(end - half) < STILL
        and best - end >= GAP
        and larger.final(COLLAPSE) < BEFORE_COLLAPSE
    )


def some(parts: Sequence[Tristate]) -> Tristate:
    """True where one is; None where one is open, or there is none; False otherwise."""
    return True if True in parts else None if None in parts or not parts else False


def verdict(evidence: Sweep) -> Verdict:
    """In every seed, whether some larger ε froze learning; the two log-softmaxes beside it."""
    listed = evidence.numbers("eps")
    groups = {eps: evidence.by_seed(arm=NATIVE, eps=eps) for eps in listed}
    smallest = groups[listed[0]]
    holds = tuple(
        some([frozen(trial, groups[eps][seed]) for eps in listed[1:] if seed in groups[eps]])
        for seed, trial in smallest.items()
    )
    by_hand = {eps: evidence.by_seed(arm=BY_HAND, eps=eps) for eps in listed}
    return judge(
        Claim(
            "some larger ε freezes learning while SC < .1: memorised, test accuracy still over the second half and 8 "
            "points below the smallest ε's",
            holds,
            "test accuracy and rows in collapse at the end by ε: "
            + "; ".join(f"{eps:g}: {ends(group)}" for eps, group in groups.items() if group),
        ),
        report("log-softmax by hand minus native, test accuracy at the end", contrast(groups, by_hand)),
    )


def ends(group: Mapping[Any, Trial]) -> str:
    """``83 %, 4 % collapsed``."""
    return f"{finals(group.values(), TEST)}, {finals(group.values(), COLLAPSE)} collapsed"


def contrast(native: Mapping[float, Mapping[Any, Trial]], by_hand: Mapping[float, Mapping[Any, Trial]]) -> str:
    """The difference in points within the seeds, where both were run."""
    words = []
    for eps, group in by_hand.items():
        apart = [100 * (trial.final(TEST) - native[eps][seed].final(TEST)) for seed, trial in group.items()
                 if seed in native[eps]]  # fmt: skip
        if apart:
            words.append(f"ε {eps:g}: {spread(apart, '+.1f')} points")
    return "; ".join(words)


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Left: test accuracy over ε; right: the two log-softmaxes at the ε that both have."""
    left, right = figure.subplots(1, 2, sharey=True)
    by_hand = evidence.where(arm=BY_HAND)
    both = product(sorted({trial.setting["optimizer.eps"] for trial in by_hand}), (NATIVE, BY_HAND))
    beside = {
        f"{arm}, ε = {eps:g}": (evidence.where(arm=arm, eps=eps), colour)
        for (eps, arm), colour in zip(both, COLOURS, strict=False)
    }
    options: dict[str, Any] = {"train": False, "start": 5, "legend_at": "upper left", "trials": evidence.where()}
    accuracy_panel(left, "Test accuracy over ε", shades(evidence, "eps", "ε = {:g}", arm=NATIVE), **options)
    if by_hand:
        accuracy_panel(right, "Test accuracy, log-softmax native and by hand", beside, **options)
    else:
        not_run(right, "by hand: not run")


FIGURE = FigureSpec(
    title="Adam's ε, and a log-softmax by hand",
    statement="A larger ε of Adam freezes learning while fewer than a tenth of the training rows are in softmax "
    "collapse.",
    space="appendix_i_eps",
    columns=(TRAIN, TEST, COLLAPSE),
    verdict=verdict,
    draw=draw,
)
