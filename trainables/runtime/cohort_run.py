"""One cohort from its checkpoints to its end: advance, measure, stop, commit.  Free of Ray: it runs in any process.

The loop goes from measurement to measurement, and in slices of about a second between them, so that a caller gets
control back in time.  Rows are committed together with checkpoints, ``checkpoint_every_s`` after the last time and
when members end, at a measurement or between two; members retire by the mask at once and the cohort is compacted at
commits only.  A checkpoint carries what the stopping rule needs, the columns of the events so far, and the rows that
were to be committed with it: a run that continues from it commits them, whether or not its writer survived.
"""

import io
import itertools
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

import numpy as np
import torch

from trainables.engine.config import canonical_json
from trainables.engine.errors import is_out_of_memory, one_line
from trainables.engine.events import StopReason, outcome
from trainables.engine.trial import TrialConfig
from trainables.runtime.archives import check_archive
from trainables.runtime.job import CohortJob
from trainables.runtime.process import prepare_process
from trainables.runtime.rows import Checkpoint, Snapshot, TrialRow, TrialState, TrialStore
from trainables.runtime.status import MemberStatus, Origin, Provenance, StaleCheckpointError

SLICE_S = 1.0
"""How long the cohort advances before the clock is looked at again."""
COMMIT_SHARE = 20
"""Commits take at most about 1/20 of the time: a slow one (many members, a far store) makes the next one later."""
CHECKPOINT_AT_LEAST_EVERY_S = 60.0


@dataclass
class _Member:
    """One trial: the columns of its events, which the stopping rule needs, and its rows that are not committed yet."""

    trial: TrialConfig
    fingerprint: str
    origin: Origin
    steps: list[int] = field(default_factory=list)
    history: dict[str, list[float]] = field(init=False)
    """The columns of the events at these steps; NaN where not measured."""
    pending: list[dict[str, float]] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    """Not committed yet."""
    train_s: float = 0.0
    arithmetic: list[dict[str, Any]] = field(default_factory=list)
    """What :meth:`Cohort.arithmetic` said, each with the ``from_step`` since which it holds."""
    state: TrialState = TrialState.RUNNING
    stop_reason: StopReason | None = None
    committed: bool = False
    """Whether the present state is in the ledger."""
    end: Checkpoint | None = None
    """What the trial continues from if more is asked after its success, taken before the cohort advances."""

    def __post_init__(self) -> None:
        self.history = {rule.column: [] for rule in self.trial.events}

    def add(self, step: int, row: dict[str, float]) -> None:
        """Take a measurement."""
        self.pending.append({"step": step} | row)
        self.steps.append(step)
        for column, values in self.history.items():
            values.append(row.get(column, math.nan))

    def measured(self, step: int) -> bool:
        """Whether the member has its row of this step, the largest so far."""
        return bool(self.steps) and self.steps[-1] == step

    def columns(self) -> dict[str, np.ndarray]:
        return {column: np.array(values) for column, values in self.history.items()}

    def status(self, cohort_step: int, notes: tuple[str, ...]) -> MemberStatus:
        ended = self.state != TrialState.RUNNING and self.committed
        return MemberStatus(
            trial_id=self.trial.trial_id,
            step=cohort_step if self.state == TrialState.RUNNING else self.steps[-1],
            state=self.state if ended else TrialState.RUNNING,
            stop_reason=self.stop_reason if ended else None,
            phase=self.phase(),
            notes=notes,
        )

    def phase(self) -> str:
        """The phase by the events so far."""
        events, phases = self.trial.events, self.trial.phases
        known = outcome(np.array(self.steps), self.columns(), events, stop_reason=self.stop_reason)
        return known.phase(phases)

    def row(self) -> TrialRow:
        return TrialRow(
            trial_id=self.trial.trial_id,
            config_json=self.trial.json_text,
            state=self.state,
            stop_reason=self.stop_reason,
            last_step=self.steps[-1],
            train_s=self.train_s,
            device_kind=self.origin.device_kind,
            data_fingerprint=self.fingerprint,
            source_hash=self.origin.source_hash,
            provenance_json=canonical_json(json.loads(self.origin.provenance_json) | {"arithmetic": self.arithmetic}),
            committed_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )


