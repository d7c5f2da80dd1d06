"""Fig. 6c: SGD with weight decay; the cross-entropy against ½λ‖θ‖², and where the weights' norm turns."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from matplotlib.figure import SubFigure

from analysis.data.sweep import Sweep, Trial
from analysis.drawing.bands import COLOURS, draw_band
from analysis.drawing.panels import step_panel
from analysis.drawing.style import GEN_COLOUR, MEM_COLOUR
from analysis.paper.claims import between
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Claim, Tristate, Verdict, judge
from analysis.paper.words import finals, percent, spread_steps

NEAR = 0.1
"""How far apart the two turns may be, as a share of the test loss's."""
TURNED = 0.01
"""A largest value counts as a turn when what follows falls below it by this share."""


def turn(trial: Trial, column: str) -> float:
    """The step of a column's largest value, where it rose to it and has fallen since; infinite: it never rose or never
    fell in the whole run; NaN: not in what was run so far."""
    steps, values = trial.measured(column)
    if not len(steps):
        return math.nan
    top = int(values.argmax())
    rose = top > 0 and values[top] > (1 + TURNED) * values[0]
    fell = values[-1] < (1 - TURNED) * values[top]
    if rose and fell:
        return float(steps[top])
    return math.inf if trial.last_step >= trial.horizon_steps else math.nan


def apart(trial: Trial) -> float:
    """How much later the norm turns than the test loss, as a share of the latter's step."""
    norm, test = turn(trial, "parameter_norm"), turn(trial, "test_loss")
    if math.isinf(norm) or math.isinf(test):
        return math.inf
    return (norm - test) / test


def happens(step: float) -> Tristate:
    """Whether it turns; None where the run is too short to tell."""
    return None if math.isnan(step) else math.isfinite(step)


def verdict(evidence: Sweep) -> Verdict:
    """The norm turns; and close to where the test loss does."""
    trials = evidence.where()
    norms = [turn(trial, "parameter_norm") for trial in trials]
    tests = [turn(trial, "test_loss") for trial in trials]
    distances = [apart(trial) for trial in trials]
    return judge(
        Claim(
            "‖θ‖² rises, then falls",
            tuple(happens(step) for step in norms),
            f"largest at step {spread_steps(norms)}; test accuracy at the end {finals(trials, 'test_accuracy')}",
        ),
        Claim(
            "it turns within 10 % of the step at which the test loss turns",
            tuple(between(distance, -NEAR, NEAR) for distance in distances),
            f"the test loss is largest at step {spread_steps(tests)}; the norm's turn is later by "
            f"{percent(distance for distance in distances if math.isfinite(distance))} of that",
        ),
    )


def with_shown(trial: Trial) -> Trial:
    """The trial with ½λ‖θ‖² beside its curves, and ‖θ‖ and the test loss as shares of their largest values.

    λ is its optimizer's weight decay.
    """
    optimizer = trial.config.get("optimizer", {})
    decay = float(optimizer.get("weight_decay", 0.0)) if isinstance(optimizer, Mapping) else 0.0
    shown = {"penalty": decay / 2 * np.square(trial.curves["parameter_norm"])}
    for column in ("parameter_norm", "test_loss"):
        shown[f"{column}_share"] = trial.curves[column] / trial.largest(column)
    return replace(trial, curves={**trial.curves, **shown})


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Left: cross-entropy and ½λ‖θ‖²; right: the norm and the test loss over their largest values."""
    left, right = figure.subplots(1, 2)
    trials = [with_shown(trial) for trial in evidence.where()]
    draw_band(left, trials, "train_loss", colour=MEM_COLOUR, label="cross-entropy, training")
    draw_band(left, trials, "penalty", colour=COLOURS[2], label="½λ‖θ‖²")
    left.set_yscale("log")
    draw_band(right, trials, "parameter_norm_share", colour=COLOURS[2], label="‖θ‖")
    draw_band(right, trials, "test_loss_share", colour=GEN_COLOUR, label="test loss")
    for trial in trials:
        for column, colour in (("parameter_norm", COLOURS[2]), ("test_loss", GEN_COLOUR)):
            if math.isfinite(step := turn(trial, column)):
                right.plot([step], [1.0], marker="o", ms=6, mfc="white", mec=colour, mew=1.5, ls="", zorder=5)
    step_panel(left, "The loss and its penalty", trials, ylabel="loss (log scale)", legend_at=(0.02, 0.22))
    step_panel(right, "Where they turn", trials, ylabel="share of the largest value", legend_at="lower left")


FIGURE = FigureSpec(
    title="The trade-off between weight decay and cross-entropy, SGD",
    statement="With SGD and weight decay ‖θ‖² rises, then falls; it turns within 10 % of the step at which the test "
    "loss turns.",
    space="fig06c_sgd_with_decay",
    columns=("train_loss", "test_loss", "train_accuracy", "test_accuracy", "parameter_norm"),
    verdict=verdict,
    draw=draw,
)
