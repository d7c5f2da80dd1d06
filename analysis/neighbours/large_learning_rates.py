"""Large learning rates (Barsbey et al. 2025): accuracies over learning rate and decay, at one training loss."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from analysis.data.sweep import STEP, Sweep, Trial
from analysis.drawing.bands import COLOURS, draw_band, ramp
from analysis.drawing.panels import accuracy_axis, legend, not_run, tidy
from analysis.drawing.style import FAINT
from analysis.paper.figure import FigureSpec, Snapshots
from analysis.paper.verdict import MIN_SEEDS, Claim, Tristate, Verdict, judge, report
from analysis.paper.words import percent, spread
from analysis.stats.intervals import Estimate
from analysis.stats.paired import inside, mean_with_t_interval, paired_difference

DIGITS, PARITY = "Double MNIST", "parity"
JUDGED = {DIGITS: 0.98, PARITY: 0.75}
"""The ρ of the cells in which the statement is judged."""
RATE, DECAY = "learning_rate", "weight_decay"
NAMES = {RATE: "learning rate", DECAY: "decay"}
PRUNED = tuple(f"pruned_{share}_accuracy" for share in (50, 80, 90, 95))
CONFLICT, PRUNING = "conflict accuracy", "pruned accuracy"
OUTCOMES: Mapping[str, tuple[str, ...]] = {CONFLICT: ("conflict_accuracy",), PRUNING: PRUNED}
"""What each is the mean of."""
LEAST, FEWEST = 0.6, 5
"""What the coefficient must exceed, and of how many values it must be."""
EARLY_LOSS = 0.5
LOSS, CONFIDENCE = "train_loss", "conflict_confidence"
LOSSES = (0.7, 0.5, 0.2, 0.1, 0.05)
"""The training losses at the ticks of the panel on the right."""
SHOWN = (0.02, 0.16, 0.64)
"""The learning rates whose curves are drawn."""
KEPT_EVERY = 3
TASK_COLOURS = {DIGITS: COLOURS[0], PARITY: COLOURS[1]}
LOOKS: Mapping[str, tuple[Any, float]] = {CONFLICT: ("-", 0.97), PRUNING: ((0, (4, 2)), 1.03)}
"""The dashes of each outcome, and the factor that sets its points apart."""


def arm(task: str, axis: str) -> dict[str, Any]:
    """The coordinates of the judged cells of a task that differ in the learning rate, or in decay."""
    cell = {"correlation": JUDGED[task]} if axis == RATE else {}
    return {"arm": f"{task}, {NAMES[axis]}", **cell}


def matched(trials: Iterable[Trial]) -> list[Trial]:
    """Those that reached the training loss at which trials are compared."""
    return [trial for trial in trials if math.isfinite(trial.time("t_fit"))]


def value_of(trial: Trial, axis: str) -> float:
    """Its coordinate on an axis."""
    return float(trial.coordinates[axis])


def outcome(trial: Trial, name: str) -> float:
    """One of :data:`OUTCOMES` at the end of a trial."""
    return float(np.mean([trial.final(column) for column in OUTCOMES[name]]))


def early(trial: Trial, column: str) -> float:
    """A column at the first measurement with a training loss of at most :data:`EARLY_LOSS`, or last before it."""
    steps, losses = trial.measured(LOSS)
    reached = np.flatnonzero(losses <= EARLY_LOSS)
    return trial.at(column, steps[reached[0]]) if len(reached) else math.nan


def coefficients(evidence: Sweep, task: str, axis: str, name: str) -> dict[Any, float]:
    """Spearman's coefficient of the axis with an outcome over the matched trials of each seed, where it is defined."""
    from scipy.stats import spearmanr  # half a second to import: only when there is something to compare

    trials = matched(evidence.where(**arm(task, axis)))
    by_seed = {}
    for seed in dict.fromkeys(trial.seed for trial in trials):
        pairs = [(value_of(trial, axis), outcome(trial, name)) for trial in trials if trial.seed == seed]
        # Without two different outcomes there is no order to correlate.
        if len(pairs) >= FEWEST and len({measured for _, measured in pairs}) > 1:
            by_seed[seed] = float(spearmanr(*zip(*pairs, strict=True)).statistic)
    return by_seed


def words(estimate: Estimate) -> str:
    """``0.81 [0.70, 0.92]``; a single seed has no interval."""
    value = f"{estimate.value:.2f}"
    return value if math.isnan(estimate.low) else f"{value} [{estimate.low:.2f}, {estimate.high:.2f}]"


def above(estimate: Estimate, bound: float, seeds: int) -> Tristate:
    """Whether a mean over seeds is above a bound, by its interval; None with too few seeds, too."""
    return inside(estimate, bound, math.inf) if seeds >= MIN_SEEDS else None


