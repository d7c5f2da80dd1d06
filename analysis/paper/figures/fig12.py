"""Fig. 12: the Fourier spectrum of the output weights of a network that has grokked with StableMax."""

import math

import numpy as np
from matplotlib.figure import SubFigure

from analysis.data.sweep import Sweep, Trial
from analysis.drawing.bands import COLOURS, draw_band
from analysis.drawing.panels import legend, mark_level, not_run, step_panel, tidy
from analysis.drawing.style import GEN_COLOUR
from analysis.paper.claims import reached
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Verdict, judge, per_seed, report
from analysis.paper.words import finals, percent, spread

LARGEST_P = 113
POWERS = tuple(f"fourier_output.power_{k}" for k in range(1, LARGEST_P // 2 + 1))
TOP, GINI, IPR = (f"fourier_output.{name}" for name in ("top10_share", "gini", "ipr"))
SHARE = 0.8


def spectrum(trial: Trial, place: int) -> tuple[np.ndarray, np.ndarray]:
    """The frequencies and their shares of the power at a trial's first (0) or last (-1) look at them."""
    shares = []
    for column in POWERS:
        values = trial.measured(column)[1]
        if len(values):
            shares.append(values[place])
    return np.arange(1, len(shares) + 1), np.array(shares)


def verdict(evidence: Sweep) -> Verdict:
    """The share of the strongest tenth of the frequencies, at the last look."""
    trials = evidence.where()
    return judge(
        per_seed(
            "at the end at most 10 % of the frequencies hold at least 80 % of the power of the output weights",
            trials,
            lambda trial: None if math.isnan(share := trial.final(TOP)) else reached(trial, share, SHARE),
            f"the strongest 10 % (rounded up) hold {finals(trials, TOP)}, at step 0 "
            f"{percent(_first(trial, TOP) for trial in trials)}; test accuracy at the end "
            f"{finals(trials, 'test_accuracy')}",
        ),
        report(
            "concentration by other measures",
            f"Gini coefficient {spread((_first(trial, GINI) for trial in trials), '.2f')} to "
            f"{finals(trials, GINI, '.2f')}, inverse participation ratio "
            f"{spread((_first(trial, IPR) for trial in trials), '.3f')} to {finals(trials, IPR, '.3f')}",
        ),
    )


def _first(trial: Trial, column: str) -> float:
    values = trial.measured(column)[1]
    return float(values[0]) if len(values) else float("nan")


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Left: one seed's spectrum before and after; right: how it concentrates while the network generalises."""
    left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
    trials = evidence.where()
    frequencies, after = spectrum(trials[0], -1)
    if len(after):
        left.bar(frequencies, after, width=0.8, color=COLOURS[2], zorder=3, label="at the end")
        left.step(frequencies, spectrum(trials[0], 0)[1], where="mid", color=COLOURS[5], lw=1.3, zorder=4,
                  label="at step 0")  # fmt: skip
        tidy(left, f"Share of the Fourier power, seed {trials[0].seed}", xlabel="frequency")
        legend(left, loc="upper right")
    else:
        not_run(left)
    draw_band(right, trials, TOP, colour=COLOURS[2], label="strongest 10 % of the frequencies")
    draw_band(right, trials, GINI, colour=COLOURS[6], label="Gini coefficient")
    draw_band(right, trials, "test_accuracy", colour=GEN_COLOUR, label="test accuracy")
    title = "Concentration and generalisation"
    step_panel(right, title, trials, start=1, accuracy=True, xlabel="steps", legend_at="upper left")
    mark_level(right, SHARE)


FIGURE = FigureSpec(
    title="Fourier spectrum of the output weights after grokking with StableMax",
    statement="After grokking with StableMax and without weight decay at most 10 % of the frequencies hold at least "
    "80 % of the power of the output weights' discrete Fourier transform over the classes.",
    space="fig12_fourier",
    columns=("train_accuracy", "test_accuracy", TOP, GINI, IPR, *POWERS),
    verdict=verdict,
    draw=draw,
)
