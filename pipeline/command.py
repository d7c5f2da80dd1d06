"""What ``python -m pipeline.sweep`` does once its flags are read: a run from a space to its figures, or a dry run.

Puts everything together: what the ledger lacks is run on Ray or in this process, MLflow is kept up to date, and the
figures are drawn.
"""

import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.execution import ray_environment
from pipeline.execution.background import Upkeep
from pipeline.execution.dispatch import Watcher
from pipeline.execution.provenance import forget_sources
from pipeline.execution.resources import Resources, resolve
from pipeline.execution.run import Planner, SweepRun, check_components, missing_data, study_of
from pipeline.ledger import Ledger, LedgerMissingError
from pipeline.plan.rehearsal import rehearse
from pipeline.sharing import Lease, Leases
from pipeline.sharing.lease import RENEW_EVERY_S
from pipeline.spec.settings import DEFAULT_FIGURES, RunSettings, SettingsError
from pipeline.spec.space_file import LoadedSpace
from pipeline.terminal import dry_run as texts
from pipeline.terminal.live_view import SilentView, view_of
from pipeline.terminal.results import RunResult, announcement, failures
from pipeline.terminal.signals import Interrupted
from pipeline.terminal.tally import Tally, grow, tally_of
from pipeline.tracking import BackgroundSync, TrackingError, check, sync_command
from trainables.data.download import without_downloads
from trainables.data.folder import FOLDER_VARIABLE
from trainables.engine.errors import GrokscapeError, redact
from trainables.engine.terminal import print_line
from trainables.runtime.job import CohortJob
from trainables.runtime.status import MemberStatus

if TYPE_CHECKING:
    from analysis.draw import Figures
    from analysis.results import SweepResult
    from pipeline.terminal.history import History

SYNC_TIMEOUT_S = 600.0
HISTORY = ("suggestions.png", "suggestions.csv")


def run(space: LoadedSpace, settings: RunSettings, *, silent: bool = False, from_python: bool = False) -> RunResult:
    """Run what the ledger lacks of a space, keep MLflow up to date, draw the figures.

    :param silent: print nothing.
    :param from_python: the caller shows the answer; draw figures only if ``out`` is given, or MLflow shows them, and
        show the progress in one line.
    :raises GrokscapeError: for anything that prevents the run, in one line, before it starts.
    """
    settings, resources, out = _checked(space, settings)
    ledger = Ledger.open(settings.ledger, create=True)
    if from_python:
        forget_sources()
    with Leases(ledger, space.name) as leases:
        return _run(space, settings, resources, out, ledger, leases, silent=silent, from_python=from_python)


