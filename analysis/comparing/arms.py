"""How the arms of a sweep compare: which with which, where, and what their paired seeds say.

A space declares its comparisons (``SweepSpec.contrasts``); without, every arm is compared with the first, and the
output says so.  Arms are compared at each setting of the axes that they share.  Over axes of its own, and over
sampled ones, an arm is taken at its best setting, as chosen on the other seeds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.data.sweep import ARM, Sweep, Trial, shared_seeds
from analysis.diagram.layout import axis_words, setting_words
from analysis.stats.contrasts import Contrast, holm, paired_contrast
from analysis.stats.survival import CensoredTimes
from trainables.engine.events import EventRule

Setting = tuple[tuple[str, Any], ...]
Members = Mapping[Any, Trial]
"""The trials of one setting by seed."""


@dataclass(frozen=True)
class ArmContrast:
    """A comparison and what it compares."""

    text: str
    """``⊥AdamW minus AdamW at its best weight decay as chosen on the other seeds``."""
    contrast: Contrast
    """With Holm's adjustment where there are several."""


def compare_arms(sweep: Sweep, main: EventRule, tau_steps: float) -> tuple[ArmContrast, ...]:
    """Every comparison that two seeds or more can make, in the declared order, setting by setting."""
    arms = _arms(sweep)
    names = list(arms)
    pairs = sweep.contrasts or [(name, names[0]) for name in names[1:]]
    compared = [
        found
        for ours, theirs in pairs
        if {ours, theirs} <= arms.keys()
        for found in _at_each_setting((theirs, arms[theirs]), (ours, arms[ours]), main, tau_steps)
    ]
    if len(compared) < 2:
        return tuple(compared)
    adjusted = holm([each.contrast.p for each in compared])
    return tuple(
        replace(each, contrast=replace(each.contrast, p_holm=p)) for each, p in zip(compared, adjusted, strict=True)
    )


def _arms(sweep: Sweep) -> dict[str, dict[Setting, dict[Setting, Members]]]:
    """The begun trials by arm, by setting of the shared axes, and by setting of the arm's own."""
    own = _own_axes(sweep)
    arms: dict[str, Any] = {}
    for trial in sweep.trials:
        if ARM not in trial.coordinates or not trial.begun:
            continue
        setting = [(name, value) for name, value in trial.setting.items() if name != ARM]
        shared = tuple(item for item in setting if item[0] not in own)
        tuned = tuple(item for item in setting if item[0] in own)
        cells = arms.setdefault(trial.arm, {}).setdefault(shared, {})
        cells.setdefault(tuned, {})[trial.seed] = trial
    return arms


def _own_axes(sweep: Sweep) -> set[str]:
    """The axes over which an arm is tuned: those of an arm, those that an arm lacks, and the sampled ones."""
    own = {axis["path"] for arm in sweep.design.get("arms", ()) for axis in arm.get("axes", ())}
    axes: dict[str, set[str]] = {}
    for trial in sweep.trials:
        axes.setdefault(trial.arm, set()).update(trial.setting)
    lacking = {name for names in axes.values() for name in names if not all(name in each for each in axes.values())}
    return own | lacking | sweep.sampled


def _at_each_setting(
    first: tuple[str, Mapping[Setting, Mapping[Setting, Members]]],
    second: tuple[str, Mapping[Setting, Mapping[Setting, Members]]],
    main: EventRule,
    tau_steps: float,
) -> Iterator[ArmContrast]:
    """The second arm against the first, at each setting of the shared axes that both have."""
    (theirs, their_settings), (ours, our_settings) = first, second
    for shared, their_cells in their_settings.items():
        if shared not in our_settings:
            continue
        seeds = shared_seeds(*their_cells.values(), *our_settings[shared].values())
        their_times, our_times = (
            [CensoredTimes.of([cell[seed].event(main.name, main.shown) for seed in seeds], tau_steps) for cell in side]
            for side in (their_cells.values(), our_settings[shared].values())
        )
        # A generator of its own: an interval does not depend on which other comparisons there are.
        contrast = paired_contrast(their_times, our_times, tau_steps, np.random.default_rng(0)) if seeds else None
        if contrast is not None:
            where = f", {setting_words(dict(shared))}" if shared else ""
            tuned = _tuned(our_settings[shared]), _tuned(their_cells)
            yield ArmContrast(f"{_minus(ours, theirs, *tuned)}{where}", contrast)


def _minus(ours: str, theirs: str, our_axes: str, their_axes: str) -> str:
    """``⊥AdamW minus AdamW at its best weight decay as chosen on the other seeds``; both tuned alike, said once."""
    chosen = "as chosen on the other seeds"
    if our_axes and our_axes == their_axes:
        return f"{ours} minus {theirs}, each at its best {our_axes} {chosen}"
    sides = ((ours, our_axes), (theirs, their_axes))
    return " minus ".join(f"{arm} at its best {axes} {chosen}" if axes else arm for arm, axes in sides)


def _tuned(cells: Mapping[Setting, Members]) -> str:
    """The axes over which an arm's best setting is chosen; empty where it has a single one."""
    if len(cells) < 2:
        return ""
    return " · ".join(dict.fromkeys(axis_words(name) for setting in cells for name, _ in setting))
