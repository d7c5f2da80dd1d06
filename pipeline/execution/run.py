"""One run of one space against a ledger: the plan, the sweep's row, and the training.

Nothing here prints or draws: :mod:`pipeline.command` puts a run, a view and the figures together.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pipeline.execution.dispatch import Dispatcher, RowOrigin, Watcher
from pipeline.execution.provenance import component_hashes, provenance_of, source_hash
from pipeline.execution.resources import Resources, slots_here
from pipeline.ledger import Ledger, SweepRow
from pipeline.ledger.files import open_files
from pipeline.plan import CohortPlan, Plan, make_plan
from pipeline.plan.reasons import reasons
from pipeline.sharing import CohortQueue, Leases, live_leases
from pipeline.spec import PlannedTrial
from pipeline.spec.settings import RunSettings, SettingsError
from pipeline.spec.space_file import LoadedSpace
from trainables.data.folder import FOLDER_VARIABLE
from trainables.engine.config import ConfigError, canonical_json
from trainables.engine.trial import TrialConfig
from trainables.runtime.own_modules import check_importable
from trainables.runtime.status import Origin

if TYPE_CHECKING:
    from pipeline.execution.study import Progress, Study
    from pipeline.execution.suggestions import Answer, Suggestions

MOST_NAMED = 20
Grown: TypeAlias = Callable[[Sequence[PlannedTrial], Set[str], "Progress"], None]


@dataclass(frozen=True)
class Planner:
    """Plans trials against a ledger; without one (a dry run before the first run) nothing is cached."""

    ledger: Ledger | None
    settings: RunSettings
    resources: Resources
    sharing: int = 1
    """How many drivers share the work."""

    def plan(self, trials: Sequence[PlannedTrial]) -> Plan:
        """Plan what a run of the sweep has to do, and say why."""
        settings = self.settings
        plan = self._plan(
            trials, settings.cohort_size or "auto", settings.rerun_failed, rerun_changed=settings.rerun_changed
        )
        if self.ledger is None:
            return plan
        leases = live_leases(open_files(self.ledger.uri))
        taken = {trial_id: lease.sweep for lease in leases for trial_id in lease.trials}
        why = tuple(reasons(plan, self.ledger.trials(), taken))
        return replace(plan, reasons=why, notes=(*plan.notes, *discarding(plan, self.ledger)))

    def suggested(self, trials: Sequence[PlannedTrial]) -> Sequence[CohortPlan]:
        """Make the cohorts of one suggestion: its seeds train together."""
        return self._plan(trials, max(len(trials), 1), self.settings.rerun_failed).cohorts

    def left(self, trials: Sequence[TrialConfig], size: int | None) -> Sequence[CohortPlan]:
        """Make cohorts of what the ledger lacks of some trials, which others may have run.

        :param size: of a cohort, at most; None for that of the settings.
        """
        planned = [PlannedTrial(trial, {}) for trial in trials]
        return self._plan(planned, size or self.settings.cohort_size or "auto", self.settings.rerun_failed).cohorts

    def again(self, trials: Sequence[TrialConfig], size: int) -> Sequence[CohortPlan]:
        """Make cohorts of at most ``size`` of the rest of some trials, after an error of this run."""
        return self._plan([PlannedTrial(trial, {}) for trial in trials], size, rerun_failed=True).cohorts

    def _plan(
        self,
        trials: Sequence[PlannedTrial],
        size: int | Literal["auto"],
        rerun_failed: bool,
        *,
        rerun_changed: bool = False,
    ) -> Plan:
        ledger = self.ledger
        steps: dict[str, int] = ledger.checkpoint_steps() if ledger else {}
        return make_plan(
            trials,
            ledger.trials() if ledger else {},
            steps.get,
            cohort_size=size,
            device_kind=self.resources.device_kind,
            workers=self.sharing * (self.resources.workers or slots_here(1.0, 0.0)),
            rerun_failed=rerun_failed,
            rerun_changed=rerun_changed,
            source_hash=source_hash,
            component_hashes=component_hashes,
            other_protocols=ledger.other_protocols() if ledger else {},
        )


class SweepRun:
    """One run of a space: its trials, as far as they are known, and the ledger that receives them.

    :raises SpecError: for an objective whose study answers another question, or cannot be kept in this ledger.
    :raises SettingsError: for an objective whose suggestions another driver is making.
    """

    def __init__(
        self, space: LoadedSpace, settings: RunSettings, resources: Resources, ledger: Ledger, leases: Leases
    ) -> None:
        self._space, self._settings, self._ledger, self._leases = space, settings, ledger, leases
        if space.spec.objective is not None:
            for other in leases.others():
                if other.sweep == space.name:
                    raise SettingsError(
                        f"{space.name}: is running on {other.host} (process {other.pid}); Optuna's suggestions are "
                        "made by one driver at a time: wait for it, or end it with python -m pipeline.cancel "
                        f"{space.name}"
                    )
        sharing = 1 + sum(other.sweep == space.name for other in leases.others())
        self._planner = Planner(ledger, settings, resources, sharing)
        self._study = study_of(space, ledger, create=True)
        self.new_study: str | None = None
        """Why a new study of the objective begins, and from what; None where the study continues."""
        if self._study is not None and not self._study.started:
            plan = self._planner.plan(self._study.trials())
            self.new_study = self._study.change(plan.cached | plan.failed)
            self._study.start(plan.cached | plan.failed, self._value_of)
        self.trials = space.spec.trials() if self._study is None else self._study.trials()

    def plan(self) -> Plan:
        """Plan what is left to do for the trials that are known."""
        return self._planner.plan(self.trials)

    @property
    def progress(self) -> "Progress | None":
        """How far the suggestions of the objective are; None without one."""
        return None if self._study is None else self._study.progress()

    def answers(self) -> "list[tuple[dict[str, Any], Answer | None]]":
        """The suggestions that have ended, in order: their values, and what their trials say."""
        if self._study is None:
            return []
        from pipeline.execution.suggestions import answers_of

        ended = self._study.ended()
        trials = [self._study.trials_of(params) for params in ended]
        return list(zip(ended, answers_of(self._ledger, self._space.spec, trials), strict=True))

    @property
    def suggestions_left(self) -> int:
        """How many suggestions of the objective's budget have no answer yet; 0 without an objective."""
        objective = self._space.spec.objective
        return 0 if self._study is None or objective is None else max(0, objective.budget - self._study.settled())

    def shrunk(self) -> str | None:
        """Return a note if this run is smaller than the ledger's record of the sweep, and so about to replace it."""
        horizon, ids = self._space.spec.horizon_steps, {trial.config.trial_id for trial in self.trials}
        held = self._held()
        if held is None or (ids >= set(held.trial_ids) and horizon >= held.horizon_steps):
            return None
        return (
            f"the sweep {held.name!r} was {len(held.trial_ids)} trials to step {held.horizon_steps} and is now "
            f"{len(ids)} to step {horizon}; no row is lost, and the larger space brings it back"
        )

    def discard(self, plan: Plan) -> None:
        """Delete the rows of the trials that are run again because their components changed.

        :raises SettingsError: when another driver is training one of them.
        """
        if not plan.discarded:
            return
        for other in self._leases.others():
            if not plan.discarded.keys().isdisjoint((*other.trials, *other.asks)):
                raise SettingsError(
                    f"{self._space.name}: trials whose rows are to be deleted are running on {other.host} (process "
                    f"{other.pid}); wait for it, or end it with python -m pipeline.cancel {other.sweep}"
                )
        configs = {trial.config.trial_id: trial.config for trial in plan.trials}
        rows = self._ledger.trials(plan.discarded.keys())  # Another driver may have run some of them again meanwhile.
        self._ledger.drop_trials({key for key, row in rows.items() if row.source_hash != source_hash(configs[key])})

    def record(self) -> None:
        """Record the sweep in the ledger, unless it has this row."""
        row = SweepRow(
            name=self._space.name,
            doc=self._space.doc,
            axes_json=self._space.spec.axes_json(),
            trial_ids=tuple(trial.config.trial_id for trial in self.trials),
            coordinates_json=canonical_json([trial.coordinates for trial in self.trials]),
            horizon_steps=self._space.spec.horizon_steps,
            revision=self._space.revision,
            recorded_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        held = self._held()
        if held is None or replace(held, recorded_at=row.recorded_at) != row:
            self._ledger.record_sweep(row)

    def train(self, plan: Plan, watchers: Sequence[Watcher], grown: Grown | None = None) -> None:
        """Run every cohort; return when nothing is left or ``max_hours`` have passed.

        :param grown: receives the sweep's trials whenever suggestions have added some, and the ids of those that the
            ledger settles already.
        """
        provenance = RowOrigin.of_this_process()
        if self._settings.local:
            from pipeline.execution.local_runner import run_local

            run_local(self._dispatcher(plan, watchers, grown), store=self._ledger, provenance=provenance)
            return
        from pipeline.execution.ray_process import RayProcess

        resources = self._planner.resources
        environment = {FOLDER_VARIABLE: self._settings.data} if self._settings.data else None
        cpus = max(1, math.ceil((resources.workers or 1) * resources.cpus_per_cohort))
        with RayProcess(self._settings.address, cpus=cpus, environment=environment) as ray:
            grows = resources.workers is None
            if grows:
                resources = replace(resources, workers=ray.slots(resources))
                self._planner = replace(self._planner, resources=resources)
                plan = self.plan()
            dispatcher = self._dispatcher(plan, watchers, grown)
            ray.run(dispatcher, resources, grows=grows, store=self._ledger, provenance=provenance)

    def _held(self) -> SweepRow | None:
        return next((row for row in self._ledger.sweeps() if row.name == self._space.name), None)

    def _dispatcher(
        self,
        plan: Plan,
        watchers: Sequence[Watcher],
        grown: Grown | None,
    ) -> Dispatcher:
        kind, max_hours = self._planner.resources.device_kind, self._settings.max_hours
        return Dispatcher(
            CohortQueue(plan.cohorts, self._leases, self._planner.left),
            store=self._ledger,
            again=self._planner.again,
            origin=lambda trial: Origin(kind, source_hash(trial), canonical_json(provenance_of(trial))),
            watchers=watchers,
            source=self._suggestions(plan, grown),
            device=self._planner.resources.device,
            deadline=time.time() + 3600 * max_hours if max_hours else None,
            checkpoint_every_s=self._settings.checkpoint_every_s,
        )

    def _value_of(self, trials: Sequence[PlannedTrial]) -> float | None:
        from pipeline.execution.suggestions import answers_of

        (answer,) = answers_of(self._ledger, self._space.spec, [trials])
        return None if answer is None else answer.value

    def _suggestions(self, plan: Plan, grown: Grown | None) -> "Suggestions | None":
        """The suggestions of an objective, or None."""
        study = self._study
        if study is None:
            return None
        from pipeline.execution.suggestions import Suggestions

        study.reopen()

        def record(trials: Sequence[PlannedTrial], settled: Set[str]) -> None:
            self.trials = list(trials)
            self.record()
            if grown is not None:
                grown(self.trials, settled, study.progress())

        return Suggestions(
            self._space,
            study,
            ledger=self._ledger,
            plan=self._planner.suggested,
            record=record,
            at_once=self._planner.resources.workers or 1,
            queued={trial.trial_id for cohort in plan.cohorts for trial in cohort.trials},
        )


def discarding(plan: Plan, ledger: Ledger) -> Iterator[str]:
    """A line that names the trials whose rows a run deletes, and the sweeps that have them; none where it keeps all."""
    ids = sorted(plan.discarded)
    if not ids:
        return
    sweeps = [row.name for row in ledger.sweeps() if not plan.discarded.keys().isdisjoint(row.trial_ids)]
    where = f", of the sweep{'s' if len(sweeps) > 1 else ''} {', '.join(sweeps)}," if sweeps else ""
    shown = ", ".join(ids[:MOST_NAMED]) + (", ..." if len(ids) > MOST_NAMED else "")
    yield (
        f"the rows of {len(ids)} trial{'s' if len(ids) > 1 else ''}{where} are deleted before they run again: {shown}"
    )


def study_of(space: LoadedSpace, ledger: Ledger, *, create: bool) -> "Study | None":
    """The study of a space's objective; None for a space without one."""
    if space.spec.objective is None:
        return None
    from pipeline.execution.study import Study, database_of

    return Study(space, database_of(ledger.uri), create=create, in_ledger=ledger.trials().keys())


def check_components(space: LoadedSpace, plan: Plan) -> None:
    """Make sure that workers can import what the trials to run are made of.

    :raises ConfigError: for a component that they cannot.
    """
    kinds = {cohort.trials[0].cohort_key: cohort.trials[0] for cohort in plan.cohorts}
    for trial in (space.spec.base, *kinds.values()) if plan.cohorts or space.spec.objective else ():
        check_importable(type(component) for component in trial.components())


def missing_data(plan: Plan) -> Iterator[str]:
    """A line for each kind of trial whose data set is missing; where downloads are allowed, they are tried first."""
    for trial in {cohort.trials[0].cohort_key: cohort.trials[0] for cohort in plan.cohorts}.values():
        try:
            trial.data_fingerprint()
        except ConfigError as error:
            yield str(error)
