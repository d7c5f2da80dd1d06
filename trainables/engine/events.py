"""A trajectory and a criterion -> when a trial memorised and generalised, as censored intervals.

This is the one definition that stopping, tracking and the analysis share; it needs numpy only.

An event is known to lie in ``(low_steps, high_steps]``: the last measurement below the threshold and the first
of the run above it.  A run counts when it holds for three measurements in a row and for 5 % of the steps so far.
A trial that ends first is right-censored at its last measurement below; divergence and certified freezing are
competing events, which censoring is not: after them the event can no longer happen.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

TRAIN_THRESHOLDS = (0.9, 0.99)
"""Training accuracies whose time is always reported (``t_mem``; .99 is the headline, .9 serves the phases)."""
TEST_THRESHOLDS = (0.5, 0.9, 0.95, 0.99)
"""Test accuracies whose time is always reported (``t_gen``; .95 is the headline, .9 serves the phases)."""
MEM_THRESHOLD = 0.99
GEN_THRESHOLD = 0.95
PHASE_THRESHOLD = 0.9

CENSORED, EVENT, DIVERGED, FROZEN = "censored", "event", "diverged", "frozen"
KINDS = (CENSORED, EVENT, DIVERGED, FROZEN)
"""What ended the waiting for an event; the last two are competing events.  Stored by index in MLflow."""

COMPREHENSION, GROKKING, MEMORIZATION, CONFUSION, TEST_ONLY = PHASES = (
    "comprehension",
    "grokking",
    "memorization",
    "confusion",
    "test only",
)
"""The phases of a run (Liu et al. 2022, "Towards understanding grokking"), and the fifth, which they left out."""


@dataclass(frozen=True)
class Criterion:
    """What counts as reaching a threshold."""

    threshold: float
    hold_measurements: int = 3
    hold_fraction: float = 0.05


@dataclass(frozen=True)
class Event:
    """When one threshold was reached: in ``(low_steps, high_steps]`` if ``kind`` is ``event``.

    ``censored``: not by ``low_steps`` (``high_steps`` is infinite).  ``diverged`` and ``frozen``: the competing
    event lies in the interval.  ``first_crossing_steps`` is the first measurement at or above the threshold,
    whether it held or not; ``relapse_steps`` the first one below it after a run that held; NaN where there is none.
    """

    name: str
    threshold: float
    kind: str
    low_steps: float
    high_steps: float
    first_crossing_steps: float = math.nan
    relapse_steps: float = math.nan

    @property
    def key(self) -> str:
        """The stem of the event's metric names: ``t_gen_95`` is the test accuracy reaching .95."""
        return event_key(self.name, self.threshold)

    @property
    def occurred(self) -> bool:
        return self.kind == EVENT

    def by(self, tau_steps: float) -> "Event":
        """The event as it is known at a time ``tau_steps``: later ones, competing ones too, are censored."""
        if self.high_steps <= tau_steps:
            return replace(self, relapse_steps=self.relapse_steps if self.relapse_steps <= tau_steps else math.nan)
        return replace(
            self,
            kind=CENSORED,
            low_steps=min(self.low_steps, tau_steps),
            high_steps=math.inf,
            first_crossing_steps=self.first_crossing_steps if self.first_crossing_steps <= tau_steps else math.nan,
            relapse_steps=self.relapse_steps if self.relapse_steps <= tau_steps else math.nan,
        )


@dataclass(frozen=True)
class Outcome:
    """Every standard event of one trial."""

    events: tuple[Event, ...]

    def event(self, name: str, threshold: float) -> Event:
        """The event of one name (``t_mem`` or ``t_gen``) and threshold.

        :raises KeyError: when that threshold was not evaluated.
        """
        for event in self.events:
            if event.name == name and math.isclose(event.threshold, threshold):
                return event
        raise KeyError(f"{name} at {threshold}: not among {', '.join(event.key for event in self.events)}")

    @property
    def t_mem(self) -> Event:
        return self.event("t_mem", MEM_THRESHOLD)

    @property
    def t_gen(self) -> Event:
        return self.event("t_gen", GEN_THRESHOLD)

    def by(self, tau_steps: float) -> "Outcome":
        """The outcome as it is known at a time ``tau_steps``."""
        return Outcome(tuple(event.by(tau_steps) for event in self.events))

    def phase(self, *, delayed_ratio: float = 2.0, delayed_steps: float | None = None) -> str:
        """The phase by first crossings of .9: delayed means ``t_gen / t_mem >= delayed_ratio``.

        With ``delayed_steps`` it means ``t_gen - t_mem >= delayed_steps`` instead (Liu et al. take 1000).
        """
        train = self.event("t_mem", PHASE_THRESHOLD).first_crossing_steps
        test = self.event("t_gen", PHASE_THRESHOLD).first_crossing_steps
        if math.isnan(train):
            return CONFUSION if math.isnan(test) else TEST_ONLY
        if math.isnan(test):
            return MEMORIZATION
        delayed = test - train >= delayed_steps if delayed_steps is not None else test >= delayed_ratio * max(train, 1)
        return GROKKING if delayed else COMPREHENSION

    def delay(self) -> tuple[float, float]:
        """``t_gen - t_mem`` in ``(low, high]``: high is infinite where t_gen did not occur; NaN without t_mem."""
        if not self.t_mem.occurred:
            return math.nan, math.nan
        high = self.t_gen.high_steps - self.t_mem.low_steps if self.t_gen.occurred else math.inf
        return self.t_gen.low_steps - self.t_mem.high_steps, high

    def delay_ratio(self) -> tuple[float, float]:
        """``t_gen / t_mem`` in ``(low, high]``, undefined and open as :meth:`delay` is."""
        if not self.t_mem.occurred:
            return math.nan, math.nan
        open_above = not self.t_gen.occurred or self.t_mem.low_steps == 0
        high = math.inf if open_above else self.t_gen.high_steps / self.t_mem.low_steps
        return self.t_gen.low_steps / max(self.t_mem.high_steps, 1), high

    def to_metrics(self) -> dict[str, float]:
        """Finite numbers only, by name; :func:`outcome_from_metrics` is the inverse."""
        metrics: dict[str, float] = {}
        for event in self.events:
            metrics[f"{event.key}_kind"] = float(KINDS.index(event.kind))
            for name in ("low_steps", "high_steps", "first_crossing_steps", "relapse_steps"):
                if math.isfinite(getattr(event, name)):
                    metrics[f"{event.key}_{name}"] = float(getattr(event, name))
        return metrics