def _run(
    space: LoadedSpace,
    settings: RunSettings,
    resources: Resources,
    out: Path,
    ledger: Ledger,
    leases: Leases,
    *,
    silent: bool,
    from_python: bool,
) -> RunResult:
    """Run what the ledger lacks, and what comes after it."""
    sweep = SweepRun(space, settings, resources, ledger, leases)
    plan = sweep.plan()
    if not settings.local:
        check_components(space, plan)
    if settings.address is None:  # A cluster's data are where its workers are.
        for line in missing_data(plan):
            raise SettingsError(line)
    suggested = space.spec.base if sweep.suggestions_left else None
    rehearsed = rehearse(plan, resources.device, base=suggested) if settings.address is None else []

    def say(line: str) -> None:
        if not silent:
            print_line(line, sys.stdout)

    for note in filter(
        None, [*space.notes(), *settings.notes(), *plan.notes, *rehearsed, sweep.new_study, sweep.shrunk()]
    ):
        say(f"note: {note}")
    sweep.discard(plan)
    sweep.record()
    for line in announcement(space.name, plan, sweep.suggestions_left):
        say(line)
    tally = tally_of(plan, ledger, sweep.progress)
    leases.progress = tally.progress()
    sync = None if settings.mlflow_uri is None else BackgroundSync(ledger, space.name, settings.mlflow_uri)
    places = {
        "sweep": space.name,
        "ledger": ledger.shown,
        "mlflow": settings.mlflow_uri and redact(settings.mlflow_uri),
    }
    with Upkeep(ledger):
        if plan.cohorts or sweep.suggestions_left:
            try:
                with _view(tally, space.name, silent=silent, from_python=from_python) as view:
                    watchers: list[Watcher] = [view, _Telling(leases, tally), *([sync] if sync else [])]
                    sweep.train(plan, watchers, partial(grow, tally, ledger))
            except Interrupted as interruption:
                why = "cancelled" if leases.cancelled else f"interrupted ({interruption.name})"
                say(f"{why}: {tally.headline()}; run the same command again to resume")
                return RunResult.of(tally, **places, figures=None, interrupted=interruption)
    leases.end()
    left = tally.total - tally.done
    if left and settings.max_hours:
        say(f"stopped after {settings.max_hours:g} h: {left} trials are left, run the same command again to resume")
    for line in failures(ledger.trials(list(tally.trials)).values()) if tally.failed else ():
        say(line)
    drawn = not from_python or settings.out is not None or sync is not None
    figures, why_none = _draw(ledger, space.name, out) if drawn else (None, None)
    result = RunResult.of(tally, **places, figures=figures and tuple(figures.paths), figures_error=why_none)
    answer = list(figures.summary) if figures else []
    for line in () if from_python else answer:
        say(line)
    if sweep.progress is not None:
        history, no_files = _history(space, sweep, out)
        result = replace(result, best=history.to_json())
        if result.figures and not no_files:
            result = replace(result, figures=(*result.figures, *(out / name for name in HISTORY)))
        for line in history.lines():
            say(line)
        answer += history.lines()
        say(f"history  none: {no_files}" if no_files else f"history  {out / HISTORY[0]} and {HISTORY[1]}")
    say(f"ledger   {ledger.shown}")
    if sync is not None and settings.mlflow_uri is not None:
        report = sync.close(SYNC_TIMEOUT_S, figures=result.figures or (), answer="\n".join(answer))
        if isinstance(report, TrackingError):
            command = sync_command(space.name, ledger.uri, settings.mlflow_uri)
            result = replace(result, mlflow_error=str(report), mlflow_command=command)
            say(f"mlflow   {report}; the data is safe in the ledger, sync it with: {command}")
        else:
            say(f"mlflow   {report.browse}")
            if report.note:
                say(f"note: MLflow is {report.note}")
    if drawn:
        say(f"figures  {figures.png}" if figures else f"figures  none: {why_none}")
    if from_python:
        return result
    if figures:
        say(f"open     {figures.open_command}")
    for name in _figures_on(space.name):
        say(f"verdict  python -m analysis.figures {name} --from {shlex.quote(ledger.shown)}")
    return result


def opened(sweep: str, settings: RunSettings) -> "SweepResult":
    """The sweep as the analysis opens it, with its tables and pictures."""
    from analysis import open_sweep

    return open_sweep(sweep, Ledger.open(settings.ledger))


def _view(tally: Tally, title: str, *, silent: bool, from_python: bool) -> SilentView:
    if from_python and not silent:
        from pipeline.terminal.line_view import line_view_of

        return line_view_of(tally, title)
    return view_of(tally, title, silent=silent)


class _Telling:
    """Tells other drivers, and ``python -m pipeline.status``, how far this one is."""

    def __init__(self, leases: Leases, tally: Tally) -> None:
        self._leases, self._tally, self._next_s = leases, tally, 0.0

    def reported(self, job: CohortJob, statuses: Sequence[MemberStatus]) -> None:
        """See :class:`pipeline.execution.dispatch.Watcher`."""
        self._end_if_cancelled()
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + RENEW_EVERY_S / 2
            self._leases.progress = self._tally.progress()

    def ended(self, states: Mapping[str, str]) -> None:
        """Do nothing: the next report says it too."""

    def elsewhere(self, leases: Sequence[Lease], states: Mapping[str, str]) -> None:
        """Others tell of themselves."""
        self._end_if_cancelled()

    def _end_if_cancelled(self) -> None:
        """End a run of another thread than the main one, which no signal reaches."""
        if self._leases.cancelled and threading.current_thread() is not threading.main_thread():
            raise Interrupted(signal.SIGTERM)


def dry_run(space: LoadedSpace, settings: RunSettings, *, as_json: bool) -> None:
    """Print what a run would do; create nothing, and join no cluster."""
    settings, resources, _ = _checked(space, settings, dry=True)
    ledger, study = None, None
    try:
        ledger = Ledger.open(settings.ledger)
        study = study_of(space, ledger, create=False)
    except LedgerMissingError:
        pass  # The first run creates it.
    plan = Planner(ledger, settings, resources).plan(space.spec.trials() if study is None else study.trials())
    new_study = None if study is None else study.change(plan.cached | plan.failed)
    with without_downloads():
        missing = [] if settings.address else list(dict.fromkeys(missing_data(plan)))
    suggested = space.spec.base if space.spec.objective else None
    rehearsed = [] if settings.address or missing else rehearse(plan, resources.device, base=suggested)
    changed = () if new_study is None else (new_study,)
    lacking = (f"data missing: {line}" for line in missing)
    notes = (*space.notes(), *settings.notes(), *plan.notes, *rehearsed, *changed, *lacking)
    plan = replace(plan, notes=notes)
    if as_json:
        summary = texts.summary(plan, space, resources.device_kind) | {"data_missing": missing}
        shown = redact(settings.ledger) if ledger is None else ledger.shown
        places = {"ledger": shown, "mlflow": settings.mlflow_uri and redact(settings.mlflow_uri)}
        print(json.dumps(summary | places | {"finished": 0, "figures": None}))
    else:
        for line in texts.describe(plan, space, resources.device_kind):
            print_line(line, sys.stdout)