class CohortRun:
    """The trials of one cohort, trained until each has ended, committing to ``store`` as it goes.

    :param store: has the checkpoints where the job starts from some.
    :param provenance: says where the rows come from; called once a member, in this process.
    :raises StaleCheckpointError: when the checkpoints are not at the job's ``start_step``; plan again.

    Errors of the training itself (no memory, a bug) pass through ``run``; a NaN is not one of them.
    """

    def __init__(self, job: CohortJob, *, store: TrialStore, provenance: Provenance) -> None:
        prepare_process()
        self._job = job
        self._device = torch.device(job.device)
        self._store = store
        trials = job.trials
        self._members = [_Member(trial, trial.data_fingerprint(), provenance(trial, job.device)) for trial in trials]
        self._active = list(self._members)
        """One entry for each slot of the cohort, retired ones included until the cohort is compacted."""
        self._cohort = type(trials[0]).build(trials, job.device)
        self._horizon = trials[0].horizon_steps
        self._s_per_step = 0.0
        self.steps_done = 0
        """Updates made by this run, summed over its members."""
        schedule = trials[0].measuring.steps(self._horizon).tolist()
        self._places = {step: place for place, step in enumerate(schedule)}
        self._notes: list[str] = []
        if job.start_step > 0:
            self._restore(schedule)
        self._record_arithmetic()
        # The present step is looked at too where a member lacks its row, and at the horizon, which ends them all.
        here = self._cohort.step
        looked = here < self._horizon and all(member.measured(here) for member in self._members)
        self._grid = [step for step in schedule if step > here or (step == here and not looked)]
        self._next_commit = time.monotonic() + job.checkpoint_every_s

    @property
    def done(self) -> bool:
        """Whether nothing is left to do: every member has ended and is committed, or the deadline has passed."""
        return not self._active

    def run(self, seconds: float) -> list[MemberStatus]:
        """Train for about this long, or to the end; returns where every member stands."""
        until = time.monotonic() + seconds
        while not self.done:
            self._advance()
            if self._cohort.step == self._grid[0]:
                self._grid.pop(0)
                self._measure()
            self._commit_if_due()
            if time.monotonic() >= until:
                break
        notes = (*self._notes, *self._cohort.notes())
        self._notes.clear()
        return [member.status(self._cohort.step, notes) for member in self._members if member.steps]

    def close(self) -> None:
        """Free what the cohort holds beside memory; call it at the end, also after an error."""
        self._cohort.close()

    def _advance(self) -> None:
        """Advance towards the next measurement, for at most about ``SLICE_S``."""
        left = self._grid[0] - self._cohort.step
        if left == 0:
            return
        steps = left if self._s_per_step * left <= SLICE_S else max(1, int(SLICE_S / self._s_per_step))
        if self._s_per_step == 0.0:
            steps = 1  # Not timed yet.
        start = time.perf_counter()
        self._cohort.advance(steps)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elapsed = time.perf_counter() - start
        self._s_per_step = elapsed / steps if self._s_per_step == 0.0 else (self._s_per_step + elapsed / steps) / 2
        self._charge(elapsed)
        self.steps_done += steps * len(self._running())

    def _measure(self) -> None:
        """One row for each running member, and the end of those that the stopping rule or the horizon ends."""
        start = time.perf_counter()
        columns = self._cohort.measure()
        finite, frozen = self._cohort.finite(), self._cohort.frozen()
        self._charge(time.perf_counter() - start)
        for slot, member in enumerate(self._active):
            if member.state != TrialState.RUNNING:
                continue
            if not member.measured(self._cohort.step):
                row = {column: float(values[slot]) for column, values in columns.items()}
                member.add(self._cohort.step, row)
            member.stop_reason = member.trial.stopping.reason(
                np.array(member.steps),
                member.columns(),
                member.trial.events,
                finite=bool(finite[slot]),
                frozen=bool(frozen[slot]),
            )
            if member.stop_reason is not None:
                member.state = TrialState.STOPPED
            elif self._cohort.step >= self._horizon:
                member.state = TrialState.FINISHED
            every = member.trial.snapshots_every
            if every and (member.state != TrialState.RUNNING or self._places[self._cohort.step] % every == 0):
                member.snapshots.append(self._snapshot(slot, member))
            if member.state == TrialState.STOPPED:
                if member.stop_reason == StopReason.SUCCESS:
                    member.end = self._checkpoint(slot, member)
                self._cohort.retire([slot])
                # Soon, but not for every member alone: many may end within a second.
                self._next_commit = min(self._next_commit, time.monotonic() + SLICE_S)

    def _commit_if_due(self) -> None:
        """Commit between measurements too, which may be far apart: a crash costs the time since the last commit."""
        late = self._job.deadline is not None and time.time() >= self._job.deadline
        if late or not self._running() or time.monotonic() >= self._next_commit:
            self._commit()
            if late:
                self._active = []

    def _charge(self, elapsed_s: float) -> None:
        """Share the time among the running members."""
        running = self._running()
        for member in running:
            member.train_s += elapsed_s / len(running)

    def _running(self) -> list[_Member]:
        return [member for member in self._active if member.state == TrialState.RUNNING]

    def _commit(self) -> None:
        """Store everything that is not stored yet, then drop the members that have ended."""
        start = time.monotonic()
        columns = list(dict.fromkeys(column for member in self._active for row in member.pending for column in row))
        trajectory: dict[str, Any] = {
            "trial_id": [member.trial.trial_id for member in self._active for _ in member.pending]
        }
        for column in columns or ["step"]:
            # None is not measured: a probe that looks rarely.
            trajectory[column] = [row.get(column) for member in self._active for row in member.pending]
        checkpoints = [
            member.end or self._checkpoint(slot, member)
            for slot, member in enumerate(self._active)
            if member.stop_reason in (None, StopReason.SUCCESS)
        ]
        snapshots = [snapshot for member in self._active for snapshot in member.snapshots]
        self._store.commit([member.row() for member in self._active], trajectory, checkpoints, snapshots)
        for member in self._active:
            member.pending.clear()
            member.snapshots.clear()
            member.committed = member.state != TrialState.RUNNING
        if any(member.committed for member in self._active):
            self._active = self._running()
            if self._active:
                self._cohort.compact()
        now = time.monotonic()
        wait = max(self._job.checkpoint_every_s, COMMIT_SHARE * (now - start))
        self._next_commit = now + min(wait, max(CHECKPOINT_AT_LEAST_EVERY_S, self._job.checkpoint_every_s))

    def _checkpoint(self, slot: int, member: _Member) -> Checkpoint:
        buffer = io.BytesIO()
        torch.save(
            {
                "trial_id": member.trial.trial_id,
                "cohort": self._cohort.state_dict(slot),
                "steps": member.steps,
                "history": member.history,
                "train_s": member.train_s,
                "pending": member.pending,
                "arithmetic": member.arithmetic,
            },
            buffer,
        )
        return Checkpoint(trial_id=member.trial.trial_id, step=self._cohort.step, data=buffer.getvalue())

    def _snapshot(self, slot: int, member: _Member) -> Snapshot:
        buffer = io.BytesIO()
        np.savez(buffer, **self._cohort.snapshot(slot))  # type: ignore[arg-type]  # names of weights, no options
        return Snapshot(trial_id=member.trial.trial_id, step=self._cohort.step, data=buffer.getvalue())

    def _restore(self, schedule: Sequence[int]) -> None:
        """Put every member where its newest checkpoint is; a slow predecessor may have moved them since the plan.

        A checkpoint that is beyond the horizon, or whose past lacks a measurement of ``schedule``, is of no use: then
        the cohort stays at step 0.

        :raises StaleCheckpointError: when the checkpoints are at different steps, or one cannot be used and is gone.
        """
        held = [self._store.checkpoint(member.trial.trial_id) for member in self._members]
        checkpoints = [checkpoint for checkpoint in held if checkpoint is not None]
        steps = {None if checkpoint is None else checkpoint.step for checkpoint in held}
        if len(steps) != 1 or not checkpoints:
            raise StaleCheckpointError(
                f"checkpoints at steps {', '.join(sorted(map(str, steps)))}: a cohort continues from one step"
            )
        step = checkpoints[0].step
        saved, unusable = [], {}
        for checkpoint in checkpoints:
            try:
                saved.append(_read(checkpoint))
            except ValueError as error:
                unusable[checkpoint.trial_id] = str(error)
        if unusable:
            self._discard(checkpoints, unusable)
        wanted = {measured for measured in schedule if measured < step}
        if step > self._horizon or not all(wanted <= set(past["steps"]) for past in saved):
            return
        for member, past in zip(self._members, saved, strict=True):
            member.steps, member.pending, member.train_s = past["steps"], past["pending"], past["train_s"]
            member.history = self._history(member, past["history"])
            member.arithmetic = past.get("arithmetic", [{"from_step": 0}])  # Older ones do not say.
        try:
            self._cohort.load_state_dict([past["cohort"] for past in saved])
            if self._cohort.step != step:
                raise ValueError(f"is of step {self._cohort.step}")
        except Exception as error:
            if len(checkpoints) > 1 or is_out_of_memory(error):
                raise  # Alone, each member shows whether it is the one.
            self._discard(checkpoints, {checkpoints[0].trial_id: one_line(error)})

    def _record_arithmetic(self) -> None:
        """Record with which arithmetic each member goes on, and say so where it began with another."""
        step, now = self._cohort.step, self._cohort.arithmetic()
        changed = []
        for member in self._members:
            known = member.arithmetic
            if known and known[-1] == now | {"from_step": known[-1]["from_step"]}:
                continue
            changed += known[-1:]
            known.append({"from_step": step, **now})
        if changed:
            before = {name: value for name, value in changed[0].items() if name != "from_step"}
            self._notes.append(f"continues at step {step} with {_words(now)}; before, with {_words(before)}")

    def _discard(self, checkpoints: Sequence[Checkpoint], reasons: Mapping[str, str]) -> NoReturn:
        """Delete the checkpoints of these trials, which cannot be used.

        :raises StaleCheckpointError: in any case, so that the trials are planned again.
        """
        unusable = [checkpoint for checkpoint in checkpoints if checkpoint.trial_id in reasons]
        for checkpoint in unusable:
            self._store.discard(checkpoint)
        first = unusable[0]
        others = f" (and {len(unusable) - 1} more)" if len(unusable) > 1 else ""
        raise StaleCheckpointError(
            f"the checkpoint of trial {first.trial_id} at step {first.step}{others} cannot be used and was deleted: "
            f"{reasons[first.trial_id]}"
        ) from None

    def _history(self, member: _Member, kept: Mapping[str, list[float]]) -> dict[str, list[float]]:
        """The columns of the member's events at its steps; those that its checkpoint lacks are the store's.

        The checkpoint may be of a run that waited for other events.
        """
        lacking = [column for column in member.history if column not in kept]
        history = {column: kept[column] for column in member.history if column in kept}
        stored = self._store.history(member.trial.trial_id, lacking) if lacking else {}
        for column in lacking:
            values = dict(zip(stored["step"].tolist(), stored[column].tolist(), strict=True))
            values |= {row["step"]: row[column] for row in member.pending if column in row}
            history[column] = [values.get(step, math.nan) for step in member.steps]
        return history


