"""Matrix recovery (Ma and Fattahi 2022): how the size of the start decides the final error, and the way there."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D

from analysis.data.sweep import Sweep, Trial, paired
from analysis.drawing.bands import COLOURS, draw_band, ramp
from analysis.drawing.panels import mark_level, not_run, step_panel, tidy
from analysis.drawing.style import FAINT, INK
from analysis.paper.claims import at_least, below, between, every
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Claim, Verdict, judge, report
from analysis.paper.words import percent, spread

ABSOLUTE, SQUARED, SINGLE = "ℓ1", "ℓ2", "ℓ1, float32"
ERROR, OUTSIDE = "relative_error", "outside_error"
EVERY, SURPLUS = 40, 6
"""r': as many columns as rows, and twice the rank."""
SHARES = (0.0, 0.1)
"""The outlier fractions that the statement is about."""
SIZES = (1e-1, 1e-3, 1e-5)
"""ε, from large to small."""
FALL, NEAR = 10.0, 3.0
LOST, RECOVERED = 0.5, 1e-2
LOOKS = {40: "-", 6: (0, (4, 2)), 3: (0, (1, 1.5))}


def final(trial: Trial, column: str = ERROR) -> float:
    """A column at the last step; NaN in a trial that is not there yet."""
    return trial.at(column, trial.horizon_steps)


def sci(values: Iterable[float]) -> str:
    """``4.5e-04 [2.6e-04, 7.6e-04]``: the median and the extremes."""
    return spread(values, ".1e")


def finals(evidence: Sweep, **cell: Any) -> str:
    """The final errors of a cell."""
    return sci(final(trial) for trial in evidence.where(**cell))


def cell(share: float, size: float, columns: int = EVERY) -> dict[str, Any]:
    """The coordinates of a cell of the ℓ1 loss in float64."""
    return {"arm": ABSOLUTE, "outlier_fraction": share, "init_scale": size, "columns_of_factor": columns}


def ratios(evidence: Sweep, above: dict[str, Any], under: dict[str, Any]) -> dict[Any, float]:
    """How many times larger the final error is in one cell than in another, by seed."""
    pairs = paired(evidence.by_seed(**above), evidence.by_seed(**under))
    return {first.seed: final(first) / final(second) for first, second in pairs}


def falling(evidence: Sweep) -> Claim:
    """That every two decades of ε bring the error down ten times, with every column and few outliers."""
    steps = {
        f"outliers {share:g}, {large:g} to {small:g}": ratios(evidence, cell(share, large), cell(share, small))
        for share in SHARES
        for large, small in pairwise(SIZES)
    }
    seeds = dict.fromkeys(seed for each in steps.values() for seed in each)
    return Claim(
        "r' = 40: two decades of ε bring the error down at least 10 times",
        tuple(every(at_least(each[seed], FALL) for each in steps.values() if seed in each) for seed in seeds),
        "; ".join(f"{name}: {spread(each.values(), '.1f')} times" for name, each in steps.items() if each),
    )


def surplus_free(evidence: Sweep) -> Claim:
    """That forty columns end where six do."""
    by_share = {share: ratios(evidence, cell(share, 1e-5), cell(share, 1e-5, SURPLUS)) for share in SHARES}
    seeds = dict.fromkeys(seed for each in by_share.values() for seed in each)
    return Claim(
        "ε = 1e-5: r' = 40 and r' = 6 end within 3 times of each other",
        tuple(
            every(between(each[seed], 1 / NEAR, NEAR) for each in by_share.values() if seed in each) for seed in seeds
        ),
        "; ".join(
            f"outliers {share:g}: r' = 40 ends {spread(each.values(), '.2f')} times as high"
            for share, each in by_share.items()
            if each
        ),
    )


def robust(evidence: Sweep) -> Claim:
    """That outliers ruin the ℓ2 loss and not the ℓ1 loss."""
    small = SIZES[1:]
    losses = [evidence.by_seed(arm=SQUARED, init_scale=size) for size in small]
    absolutes = [evidence.by_seed(**cell(0.1, size)) for size in small]
    rows = paired(*losses, *absolutes)
    return Claim(
        "10 % outliers: ℓ2 ends above .5 and ℓ1 below .01, at ε = 1e-3 and 1e-5",
        tuple(
            every(
                [
                    *(at_least(final(trial), LOST) for trial in row[: len(small)]),
                    *(below(final(trial), RECOVERED) for trial in row[len(small) :]),
                ]
            )
            for row in rows
        ),
        f"ℓ2: {sci(final(trial) for row in rows for trial in row[:2])}; "
        f"ℓ1: {sci(final(trial) for row in rows for trial in row[2:])}"
        if rows
        else "",
    )


