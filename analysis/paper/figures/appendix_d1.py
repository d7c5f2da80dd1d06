"""App. D.1: L1 regularisation, in an MLP and in a transformer."""

import math

from matplotlib.figure import SubFigure

from analysis.data.sweep import Sweep
from analysis.drawing.panels import accuracy_panel, legend, shades
from analysis.paper.claims import time_of
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Verdict, judge, report
from analysis.paper.words import largest, spread_steps

MLP, TRANSFORMER = "appendix_d1_mlp", "appendix_d1_transformer"
MODELS = {MLP: "MLP", TRANSFORMER: "transformer"}
"""The spaces, and what each of them trains."""


def verdict(evidence: Sweep) -> Verdict:
    """The statement names no threshold: the times are reported."""
    return judge(
        *(
            report(f"{model}: steps to a test accuracy of .95 by λ", times(evidence, space))
            for space, model in MODELS.items()
        )
    )


def times(evidence: Sweep, space: str) -> str:
    """``0: never (best 4 %); 1e-05: 420 [400, 450]; ...``; with the rows' best accuracies where none came."""
    words = []
    for strength in evidence.numbers("strength"):
        trials = evidence.where(space=space, strength=strength)
        if trials:
            came = [time_of(trial, "t_gen") for trial in trials]
            text = spread_steps(came)
            if not any(math.isfinite(time) for time in came):
                test, train = largest(trials, "test_accuracy"), largest(trials, "train_accuracy")
                text += f" (best test {test}, training {train})"
            words.append(f"{strength:g}: {text}")
    return "; ".join(words)


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """A panel a model: training (dashed) and test accuracy over λ."""
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (space, model) in zip(panels, MODELS.items(), strict=True):
        groups = shades(evidence, "strength", "λ = {:g}", space=space)
        title, ylabel = f"{model}; training dashed", "accuracy" if space == MLP else ""
        if accuracy_panel(axes, title, groups, name=model, start=5, level=0.95, ylabel=ylabel):
            legend(axes, loc="center left", bbox_to_anchor=(0.26 if space == MLP else 0.0, 0.5))


FIGURE = FigureSpec(
    title="L1 regularisation, MLP and transformer",
    statement="No threshold is claimed: the time to generalise over the strength of an L1 penalty is reported.",
    space=(MLP, TRANSFORMER),
    verdict=verdict,
    draw=draw,
)
