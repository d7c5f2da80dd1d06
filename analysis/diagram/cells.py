"""The numbers of a phase diagram: what each cell's trials say, and how the arms compare.

Every cell pools the seeds of one setting.  Its numbers are phase frequencies with Wilson intervals, and for each
of the two events (``t_mem``, ``t_gen``) the probability of having come by tau, the restricted mean time and the
median, as :mod:`analysis.stats.survival` defines them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.data.sweep import ARM, MISSING, Sweep, SweepError, Trial, is_replicate
from analysis.diagram.layout import Axis, Layout, axis_words, lay_out, setting_words
from analysis.stats.contrasts import Contrast, holm, paired_contrast
from analysis.stats.intervals import Estimate, wilson
from analysis.stats.survival import CensoredTimes, Summary, summarise
from trainables.engine.events import COMPREHENSION, GROKKING, PHASES, Event

UNFINISHED = "unfinished"
"""The phase of a trial that was not followed to tau, and may yet change."""
EVENTS = ("t_mem", "t_gen")


@dataclass(frozen=True)
class PlacedTrial:
    """A trial as it is known at tau."""

    trial: Trial
    phase: str
    """One of the phases, ``unfinished`` or ``missing``."""
    t_mem: Event | None
    t_gen: Event | None
    """None where nothing was measured."""


@dataclass(frozen=True)
class Cell:
    """One setting and its seeds."""

    x: int
    y: int
    label: str
    coordinates: Mapping[str, Any]
    """What all its trials have in common."""
    trials: tuple[PlacedTrial, ...]
    shares: Mapping[str, Estimate]
    """The frequency of each phase among the trials whose phase is known."""
    t_mem: Summary
    t_gen: Summary

    def count(self, phase: str) -> int:
        """How many trials are in a phase."""
        return sum(placed.phase == phase for placed in self.trials)

    def ended_by(self, reason: str) -> int:
        """How many trials had a competing event before they grokked."""
        return sum(placed.t_gen is not None and placed.t_gen.kind == reason for placed in self.trials)


@dataclass(frozen=True)
class ArmContrast:
    """A comparison and what it compares."""

    text: str
    contrast: Contrast
    declared: bool
    """Declared beforehand; the others are exploratory."""


@dataclass(frozen=True)
class Diagram:
    """Everything that is drawn and written of one sweep."""

    frame: Sweep
    tau_steps: int
    x: Axis
    y: Axis | None
    cells: tuple[Cell, ...]
    pooled: tuple[str, ...]
    contrasts: tuple[ArmContrast, ...]

    @property
    def title(self) -> str:
        """The question: the space's own where its docstring opens with one."""
        if self.frame.question:
            return self.frame.question
        by = (
            f", by {' and '.join(axis.label for axis in (self.x, self.y) if axis and axis.label)}"
            if self.x.label
            else ""
        )
        return f"When does the test accuracy reach {self.frame.test_threshold:g}{by}?"

    @property
    def subtitle(self) -> str:
        """The task, tau and how many trials a cell holds."""
        counts = [len(cell.trials) - cell.count(MISSING) for cell in self.cells]
        words = [self.frame.task, f"τ = {self.tau_steps} steps", seeds_a_cell(counts)]
        words += [f"pooled over {axis}" for axis in self.pooled]
        return "  ·  ".join(word for word in words if word)


def seeds_a_cell(counts: Sequence[int]) -> str:
    """``3 seeds a cell``, or ``2 to 3 seeds a cell``, from the number in each."""
    many = f"{counts[0]}" if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"
    return f"{many} {'seed' if many == '1' else 'seeds'} a cell"


def build(
    frame: Sweep,
    *,
    x: str | None = None,
    y: str | None = None,
    tau_steps: int | None = None,
    bootstrap_seed: int = 0,
) -> Diagram:
    """The diagram's numbers.

    :param x: the horizontal axis, in full or by its ending; likewise ``y``.
    :param tau_steps: the time up to which everything is told; the sweep's horizon by default.
    :param bootstrap_seed: of the generator of each cell's resamples, the same in every cell.
    :raises analysis.diagram.layout.AxisError: for an unknown axis.
    :raises SweepError: for a tau outside the horizon, or a sweep of which nothing was measured yet.
    """
    tau = frame.horizon_steps if tau_steps is None else tau_steps
    if not 0 < tau <= frame.horizon_steps:
        raise SweepError(f"--tau {tau}: must be above 0 and at most the sweep's horizon, {frame.horizon_steps} steps")
    layout = lay_out(frame, x, y)
    if not frame:
        raise SweepError(f"{frame.name} in {frame.source}: nothing was measured yet; run the sweep first")
    members: dict[tuple[int, int], list[PlacedTrial]] = {}
    for trial, place in zip(frame.trials, layout.places, strict=True):
        members.setdefault(place, []).append(_placed(frame, trial, tau))
    cells = []
    for (column, row), trials in sorted(members.items(), key=lambda item: (item[0][1], item[0][0])):
        cells.append(_cell(column, row, _label(layout, column, row), trials, tau, bootstrap_seed))
    return Diagram(frame, tau, layout.x, layout.y, tuple(cells), layout.pooled, _contrasts(frame, tau, bootstrap_seed))


