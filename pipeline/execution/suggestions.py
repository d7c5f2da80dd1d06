"""A space with an objective: Optuna suggests, one suggestion with its seeds is a cohort, the study is on disk.

The study is an ordinary one, with the name of the sweep, in ``optuna.db`` in the ledger's folder.  It has the
suggestions and their values; the ledger has the trials.  Optuna repeats a suggestion that a killed run left open, so
that its trials continue from their checkpoints.
"""

import copy
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as SuggestionState

from pipeline.execution.outcomes import outcomes_of
from pipeline.ledger import Ledger
from pipeline.plan import CohortPlan
from pipeline.spec import PlannedTrial, SpecError, SweepSpec
from pipeline.spec.domains import Range, Suggested, suggested
from pipeline.spec.space_file import LoadedSpace
from trainables.engine.config import canonical_json
from trainables.engine.errors import one_line, redact
from trainables.runtime.rows import TrialState

DATABASE = "optuna.db"
QUESTION = "grokscape.question"
AGAIN = "grokscape.suggested_again"
"""Marks an open suggestion of a killed run, which a later suggestion repeats."""


@dataclass
class _Open:
    """A suggestion whose trials have not all ended."""

    asked: optuna.Trial
    trials: list[PlannedTrial]
    waiting: set[str]


def check_objective(spec: SweepSpec, ledger_uri: str) -> None:
    """Make sure, without a study, that there can be one in the ledger and that the sampler suggests for this space.

    :raises SpecError: otherwise.
    """
    database_of(ledger_uri)
    assert spec.objective is not None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        sampler = copy.deepcopy(spec.objective.sampler)  # its random state stays
    except Exception as error:  # An object of the user's own.
        raise SpecError(f"objective.sampler: cannot be copied ({one_line(error)})") from None
    _ask(optuna.create_study(sampler=sampler), spec)


def database_of(ledger_uri: str) -> Path:
    """The file of the study.

    :raises SpecError: for a ledger that is not a local folder.
    """
    path = ledger_uri.removeprefix("file://")
    if "://" in path:
        raise SpecError(f"objective: its study needs a ledger in a local folder; {redact(ledger_uri)} is not one")
    return Path(path) / DATABASE


def storage_address(database: Path) -> str:
    """The address of a file for Optuna, whose path may have any character."""
    path = os.path.abspath(database)
    address = sqlalchemy.URL.create("sqlite", database=path).render_as_string()
    if sqlalchemy.make_url(address).database != path:  # Before SQLAlchemy 2.1, only SQLite itself reads a quoted path.
        address = f"sqlite:///file:{quote(path)}?uri=true"
    return address.replace("{", "{{").replace("}", "}}")  # Optuna formats it.


