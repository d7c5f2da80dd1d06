"""Fig. 9: the dynamics of Fig. 2 with normalised gradient descent in place of AdamW."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.figure import SubFigure

from analysis.data.sweep import Sweep, Trial, paired
from analysis.drawing.bands import DTYPE_COLOURS, collapse_onset, draw_accuracies, mark_collapse
from analysis.drawing.panels import legend, not_run, step_panel
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Claim, Tristate, Verdict, judge, report
from analysis.paper.words import finals, spread_steps

DTYPES = "float16", "float32", "float64"
TEST = "test_accuracy"
CLAIMED_FROM = 0.5
"""The order is claimed for more than this fraction of the pairs: at 40 % nothing generalises in the paper either."""


def ordered(values: list[float]) -> Tristate:
    """Whether numbers ascend strictly; None where one is unknown."""
    if any(math.isnan(value) for value in values):
        return None
    return all(low < high for low, high in pairwise(values))


def end(trial: Trial) -> float:
    """The test accuracy at the end of a whole run."""
    return trial.at(TEST, trial.horizon_steps)


def onsets(trials: Sequence[Trial]) -> list[float]:
    """The onset of collapse of each; those not seen lie beyond the run and cannot be ordered: then NaN."""
    steps = [collapse_onset(trial) for trial in trials]
    for place, (trial, onset) in enumerate(zip(trials, steps, strict=True)):
        whole = trial.last_step >= trial.horizon_steps or trial.stop_reason is not None
        if math.isinf(onset) and (not whole or math.inf in steps[:place]):
            steps[place] = math.nan
    return steps


def verdict(evidence: Sweep) -> Verdict:
    """Fig. 2's two orders over the dtypes, at every fraction where they are claimed."""
    claims = []
    for fraction in evidence.numbers("train_fraction"):
        by_dtype = {dtype: evidence.by_seed(train_fraction=fraction, dtype=dtype) for dtype in DTYPES}
        rows = paired(*by_dtype.values())
        ends = ", ".join(f"{dtype} {finals(trials.values(), TEST)}" for dtype, trials in by_dtype.items())
        collapses = ", ".join(
            f"{dtype} {spread_steps(map(collapse_onset, trials.values()))}" for dtype, trials in by_dtype.items()
        )
        name = f"{100 * fraction:g} % of the pairs"
        if fraction <= CLAIMED_FROM:
            begun = any(by_dtype.values())
            claims.append(report(f"{name}: the test accuracy at the end", ends if begun else ""))
            claims.append(report(f"{name}: the onset of collapse (SC above .5)", collapses if begun else ""))
            continue
        claims.append(
            Claim(
                f"{name}: the test accuracy at the end ascends from float16 over float32 to float64",
                tuple(ordered([end(trial) for trial in row]) for row in rows),
                ends,
            )
        )
        claims.append(
            Claim(
                f"{name}: the onset of collapse (SC above .5) ascends likewise",
                tuple(ordered(onsets(row)) for row in rows),
                f"at step: {collapses}",
            )
        )
    return judge(*claims)


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """A panel a training fraction; rings mark the onset of collapse."""
    listed = evidence.numbers("train_fraction")
    panels = np.atleast_1d(figure.subplots(1, len(listed), sharey=True))
    for axes, fraction in zip(panels, listed, strict=True):
        trials = evidence.where(train_fraction=fraction)
        if not trials:
            not_run(axes)
            continue
        for dtype in DTYPES:
            chosen, colour = evidence.where(train_fraction=fraction, dtype=dtype), DTYPE_COLOURS[dtype]
            draw_accuracies(axes, chosen, colour=colour, label=dtype)
            mark_collapse(axes, chosen, colour=colour)
        step_panel(axes, f"{100 * fraction:g} % of the pairs", trials, accuracy=True, xlabel="steps")
    panels[0].set_ylabel("test accuracy; training dashed", fontsize=9)
    legend(panels[0], loc="upper left")


FIGURE = FigureSpec(
    title="The dynamics of Fig. 2 under normalised gradient descent",
    statement="With SGD whose learning rate is divided by the norm of the full gradient, the order of Fig. 2 over the "
    "softmax's dtypes: the higher the precision, the later the collapse and the higher the final test accuracy.",
    space="fig09_normalized_sgd",
    columns=("train_accuracy", "test_accuracy", "sc_any_fraction"),
    verdict=verdict,
    draw=draw,
)
