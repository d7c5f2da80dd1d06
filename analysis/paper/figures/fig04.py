"""Fig. 4: StableMax groks three tasks without decay while the weights grow; and what the representation decides."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from analysis.data.sweep import FULL, Sweep, Trial, paired, thousands
from analysis.drawing.bands import COLOURS, draw_band
from analysis.drawing.panels import accuracy_panel, mark_level, not_run, step_panel
from analysis.paper.claims import at_least, each_seed, precedes, reached, reaching, staying_below
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Claim, Tristate, Verdict, judge, per_seed, report
from analysis.paper.words import finals, first_steps, largest, last_steps, spread

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
    return precedes(one, other, first.known_until, second.known_until)


def verdict(evidence: Sweep) -> Verdict:
    """Left and middle: StableMax on three tasks. Right: the representations."""
    full = evidence.size == FULL
    by_end = "by step 100 000" if full else "by the last step"
    arms = {arm: evidence.by_seed(arm=arm) for arm in (*TASKS, *ENCODINGS)}
    claims = [
        reaching(
            f"left, {arm}: StableMax reaches a test accuracy of .98 {by_end}",
            trials,
            GROKKED,
            numbers=f"at most {largest(trials, TEST)} in {last_steps(trials)} steps",
        )
        for arm in TASKS
        for trials in [arms[arm].values()]
    ]
    added, multiplied = arms[ADD], arms[MULTIPLY]
    firsts = [first_steps(group.values(), TEST, GROKKED) for group in (added, multiplied)]
    growths = ", ".join(f"{arm} {spread((growth(trial) for trial in arms[arm].values()), '.1f')}" for arm in TASKS)
    claims += [
        Claim(
            "left, multiplication is later than addition",
            tuple(later(*pair) for pair in paired(added, multiplied)),
            f".98 first at {' and '.join(firsts)}",
        ),
        Claim(
            "middle, ‖θ‖ grows throughout: it is larger after every doubling of the steps",
            each_seed((arms[arm] for arm in TASKS), grew_throughout),
            f"grown by the last step by a factor of: {growths}",
        ),
    ]
    hundredfold = "middle, ‖θ‖ grows at least 100 times in addition and multiplication"
    if full:
        enough = each_seed(
            (added, multiplied), lambda trial: reached(trial, growth(trial), HUNDREDFOLD, trial.last_step)
        )
        claims.append(Claim(hundredfold, enough, growths))
    else:
        begun = any(arms[arm] for arm in TASKS)
        claims.append(report(f"{hundredfold} (of 100 000 steps)", f"by the last step here: {growths}" if begun else ""))
    return judge(*claims, *encoding_claims(evidence))


def encoding_claims(evidence: Sweep) -> list[Claim]:
    """Right: what each representation of the numbers comes to."""
    one_hot, binary, scalar = (evidence.where(arm=arm) for arm in ENCODINGS)
    return [
        reaching("right, binary inputs: the test accuracy reaches .95", binary, 0.95),
        staying_below("right, one-hot inputs: it stays below .02", one_hot, 0.02),
        per_seed(
            "right, a scalar for each number: training and test accuracy end within 15 points of each other",
            scalar,
            lambda trial: at_least(IN_TANDEM, abs(_last(trial, "train_accuracy") - _last(trial, TEST))),
            f"training {finals(scalar, 'train_accuracy')}, test {finals(scalar, TEST)}",
        ),
    ]


def _last(trial: Trial, column: str) -> float:
    return trial.at(column, trial.horizon_steps)


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Accuracies of the three tasks, their ‖θ‖ over the initial value, and the representations."""
    left, middle, right = figure.subplots(1, 3)

    def panel(axes: Axes, title: str, arms: tuple[str, ...], *, log: bool = True) -> bool:
        groups = {arm: (evidence.where(arm=arm), ARM_COLOURS[arm]) for arm in arms}
        xlabel = f"steps{' (log scale)' if log else ''}; training dashed"
        at = (0.3, 0.12) if log else "center right"
        return accuracy_panel(axes, title, groups, log=log, xlabel=xlabel, legend_at=at)

    if panel(left, "StableMax without decay", TASKS):
        mark_level(left, GROKKED)
    _draw_norms(middle, evidence)
    panel(right, "Representations, softmax", ENCODINGS, log=False)


def _draw_norms(axes: Axes, evidence: Sweep) -> None:
    trials = evidence.where(arm=TASKS)
    if not trials:
        not_run(axes, "‖θ‖: not run")
        return
    for arm in TASKS:
        draw_band(axes, evidence.where(arm=arm), NORM, colour=ARM_COLOURS[arm], label=arm)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: thousands(value)))
    axes.yaxis.set_minor_locator(NullLocator())
    step_panel(axes, "Norm of the weights, ‖θ‖", trials)


FIGURE = FigureSpec(
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
