"""Fig. 6a: ⊥AdamW against AdamW with and without weight decay on a transformer."""

import math

from matplotlib.figure import SubFigure

from analysis.data.sweep import FULL, Sweep, Trial
from analysis.drawing.bands import COLOURS, accuracy_axis, draw_accuracies, legend, mark_level, not_run, step_axis, tidy
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import (
    Claim,
    Tristate,
    Verdict,
    judge,
    per_seed,
    percent,
    reaches,
    spread_steps,
    stays_below,
)

ORTHOGONAL, DECAY, PLAIN = ARMS = "⊥AdamW", "AdamW, decay 1.5", "AdamW"
ARM_COLOURS = dict(zip(ARMS, (COLOURS[1], COLOURS[2], COLOURS[0]), strict=True))
TASKS = {"ModularAddition": "addition", "ModularSubtraction": "subtraction"}
TEST = "test_accuracy"
GENERALISED = 0.95
BY = 2000
"""The step by which the decay arm generalises and the plain one does not."""


def t95(trial: Trial) -> float:
    """The first measurement of a sustained test accuracy of .95; infinite where there is none so far."""
    event = trial.event("t_gen", GENERALISED)
    return event.high_steps if event.occurred else math.inf


def sooner(first: Trial, second: Trial) -> Tristate:
    """Whether the first generalises before the second; None where neither has so far."""
    one, other = t95(first), t95(second)
    if math.isfinite(one) and second.known_until >= one:
        return one < other
    if math.isfinite(other) and first.known_until >= other:
        return False
    followed = min(first.known_until - first.horizon_steps, second.known_until - second.horizon_steps)
    return False if followed >= 0 else None


def verdict(evidence: Sweep) -> Verdict:
    """Each task by itself: ⊥AdamW sooner than decay, decay in time, and no generalisation without either."""
    full = evidence.size == FULL
    by_end = f"by step {BY}" if full else "by the last step"
    claims = []
    for task, word in TASKS.items():
        ours, decay, plain = (evidence.by_seed(arm=arm, task=task) for arm in ARMS)
        times = (
            f"t95 of ⊥AdamW {spread_steps(t95(trial) for trial in ours.values())}, "
            f"with decay {spread_steps(t95(trial) for trial in decay.values())}"
        )
        claims += [
            Claim(
                f"{word}: ⊥AdamW reaches a test accuracy of .95 before AdamW with decay",
                tuple(sooner(ours[seed], decay[seed]) for seed in ours if seed in decay),
                times,
            ),
            per_seed(
                f"{word}: AdamW with decay 1.5 reaches .95 {by_end}",
                decay.values(),
                lambda trial: reaches(trial, TEST, GENERALISED, BY if full else trial.horizon_steps),
                f"at most {percent(trial.largest(TEST) for trial in decay.values())}",
            ),
            per_seed(
                f"{word}: AdamW without decay is below .05 {by_end}",
                plain.values(),
                lambda trial: stays_below(trial, TEST, 0.05, until=BY if full else None),
                f"at most {percent(trial.largest(TEST) for trial in plain.values())}",
            ),
        ]
    return judge(*claims)


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """A panel for each task; training accuracy dashed."""
    for axes, (task, word) in zip(figure.subplots(1, 2, sharey=True), TASKS.items(), strict=True):
        trials = evidence.where(task=task)
        if not trials:
            not_run(axes, f"{word}: not run")
            continue
        for arm, colour in ARM_COLOURS.items():
            draw_accuracies(axes, evidence.where(arm=arm, task=task), colour=colour, label=arm)
        p = trials[0].config.get("task", {}).get("p", 113)
        tidy(axes, f"{word} mod {p}", xlabel="steps (log scale); training dashed")
        accuracy_axis(axes)
        step_axis(axes, log=True, start=10, until=max(trial.horizon_steps for trial in trials))
        mark_level(axes, GENERALISED)
        legend(axes, loc=(0.01, 0.62))


FIGURE = FigureSpec(
    name="fig06a",
    title="⊥AdamW, AdamW with decay and AdamW on a transformer",
    statement="On addition and on subtraction ⊥AdamW reaches a test accuracy of .95 before AdamW with decay 1.5 does, "
    "which does by step 2000; AdamW without decay is below .05 at step 2000.",
    space="fig06a_orthograd_transformer",
    columns=("train_accuracy", "test_accuracy"),
    verdict=verdict,
    draw=draw,
)
