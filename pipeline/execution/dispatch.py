"""Which cohort runs next, and what to do after one fails; for the Ray runner and the local one.

Retries rest on the ledger: the rest of a cohort is planned again from the rows and checkpoints that it committed.  By
kind of error: out of memory halves the cohort (and every later one of its kind), a lost worker is retried up to three
times, and so, up to ten times, is a cohort whose checkpoints were moved by another driver; what a node lacks is tried
on other nodes while there are any; an error of the ledger ends the sweep, for it says nothing about the trials; any
other error splits a cohort into solo trials, and a solo trial that fails is recorded as failed.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.execution.provenance import collect, device_kind, provenance_of, source_hash
from pipeline.ledger import Ledger
from pipeline.plan import CohortPlan
from pipeline.sharing import CohortQueue, Lease
from trainables.engine.config import canonical_json
from trainables.engine.errors import GrokscapeError
from trainables.engine.trial import TrialConfig
from trainables.runtime.job import CHECKPOINT_EVERY_S, CohortJob
from trainables.runtime.rows import ErrorKind, TrialRow, TrialState
from trainables.runtime.status import CohortError, MemberStatus, Origin

if TYPE_CHECKING:
    from pipeline.execution.suggestions import Suggestions

RETRIES = {ErrorKind.LOST_WORKER: 3, ErrorKind.STALE: 10}
"""How often a trial is tried again after an error that is not the training's."""


class SweepEndedError(GrokscapeError):
    """The ledger cannot be read or written, so that the sweep cannot go on."""


class Watcher(Protocol):
    """Follows a run, as the live view and the background sync do."""

    def reported(self, job: CohortJob, statuses: Sequence[MemberStatus]) -> None:
        """Receive the members' states, every few seconds and at their end."""

    def ended(self, states: Mapping[str, str]) -> None:
        """Receive the final states of trials, by id (failed is one); their rows are committed."""

    def elsewhere(self, leases: Sequence[Lease], states: Mapping[str, str]) -> None:
        """Receive what other drivers do: their leases, and the final states of trials that they have ended."""


@dataclass(frozen=True)
class RowOrigin:
    """The origin of a worker's rows; the commit is the driver's where the worker has no checkout."""

    driver: dict[str, Any]

    @classmethod
    def of_this_process(cls) -> "RowOrigin":
        return cls({name: value for name, value in collect().items() if name in ("commit", "dirty", "diff")})

    def __call__(self, trial: TrialConfig, device: str) -> Origin:
        provenance = provenance_of(trial)
        if provenance["commit"] is None:
            provenance = provenance | self.driver
        return Origin(device_kind(device), source_hash(trial), canonical_json(provenance))


