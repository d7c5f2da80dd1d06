"""Projected guidance (Sadat et al. 2025): what strong guidance does to norm, precision and recall, by its parts."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.data.sweep import Sweep, Trial, paired
from analysis.drawing.bands import COLOURS
from analysis.drawing.panels import accuracy_axis, mark_level, mark_step, not_run, tidy
from analysis.drawing.style import FAINT
from analysis.paper.claims import at_least, every
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Claim, Tristate, Verdict, judge, report
from analysis.paper.words import percent, spread

PLAIN, FULL, PROJECTED, RESCALED = "CFG", "APG", "⊥", "rescaled"
LINES = {PLAIN: COLOURS[0], RESCALED: COLOURS[1], PROJECTED: COLOURS[2], FULL: COLOURS[5]}
"""The arms with every w, and their colours."""
RADIUS, PRECISION, RECALL = "radius_ratio", "precision", "recall"
CLASS, GAP = "class_accuracy", "gap_to_cfg"
CLASSED = ("no guidance", "APG, w = 4")
"""The cells whose class accuracies are reported: guidance is for them."""
HIGH = 16
SHARE, POINTS, TOLERANCE = 0.5, 0.02, 1e-6
"""Of CFG's norm error; of CFG's precision; of the prediction."""


def final(trial: Trial, column: str) -> float:
    """A column at the last step of the sampler; NaN in a trial that is not there yet."""
    return trial.at(column, trial.horizon_steps)


def norm_error(trial: Trial) -> float:
    """How far the samples' mean norm is from the data's, over the data's."""
    return abs(final(trial, RADIUS) - 1)


def cell(arm: str, scale: float = HIGH, dimension: int = 32, denoiser: str = "trained") -> dict[str, Any]:
    """The coordinates of a cell of an arm that has every axis."""
    return {"arm": arm, "scale": scale, "dimension": dimension, "denoiser": denoiser}


def against(
    evidence: Sweep, text: str, value: Callable[[Trial], float], holds: Callable[[float, float], Tristate]
) -> Claim:
    """What holds of APG's value and CFG's in the judged cells, seed by seed."""
    rows = paired(evidence.by_seed(**cell(FULL)), evidence.by_seed(**cell(PLAIN)))
    values = [(value(ours), value(theirs)) for ours, theirs in rows]
    numbers = f"APG {percent(ours for ours, _ in values)}, CFG {percent(theirs for _, theirs in values)}"
    return Claim(text, tuple(holds(*pair) for pair in values), numbers if values else "")


def reproduces(evidence: Sweep) -> Claim:
    """That the update is CFG's where it must be."""
    trials = [*evidence.where(arm=PLAIN), *evidence.where(arm=[RESCALED, PROJECTED, FULL], scale=1)]
    by_seed: dict[Any, list[float]] = defaultdict(list)
    for trial in trials:
        by_seed[trial.seed].append(final(trial, GAP))
    known = [gap for gaps in by_seed.values() for gap in gaps if not math.isnan(gap)]
    return Claim(
        "w = 1, and (η = 1, no r, β = 0): the prediction is that of CFG within 1e-6",
        tuple(every(at_least(TOLERANCE, gap) for gap in gaps) for gaps in by_seed.values()),
        f"at most {max(known):.1e} in {len(known)} runs" if known else "",
    )


def verdict(evidence: Sweep) -> Verdict:
    """The four parts of the statement; beside them single parts of APG, other w, two dimensions, the exact denoiser."""
    others = {
        "r alone": cell(RESCALED),
        "⊥ alone": cell(PROJECTED),
        "β alone": {"arm": "momentum"},
        "half of the parallel part": {"arm": "half ∥", "scale": HIGH},
        "APG with half of r": {"arm": "APG, half of r"},
        "CFG, w = 4": cell(PLAIN, 4),
        "APG, w = 4": cell(FULL, 4),
        "no guidance": cell(PLAIN, 1),
        **{
            f"{arm}, {words}": cell(arm, HIGH, dimension, denoiser)
            for words, dimension, denoiser in (("exact denoiser", 32, "exact"), ("two dimensions", 2, "trained"))
            for arm in (PLAIN, FULL)
        },
    }
    return judge(
        against(
            evidence, "w = 16: the norm error of APG is at most half of CFG's", norm_error,
            lambda ours, theirs: at_least(SHARE * theirs, ours),
        ),
        against(
            evidence, "w = 16: precision is at least CFG's less 2 points", lambda trial: final(trial, PRECISION),
            lambda ours, theirs: at_least(ours, theirs - POINTS),
        ),
        against(
            evidence, "w = 16: recall is at least CFG's", lambda trial: final(trial, RECALL), at_least,
        ),
        reproduces(evidence),
        *(
            report(f"norm against the data's, precision, recall: {name}", three(evidence.where(**at)))
            for name, at in others.items()
        ),
        *(report(f"own class the likeliest: {name}", own_class(evidence.where(**others[name]))) for name in CLASSED),
    )  # fmt: skip


