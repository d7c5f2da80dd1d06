"""Events as data: what is declared of a trial, and when it came in one trajectory, as a censored interval.

An :class:`EventRule` names a column and thresholds, and says which way the column crosses them and how long it must
stay.  Stopping, tracking and the analysis share the one definition of this module; it needs numpy only.

An event is known to lie in ``(low_steps, high_steps]``: the last measurement short of the threshold and the first of
the run that holds.  A trial that ends first is right-censored at its last measurement short of it.  Divergence and
certified freezing compete with the event: after them it can no longer happen.  So does a stop on the success of other
events: whether this one would have come is not known, and the stop depended on how the trial went.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from trainables.engine.config import Config, ConfigError, option

RISES, FALLS = "rises", "falls"
SHARES = ("_accuracy", "_fraction")
"""How the names of columns end that hold shares; their thresholds are named in percent."""


class StopReason(StrEnum):
    """Why a trial ended before its horizon."""

    SUCCESS = "success"
    """Every event that was declared for it has held."""
    DIVERGED = "diverged"
    """The loss, the gradient or the weights are not finite."""
    FROZEN = "frozen"
    """The weights provably never change again."""


class EventKind(StrEnum):
    """What ended the waiting for an event; all but the first two are competing events."""

    CENSORED = "censored"
    EVENT = "event"
    DIVERGED = "diverged"
    FROZEN = "frozen"
    STOPPED = "stopped"
    """The trial stopped on the success of the events that were declared for it; this one was not among them."""


KINDS = tuple(EventKind)
"""In the order in which MLflow stores them by index."""
TIMES = ("low_steps", "high_steps", "first_crossing_steps", "relapse_steps", "decided_steps")
"""The fields of an event that are steps."""
_ENDED_BY = {
    StopReason.DIVERGED: EventKind.DIVERGED,
    StopReason.FROZEN: EventKind.FROZEN,
    StopReason.SUCCESS: EventKind.STOPPED,
}


@dataclass(frozen=True, kw_only=True)
class EventRule(Config):
    """A column that rises or falls to a threshold and stays there.

    A crossing counts when it holds for ``hold_measurements`` measurements in a row and for ``hold_fraction`` of the
    steps so far.  Make rules by :func:`rises_to` and :func:`falls_to`.
    """

    name: str = option(example="t_gen")
    """As tables, flags and metrics call it: ``t_gen``."""
    column: str = option(example="test_accuracy")
    direction: str = option(choices=(RISES, FALLS), example=RISES)
    thresholds: tuple[float, ...] = option(example=(0.95,))
    """Each is reported."""
    headline: float | None = option(None)
    """The threshold that phases, tables and pictures show; None: the last one."""
    hold_measurements: int = option(3, at_least=1)
    hold_fraction: float = option(0.05, at_least=0.0, below=1.0)
    after: str = option("")
    """The name of an earlier event: only what comes after its headline counts, such as a later fall."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.name.isidentifier():
            raise ConfigError(f"EventRule.name = {self.name!r}: must be a name of letters, digits and '_'")
        if not self.thresholds or len(set(self.thresholds)) < len(self.thresholds):
            raise ConfigError(f"EventRule.thresholds = {self.thresholds!r}: must be different, and at least one")
        if self.headline is None:
            object.__setattr__(self, "headline", self.thresholds[-1])
        if self.headline not in self.thresholds:
            allowed = ", ".join(f"{threshold:g}" for threshold in self.thresholds)
            raise ConfigError(f"EventRule.headline = {self.headline!r}: must be one of the thresholds, {allowed}")

    @property
    def shown(self) -> float:
        """The headline's threshold."""
        return self.thresholds[-1] if self.headline is None else self.headline

    @property
    def hardest(self) -> float:
        """The threshold that implies all the others."""
        return max(self.thresholds) if self.direction == RISES else min(self.thresholds)

    def key(self, threshold: float) -> str:
        """The stem of a threshold's metrics: ``t_gen_95`` for an accuracy of .95, ``t_fit_0p001`` for a loss."""
        number = 100 * threshold if self.column.endswith(SHARES) else threshold
        return f"{self.name}_{number:g}".replace(".", "p").replace("-", "m")

    def words(self, threshold: float | None = None) -> str:
        """``test accuracy ≥ 0.95``, at the headline by default."""
        sign = "≥" if self.direction == RISES else "≤"
        return f"{self.column.replace('_', ' ')} {sign} {self.shown if threshold is None else threshold:g}"

    def reached(self, values: np.ndarray, threshold: float) -> np.ndarray:
        """Where the column is at the threshold or beyond; NaN is not: shape (T,), bool."""
        return values >= threshold if self.direction == RISES else values <= threshold

    def implies(self, other: "EventRule") -> bool:
        """Whether every threshold of the other has held where this rule's have; names do not matter."""
        if self.replace(name=other.name, thresholds=other.thresholds, headline=other.headline) != other:
            return False
        return self.hardest >= other.hardest if self.direction == RISES else self.hardest <= other.hardest


