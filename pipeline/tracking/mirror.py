"""MLflow as a projection of the ledger: one experiment a sweep and one run a trial, which can be made again.

``python -m pipeline.tracking SWEEP`` syncs a sweep from the ledger to MLflow.  MLflow only displays: a sync finds a
run by its tag ``grokscape.trial_id``, reads from another tag what the run holds, and writes only what is missing, so
that a second sync writes nothing and the next one completes an interrupted one.
"""

import hashlib
import json
import os
import re
import shlex
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.ledger import Ledger, SweepRow
from pipeline.tracking.artifacts import artifact_location, follow_move, may_write
from pipeline.tracking.client import TrackingError, at_home, browse_hint, call, check, connect, runs_of
from pipeline.tracking.content import (
    KIND_TAG,
    OWN_PREFIXES,
    SHEET_TAG,
    SYNCED_TAG,
    TRIAL_ID_TAG,
    Point,
    RunContent,
    Synced,
    batches,
    can_extend,
    fitted_name,
    fitted_tags,
    milliseconds,
    row_digest,
    sheet_tags,
    trial_content,
)
from pipeline.tracking.page import (
    CELLS_FILE,
    PAGE_QUERY,
    TABLE_FILE,
    TABLES_TAG,
    description,
    experiment_tags,
    table_text,
)
from trainables.engine.config import canonical_json, digest, parse_json
from trainables.engine.errors import redact
from trainables.runtime.rows import TrialRow

if TYPE_CHECKING:
    from mlflow.entities import Run


TRIAL_ID = re.compile(r"[\w-]+")
NOTE_TAG = "mlflow.note.content"
ANSWER_TAG = "grokscape.answer"
"""Of the sweep's own run: its answer as last given, for a sync that knows none."""
CONTENTS_TAG = "grokscape.contents"
"""Of the sweep's own run: what all runs show, written when all have been."""


@dataclass(frozen=True)
class SyncReport:
    """What one sync did to the experiment."""

    browse: str
    """How to see the experiment; without credentials."""
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    """Runs of trials that the sweep or the ledger no longer has, duplicates, and runs that had to be replaced."""
    wall_s: float = 0.0
    note: str = ""
    """What was left out, in one line."""

    def __str__(self) -> str:
        return (
            f"{self.created} runs created, {self.updated} updated, {self.unchanged} unchanged, {self.removed} removed"
            f" in {self.wall_s:.1f} s{'; ' if self.note else ''}{self.note}"
        )


def sync(
    ledger: Ledger,
    sweep_name: str,
    uri: str,
    *,
    trial_ids: Collection[str] | None = None,
    figures: Sequence[Path] = (),
    answer: str = "",
    anew: bool = False,
    trust: bool = False,
) -> SyncReport:
    """Sync a sweep from the ledger to its experiment.

    :param trial_ids: only these trials; default: all, and the removal of runs that the ledger no longer has.
    :param figures: files to attach to the sweep's own run.
    :param answer: what the sweep found, in lines, for that run's description.
    :param anew: remove every run and write it again, for one that somebody changed.
    :param trust: do not list the trials' runs where the last whole sync wrote what the ledger has now.
    :raises TrackingError: when MLflow cannot be reached or fails; what was written stays, and the next sync resumes.
    :raises LedgerError: when the ledger has no such sweep or cannot be read.
    """
    started = time.monotonic()
    sweep, uri = ledger.sweep(sweep_name), at_home(uri)
    check(uri)
    mirror = Mirror(ledger, sweep, uri, trust=trust and not anew)
    if anew:
        mirror.clear()
    if not mirror.whole:
        mirror.write(trial_ids)
    if mirror.created_runs:
        mirror.settle(trial_ids)
    mirror.finish(figures, answer)
    return replace(mirror.report, wall_s=time.monotonic() - started)


def sync_command(sweep_name: str, ledger_uri: str, uri: str) -> str:
    """Return the command that completes a failed sync, to be printed: without secrets, and it says so."""
    ledger, tracking = redact(ledger_uri), redact(uri)
    command = shlex.join(["python", "-m", "pipeline.tracking", sweep_name, "--ledger", ledger, "--mlflow-uri"])
    left_out = [] if ledger == ledger_uri else [f"the ledger's ({ledger})"]
    if tracking != uri and os.environ.get("MLFLOW_TRACKING_URI") == uri:
        tracking = '"$MLFLOW_TRACKING_URI"'
    else:
        left_out += [] if tracking == uri else [f"MLflow's ({tracking})"]
        tracking = shlex.quote(tracking)
    note = f"  # add the user, password and query of {' and '.join(left_out)} address" if left_out else ""
    return f"{command} {tracking}{note}"


