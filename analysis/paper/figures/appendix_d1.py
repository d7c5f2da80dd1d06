"""App. D.1: L1 regularisation, in an MLP and in a transformer."""

import math

from matplotlib.figure import SubFigure

from analysis.data.sweep import Sweep
from analysis.drawing.bands import accuracy_axis, draw_accuracies, legend, mark_level, not_run, ramp, step_axis, tidy
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Verdict, judge, percent, report, spread_steps, time_of

MLP, TRANSFORMER = "appendix_d1_mlp", "appendix_d1_transformer"
MODELS = {MLP: "MLP", TRANSFORMER: "transformer"}
"""The spaces, and what each of them trains."""


def strengths(evidence: Sweep) -> list[float]:
    """Every λ of the sweep, ascending."""
    return sorted(float(value) for value in evidence.values("strength"))


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
    for strength in strengths(evidence):
        trials = evidence.where(space=space, strength=strength)
        if trials:
            came = [time_of(trial, "t_gen") for trial in trials]
            text = spread_steps(came)
            if not any(math.isfinite(time) for time in came):
                text += (
                    f" (best test {percent(trial.largest('test_accuracy') for trial in trials)}, "
                    f"training {percent(trial.largest('train_accuracy') for trial in trials)})"
                )
            words.append(f"{strength:g}: {text}")
    return "; ".join(words)


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """A panel a model: training (dashed) and test accuracy over λ."""
    panels = figure.subplots(1, 2, sharey=True)
    listed = strengths(evidence)
    for axes, (space, model) in zip(panels, MODELS.items(), strict=True):
        trials = evidence.where(space=space)
        if not trials:
            not_run(axes, f"{model}: not run")
            continue
        for strength, colour in zip(listed, ramp(len(listed)), strict=True):
            some = evidence.where(space=space, strength=strength)
            draw_accuracies(axes, some, colour=colour, label=f"λ = {strength:g}")
        tidy(axes, f"{model}; training dashed", xlabel="steps (log scale)", ylabel="accuracy" if space == MLP else "")
        accuracy_axis(axes)
        step_axis(axes, log=True, start=5, until=max(trial.horizon_steps for trial in trials))
        mark_level(axes, 0.95)
        legend(axes, loc="center left", bbox_to_anchor=(0.26 if space == MLP else 0.0, 0.5))


FIGURE = FigureSpec(
    name="appendix_d1",
    title="L1 regularisation, MLP and transformer",
    statement="No threshold is claimed: the time to generalise over the strength of an L1 penalty is reported.",
    space=(MLP, TRANSFORMER),
    columns=("train_accuracy", "test_accuracy"),
    verdict=verdict,
    draw=draw,
)
