"""What the axes of a diagram do to its main event: ratios of times, and their effects on RMST and on P.

The numbers are of :mod:`analysis.stats.regression` and :mod:`analysis.stats.effects`; here they get their words.
Where the data carry no such numbers, a sentence says why.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.data.sweep import ARM
from analysis.diagram.cells import Diagram, PlacedTrial
from analysis.diagram.layout import axis_words, tick_text
from analysis.diagram.words import by_words, event_name
from analysis.drawing.effects import BAR_COLOUR, NOISE_COLOUR, PAIR_COLOUR, EffectPanel, EffectRow
from analysis.stats.design import MANY_LEVELS, Column, Design, design, is_number, level_columns
from analysis.stats.effects import Decomposition, decompose, pseudo_observations
from analysis.stats.intervals import Estimate
from analysis.stats.regression import TimeRegression, Times, TooFewError, better, fit_times, p_of_more
from analysis.stats.survival import CensoredTimes
from trainables.engine.events import KINDS, EventKind

EVENT = KINDS.index(EventKind.EVENT)
MOST_TRIALS, MOST_CELLS = 5000, 1000
"""A model of more trials, or a map of more cells, would take minutes."""
NAMED = 6
"""More settings without the event are counted."""
PARTS = 4
"""The levels of a sampled axis in the decomposition of a map, with equally many values each."""
UNEVEN = 0.05
EFFECT_COLUMNS = {
    "quantity": "time ratio: of the event's time among those that get there; RMST, P: the map of that number",
    "term": "the change of an axis; of a map an axis, or two beyond each alone; or the seeds' noise",
    "distribution": "of the times, in the model that the ratio is of",
    "value": "the ratio; of a map the standard deviation over its cells that the term makes, in steps or in shares",
    "low, high": "its 95 % interval; inf where the data set no bound",
    "share": "of the map's variance without noise",
}
"""What the columns of effects.csv mean."""
INFLUENCE_NOTE = (
    "Ratios are of the times of those that get there, by a model with a share that never does, which depends on the "
    "setting.  A bar is the standard deviation over the cells that an axis makes; ×: what two make together beyond "
    "each alone; in percent: of the variance.  What seeds would make is taken off; grey: what they do to one cell's "
    "number.  95 % intervals."
)


@dataclass(frozen=True)
class TimeRatio:
    """What one change of an axis does to the times."""

    change: str
    models: Mapping[Times, Estimate]
    chosen: Times
    uneven: str = ""
    """That the change does not do the same everywhere, where it does not."""


@dataclass(frozen=True)
class Influence:
    """What the axes do."""

    ratios: tuple[TimeRatio, ...]
    axes: tuple[str, ...]
    """Those that vary."""
    rmst: Decomposition | None
    by_tau: Decomposition | None
    remarks: tuple[str, ...]
    """What the data do not say."""


def influence(diagram: Diagram) -> Influence | None:
    """Fit and decompose; None where no axis varies."""
    placed = [one for cell in diagram.cells for one in cell.trials if one.main is not None]
    settings = [one.trial.setting for one in placed]
    varying = [
        axis
        for axis in dict.fromkeys(axis for setting in settings for axis in setting)
        if len({str(setting.get(axis)) for setting in settings}) > 1
    ]
    if not varying:
        return None
    settings = [{axis: setting[axis] for axis in varying if axis in setting} for setting in settings]
    times = CensoredTimes.of([one.main for one in placed if one.main is not None], diagram.tau_steps)
    came = np.array([one.main is not None and one.main.occurred for one in placed])
    coded = design(settings, came, ARM if ARM in varying else "")
    words = _AxisWords(varying)
    remarks = words.silence(coded, event_name(diagram.main))
    try:
        ratios = _ratios(times, settings, coded, words)
    except TooFewError as error:
        ratios = ()
        remarks.append(f"No ratios of times: {error}.")
    rmst, by_tau = _maps(diagram, placed, settings, varying)
    if rmst is None:
        remarks.append(
            f"No effects on RMST and P: they need 3 to {MOST_CELLS} cells that were followed to τ, and seeds in them."
        )
    elif diagram.sweep.suggested:
        remarks.append(
            "The effects on RMST and P are over the settings that were suggested, more of them near the best."
        )
    return Influence(ratios, tuple(varying), rmst, by_tau, tuple(remarks))


@dataclass(frozen=True)
class _AxisWords:
    """Axes, levels and changes in words; axes with the same last name go by their full ones."""

    axes: Sequence[str]

    def axis(self, axis: str) -> str:
        same = [other for other in self.axes if axis_words(other) == axis_words(axis)]
        return axis_words(axis) if len(same) == 1 else axis

    def term(self, axes: Sequence[str]) -> str:
        """``weight decay × dtype``."""
        return " × ".join(map(self.axis, axes))

    def level(self, axis: str, level: Any) -> str:
        return str(level) if axis == ARM else f"{self.axis(axis)} {tick_text(level)}"

    def silence(self, coded: Design, name: str) -> list[str]:
        """What is left out of the ratios, and why."""
        told = [
            self.level(each.axis, each.level) + (f" of {each.group}" if each.group else "") for each in coded.silent
        ]
        texts = []
        if told:
            more = f" and {len(told) - NAMED} more" if len(told) > NAMED else ""
            texts.append(f"no {name}, so no ratio: {', '.join(told[:NAMED])}{more}")
        only = [self.level(each.axis, each.level) for each in coded.alone if not each.group]
        texts += [f"{name} came with {level} only" for level in only]
        mixed = dict.fromkeys(self.axis(column.axis) for column in coded.confounded)
        if mixed:
            texts.append(f"where {name} came, {' and '.join(mixed)} cannot be told apart from the other axes")
        return texts

    def change(self, column: Column, coded: Design, settings: Sequence[Mapping[str, Any]]) -> str:
        """``doubling weight decay``, ``dtype float32 instead of float16``; arms with where they are compared."""
        if column.axis == ARM:
            start, end = (self._held(arm, coded, settings) for arm in (column.start, column.end))
            if start == end or not end:
                return f"{column.end} instead of {column.start}{start}"
            return f"{column.end}{end} instead of {column.start}{start}"
        words = self.axis(column.axis)
        if math.isnan(column.times):
            text = f"{words} {tick_text(column.end)} instead of {tick_text(column.start)}"
        else:
            text = f"doubling {words}" if column.times == 2 else f"ten times the {words}"
        arms = {setting[ARM] for setting in settings if ARM in setting and column.axis in setting}
        return f"{text} of {column.group}" if len(arms) > 1 else text

    def _held(self, arm: Any, coded: Design, settings: Sequence[Mapping[str, Any]]) -> str:
        """``at weight decay 2``: where an arm's other columns are zero."""
        held = []
        for axis in (axis for axis in self.axes if axis != ARM):
            own = [column for column in coded.columns if (column.axis, column.group) == (axis, arm)]
            levels = {
                setting[axis]
                for index, setting in enumerate(settings)
                if setting.get(ARM) == arm and axis in setting and all(column.values[index] == 0 for column in own)
            }
            held += [self.level(axis, levels.pop())] if len(levels) == 1 else []
        return f" at {' and '.join(held)}" if held else ""


