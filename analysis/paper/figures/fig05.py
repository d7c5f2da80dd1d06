"""Fig. 5: how much of each tensor's update is naive loss minimisation, in MLPs and in a transformer."""

import math

from matplotlib.figure import SubFigure

from analysis.data.sweep import Sweep, Trial
from analysis.drawing.bands import COLOURS, draw_band
from analysis.drawing.panels import legend, mark_event, mark_level, not_run, step_panel
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Claim, Tristate, Verdict, judge, report
from analysis.paper.words import spread, spread_steps

ARMS = {"5a": "MLP with bias", "5b": "MLP without bias", "5c": "transformer"}
OUTPUT = {"5a": "weight_2", "5b": "weight_2", "5c": "unembed"}
"""The output layer's weights."""
MLP_TENSORS = ("weight_0", "weight_1", "weight_2", "bias_0", "bias_1", "bias_2")
TRANSFORMER_TENSORS = ("embed", "unembed", "feed_in", "feed_out")
"""Those that the paper's panel c shows."""
GRADIENT, UPDATE = "alignment_gradient", "alignment_update"
ALIGNED = 0.8
WITHIN = 500
"""Steps after memorising by which the output layer is aligned."""


def largest_after(trial: Trial, column: str) -> float:
    """The largest cosine measured from memorising to 500 steps later; NaN where there is none."""
    start = trial.time("t_mem")
    steps, values = trial.measured(column)
    later = values[(steps >= start) & (steps <= start + WITHIN)]
    return float(later.max()) if len(later) else math.nan


def aligned(trial: Trial, column: str) -> Tristate:
    """Whether a cosine reaches .8 between memorising and 500 steps later; None: not followed so far."""
    if largest_after(trial, column) >= ALIGNED:
        return True
    return False if trial.last_step >= trial.time("t_mem") + WITHIN else None


def verdict(evidence: Sweep) -> Verdict:
    """The output layer of each model: its alignment with -g is judged, that with the update is reported."""
    claims = []
    for panel, model in ARMS.items():
        trials, name = evidence.where(arm=panel), OUTPUT[panel]
        gradients = spread(largest_after(trial, f"{GRADIENT}.{name}") for trial in trials)
        memorised = spread_steps(trial.time("t_mem") for trial in trials)
        claims.append(
            Claim(
                f"{panel}, {model}: the output layer's alignment with -g reaches .8 by 500 steps after t_mem",
                tuple(aligned(trial, f"{GRADIENT}.{name}") for trial in trials),
                f"at most {gradients} there; memorised at {memorised}",
            )
        )
        if trials:
            updates = spread(largest_after(trial, f"{UPDATE}.{name}") for trial in trials)
            claims.append(
                report(f"{panel}, {model}: its alignment with the optimizer's update", f"at most {updates} there")
            )
    return judge(*claims)


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """A panel for each model: each tensor's cosine with -g; the output layer's with the update dashed."""
    for index, (axes, (panel, model)) in enumerate(zip(figure.subplots(1, 3, sharey=True), ARMS.items(), strict=True)):
        trials = evidence.where(arm=panel)
        if not trials:
            not_run(axes, f"{model}: not run")
            continue
        tensors = TRANSFORMER_TENSORS if panel == "5c" else MLP_TENSORS
        for name, colour in zip(tensors, COLOURS, strict=False):
            draw_band(axes, trials, f"{GRADIENT}.{name}", colour=colour, label=words(name))
        output = COLOURS[tensors.index(OUTPUT[panel])]
        draw_band(axes, trials, f"{UPDATE}.{OUTPUT[panel]}", colour=output, dashed=True, width=1.3,
                  label=f"{words(OUTPUT[panel])}, update")  # fmt: skip
        step_panel(axes, f"{panel}  {model}", trials, ylabel="cosine of θ with -g" if index == 0 else "")
        axes.set_ylim(-0.85, 1.03)
        mark_level(axes, ALIGNED)
        mark_event(axes, trials, "t_mem")
        legend(axes, loc="lower right", fontsize=7.5)


def words(name: str) -> str:
    """A parameter's name for the legend: ``weight 2``."""
    return name.replace("_", " ")


FIGURE = FigureSpec(
    title="Alignment of the gradient with naive loss minimisation, tensor by tensor",
    statement="In an MLP with and without bias and in a transformer the output layer's alignment with the direction "
    "of naive loss minimisation is at least .8 by 500 steps after t_mem.",
    space=("fig05_alignment_mlp", "fig05_alignment_transformer"),
    columns=(
        "train_accuracy",
        "test_accuracy",
        *(f"{GRADIENT}.{name}" for name in (*MLP_TENSORS, *TRANSFORMER_TENSORS)),
        *(f"{UPDATE}.{name}" for name in ("weight_2", "unembed")),
    ),
    verdict=verdict,
    draw=draw,
    size_in=(10.4, 3.9),
)
