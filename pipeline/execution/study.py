"""Optuna's study of a space with an objective, in ``optuna.db`` in the ledger's folder.

The study is an ordinary one, with the name of the sweep.  It has the suggestions and their values; the ledger has the
trials.  Optuna repeats a suggestion that a killed run left open, so that its trials continue from their checkpoints.

The values of one study answer one question: the same base, horizon, axes, seeds and event.  Where the question has
changed, a new study (``NAME #2``) takes over the earlier suggestions of which the ledger has trials: with their new
values where the ledger's rows are enough, to be evaluated before any new suggestion where they are not.
"""

import copy
import json
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as SuggestionState

from pipeline.spec import PlannedTrial, SpecError, SweepSpec
from pipeline.spec.domains import Range, Suggested, suggested
from pipeline.spec.space_file import LoadedSpace
from trainables.engine.config import brief, canonical_json
from trainables.engine.errors import one_line, redact

DATABASE = "optuna.db"
QUESTION = "grokscape.question"
"""What the values of a study answer; it is set last, so that a study has it only when it is complete."""
VALUE = "restricted mean, ties by the event's column"
"""What is minimised; earlier studies had no tie-break."""
TAKEN_OVER = "grokscape.taken_over_from"
"""The names of the studies whose suggestions a new one takes over."""
AGAIN = "grokscape.suggested_again"
"""Marks an open suggestion of a killed run, which a later suggestion repeats."""
NUMBERED = " #"
"""Between the name of a sweep, which cannot hold it, and the number of a later study."""
CHANGES_SHOWN = 3


