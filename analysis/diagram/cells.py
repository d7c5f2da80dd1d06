"""The numbers of a phase diagram: what each cell's trials say, and how the arms compare.

Every cell pools the seeds of one setting.  Its numbers are phase frequencies with exact intervals, and for each
declared event the probability of having come by tau, the time given that, the restricted mean time and the median, as
:mod:`analysis.stats.survival` defines them.  One of the events is the diagram's main one: its times are drawn.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.comparing.arms import ArmContrast, compare_arms
from analysis.data.sweep import ARM, MISSING, Sweep, SweepError, Trial
from analysis.diagram.layout import Axis, Layout, axis_words, fixed, lay_out, setting_words
from analysis.stats.intervals import Estimate, clopper_pearson
from analysis.stats.survival import CensoredTimes, Summary, median_or_bound, summarise
from pipeline.ledger.views.records import UNFINISHED, phase_by
from trainables.engine.events import KINDS, SHARES, Event, EventKind, EventRule, PhaseRule, falls_to, rises_to

TIE = "tie"
"""The phase of a cell of which as many seeds end in one as in another."""
WIDE_INTERVAL = 0.75
"""Seeds whose interval of P is wider leave P open: one or two, three or four that disagree, five that are split."""


@dataclass(frozen=True)
class PlacedTrial:
    """A trial as it is known at tau."""

    trial: Trial
    phase: str
    """One of the diagram's phases, ``other``, ``unfinished`` or ``missing``."""
    events: Mapping[str, Event]
    """By name; empty where nothing was measured."""
    main: Event | None = None
    """The main event, and the one before it; None where nothing was measured, or no event is before it."""
    earlier: Event | None = None


@dataclass(frozen=True)
class Delay:
    """How much later than the earlier event the main one comes, in the seeds that have the earlier one."""

    trials: int
    """How many have it: of the others there is no delay."""
    median_steps: float
    """NaN where fewer than half have the main event, as far as they were followed."""
    above_steps: float
    """What the median is then above; otherwise NaN."""


@dataclass(frozen=True)
class Cell:
    """One setting and its seeds."""

    x: int
    y: int
    panel: int
    """Its place among the ticks of the diagram's facet; 0 without one."""
    label: str
    coordinates: Mapping[str, Any]
    """What all its trials have in common."""
    trials: tuple[PlacedTrial, ...]
    shares: Mapping[str, Estimate]
    """The frequency of each phase among the trials whose phase is known."""
    events: Mapping[str, Summary]
    """By name."""
    main: Summary
    delay: Delay | None = None
    """None where no phase compares the main event with an earlier one."""

    @property
    def phase(self) -> str:
        """The phase that most of its seeds end in, whatever the unfinished ones will do; else ``tie``, or what is not
        known yet: ``unfinished``, or ``missing``."""
        counts = Counter(placed.phase for placed in self.trials)
        unfinished, missing = counts.pop(UNFINISHED, 0), counts.pop(MISSING, 0)
        if not counts:
            return UNFINISHED if unfinished or not missing else MISSING
        (most, first), (_, second) = [*counts.most_common(2), ("", 0)][:2]
        if first > second + unfinished:
            return most
        return UNFINISHED if unfinished else TIE

    @property
    def unknown(self) -> str:
        """Why nothing is known of its main event by tau: the step that its trials were asked for, or ``unfinished``."""
        seen = [placed.trial for placed in self.trials if placed.phase != MISSING]
        if seen and all(trial.last_step >= trial.horizon_steps for trial in seen):
            return f"asked to {max(trial.horizon_steps for trial in seen)}"
        return "unfinished"

    @property
    def uncertain(self) -> bool:
        """Whether its seeds are so few, or so divided, that they leave P of the main event open."""
        return self.main.by_tau.high - self.main.by_tau.low > WIDE_INTERVAL

    @property
    def measured(self) -> int:
        """How many trials have measurements."""
        return len(self.trials) - self.count(MISSING)

    def count(self, phase: str) -> int:
        """How many trials are in a phase."""
        return sum(placed.phase == phase for placed in self.trials)

    def ended_by(self, kind: str) -> int:
        """How many trials had a competing event before the main one."""
        return sum(placed.main is not None and placed.main.kind == kind for placed in self.trials)


