"""Decay or projection: does ⊥AdamW grok sooner than AdamW with the best weight decay, whatever the network?

Every method's best cell is chosen on some seeds and compared on others, so that the choice flatters nobody.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from analysis.data.sweep import STEP, Sweep, Trial, paired
from analysis.diagram.words import with_interval
from analysis.drawing.bands import COLOURS
from analysis.drawing.panels import legend, not_run, ratio_axis, tidy
from analysis.drawing.style import FAINT, GRID, INK
from analysis.paper.figure import FigureSpec, Snapshots
from analysis.paper.verdict import Claim, Tristate, Verdict, judge, report
from analysis.stats.contrasts import Contrast, holm, paired_contrast
from analysis.stats.intervals import LEVEL
from analysis.stats.survival import CensoredTimes, Summary, summarise

CHOICE, CONFIRMED = "decay_or_projection", "decay_or_projection_confirmed"
DECAY, PROJECTION = "AdamW with decay", "⊥AdamW"
EVENT = "t_gen"
AGREEING = 2 / 3
"""The share of the settings that must agree: four of six."""
UNTRAINED = ("seeds", "horizon_steps", "events", "phases")
"""The fields in which a confirming trial may differ from the cell that was chosen."""


_COLOUR_OF: dict[Tristate, Any] = {True: COLOURS[1], False: COLOURS[0], None: FAINT}


@dataclass(frozen=True)
class Method:
    """One method in one setting, at the cell that was chosen for it."""

    setting: str
    """``two-hot, 2 layers``."""
    name: str
    trials: Mapping[Any, Trial]
    """The confirming trials by seed."""
    cell: str
    """Its hyper-parameters, as the confirming space has them."""
    as_chosen: bool
    """Whether the choosing seeds give this cell."""

    @cached_property
    def summary(self) -> Summary | None:
        """P, time and RMST up to the horizon; None where the runs are too short."""
        times = CensoredTimes.of([trial.event(EVENT) for trial in self.trials.values()], self.tau_steps)
        summary = summarise(times, self.tau_steps, np.random.default_rng(0))
        return None if math.isnan(summary.restricted_mean_steps.value) else summary

    @property
    def tau_steps(self) -> int:
        return next(iter(self.trials.values())).horizon_steps

    @property
    def words(self) -> str:
        """``⊥AdamW (learning rate 0.01): P 1.00 [0.69, 1.00], RMST 124 [118, 250], 123 [119, 128] given the event``."""
        if self.summary is None:
            return f"{self.name} ({self.cell}): not known"
        return (
            f"{self.name} ({self.cell}): P {with_interval(self.summary.by_tau, '.2f')}, "
            f"RMST {with_interval(self.summary.restricted_mean_steps, '.0f')}, "
            f"{with_interval(self.summary.given_steps, '.0f')} given the event"
        )


@dataclass(frozen=True)
class Comparison:
    """⊥AdamW against AdamW with decay in one setting."""

    decay: Method
    projection: Method
    contrast: Contrast | None
    p_holm: float

    @property
    def as_chosen(self) -> bool:
        """Whether the choosing seeds give both cells."""
        return self.decay.as_chosen and self.projection.as_chosen

    @property
    def sooner(self) -> Tristate:
        """Whether ⊥AdamW's RMST is below decay's; None while the adjusted p leaves it open."""
        if self.contrast is None or not self.p_holm < 1 - LEVEL or not self.as_chosen:
            return None
        return self.contrast.difference_steps.value < 0

    @property
    def by_seed(self) -> list[float]:
        """⊥AdamW's time over decay's, of each seed that has the event in both."""
        rows = paired(self.decay.trials, self.projection.trials)
        times = [[trial.event(EVENT).time_steps for trial in row] for row in rows]
        return [second / first for first, second in times if math.isfinite(first) and math.isfinite(second)]

    @property
    def words(self) -> str:
        """Both methods, how they differ, and how many seeds would decide it."""
        text = f"{self.decay.words}; {self.projection.words}"
        if not self.as_chosen:
            text += "; a cell is not the one that the choosing seeds give"
        if self.contrast is None:
            return text
        text += f"; difference of RMST {with_interval(self.contrast.difference_steps, '+.0f')}"
        if self.contrast.both:
            text += f", {with_interval(self.contrast.ratio, '.2f')} times as long in {self.contrast.both} of "
            text += f"{self.contrast.pairs} seeds"
        text += f", p = {self.p_holm:.2g} by Holm"
        if self.sooner is None and self.as_chosen and math.isfinite(self.contrast.pairs_to_decide):
            text += f"; a difference like this would need about {self.contrast.pairs_to_decide:.0f} seeds"
        return text


def methods(evidence: Sweep) -> Iterator[Method]:
    """Every method that was confirmed, in the space's order."""
    arms = dict.fromkeys(trial.coordinates["arm"] for trial in evidence.trials if trial.space == CONFIRMED)
    for arm in arms:
        trials = evidence.by_seed(space=CONFIRMED, arm=arm)
        if not trials:
            continue
        first = next(iter(trials.values()))
        setting, _, name = arm.partition(": ")
        chosen = _chosen(evidence, arm)
        yield Method(setting, name, trials, _cell(first), chosen is None or _settings(chosen) == _settings(first))