def verdict(evidence: Sweep) -> Verdict:
    """The three parts of the statement; beside them many outliers, no surplus, float32, and what the error is of."""
    outside = [
        final(trial, OUTSIDE) / final(trial) for size in SIZES[1:] for trial in evidence.where(**cell(0.1, size))
    ]
    return judge(
        falling(evidence),
        surplus_free(evidence),
        robust(evidence),
        report("30 % outliers, r' = 40, ε = 1e-5", finals(evidence, **cell(0.3, 1e-5))),
        report("r' = 3 (no surplus), 10 % outliers, ε = 1e-5", finals(evidence, **cell(0.1, 1e-5, 3))),
        report("float32, no outliers, ε = 1e-5", finals(evidence, arm=SINGLE, init_scale=1e-5)),
        report("share of the error outside the range of X*, 10 % outliers, ε ≤ 1e-3", percent(outside)),
    )


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Left: the final error over ε; right: the error over the steps, with 10 % outliers."""
    left, right = figure.subplots(1, 2, width_ratios=(1.05, 1))
    _draw_finals(left, evidence)
    _draw_curves(right, evidence)


def _draw_finals(axes: Axes, evidence: Sweep) -> None:
    shares = evidence.numbers("outlier_fraction")
    if not _known(evidence.where(arm=[ABSOLUTE, SQUARED])):
        not_run(axes, "the last step: not reached")
        return
    colours = dict(zip(shares, (COLOURS[0], COLOURS[1], COLOURS[5]), strict=True))
    for share in shares:
        for columns, dashes in LOOKS.items():
            spans = [
                (size, values)
                for size in sorted(SIZES)
                if (values := _known(evidence.where(**cell(share, size, columns))))
            ]
            _draw_medians(axes, spans, colour=colours[share], ls=dashes, lw=1.8, ms=4)
    squared = [(size, _known(evidence.where(arm=SQUARED, init_scale=size))) for size in sorted(SIZES[1:])]
    _draw_medians(axes, [each for each in squared if each[1]], colour=INK, ls="-", lw=1.2, ms=5, marker="s")
    tidy(axes, "Error at the last step, by the size of the start", xlabel="ε (log scale)", ylabel="relative error")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(top=100 * axes.get_ylim()[1])  # room for the legend
    named = [Line2D([], [], color=colours[share], lw=2, label=f"{100 * share:g} % outliers") for share in shares]
    named.append(Line2D([], [], color=INK, lw=1.2, marker="s", ms=5, label="ℓ2, 10 % outliers"))
    kinds = [Line2D([], [], color=FAINT, lw=1.8, ls=dashes, label=f"r' = {r}") for r, dashes in LOOKS.items()]
    axes.legend(
        handles=[*named, *kinds], ncols=2, loc="upper left", fontsize=8.5, frameon=False, labelspacing=0.35,
        handlelength=2.4,
    )  # fmt: skip


def _known(trials: Sequence[Trial]) -> list[float]:
    return [value for trial in trials if not np.isnan(value := final(trial))]


def _draw_medians(
    axes: Axes,
    spans: Sequence[tuple[float, list[float]]],
    *,
    colour: Any,
    ls: Any,
    lw: float,
    ms: float,
    marker: str = "o",
) -> None:
    """The seeds' medians over ε, and their extremes as bars."""
    sizes, medians = [size for size, _ in spans], [float(np.median(values)) for _, values in spans]
    axes.plot(sizes, medians, color=colour, ls=ls, lw=lw, marker=marker, ms=ms, zorder=3)
    for size, values in spans:
        axes.plot([size, size], [min(values), max(values)], color=colour, lw=1.0, alpha=0.6, zorder=2)


def _draw_curves(axes: Axes, evidence: Sweep) -> None:
    shown: list[Trial] = []
    for size, colour in zip(SIZES, ramp(len(SIZES)), strict=True):
        trials = evidence.where(**cell(0.1, size))
        draw_band(axes, trials, ERROR, colour=colour, label=f"ℓ1, ε = {size:g}")
        shown += trials
    squared = evidence.where(arm=SQUARED, init_scale=1e-5)
    draw_band(axes, squared, ERROR, colour=INK, label="ℓ2, ε = 1e-05", dashed=True, width=1.4)
    if not (shown or squared):
        not_run(axes, "10 % outliers: not run")
        return
    axes.set_yscale("log")
    mark_level(axes, RECOVERED)
    step_panel(
        axes, "10 % outliers, r' = 40", [*shown, *squared], log=False, ylabel="relative error", legend_at="lower left"
    )


FIGURE = FigureSpec(
    title="The size of the start in place of a penalty",
    statement="Two decades of ε bring the final error down at least 10 times with all 40 columns and up to 10 % "
    "outliers; 40 columns end within 3 times of 6; with 10 % outliers the ℓ2 loss fails where the ℓ1 loss recovers. "
    "For grokking: a small start keeps surplus capacity unused, at the price of a delay, and nothing is projected.",
    space="matrix_recovery",
    columns=(ERROR, OUTSIDE),
    sized=False,
    verdict=verdict,
    draw=draw,
)
