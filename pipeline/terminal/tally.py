"""The state of every trial while a sweep runs: states, steps, speed, and the time left.

The time left is estimated from the durations so far.  The duration of a running trial is censored at its present
step, so the estimate is Kaplan-Meier's, restricted to the horizon: trials that end early, which are seen first, do
not make it too short.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING

import numpy as np

from pipeline.execution.outcomes import outcomes_of
from pipeline.ledger import Ledger
from pipeline.plan import Plan
from pipeline.sharing import Lease, RunProgress
from pipeline.spec import PlannedTrial
from pipeline.terminal.dry_run import about
from trainables.runtime.job import CohortJob
from trainables.runtime.rows import TrialState
from trainables.runtime.status import MemberStatus

if TYPE_CHECKING:
    from pipeline.execution.study import Progress

RATE_WINDOW_S = 30.0


class Tally:
    """Counts the trials of a sweep; the dispatcher feeds it."""

    def __init__(
        self,
        trials: Iterable[PlannedTrial],
        *,
        costs_s: Mapping[str, float] | None = None,
        in_ledger: "Callable[[Tally, Set[str]], None] | None" = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        :param trials: in the order of the sweep.
        :param costs_s: seconds that a step of each trial is predicted to take; default: the same for all.
        :param in_ledger: adds trials that other drivers have ended, by :meth:`add_cached`.
        """
        self._clock = clock
        self._costs_s = costs_s or {}
        self._cost_s = float(np.mean([*self._costs_s.values()])) if self._costs_s else 1.0
        """Of a trial that the plan does not have, such as one that is suggested later."""
        self._in_ledger = in_ledger
        self._others: Sequence[Lease] = ()
        """Of the drivers that train some of the trials."""
        self._elsewhere: Set[str] = frozenset()
        self._started = clock()
        self.states: dict[str, tuple[str, str]] = {}
        """(state, phase so far) of the trials that have begun, by trial id."""
        self._steps: dict[str, int] = {}
        self._done_steps = 0
        self._done_s = 0.0
        """What these steps were predicted to take."""
        self._window: deque[tuple[float, int, float]] = deque()
        """(time, updates made so far, seconds that they were predicted to take); from the first report on, since Ray
        takes a while to start."""
        self.cached: set[str] = set()
        self.finished = 0
        """Trials that have ended in this run, without failing."""
        self.notes: list[str] = []
        """What happened to cohorts, a line each."""
        self.set_trials(trials)

    def set_trials(self, trials: Iterable[PlannedTrial], progress: "Progress | None" = None) -> None:
        """Set the trials of the sweep as known now (an objective adds them one suggestion at a time)."""
        self.trials = {trial.config.trial_id: trial for trial in trials}
        self._progress = progress

    @property
    def suggests(self) -> bool:
        """Whether the trials are suggested one after another."""
        return self._progress is not None

    @property
    def total(self) -> int:
        """How many trials the sweep has, with those that suggestions still add, if each adds different ones."""
        return len(self.trials) + (self._progress.trials_to_come if self._progress else 0)

    def add_cached(self, trial_id: str, state: str, phase: str, last_step: int) -> None:
        """Count a trial that the ledger already has and that does not run again."""
        self.states[trial_id] = (state, phase)
        self._steps[trial_id] = last_step
        if state != TrialState.FAILED:
            self.cached.add(trial_id)

    def reported(self, job: CohortJob, statuses: Sequence[MemberStatus]) -> None:
        """Update the steps and phases of the members of a cohort."""
        for status in statuses:
            before = self._steps.get(status.trial_id, job.start_step)
            steps = max(0, status.step - max(before, job.start_step))
            self._done_steps += steps
            self._done_s += steps * self._cost_of(status.trial_id)
            self._steps[status.trial_id] = max(before, status.step)
            state = self.states.get(status.trial_id, ("", ""))[0]
            # Only `ended` ends a trial, once.
            self.states[status.trial_id] = (state or TrialState.RUNNING, status.phase)
        now = self._clock()
        self._window.append((now, self._done_steps, self._done_s))
        while len(self._window) > 2 and self._window[1][0] < now - RATE_WINDOW_S:
            self._window.popleft()

    def ended(self, states: Mapping[str, str]) -> None:
        """Count trials that have ended, by their states."""
        for trial_id, state in states.items():
            self.states[trial_id] = (state, self.states.get(trial_id, ("", ""))[1])
            self.finished += state != TrialState.FAILED

    def elsewhere(self, leases: Sequence[Lease], states: Mapping[str, str]) -> None:
        """Follow other drivers: what they train, and the trials that they have ended."""
        self._others = [lease for lease in leases if self.trials.keys() & set(lease.trials)]
        self._elsewhere = self.trials.keys() & {trial_id for lease in self._others for trial_id in lease.trials}
        new = states.keys() & self.trials.keys() - self.states.keys()
        if new and self._in_ledger is not None:
            self._in_ledger(self, new)

    @property
    def done(self) -> int:
        """Trials that need nothing more."""
        return self.finished + len(self.cached) + self.failed

    @property
    def failed(self) -> int:
        return sum(state == TrialState.FAILED for state, _ in self.states.values())

    @property
    def running(self) -> int:
        return sum(state == TrialState.RUNNING for state, _ in self.states.values())

    @property
    def running_elsewhere(self) -> int:
        """Trials that other drivers train."""
        return len(self._elsewhere - self.states.keys())

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._started

    def steps_per_s(self) -> float:
        """Updates a second, of all trials together, over the last half minute."""
        return self._rate(1)

    def left_s(self) -> float | None:
        """An estimate of the seconds until the sweep is done; None before there is a rate."""
        if not self.running and len(self.states) == self.total:
            return 0.0
        speed, rate = self._rate(2), self.steps_per_s()
        if speed <= 0.0 or rate <= 0.0:
            return None
        # Arms of different horizons are different populations.
        horizons = sorted({trial.config.horizon_steps for trial in self.trials.values()})
        left_s = np.concatenate([self._left_s(horizon) for horizon in horizons])
        others = math.fsum(other.progress.steps_per_s for other in self._others) / rate
        # All the work at the present speed of all; but the last trial alone takes its own time.
        return float(max(left_s.sum() / (1 + others), left_s.max(initial=0.0) * self.running) / speed)

    def _rate(self, place: int) -> float:
        """What a place of the window gains a second."""
        if not self._window:
            return 0.0
        first, last = self._window[0], self._window[-1]
        return (last[place] - first[place]) / (last[0] - first[0]) if last[0] > first[0] else 0.0

    def _cost_of(self, trial_id: str) -> float:
        return self._costs_s.get(trial_id, self._cost_s)

    def _left_s(self, horizon_steps: int) -> np.ndarray:
        """The seconds that each trial of one horizon is still predicted to take, those not begun included."""
        members = [key for key, trial in self.trials.items() if trial.config.horizon_steps == horizon_steps]
        states = {key: self.states[key][0] for key in members if key in self.states}
        running = [key for key, state in states.items() if state == TrialState.RUNNING]
        ended = [
            self._steps[key] for key, state in states.items() if state not in (TrialState.RUNNING, TrialState.FAILED)
        ]
        waiting = [key for key in members if key not in states]
        to_come = self.total - len(self.trials)  # Trials that are suggested all have the base's horizon.
        steps = [self._steps.get(key, 0) for key in running]
        now = steps + [0] * (len(waiting) + to_come)
        costs = [*map(self._cost_of, [*running, *waiting]), *[self._cost_s] * to_come]
        return expected_steps_left(ended, steps, now, horizon_steps=horizon_steps) * np.array(costs)

    def progress(self) -> RunProgress:
        """What other drivers and ``python -m pipeline.status`` see of this one."""
        return RunProgress(
            done=self.done - self.failed,
            total=self.total,
            failed=self.failed,
            steps_per_s=self.steps_per_s(),
            left_s=self.left_s(),
        )

    def headline(self) -> str:
        """``12 of 40 done, 2 running, 5 cached, 1 failed``: those that failed are not among those done.

        With suggestions, ``suggestion 4 of 14: `` before it.
        """
        progress = self._progress
        suggestion = f"suggestion {progress.number} of {progress.budget}: " if progress else ""
        elsewhere = f" and {self.running_elsewhere} elsewhere" if self.running_elsewhere else ""
        return (
            f"{suggestion}{self.done - self.failed} of {self.total} done, "
            f"{self.running} running{' here' if elsewhere else ''}{elsewhere}, "
            f"{len(self.cached)} cached, {self.failed} failed"
        )

    def pace(self) -> str:
        """The speed and the time left."""
        if self.running_elsewhere and not self.running and self.done + self.running_elsewhere == self.total:
            return "waiting for " + " and ".join(f"{other.host} (process {other.pid})" for other in self._others)
        rate, left = self.steps_per_s(), self.left_s()
        if rate == 0.0:
            return "starting"
        speed = f"{rate:,.0f} steps/s" if rate >= 10 else f"{rate:.1f} steps/s"
        if not left:
            return speed
        return f"{speed}, {about(left)} left (until {time.strftime('%H:%M', time.localtime(time.time() + left))})"


