"""Fig. 10: the fraction of weights that absorb their update, under SGD."""

import math

from matplotlib.figure import SubFigure

from analysis.data.sweep import Sweep, Trial
from analysis.drawing.bands import COLOURS, draw_band
from analysis.drawing.panels import mark_event, step_panel
from analysis.paper.claims import reached
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Tristate, Verdict, judge, per_seed, report
from analysis.paper.words import finals, spread, spread_steps

ABSORBED, ZERO = "absorbed_fraction", "zero_gradient_fraction"
GROWTH, CHANGE = 3.0, 0.2


def since_memorising(trial: Trial, column: str) -> float:
    """The last value of a fraction over the one at t_mem; NaN where either is unknown, or the first is 0."""
    start = trial.at(column, trial.time("t_mem"))
    return trial.final(column) / start if start > 0 else math.nan


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
        start = spread((trial.at(column, trial.time("t_mem")) for trial in trials), ".4f")
        factor = spread((since_memorising(trial, column) for trial in trials), ".2f")
        memorised = spread_steps(time for trial in trials if math.isfinite(time := trial.time("t_mem")))
        return f"{start} at t_mem ({memorised}), {finals(trials, column, '.4f')} at the end: a factor of {factor}"

    return judge(
        per_seed(
            "the fraction of absorbed updates (exact zeros among them) grows at least 3-fold from t_mem on",
            trials,
            lambda trial: reached(trial, since_memorising(trial, ABSORBED), GROWTH),
            words(ABSORBED),
        ),
        per_seed(
            "the fraction of exact zeros changes by less than 20 % of itself meanwhile", trials, stayed, words(ZERO)
        ),
        report(
            "absorbed updates that are not exactly zero",
            f"{spread((rounded_away(trial, trial.time('t_mem')) for trial in trials), '.4f')} of the weights at t_mem, "
            f"{spread((rounded_away(trial, trial.last_step) for trial in trials), '.4f')} at the end",
        ),
    )


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Left: both fractions; right: the norm of the gradient."""
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
    trials = evidence.where()
    draw_band(left, trials, ABSORBED, colour=COLOURS[0], label="absorbed: w − ηg = w")
    draw_band(left, trials, ZERO, colour=COLOURS[5], label="gradient exactly 0")
    draw_band(right, trials, "gradient_norm", colour=COLOURS[6])
    right.set_yscale("log")
    step_panel(left, "Fraction of the weights", trials, legend_at="upper right")
    step_panel(right, "Norm of the gradient", trials)
    left.set_ylim(bottom=0)
    mark_event(left, trials, "t_mem", "memorised")
    mark_event(right, trials, "t_mem", "")


FIGURE = FigureSpec(
    title="Updates that the weights absorb, under SGD",
    statement="Once an MLP has memorised 30 % of the pairs, the fraction of weights that absorb their SGD update grows "
    "at least 3-fold, while the fraction whose gradient is exactly 0 changes by less than 20 % of itself.",
    space="fig10_absorbed_updates",
    columns=("train_accuracy", "test_accuracy", ABSORBED, ZERO, "gradient_norm"),
    verdict=verdict,
    draw=draw,
)
