"""Fig. 6a: ⊥AdamW against AdamW with and without weight decay on a transformer."""

from matplotlib.figure import SubFigure

from analysis.data.sweep import FULL, Sweep, Trial, paired
from analysis.drawing.bands import COLOURS
from analysis.drawing.panels import accuracy_panel, arms
from analysis.paper.claims import precedes, reaching, staying_below
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Claim, Tristate, Verdict, judge
from analysis.paper.words import spread_steps

ORTHOGONAL, DECAY, PLAIN = ARMS = "⊥AdamW", "AdamW, decay 1.5", "AdamW"
ARM_COLOURS = dict(zip(ARMS, (COLOURS[1], COLOURS[2], COLOURS[0]), strict=True))
TASKS = {"ModularAddition": "addition", "ModularSubtraction": "subtraction"}
TEST = "test_accuracy"
GENERALISED = 0.95
BY = 2000
"""The step by which the decay arm generalises and the plain one does not."""


def sooner(first: Trial, second: Trial) -> Tristate:
    """Whether the first generalises before the second; None where neither has so far."""
    one, other = (trial.time("t_gen", GENERALISED) for trial in (first, second))
    before = precedes(one, other, first.known_until, second.known_until)
    whole = all(trial.known_until >= trial.horizon_steps for trial in (first, second))
    return False if before is None and whole else before


def verdict(evidence: Sweep) -> Verdict:
    """Each task by itself: ⊥AdamW sooner than decay, decay in time, and no generalisation without either."""
    full = evidence.size == FULL
    by_end = f"by step {BY}" if full else "by the last step"
    claims = []
    for task, word in TASKS.items():
        ours, decay, plain = (evidence.by_seed(arm=arm, task=task) for arm in ARMS)
        times = [spread_steps(trial.time("t_gen", GENERALISED) for trial in arm.values()) for arm in (ours, decay)]
        claims += [
            Claim(
                f"{word}: ⊥AdamW reaches a test accuracy of .95 before AdamW with decay",
                tuple(sooner(*pair) for pair in paired(ours, decay)),
                f"t95 of ⊥AdamW {times[0]}, with decay {times[1]}",
            ),
            reaching(
                f"{word}: AdamW with decay 1.5 reaches .95 {by_end}", decay.values(), GENERALISED, BY if full else None
            ),
            staying_below(
                f"{word}: AdamW without decay is below .05 {by_end}", plain.values(), 0.05, BY if full else None
            ),
        ]
    return judge(*claims)


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """A panel for each task; training accuracy dashed."""
    for axes, (task, word) in zip(figure.subplots(1, 2, sharey=True), TASKS.items(), strict=True):
        groups = arms(evidence, ARM_COLOURS, task=task)
        p = next((trial.config.get("task", {}).get("p", 113) for trial in evidence.where(task=task)), "")
        xlabel = "steps (log scale); training dashed"
        accuracy_panel(
            axes, f"{word} mod {p}", groups, name=word, level=GENERALISED, xlabel=xlabel, legend_at=(0.01, 0.62)
        )


FIGURE = FigureSpec(
    title="⊥AdamW, AdamW with decay and AdamW on a transformer",
    statement="On addition and on subtraction ⊥AdamW reaches a test accuracy of .95 before AdamW with decay 1.5 does, "
    "which does by step 2000; AdamW without decay is below .05 at step 2000.",
    space="fig06a_orthograd_transformer",
    verdict=verdict,
    draw=draw,
)