def tally_of(plan: Plan, ledger: Ledger, progress: "Progress | None" = None) -> Tally:
    """The tally of a sweep before it runs: trials that are cached, and trials that failed before."""
    tally = Tally(
        plan.trials, costs_s=_costs_s(plan), in_ledger=lambda own, trial_ids: _add_settled(own, ledger, trial_ids)
    )
    tally.set_trials(plan.trials, progress)
    _add_settled(tally, ledger, plan.cached | plan.failed)
    return tally


def _costs_s(plan: Plan) -> dict[str, float]:
    """The seconds that a step of each trial is predicted to take."""
    return {
        trial.trial_id: cohort.predicted_s / len(cohort.trials) / max(1, trial.horizon_steps - cohort.start_step)
        for cohort in plan.cohorts
        for trial in cohort.trials
    }


def grow(tally: Tally, ledger: Ledger, trials: Sequence[PlannedTrial], settled: Set[str], progress: "Progress") -> None:
    """Follow a sweep that has more trials now.

    :param settled: ids of those that the ledger has already, as another sweep's.
    """
    tally.set_trials(trials, progress)
    _add_settled(tally, ledger, settled - tally.states.keys())


def _add_settled(tally: Tally, ledger: Ledger, trial_ids: Set[str]) -> None:
    rows = ledger.trials(trial_ids) if trial_ids else {}
    outcomes = outcomes_of(ledger, rows, {trial_id: tally.trials[trial_id].config.events for trial_id in rows})
    for trial_id, row in rows.items():
        config = tally.trials[trial_id].config
        phase = outcomes[trial_id].by(config.horizon_steps).phase(config.phases) if trial_id in outcomes else ""
        tally.add_cached(trial_id, row.state, phase, row.last_step)


