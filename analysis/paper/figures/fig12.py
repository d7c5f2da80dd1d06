"""Fig. 12: the Fourier spectrum of the output weights of a network that has grokked with StableMax."""

import numpy as np
from matplotlib.figure import SubFigure

from analysis.data.sweep import Sweep, Trial
from analysis.drawing.bands import COLOURS, accuracy_axis, draw_band, legend, mark_level, not_run, step_axis, tidy
from analysis.drawing.style import GEN_COLOUR
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Tristate, Verdict, judge, per_seed, percent, report, spread

LARGEST_P = 113
POWERS = tuple(f"fourier_output.power_{k}" for k in range(1, LARGEST_P // 2 + 1))
TOP, GINI, IPR = (f"fourier_output.{name}" for name in ("top10_share", "gini", "ipr"))
SHARE = 0.8


def concentrated(trial: Trial) -> Tristate:
    """Whether a tenth of the frequencies hold enough of the power at the end; None for a run before its end."""
    share = trial.final(TOP)
    if share >= SHARE:
        return True
    return False if share < SHARE and trial.known_until >= trial.horizon_steps else None


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
            concentrated,
            f"the strongest 10 % (rounded up) hold {percent(trial.final(TOP) for trial in trials)}, at step 0 "
            f"{percent(_first(trial, TOP) for trial in trials)}; test accuracy at the end "
            f"{percent(trial.final('test_accuracy') for trial in trials)}",
        ),
        report(
            "concentration by other measures",
            f"Gini coefficient {spread((_first(trial, GINI) for trial in trials), '.2f')} to "
            f"{spread((trial.final(GINI) for trial in trials), '.2f')}, inverse participation ratio "
            f"{spread((_first(trial, IPR) for trial in trials), '.3f')} to "
            f"{spread((trial.final(IPR) for trial in trials), '.3f')}",
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
    tidy(right, "Concentration and generalisation")
    accuracy_axis(right)
    mark_level(right, SHARE)
    step_axis(right, log=True, start=1, until=max(trial.horizon_steps for trial in trials))
    legend(right, loc="upper left")


FIGURE = FigureSpec(
    name="fig12",
    title="Fourier spectrum of the output weights after grokking with StableMax",
    statement="After grokking with StableMax and without weight decay at most 10 % of the frequencies hold at least "
    "80 % of the power of the output weights' discrete Fourier transform over the classes.",
    space="fig12_fourier",
    columns=("train_accuracy", "test_accuracy", TOP, GINI, IPR, *POWERS),
    verdict=verdict,
    draw=draw,
)
