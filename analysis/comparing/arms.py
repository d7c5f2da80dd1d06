"""How the arms of a sweep compare: which with which, where, and what their paired seeds say.

A space declares its comparisons (``SweepSpec.contrasts``); without, every arm is compared with the first, and the
output says so.  Arms are compared at each setting of the axes that they share.  Over axes of its own, and over
sampled ones, an arm is taken at its best setting, as chosen on the other seeds.
"""

from collections.abc import Iterator, Mapping, Sequence
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
            names = _at_its_best(ours, our_settings[shared]), _at_its_best(theirs, their_cells)
            where = f", {setting_words(dict(shared))}" if shared else ""
            yield ArmContrast(f"{names[0]} minus {names[1]}{where}", contrast)


def _at_its_best(arm: str, cells: Mapping[Setting, Members]) -> str:
    """``AdamW at its best weight decay as chosen on the other seeds``; the name alone where nothing is chosen."""
    if len(cells) < 2:
        return arm
    axes: Sequence[str] = [*dict.fromkeys(axis_words(name) for setting in cells for name, _ in setting)]
    return f"{arm} at its best {' · '.join(axes)} as chosen on the other seeds"