def expected_steps_left(
    ended: Sequence[int], running: Sequence[int], now: Sequence[int], *, horizon_steps: int
) -> np.ndarray:
    """How many more steps a trial takes on average that has made ``now`` steps: E[min(T, H) - t | T > t].

    S is the Kaplan-Meier estimate from the durations of trials that have ended and, censored, of those that run; it
    stays at its last value up to the horizon H.  Where S is 0, nothing but the horizon is known.  (The analysis has
    the same estimator for weighted samples with competing events, in :mod:`analysis.stats.survival`.)
    """
    durations = np.minimum([*ended, *running], horizon_steps)
    steps, deaths = np.unique([step for step in ended if step < horizon_steps], return_counts=True)
    at_risk = len(durations) - np.searchsorted(np.sort(durations), steps)
    survival = np.concatenate([[1.0], np.cumprod(1 - deaths / at_risk)])
    edges = np.concatenate([[0], steps, [horizon_steps]])
    # The integral of S from each edge to the horizon, and from there back to each present step.
    after = np.concatenate([np.cumsum((np.diff(edges) * survival)[::-1])[::-1], [0]])
    present = np.minimum(now, horizon_steps)
    place = np.searchsorted(steps, present, side="right")
    area = after[place + 1] + (edges[place + 1] - present) * survival[place]
    alive = survival[place]
    return np.where(alive > 0, area / np.where(alive > 0, alive, 1), horizon_steps - present)