def _words(arithmetic: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in arithmetic.items()) or "what its checkpoint does not say"


def _read(checkpoint: Checkpoint) -> dict[str, Any]:
    """Read what a checkpoint holds; it may be somebody else's, and none of its code runs.

    :raises ValueError: when it is no checkpoint of this trial.
    """
    try:
        check_archive(checkpoint.data)
        past = torch.load(io.BytesIO(checkpoint.data), map_location="cpu", weights_only=True)
        _check_past(past, checkpoint)
    except Exception as error:  # A foreign file can make torch raise anything.
        if is_out_of_memory(error):
            raise
        raise ValueError(one_line(error)) from None
    return past


def _check_past(past: Any, checkpoint: Checkpoint) -> None:
    """Make sure that what was read is what :meth:`CohortRun._checkpoint` writes of this trial.

    :raises ValueError, KeyError, TypeError, AttributeError: when it is not.
    """
    if past.get("trial_id", checkpoint.trial_id) != checkpoint.trial_id:  # Older ones do not say.
        raise ValueError(f"is of trial {past['trial_id']}")
    steps, history, pending = past["steps"], past["history"], past["pending"]
    if not all(type(step) is int and 0 <= step <= checkpoint.step for step in steps):
        raise ValueError("has steps beyond its own")
    if any(late <= early for early, late in itertools.pairwise(steps)):
        raise ValueError("has steps out of order")
    if any(len(values) != len(steps) for values in history.values()):
        raise ValueError("has columns without a value for each step")
    numbers = [past["train_s"], *itertools.chain(*history.values(), *(row.values() for row in pending))]
    if not all(type(number) in (int, float) for number in numbers):
        raise ValueError("has values that are no numbers")
    if not {row["step"] for row in pending} <= set(steps):
        raise ValueError("has rows of other steps")
    for part in past.get("arithmetic", []):
        if type(part["from_step"]) is not int or not all(type(value) in (int, str) for value in part.values()):
            raise ValueError("has an arithmetic that is no record of one")
