"""``python -m pipeline.sweep SPACE``: from a search-space file to its phase diagram.

On top of everything: it checks the input, plans what the ledger does not have yet, runs it (on Ray, or in this
process), keeps MLflow up to date, and draws.
"""

import argparse
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.execution import ray_environment as ray_settings
from pipeline.execution.dispatch import Dispatcher, RowOrigin
from pipeline.execution.provenance import collect, source_hash
from pipeline.execution.ray_environment import RayAddressError
from pipeline.ledger import Ledger, LedgerError, LedgerMissingError, SweepRow
from pipeline.plan import CohortPlan, Plan, make_plan
from pipeline.plan.planning import count_of, describe, duration, summary
from pipeline.spec import PlannedTrial, SpecError
from pipeline.spec.space_file import LoadedSpace, load_space
from pipeline.terminal.flags import BAD_INPUT, DEFAULT_FIGURES, InputError, Settings, devices_here, parser, resolve
from pipeline.terminal.live_view import LiveView, PlainView, Point, SilentView, Tally, print_line
from pipeline.tracking import BackgroundSync, SyncReport, TrackingError, check, sync_command
from trainables.data.download import without_downloads
from trainables.data.folder import FOLDER_VARIABLE
from trainables.engine.config import ConfigError, canonical_json
from trainables.engine.trial import TrialConfig
from trainables.runtime.cohort_run import Origin
from trainables.runtime.job import CohortJob
from trainables.runtime.rows import TrialRow, TrialState

if TYPE_CHECKING:
    from analysis.report import Figures
    from pipeline.execution.suggestions import Study

