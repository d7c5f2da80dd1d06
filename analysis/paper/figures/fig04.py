"""Fig. 4: StableMax groks three tasks without decay while the weights grow; and what the representation decides."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from analysis.data.sweep import FULL, Sweep, Trial, thousands
from analysis.drawing.bands import (
    COLOURS,
    accuracy_axis,
    draw_accuracies,
    draw_band,
    legend,
    mark_level,
    not_run,
    step_axis,
    tidy,
)
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import (
    Claim,
    Tristate,
    Verdict,
    at_least,
    every,
    judge,
    per_seed,
    percent,
    reaches,
    report,
    spread,
    spread_steps,
    stays_below,
)

ADD, MULTIPLY, PARITY = TASKS = "addition", "multiplication", "sparse parity"
ONE_HOT, BINARY, SCALAR = ENCODINGS = "one-hot", "binary", "scalar"
ARM_COLOURS = dict(zip((*TASKS, *ENCODINGS), (COLOURS[2], COLOURS[3], COLOURS[6], *COLOURS[:3]), strict=True))
TEST, NORM = "test_accuracy", "parameter_norm"
GROKKED = 0.98
HUNDREDFOLD = 100
"""How many times its initial value ‖θ‖ reaches at least, in the arithmetic tasks."""
IN_TANDEM = 0.15
"""How far apart training and test accuracy may end for the two to have increased in tandem."""


def grew_throughout(trial: Trial) -> Tristate:
    """Whether ‖θ‖ is larger after every doubling of the steps; None before the second measurement."""
    steps, norms = trial.measured(NORM)
    pairs = [
        (early, trial.at(NORM, 2 * step))
        for step, early in zip(steps, norms, strict=True)
        if step > 0 and 2 * step <= steps[-1]
    ]
    return all(late > early for early, late in pairs) if pairs else None


def growth(trial: Trial) -> float:
    """‖θ‖ at the last measurement over the first."""
    steps, norms = trial.measured(NORM)
    return float(norms[-1] / norms[0]) if len(steps) > 1 else math.nan


def later(first: Trial, second: Trial) -> Tristate:
    """Whether the second trial reaches .98 after the first one does; None where that is not known yet."""
    one, other = (trial.first_reaching(TEST, GROKKED) for trial in (first, second))
    if math.isfinite(one):
        return one < other if second.known_until >= one else None
    return False if math.isfinite(other) and first.known_until >= other else None


def grown_enough(trial: Trial) -> Tristate:
    """Whether ‖θ‖ has reached 100 times its initial value; None: not yet, and the run goes on."""
    if growth(trial) >= HUNDREDFOLD:
        return True
    return False if trial.last_step >= trial.horizon_steps else None


def verdict(evidence: Sweep) -> Verdict:
    """Left and middle: StableMax on three tasks. Right: the representations."""
    full = evidence.size == FULL
    by_end = "by step 100 000" if full else "by the last step"
    arms = {arm: evidence.by_seed(arm=arm) for arm in (*TASKS, *ENCODINGS)}
    claims = [
        per_seed(
            f"left, {arm}: StableMax reaches a test accuracy of .98 {by_end}",
            arms[arm].values(),
            lambda trial: reaches(trial, TEST, GROKKED, trial.horizon_steps),
            f"at most {percent(trial.largest(TEST) for trial in arms[arm].values())} in "
            f"{spread_steps(float(trial.last_step) for trial in arms[arm].values())} steps",
        )
        for arm in TASKS
    ]
    added, multiplied = arms[ADD], arms[MULTIPLY]
    claims.append(
        Claim(
            "left, multiplication is later than addition",
            tuple(later(added[seed], multiplied[seed]) for seed in added if seed in multiplied),
            f".98 first at {spread_steps(trial.first_reaching(TEST, GROKKED) for trial in added.values())} and "
            f"{spread_steps(trial.first_reaching(TEST, GROKKED) for trial in multiplied.values())}",
        )
    )
    seeds = dict.fromkeys(seed for arm in TASKS for seed in arms[arm])
    growths = ", ".join(f"{arm} {spread((growth(trial) for trial in arms[arm].values()), '.1f')}" for arm in TASKS)
    claims.append(
        Claim(
            "middle, ‖θ‖ grows throughout: it is larger after every doubling of the steps",
            tuple(every(grew_throughout(arms[arm][seed]) for arm in TASKS if seed in arms[arm]) for seed in seeds),
            f"grown by the last step by a factor of: {growths}",
        )
    )
    hundredfold = "middle, ‖θ‖ grows at least 100 times in addition and multiplication"
    if full:
        claims.append(
            Claim(
                hundredfold,
                tuple(
                    every(grown_enough(arms[arm][seed]) for arm in (ADD, MULTIPLY) if seed in arms[arm])
                    for seed in dict.fromkeys([*added, *multiplied])
                ),
                growths,
            )
        )
    else:
        claims.append(report(f"{hundredfold} (of 100 000 steps)", f"by the last step here: {growths}" if seeds else ""))
    return judge(*claims, *encoding_claims(evidence))


def encoding_claims(evidence: Sweep) -> list[Claim]:
    """Right: what each representation of the numbers comes to."""
    one_hot, binary, scalar = (evidence.where(arm=arm) for arm in ENCODINGS)
    return [
        per_seed(
            "right, binary inputs: the test accuracy reaches .95",
            binary,
            lambda trial: reaches(trial, TEST, 0.95, trial.horizon_steps),
            f"at most {percent(trial.largest(TEST) for trial in binary)}",
        ),
        per_seed(
            "right, one-hot inputs: it stays below .02",
            one_hot,
            lambda trial: stays_below(trial, TEST, 0.02),
            f"at most {percent(trial.largest(TEST) for trial in one_hot)}",
        ),
        per_seed(
            "right, a scalar for each number: training and test accuracy end within 15 points of each other",
            scalar,
            lambda trial: at_least(IN_TANDEM, abs(_last(trial, "train_accuracy") - _last(trial, TEST))),
            f"training {percent(trial.final('train_accuracy') for trial in scalar)}, "
            f"test {percent(trial.final(TEST) for trial in scalar)}",
        ),
    ]


def _last(trial: Trial, column: str) -> float:
    return trial.at(column, trial.horizon_steps)


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Accuracies of the three tasks, their ‖θ‖ over the initial value, and the representations."""
    left, middle, right = figure.subplots(1, 3)
    _draw_arms(left, evidence, TASKS, "StableMax without decay", log=True)
    if left.axison:
        mark_level(left, GROKKED)
    _draw_norms(middle, evidence)
    _draw_arms(right, evidence, ENCODINGS, "Representations, softmax", log=False)


