"""Fig. 6b: ⊥AdamW and ⊥SGD against AdamW on an MLP, addition mod 113."""

from matplotlib.figure import SubFigure

from analysis.data.sweep import Sweep
from analysis.drawing.bands import COLOURS
from analysis.drawing.panels import accuracy_panel, arms
from analysis.paper.claims import reaching, staying_below
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Verdict, judge
from analysis.paper.words import first_steps, largest, last_steps

ORTHOGONAL_ADAMW, ORTHOGONAL_SGD, PLAIN = ARMS = "⊥AdamW", "⊥SGD, StableMax", "AdamW"
ARM_COLOURS = dict(zip(ARMS, (COLOURS[1], COLOURS[2], COLOURS[0]), strict=True))
TEST = "test_accuracy"


def verdict(evidence: Sweep) -> Verdict:
    """Each arm against its own bound; the plain one as far as it was followed, as the statement says."""
    adamw, sgd, plain = (evidence.where(arm=arm) for arm in ARMS)
    return judge(
        reaching(
            "⊥SGD with StableMax has a test accuracy of .99 by step 420",
            sgd,
            0.99,
            by=420,
            numbers=f"first at {first_steps(sgd, TEST, 0.99)}",
        ),
        reaching(
            "⊥AdamW has .95 by step 250", adamw, 0.95, by=250, numbers=f"first at {first_steps(adamw, TEST, 0.95)}"
        ),
        staying_below(
            "AdamW without decay stays below .05",
            plain,
            0.05,
            numbers=f"at most {largest(plain, TEST)} in {last_steps(plain)} steps",
        ),
    )


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Training (dashed) and test accuracy of every arm."""
    groups = arms(evidence, ARM_COLOURS)
    title = "Test accuracy; training dashed"
    accuracy_panel(figure.subplots(), title, groups, log=False, start=1, level=0.95, legend_at=(0.7, 0.1))


FIGURE = FigureSpec(
    title="⊥AdamW, ⊥SGD and AdamW on an MLP, addition mod 113",
    statement="⊥SGD with StableMax has a test accuracy of .99 by step 420, ⊥AdamW .95 by step 250; AdamW without "
    "decay stays below .05.",
    space="fig06b_orthograd_mlp",
    verdict=verdict,
    draw=draw,
    size_in=(7.6, 4.0),
)