def _checked(space: LoadedSpace, settings: RunSettings, *, dry: bool = False) -> tuple[RunSettings, Resources, Path]:
    """The settings with an absolute folder of data, the resources, and the folder of the figures.

    :param dry: do not ask a cluster whether it accepts the connection, which takes seconds.
    :raises GrokscapeError: for what would prevent a run.
    """
    if settings.data is not None:
        data = os.path.abspath(settings.data)
        if settings.address is None and not os.path.isdir(data):
            raise SettingsError(f"--data {data}: not a folder; must be the one that holds the data sets")
        settings = settings.replace(data=data)
        os.environ[FOLDER_VARIABLE] = data
    _check_installed(settings)
    resources = resolve(settings, space.spec.base)
    if settings.address is not None:
        ray_environment.check_address(settings.address)
        if not dry:
            ray_environment.check_cluster(settings.address)
    if space.spec.objective is not None:
        from pipeline.execution.study import check_objective

        check_objective(space.spec, settings.ledger)
        if settings.rerun_changed:
            raise SettingsError(
                "--rerun-changed: the study of an objective keeps the values of the older trials; drop the sweep "
                "(python -m pipeline.ledger drop) and give the space's file another name"
            )
    if settings.mlflow_uri is not None:
        try:
            check(settings.mlflow_uri)
        except TrackingError as error:
            raise TrackingError(f"{error}{settings.origin_of_mlflow_uri()}") from None
    out = Path(settings.out or f"{DEFAULT_FIGURES}/{space.name}")
    parent = next(folder for folder in (out, *out.parents) if folder.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise SettingsError(f"--out {out}: {parent} is not a writable folder")
    return settings, resources, out


def _check_installed(settings: RunSettings) -> None:
    """A bare GPU machine has neither Ray nor MLflow, and can do without.

    :raises SettingsError: for a run that needs what is not installed.
    """
    if not settings.local and find_spec("ray") is None:
        raise SettingsError("Ray is not installed: pass --local, or pip install 'ray[tune]'")
    if settings.mlflow_uri is not None and find_spec("mlflow") is None:
        raise SettingsError("MLflow is not installed: pass --mlflow-uri none, or pip install mlflow")


def _draw(ledger: Ledger, sweep: str, out: Path) -> "tuple[Figures | None, str | None]":
    """The figures, or why there are none: nothing was measured, or something went wrong, which costs only them."""
    from analysis.drawing.guard import drawing

    try:
        with drawing():
            from analysis.draw import draw

            return draw(ledger, sweep, out), None
    except GrokscapeError as error:
        return None, str(error)


def _history(space: LoadedSpace, sweep: SweepRun, out: Path) -> "tuple[History, str | None]":
    """The suggestions of an objective with the intervals of the tables, written beside the figures; or why not."""
    from analysis.drawing.guard import drawing
    from pipeline.terminal.history import History, Suggestion

    spec = space.spec
    suggestions = [Suggestion(number, *each) for number, each in enumerate(sweep.answers(), start=1)]
    if not suggestions:
        return History(spec, suggestions), "no suggestion has ended"
    try:
        with drawing():
            from analysis.draw import draw_search, search_intervals

            tau = spec.base.horizon_steps
            for place, each in enumerate(suggestions):
                if each.answer is not None:
                    by_tau, rmst = search_intervals(each.answer.events, tau)
                    suggestions[place] = replace(each, by_tau=by_tau, rmst=rmst)
            history = History(spec, suggestions)
            title = space.doc.partition("\n")[0] or space.name
            draw_search(
                history.rows(), history.points(), [out / name for name in HISTORY], title, history.event, tau_steps=tau
            )
    except GrokscapeError as error:
        return History(spec, suggestions), str(error)
    return history, None


def _figures_on(sweep: str) -> list[str]:
    """The names of the paper's figures that a sweep is evidence for; they are drawing code, too."""
    from analysis.drawing.guard import drawing

    try:
        with drawing():
            from analysis.paper.figure import find_figures

            figures = find_figures().values()
            return [each.name for each in figures if any(sweep in each.files(size) for size in each.sizes)]
    except GrokscapeError:
        return []
