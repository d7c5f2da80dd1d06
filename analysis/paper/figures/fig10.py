"""Fig. 10: the fraction of weights that absorb their update, under SGD."""

import math

from matplotlib.figure import SubFigure

from analysis.data.sweep import Sweep, Trial
from analysis.drawing.bands import COLOURS, draw_band, legend, mark_step, step_axis, tidy
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Tristate, Verdict, judge, per_seed, report, spread, spread_steps

ABSORBED, ZERO = "absorbed_fraction", "zero_gradient_fraction"
GROWTH, CHANGE = 3.0, 0.2


def t_mem(trial: Trial) -> float:
    """The first measurement of a sustained training accuracy of .99; NaN: not so far."""
    event = trial.event("t_mem")
    return event.high_steps if event.occurred else math.nan


def since_memorising(trial: Trial, column: str) -> float:
    """The last value of a fraction over the one at t_mem; NaN where either is unknown, or the first is 0."""
    start = trial.at(column, t_mem(trial))
    return trial.final(column) / start if start > 0 else math.nan


def grew(trial: Trial) -> Tristate:
    """Whether absorption has grown enough; a run that is not at its end may still do so."""
    ratio = since_memorising(trial, ABSORBED)
    if ratio >= GROWTH:
        return True
    return False if trial.known_until >= trial.horizon_steps else None


def stayed(trial: Trial) -> Tristate:
    """Whether the exact zeros are about as many at the end of the run as when it had memorised."""
    ratio = since_memorising(trial, ZERO)
    if math.isnan(ratio) or trial.known_until < trial.horizon_steps:
        return None
    return abs(ratio - 1) < CHANGE


def rounded_away(trial: Trial, step: float) -> float:
    """The fraction of the weights whose update is not exactly 0 and is absorbed."""
    return trial.at(ABSORBED, step) - trial.at(ZERO, step)


def verdict(evidence: Sweep) -> Verdict:
    """Both fractions at the end against those at memorising, seed by seed."""
    trials = evidence.where()

    def words(column: str) -> str:
        return (
            f"{spread((trial.at(column, t_mem(trial)) for trial in trials), '.4f')} at t_mem "
            f"({spread_steps(map(t_mem, trials))}), {spread((trial.final(column) for trial in trials), '.4f')} at the "
            f"end: a factor of {spread((since_memorising(trial, column) for trial in trials), '.2f')}"
        )

    return judge(
        per_seed(
            "the fraction of absorbed updates (exact zeros among them) grows at least 3-fold from t_mem on",
            trials,
            grew,
            words(ABSORBED),
        ),
        per_seed(
            "the fraction of exact zeros changes by less than 20 % of itself meanwhile", trials, stayed, words(ZERO)
        ),
        report(
            "absorbed updates that are not exactly zero",
            f"{spread((rounded_away(trial, t_mem(trial)) for trial in trials), '.4f')} of the weights at t_mem, "
            f"{spread((rounded_away(trial, trial.last_step) for trial in trials), '.4f')} at the end",
        ),
    )


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Left: both fractions; right: the norm of the gradient."""
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
    trials = evidence.where()
    draw_band(left, trials, ABSORBED, colour=COLOURS[0], label="absorbed: w − ηg = w")
    draw_band(left, trials, ZERO, colour=COLOURS[5], label="gradient exactly 0")
    tidy(left, "Fraction of the weights", xlabel="steps (log scale)")
    left.set_ylim(bottom=0)
    draw_band(right, trials, "gradient_norm", colour=COLOURS[6])
    tidy(right, "Norm of the gradient", xlabel="steps (log scale)")
    right.set_yscale("log")
    memorised = [step for step in map(t_mem, trials) if not math.isnan(step)]
    for axes in (left, right):
        step_axis(axes, log=True, start=10, until=max(trial.horizon_steps for trial in trials))
        if memorised:
            mark_step(axes, sorted(memorised)[len(memorised) // 2], "memorised" if axes is left else "")
    legend(left, loc="upper right")


FIGURE = FigureSpec(
    name="fig10",
    title="Updates that the weights absorb, under SGD",
    statement="Once an MLP has memorised 30 % of the pairs, the fraction of weights that absorb their SGD update grows "
    "at least 3-fold, while the fraction whose gradient is exactly 0 changes by less than 20 % of itself.",
    space="fig10_absorbed_updates",
    columns=("train_accuracy", "test_accuracy", ABSORBED, ZERO, "gradient_norm"),
    verdict=verdict,
    draw=draw,
)
