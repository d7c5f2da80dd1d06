"""Fig. 6b: ⊥AdamW and ⊥SGD against AdamW on an MLP, addition mod 113."""

from matplotlib.figure import SubFigure

from analysis.data.sweep import Sweep
from analysis.drawing.bands import COLOURS, accuracy_axis, draw_accuracies, legend, mark_level, step_axis, tidy
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Verdict, judge, per_seed, percent, reaches, spread_steps, stays_below

ORTHOGONAL_ADAMW, ORTHOGONAL_SGD, PLAIN = ARMS = "⊥AdamW", "⊥SGD, StableMax", "AdamW"
ARM_COLOURS = dict(zip(ARMS, (COLOURS[1], COLOURS[2], COLOURS[0]), strict=True))
TEST = "test_accuracy"


def verdict(evidence: Sweep) -> Verdict:
    """Each arm against its own bound; the plain one as far as it was followed, which is what the statement names."""
    adamw, sgd, plain = (evidence.where(arm=arm) for arm in ARMS)
    return judge(
        per_seed(
            "⊥SGD with StableMax has a test accuracy of .99 by step 420",
            sgd,
            lambda trial: reaches(trial, TEST, 0.99, 420),
            f"first at {spread_steps(trial.first_reaching(TEST, 0.99) for trial in sgd)}",
        ),
        per_seed(
            "⊥AdamW has .95 by step 250",
            adamw,
            lambda trial: reaches(trial, TEST, 0.95, 250),
            f"first at {spread_steps(trial.first_reaching(TEST, 0.95) for trial in adamw)}",
        ),
        per_seed(
            "AdamW without decay stays below .05",
            plain,
            lambda trial: stays_below(trial, TEST, 0.05),
            f"at most {percent(trial.largest(TEST) for trial in plain)} in "
            f"{spread_steps(float(trial.last_step) for trial in plain)} steps",
        ),
    )


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Training (dashed) and test accuracy of every arm."""
    axes = figure.subplots()
    for arm, colour in ARM_COLOURS.items():
        draw_accuracies(axes, evidence.where(arm=arm), colour=colour, label=arm)
    tidy(axes, "Test accuracy; training dashed")
    accuracy_axis(axes)
    step_axis(axes, log=False, until=max(trial.horizon_steps for trial in evidence.where()))
    mark_level(axes, 0.95)
    legend(axes, loc=(0.7, 0.1))


FIGURE = FigureSpec(
    name="fig06b",
    title="⊥AdamW, ⊥SGD and AdamW on an MLP, addition mod 113",
    statement="⊥SGD with StableMax has a test accuracy of .99 by step 420, ⊥AdamW .95 by step 250; AdamW without "
    "decay stays below .05.",
    space="fig06b_orthograd_mlp",
    columns=("train_accuracy", "test_accuracy"),
    verdict=verdict,
    draw=draw,
    size_in=(7.6, 4.0),
)