def _label(layout: Layout, column: int, row: int) -> str:
    """``AdamW, weight decay 0.5``; ``⊥AdamW``; ``weight decay 0.5, dtype float16``."""
    tick = layout.x.ticks[column]
    if layout.y is not None:
        return f"{layout.x.label} {tick}, {layout.y.label} {layout.y.ticks[row]}"
    if layout.x.groups:
        return f"{layout.x.groups[column]} {tick}".strip()
    return tick if layout.x.label in ("", ARM) else f"{layout.x.label} {tick}"


def _placed(frame: Sweep, trial: Trial, tau: float) -> PlacedTrial:
    if not trial.begun:
        return PlacedTrial(trial, MISSING, None, None)
    phase = trial.outcome.by(tau).phase()
    if not trial.complete(tau) and phase not in (COMPREHENSION, GROKKING):
        phase = UNFINISHED
    return PlacedTrial(trial, phase, _t_mem(frame, trial).by(tau), _t_gen(frame, trial).by(tau))


def _t_mem(frame: Sweep, trial: Trial) -> Event:
    return trial.event("t_mem", frame.train_threshold)


def _t_gen(frame: Sweep, trial: Trial) -> Event:
    return trial.event("t_gen", frame.test_threshold)


def _cell(column: int, row: int, label: str, trials: Sequence[PlacedTrial], tau: float, seed: int) -> Cell:
    known = [placed.phase for placed in trials if placed.phase in PHASES]
    shares = {
        phase: Estimate(
            known.count(phase) / len(known) if known else math.nan, *wilson(known.count(phase), len(known)), "Wilson"
        )
        for phase in PHASES
    }
    summaries = {
        # A generator of its own for each: a cell's interval does not hang on which other cells there are.
        name: summarise([event for placed in trials if (event := getattr(placed, name))], tau, _generator(seed))
        for name in EVENTS
    }
    return Cell(
        column, row, label, _common(placed.trial.coordinates for placed in trials), tuple(trials), shares, **summaries
    )


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _common(points: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    first, *others = points
    return {name: value for name, value in first.items() if all(name in o and o[name] == value for o in others)}


# --- comparing arms -----------------------------------------------------------------------------------------------


def _contrasts(frame: Sweep, tau: float, seed: int) -> tuple[ArmContrast, ...]:
    """The last arm against the first, each at its best setting on the other seeds: declared by the sweep's shape.

    Beside it, exploratory: the last arm against each single setting of the others, adjusted by Holm's method.
    """
    arms: dict[str, dict[tuple, dict[tuple, Trial]]] = {}
    for trial in frame.trials:
        if ARM not in trial.coordinates or not trial.begun:
            continue
        setting = tuple((k, v) for k, v in trial.coordinates.items() if k != ARM and not is_replicate(k))
        replicate = tuple((k, v) for k, v in trial.coordinates.items() if is_replicate(k))
        arms.setdefault(trial.coordinates[ARM], {}).setdefault(setting, {})[replicate] = trial
    if len(arms) < 2:
        return ()
    settings = [members for arm in arms.values() for members in arm.values()]
    shared = [replicate for replicate in settings[0] if replicate and all(replicate in m for m in settings)]
    if len(shared) < 2:
        return ()
    times = {
        arm: {setting: CensoredTimes.of([_t_gen(frame, m[r]) for r in shared], tau) for setting, m in members.items()}
        for arm, members in arms.items()
    }
    names = list(times)
    first, last = names[0], names[-1]
    ours = list(times[last].values())
    declared = paired_contrast(list(times[first].values()), ours, tau, _generator(seed))
    if declared is None:
        return ()
    at_best = f"at its best {_axes_of(times[first])} as chosen on the other seeds"
    found = [ArmContrast(f"{last} minus {first}" + (f" {at_best}" if len(times[first]) > 1 else ""), declared, True)]
    single = [
        (
            f"{last} minus {setting_words({ARM: arm, **dict(setting)})}",
            paired_contrast([theirs], ours, tau, _generator(seed)),
        )
        for arm in names[:-1]
        for setting, theirs in times[arm].items()
        if len(names) > 2 or len(times[arm]) > 1
    ]
    compared = [(text, contrast) for text, contrast in single if contrast is not None]
    adjusted = holm([contrast.p for _, contrast in compared])
    found += [
        ArmContrast(text, replace(contrast, p_holm=p), False)
        for (text, contrast), p in zip(compared, adjusted, strict=True)
    ]
    return tuple(found)


def _axes_of(settings: Iterable[tuple]) -> str:
    return " · ".join(dict.fromkeys(axis_words(name) for setting in settings for name, _ in setting))
