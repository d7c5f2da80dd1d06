"""What Optuna minimises: the restricted mean time to a declared event."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.spec.values import SpecError, integer
from trainables.engine.config import brief, plain
from trainables.engine.events import EventRule, Outcome

SAMPLER_METHODS = ("infer_relative_search_space", "sample_relative", "sample_independent")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What Optuna minimises over the sampled axes: the restricted mean time to an event, over a suggestion's seeds."""

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

    def value(self, outcomes: Iterable[Outcome], tau_steps: float) -> float:
        """The mean of min(T, tau) in steps: always finite, since a seed without the event counts as tau.

        T is the middle of the event's interval.  Divergence and freezing count tau as censoring does: with
        competing events the restricted mean is the integral of 1 - CIF, and the event never occurs.
        """
        times = []
        for outcome in outcomes:
            event = outcome.event(self.rule(outcome.rules).name, self.threshold).by(tau_steps)
            times.append((event.low_steps + event.high_steps) / 2 if event.occurred else float(tau_steps))
        return math.fsum(times) / len(times)