def _chosen(evidence: Sweep, arm: str) -> Trial | None:
    """A trial of the cell with the least RMST over the choosing seeds; None while that is open.

    A cell's mean so far, with what has not run as 0, only grows: one that is above another's whole mean is out before
    all its seeds have run.
    """
    cells: dict[str, list[Trial]] = {}
    for trial in evidence.trials:
        if trial.space == CHOICE and trial.coordinates["arm"] == arm:
            place = str({name: value for name, value in trial.coordinates.items() if name != "seed"})
            cells.setdefault(place, []).append(trial)
    if not cells:
        return None
    best = min(cells.values(), key=lambda trials: _least_mean(trials)[0])
    return best[0] if _least_mean(best)[1] else None


def _least_mean(trials: list[Trial]) -> tuple[float, bool]:
    """The mean time to the event, at most the horizon, by what has run so far; and whether that is all of it."""
    tau = trials[0].horizon_steps
    times = CensoredTimes.of([trial.event(EVENT) for trial in trials if trial.begun], tau)
    steps = np.where(times.came | times.censored, times.time, tau)  # after a competing event it never comes
    return float(steps.sum()) / len(trials), len(times) == len(trials) and bool(times.known_by(tau).all())


def _settings(trial: Trial) -> dict[str, Any]:
    """What trains it, without what says how long, on which seed, and what is read off: later versions add to that."""
    return {name: value for name, value in trial.config.items() if name not in UNTRAINED}


def _cell(trial: Trial) -> str:
    """``learning rate 0.01, decay 3``: what was tuned."""
    optimizer, gradient = (dict(trial.config.get(part, {})) for part in ("optimizer", "gradient"))
    parts = [f"learning rate {optimizer.get('learning_rate', math.nan):g}"]
    parts += [f"decay {optimizer['weight_decay']:g}"] if optimizer.get("weight_decay") else []
    parts += [f"λ {gradient['strength']:g}"] if "strength" in gradient else []
    return ", ".join(parts)


def comparisons(evidence: Sweep) -> list[Comparison]:
    """One a setting, with Holm's adjustment over those that can be compared."""
    by_setting: dict[str, dict[str, Method]] = {}
    for method in methods(evidence):
        by_setting.setdefault(method.setting, {})[method.name] = method
    pairs = [(each[DECAY], each[PROJECTION]) for each in by_setting.values() if {DECAY, PROJECTION} <= each.keys()]
    contrasts = [_contrast(*pair) for pair in pairs]
    adjusted = iter(holm([contrast.p for contrast in contrasts if contrast is not None]))
    return [
        Comparison(*pair, contrast, math.nan if contrast is None else next(adjusted))
        for pair, contrast in zip(pairs, contrasts, strict=True)
    ]


def _contrast(decay: Method, projection: Method) -> Contrast | None:
    rows, tau = paired(decay.trials, projection.trials), decay.tau_steps
    sides = [CensoredTimes.of([trial.event(EVENT) for trial in side], tau) for side in zip(*rows, strict=True)]
    return paired_contrast(sides[:1], sides[1:], tau, np.random.default_rng(0)) if sides else None


def overall(results: list[Comparison], asked: int) -> Tristate:
    """Whether ⊥AdamW is sooner: what at least two thirds of the settings say; None where they do not agree.

    :param asked: how many settings there are.
    """
    needed = math.ceil(AGREEING * asked)
    said = [comparison.sooner for comparison in results]
    return True if said.count(True) >= needed else False if said.count(False) >= needed else None


def verdict(evidence: Sweep) -> Verdict:
    """Setting by setting, and together."""
    results = comparisons(evidence)
    arms = {trial.coordinates["arm"] for trial in evidence.trials if trial.space == CONFIRMED}
    asked = len({arm.partition(": ")[0] for arm in arms})
    held = [comparison.sooner for comparison in results]
    counts = (
        f"⊥AdamW is sooner in {held.count(True)}, AdamW with decay in {held.count(False)}, open in "
        f"{asked - held.count(True) - held.count(False)} of {asked} settings"
    )
    others = [method for method in methods(evidence) if method.name not in (DECAY, PROJECTION)]
    return judge(
        Claim(
            "⊥AdamW's RMST is below that of AdamW with decay in two thirds of the settings",
            (overall(results, asked),) if results else (),
            counts if results else "",
            min_seeds=1,
            open_because=counts,
        ),
        *(report(comparison.decay.setting, comparison.words) for comparison in results),
        *(report(f"{method.setting}: {method.name}", method.words) for method in others),
    )


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Left: the difference in every setting; right: every method's mean time, at two layers."""
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    results = comparisons(evidence)
    _draw_differences(left, results) if results else not_run(left, "the chosen cells: not run")
    _draw_means(right, [method for method in methods(evidence) if "2 layers" in method.setting])


