"""A space with an objective: Optuna suggests, one suggestion with its seeds is a cohort, the study is on disk.

The study is an ordinary one, with the name of the sweep, in ``optuna.db`` in the ledger's folder.  It has the
suggestions and their values; the ledger has the trials.  Optuna repeats a suggestion that a killed run left open, so
that its trials continue from their checkpoints.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as SuggestionState

from pipeline.execution.outcomes import outcomes_of
from pipeline.ledger import Ledger
from pipeline.plan import CohortPlan
from pipeline.spec import PlannedTrial, SpecError
from pipeline.spec.space_file import LoadedSpace
from trainables.engine.config import canonical_json
from trainables.runtime.rows import TrialState

DATABASE = "optuna.db"
METRIC = "restricted_mean_steps"
QUESTION = "grokscape.question"
AGAIN = "grokscape.suggested_again"
"""Marks an open suggestion of a killed run, which a later suggestion repeats."""


class Searcher(Protocol):
    """The methods of Ray Tune's searchers that :class:`Suggestions` calls."""

    def suggest(self, trial_id: str) -> Any:
        """Return values of the sampled axes."""

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Record the value of a suggestion."""


@dataclass
class _Open:
    """A suggestion whose trials have not all ended."""

    number: str
    trials: list[PlannedTrial]
    waiting: set[str]


def storage_address(ledger: Ledger) -> str:
    """The address of the study's database.

    :raises SpecError: for a ledger that is not a local folder.
    """
    if "://" in ledger.uri:
        raise SpecError(f"objective: its study needs a ledger in a local folder; {ledger.shown} is not one")
    return f"sqlite:///{Path(ledger.uri) / DATABASE}"


class Study:
    """The study on disk, which the first run creates."""

    def __init__(self, space: LoadedSpace, address: str, *, create: bool) -> None:
        """
        :raises SpecError: when the study of this name answers another question.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._spec = space.spec
        self._study: optuna.Study | None = None
        exists = Path(address.removeprefix("sqlite:///")).exists()
        if not create and not exists:
            return
        storage = optuna.storages.RDBStorage(address)
        names = optuna.get_all_study_names(storage)
        if space.name in names:
            self._study = optuna.load_study(study_name=space.name, storage=storage)
        elif create:
            self._study = optuna.create_study(study_name=space.name, storage=storage, direction="minimize")
        if self._study is not None:
            self._check_question(space)

    def suggestions(self) -> list[FrozenTrial]:
        """Every suggestion that counts, in order."""
        trials = self._study.get_trials(deepcopy=False) if self._study is not None else []
        return [trial for trial in trials if AGAIN not in trial.user_attrs and trial.state != SuggestionState.WAITING]

    def settled(self) -> int:
        """How many suggestions have ended, with a value or by a failure."""
        return sum(suggestion.state != SuggestionState.RUNNING for suggestion in self.suggestions())

    def trials(self) -> list[PlannedTrial]:
        """The trials of the sweep that have been suggested."""
        trials: dict[str, PlannedTrial] = {}
        for suggestion in self.suggestions():
            for trial in self._spec.suggestion(suggestion.params):
                trials.setdefault(trial.config.trial_id, trial)
        return list(trials.values())

    def reopen(self) -> None:
        """Enqueue the suggestions that a killed run left open, to be repeated before any new one."""
        assert self._study is not None
        waiting = [
            trial.system_attrs.get("fixed_params") for trial in self._study.get_trials(states=[SuggestionState.WAITING])
        ]
        for open_trial in self._study.get_trials(states=[SuggestionState.RUNNING]):
            # In this order: a run that is killed in between suggests it twice, which costs nothing.
            if open_trial.params and open_trial.params not in waiting:
                self._study.enqueue_trial(open_trial.params)
            trial = optuna.trial.Trial(self._study, open_trial._trial_id)
            trial.set_user_attr(AGAIN, True)
            self._study.tell(trial, state=SuggestionState.FAIL)

    def _check_question(self, space: LoadedSpace) -> None:
        """Refuse a study whose values are not comparable: it must have the same base, axes, seeds and objective.

        :raises SpecError: for another one.
        """
        assert self._study is not None
        objective = space.spec.objective
        assert objective is not None
        question = canonical_json(
            {
                "base": space.spec.base.to_json(),
                "axes": space.spec.axes_json(),
                "event": objective.rule(space.spec.base.events).to_json(),
                "threshold": objective.threshold,
            }
        )
        held = self._study.user_attrs.get(QUESTION)
        if held is None:
            self._study.set_user_attr(QUESTION, question)
        elif held != question:
            raise SpecError(
                f"objective: the study {space.name!r} in {DATABASE} was made for another base, horizon, axes, seeds or "
                f"event, so that its values do not compare; rename the space's file"
            )


class Suggestions:
    """Cohorts from suggestions, which a :class:`pipeline.execution.dispatch.Dispatcher` asks for during the run.

    :param searcher: suggests, and records the values.
    :param plan: makes cohorts of the trials that still have to run.
    :param record: receives all trials of the sweep whenever a suggestion adds some.
    :param at_once: how many suggestions are open at a time.
    """

    def __init__(
        self,
        space: LoadedSpace,
        study: Study,
        *,
        searcher: Searcher,
        ledger: Ledger,
        plan: Callable[[Sequence[PlannedTrial]], Sequence[CohortPlan]],
        record: Callable[[Sequence[PlannedTrial]], None],
        at_once: int,
    ) -> None:
        assert space.spec.objective is not None
        self._spec, self._objective = space.spec, space.spec.objective
        self._study = study
        self._searcher = searcher
        self._ledger = ledger
        self._plan = plan
        self._record = record
        self._at_once = at_once
        self._count = len(study.suggestions())
        self._open: list[_Open] = []

    @property
    def exhausted(self) -> bool:
        """Whether the budget is spent (suggestions that are running included)."""
        return self._count >= self._objective.budget

    def more(self) -> Sequence[CohortPlan]:
        """Return the cohorts of the next suggestion that still has to run.

        Empty when the budget is spent, or while open suggestions wait for results.
        """
        while not self.exhausted and len(self._open) < self._at_once:
            number = f"{self._count}"
            values = self._searcher.suggest(number)
            self._count += 1
            trials = self._spec.suggestion(values)
            self._record(self._study.trials())
            cohorts = self._plan(trials)
            waiting = {trial.trial_id for cohort in cohorts for trial in cohort.trials}
            suggestion = _Open(number, trials, waiting)
            if waiting:
                self._open.append(suggestion)
                return cohorts
            self._complete(suggestion)
        return ()

    def ended(self, states: Mapping[str, str]) -> None:
        """Give the searcher the value of each suggestion whose trials have all ended."""
        for suggestion in self._open:
            suggestion.waiting -= states.keys()
        for suggestion in [each for each in self._open if not each.waiting]:
            self._open.remove(suggestion)
            self._complete(suggestion)

    def _complete(self, suggestion: _Open) -> None:
        trial_ids = [trial.config.trial_id for trial in suggestion.trials]
        rows = self._ledger.trials(trial_ids)
        if len(rows) < len(trial_ids) or any(row.state == TrialState.FAILED for row in rows.values()):
            # A failed trial has no time: the suggestion counts, and has no value.
            self._searcher.on_trial_complete(suggestion.number, error=True)
            return
        events = {trial.config.trial_id: trial.config.events for trial in suggestion.trials}
        outcomes = outcomes_of(self._ledger, rows, events)
        value = self._objective.value(outcomes.values(), float(self._spec.base.horizon_steps))
        self._searcher.on_trial_complete(suggestion.number, result={METRIC: value})