@dataclass(frozen=True)
class Diagram:
    """Everything that is drawn and written of one sweep."""

    sweep: Sweep
    question: str
    """The space's own, where its docstring opens with one, and its own event is drawn."""
    tau_steps: int
    events: tuple[EventRule, ...]
    """The declared ones, the main one at the threshold that was asked for."""
    phases: tuple[PhaseRule, ...]
    main: EventRule
    earlier: EventRule | None
    """The event that the main one is delayed against in a phase, drawn beside it."""
    x: Axis
    y: Axis | None
    cells: tuple[Cell, ...]
    pooled: tuple[str, ...]
    fixed: tuple[str, ...]
    """``train_fraction=0.4``: what all trials have that count."""
    contrasts: tuple[ArmContrast, ...]
    facet: Axis | None = None
    """Its ticks are the titles of panels, each a diagram of the same axes."""
    colour: str = "rmst"
    """What the tiles of a grid show: see :mod:`analysis.diagram.tiles`."""

    @property
    def glued(self) -> "Diagram":
        """The same cells without panels: their titles are in the ticks of the axis that cells are stacked along."""
        if self.facet is None:
            return self
        if self.y is None:
            panels = {cell.x: self.facet.ticks[cell.panel] for cell in self.cells}
            ticks = (
                tick if tick == panels[place] else f"{panels[place]} · {tick}"
                for place, tick in enumerate(self.x.ticks)
            )
            return replace(self, x=replace(self.x, ticks=tuple(ticks)), facet=None)
        rows = len(self.y.ticks)
        ticks = (f"{panel} · {tick}" for panel in self.facet.ticks for tick in self.y.ticks)
        label = f"{self.facet.label} · {self.y.label}"
        y = Axis(label, tuple(ticks), numeric=self.y.numeric and self.facet.numeric)
        cells = (replace(cell, y=cell.panel * rows + cell.y, panel=0) for cell in self.cells)
        return replace(self, y=y, cells=tuple(cells), facet=None)

    @property
    def drawn(self) -> tuple[EventRule, ...]:
        """The events that are drawn, the earlier one first."""
        return (self.main,) if self.earlier is None else (self.earlier, self.main)

    @property
    def title(self) -> str:
        """The question."""
        if self.question:
            return self.question
        by = (
            f", by {' and '.join(axis.label for axis in (self.x, self.y, self.facet) if axis and axis.label)}"
            if self.x.label
            else ""
        )
        return f"When is {self.main.words()}{by}?"

    @property
    def subtitle(self) -> str:
        """The task, tau and how many trials a cell holds."""
        counts = seeds_per_cell([cell.measured for cell in self.cells], "trial" if self.pooled else "seed")
        words = [self.sweep.task, f"τ = {self.tau_steps} steps", counts]
        fixed = [fix.replace("_", " ").replace("=", " ") for fix in self.fixed]
        words += [fix for fix in fixed if fix not in self.sweep.task]
        words += [f"pooled over {axis_words(axis)}" for axis in self.pooled]
        return "  ·  ".join(word for word in words if word)


def seeds_per_cell(counts: Sequence[int], what: str = "seed") -> str:
    """``3 seeds per cell``, or ``2 to 3 seeds per cell``, from the number in each."""
    many = f"{counts[0]}" if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"
    return f"{many} {what if many == '1' else f'{what}s'} per cell"