@dataclass(frozen=True)
class Progress:
    """How far a sweep with suggestions is."""

    number: int
    """Of the last suggestion, from 1."""
    budget: int
    trials_to_come: int
    """At most, from suggestions that have not been made."""


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

    def __init__(self, space: LoadedSpace, database: Path, *, create: bool, in_ledger: Set[str] = frozenset()) -> None:
        """
        :param in_ledger: the ids of the ledger's trials, which decide what a new study takes over.
        :raises SpecError: when the file is not Optuna's, or a study of this name is somebody else's.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        assert space.spec.objective is not None
        self._spec, self._objective = space.spec, space.spec.objective
        self._file = database
        self._question = _question(space.spec)
        self._study: optuna.Study | None = None
        self._earlier: list[optuna.Study] = []
        self._name = space.name
        if not self._check_file() and not create:
            return
        with self._reported():
            self._storage = optuna.storages.RDBStorage(storage_address(database))
            self._names = optuna.get_all_study_names(self._storage)
        own = self._studies(space.name)
        self._study = next((study for study in own if study.user_attrs[QUESTION] == self._question), None)
        # With other flags the sweep has another name; its first study takes over from the file's own.
        self._earlier = own or self._studies(space.name.partition("@")[0])
        names = [space.name, *(f"{space.name}{NUMBERED}{number}" for number in range(2, len(self._names) + 2))]
        self._name = next(name for name in names if name not in self._names)
        self._taken = self._taken_over(in_ledger)
        if create and not self._earlier:
            self.start(frozenset(), lambda _: None)

    @property
    def started(self) -> bool:
        """Whether the question has its study; :meth:`start` makes it where it has changed."""
        return self._study is not None

    def change(self, settled: Set[str]) -> str | None:
        """Say which field has changed, and from what a new study begins; None where none is needed.

        :param settled: ids of trials that need no training.
        """
        if self._study is not None or not self._earlier:
            return None
        fields = _changes(self._earlier[-1].user_attrs[QUESTION], self._question)
        new = f"objective: {fields}, so a new study, {self._name!r}, begins"
        if not self._taken:
            return f"{new}; the ledger has no trial of the suggestions so far that serves it"
        ready = sum(self._is_settled(params, settled) for params in self._taken)
        return (
            f"{new} with the {len(self._taken)} suggestions so far: {ready} have their new values in the ledger, "
            f"{len(self._taken) - ready} are evaluated first"
        )

    def start(self, settled: Set[str], value_of: Callable[[Sequence[PlannedTrial]], float | None]) -> None:
        """Create the study of a new question, with the earlier suggestions that it takes over.

        :param settled: ids of trials that need no training; a suggestion with others is evaluated before any new one.
        :param value_of: the value of a suggestion from its trials; None where one failed.
        """
        known = [params for params in self._taken if self._is_settled(params, settled)]
        others = [params for params in self._taken if params not in known]
        values = [value_of(self.trials_of(params)) for params in known]
        with self._reported():
            study = optuna.create_study(study_name=self._name, storage=self._storage, direction="minimize")
            if self._earlier:
                study.set_user_attr(TAKEN_OVER, [each.study_name for each in self._earlier])
            for params, value in zip(known, values, strict=True):
                study.add_trial(_suggestion(self._spec, params, value))
            for params in others[: max(0, self._objective.budget - len(known))]:
                study.enqueue_trial(params)
            study.set_user_attr(QUESTION, self._question)
        self._study = study

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
        return [
            trial
            for trial in trials
            if AGAIN not in trial.user_attrs
            and trial.state != SuggestionState.WAITING
            and not (trial.state == SuggestionState.RUNNING and len(trial.params) < len(self._spec.sampled_axes()))
        ]

    def settled(self) -> int:
        """How many suggestions have ended, with a value or by a failure."""
        return len(self.ended())

    def ended(self) -> list[dict[str, Any]]:
        """The parameters of the suggestions that have ended, in order."""
        return [each.params for each in self.suggestions() if each.state != SuggestionState.RUNNING]

    def progress(self) -> Progress:
        """How far the suggestions are, those that wait to be evaluated included."""
        budget = self._objective.budget
        number = min(len(self._params()), budget)
        return Progress(number, budget, (budget - number) * len(self._spec.seeds or [None]))

    def trials(self) -> list[PlannedTrial]:
        """The trials of the sweep that have been suggested, or that wait to be evaluated first."""
        trials: dict[str, PlannedTrial] = {}
        for params in self._params():
            for trial in self.trials_of(params):
                trials.setdefault(trial.config.trial_id, trial)
        return list(trials.values())

    def trials_of(self, params: Mapping[str, Any]) -> list[PlannedTrial]:
        """The trials of one suggestion; none for values that are bad together, which count as a failure."""
        with suppress(SpecError):
            return self._spec.suggestion(params)
        return []

    def reopen(self) -> None:
        """Enqueue the suggestions that a killed run left open, to be repeated before any new one; seed the sampler."""
        assert self._study is not None
        waiting = _waiting(self._study)
        for open_trial in self._study.get_trials(states=[SuggestionState.RUNNING]):
            # In this order: a run that is killed in between suggests it twice, which costs nothing.
            if open_trial.params and open_trial.params not in waiting:
                self._study.enqueue_trial(open_trial.params)
            trial = optuna.trial.Trial(self._study, open_trial._trial_id)
            trial.set_user_attr(AGAIN, True)
            self._study.tell(trial, state=SuggestionState.FAIL)
        # A restarted sampler must not repeat its earlier suggestions; Optuna takes seeds of 32 bits.
        seed = (self._spec.sampling_seed + len(self._study.get_trials(deepcopy=False))) % 2**32
        self._study.sampler = self._objective.sampler or optuna.samplers.TPESampler(seed=seed)

    def _studies(self, sweep: str) -> list[optuna.Study]:
        """The studies of a sweep, oldest first, without one that a kill left incomplete.

        :raises SpecError: for one that is somebody else's.
        """
        studies = []
        for name in self._names:
            if name.partition(NUMBERED)[0] != sweep:
                continue
            with self._reported():
                study = optuna.load_study(study_name=name, storage=self._storage)
                attributes, directions = study.user_attrs, study.directions
                others = not attributes.keys() & {QUESTION, TAKEN_OVER} and bool(study.get_trials(deepcopy=False))
            if directions != [StudyDirection.MINIMIZE] or others:
                raise SpecError(
                    f"objective: the study {name!r} in {DATABASE} is somebody else's; rename the space's file"
                )
            if QUESTION in attributes:
                studies.append(study)
        return sorted(studies, key=lambda study: study._study_id)

    def _taken_over(self, in_ledger: Set[str]) -> list[dict[str, Any]]:
        """The different suggestions of the earlier studies that the axes allow and that have trials in the ledger."""
        if self._study is not None:
            return []
        taken: list[dict[str, Any]] = []
        with self._reported():
            earlier = [params for study in self._earlier for params in _all_params(study)]
        for params in earlier:
            if params in taken or not any(trial.config.trial_id in in_ledger for trial in self.trials_of(params)):
                continue
            with suppress(ValueError):  # Optuna's, for a value that the axis has no more.
                _suggestion(self._spec, params, None)
                taken.append(params)
        return taken

    def _is_settled(self, params: Mapping[str, Any], settled: Set[str]) -> bool:
        return all(trial.config.trial_id in settled for trial in self.trials_of(params))

    def _params(self) -> list[dict[str, Any]]:
        """The parameters of the suggestions that count, and of those that wait, as far as the budget goes."""
        if self._study is None:
            return self._taken
        made = [suggestion.params for suggestion in self.suggestions()]
        waiting = _waiting(self._study)
        return made + waiting[: max(0, self._objective.budget - len(made))]

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


def _question(spec: SweepSpec) -> str:
    """What has to be equal for values to compare, as JSON."""
    assert spec.objective is not None
    return canonical_json(
        {
            "base": spec.base.to_json(),
            "axes": spec.axes_json(),
            "event": spec.objective.rule(spec.base.events).to_json(),
            "threshold": spec.objective.threshold,
            "value": VALUE,
        }
    )


def _changes(before: str, now: str) -> str:
    """``horizon_steps is 600 (was 400), seeds is [0, 1, 2] (was [0, 1])``."""
    old, new = _flat(before), _flat(now)
    changed = [name for name in {**new, **old} if old.get(name) != new.get(name)]
    texts = [
        f"{name} is {brief(new.get(name), 60)} (was {brief(old.get(name), 60)})" for name in changed[:CHANGES_SHOWN]
    ]
    return ", ".join(texts) + (f" and {len(changed) - CHANGES_SHOWN} more" if len(changed) > CHANGES_SHOWN else "")


def _flat(question: str) -> dict[str, Any]:
    """The fields of a question by their dotted paths; an axis by its own."""
    values = json.loads(question)
    axes = json.loads(values["axes"])
    flat = {"seeds": axes["seeds"], "objective.event": values["event"], "objective.threshold": values["threshold"]}
    flat["objective.value"] = values.get("value")
    flat |= {f"axis {axis['path']}": axis["domain"] for axis in axes["axes"]}

    def visit(prefix: str, fields: Mapping[str, Any]) -> None:
        for name, value in fields.items():
            if isinstance(value, dict):
                visit(f"{prefix}{name}.", value)
            else:
                flat[prefix + name] = value

    visit("", {name: value for name, value in values["base"].items() if name != "seeds"})
    return flat


def _all_params(study: optuna.Study) -> list[dict[str, Any]]:
    return [trial.params for trial in study.get_trials(deepcopy=False) if trial.params] + _waiting(study)


def _waiting(study: optuna.Study) -> list[dict[str, Any]]:
    """The parameters of the suggestions that come before any new one."""
    waiting = study.get_trials(deepcopy=False, states=[SuggestionState.WAITING])
    return [dict(trial.system_attrs.get("fixed_params", {})) for trial in waiting]


def _suggestion(spec: SweepSpec, params: dict[str, Any], value: float | None) -> FrozenTrial:
    """A suggestion that has ended.

    :raises ValueError: for parameters that the axes do not allow.
    """
    state = SuggestionState.FAIL if value is None else SuggestionState.COMPLETE
    return optuna.trial.create_trial(state=state, value=value, params=params, distributions=_distributions(spec))


def _distributions(spec: SweepSpec) -> dict[str, BaseDistribution]:
    return {path: distribution(suggested(domain, path)) for path, domain in spec.sampled_axes().items()}


def _ask(study: optuna.Study, spec: SweepSpec) -> optuna.Trial:
    try:
        return study.ask(fixed_distributions=_distributions(spec))
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