def claims(evidence: Sweep, task: str, name: str) -> tuple[Claim, Claim]:
    """Both parts of the statement for a task and an outcome."""
    rate, decay = (coefficients(evidence, task, axis, name) for axis in (RATE, DECAY))
    mean = mean_with_t_interval([*rate.values()]) if rate else None
    of_decay = words(mean_with_t_interval([*decay.values()])) if decay else "–"
    difference = paired_difference(rate, decay)
    where = f"{task}, {name}"
    return (
        Claim(
            f"{where}: Spearman's coefficient of the learning rate is above .6",
            () if mean is None else (above(mean, LEAST, len(rate)),),
            "" if mean is None else f"{words(mean)}, {len(rate)} seeds",
            min_seeds=1,
            open_because="the interval contains .6, or there are fewer than three seeds",
        ),
        Claim(
            f"{where}: it is above that of decay",
            () if difference is None else (above(difference.estimate, 0.0, difference.pairs),),
            "" if difference is None else f"decay {of_decay}; difference {difference.words()}",
            min_seeds=1,
            open_because="the interval contains 0, or there are fewer than three seeds",
        ),
    )


def extremes(evidence: Sweep, task: str, axis: str) -> tuple[float, ...]:
    """The smallest and the largest value on an axis that a task was run with."""
    values = sorted({value_of(trial, axis) for trial in evidence.where(**arm(task, axis))})
    return (values[0], values[-1]) if values else ()


def reports(evidence: Sweep, task: str) -> list[Claim]:
    """What is measured beside the statement: at the smallest and the largest learning rate, and how losses match."""
    of_rate, of_decay = (evidence.where(**arm(task, axis)) for axis in (RATE, DECAY))
    ends = {rate: matched(evidence.where(learning_rate=rate, **arm(task, RATE)))
            for rate in extremes(evidence, task, RATE)}  # fmt: skip
    shown = {
        "zero activations": lambda trial: trial.final("zero_fraction"),
        "class separation": lambda trial: trial.final("class_separation"),
        "early confidence on mispredicted conflict rows": lambda trial: early(trial, CONFIDENCE),
        CONFLICT: lambda trial: outcome(trial, CONFLICT),
        PRUNING: lambda trial: outcome(trial, PRUNING),
    }
    rates = evidence.where(arm=f"{task}, {NAMES[RATE]}")
    others = sorted({value_of(trial, "task.correlation") for trial in rates} - {JUDGED[task]})
    return [
        *(
            report(
                f"{task}: {name}",
                ", ".join(f"{percent(map(of, trials))} at learning rate {rate:g}" for rate, trials in ends.items()),
            )
            for name, of in shown.items()
        ),
        *(
            report(
                f"{task}, ρ = {rho:g}: {CONFLICT}",
                ", ".join(
                    f"{percent(outcome(trial, CONFLICT) for trial in matched(trials))} at learning rate {rate:g}"
                    for rate in ends
                    if (trials := evidence.where(arm=f"{task}, {NAMES[RATE]}", correlation=rho, learning_rate=rate))
                ),
            )
            for rho in others
        ),
        report(
            f"{task}: training loss at the comparison",
            f"{spread((trial.final(LOSS) for trial in matched(of_rate)), '.3f')} and, with decay, "
            f"{spread((trial.final(LOSS) for trial in matched(of_decay)), '.3f')}; not reached in "
            f"{len(of_rate) - len(matched(of_rate))} of {len(of_rate)} and "
            f"{len(of_decay) - len(matched(of_decay))} of {len(of_decay)} trials"
            if of_rate or of_decay
            else "",
        ),
    ]


