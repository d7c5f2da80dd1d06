"""How a running sweep is told: a live view on a terminal, plain lines in a pipe, nothing with ``--json``.

What is left is estimated from the durations seen so far.  A running trial's duration is censored at its present
step, so the estimate is Kaplan-Meier's, restricted to the horizon: the quick trials, which end first, do not make
it too short.
"""

import bisect
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.plan.planning import duration
from pipeline.terminal.phase_map import PhaseMap, legend
from trainables.runtime.cohort_run import MemberStatus
from trainables.runtime.job import CohortJob
from trainables.runtime.rows import TrialState

RATE_WINDOW_S = 30.0
PLAIN_EVERY_S = 10.0
PLAIN_AT_MOST_EVERY_S = 1.0
"""A line for a batch of trials that ended may come sooner than the usual ones, but not more often than this."""


@dataclass(frozen=True)
class Point:
    """One trial of the sweep: where it stands in it, and how far it is to go."""

    trial_id: str
    coordinates: Mapping[str, Any]
    horizon_steps: int


class Tally:
    """What is known of every trial of the sweep while it runs; fed by the dispatcher."""

    def __init__(self, trials: Sequence[Point], *, clock: Callable[[], float] = time.monotonic) -> None:
        """``trials`` are in the order of the sweep."""
        self._clock = clock
        self._started = clock()
        self.states: dict[str, tuple[str, str]] = {}
        """(state, phase so far) of the trials that have begun, by trial id."""
        self._steps: dict[str, int] = {}
        self._done_steps = 0
        self._window: deque[tuple[float, int]] = deque()
        """(time, updates made so far); from the first report on, since Ray takes a while to start."""
        self.cached: set[str] = set()
        self.ended_now = 0
        self.notes: list[str] = []
        """What happened to cohorts that a user should know, a line each."""
        self.set_trials(trials)

    def set_trials(self, trials: Sequence[Point]) -> None:
        """The trials of the sweep as they are known now (an objective's come one suggestion at a time)."""
        self.horizons = {point.trial_id: point.horizon_steps for point in trials}
        self.trial_ids = list(self.horizons)
        self.map = PhaseMap([(point.trial_id, point.coordinates) for point in trials])

    def had(self, trial_id: str, state: str, phase: str, last_step: int) -> None:
        """A trial that the ledger had before, and that is not to be run again."""
        self.states[trial_id] = (state, phase)
        self._steps[trial_id] = last_step
        if state != TrialState.FAILED:
            self.cached.add(trial_id)

    def reported(self, job: CohortJob, statuses: Sequence[MemberStatus]) -> None:
        """Where the members of a cohort stand."""
        for status in statuses:
            before = self._steps.get(status.trial_id, job.start_step)
            self._done_steps += max(0, status.step - max(before, job.start_step))
            self._steps[status.trial_id] = max(before, status.step)
            state = self.states.get(status.trial_id, ("", ""))[0]
            # That a trial has ended is told by `ended`, once.
            self.states[status.trial_id] = (
                state if state not in ("", TrialState.RUNNING) else TrialState.RUNNING,
                status.phase,
            )
        now = self._clock()
        self._window.append((now, self._done_steps))
        while len(self._window) > 2 and self._window[1][0] < now - RATE_WINDOW_S:
            self._window.popleft()

    def ended(self, states: Mapping[str, str]) -> None:
        """Trials that are over."""
        for trial_id, state in states.items():
            self.states[trial_id] = (state, self.states.get(trial_id, ("", ""))[1])
            self.ended_now += state != TrialState.FAILED

    @property
    def over(self) -> int:
        """Trials about which nothing is left to do."""
        return self.ended_now + len(self.cached) + self.failed

    @property
    def failed(self) -> int:
        return sum(state == TrialState.FAILED for state, _ in self.states.values())

    @property
    def running(self) -> list[str]:
        return [trial_id for trial_id, (state, _) in self.states.items() if state == TrialState.RUNNING]

    @property
    def waiting(self) -> int:
        return len(self.trial_ids) - len(self.states)

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._started

    def steps_per_s(self) -> float:
        """Updates a second, of all trials together, over the last half minute."""
        if not self._window:
            return 0.0
        first, last = self._window[0], self._window[-1]
        return (last[1] - first[1]) / (last[0] - first[0]) if last[0] > first[0] else 0.0

    def left_s(self) -> float | None:
        """Seconds until the sweep is done, as far as can be told; None before there is a rate."""
        rate = self.steps_per_s()
        if not self.running and not self.waiting:
            return 0.0
        if rate <= 0.0:
            return None
        # Arms of different horizons are different populations.
        left = [steps for horizon in sorted(set(self.horizons.values())) for steps in self._steps_left(horizon)]
        # All the work at the present rate; but the last trial alone takes its own time.
        return max(sum(left), max(left, default=0.0) * len(self.running)) / rate

    def _steps_left(self, horizon_steps: int) -> list[float]:
        """The steps that each trial of one horizon still takes, those that have not begun included."""
        known = [
            (self.states[trial_id][0], self._steps.get(trial_id, 0))
            for trial_id, horizon in self.horizons.items()
            if horizon == horizon_steps and trial_id in self.states
        ]
        over = [steps for state, steps in known if state not in (TrialState.RUNNING, TrialState.FAILED)]
        running = [steps for state, steps in known if state == TrialState.RUNNING]
        waiting = sum(horizon == horizon_steps for horizon in self.horizons.values()) - len(known)
        left = expected_steps_left(over, running, horizon_steps=horizon_steps)
        return left + waiting * expected_steps_left(over, running, horizon_steps=horizon_steps, at=[0])

    def headline(self) -> str:
        """``12 of 40 done, 2 running, 5 cached, 0 failed``."""
        return (
            f"{self.over} of {len(self.trial_ids)} done, "
            f"{len(self.running)} running, {len(self.cached)} cached, {self.failed} failed"
        )

    def pace(self) -> str:
        """Speed and the finishing time."""
        left = self.left_s()
        rate = self.steps_per_s()
        told = f"{rate:,.0f} steps/s" if rate >= 10 else f"{rate:.1f} steps/s"
        if rate == 0.0:
            return "starting"
        if not left:
            return told
        at = time.strftime("%H:%M", time.localtime(time.time() + left))
        return f"{told}, about {duration(left)} left (till {at})"