class Study:
    """The study on disk, which the first run creates."""

    def __init__(self, space: LoadedSpace, database: Path, *, create: bool) -> None:
        """
        :raises SpecError: when the file is not Optuna's, or its study of this name answers another question.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        assert space.spec.objective is not None
        self._spec, self._objective = space.spec, space.spec.objective
        self._study: optuna.Study | None = None
        self._file = database
        if not self._check_file() and not create:
            return
        with self._reported():
            storage = optuna.storages.RDBStorage(storage_address(database))
            if space.name in optuna.get_all_study_names(storage):
                self._study = optuna.load_study(study_name=space.name, storage=storage)
            elif create:
                self._study = optuna.create_study(study_name=space.name, storage=storage, direction="minimize")
        if self._study is not None:
            self._check_question(space)

    def ask(self) -> optuna.Trial:
        """Suggest values of the sampled axes.

        :raises SpecError: when the sampler fails.
        """
        assert self._study is not None
        return _ask(self._study, self._spec)

    def tell(self, trial: optuna.Trial, value: float | None) -> None:
        """Record the value of a suggestion; None where its trials failed."""
        assert self._study is not None
        state = SuggestionState.FAIL if value is None else SuggestionState.COMPLETE
        with self._reported():
            try:
                self._study.tell(trial, value, state=state)
            except RuntimeError as error:
                # How a sampler of a grid says that it has suggested everything; the value is stored.
                if "Study.stop" not in str(error):
                    raise

    def suggestions(self) -> list[FrozenTrial]:
        """Every suggestion that counts, in order; not one that a killed run had not drawn all values of."""
        trials = self._study.get_trials(deepcopy=False) if self._study is not None else []
        complete = len(self._spec.sampled_axes())
        return [
            trial
            for trial in trials
            if AGAIN not in trial.user_attrs
            and trial.state != SuggestionState.WAITING
            and not (trial.state == SuggestionState.RUNNING and len(trial.params) < complete)
        ]

    def settled(self) -> int:
        """How many suggestions have ended, with a value or by a failure."""
        return sum(suggestion.state != SuggestionState.RUNNING for suggestion in self.suggestions())

    def trials(self) -> list[PlannedTrial]:
        """The trials of the sweep that have been suggested."""
        trials: dict[str, PlannedTrial] = {}
        for suggestion in self.suggestions():
            with suppress(SpecError):  # Values that are bad together: such a suggestion has failed.
                for trial in self._spec.suggestion(suggestion.params):
                    trials.setdefault(trial.config.trial_id, trial)
        return list(trials.values())

    def reopen(self) -> None:
        """Enqueue the suggestions that a killed run left open, to be repeated before any new one; seed the sampler."""
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
        # A restarted sampler must not repeat its earlier suggestions; Optuna takes seeds of 32 bits.
        seed = (self._spec.sampling_seed + len(self.suggestions())) % 2**32
        self._study.sampler = self._objective.sampler or optuna.samplers.TPESampler(seed=seed)

    def _check_file(self) -> bool:
        """Return whether there is a database; refuse a file that is not Optuna's."""
        if self._file.is_symlink():
            raise SpecError(f"objective: {self._file} is a symbolic link; must be a file in the ledger's folder")
        if not self._file.exists():
            return False
        if not self._file.is_file():
            raise SpecError(f"objective: {self._file} is not a file; move it elsewhere")
        address = f"file:{quote(os.path.abspath(self._file))}?mode=ro"
        with self._reported(), closing(sqlite3.connect(address, uri=True)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and "studies" not in tables:
            raise SpecError(f"objective: {self._file} is a database, but not Optuna's; move it elsewhere")
        return bool(tables)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Raise whatever is wrong with the database as one line."""
        try:
            yield
        except Exception as error:  # SQLite's, SQLAlchemy's, alembic's, Optuna's: a damaged file can cause any.
            reason = one_line(getattr(error, "orig", None) or error)
            raise SpecError(
                f"objective: {self._file} cannot be used as Optuna's study ({reason}); move it elsewhere to begin again"
            ) from None

    def _check_question(self, space: LoadedSpace) -> None:
        """Refuse a study whose values are not comparable: it must have the same base, axes, seeds and objective.

        :raises SpecError: for another one.
        """
        assert self._study is not None
        objective = self._objective
        question = canonical_json(
            {
                "base": space.spec.base.to_json(),
                "axes": space.spec.axes_json(),
                "event": objective.rule(space.spec.base.events).to_json(),
                "threshold": objective.threshold,
            }
        )
        with self._reported():
            directions, trials = self._study.directions, self._study.get_trials(deepcopy=False)
            held = self._study.user_attrs.get(QUESTION)
        if directions != [StudyDirection.MINIMIZE] or (held is None and trials):
            raise SpecError(
                f"objective: the study {space.name!r} in {DATABASE} is somebody else's; rename the space's file"
            )
        if held is None:
            self._study.set_user_attr(QUESTION, question)
        elif held != question:
            raise SpecError(
                f"objective: the study {space.name!r} in {DATABASE} was made for another base, horizon, axes, seeds or "
                f"event, so that its values do not compare; rename the space's file"
            )


class Suggestions:
    """Cohorts from suggestions, which a :class:`pipeline.execution.dispatch.Dispatcher` asks for during the run.

    :param plan: makes cohorts of the trials that still have to run.
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
    ) -> None:
        assert space.spec.objective is not None
        self._spec, self._objective = space.spec, space.spec.objective
        self._study = study
        self._ledger = ledger
        self._plan = plan
        self._record = record
        self._at_once = at_once
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
        trial_ids = [trial.config.trial_id for trial in suggestion.trials]
        rows = self._ledger.trials(trial_ids)
        if len(rows) < len(trial_ids) or any(row.state == TrialState.FAILED for row in rows.values()):
            # A failed trial has no time: the suggestion counts, and has no value.
            self._study.tell(suggestion.asked, None)
            return
        events = {trial.config.trial_id: trial.config.events for trial in suggestion.trials}
        outcomes = outcomes_of(self._ledger, rows, events)
        value = self._objective.value(outcomes.values(), float(self._spec.base.horizon_steps))
        self._study.tell(suggestion.asked, value)


def _ask(study: optuna.Study, spec: SweepSpec) -> optuna.Trial:
    space = {path: distribution(suggested(domain, path)) for path, domain in spec.sampled_axes().items()}
    try:
        return study.ask(fixed_distributions=space)
    except Exception as error:  # A sampler's own code can raise anything.
        name, reason = type(study.sampler).__name__, f"{type(error).__name__}: {one_line(error)}"
        raise SpecError(f"objective.sampler: {name} cannot suggest ({reason})") from None


def distribution(values: Suggested) -> BaseDistribution:
    """What Optuna calls a range, or a choice."""
    if not isinstance(values, Range):
        return CategoricalDistribution(values)
    if isinstance(values.low, int) and isinstance(values.high, int):
        return IntDistribution(values.low, values.high, log=values.log, step=int(values.step or 1))
    with warnings.catch_warnings():
        # Ray has made sure that the steps fit, but for rounding.
        warnings.filterwarnings("ignore", message=".*not divisible by `step`", category=UserWarning)
        return FloatDistribution(values.low, values.high, log=values.log, step=values.step)