DONE, SOME_FAILED, INTERRUPTED = 0, 1, 130
COMPACT_EVERY_S = 60.0
SYNC_TIMEOUT_S = 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    flags = parser().parse_args(arguments)
    # Before the space is loaded: its file may import ray.tune for its domains.
    ray_settings.prepare(flags.address)
    try:
        return _run(flags)
    except (InputError, SpecError, LedgerError, TrackingError, RayAddressError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(flags: argparse.Namespace) -> int:
    if flags.data is not None:
        if flags.address is None and not os.path.isdir(flags.data):
            raise InputError(f"--data {flags.data}: is not a folder; must be the one that holds the data sets")
        os.environ[FOLDER_VARIABLE] = flags.data
    space = load_space(flags.space, flags.size)
    space = replace(space, spec=space.spec.with_overrides(max_steps=flags.max_steps, seeds=flags.seeds))
    settings = resolve(flags, space)
    if settings.address is not None:
        ray_settings.check_address(settings.address)
        if not flags.dry_run:
            ray_settings.check_cluster(settings.address)
    if settings.mlflow_uri is not None:
        check(settings.mlflow_uri)
    out = Path(flags.out or f"{DEFAULT_FIGURES}/{space.name}")
    there = next(place for place in (out, *out.parents) if place.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise InputError(f"--out {out}: {there} is not a folder that can be written to")
    sweep = Sweep(space, settings, dry_run=flags.dry_run)
    plan = sweep.plan()
    if flags.dry_run:
        with without_downloads():
            missing = [] if settings.address else list(dict.fromkeys(_missing_data(plan)))
        plan = replace(plan, notes=(*plan.notes, *(f"data missing: {line}" for line in missing)))
        told = summary(plan, space) | {"data_missing": missing}
        if flags.json:
            print(json.dumps(told | sweep.places() | {"finished": 0, "figures": None}))
        else:
            print("\n".join(describe(plan, space)))
        return DONE
    if settings.address is None:  # a cluster's data are where its workers are
        for line in _missing_data(plan):
            raise InputError(line)
    return sweep.run(plan, as_json=flags.json, out=out)


def _missing_data(plan: Plan) -> Iterator[str]:
    """A line for each kind of trial whose data set is not there; with downloads, those are tried first."""
    for trial in {cohort.trials[0].cohort_key: cohort.trials[0] for cohort in plan.cohorts}.values():
        try:
            trial.data_fingerprint()
        except ConfigError as error:
            yield str(error)


class Sweep:
    """One run of one space."""

    def __init__(self, space: LoadedSpace, settings: Settings, *, dry_run: bool) -> None:
        """
        :raises LedgerError: see :meth:`pipeline.ledger.Ledger.open`; a dry run makes no ledger.
        """
        self.space, self.settings = space, settings
        self.ledger: Ledger | None = None
        with suppress(LedgerMissingError):  # a dry run creates none
            self.ledger = Ledger.open(settings.ledger, create=not dry_run)
        self._study: Study | None = None
        if space.spec.objective is not None and self.ledger is not None:
            from pipeline.execution import suggestions as objective

            self._study = objective.Study(space, objective.storage_address(self.ledger), create=not dry_run)
        self.trials = space.spec.trials() if self._study is None else self._study.trials()

    def places(self) -> dict[str, Any]:
        """Where the results are, for ``--json``."""
        shown = self.ledger.shown if self.ledger is not None else self.settings.ledger
        return {"ledger": shown, "mlflow": self.settings.mlflow_uri}

    def plan(self) -> Plan:
        """What is left to do of the trials that are known."""
        return self._plan(self.trials, self.settings.cohort_size, rerun_failed=self.settings.rerun_failed)

    def _plan(self, trials: Sequence[PlannedTrial], size: int | Literal["auto"], *, rerun_failed: bool) -> Plan:
        rows = self.ledger.trials() if self.ledger is not None else {}
        steps = self.ledger.checkpoint_steps() if self.ledger is not None else {}
        others = self.ledger.other_protocols() if self.ledger is not None else {}
        return make_plan(
            trials,
            rows,
            steps.get,
            cohort_size=size,
            device_kind=self.settings.device_kind,
            workers=self.settings.workers or devices_here(False, 1.0, 0.0),
            rerun_failed=rerun_failed,
            source_hashes={trial.config.trial_id: source_hash(trial.config) for trial in trials},
            other_protocols=others,
        )

    def run(self, plan: Plan, *, as_json: bool, out: Path) -> int:
        """Run the plan, keep MLflow up to date, draw; returns the exit code."""
        assert self.ledger is not None
        say: Callable[[str], None] = (lambda line: None) if as_json else (lambda line: print_line(line, sys.stdout))
        for note in plan.notes:
            say(f"note: {note}")
        if replaced := self._replaced():
            say(f"note: {replaced}")
        self._record(self.trials)
        objective = self.space.spec.objective
        todo = bool(plan.cohorts) or (objective is not None and self._suggestions_left() > 0)
        if not todo:
            say(f"{self.space.name}: nothing to run, the ledger has all {len(plan.trials)} trials")
        else:
            say(f"{self.space.name}: {_announced(plan, self._suggestions_left())}")
        sync = None
        if self.settings.mlflow_uri is not None:
            sync = BackgroundSync(self.ledger, self.space.name, self.settings.mlflow_uri)
        tally = self._tally(plan)
        with _Upkeep(self.ledger):
            if todo:
                try:
                    with _view(tally, self.space.name, as_json) as view:
                        self._train(plan, view, sync)
                except KeyboardInterrupt:
                    say(f"interrupted: {tally.headline()}; the same command goes on from here")
                    if as_json:
                        print(json.dumps(self._result(plan, tally, None) | {"interrupted": True}))
                    return INTERRUPTED
        figures, why_not = self._draw(out)
        paths = figures.paths if figures is not None else ()
        synced = sync.close(SYNC_TIMEOUT_S, figures=paths) if sync is not None else None
        if as_json:
            result = self._result(plan, tally, figures)
            if isinstance(synced, TrackingError):
                result |= {"mlflow_error": str(synced), "mlflow_command": self._sync_command()}
            print(json.dumps(result))
        else:
            self._last_lines(say, tally, figures, why_not, synced)
        return SOME_FAILED if tally.failed else DONE

    def _train(self, plan: Plan, view: SilentView, sync: BackgroundSync | None) -> None:
        """Run every cohort; returns when nothing is left, or the time is up."""
        assert self.ledger is not None
        if self.settings.local:
            from pipeline.execution.local_runner import run_local

            run_local(self._dispatcher(plan, view, sync), store=self.ledger, provenance=RowOrigin.of_this_process())
            return
        from pipeline.execution import ray_runner as launch

        cpus, gpus = self.settings.cpus_per_cohort, self.settings.gpus_per_cohort
        try:
            launch.start(
                self.settings.address,
                cpus=max(1, math.ceil((self.settings.workers or 1) * cpus)),
                environment={FOLDER_VARIABLE: self.settings.data} if self.settings.data else None,
            )
            if self.settings.workers is None:
                self.settings = replace(self.settings, workers=launch.cluster_slots(cpus, gpus))
                plan = self.plan()
            launch.run_on_ray(
                self._dispatcher(plan, view, sync),
                store=self.ledger,
                provenance=RowOrigin.of_this_process(),
                workers=self.settings.workers or 1,
                cpus_per_cohort=cpus,
                gpus_per_cohort=gpus,
            )
        finally:
            launch.stop()

    def _dispatcher(self, plan: Plan, view: SilentView, sync: BackgroundSync | None) -> Dispatcher:
        assert self.ledger is not None
        kind, max_hours = self.settings.device_kind, self.settings.max_hours
        return Dispatcher(
            plan.cohorts,
            store=self.ledger,
            again=self._again,
            origin=lambda trial: Origin(kind, source_hash(trial), canonical_json(collect())),
            watchers=[view] if sync is None else [view, _Submit(sync)],
            source=self._source(view.tally),
            device=self.settings.device,
            deadline=time.time() + 3600 * max_hours if max_hours else None,
        )

    def _again(self, trials: Sequence[TrialConfig], size: int) -> Sequence[CohortPlan]:
        """What is left of some trials after an error; failures of this run are not failures of before."""
        return self._plan([PlannedTrial(trial, {}) for trial in trials], size, rerun_failed=True).cohorts

    def _source(self, tally: Tally) -> Any:
        """The suggestions of an objective, or None."""
        if self._study is None:
            return None
        assert self.ledger is not None
        from pipeline.execution.ray_runner import optuna_search
        from pipeline.execution.suggestions import METRIC, Suggestions, storage_address

        spec = self.space.spec
        assert spec.objective is not None
        self._study.reopen()
        seeds = 1 if spec.seeds is None else len(spec.seeds)

        def record(trials: Sequence[PlannedTrial]) -> None:
            self._record(trials)
            tally.set_trials(_points(trials))

        return Suggestions(
            self.space,
            self._study,
            searcher=optuna_search(
                spec.sampled_axes(),
                metric=METRIC,
                study_name=self.space.name,
                storage=storage_address(self.ledger),
                sampler=spec.objective.sampler,
                # A sampler that begins anew must not suggest again what it did before.
                seed=spec.sampling_seed + len(self._study.suggestions()),
            ),
            ledger=self.ledger,
            plan=lambda trials: self._plan(trials, seeds, rerun_failed=self.settings.rerun_failed).cohorts,
            record=record,
            at_once=self.settings.workers or 1,
        )

    def _suggestions_left(self) -> int:
        if self._study is None or self.space.spec.objective is None:
            return 0
        return max(0, self.space.spec.objective.budget - self._study.settled())

    def _record(self, trials: Sequence[PlannedTrial]) -> None:
        """Put the sweep into the ledger, unless it is there as it is now."""
        assert self.ledger is not None
        self.trials = list(trials)
        row = SweepRow(
            name=self.space.name,
            doc=self.space.doc,
            axes_json=self.space.spec.axes_json(),
            trial_ids=tuple(trial.config.trial_id for trial in trials),
            coordinates_json=canonical_json([trial.coordinates for trial in trials]),
            horizon_steps=self.space.spec.horizon_steps,
            revision=self.space.revision,
            recorded_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        held = next((each for each in self.ledger.sweeps() if each.name == row.name), None)
        if held is None or replace(held, recorded_at=row.recorded_at) != row:
            self.ledger.record_sweep(row)

    def _replaced(self) -> str | None:
        """A line where the sweep in the ledger is about to lose trials or steps, which a smaller run of it means."""
        assert self.ledger is not None
        horizon, ids = self.space.spec.horizon_steps, {trial.config.trial_id for trial in self.trials}
        held = next((each for each in self.ledger.sweeps() if each.name == self.space.name), None)
        if held is None or (ids >= set(held.trial_ids) and horizon >= held.horizon_steps):
            return None
        return (
            f"the sweep {held.name!r} was {len(held.trial_ids)} trials to step {held.horizon_steps} and is now "
            f"{len(ids)} to step {horizon}; no row is lost, and the larger space brings it back"
        )

    def _tally(self, plan: Plan) -> Tally:
        """Every trial as the ledger has it before the run."""
        from pipeline.execution.outcomes import outcomes_of

        assert self.ledger is not None
        tally = Tally(_points(plan.trials))
        rows = self.ledger.trials(plan.cached | plan.failed)
        configs = {trial.config.trial_id: trial.config for trial in plan.trials}
        outcomes = outcomes_of(self.ledger, rows, {trial_id: config.events for trial_id, config in configs.items()})
        for trial_id, row in rows.items():
            phases = configs[trial_id].phases
            phase = outcomes[trial_id].by(tally.horizons[trial_id]).phase(phases) if trial_id in outcomes else ""
            tally.had(trial_id, row.state, phase, row.last_step)
        return tally

    def _draw(self, out: Path) -> "tuple[Figures | None, str]":
        """The figures, or why there are none; a sweep of which nothing was measured has none."""
        assert self.ledger is not None
        from analysis.data.sweep import SweepError
        from analysis.report import draw

        try:
            return draw(self.ledger.uri, self.space.name, out), ""
        except (SweepError, LedgerError) as error:
            return None, str(error)

    def _result(self, plan: Plan, tally: Tally, figures: "Figures | None") -> dict[str, Any]:
        """The JSON object of ``--json``."""
        return {
            "sweep": self.space.name,
            "planned": len(tally.trial_ids),
            "cached": len(tally.cached),
            "finished": tally.ended_now,
            "failed": tally.failed,
            "notes": tally.notes,
            **self.places(),
            "figures": None if figures is None else [str(path) for path in figures.paths],
        }

    def _last_lines(
        self,
        say: Callable[[str], None],
        tally: Tally,
        figures: "Figures | None",
        why_not: str,
        synced: SyncReport | TrackingError | None,
    ) -> None:
        """Where everything is, and the command that opens it."""
        assert self.ledger is not None
        left = len(tally.trial_ids) - tally.over
        if left and self.settings.max_hours:
            say(f"stopped after {self.settings.max_hours:g} h: {left} trials are left, the same command goes on")
        if tally.failed:
            rows = self.ledger.trials(tally.trial_ids).values()
            for line in failures(rows):
                say(line)
        for line in figures.summary if figures is not None else ():
            say(line)
        say(f"ledger   {self.ledger.shown}")
        if isinstance(synced, TrackingError):
            say(f"mlflow   {synced}; the data is safe in the ledger, this syncs it: {self._sync_command()}")
        elif synced is not None:
            say(f"mlflow   {synced.browse}")
        if figures is None:
            say(f"figures  none: {why_not}")
        else:
            say(f"figures  {figures.png}")
            say(f"open     {figures.open_command}")
        for figure in _asked_by(self.space.name):
            say(f"verdict  python -m analysis.figures {figure} --from {self.ledger.shown}")

    def _sync_command(self) -> str:
        assert self.ledger is not None
        assert self.settings.mlflow_uri is not None
        return sync_command(self.space.name, self.ledger.shown, self.settings.mlflow_uri)


class _Submit:
    """Hands ended trials to the background sync."""

    def __init__(self, sync: BackgroundSync) -> None:
        self._sync = sync

    def reported(self, job: CohortJob, statuses: Sequence[Any]) -> None:
        """Nothing to mirror before a trial has ended."""

    def ended(self, states: Mapping[str, str]) -> None:
        """Have them written soon."""
        self._sync.submit(list(states))


def _asked_by(sweep: str) -> list[str]:
    """The paper's figures, by name, that a sweep is the evidence of."""
    from analysis.paper.figure import find_figures

    found = find_figures().values()
    return [each.name for each in found if any(sweep in each.files(size) for size in each.sizes)]


class _Upkeep:
    """Compacts the ledger now and then while workers commit, so that the number of files stays bounded."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger-upkeep", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: object, *_: object) -> None:
        self._over.set()
        if kind is None:
            self._thread.join()
            self._tidy()

    def _run(self) -> None:
        while not self._over.wait(COMPACT_EVERY_S):
            self._tidy()

    def _tidy(self) -> None:
        try:
            self._ledger.compact_if_needed()
        except LedgerError as error:
            # The rows are safe as they are; only their number of files grows.
            print(f"warning: the ledger could not be compacted: {error}", file=sys.stderr)


def failures(rows: Sequence[TrialRow] | Any) -> list[str]:
    """A line for each kind of failure among the rows: how many trials, and the first one's error."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.state == TrialState.FAILED:
            found.setdefault((row.error_kind or "", row.error or ""), []).append(row.trial_id)
    return [
        f"failed   {len(trial_ids)} {'trial' if len(trial_ids) == 1 else 'trials'} ({trial_ids[0]}"
        f"{', ...' if len(trial_ids) > 1 else ''}), {kind.replace('_', ' ')}: {error}"
        for (kind, error), trial_ids in found.items()
    ]


def _view(tally: Tally, title: str, as_json: bool) -> SilentView:
    if as_json:
        return SilentView(tally)
    if sys.stdout.isatty():
        from rich.console import Console

        return LiveView(tally, title, Console())
    return PlainView(tally, sys.stdout)


def _points(trials: Sequence[PlannedTrial]) -> list[Point]:
    return [Point(trial.config.trial_id, trial.coordinates, trial.config.horizon_steps) for trial in trials]


def _announced(plan: Plan, suggestions: int) -> str:
    """What is about to be run, in one line."""
    if suggestions:
        return f"{suggestions} suggestions by Optuna to run, {len(plan.cached)} trials in the ledger"
    todo = sum(len(cohort.trials) for cohort in plan.cohorts)
    kept = f"{len(plan.cached)} of {len(plan.trials)} trials are in the ledger, " if plan.cached else ""
    failed = f"{len(plan.failed)} failed before, " if plan.failed else ""
    most = duration(plan.predicted_wall_s)
    where = f"in {count_of(len(plan.cohorts), 'cohort')} on {count_of(plan.workers, 'worker')}"
    return f"{kept}{failed}{todo} to run {where}, {most} of training at most"


if __name__ == "__main__":
    sys.exit(main())
