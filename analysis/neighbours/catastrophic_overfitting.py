"""Catastrophic overfitting (Lin et al. 2023): when one step's robustness is lost to many steps, and what AAER does."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import SubFigure
from matplotlib.patches import Rectangle

from analysis.data.sweep import Sweep, Trial
from analysis.drawing.bands import COLOURS, draw_band
from analysis.drawing.panels import legend, not_run, step_panel, tidy
from analysis.drawing.style import FAINT, INK, ink_on
from analysis.paper.claims import each_seed
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Claim, Tristate, Verdict, judge, report
from analysis.paper.words import percent, spread_steps

PLAIN, RELEASED, DIFFERENTIATED = "without AAER", "AAER", "AAER, λ2 with gradient"
ATTACKS = ("FGSM", "RS-FGSM", "N-FGSM")
FGSM, PGD, ABNORMAL = "fgsm_accuracy", "pgd_accuracy", "abnormal_fraction"
SAFE, CRITICAL = 0.1, 0.25
"""The ε at which FGSM is said to stay robust, and the one at which it is said to collapse."""
BEST = 0.2
"""A PGD accuracy that never was this large cannot fall."""
BROKEN, MASKED = 0.1, 0.8
TIMES = 5.0
OWN = {"step_factor": 1.0, "lambda3": 1.5}


def collapse(trial: Trial) -> float:
    """The first step at which PGD accuracy is below half of its best so far, and FGSM accuracy above its value then.

    Infinite: at no measurement so far.
    """
    (steps, robust), (_, single) = trial.measured(PGD), trial.measured(FGSM)
    for place in range(1, len(steps)):
        best = int(robust[:place].argmax())
        if robust[best] >= BEST and robust[place] < robust[best] / 2 and single[place] > single[best]:
            return float(steps[place])
    return math.inf


def collapses(trial: Trial) -> Tristate:
    """Whether it does; None where the trial is too short to tell."""
    return True if math.isfinite(collapse(trial)) else False if trial.known_until >= trial.horizon_steps else None


def spared(trial: Trial) -> Tristate:
    """The opposite."""
    answer = collapses(trial)
    return None if answer is None else not answer


def broken(trial: Trial) -> Tristate:
    """Whether PGD accuracy is below .1 while FGSM accuracy is above .8, at a measurement."""
    (_, robust), (_, single) = trial.measured(PGD), trial.measured(FGSM)
    # Curves are kept in float32, in which .8 is above .8.
    if ((robust < np.float32(BROKEN)) & (single > np.float32(MASKED))).any():
        return True
    return False if trial.known_until >= trial.horizon_steps else None


def multiplied(trial: Trial) -> float:
    """By how much the epoch that ends at the collapse has more abnormal rows than the one before it.

    NaN where it does not collapse; infinite after an epoch with none.
    """
    steps, shares = trial.measured(ABNORMAL)
    places = np.flatnonzero(steps == collapse(trial))
    if not len(places) or not places[0]:
        return math.nan
    now, before = shares[places[0]], shares[places[0] - 1]
    return float(now / before) if before else math.inf if now else 1.0


def grown(trial: Trial) -> Tristate:
    """Whether that is at least fivefold; None where it does not collapse."""
    value = multiplied(trial)
    return None if math.isnan(value) else value >= TIMES


def cell(evidence: Sweep, arm: str, epsilon: float) -> dict[Any, Trial]:
    """The trials of a cell by seed, at the attack's own step and λ3 = 1.5 where the size has other ones too."""
    return {
        trial.seed: trial
        for trial in evidence.where(arm=arm, epsilon=epsilon)
        if all(trial.coordinates.get(axis, value) == value for axis, value in OWN.items())
    }


def verdict(evidence: Sweep) -> Verdict:
    """Seed by seed: FGSM at both ε, how it collapses, and the same with AAER."""
    safe, critical = (cell(evidence, f"FGSM, {PLAIN}", epsilon) for epsilon in (SAFE, CRITICAL))
    guarded = [cell(evidence, f"FGSM, {arm}", CRITICAL) for arm in (RELEASED, DIFFERENTIATED)]
    fell = [trial for trial in critical.values() if collapses(trial)]
    factors = [multiplied(trial) for trial in fell]
    return judge(
        *(
            Claim(
                f"FGSM {words} at ε = {epsilon:g}",
                tuple(test(trial) for trial in trials.values()),
                f"collapses in {_count(trials.values())}, at step {spread_steps(map(collapse, trials.values()))}",
            )
            for epsilon, trials, words, test in (
                (CRITICAL, critical, "collapses", collapses),
                (SAFE, safe, "does not collapse", spared),
            )
        ),
        Claim(
            f"at ε = {CRITICAL:g} PGD accuracy is below .1 while FGSM accuracy is above .8, at some step",
            tuple(broken(trial) for trial in critical.values()),
            f"PGD accuracy is at least {percent(_least(trial) for trial in critical.values())}, at the end "
            f"{_ends(critical.values())}",
        ),
        Claim(
            "in the epoch that ends at the collapse abnormal rows are 5 times those of the epoch before",
            tuple(grown(trial) for trial in critical.values()),
            f"{_factors(factors)} in {len(fell)} runs; the largest share of an epoch is "
            f"{percent(trial.largest(ABNORMAL) for trial in critical.values())}",
        ),
        Claim(
            f"with AAER, either rule for λ2, FGSM does not collapse at ε = {CRITICAL:g}",
            each_seed(guarded, spared),
            "; ".join(
                f"{arm}: collapses in {_count(trials.values())}, at the end {_ends(trials.values())}"
                for arm, trials in zip((RELEASED, DIFFERENTIATED), guarded, strict=True)
            ),
        ),
        *(
            report(
                f"{attack} at ε = {CRITICAL:g}",
                "; ".join(
                    f"{arm}: collapses in {_count(trials.values())}, at the end {_ends(trials.values())}"
                    for arm in (PLAIN, RELEASED, DIFFERENTIATED)
                    if (trials := cell(evidence, f"{attack}, {arm}", CRITICAL))
                ),
            )
            for attack in ATTACKS[1:]
        ),
    )


