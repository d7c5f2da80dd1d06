"""Opposing signals (Rosenfeld and Risteski 2024): where the loss spikes, and how the two groups' losses get there."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import SubFigure
from matplotlib.patches import Rectangle

from analysis.data.sweep import Sweep, Trial
from analysis.drawing.bands import COLOURS
from analysis.drawing.panels import legend, mark_step, not_run, tidy
from analysis.drawing.style import INK, ink_on
from analysis.paper.claims import below, every, time_of
from analysis.paper.figure import FigureSpec, Snapshots
from analysis.paper.verdict import Claim, Tristate, Verdict, judge, report
from analysis.paper.words import spread, spread_steps

DESCENT, ADAM = "gradient descent", "Adam"
GROUP_SHARE, BETA_NORM = 0.02, 3.0
SHOWN = (100.0, 0.2)
"""α and the learning rate of the cell whose curves are drawn."""
COMPARED = (SHOWN, (200.0, 0.1))
"""The cells in which Adam is compared with gradient descent."""
CORRELATION = -0.5
GROUPS = ("positive_loss", "negative_loss")
LOSSES = ("train_loss", *GROUPS)


def may_spike(alpha: float, rate: float) -> bool:
    """Whether the sharpness of the balanced solution, 2pα‖β‖, exceeds 2 / learning rate."""
    return 2 * GROUP_SHARE * alpha * BETA_NORM > 2 / rate


def spiked(trial: Trial) -> Tristate:
    """Whether the loss has spiked; None where the trial is too short to tell."""
    time = time_of(trial, "t_spike")
    return None if math.isnan(time) else math.isfinite(time)


def spared(trial: Trial) -> Tristate:
    """The opposite."""
    answer = spiked(trial)
    return None if answer is None else not answer


def correlation(trial: Trial) -> float:
    """The correlation of the per-step changes of the two groups' losses, from the crossing to the first spike.

    NaN where it did not spike, or where there are fewer than two changes, measured step by step.
    """
    if not spiked(trial):
        return math.nan
    start, end = trial.time("t_cross"), trial.time("t_spike")
    sides = []
    for column in GROUPS:
        steps, values = trial.measured(column)
        inside = (steps >= start) & (steps <= end)
        if inside.sum() < 3 or (np.diff(steps[inside]) != 1).any():
            return math.nan
        sides.append(np.diff(values[inside]))
    with np.errstate(all="ignore"):
        return float(np.corrcoef(np.stack(sides))[0, 1])


def rises_less(adam: Trial, descent: Trial) -> Tristate:
    """Whether the rises of Adam's loss sum to less than those of gradient descent's, over all steps."""
    if min(adam.known_until, descent.known_until) < descent.horizon_steps:
        return None
    return below(adam.final("loss_rises"), descent.final("loss_rises"))


def by_cell(evidence: Sweep) -> Iterator[tuple[float, float, dict[object, Trial]]]:
    """α, learning rate and trials by seed of every cell of gradient descent."""
    for rate in evidence.numbers("learning_rate"):
        for alpha in evidence.numbers("alpha"):
            yield alpha, rate, evidence.by_seed(arm=DESCENT, alpha=alpha, learning_rate=rate)


def verdict(evidence: Sweep) -> Verdict:
    """Seed by seed: where it spikes, how the groups' losses get there, and Adam beside it."""
    cells = [*by_cell(evidence)]
    seeds = dict.fromkeys(trial.seed for trial in evidence.where())

    def each(wanted: list[dict[object, Trial]]) -> tuple[Tristate, ...]:
        return tuple(
            every(spared(cell[seed]) for cell in wanted if seed in cell)
            for seed in seeds
            if any(seed in cell for cell in wanted)
        )

    quiet = [trials for alpha, rate, trials in cells if alpha > 0 and not may_spike(alpha, rate)]
    without = [trials for alpha, _, trials in cells if alpha == 0]
    sharp = {(alpha, rate): trials for alpha, rate, trials in cells if may_spike(alpha, rate)}
    spikes = {
        seed: [trial for cell in [*sharp.values(), *quiet] if (trial := cell.get(seed)) and spiked(trial)]
        for seed in seeds
    }
    correlations = {seed: [correlation(trial) for trial in trials] for seed, trials in spikes.items()}
    known = [value for values in correlations.values() for value in values if not math.isnan(value)]
    pairs = [
        (seed, evidence.by_seed(arm=ADAM, alpha=alpha)[seed], trial)
        for alpha, rate in COMPARED
        for seed, trial in sharp.get((alpha, rate), {}).items()
        if spiked(trial) and seed in evidence.by_seed(arm=ADAM, alpha=alpha)
    ]
    return judge(
        Claim(
            "no spike where 2pα‖β‖ is below 2 / learning rate",
            each(quiet),
            f"spikes in {_count(quiet)} there; in {_count([*sharp.values()])} where it is above",
        ),
        Claim("no spike without the groups", each(without), f"spikes in {_count(without)}"),
        Claim(
            "the changes of the two groups' losses correlate below -.5 from the crossing to the first spike",
            tuple(every(below(value, CORRELATION) for value in values) for values in correlations.values() if values),
            f"{spread(known, '.3f')} in {len(known)} of {sum(map(len, correlations.values()))} runs that spike",
        ),
        Claim(
            "the rises of Adam's loss sum to less than those of gradient descent's, where this spikes",
            tuple(
                every(rises_less(adam, descent) for of, adam, descent in pairs if of == seed)
                for seed in dict.fromkeys(seed for seed, _, _ in pairs)
            ),
            f"Adam {spread((adam.final('loss_rises') for _, adam, _ in pairs), '.3g')}, gradient descent "
            f"{spread((descent.final('loss_rises') for _, _, descent in pairs), '.3g')}, in {len(pairs)} pairs",
        ),
        report("the crossing and the first spike", "; ".join(_times(*cell, trials) for cell, trials in sharp.items())),
        report(
            "Adam's spikes",
            "; ".join(
                f"α = {alpha:g}: {_count([evidence.by_seed(arm=ADAM, alpha=alpha)])}"
                for alpha in evidence.numbers("alpha")
            ),
        ),
    )