# --- ratios of times ----------------------------------------------------------------------------------------------


def _ratios(
    times: CensoredTimes, settings: Sequence[Mapping[str, Any]], coded: Design, words: _AxisWords
) -> tuple[TimeRatio, ...]:
    """Fit both distributions to what varies."""
    if len(settings) > MOST_TRIALS:
        raise TooFewError(f"{len(settings)} trials, of at most {MOST_TRIALS}")
    if at_once := int(np.sum(times.high <= 0)):
        raise TooFewError(f"{at_once} trials have the event at step 0, and no multiple of 0 is another time")
    own = [setting for setting, use in zip(settings, coded.used, strict=True) if use]
    used = CensoredTimes(times.low[coded.used], times.high[coded.used], times.cause[coded.used])
    if not coded.columns:
        raise TooFewError("the event did not come at two levels of an axis")
    cure = level_columns(own, ARM if ARM in words.axes else "")
    models = {each: fit_times(used, coded.matrix, cure, each) for each in Times}
    chosen = better([*models.values()])
    return tuple(
        TimeRatio(
            change=words.change(column, coded, own),
            models={each: model.ratio(place, column.change) for each, model in models.items()},
            chosen=chosen.distribution,
            uneven=_uneven(used, coded, place, cure, chosen, own),
        )
        for place, column in enumerate(coded.columns)
    )