def _draw_differences(axes: Axes, results: list[Comparison]) -> None:
    tidy(axes, "⊥AdamW against AdamW with decay", xlabel="ratio of times, in seeds where both grok", ylabel="")
    axes.set_xscale("log")
    axes.axvline(1, color=FAINT, lw=1.0, zorder=1)
    for place, comparison in enumerate(results):
        contrast, colour = comparison.contrast, _COLOUR_OF[comparison.sooner]
        if contrast is None:
            continue
        if not contrast.both:
            axes.annotate(f"none of {contrast.pairs}", (1, place), xytext=(5, 0), textcoords="offset points",
                          va="center", fontsize=8, color=FAINT)  # fmt: skip
            continue
        axes.plot([contrast.ratio.low, contrast.ratio.high], [place, place], color=colour, lw=2,
                  solid_capstyle="butt", zorder=3)  # fmt: skip
        axes.plot([contrast.ratio.value], [place], marker="o", ms=6, color=colour, ls="", zorder=4)
        seeds = comparison.by_seed
        axes.plot(seeds, [place + 0.16] * len(seeds), marker="o", ms=3, mfc="white", mec=colour, ls="", zorder=3)
        axes.annotate(f"{contrast.both} of {contrast.pairs}", (contrast.ratio.value, place), xytext=(0, 7),
                      textcoords="offset points", ha="center", fontsize=8, color=FAINT)  # fmt: skip
    ratio_axis(axes)
    axes.set_yticks(range(len(results)), [comparison.decay.setting for comparison in results], color=INK)
    axes.set_ylim(len(results) - 0.5 + 0.17 * len(results), -0.5)  # with room for the legend
    axes.grid(visible=False, axis="y")
    for label, sooner in (("⊥AdamW sooner", True), ("decay sooner", False), ("open", None)):
        axes.plot([], [], marker="o", color=_COLOUR_OF[sooner], lw=2, label=label)
    axes.plot([], [], marker="o", ms=3, mfc="white", mec=FAINT, ls="", label="seeds")
    legend(axes, loc="lower right", fontsize=8, ncols=2)


def _draw_means(axes: Axes, shown: list[Method]) -> None:
    settings = list(dict.fromkeys(method.setting for method in shown))
    names = list(dict.fromkeys(method.name for method in shown))
    if not shown:
        not_run(axes, "two layers: not run")
        return
    tidy(axes, "Every method at two layers", xlabel="RMST of test accuracy ≥ 99 %, in steps", ylabel="")
    for number, setting in enumerate(settings):
        shift = 0.14 * (2 * number - len(settings) + 1)
        for method in shown:
            if method.setting != setting or method.summary is None:
                continue
            place, mean = names.index(method.name) + shift, method.summary.restricted_mean_steps
            axes.plot([mean.low, mean.high], [place, place], color=COLOURS[2 + number], lw=2, zorder=3)
            axes.plot([mean.value], [place], marker="o", ms=5.5, color=COLOURS[2 + number], ls="", zorder=4)
        axes.plot([], [], marker="o", color=COLOURS[2 + number], lw=2, label=setting)
    for place in range(len(names) - 1):
        axes.axhline(place + 0.5, color=GRID, lw=0.7, zorder=0.5)
    axes.set_yticks(range(len(names)), names, color=INK)
    axes.set_ylim(len(names) - 0.5 + 0.17 * len(names), -0.5)
    axes.set_xlim(left=0)
    axes.grid(visible=False, axis="y")
    legend(axes, loc="lower center", fontsize=8)


def condense(evidence: Sweep, snapshots: Snapshots) -> Sweep:
    """Each trial's test accuracy around its crossings alone: a thousand trials are to be kept in the repository."""
    return replace(evidence, trials=tuple(map(_around_crossings, evidence.trials)))


def _around_crossings(trial: Trial) -> Trial:
    if not trial.begun:
        return trial
    (rule,) = (rule for rule in trial.events if rule.name == EVENT)
    crossings = np.flatnonzero(np.diff(trial.curves[rule.column] >= rule.shown))
    last = len(trial.curves[STEP]) - 1
    held = np.arange(crossings[-1], last) if len(crossings) else ()  # until the last crossing had held
    kept = np.unique(np.concatenate([[0], crossings, crossings + 1, held, [last]])).astype(int)
    thinned = replace(trial, curves={name: trial.curves[name][kept] for name in (STEP, rule.column)})
    return thinned if repr(thinned.event(EVENT)) == repr(trial.event(EVENT)) else trial


FIGURE = FigureSpec(
    title="⊥AdamW against AdamW with weight decay, each at its best",
    statement="In at least four of six settings (two-hot or embedding inputs, one to three hidden layers) ⊥AdamW groks "
    "sooner than AdamW with weight decay, each at its best of nine cells, chosen on seeds 0 to 4, compared on others.",
    space=(CHOICE, CONFIRMED),
    columns=("test_accuracy",),
    verdict=verdict,
    draw=draw,
    condense=condense,
)