def _count(cells: list[dict[object, Trial]]) -> str:
    trials = [trial for cell in cells for trial in cell.values()]
    return f"{sum(spiked(trial) is True for trial in trials)} of {len(trials)} runs"


def _times(alpha: float, rate: float, trials: dict[object, Trial]) -> str:
    crossings, firsts = ([time_of(trial, event) for trial in trials.values()] for event in ("t_cross", "t_spike"))
    return f"α = {alpha:g}, {rate:g}: steps {spread_steps(crossings)} and {spread_steps(firsts)}"


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Left: how many seeds spike in each cell; right: the losses of one run that does."""
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    _draw_cells(left, evidence)
    alpha, rate = SHOWN
    trials = evidence.where(arm=DESCENT, alpha=alpha, learning_rate=rate)
    shown = next((trial for trial in trials if spiked(trial)), None)
    if shown is None:
        not_run(right, "the cell whose curves are drawn: no spike")
    else:
        _draw_losses(right, shown)


def _draw_cells(axes: Axes, evidence: Sweep) -> None:
    alphas, rates = evidence.numbers("alpha"), evidence.numbers("learning_rate")
    rows = [*rates, ADAM]
    colours = LinearSegmentedColormap.from_list("share", ["#f4f4f4", COLOURS[5]])
    for row, rate in enumerate(rows):
        for column, alpha in enumerate(alphas):
            arm = {"arm": ADAM} if rate == ADAM else {"arm": DESCENT, "learning_rate": rate}
            known = [answer for trial in evidence.where(alpha=alpha, **arm) if (answer := spiked(trial)) is not None]
            colour = colours(sum(known) / len(known)) if known else "white"
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, edgecolor="white", lw=1.5))
            text = f"{sum(known)} of {len(known)}" if known else "–"
            ink = ink_on(colour) if known else INK
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color=ink)
    _draw_border(axes, alphas, rates)
    tidy(axes, "Seeds whose loss spikes", xlabel="α (the groups' feature is ±√α; 0: no groups)", ylabel="")
    axes.set_xticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    axes.set_yticks(range(len(rows)), [*(f"GD, {rate:g}" for rate in rates), "Adam, 0.01"])
    axes.grid(visible=False)
    axes.set_xlim(-0.5, len(alphas) - 0.5)
    axes.set_ylim(-0.5, len(rows) - 0.5)


def _draw_border(axes: Axes, alphas: list[float], rates: list[float]) -> None:
    """The border of the cells in which 2pα‖β‖ exceeds 2 / learning rate."""
    label: str | None = "2pα‖β‖ = 2 / learning rate"
    for row, rate in enumerate(rates):
        for column, alpha in enumerate(alphas):
            if not may_spike(alpha, rate):
                continue
            edges = []
            if column and not may_spike(alphas[column - 1], rate):
                edges.append(([column - 0.5] * 2, [row - 0.5, row + 0.5]))
            if not row or not may_spike(alpha, rates[row - 1]):
                edges.append(([column - 0.5, column + 0.5], [row - 0.5] * 2))
            for x, y in edges:
                axes.plot(x, y, color=INK, lw=2.2, label=label, zorder=4, solid_capstyle="projecting")
                label = None
    legend(axes, loc="lower left")


def _draw_losses(axes: Axes, trial: Trial) -> None:
    cross, spike = trial.time("t_cross"), trial.time("t_spike")
    until = 2 * spike
    columns = {
        "positive_loss": ("rows with x_o = +√α", COLOURS[1]),
        "negative_loss": ("rows with x_o = -√α", COLOURS[0]),
        "train_loss": ("all rows", INK),
    }
    for column, (label, colour) in columns.items():
        steps, values = trial.measured(column)
        axes.plot(steps[steps <= until], values[steps <= until], color=colour, lw=1.6, label=label)
    alpha, rate = SHOWN
    tidy(axes, f"One run: α = {alpha:g}, learning rate {rate:g}", ylabel="loss (log scale)")
    axes.set_yscale("log")
    axes.set_xlim(0, until)
    if math.isfinite(cross):
        mark_step(axes, cross, "unstable")
    mark_step(axes, spike, "first spike")
    axes.set_ylim(top=1.7 * axes.get_ylim()[1])
    legend(axes, loc=(0.5, 0.3))


def condense(evidence: Sweep, snapshots: Snapshots) -> Sweep:
    """Keep the losses of the runs of gradient descent that spike only: no other's are asked for."""
    trials = (
        trial
        if not trial.begun or (trial.arm == DESCENT and spiked(trial))
        else replace(trial, curves={name: values for name, values in trial.curves.items() if name not in LOSSES})
        for trial in evidence.trials
    )
    return replace(evidence, trials=tuple(trials))


FIGURE = FigureSpec(
    title="Where two groups of outliers make the loss spike",
    statement="Gradient descent spikes only where 2pα‖β‖ exceeds 2 / learning rate, and never without the groups; "
    "until then the changes of the two groups' losses correlate below -.5; Adam's loss rises less. For grokking: the "
    "total loss hides two opposite events that grow long before it shows one.",
    space="opposing_signals",
    columns=(*LOSSES, "sharpness_ratio", "spikes", "loss_rises"),
    sized=False,
    condense=condense,
    verdict=verdict,
    draw=draw,
)