def _uneven(
    times: CensoredTimes,
    coded: Design,
    place: int,
    cure: np.ndarray,
    model: TimeRegression,
    settings: Sequence[Mapping[str, Any]],
) -> str:
    """Whether a ratio for each step of a numeric axis says more than one for all; then what each is."""
    column = coded.columns[place]
    came = times.cause == EVENT
    # A level without events has no step of its own: it stays with the last before it that has some.
    known = sorted({*column.values[column.has & came].tolist()})
    if math.isnan(column.times) or not 3 <= len(known) <= MANY_LEVELS:
        return ""
    own = np.column_stack([column.has & (column.values >= level) for level in known[1:]]).astype(float)
    others = np.delete(coded.matrix, place, axis=1)
    try:
        free = fit_times(times, np.column_stack([others, own]), cure, model.distribution, intervals=False)
    except TooFewError:
        return ""
    p = p_of_more(model, free)
    if p >= UNEVEN:
        return ""
    steps = np.exp(free.coefficients[others.shape[1] :])
    levels = [setting.get(column.axis) for setting in settings]
    named = {
        float(value): level
        for value, level, one in zip(column.values, levels, column.has, strict=True)
        if one and level
    }
    each = ", ".join(
        f"{tick_text(named[low])} to {tick_text(named[high])} × {_number(step)}"
        for low, high, step in zip(known, known[1:], steps, strict=False)
    )
    return f"not the same all along (p = {p:.2g}): {each}"


def _number(value: float) -> str:
    if math.isinf(value):
        return "∞"
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"


def ratio_words(estimate: Estimate) -> str:
    """``1.80 times earlier [1.51, 2.13]``; where the interval holds 1, says that it is not certain."""
    if estimate.high < 1:
        inverse = [math.inf if number == 0 else 1 / number for number in (estimate.value, estimate.high, estimate.low)]
        return "{} times earlier [{}, {}]".format(*map(_number, inverse))
    value, low, high = map(_number, (estimate.value, estimate.low, estimate.high))
    if estimate.low > 1:
        return f"{value} times later [{low}, {high}]"
    return f"neither earlier nor later for certain, × {value} [{low}, {high}]"


def _ratio_text(ratio: TimeRatio, name: str) -> str:
    other = next(each for each in ratio.models if each != ratio.chosen)
    text = f"{ratio.change} brings {name} {ratio_words(ratio.models[ratio.chosen])}"
    text += f" ({ratio.chosen}; {other} × {_number(ratio.models[other].value)})"
    return f"{text}; {ratio.uneven}" if ratio.uneven else text


# --- effects on maps ----------------------------------------------------------------------------------------------


def _maps(
    diagram: Diagram, placed: Sequence[PlacedTrial], settings: Sequence[Mapping[str, Any]], axes: Sequence[str]
) -> tuple[Decomposition | None, Decomposition | None]:
    """Decompose the maps of RMST and of P, over the settings that were followed to tau."""
    levels = {axis: _coarse([setting.get(axis) for setting in settings]) for axis in axes}
    groups: dict[tuple[Any, ...], list[PlacedTrial]] = {}
    for index, one in enumerate(placed):
        groups.setdefault(tuple(str(levels[axis][index]) for axis in axes), []).append(one)
    keys, means, shares = [], [], []
    for key, members in groups.items():
        times = CensoredTimes.of([one.main for one in members if one.main is not None], diagram.tau_steps)
        if times.followed_to(diagram.tau_steps):
            mean, share = pseudo_observations(times, diagram.tau_steps)
            keys.append(key)
            means.append(mean)
            shares.append(share)
    if len(keys) > MOST_CELLS:
        return None, None
    names = {axis: [None if key[place] == "None" else key[place] for key in keys] for place, axis in enumerate(axes)}
    return decompose(means, names), decompose(shares, names, (0.0, 1.0))


def _coarse(own: Sequence[Any]) -> Sequence[Any]:
    """The levels of an axis; of one that was sampled, which quarter of its values each is in."""
    known = [value for value in own if value is not None]
    if len({*map(str, known)}) <= MANY_LEVELS or not all(map(is_number, known)):
        return own
    edges = np.quantile(known, np.arange(1, PARTS) / PARTS)
    return [None if value is None else int(np.searchsorted(edges, value)) for value in own]