def own_class(trials: Iterable[Trial]) -> str:
    """The shares of samples whose own class is the likeliest, in words; empty where nothing was run."""
    words = percent(final(trial, CLASS) for trial in trials)
    return words if words != "–" else ""


def three(trials: Iterable[Trial]) -> str:
    """The norm's excess over the data's, precision and recall in words; empty where nothing was run."""
    trials = list(trials)
    if not trials:
        return ""
    columns = (percent(final(trial, column) for trial in trials) for column in (PRECISION, RECALL))
    signed = (100 * (final(trial, RADIUS) - 1) for trial in trials)
    return ", ".join([f"{spread(signed, '+.1f')}\u202f%", *columns])


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Left: the samples' norm over w, by arm and denoiser; right: precision and recall over w."""
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    for axes, column, title in (
        (left, RADIUS, "Norm of the samples over the data's"),
        (middle, PRECISION, "Precision"),
        (right, RECALL, "Recall"),
    ):
        _draw_over_w(axes, evidence, column, title)
    if not left.axison:
        return
    mark_level(left, 1.0)
    left.set_ylim(top=1 + 1.5 * (left.get_ylim()[1] - 1))  # room for the legend
    named = [Line2D([], [], color=colour, lw=1.8, marker="o", ms=4, label=arm) for arm, colour in LINES.items()]
    exact = Line2D([], [], color=FAINT, lw=1.2, ls=(0, (3.2, 1.6)), label="exact denoiser")
    left.legend(handles=[*named, exact], loc="upper left", fontsize=8.5, frameon=False, labelspacing=0.3)


def _draw_over_w(axes: Axes, evidence: Sweep, column: str, title: str) -> None:
    drawn = False
    for arm, colour in LINES.items():
        for denoiser in ("trained", "exact"):
            spans = [
                (scale, known)
                for scale in evidence.numbers("scale")
                if (known := _known(evidence.where(**cell(arm, scale, denoiser=denoiser)), column))
            ]
            if not spans:
                continue
            drawn = True
            scales, values = zip(*spans, strict=True)
            medians = [float(np.median(each)) for each in values]
            if denoiser == "exact":
                axes.plot(scales, medians, color=colour, lw=1.2, ls=(0, (3.2, 1.6)), zorder=2.5)
                continue
            axes.plot(scales, medians, color=colour, lw=1.8, marker="o", ms=4, zorder=3)
            low, high = [min(each) for each in values], [max(each) for each in values]
            axes.fill_between(scales, low, high, color=colour, alpha=0.18, lw=0, zorder=2)
    if not drawn:
        not_run(axes, f"{title}: not run")
        return
    tidy(axes, title, xlabel="w (log scale); judged at 16")
    if column != RADIUS:
        accuracy_axis(axes)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(evidence.numbers("scale")))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    mark_step(axes, HIGH)


def _known(trials: Iterable[Trial], column: str) -> list[float]:
    return [value for trial in trials if not math.isnan(value := final(trial, column))]


FIGURE = FigureSpec(
    title="Guidance without its part along the prediction",
    statement="In 32 dimensions at w = 16, with the trained denoiser: APG's norm error is at most half of CFG's, its "
    "precision at least CFG's less 2 points, its recall not lower; at w = 1, and with η = 1, no r and β = 0, the "
    "update is CFG's within 1e-6. For grokking: like ⊥Grad, it leaves out of an update the part that only lengthens, "
    "here of a sample instead of the weights; no delay is involved.",
    space="projected_guidance",
    columns=(RADIUS, PRECISION, RECALL, CLASS, GAP),
    sized=False,
    verdict=verdict,
    draw=draw,
)