def _draw_arms(axes: Axes, evidence: Sweep, arms: tuple[str, ...], title: str, *, log: bool) -> None:
    trials = [trial for arm in arms for trial in evidence.where(arm=arm)]
    if not trials:
        not_run(axes, f"{title}: not run")
        return
    for arm in arms:
        draw_accuracies(axes, evidence.where(arm=arm), colour=ARM_COLOURS[arm], label=arm)
    tidy(axes, title, xlabel="steps (log scale); training dashed" if log else "steps; training dashed")
    accuracy_axis(axes)
    step_axis(axes, log=log, start=10, until=max(trial.horizon_steps for trial in trials))
    legend(axes, loc="lower right" if log else "center right")


def _draw_norms(axes: Axes, evidence: Sweep) -> None:
    trials = [trial for arm in TASKS for trial in evidence.where(arm=arm)]
    if not trials:
        not_run(axes, "‖θ‖: not run")
        return
    for arm in TASKS:
        draw_band(axes, evidence.where(arm=arm), NORM, colour=ARM_COLOURS[arm], label=arm)
    tidy(axes, "Norm of the weights, ‖θ‖", xlabel="steps (log scale)")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: thousands(value)))
    axes.yaxis.set_minor_locator(NullLocator())
    step_axis(axes, log=True, start=10, until=max(trial.horizon_steps for trial in trials))


FIGURE = FigureSpec(
    name="fig04",
    title="StableMax on three tasks, the weights' growth, and the inputs' representation",
    statement="Left, middle: with StableMax and no decay addition, multiplication and sparse parity reach .98 by "
    "step 100 000, multiplication after addition; ‖θ‖ grows throughout, at least 100 times for addition and "
    "multiplication. Right: binary inputs reach .95, one-hot inputs stay below .02, and with scalars training and "
    "test accuracy end within .15.",
    space="fig04_stablemax_tasks",
    columns=("train_accuracy", "test_accuracy", "parameter_norm"),
    verdict=verdict,
    draw=draw,
    size_in=(10.6, 3.9),
)