class Dispatcher:
    """The queue of cohorts of one run.

    :param queue: the cohorts, and who else trains some of them.
    :param again: plans the rest of some trials again, in cohorts of at most a given size.
    :param origin: of the rows of failed trials, which no worker commits.
    :param source: makes cohorts during the run, from the suggestions of an objective.
    :param device: of the jobs, as torch names it.
    :param deadline: a Unix time after which no new cohort starts; running ones end by themselves.
    """

    def __init__(
        self,
        queue: CohortQueue,
        *,
        device: str,
        store: Ledger,
        again: Callable[[Sequence[TrialConfig], int], Sequence[CohortPlan]],
        origin: Callable[[TrialConfig], Origin],
        watchers: Sequence[Watcher] = (),
        source: "Suggestions | None" = None,
        deadline: float | None = None,
        checkpoint_every_s: float = CHECKPOINT_EVERY_S,
    ) -> None:
        self._queue = queue
        self._store = store
        self._again = again
        self._origin = origin
        self._watchers = watchers
        self._source = source
        self._device = device
        self._deadline = deadline
        self._checkpoint_every_s = checkpoint_every_s
        self._running = 0
        self._tries: dict[str, Counter[str]] = {}
        """How often each trial was tried again, by kind of error."""
        self._largest: dict[str, int] = {}
        """How many trials fit in memory, by cohort key."""
        self._ended: set[str] = set()

    def next(self) -> CohortJob | None:
        """Return the next cohort to run; None when there is none now, though one may come later if :attr:`open`."""
        if self._late():
            self._queue.clear()
            return None
        self._look_elsewhere()
        if self._queue.empty and self._source is not None:
            self._queue.extend(self._source.more())
        cohort, settled = self._queue.pop()
        if settled:
            self._notify_elsewhere(settled)
        if cohort is None:
            return None
        largest = self._largest.get(cohort.trials[0].cohort_key, len(cohort.trials))
        if len(cohort.trials) > largest:
            share = largest / len(cohort.trials)
            rest = replace(cohort, trials=cohort.trials[largest:], predicted_s=cohort.predicted_s * (1 - share))
            self._queue.put_back([rest])
            cohort = replace(cohort, trials=cohort.trials[:largest], predicted_s=cohort.predicted_s * share)
        self._running += 1
        return CohortJob(
            trials=cohort.trials,
            start_step=cohort.start_step,
            device=self._device,
            deadline=self._deadline,
            checkpoint_every_s=self._checkpoint_every_s,
        )

    @property
    def open(self) -> bool:
        """Whether a cohort is running, here or elsewhere, or will still come."""
        if self._running or self._queue:
            return True
        return self._source is not None and not self._source.exhausted and not self._late()

    def reported(self, job: CohortJob, statuses: Sequence[MemberStatus]) -> None:
        """Pass on the states of the members of a running cohort."""
        for watcher in self._watchers:
            watcher.reported(job, statuses)
        self._notify_ended({status.trial_id: status.state for status in statuses if status.state != TrialState.RUNNING})

    def settle(self, job: CohortJob, error: CohortError | None = None) -> None:
        """Finish a cohort that is done or has failed; plan again what a failure left.

        :raises SweepEndedError: when the failure is the ledger's.
        """
        if error is not None:
            if error.kind == ErrorKind.STORAGE:
                raise SweepEndedError(
                    f"{error.message}; the sweep ends, its trials stay open: run the same command again to resume"
                )
            if error.kind == ErrorKind.STALE:
                self._note(job, error.message)
            for trials, size in self._retries(job, error):
                # First in the queue: another failure should show early.
                self._queue.put_back(self._again(trials, size))
        self._queue.release(job.trials)
        self._running -= 1

    def _retries(self, job: CohortJob, error: CohortError) -> Iterable[tuple[Sequence[TrialConfig], int]]:
        """Yield the trials to plan again after an error, and the size of their cohorts."""
        size = len(job.trials)
        left = [trial for plan in self._again(job.trials, size) for trial in plan.trials]
        done = {trial.trial_id for trial in job.trials} - {trial.trial_id for trial in left}
        self._notify_ended(self._states(done))
        if not left:
            return
        if error.kind == ErrorKind.LACKING:
            yield left, size  # The runner knows whether another node is left.
            return
        if error.kind in RETRIES:
            tries = self._tries.setdefault(error.kind, Counter())
            tries.update(trial.trial_id for trial in left)
            if max(tries[trial.trial_id] for trial in left) <= RETRIES[ErrorKind(error.kind)]:
                yield left, size
                return
        if size == 1:
            self._fail(left[0], error)
        elif error.kind == ErrorKind.OUT_OF_MEMORY:
            half = (size + 1) // 2
            self._largest[job.trials[0].cohort_key] = half
            yield left, half
        else:
            yield left, 1

    def _look_elsewhere(self) -> None:
        """Take note of what other drivers have done."""
        settled = self._queue.look()
        if settled is not None:
            self._notify_elsewhere(settled)

    def _notify_elsewhere(self, trial_ids: Collection[str]) -> None:
        states = self._states(trial_ids)
        self._ended.update(states)
        if self._source is not None:
            self._source.ended(states)
        for watcher in self._watchers:
            watcher.elsewhere(self._queue.others, states)

    def _states(self, trial_ids: Collection[str]) -> dict[str, str]:
        """The states of trials that the ledger has."""
        return {trial_id: row.state for trial_id, row in self._store.trials(trial_ids).items()} if trial_ids else {}

    def _note(self, job: CohortJob, text: str) -> None:
        """Tell the watchers what happened to a cohort."""
        first = job.trials[0].trial_id
        status = MemberStatus(first, job.start_step, TrialState.RUNNING, None, "", notes=(text,))
        for watcher in self._watchers:
            watcher.reported(job, [status])

    def _late(self) -> bool:
        return self._deadline is not None and time.time() >= self._deadline

    def _fail(self, trial: TrialConfig, error: CohortError) -> None:
        row = self._store.trials([trial.trial_id]).get(trial.trial_id)
        if row is None:
            origin = self._origin(trial)
            row = TrialRow(
                trial_id=trial.trial_id,
                config_json=trial.json_text,
                state=TrialState.FAILED,
                last_step=0,
                device_kind=origin.device_kind,
                data_fingerprint=_fingerprint(trial),
                source_hash=origin.source_hash,
                provenance_json=origin.provenance_json,
                committed_at="",
            )
        failed = replace(
            row,
            state=TrialState.FAILED,
            stop_reason=None,
            error=error.message,
            error_kind=error.kind,
            traceback=error.traceback or None,
            committed_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._store.commit([failed], {"trial_id": [], "step": []})
        self._notify_ended({trial.trial_id: TrialState.FAILED})

    def _notify_ended(self, states: Mapping[str, str]) -> None:
        new = {trial_id: state for trial_id, state in states.items() if trial_id not in self._ended}
        if not new:
            return
        self._ended.update(new)
        if self._source is not None:
            self._source.ended(new)
        for watcher in self._watchers:
            watcher.ended(new)


def _fingerprint(trial: TrialConfig) -> str:
    """The fingerprint of the data of a failed trial; empty where the data are missing."""
    try:
        return trial.data_fingerprint()
    except Exception:
        return ""