def rises_to(column: str, *thresholds: float, name: str, **options: object) -> EventRule:
    """The event that a column rises to each threshold: ``rises_to("sc_any_fraction", .5, name="t_collapse")``.

    :param options: other fields of :class:`EventRule`.
    """
    return EventRule(name=name, column=column, direction=RISES, thresholds=thresholds, **options)  # type: ignore[arg-type]


def falls_to(column: str, *thresholds: float, name: str, **options: object) -> EventRule:
    """The event that a column falls to each threshold: ``falls_to("train_loss", .1, .01, name="t_fit")``.

    :param options: other fields of :class:`EventRule`; ``after="t_gen"`` makes it a later fall.
    """
    return EventRule(name=name, column=column, direction=FALLS, thresholds=thresholds, **options)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class PhaseRule(Config):
    """What a run is called by the events that came, at their headlines; the first rule of a list that fits counts."""

    name: str = option(example="grokking")
    happened: tuple[str, ...] = option(())
    """Events that came."""
    not_happened: tuple[str, ...] = option(())
    """Events that did not come (by the time that is asked about)."""
    delayed: tuple[str, str] | None = option(None)
    """Two events: the second came at least ``delay_ratio`` times as late as the first, or ``delay_steps`` after it."""
    prompt: tuple[str, str] | None = option(None)
    """Two events: it did not."""
    delay_ratio: float = option(2.0, above=1.0)
    delay_steps: int | None = option(None, at_least=1)
    """Where it is given, it counts instead of the ratio."""
    colour: str = option("")
    """``#rrggbb``, in every picture; empty: one is chosen."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch("(#[0-9a-fA-F]{6})?", self.colour):
            raise ConfigError(f"PhaseRule.colour = {self.colour!r}: must be '#rrggbb', or empty")

    @property
    def events(self) -> tuple[str, ...]:
        """The names of all events that it looks at."""
        pairs = (*(self.delayed or ()), *(self.prompt or ()))
        return tuple(dict.fromkeys((*self.happened, *self.not_happened, *pairs)))

    def fits(self, outcome: "Outcome") -> bool:
        """Whether a run with this outcome is in the phase."""
        return (
            all(outcome.event(name).occurred for name in self.happened)
            and not any(outcome.event(name).occurred for name in self.not_happened)
            and (self.delayed is None or self._is_late(outcome, *self.delayed))
            and (self.prompt is None or not self._is_late(outcome, *self.prompt))
        )

    def _is_late(self, outcome: "Outcome", first: str, second: str) -> bool:
        early, late = outcome.event(first), outcome.event(second)
        if not (early.occurred and late.occurred):
            return False
        if self.delay_steps is not None:
            return late.high_steps - early.high_steps >= self.delay_steps
        return late.high_steps >= self.delay_ratio * max(early.high_steps, 1)


ACCURACY_EVENTS = (
    rises_to("train_accuracy", 0.9, 0.99, name="t_mem", headline=0.99),
    rises_to("test_accuracy", 0.5, 0.9, 0.95, 0.99, name="t_gen", headline=0.95),
)
"""The standard events of a classifier: memorization and generalization."""
ACCURACY_PHASES = (
    PhaseRule(name="comprehension", happened=("t_mem", "t_gen"), prompt=("t_mem", "t_gen"), colour="#005b8e"),
    PhaseRule(name="grokking", happened=("t_mem", "t_gen"), delayed=("t_mem", "t_gen"), colour="#56b4e9"),
    PhaseRule(name="test only", happened=("t_gen",), not_happened=("t_mem",), colour="#cc79a7"),
    PhaseRule(name="memorization", happened=("t_mem",), not_happened=("t_gen",), colour="#e69f00"),
    PhaseRule(name="confusion", not_happened=("t_mem", "t_gen"), colour="#b3b3b3"),
)
"""The phases of a run after Liu et al. 2022 ("Towards understanding grokking"), and the one that they left out."""
LIU_2022_EVENTS = tuple(
    rule.replace(thresholds=(0.9,), headline=0.9, hold_measurements=1, hold_fraction=0.0) for rule in ACCURACY_EVENTS
)
"""Their own events: the first crossings of .9, whether they last or not."""
LIU_2022_PHASES = tuple(rule.replace(delay_steps=1000) for rule in ACCURACY_PHASES)
"""Their own phases: delayed is a thousand steps later, whatever the first step was."""


def check_declared(events: Sequence[EventRule], phases: Sequence[PhaseRule]) -> None:
    """Make sure that the events have different names and that whatever refers to one finds it.

    :raises ConfigError: naming the first that does not.
    """
    names: list[str] = []
    for rule in events:
        if rule.name in names:
            raise ConfigError(f"events: the name {rule.name!r} appears twice; events must have different names")
        if rule.after and rule.after not in names:
            raise ConfigError(
                f"events: {rule.name}.after = {rule.after!r}: must be one of the events before it: {_list(names)}"
            )
        names.append(rule.name)
    seen: list[str] = []
    for phase in phases:
        missing = [name for name in phase.events if name not in names]
        if missing:
            allowed = f"must be one of: {_list(names)}; phases=() declares none"
            raise ConfigError(f"phases: {phase.name!r} looks at event {missing[0]!r}; {allowed}")
        if phase.name in seen:
            raise ConfigError(f"phases: the name {phase.name!r} appears twice; phases must have different names")
        seen.append(phase.name)


def decides(held: Sequence[EventRule], asked: Sequence[EventRule]) -> bool:
    """Whether a trial in which the rules ``held`` have held leaves none of the rules ``asked`` open."""
    by_name = {rule.name: rule for rule in held}
    starts = {rule.name: rule for rule in asked}
    return all(
        any(rule.implies(other) for rule in held)
        and (not other.after or by_name.get(other.after) == starts[other.after])
        for other in asked
    )


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none is declared"


@dataclass(frozen=True)
class Event:
    """When one threshold was reached: in ``(low_steps, high_steps]`` if it occurred.

    Censored: not by ``low_steps`` (``high_steps`` is infinite).  A competing event lies in the interval itself.
    ``first_crossing_steps`` is the first measurement at the threshold, whether it held or not; ``relapse_steps`` the
    first one short of it after a run that held; NaN where there is none.  ``decided_steps`` is the measurement at
    which the kind was known: the event had held long enough, or the trial had ended; censored: the last one.
    """

    name: str
    threshold: float
    kind: str
    low_steps: float
    high_steps: float
    first_crossing_steps: float = math.nan
    relapse_steps: float = math.nan
    decided_steps: float = math.nan

    def __post_init__(self) -> None:
        if math.isnan(self.decided_steps):
            ends = self.high_steps if math.isfinite(self.high_steps) else self.low_steps
            object.__setattr__(self, "decided_steps", ends)

    @property
    def occurred(self) -> bool:
        return self.kind == EventKind.EVENT

    @property
    def time_steps(self) -> float:
        """The one number that stands for an event: the middle of its interval; infinite where it did not occur.

        The upper end, the first measurement that shows the event, is late by half an interval on average.
        """
        return (self.low_steps + self.high_steps) / 2 if self.occurred else math.inf

    def by(self, tau_steps: float) -> "Event":
        """The event as it is known at a time ``tau_steps``: what is decided later, is censored.

        A run that has not held long enough by then is no event by then; whoever was followed to tau is known not to
        have had it.
        """
        crossing = self.first_crossing_steps if self.first_crossing_steps <= tau_steps else math.nan
        relapse = self.relapse_steps if self.relapse_steps <= tau_steps else math.nan
        if self.decided_steps <= tau_steps and self.kind != EventKind.CENSORED:
            return replace(self, relapse_steps=relapse)
        followed = self.decided_steps >= tau_steps
        low, decided = (tau_steps, tau_steps) if followed else (self.low_steps, self.decided_steps)
        return Event(self.name, self.threshold, EventKind.CENSORED, low, math.inf, crossing, relapse, decided)


@dataclass(frozen=True)
class Outcome:
    """Every event of one trial: for each rule, in order, one for each of its thresholds."""

    rules: tuple[EventRule, ...]
    events: tuple[Event, ...]

    def event(self, name: str, threshold: float | None = None) -> Event:
        """The event of one name and threshold, the headline's by default.

        :raises KeyError: when it was not evaluated.
        """
        for rule, event in self._pairs():
            if rule.name == name and math.isclose(event.threshold, rule.shown if threshold is None else threshold):
                return event
        allowed = ", ".join(rule.key(event.threshold) for rule, event in self._pairs())
        raise KeyError(f"{name} at {threshold or 'its headline'}: must be one of: {allowed}")

    def by(self, tau_steps: float) -> "Outcome":
        """The outcome as it is known at a time ``tau_steps``."""
        return Outcome(self.rules, tuple(event.by(tau_steps) for event in self.events))

    def phase(self, phases: Iterable[PhaseRule]) -> str:
        """The name of the first phase that fits; empty where none does."""
        return next((phase.name for phase in phases if phase.fits(self)), "")

    def delay(self, first: str, second: str) -> tuple[float, float]:
        """``second - first`` in ``(low, high]``, by the headlines.

        ``high`` is infinite where the second did not occur; both are NaN where the first did not.
        """
        early, late = self.event(first), self.event(second)
        if not early.occurred:
            return math.nan, math.nan
        high = late.high_steps - early.low_steps if late.occurred else math.inf
        return late.low_steps - early.high_steps, high

    def delay_ratio(self, first: str, second: str) -> tuple[float, float]:
        """``second / first`` in ``(low, high]``, undefined and open as :meth:`delay` is."""
        early, late = self.event(first), self.event(second)
        if not early.occurred:
            return math.nan, math.nan
        open_above = not late.occurred or early.low_steps == 0
        high = math.inf if open_above else late.high_steps / early.low_steps
        return late.low_steps / max(early.high_steps, 1), high

    def to_metrics(self) -> dict[str, float]:
        """Finite numbers only, by name; :func:`outcome_from_metrics` is the inverse."""
        metrics: dict[str, float] = {}
        for rule, event in self._pairs():
            key = rule.key(event.threshold)
            metrics[f"{key}_kind"] = float(KINDS.index(EventKind(event.kind)))
            for name in TIMES:
                if math.isfinite(getattr(event, name)):
                    metrics[f"{key}_{name}"] = float(getattr(event, name))
        return metrics

    def _pairs(self) -> Iterable[tuple[EventRule, Event]]:
        return zip((rule for rule in self.rules for _ in rule.thresholds), self.events, strict=True)


def outcome_from_metrics(metrics: Mapping[str, float], rules: Sequence[EventRule]) -> Outcome:
    """The outcome that :meth:`Outcome.to_metrics` wrote.

    :raises KeyError: when an event of one of the rules is missing.
    """
    events = []
    for rule in rules:
        for threshold in rule.thresholds:
            key = rule.key(threshold)
            events.append(
                Event(
                    name=rule.name,
                    threshold=threshold,
                    kind=KINDS[int(metrics[f"{key}_kind"])],
                    low_steps=metrics[f"{key}_low_steps"],
                    high_steps=metrics.get(f"{key}_high_steps", math.inf),
                    first_crossing_steps=metrics.get(f"{key}_first_crossing_steps", math.nan),
                    relapse_steps=metrics.get(f"{key}_relapse_steps", math.nan),
                    decided_steps=metrics.get(f"{key}_decided_steps", math.nan),
                )
            )
    return Outcome(tuple(rules), tuple(events))


def outcome(
    steps: np.ndarray,
    columns: Mapping[str, np.ndarray],
    rules: Sequence[EventRule],
    *,
    stop_reason: str | None = None,
) -> Outcome:
    """The outcome of one trajectory.

    :param steps: the measured steps, strictly ascending, shape (T,).
    :param columns: the columns of the rules at those steps, each (T,); a rule skips the steps at which its column is
        NaN, that is, was not measured.
    :param stop_reason: why the trial ended before its horizon; None where it did not.
    """
    if len(steps) == 0:
        raise ValueError("an outcome needs at least one measurement")
    events: list[Event] = []
    headlines: dict[str, Event] = {}
    for rule in rules:
        watched = _Watched.of(rule, steps, columns, headlines.get(rule.after), stop_reason)
        found = [watched.event(threshold) for threshold in rule.thresholds]
        headlines[rule.name] = found[rule.thresholds.index(rule.shown)]
        events += found
    return Outcome(tuple(rules), tuple(events))


def all_held(steps: np.ndarray, columns: Mapping[str, np.ndarray], rules: Sequence[EventRule]) -> bool:
    """Whether every event has held, at every threshold, so that none is censored by a stop now.

    :param steps: the measured steps so far, shape (T,); ``columns`` as in :func:`outcome`.
    """
    # Asked at every measurement of every trial, so first the cheap question, to which the answer is mostly no.
    if not all(rule.column in columns and rule.reached(columns[rule.column], rule.hardest).any() for rule in rules):
        return False
    headlines: dict[str, Event] = {}
    for rule in rules:
        watched = _Watched.of(rule, steps, columns, headlines.get(rule.after), None)
        if not watched.event(rule.hardest).occurred:
            return False
        headlines[rule.name] = watched.event(rule.shown)
    return True


@dataclass(frozen=True)
class _Watched:
    """One rule's column where it was measured, and how the trial ended."""

    rule: EventRule
    steps: np.ndarray
    values: np.ndarray
    last_step: float
    """Of the whole trajectory."""
    stop_reason: str | None
    start: Event | None
    """What has to come before; None: nothing."""

    @classmethod
    def of(
        cls,
        rule: EventRule,
        steps: np.ndarray,
        columns: Mapping[str, np.ndarray],
        start: Event | None,
        stop_reason: str | None,
    ) -> "_Watched":
        values = np.asarray(columns.get(rule.column, np.full(len(steps), math.nan)), dtype=float)
        measured = ~np.isnan(values)
        return cls(rule, np.asarray(steps)[measured], values[measured], float(steps[-1]), stop_reason, start)

    def event(self, threshold: float) -> Event:
        """When the threshold was reached."""
        named = (self.rule.name, threshold)
        if self.start is not None and not self.start.occurred:
            start = self.start
            return Event(*named, start.kind, start.low_steps, start.high_steps, decided_steps=start.decided_steps)
        runs = self._runs(threshold)
        crossing = float(self.steps[runs[0][0]]) if runs else math.nan
        end = len(self.steps) - 1
        for first, last in runs:
            # Frozen weights hold whatever they have reached for ever.
            if self._held(first, last) or (last == end and self.stop_reason == StopReason.FROZEN):
                relapse = float(self.steps[last + 1]) if last < end else math.nan
                reached = float(self.steps[first])
                decided = self._decided(first, last)
                return Event(*named, EventKind.EVENT, self._before(reached), reached, crossing, relapse, decided)
        if self.stop_reason is not None:
            ended_by = _ENDED_BY[StopReason(self.stop_reason)]
            return Event(*named, ended_by, self._before(self.last_step), self.last_step, crossing)
        # A run that was still too short at the end may have been the event: all that is known is "not before it".
        pending = bool(runs) and runs[-1][1] == end
        followed = float(self.steps[-1]) if end >= 0 else 0.0
        low = self._before(float(self.steps[runs[-1][0]])) if pending else followed
        return Event(*named, EventKind.CENSORED, low, math.inf, crossing, decided_steps=followed)

    def _runs(self, threshold: float) -> list[tuple[int, int]]:
        """The maximal runs of measurements at the threshold, as inclusive index pairs."""
        reached = self.rule.reached(self.values, threshold)
        if self.start is not None:
            reached = reached & (self.steps >= self.start.high_steps)
        inside = np.concatenate(([False], reached, [False]))
        edges = np.flatnonzero(inside[1:] != inside[:-1])
        return [(int(start), int(end) - 1) for start, end in zip(edges[::2], edges[1::2], strict=True)]

    def _held(self, first: int, last: int) -> bool:
        enough = last - first + 1 >= self.rule.hold_measurements
        return enough and bool(self.steps[last] - self.steps[first] >= self.rule.hold_fraction * self.steps[last])

    def _decided(self, first: int, last: int) -> float:
        """The measurement at which a run had held long enough; the trajectory's last where frozen weights hold it."""
        held = (float(self.steps[index]) for index in range(first, last + 1) if self._held(first, index))
        return next(held, self.last_step)

    def _before(self, step: float) -> float:
        """The last measurement before a step; 0 without any."""
        index = int(np.searchsorted(self.steps, step))
        return float(self.steps[index - 1]) if index else 0.0