def expected_steps_left(
    over: Sequence[int], running: Sequence[int], *, horizon_steps: int, at: Sequence[int] | None = None
) -> list[float]:
    """How many more steps a trial takes on average that has made ``at`` steps: E[min(T, H) - t | T > t].

    S is the Kaplan-Meier estimate from the durations of trials that are over and, censored, of those that run; past
    the last duration known it stays, to the horizon H.

    :param at: for the running trials where it is not given.
    """
    counted = sorted(min(steps, horizon_steps) for steps in over)
    everybody = sorted([*counted, *(min(steps, horizon_steps) for steps in running)])
    times, survival = [0], [1.0]
    for step in sorted(set(counted)):
        if step >= horizon_steps:
            break
        at_risk = len(everybody) - bisect.bisect_left(everybody, step)
        deaths = bisect.bisect_right(counted, step) - bisect.bisect_left(counted, step)
        times.append(step)
        survival.append(survival[-1] * (1 - deaths / at_risk))
    times.append(horizon_steps)
    found = []
    for now in running if at is None else at:
        index = bisect.bisect_right(times[:-1], now) - 1
        alive = survival[index]
        if alive <= 0.0 or now >= horizon_steps:
            # Older than any trial that is over: nothing is known but the horizon.
            found.append(float(max(horizon_steps - now, 0)))
            continue
        area = math.fsum(
            (high - max(low, now)) * level
            for low, high, level in zip(times[index:], times[index + 1 :], survival[index:], strict=False)
            if high > now
        )
        found.append(area / alive)
    return found


class SilentView:
    """Shows nothing."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally

    def __enter__(self) -> "SilentView":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reported(self, job: CohortJob, statuses: Sequence[MemberStatus]) -> None:
        """See :class:`pipeline.execution.dispatch.Watcher`."""
        self.tally.reported(job, statuses)
        for note in dict.fromkeys(note for status in statuses for note in status.notes):
            self.tally.notes.append(f"{statuses[0].trial_id[:8]}: {note}")
            self.noted(self.tally.notes[-1])

    def noted(self, note: str) -> None:
        """Something happened to a cohort that its user should know."""

    def ended(self, states: Mapping[str, str]) -> None:
        """See :class:`pipeline.execution.dispatch.Watcher`."""
        self.tally.ended(states)

    def close(self) -> None:
        """The last word."""


def print_line(text: str, stream: TextIO) -> None:
    """Print a line at once; a reader that has gone away (``| head``) ends the printing, not the sweep."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class PlainView(SilentView):
    """Lines for a pipe or a log: every ten seconds at most, and when trials have ended."""

    def __init__(self, tally: Tally, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(tally)
        self._stream = stream
        self._clock = clock
        self._last_s = clock()

    def reported(self, job: CohortJob, statuses: Sequence[MemberStatus]) -> None:
        super().reported(job, statuses)
        if self._clock() - self._last_s >= PLAIN_EVERY_S:
            self._say()

    def noted(self, note: str) -> None:
        print_line(f"note: {note}", self._stream)

    def ended(self, states: Mapping[str, str]) -> None:
        super().ended(states)
        if self._clock() - self._last_s >= PLAIN_AT_MOST_EVERY_S:
            self._say()

    def close(self) -> None:
        """How it stands at the end."""
        print_line(f"{self.tally.headline()} after {duration(self.tally.elapsed_s)}", self._stream)

    def _say(self) -> None:
        self._last_s = self._clock()
        print_line(f"{self.tally.headline()}; {self.tally.pace()}", self._stream)


class LiveView(SilentView):
    """The screen of a terminal: a bar, the pace, and the phase map as it fills."""

    def __init__(self, tally: Tally, title: str, console: Console) -> None:
        super().__init__(tally)
        self._title = title
        self._console = console
        self._lock = threading.Lock()
        """The screen is refreshed by a thread of its own."""
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=4, transient=False)

    def reported(self, job: CohortJob, statuses: Sequence[MemberStatus]) -> None:
        with self._lock:
            super().reported(job, statuses)

    def noted(self, note: str) -> None:
        self._console.print(f"note: {note}", markup=False, highlight=False)

    def ended(self, states: Mapping[str, str]) -> None:
        with self._lock:
            super().ended(states)

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def close(self) -> None:
        """Leave the last picture on the screen."""
        self._live.refresh()
        self._live.stop()

    def _render(self) -> Group:
        with self._lock:
            return self._picture()

    def _picture(self) -> Group:
        tally, size = self.tally, self._console.size
        headline = Text(f"{self._title}  {tally.headline()}", style="bold red" if tally.failed else "bold")
        bar = ProgressBar(total=max(len(tally.trial_ids), 1), completed=tally.over, width=min(size.width // 3, 40))
        second = Table.grid(padding=(0, 2))
        second.add_row(bar, Text(f"{duration(tally.elapsed_s)}, {tally.pace()}", style="bright_black"))
        body: list[Any] = [headline, second]
        if tally.trial_ids:
            height = max(size.height - 8, 3)
            body += [Text(""), *tally.map.render(tally.states, width=size.width, height=height), legend()]
        return Group(*body)