def event_key(name: str, threshold: float) -> str:
    """``t_gen_95`` for the test accuracy reaching .95."""
    return f"{name}_{threshold * 100:g}".replace(".", "p")


def outcome_from_metrics(metrics: Mapping[str, float]) -> Outcome:
    """The outcome that :meth:`Outcome.to_metrics` wrote.

    :raises KeyError: when a standard event is missing.
    """
    events = []
    for name, thresholds in (("t_mem", TRAIN_THRESHOLDS), ("t_gen", TEST_THRESHOLDS)):
        for threshold in thresholds:
            key = event_key(name, threshold)
            events.append(
                Event(
                    name=name,
                    threshold=threshold,
                    kind=KINDS[int(metrics[f"{key}_kind"])],
                    low_steps=metrics[f"{key}_low_steps"],
                    high_steps=metrics.get(f"{key}_high_steps", math.inf),
                    first_crossing_steps=metrics.get(f"{key}_first_crossing_steps", math.nan),
                    relapse_steps=metrics.get(f"{key}_relapse_steps", math.nan),
                )
            )
    return Outcome(tuple(events))


def outcome(
    steps: np.ndarray,
    train_accuracy: np.ndarray,
    test_accuracy: np.ndarray,
    *,
    stop_reason: str | None = None,
    train_thresholds: tuple[float, ...] = TRAIN_THRESHOLDS,
    test_thresholds: tuple[float, ...] = TEST_THRESHOLDS,
) -> Outcome:
    """The outcome of one trajectory.

    :param steps: the measured steps, strictly ascending, shape (T,).
    :param train_accuracy: fractions at those steps, shape (T,); NaN counts as below every threshold.
    :param test_accuracy: likewise.
    :param stop_reason: ``diverged`` or ``frozen`` make the end a competing event; anything else is censoring.
    """
    if len(steps) == 0:
        raise ValueError("an outcome needs at least one measurement")
    return Outcome(
        tuple(
            _event(name, steps, values, Criterion(threshold), stop_reason)
            for name, values, thresholds in (
                ("t_mem", train_accuracy, train_thresholds),
                ("t_gen", test_accuracy, test_thresholds),
            )
            for threshold in thresholds
        )
    )


def sustained_at(steps: np.ndarray, values: np.ndarray, criterion: Criterion) -> int | None:
    """The index of the first measurement of the first run at or above the threshold that held, or None."""
    for first, last in _runs_above(values, criterion.threshold):
        if _held(steps, first, last, criterion):
            return first
    return None


def _held(steps: np.ndarray, first: int, last: int, criterion: Criterion) -> bool:
    enough = last - first + 1 >= criterion.hold_measurements
    return enough and bool(steps[last] - steps[first] >= criterion.hold_fraction * steps[last])


def _runs_above(values: np.ndarray, threshold: float) -> list[tuple[int, int]]:
    """The maximal runs of measurements at or above the threshold, as inclusive index pairs."""
    above = np.concatenate(([False], np.asarray(values, dtype=float) >= threshold, [False]))
    edges = np.flatnonzero(above[1:] != above[:-1])
    return [(int(start), int(end) - 1) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _event(name: str, steps: np.ndarray, values: np.ndarray, criterion: Criterion, stop_reason: str | None) -> Event:
    runs = _runs_above(values, criterion.threshold)
    crossing = float(steps[runs[0][0]]) if runs else math.nan
    end = len(steps) - 1
    for first, last in runs:
        # Frozen weights hold whatever they have reached for ever.
        if _held(steps, first, last, criterion) or (last == end and stop_reason == FROZEN):
            relapse = float(steps[last + 1]) if last < end else math.nan
            return Event(
                name, criterion.threshold, EVENT, _before(steps, first), float(steps[first]), crossing, relapse
            )
    if stop_reason in (DIVERGED, FROZEN):
        return Event(name, criterion.threshold, stop_reason, _before(steps, end), float(steps[end]), crossing)
    # A run that was still too short at the end may have been the event: all that is known is "not before it".
    pending = runs[-1][0] if runs and runs[-1][1] == end else None
    low = float(steps[end]) if pending is None else _before(steps, pending)
    return Event(name, criterion.threshold, CENSORED, low, math.inf, crossing)


def _before(steps: np.ndarray, index: int) -> float:
    return float(steps[index - 1]) if index else 0.0
