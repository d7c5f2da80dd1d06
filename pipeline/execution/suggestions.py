"""A space with an objective: Optuna suggests, and one suggestion with its seeds is a cohort.

The suggestions and their values are in a :class:`pipeline.execution.study.Study`, the trials in the ledger.
"""

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

import optuna

from pipeline.execution.outcomes import finals_of, outcomes_of
from pipeline.execution.study import Study
from pipeline.ledger import Ledger
from pipeline.plan import CohortPlan
from pipeline.spec import PlannedTrial, SpecError, SweepSpec
from pipeline.spec.space_file import LoadedSpace
from trainables.engine.events import Event
from trainables.runtime.rows import TrialState


@dataclass(frozen=True)
class Answer:
    """What the trials of one suggestion say of the objective's event by tau."""

    events: tuple[Event, ...]
    """One a seed."""
    restricted_mean_steps: float
    tie_break: float
    """0 where a seed has the event; else how far from it the seeds ended, on average and at least 0."""
    final: float
    """The mean of the last values of the event's column; NaN where a seed has none."""

    @property
    def value(self) -> float:
        """What the sampler minimises."""
        return self.restricted_mean_steps + self.tie_break


def answers_of(ledger: Ledger, spec: SweepSpec, suggestions: Sequence[Sequence[PlannedTrial]]) -> list[Answer | None]:
    """The answer to each suggestion from the rows of its trials; None where one of them is missing or has failed."""
    assert spec.objective is not None
    objective, tau_steps = spec.objective, float(spec.base.horizon_steps)
    rule = objective.rule(spec.base.events)
    events = {trial.config.trial_id: trial.config.events for trials in suggestions for trial in trials}
    rows = {key: row for key, row in ledger.trials(events).items() if row.state != TrialState.FAILED}
    outcomes = outcomes_of(ledger, rows, events)
    finals = finals_of(ledger, outcomes, list(dict.fromkeys(each.column for each in spec.base.events)), tau_steps)
    answers: list[Answer | None] = []
    for trials in suggestions:
        ids = [trial.config.trial_id for trial in trials]
        if not ids or not all(trial_id in outcomes for trial_id in ids):
            answers.append(None)
            continue
        own = [outcomes[trial_id] for trial_id in ids]
        known = tuple(outcome.event(rule.name, objective.threshold).by(tau_steps) for outcome in own)
        last = [finals[trial_id] for trial_id in ids]
        none = not any(event.occurred for event in known)
        answers.append(
            Answer(
                events=known,
                restricted_mean_steps=objective.restricted_mean(own, tau_steps),
                tie_break=objective.tie_break(own, last, tau_steps) if none else 0.0,
                final=math.fsum(each[rule.column] for each in last) / len(last),
            )
        )
    return answers


@dataclass
class _Open:
    """A suggestion whose trials have not all ended."""

    asked: optuna.Trial
    trials: list[PlannedTrial]
    waiting: set[str]


class Suggestions:
    """Cohorts from suggestions, which a :class:`pipeline.execution.dispatch.Dispatcher` asks for during the run.

    :param plan: makes cohorts of the trials that still have to run.
    :param queued: ids of trials that the run trains anyway, such as those of a suggestion that a killed run left open.
    :param record: receives all trials of the sweep whenever a suggestion adds some, and the ids of those that it does
        not run.
    :param at_once: how many suggestions are open at a time.
    """

    def __init__(
        self,
        space: LoadedSpace,
        study: Study,
        *,
        ledger: Ledger,
        plan: Callable[[Sequence[PlannedTrial]], Sequence[CohortPlan]],
        record: Callable[[Sequence[PlannedTrial], Set[str]], None],
        at_once: int,
        queued: Set[str] = frozenset(),
    ) -> None:
        assert space.spec.objective is not None
        self._spec, self._objective = space.spec, space.spec.objective
        self._study = study
        self._ledger = ledger
        self._plan = plan
        self._record = record
        self._at_once = at_once
        self._queued = queued
        self._count = len(study.suggestions())
        self._open: list[_Open] = []
        self._ended: set[str] = set()

    @property
    def exhausted(self) -> bool:
        """Whether the budget is spent (suggestions that are running included)."""
        return self._count >= self._objective.budget

    def more(self) -> Sequence[CohortPlan]:
        """Return the cohorts of the next suggestion that still has to run.

        Empty when the budget is spent, or while open suggestions wait for results.
        """
        while not self.exhausted and len(self._open) < self._at_once:
            asked = self._study.ask()
            self._count += 1
            try:
                trials = self._spec.suggestion(asked.params)
            except SpecError:
                self._study.tell(asked, None)
                continue
            ids = {trial.config.trial_id for trial in trials}
            # Optuna may suggest what is running: such a suggestion waits for it.
            running = ids & {trial_id for each in self._open for trial_id in each.waiting}
            running |= ids & (self._queued - self._ended)
            new = [trial for trial in trials if trial.config.trial_id not in running | self._ended]
            cohorts = self._plan(new) if new else ()
            waiting = running | {trial.trial_id for cohort in cohorts for trial in cohort.trials}
            self._record(self._study.trials(), ids - waiting)
            suggestion = _Open(asked, trials, waiting)
            if not waiting:
                self._complete(suggestion)
                continue
            self._open.append(suggestion)
            if cohorts:
                return cohorts
        return ()

    def ended(self, states: Mapping[str, str]) -> None:
        """Tell the study the value of each suggestion whose trials have all ended."""
        self._ended.update(states)
        for suggestion in self._open:
            suggestion.waiting -= states.keys()
        for suggestion in [each for each in self._open if not each.waiting]:
            self._open.remove(suggestion)
            self._complete(suggestion)

    def _complete(self, suggestion: _Open) -> None:
        # A failed trial has no time: the suggestion counts, and has no value.
        (answer,) = answers_of(self._ledger, self._spec, [suggestion.trials])
        self._study.tell(suggestion.asked, None if answer is None else answer.value)