def _map_text(what: str, found: Decomposition, words: _AxisWords, style: str, unit: str) -> str:
    parts = [
        f"{words.term(effect.axes)} {effect.share:.0%} ({_sized(effect.size, style)})".replace("%", " %")
        for effect in sorted(found.effects, key=lambda effect: -effect.size.value)
        if effect.share > 5e-4
    ]
    size = f"{what} varies by {found.size:{style}}{unit} (SD) over {found.cells} cells, {found.noise:{style}} by seeds"
    return f"{size}: {', '.join(parts)}" if parts else f"{size}: no axis does more than seeds would"


def _percent(share: float) -> str:
    """A share of the variance; nothing of a map that does not vary."""
    return "" if math.isnan(share) else f"{100 * share:.0f} %"


def _sized(size: Estimate, style: str) -> str:
    interval = "" if math.isnan(size.low) else f" [{size.low:{style}}, {size.high:{style}}]"
    return f"{size.value:{style}}{interval}"


# --- what is shown ------------------------------------------------------------------------------------------------


def influence_lines(diagram: Diagram, found: Influence) -> list[str]:
    """What the axes do, a line each."""
    tau, words = diagram.tau_steps, _AxisWords(found.axes)
    lines = [_ratio_text(ratio, event_name(diagram.main)) for ratio in found.ratios]
    if found.rmst is not None and found.by_tau is not None:
        lines.append(_map_text(f"RMST({tau})", found.rmst, words, ".0f", " steps"))
        lines.append(_map_text(by_words(diagram.main, str(tau)), found.by_tau, words, ".2f", ""))
    return [*lines, *found.remarks]


def influence_panels(diagram: Diagram, found: Influence) -> list[EffectPanel]:
    """The rows of the picture."""
    panels = []
    words = _AxisWords(found.axes)
    name = event_name(diagram.main)
    if found.ratios:
        rows = []
        for ratio in found.ratios:
            estimate = ratio.models[ratio.chosen]
            interval = f"[{_number(estimate.low)}, {_number(estimate.high)}]"
            rows.append(EffectRow(label=ratio.change, estimate=estimate, text=f"{_number(estimate.value)} {interval}"))
        title = f"Time to {name}, of those that get there ({found.ratios[0].chosen})"
        panels.append(EffectPanel(title=title, xlabel="earlier  ←  ratio of times  →  later", rows=rows, ratio=True))
    for what, decomposition, style, xlabel in (
        (f"RMST({diagram.tau_steps}) of {name}", found.rmst, ".0f", "standard deviation over the cells, steps"),
        (by_words(diagram.main, str(diagram.tau_steps)), found.by_tau, ".2f", "standard deviation over the cells"),
    ):
        if decomposition is None:
            continue
        rows = [
            EffectRow(
                label=words.term(effect.axes),
                estimate=effect.size,
                text=f"{_sized(effect.size, style)}   {_percent(effect.share)}".rstrip(),
                colour=BAR_COLOUR if len(effect.axes) == 1 else PAIR_COLOUR,
            )
            for effect in decomposition.effects
        ]
        noise = Estimate(decomposition.noise, math.nan, math.nan)
        rows.append(
            EffectRow(label="seeds, in one cell", estimate=noise, text=f"{noise.value:{style}}", colour=NOISE_COLOUR)
        )
        panels.append(EffectPanel(title=what, xlabel=xlabel, rows=rows))
    return panels


def influence_table(found: Influence) -> pd.DataFrame:
    """The numbers, with the columns of :data:`EFFECT_COLUMNS`."""
    words = _AxisWords(found.axes)
    rows: list[tuple[Any, ...]] = [
        ("time ratio", ratio.change, distribution.value, estimate.value, estimate.low, estimate.high, math.nan)
        for ratio in found.ratios
        for distribution, estimate in ratio.models.items()
    ]
    for what, decomposition in (("RMST", found.rmst), ("P", found.by_tau)):
        if decomposition is not None:
            rows += [
                (what, words.term(effect.axes), "", effect.size.value, effect.size.low, effect.size.high, effect.share)
                for effect in decomposition.effects
            ]
            rows.append((what, "seeds", "", decomposition.noise, math.nan, math.nan, math.nan))
    return pd.DataFrame(rows, columns=", ".join(EFFECT_COLUMNS).split(", "))
