"""From lazy to rich (Kumar et al. 2024): how much later the test is fitted than the training rows."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import FixedLocator, NullLocator

from analysis.data.sweep import Sweep, Trial
from analysis.drawing.bands import COLOURS, ramp
from analysis.drawing.panels import legend, mark_level, not_run, step_panel, tidy
from analysis.drawing.style import FAINT
from analysis.paper.claims import below, each_seed, every, time_of
from analysis.paper.figure import FigureSpec, Snapshots
from analysis.paper.verdict import Claim, Tristate, Verdict, judge, report
from analysis.paper.words import spread, spread_steps

FEW, SOME, MANY = ARMS = ("P = 200", "P = 550", "P = 3000")
ARM_COLOURS = dict(zip(ARMS, (COLOURS[1], COLOURS[0], COLOURS[2]), strict=True))
PROMPT = 2.0
FITTED = 0.1

BySeed = Mapping[Any, Trial]


def ratio(trial: Trial) -> float:
    """t_test / t_train: infinite where the test is not fitted by the horizon; NaN where that is not known, or the
    training rows are not fitted."""
    train, test = time_of(trial, "t_train"), time_of(trial, "t_test")
    return math.nan if math.isnan(test) or not math.isfinite(train) else test / max(train, 1.0)


def never_fitted(trial: Trial) -> Tristate:
    """Whether the test error was at a tenth or above at every measurement up to the horizon."""
    _, values = trial.measured("test_loss")
    if len(values) and values.min() < FITTED:
        return False
    return True if trial.known_until >= trial.horizon_steps else None


def rising(path: Iterable[float]) -> Tristate:
    """Whether each number is larger than the one before."""
    return every(below(*pair) for pair in pairwise(path))


def cells(evidence: Sweep, arm: str) -> dict[float, BySeed]:
    """The trials of an arm by α and seed."""
    return {alpha: evidence.by_seed(arm=arm, alpha=alpha) for alpha in evidence.numbers("alpha")}


def verdict(evidence: Sweep) -> Verdict:
    """Seed by seed: the ratio over α with some rows, with many, and the test with few."""
    few, some, many = (cells(evidence, arm) for arm in ARMS)
    seeds = dict.fromkeys(seed for cell in some.values() for seed in cell)
    return judge(
        Claim(
            "at P = 550 t_test / t_train rises with α",
            tuple(rising(ratio(cell[seed]) if seed in cell else math.nan for cell in some.values()) for seed in seeds),
            _ratios(some),
        ),
        Claim(
            "at P = 3000 it is below 2 at each α",
            each_seed(many.values(), lambda trial: below(ratio(trial), PROMPT)),
            _ratios(many),
        ),
        Claim(
            "at P = 200 the test error is never below a tenth",
            each_seed(few.values(), never_fitted),
            "the least, by α: "
            + "; ".join(
                f"{_scale(alpha)}: {spread((trial.measured('test_loss')[1].min() for trial in cell.values()), '.2f')}"
                for alpha, cell in few.items()
            ),
        ),
        *(report(f"times of train and test, {arm}", _times(cells(evidence, arm))) for arm in (SOME, MANY)),
        report(
            "the weights' power along β at the end, P = 550",
            "; ".join(
                f"α = {_scale(alpha)}: {spread(trial.final('alignment') for trial in cell.values())}"
                for alpha, cell in some.items()
            ),
        ),
    )


def _ratios(of: Mapping[float, BySeed]) -> str:
    listed = (f"{_scale(alpha)}: {spread(map(ratio, cell.values()), '.2f')}" for alpha, cell in of.items())
    return f"by α: {'; '.join(listed)}"


def _times(of: Mapping[float, BySeed]) -> str:
    words = []
    for alpha, cell in of.items():
        train, test = (spread_steps(time_of(each, event) for each in cell.values()) for event in ("t_train", "t_test"))
        words.append(f"α = {_scale(alpha)}: {train} and {test}")
    return "; ".join(words)


def _scale(alpha: float) -> str:
    """``1/32``."""
    return f"1/{1 / alpha:g}" if alpha < 1 else f"{alpha:g}"


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Left: the ratio over α at each number of rows; right: train and test errors at P = 550."""
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    _draw_ratios(left, evidence)
    _draw_errors(right, evidence)