def _least(trial: Trial) -> float:
    """The least PGD accuracy after its best."""
    values = trial.measured(PGD)[1]
    return float(values[values.argmax() :].min()) if len(values) else math.nan


def _count(trials: Iterable[Trial]) -> str:
    answers = [collapses(trial) for trial in trials]
    return f"{answers.count(True)} of {len(answers)} runs"


def _ends(trials: Iterable[Trial]) -> str:
    """PGD and FGSM accuracy at the last step."""
    trials = list(trials)
    robust, single = (percent(trial.final(column) for trial in trials) for column in (PGD, FGSM))
    return f"PGD {robust}, FGSM {single}"


def _factors(values: Iterable[float]) -> str:
    return ", ".join("from none" if math.isinf(value) else f"{value:.2g} times" for value in sorted(values)) or "–"


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Left: how many seeds collapse in each cell; right: curves of training by FGSM at both ε."""
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    _draw_cells(left, evidence)
    _draw_curves(right, evidence)


def _draw_cells(axes: Axes, evidence: Sweep) -> None:
    epsilons, rows = evidence.numbers("epsilon"), [*evidence.values("arm")][::-1]
    colours = LinearSegmentedColormap.from_list("share", ["#f4f4f4", COLOURS[5]])
    for row, arm in enumerate(rows):
        for column, epsilon in enumerate(epsilons):
            trials = cell(evidence, str(arm), epsilon).values()
            known = [answer for trial in trials if (answer := collapses(trial)) is not None]
            if not known:
                axes.text(column, row, "–", ha="center", va="center", fontsize=8, color=FAINT)
                continue
            colour = colours(sum(known) / len(known))
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, edgecolor="white", lw=1.5))
            robust, single = (100 * np.median([trial.final(name) for trial in trials]) for name in (PGD, FGSM))
            axes.text(column, row, f"{sum(known)} of {len(known)}\n{robust:.0f} / {single:.0f} %", ha="center",
                      va="center", fontsize=8, color=ink_on(colour))  # fmt: skip
    tidy(axes, "Seeds that collapse; PGD / FGSM at the end", xlabel="ε", ylabel="")
    axes.set_xticks(range(len(epsilons)), [f"{epsilon:g}" for epsilon in epsilons])
    axes.set_yticks(range(len(rows)), [str(arm).replace(", ", ",\n", 1) for arm in rows])
    axes.grid(visible=False)
    axes.set_xlim(-0.5, len(epsilons) - 0.5)
    axes.set_ylim(-0.5, len(rows) - 0.5)


def _draw_curves(axes: Axes, evidence: Sweep) -> None:
    shown: list[Trial] = []
    for epsilon, colour in ((CRITICAL, COLOURS[5]), (SAFE, COLOURS[0])):
        trials = [*cell(evidence, f"FGSM, {PLAIN}", epsilon).values()]
        draw_band(axes, trials, FGSM, colour=colour, dashed=True, width=1.3)
        axes.plot([], [], color=colour, lw=1.8, label=f"PGD by seed, ε = {epsilon:g}")
        for trial in trials:  # no band: they fall at different steps
            axes.plot(*trial.measured(PGD), color=colour, lw=1.0, alpha=0.8)
            step = collapse(trial)
            if math.isfinite(step):
                axes.plot([step], [trial.at(PGD, step)], marker="o", ms=5, mfc="white", mec=colour, mew=1.4, ls="",
                          zorder=5)  # fmt: skip
        shown += trials
    if not shown:
        not_run(axes, "FGSM: not run")
        return
    axes.plot([], [], color=INK, ls=(0, (3.2, 1.6)), lw=1.3, label="FGSM, median")
    axes.plot([], [], marker="o", ms=5, mfc="white", mec=INK, mew=1.4, ls="", label="a seed's collapse")
    step_panel(axes, "Training by FGSM without AAER: test accuracy", shown, log=False, accuracy=True)
    legend(axes, loc="upper left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    axes.set_ylim(-0.03, 1.2)


FIGURE = FigureSpec(
    title="Robust to one step, then to no second one",
    statement=f"Trained by FGSM from zero, PGD accuracy falls below half of its best while FGSM accuracy rises at "
    f"ε = {CRITICAL:g}, not at {SAFE:g}; it is below .1 while FGSM accuracy is above .8; abnormal rows become 5 times "
    "as many in that epoch; with AAER nothing collapses. For grokking: the same kind of sudden change in the other "
    "direction; the accuracy that is trained for hides it.",
    space="catastrophic_overfitting",
    columns=(FGSM, PGD, ABNORMAL),
    verdict=verdict,
    draw=draw,
    size_in=(9.6, 5.0),
)
