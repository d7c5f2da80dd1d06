"""Fig. 15: weight decay against ⊥Grad, over the strength of the decay."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import FixedLocator, NullLocator

from analysis.data.sweep import Sweep, Trial, paired, thousands
from analysis.diagram.words import with_interval
from analysis.drawing.bands import COLOURS
from analysis.drawing.panels import accuracy_panel, arms, legend, shades, tidy
from analysis.drawing.style import FAINT, INK, round_steps
from analysis.paper.claims import time_of
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Claim, Tristate, Verdict, judge, report
from analysis.paper.words import spread_steps
from analysis.stats.contrasts import paired_contrast
from analysis.stats.survival import CensoredTimes

DECAY, ORTHOGONAL = "AdamW", "⊥AdamW"
ORTHOGONAL_COLOUR = COLOURS[1]


def times(trials: Sequence[Trial]) -> list[float]:
    """The time of every trial."""
    return [time_of(trial, "t_gen") for trial in trials]


def verdict(evidence: Sweep) -> Verdict:
    """U-shape and failure at the large end seed by seed; ⊥AdamW against the best decay as a paired contrast."""
    listed = evidence.numbers("weight_decay")
    at_decay = {decay: evidence.by_seed(arm=DECAY, weight_decay=decay) for decay in listed}
    medians = ", ".join(f"{decay:g}: {spread_steps(times([*at_decay[decay].values()]))}" for decay in listed)
    largest = [*at_decay[listed[-1]].values()]
    # Followed to the end without memorising is failure too: the statement is about generalising.
    failed = tuple(None if math.isnan(time) else math.isinf(time) for time in times(largest))
    return judge(
        Claim(
            "U-shape: the soonest decay lies inside the range, and both ends are later",
            tuple(u_shaped(times(row)) for row in paired(*at_decay.values())),
            f"t_gen in steps, median [range] by decay: {medians}",
        ),
        Claim(
            f"the largest decay, {listed[-1]:g}, fails",
            failed,
            f"the best test accuracy of any seed is {max(trial.largest('test_accuracy') for trial in largest):.3f}"
            if largest
            else "",
        ),
        report("hypothesis: ⊥AdamW without decay is sooner than the best decay", contrast_words(evidence)),
    )


def u_shaped(path: Sequence[float]) -> Tristate:
    """Whether both ends of the times along the decays are later than the soonest between; None where one is open."""
    if any(math.isnan(time) for time in path):
        return None
    return min(path[1:-1]) < min(path[0], path[-1])


def contrast_words(evidence: Sweep) -> str:
    """⊥AdamW minus the decay that is best on the other seeds, in steps of the restricted mean."""
    ours = evidence.by_seed(arm=ORTHOGONAL)
    groups = [evidence.by_seed(arm=DECAY, weight_decay=decay) for decay in evidence.numbers("weight_decay")]
    rows = paired(ours, *groups)
    if not rows:
        return ""
    tau = evidence.trials[0].horizon_steps
    sides = [CensoredTimes.of([trial.event("t_gen") for trial in side], tau) for side in zip(*rows, strict=True)]
    contrast = paired_contrast(sides[1:], sides[:1], tau, np.random.default_rng(0))
    sooner = spread_steps(times([row[0] for row in rows]))
    if contrast is None:
        return f"⊥AdamW at {sooner}; too few seeds or steps for a contrast"
    least = 2.0 ** (1 - contrast.pairs)
    limit = f"; {contrast.pairs} pairs cannot go below {least:.3g}" if least >= 0.05 else ""
    return (
        f"⊥AdamW at {sooner} steps; minus the decay best on the other seeds "
        f"{with_interval(contrast.difference_steps, '+.0f')} steps, p = {contrast.p:.3g}{limit}"
    )


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Left: time to generalise over the decay; right: the test accuracies."""
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _draw_times(left, evidence)
    groups = {
        **shades(evidence, "weight_decay", "decay {:g}", arm=DECAY),
        **arms(evidence, {ORTHOGONAL: ORTHOGONAL_COLOUR}),
    }
    accuracy_panel(right, "Test accuracy", groups, trials=evidence.trials, train=False, legend_at="upper left")


def _draw_times(axes: Axes, evidence: Sweep) -> None:
    listed, tau = evidence.numbers("weight_decay"), evidence.trials[0].horizon_steps
    tidy(axes, "Steps to a test accuracy of 95 %", xlabel="weight decay", ylabel="steps (log scale)")
    axes.set_yscale("log")
    never = 1.25 * tau
    medians = []
    for place, decay in enumerate(listed):
        known = [time for time in times(evidence.where(arm=DECAY, weight_decay=decay)) if not math.isnan(time)]
        lanes = place + (np.linspace(-0.16, 0.16, len(known)) if len(known) > 1 else np.zeros(len(known)))
        for lane, time in zip(lanes, known, strict=True):
            came = not math.isinf(time)
            axes.plot([lane], [time if came else never], marker="o" if came else "^", ms=5, mec=COLOURS[0],
                      mfc=COLOURS[0] if came else "white", ls="", zorder=4)  # fmt: skip
        medians.append(float(np.median(known)) if known else math.nan)
    shown = [middle if math.isfinite(middle) else math.nan for middle in medians]
    axes.plot(range(len(listed)), shown, color=COLOURS[0], lw=1.4, zorder=3, label="AdamW: seeds and their median")
    ours = [time for time in times(evidence.where(arm=ORTHOGONAL)) if math.isfinite(time)]
    if ours:
        axes.axhspan(min(ours), max(ours), color=ORTHOGONAL_COLOUR, alpha=0.22, lw=0, zorder=1)
        axes.axhline(float(np.median(ours)), color=ORTHOGONAL_COLOUR, lw=1.6, zorder=2, label="⊥AdamW without decay")
    axes.axhline(tau, color=FAINT, lw=0.9, ls=(0, (4, 3)), zorder=1.5)
    axes.text(len(listed) - 0.45, never, f"not by {thousands(tau)}", fontsize=8, color=FAINT, va="center", ha="left",
              clip_on=False)  # fmt: skip
    axes.set_xticks(range(len(listed)), [f"{decay:g}" for decay in listed], color=INK)
    axes.set_xlim(-0.5, len(listed) - 0.5)
    axes.set_ylim(min([*ours, tau / 20]) * 0.8, tau * 1.5)
    axes.yaxis.set_major_locator(FixedLocator(round_steps(20, tau)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: thousands(value))
    legend(axes, loc="lower left")


FIGURE = FigureSpec(
    title="Weight decay against ⊥Grad",
    statement="Over the weight decay the time to generalise is U-shaped, and the largest decay fails. That ⊥AdamW "
    "without decay is sooner than the best decay is a hypothesis to test, not to assume.",
    space="wd_vs_orthograd",
    sized=False,
    verdict=verdict,
    draw=draw,
)