def _draw_ratios(axes: Axes, evidence: Sweep) -> None:
    alphas = evidence.numbers("alpha")
    drawn = {(arm, alpha): [*map(ratio, cell.values())] for arm in ARMS for alpha, cell in cells(evidence, arm).items()}
    top = max([2 * PROMPT, *(value for values in drawn.values() for value in values if math.isfinite(value))])
    never = 1.7 * top
    tidy(axes, "How much later the test is fitted", xlabel="output scale α (large: lazy)", ylabel="t_test / t_train")
    axes.set_yscale("log")
    for number, arm in enumerate(ARMS):
        middles = []
        for place, alpha in enumerate(alphas):
            values = [value for value in drawn[arm, alpha] if not math.isnan(value)]
            for each, value in enumerate(values):
                lane = place + 0.2 * (number - 1) + 0.12 * (each / max(len(values) - 1, 1) - 0.5)
                came = math.isfinite(value)
                axes.plot([lane], [value if came else never], marker="o" if came else "^", ms=4, ls="", zorder=4,
                          mec=ARM_COLOURS[arm], mfc=ARM_COLOURS[arm] if came else "white")  # fmt: skip
            finite = sorted(value for value in values if math.isfinite(value))
            middles.append(finite[len(finite) // 2] if 2 * len(finite) > len(values) else math.nan)
        places = [place + 0.2 * (number - 1) for place in range(len(alphas))]
        axes.plot(places, middles, color=ARM_COLOURS[arm], lw=1.4, marker="o", ms=4, label=arm, zorder=3)
    mark_level(axes, PROMPT)
    axes.text(len(alphas) - 0.45, never, "not by\nthe horizon", fontsize=8, color=FAINT, va="center", clip_on=False)
    axes.set_xticks(range(len(alphas)), [_scale(alpha) for alpha in alphas])
    axes.set_xlim(-0.5, len(alphas) - 0.5)
    axes.set_ylim(0.8, 1.4 * never)
    axes.yaxis.set_major_locator(FixedLocator([1, 2, 5, 10, 20, 50]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    legend(axes, loc=(0.02, 0.67))


def _draw_errors(axes: Axes, evidence: Sweep) -> None:
    trials = evidence.where(arm=SOME, alpha=evidence.numbers("alpha"))
    if not trials:
        not_run(axes, f"{SOME}: not run")
        return
    shown = cells(evidence, SOME)
    for colour, (alpha, cell) in zip(ramp(len(shown)), shown.items(), strict=True):
        for trial in cell.values():  # no band: where the first of them stops, the median would jump
            axes.plot(*trial.measured("train_loss"), color=colour, lw=0.7, ls=(0, (3.2, 1.6)), alpha=0.8)
            axes.plot(*trial.measured("test_loss"), color=colour, lw=1.0, alpha=0.8)
        axes.plot([], [], color=colour, lw=1.8, label=f"test, α = {_scale(alpha)}")
    axes.plot([], [], color=FAINT, ls=(0, (3.2, 1.6)), lw=1.3, label="train, by seed")
    mark_level(axes, FITTED)
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.004)
    step_panel(axes, "Errors at P = 550", trials, start=5, ylabel="error / variance of the target",
               legend_at="lower left")  # fmt: skip


def condense(evidence: Sweep, snapshots: Snapshots) -> Sweep:
    """Keep the alignment at P = 550 only, where it is reported."""
    trials = (
        trial
        if trial.arm == SOME
        else replace(trial, curves={name: values for name, values in trial.curves.items() if name != "alignment"})
        for trial in evidence.trials
    )
    return replace(evidence, trials=tuple(trials))


FIGURE = FigureSpec(
    title="How much later a lazier network generalises",
    statement="At P = 550 t_test / t_train rises with α; at P = 3000 it is below 2; at P = 200 the test error is never "
    "below a tenth. For grokking: a fit of the rows before the features move delays generalisation, with no softmax to "
    "collapse and no weight decay to wait for.",
    space="lazy_to_rich",
    columns=("train_loss", "test_loss", "alignment"),
    condense=condense,
    verdict=verdict,
    draw=draw,
)