@dataclass(frozen=True)
class _Run:
    """A run of MLflow and its contents, as last read or written."""

    run_id: str
    name: str
    status: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    """The latest value of each."""
    artifact_uri: str

    @classmethod
    def of(cls, run: "Run") -> "_Run":
        info, data = run.info, run.data
        return cls(info.run_id, info.run_name, info.status, data.tags, data.params, data.metrics, info.artifact_uri)

    @property
    def synced(self) -> Synced | None:
        return Synced.from_tag(self.tags.get(SYNCED_TAG))


class Mirror:
    """One sweep's experiment and its runs, as last read or written."""

    def __init__(self, ledger: Ledger, sweep: SweepRow, uri: str, *, trust: bool = False) -> None:
        self._ledger, self._sweep, self._uri = ledger, sweep, uri
        self._coordinates = dict(zip(sweep.trial_ids, json.loads(sweep.coordinates_json), strict=True))
        self._client = connect(uri)
        self._experiment_id = self._find_experiment()
        self.created_runs = False
        """Whether this sync has made a run, which another one may have made too."""
        self.report = SyncReport(browse_hint(uri, self._experiment_id, PAGE_QUERY))
        self.whole = trust and self._find_whole()
        """Whether every run shows what the ledger has."""
        if not self.whole:
            self._parent, self._runs = self._find_runs()

    def write(self, trial_ids: Collection[str] | None) -> None:
        """Create or update the runs of these trials; default: of all, and remove those that have no trial any more."""
        selected = [id_ for id_ in self._sweep.trial_ids if trial_ids is None or id_ in trial_ids]
        rows = self._ledger.trials(selected)
        stale = []
        for row in (rows[id_] for id_ in selected if id_ in rows):
            run = self._runs.get(row.trial_id)
            synced = run.synced if run else None
            if synced is None or synced.content != row_digest(
                row, self._coordinates[row.trial_id], self._parent.run_id
            ):
                stale.append(row.trial_id)
            else:
                self._count(unchanged=1)
        for trial_id, trajectory in self._ledger.iter_trajectories(stale):
            try:
                self._write_trial(rows[trial_id], trajectory)
            except TrackingError:
                if trial_id not in self._runs or not self._is_gone(self._runs[trial_id]):
                    raise  # else another sync has kept its own run of this trial
        if trial_ids is None:
            for trial_id in [id_ for id_ in self._runs if id_ not in rows]:
                self._remove(self._runs.pop(trial_id))
            self.whole = True

    def settle(self, trial_ids: Collection[str] | None) -> None:
        """Remove what another sync made twice since this one listed the runs.

        Of two syncs at once, the last to create a run lists all of them afterwards, and both keep the same ones.
        """
        kept = self._parent.run_id
        self._parent, self._runs = self._find_runs(spare_unfinished=True)
        if self._parent.run_id != kept:  # The trials' runs name it.
            self.write(trial_ids)
        self.whole = self.whole and all(run.synced for run in self._runs.values())

    def clear(self) -> None:
        """Remove every run, and begin with a new one of the sweep."""
        for run in (*self._runs.values(), self._parent):
            self._remove(run)
        self._parent, self._runs = self._find_runs()

    def finish(self, figures: Sequence[Path], answer: str = "") -> None:
        """Update the sweep's own run: its description, whether it is done, and its files."""
        rows = self._ledger.trials(self._sweep.trial_ids)
        done = len(rows) == len(self._sweep.trial_ids) and all(row.ended for row in rows.values())
        files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:20] for path in figures}
        if CELLS_FILE in files:
            files[TABLE_FILE] = files[CELLS_FILE]
        held = self._parent.tags
        attached = _attached(held)
        place = self._parent.artifact_uri
        if files and not may_write(self._uri, place, files):
            note = f"without figures: MLflow has them at {redact(place)}, which is not a folder of this sync's own"
            self.report = replace(self.report, note=note)
            figures, files = (), {}
        page = f"#/experiments/{self._experiment_id}/runs/{self._parent.run_id}/artifacts"
        answer = answer or held.get(ANSWER_TAG, "")
        described = {
            NOTE_TAG: description(self._sweep, answer, page, sorted({*attached, *files})),
            ANSWER_TAG: answer or None,
            "grokscape.sweep": self._sweep.name,
            "grokscape.axes": self._sweep.axes_json,
            "grokscape.horizon_steps": str(self._sweep.horizon_steps),
            "grokscape.revision": self._sweep.revision,
            "grokscape.planned_trials": str(len(self._sweep.trial_ids)),
            "grokscape.recorded_at": self._sweep.recorded_at,
            "grokscape.figures": canonical_json({**attached, **files}),
            **(TABLES_TAG if TABLE_FILE in {**attached, **files} else {}),
        }
        if self.whole:
            described[CONTENTS_TAG] = self._contents(rows)
        tags = fitted_tags(described) | sheet_tags(self._sweep)
        # Without the description, whose links name the run: one digest wherever the sweep is shown.
        tags[SYNCED_TAG] = digest([{name: text for name, text in tags.items() if name != NOTE_TAG}, done])
        if tags.items() <= held.items():
            return
        run_id = self._parent.run_id
        for path in figures:
            if attached.get(path.name) != files[path.name]:
                self._call(self._client.log_artifact, run_id, str(path))
            if path.name == CELLS_FILE and attached.get(TABLE_FILE) != files[TABLE_FILE]:
                self._call(self._client.log_text, run_id, table_text(str(path)), TABLE_FILE)
        if done:
            end_ms = max((milliseconds(row.committed_at) for row in rows.values()), default=0)
            self._call(self._client.set_terminated, run_id, "FINISHED", end_ms)
        else:
            self._call(self._client.update_run, run_id, status="RUNNING")
        for points, params, some in batches(RunContent("", {}, tags, (), "", 0, None), None):
            self._log_batch(run_id, points, params, some)
        for name in held.keys() - tags.keys():
            if name.startswith(SHEET_TAG):
                self._call(self._client.delete_tag, run_id, name)

    def _write_trial(self, row: TrialRow, trajectory: pa.Table) -> None:
        content = trial_content(row, trajectory, self._coordinates[row.trial_id], self._parent.run_id)
        run = self._runs.get(row.trial_id)
        if run and not _can_take(run, row, trajectory, content):
            self._remove(run)
            run = None
        if run is None:
            tags = {name: content.tags[name] for name in (KIND_TAG, TRIAL_ID_TAG, "mlflow.parentRunId")}
            run = self._runs[row.trial_id] = self._create_run(content.name, content.start_ms, tags)
            self._count(created=1)
        else:
            self._count(updated=1)
            for name in set(run.tags) - set(content.tags):
                if name.startswith(OWN_PREFIXES):
                    self._call(self._client.delete_tag, run.run_id, name)
        # Name and status go before the tag that says that the run is complete.
        if run.name != content.name or (content.end_ms is None and run.status != content.status):
            self._call(self._client.update_run, run.run_id, status=content.status, name=content.name)
        if content.end_ms is not None:
            self._call(self._client.set_terminated, run.run_id, content.status, content.end_ms)
        for points, params, tags in batches(content, run.synced.step if run.synced else None):
            self._log_batch(run.run_id, points, params, tags)
        self._runs[row.trial_id] = _Run(
            run.run_id,
            content.name,
            content.status,
            content.tags,
            content.params,
            {point.key: point.value for point in content.points},
            run.artifact_uri,
        )

    def _find_experiment(self) -> str:
        """Find the experiment, or create it, and have the page show it as a sweep's."""
        name, tags = fitted_name(self._sweep.name), experiment_tags(self._sweep)
        experiment = self._call(self._client.get_experiment_by_name, name)
        if experiment is None:
            try:
                return self._call(self._client.create_experiment, name, artifact_location(self._uri), tags)
            except TrackingError:
                experiment = self._call(self._client.get_experiment_by_name, name)
                if experiment is None:  # else another driver was first
                    raise
        self._call(follow_move, self._uri)
        if experiment.lifecycle_stage == "deleted":
            self._call(self._client.restore_experiment, experiment.experiment_id)
        for key, text in tags.items():
            if experiment.tags.get(key) != text:
                self._call(self._client.set_experiment_tag, experiment.experiment_id, key, text)
        return experiment.experiment_id

    def _find_whole(self) -> bool:
        """Find the sweep's own run alone, and whether the last whole sync wrote what the ledger has now."""
        runs = runs_of(self._client, self._uri, self._experiment_id, f"tags.`{KIND_TAG}` = 'sweep'")
        if len(runs) != 1:
            return False
        self._parent, self._runs = _Run.of(runs[0]), {}
        rows = self._ledger.trials(self._sweep.trial_ids)
        if self._parent.tags.get(CONTENTS_TAG) != self._contents(rows):
            return False
        self._count(unchanged=len(rows))
        return True

    def _contents(self, rows: Mapping[str, TrialRow]) -> str:
        """A digest of what the runs of all trials show, whichever run is their parent."""
        return digest([row_digest(row, self._coordinates[row.trial_id], "") for row in rows.values()])

    def _find_runs(self, spare_unfinished: bool = False) -> tuple[_Run, dict[str, _Run]]:
        """Find the sweep's own run, or create it, and the trials' runs by trial id; remove those that are there twice.

        :param spare_unfinished: keep a second run that another sync may be writing: it will find both.
        """
        runs = runs_of(self._client, self._uri, self._experiment_id)
        parents: dict[str, _Run] = {}
        trials: dict[str, _Run] = {}
        for run in sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id)):
            tags = run.data.tags
            kept = {"sweep": parents, "trial": trials}.get(tags.get(KIND_TAG, ""))
            trial_id = tags.get(TRIAL_ID_TAG, "")
            if kept is None or (kept is trials) != bool(TRIAL_ID.fullmatch(trial_id)):
                continue  # somebody's own run in the experiment
            if trial_id in kept:  # two syncs at once, or a retried request
                if not (spare_unfinished and kept is trials and _Run.of(run).synced is None):
                    self._remove(_Run.of(run))
            else:
                kept[trial_id] = _Run.of(run)
        if not parents:
            tags = {KIND_TAG: "sweep"}
            parents[""] = self._create_run(fitted_name(self._sweep.name), milliseconds(self._sweep.recorded_at), tags)
        return parents[""], trials

    def _create_run(self, name: str, start_ms: int, tags: dict[str, str]) -> _Run:
        create = self._client.create_run
        self.created_runs = True
        return _Run.of(self._call(create, self._experiment_id, start_time=start_ms, tags=tags, run_name=name))

    def _log_batch(self, run_id: str, points: Sequence[Point], params: dict[str, str], tags: dict[str, str]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        self._call(
            self._client.log_batch,
            run_id,
            metrics=[Metric(point.key, point.value, point.timestamp, point.step) for point in points],
            params=[Param(name, text) for name, text in params.items()],
            tags=[RunTag(name, text) for name, text in tags.items()],
            synchronous=True,
        )

    def _remove(self, run: _Run) -> None:
        try:
            self._call(self._client.delete_run, run.run_id)
        except TrackingError:
            if not self._is_gone(run):
                raise
            return  # Another sync was first.
        self._count(removed=1)

    def _is_gone(self, run: _Run) -> bool:
        return self._call(self._client.get_run, run.run_id).info.lifecycle_stage == "deleted"

    def _count(self, **more: int) -> None:
        self.report = replace(self.report, **{name: getattr(self.report, name) + n for name, n in more.items()})

    def _call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return call(self._uri, function, *args, **kwargs)


def _attached(tags: Mapping[str, str]) -> dict[str, str]:
    """The digests of the figures that the sweep's run has; none where somebody else wrote the tag."""
    try:
        attached = parse_json(tags.get("grokscape.figures", "{}"))
    except ValueError:
        return {}
    return attached if isinstance(attached, dict) else {}


def _can_take(run: _Run, row: TrialRow, trajectory: pa.Table, content: RunContent) -> bool:
    """Whether ``content`` can be reached by adding to the run."""
    if any(content.params.get(name, text) != text for name, text in run.params.items()):
        return False
    # A run without the tag was interrupted: its content is a part of the new content.
    return run.synced is None or can_extend(run.synced, row, trajectory, content, run.metrics)