def build(
    sweep: Sweep,
    *,
    x: str | None = None,
    y: str | None = None,
    event: str | None = None,
    tau_steps: int | None = None,
    fix: Sequence[str] = (),
    pool: Sequence[str] = (),
    facet: str | None = None,
) -> Diagram:
    """The diagram's numbers.

    :param x: the horizontal axis, in full or by its ending; likewise ``y``.
    :param event: the main event, as :func:`asked_event` reads it; by default the last declared one.
    :param tau_steps: the time up to which the data count; the sweep's horizon by default.
    :param fix: ``["train_fraction=0.4"]``: the trials that count; :func:`analysis.diagram.layout.fixed`.
    :param pool: axes whose values are pooled in each cell.
    :param facet: the axis that has a panel for each of its values.
    :raises analysis.diagram.layout.AxisError: for an unknown axis.
    :raises SweepError: for an unknown event, a tau outside the horizon, or a sweep without measurements.
    """
    tau = sweep.tau(tau_steps)
    sweep = fixed(sweep, fix)
    layout = lay_out(sweep, x, y, pool, facet)
    if not sweep:
        raise SweepError(f"{sweep.name} in {sweep.source}: {sweep.why_empty()}")
    main = asked_event(sweep, event)
    question = sweep.question if main == sweep.events[-1] else ""
    if main.name not in {rule.name for rule in sweep.events}:
        sweep = sweep.with_events(main)
        if not any(len(trial.measured(main.column)[0]) for trial in sweep.trials):
            raise SweepError(f"--event {event}: column {main.column!r} was not measured")
    rules = tuple(main if rule.name == main.name else rule for rule in sweep.events)
    before = [phase.delayed[0] for phase in sweep.phases if phase.delayed and phase.delayed[1] == main.name]
    earlier = next((rule for rule in rules if rule.name in before), None)
    phases = tuple(sweep.phases) or _reached(main)
    members: dict[tuple[int, int, int], list[PlacedTrial]] = {}
    panels = layout.panels or (0,) * len(sweep.trials)
    for trial, panel, (column, row) in zip(sweep.trials, panels, layout.places, strict=True):
        own = trial.phases if sweep.phases else phases
        members.setdefault((panel, row, column), []).append(_placed(trial, rules, main, earlier, own, tau))
    cells = [
        _cell(trials, (column, row, panel), _label(layout, panel, column, row), rules, phases, main, earlier, tau)
        for (panel, row, column), trials in sorted(members.items(), key=lambda item: item[0])
    ]
    return Diagram(
        sweep=sweep,
        question=question,
        tau_steps=tau,
        events=rules,
        phases=phases,
        main=main,
        earlier=earlier,
        x=layout.x,
        y=layout.y,
        cells=tuple(cells),
        pooled=layout.pooled,
        fixed=tuple(fix),
        contrasts=compare_arms(sweep, main, tau),
        facet=layout.facet,
    )


def by_setting(diagram: Diagram) -> Diagram:
    """The diagram with a cell for each pair of values that its bins hold, instead of one for each pair of bins."""
    paths = [axis.bins.path for axis in (diagram.x, diagram.y) if axis is not None and axis.bins is not None]
    members: dict[tuple[Any, ...], list[PlacedTrial]] = {}
    for cell in diagram.cells:
        for placed in cell.trials:
            values = [placed.trial.coordinates.get(path) for path in paths]
            members.setdefault((cell.x, cell.y, cell.panel, *values), []).append(placed)
    rest = diagram.events, diagram.phases, diagram.main, diagram.earlier, diagram.tau_steps
    cells = [
        _cell(trials, (x, y, panel), setting_words(dict(zip(paths, values, strict=True))), *rest)
        for (x, y, panel, *values), trials in members.items()
    ]
    return replace(diagram, cells=tuple(cells))


def _cell(
    trials: Sequence[PlacedTrial],
    place: tuple[int, int, int],
    label: str,
    rules: Sequence[EventRule],
    phases: Sequence[PhaseRule],
    main: EventRule,
    earlier: EventRule | None,
    tau: int,
) -> Cell:
    """What trials of one place say together."""
    summaries = {
        # A generator of its own for each: an interval does not depend on which other cells there are.
        rule.name: summarise(
            CensoredTimes.of([placed.events[rule.name] for placed in trials if placed.events], tau),
            tau,
            np.random.default_rng(0),
        )
        for rule in rules
    }
    x, y, panel = place
    return Cell(
        x=x,
        y=y,
        panel=panel,
        label=label,
        coordinates=_common(placed.trial.coordinates for placed in trials),
        trials=tuple(trials),
        shares=_shares(trials, phases),
        events=summaries,
        main=summaries[main.name],
        delay=_delay(trials) if earlier else None,
    )


def asked_event(sweep: Sweep, asked: str | None) -> EventRule:
    """The event that ``--event`` names, its headline at the threshold; the last declared one without.

    ``NAME`` or ``NAME:THRESHOLD`` is a declared event, ``COLUMN>=THRESHOLD`` or ``COLUMN<=THRESHOLD`` one that need
    not be declared.

    :raises SweepError: naming what is allowed.
    """
    if asked is None:
        return sweep.events[-1]
    name, sign, number = re.fullmatch(r"(.*?)(?:(:|>=|<=)(.*))?", asked, re.DOTALL).groups()  # type: ignore[union-attr]
    rules = {rule.name: rule for rule in sweep.events}
    identifier = name_of_column(name)
    if sign in (">=", "<=") and identifier.isidentifier():
        make = rises_to if sign == ">=" else falls_to
        return make(name, _threshold(asked, name, number), name=identifier)
    if name not in rules:
        raise SweepError(
            f"--event {asked}: must be one of {', '.join(rules)}, with or without a threshold (NAME:NUMBER); "
            "or a column with a threshold (COLUMN>=NUMBER, COLUMN<=NUMBER)"
        )
    rule = rules[name]
    if sign is None:
        return rule
    threshold = _threshold(asked, rule.column, number)
    if threshold not in rule.thresholds:
        rule = rule.replace(thresholds=(*rule.thresholds, threshold))
    return rule.replace(headline=threshold)


