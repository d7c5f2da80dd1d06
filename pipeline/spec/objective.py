"""What Optuna minimises: the restricted mean time to a declared event.

Where no seed of a suggestion has the event by tau the restricted mean is tau, and a sampler that has seen nothing else
knows nothing.  Such suggestions are told apart by how far from the event their seeds ended, in a value of tau or a
little more; since one event in one seed makes the restricted mean less than tau, this orders equals only.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.spec.values import SpecError, integer
from trainables.engine.config import brief, plain
from trainables.engine.events import RISES, EventKind, EventRule, Outcome

SAMPLER_METHODS = ("infer_relative_search_space", "sample_relative", "sample_independent")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What Optuna minimises over the sampled axes: the restricted mean time to an event, over a suggestion's seeds.

    Suggestions of which no seed has the event come last, in the order of how near the event's column ended to it.
    """

    budget: int
    """How many suggestions are tried."""
    event: str | None = None
    """One of the events that the base declares; None: the last of them."""
    threshold: float | None = None
    """One of the event's thresholds; None: its headline."""
    sampler: Any = None
    """An Optuna sampler; None is Optuna's default, seeded with the space's ``sampling_seed``."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "budget", integer("objective.budget", self.budget, at_least=1))
        object.__setattr__(self, "threshold", plain(self.threshold))
        suggests = all(callable(getattr(self.sampler, method, None)) for method in SAMPLER_METHODS)
        if self.sampler is not None and (isinstance(self.sampler, type) or not suggests):
            raise SpecError(
                f"objective.sampler = {brief(self.sampler)}: must be an Optuna sampler, such as "
                "optuna.samplers.TPESampler(seed=0)"
            )
        inner = getattr(self.sampler, "_base_sampler", None)  # PartialFixedSampler has one.
        if any(cls.__name__ == "CmaEsSampler" for cls in (*type(self.sampler).__mro__, *type(inner).__mro__)):
            raise SpecError(
                "objective.sampler: CmaEsSampler keeps pickled objects in its study, so that reading a study of "
                "somebody else could run code; must be another sampler, such as TPESampler or GPSampler"
            )

    def rule(self, events: Sequence[EventRule]) -> EventRule:
        """The event whose time is minimised.

        :param events: those that the trials declare.
        :raises SpecError: when they do not declare it, or not with this threshold.
        """
        if not events:
            raise SpecError("objective: the base declares no event; it must have one, such as events=ACCURACY_EVENTS")
        names = {rule.name: rule for rule in events}
        rule = events[-1] if self.event is None else names.get(str(self.event))
        if rule is None:
            raise SpecError(f"objective.event = {brief(self.event)}: must be one of {', '.join(map(repr, names))}")
        if self.threshold is not None and self.threshold not in rule.thresholds:
            listed = ", ".join(f"{threshold:g}" for threshold in rule.thresholds)
            raise SpecError(f"objective.threshold = {brief(self.threshold)}: must be one of {listed} for {rule.name}")
        return rule

    def restricted_mean(self, outcomes: Iterable[Outcome], tau_steps: float) -> float:
        """The mean of min(T, tau) in steps; a seed without the event counts tau, and tau alone means that all are.

        T is the middle of the event's interval.  Divergence and freezing count tau as censoring does: with
        competing events the restricted mean is the integral of 1 - CIF, and the event never occurs.
        """
        events = [outcome.event(self.rule(outcome.rules).name, self.threshold) for outcome in outcomes]
        times = [min(event.by(tau_steps).time_steps, float(tau_steps)) for event in events]
        return math.fsum(times) / len(times)

    def tie_break(self, outcomes: Iterable[Outcome], finals: Iterable[Mapping[str, float]], tau_steps: float) -> float:
        """How far from the event a suggestion ended of which no seed has it: 0 at the threshold, else above.

        d / (1 + d) of the mean distance d between the last values of the event's own column and the threshold, so that
        the mean last value orders suggestions, whatever the column's unit.  A seed that diverged, or whose value is not
        a number, counts 1 in its place, and so does each event that had to come before and did not.

        :param finals: for each seed the last measured value by tau of each event's column; NaN where there is none.
        """
        lacks, distances = [], []
        for outcome, last in zip(outcomes, finals, strict=True):
            rules = {rule.name: rule for rule in outcome.rules}
            rule = self.rule(outcome.rules)
            threshold = rule.shown if self.threshold is None else self.threshold
            diverged = outcome.event(rule.name, threshold).by(tau_steps).kind == EventKind.DIVERGED
            missing = 0
            while rule.after and not outcome.event(rule.after).by(tau_steps).occurred:
                rule, missing = rules[rule.after], missing + 1
                threshold = rule.shown
            final = last.get(rule.column, math.nan)
            distance = threshold - final if rule.direction == RISES else final - threshold
            lost = diverged or not math.isfinite(distance)
            lacks.append(missing + lost)
            distances.append(0.0 if lost else max(0.0, distance))
        distance = math.fsum(distances) / len(distances)
        return math.fsum(lacks) / len(lacks) + distance / (1 + distance)