def verdict(evidence: Sweep) -> Verdict:
    """The coefficients for both tasks and both accuracies; beside them the other measurements."""
    return judge(
        *(claim for task in JUDGED for name in OUTCOMES for claim in claims(evidence, task, name)),
        *(claim for task in JUDGED for claim in reports(evidence, task)),
    )


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Left: the accuracies over the learning rate; middle: over decay; right: the way there, by the learning rate."""
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    _draw_ends(left, evidence, RATE)
    _draw_ends(middle, evidence, DECAY)
    if left.axison:
        named = [
            Line2D([], [], color=colour, lw=2, label=f"{task}, ρ = {JUDGED[task]:g}")
            for task, colour in TASK_COLOURS.items()
        ]
        kinds = [Line2D([], [], color=FAINT, lw=1.8, ls=ls, label=name) for name, (ls, _) in LOOKS.items()]
        left.legend(handles=[*named, *kinds], loc="lower right", fontsize=8.5, frameon=False, handlelength=2.4)
    _draw_curves(right, evidence)


def _draw_ends(axes: Axes, evidence: Sweep, axis: str) -> None:
    drawn = False
    for task, colour in TASK_COLOURS.items():
        trials = matched(evidence.where(**arm(task, axis)))
        for name, (ls, apart) in LOOKS.items():
            spans = {apart * value: known for value, known in _by_value(trials, axis, name).items()}
            drawn = drawn or bool(spans)
            medians = [float(np.median(known)) for known in spans.values()]
            axes.plot([*spans], medians, color=colour, ls=ls, marker="o", ms=4, lw=1.8, zorder=3)
            for place, known in spans.items():
                axes.plot([place, place], [min(known), max(known)], color=colour, lw=1.0, alpha=0.6, zorder=2)
    if not drawn:
        not_run(axes, f"{NAMES[axis]}: not run")
        return
    tidy(axes, f"Over the {NAMES[axis]}", xlabel=f"{NAMES[axis]} (log scale)")
    axes.set_xscale("log")
    values = sorted({value_of(trial, axis) for task in JUDGED for trial in evidence.where(**arm(task, axis))})
    axes.set_xticks(values, [f"{value:g}".removeprefix("0") for value in values])
    axes.xaxis.set_minor_locator(NullLocator())
    accuracy_axis(axes)


def _by_value(trials: Sequence[Trial], axis: str, name: str) -> dict[float, list[float]]:
    values = sorted({value_of(trial, axis) for trial in trials})
    return {value: [outcome(trial, name) for trial in trials if value_of(trial, axis) == value] for value in values}


def _draw_curves(axes: Axes, evidence: Sweep) -> None:
    shown = [rate for rate in SHOWN if evidence.where(learning_rate=rate, **arm(PARITY, RATE))]
    if not shown:
        not_run(axes, "parity: not run")
        return
    for rate, colour in zip(shown, ramp(len(shown)), strict=True):
        trials = evidence.where(learning_rate=rate, **arm(PARITY, RATE))
        draw_band(axes, [_over_loss(trial) for trial in trials], "conflict_accuracy", colour=colour, label=f"{rate:g}")
    tidy(axes, f"Parity, ρ = {JUDGED[PARITY]:g}, while it is fitted", xlabel="lowest training loss so far (log scale)",
         ylabel="conflict accuracy")  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(1 / LOSSES[0], 1 / LOSSES[-1])
    axes.set_xticks([1 / loss for loss in LOSSES], [f"{loss:g}" for loss in LOSSES])
    axes.xaxis.set_minor_locator(NullLocator())
    accuracy_axis(axes)
    legend(axes, title="learning rate", title_fontsize=8.5, alignment="left", loc="upper left")


def _over_loss(trial: Trial) -> Trial:
    """The trial at the measurements with its lowest training loss so far, with 1 / loss where its steps are."""
    losses = trial.curves[LOSS]
    lowest = np.flatnonzero(losses < np.concatenate(([math.inf], np.fmin.accumulate(losses)[:-1])))
    curves = {name: values[lowest] for name, values in trial.curves.items()}
    return replace(trial, curves={**curves, STEP: 1 / curves[LOSS]}, stop_reason=None)


def condense(evidence: Sweep, snapshots: Snapshots) -> Sweep:
    """Keep the first and the last measurement and the early one; of what is drawn, every third too."""
    drawn = {trial.trial_id for trial in evidence.where(learning_rate=SHOWN, **arm(PARITY, RATE))}
    return replace(
        evidence,
        trials=tuple(
            _thinned(trial, KEPT_EVERY if trial.trial_id in drawn else 0) if trial.begun else trial
            for trial in evidence.trials
        ),
    )


def _thinned(trial: Trial, every: int) -> Trial:
    steps, losses = trial.curves[STEP], trial.curves[LOSS]
    reached = np.flatnonzero(losses <= EARLY_LOSS)
    kept = {0, len(steps) - 1, *reached[:1].tolist(), *(range(0, len(steps), every) if every else ())}
    chosen = sorted(kept)
    return replace(trial, curves={name: values[chosen] for name, values in trial.curves.items()})


FIGURE = FigureSpec(
    title="The size of the step against a spurious feature",
    statement="At one training loss, Spearman's coefficient of the learning rate with the accuracy on conflicting rows "
    "and with that after pruning is above .6, and above that of weight decay, for two digits and for the parity. For "
    "grokking: which feature has been learnt by the time the rows are fitted depends on the size of the step too, "
    "without any decay or projection.",
    space="large_learning_rates",
    columns=(LOSS, "conflict_accuracy", *PRUNED, "zero_fraction", "class_separation", CONFIDENCE),
    condense=condense,
    verdict=verdict,
    draw=draw,
    size_in=(11.5, 4.2),
)