def name_of_column(column: str) -> str:
    """The name of an event that is asked for by its column."""
    return re.sub(r"\W", "_", column)


def _threshold(asked: str, column: str, number: str) -> float:
    share = column.endswith(SHARES)
    try:
        threshold = float(number)
    except ValueError:
        threshold = math.nan
    if not math.isfinite(threshold) or (share and not 0 <= threshold <= 1):
        allowed = "a fraction between 0 and 1" if share else "a number"
        raise SweepError(f"--event {asked}: the threshold must be {allowed}")
    return threshold


def _reached(main: EventRule) -> tuple[PhaseRule, ...]:
    """The phases of a sweep that declares none."""
    return PhaseRule(name="reached", happened=(main.name,)), PhaseRule(name="not reached", not_happened=(main.name,))


def _label(layout: Layout, panel: int, column: int, row: int) -> str:
    """``AdamW, weight decay 0.5``; ``⊥AdamW``; ``weight decay 0.5, dtype float16``."""
    tick = layout.x.ticks[column]
    panels = [layout.facet.ticks[panel]] if layout.facet else []
    if layout.y is not None:
        return ", ".join([f"{layout.x.label} {tick}", f"{layout.y.label} {layout.y.ticks[row]}", *panels])
    if layout.x.groups:
        own = f"{layout.x.groups[column]} {tick}".strip()
    else:
        own = tick if layout.x.label in ("", ARM) else f"{layout.x.label} {tick}"
    return ", ".join(dict.fromkeys([*panels, own]))


def _placed(
    trial: Trial,
    rules: Sequence[EventRule],
    main: EventRule,
    earlier: EventRule | None,
    phases: Sequence[PhaseRule],
    tau: float,
) -> PlacedTrial:
    if not trial.begun:
        return PlacedTrial(trial, MISSING, {})
    known = {rule.name for rule in trial.outcome.rules}
    events = {
        rule.name: trial.event(rule.name, rule.shown).by(tau) if rule.name in known else _not_looked_for(rule)
        for rule in rules
    }
    return PlacedTrial(
        trial=trial,
        phase=phase_by(trial.outcome.by(tau), phases, tau, complete=trial.complete(tau)),
        events=events,
        main=events[main.name],
        earlier=events[earlier.name] if earlier else None,
    )


def _not_looked_for(rule: EventRule) -> Event:
    """The event of another arm, of which nothing is known: its column was not measured, or the source lacks it."""
    return Event(rule.name, rule.shown, EventKind.CENSORED, 0.0, math.inf)


def _delay(trials: Sequence[PlacedTrial]) -> Delay:
    """Main minus earlier event lies in (L_main - R_earlier, R_main - L_earlier]; a competing event ends no delay."""
    pairs = [
        (placed.earlier, placed.main)
        for placed in trials
        if placed.main is not None and placed.earlier is not None and placed.earlier.occurred
    ]
    times = CensoredTimes(
        low=np.array([main.low_steps - earlier.high_steps for earlier, main in pairs], dtype=float),
        high=np.array([main.high_steps - earlier.low_steps for earlier, main in pairs], dtype=float),
        cause=np.array([KINDS.index(EventKind(main.kind)) for _, main in pairs], dtype=int),
    )
    return Delay(len(pairs), *median_or_bound(times))


def _shares(trials: Sequence[PlacedTrial], phases: Iterable[PhaseRule]) -> dict[str, Estimate]:
    names = [phase.name for phase in phases]
    known = [placed.phase for placed in trials if placed.phase not in (UNFINISHED, MISSING)]
    return {
        name: Estimate(
            known.count(name) / len(known) if known else math.nan,
            *clopper_pearson(known.count(name), len(known)),
            "Clopper-Pearson",
        )
        for name in names
    }


def _common(points: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    first, *others = points
    return {name: value for name, value in first.items() if all(name in o and o[name] == value for o in others)}
