"""What the terminal shows while a sweep runs: a live picture, plain lines in a pipe, nothing with ``--json``."""

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from pipeline.sharing import Lease
from pipeline.spec import PlannedTrial
from pipeline.terminal.dry_run import duration
from pipeline.terminal.tally import Tally
from trainables.engine.terminal import print_line, shown
from trainables.runtime.job import CohortJob
from trainables.runtime.status import MemberStatus

if TYPE_CHECKING:
    from rich.console import Console, Group, RenderableType

PLAIN_EVERY_S = 10.0
PLAIN_AT_MOST_EVERY_S = 1.0
"""Lines about trials that have ended may come sooner, but not more often than this."""


def view_of(tally: Tally, title: str, *, silent: bool) -> "SilentView":
    """Choose the view that suits standard output; a machine without Rich prints plain lines on a terminal too."""
    if silent:
        return SilentView(tally)
    if sys.stdout.isatty():
        with suppress(ModuleNotFoundError):
            from rich.console import Console

            return LiveView(tally, title, Console())
    return PlainView(tally, sys.stdout)


class SilentView:
    """Shows nothing; the base of the views, which the dispatcher notifies."""

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
        """Show what happened to a cohort."""

    def ended(self, states: Mapping[str, str]) -> None:
        """See :class:`pipeline.execution.dispatch.Watcher`."""
        self.tally.ended(states)

    def elsewhere(self, leases: Sequence[Lease], states: Mapping[str, str]) -> None:
        """See :class:`pipeline.execution.dispatch.Watcher`."""
        self.tally.elsewhere(leases, states)

    def close(self) -> None:
        """Show how the run ended."""


class PlainView(SilentView):
    """Prints lines for a pipe or a log: every ten seconds at most, and when trials have ended."""

    def __init__(self, tally: Tally, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(tally)
        self._stream = stream
        self._clock = clock
        self._last_s = clock()

    def reported(self, job: CohortJob, statuses: Sequence[MemberStatus]) -> None:
        super().reported(job, statuses)
        if self._clock() - self._last_s >= PLAIN_EVERY_S:
            self._print()

    def noted(self, note: str) -> None:
        print_line(f"note: {note}", self._stream)

    def ended(self, states: Mapping[str, str]) -> None:
        super().ended(states)
        if self._clock() - self._last_s >= PLAIN_AT_MOST_EVERY_S:
            self._print()

    def elsewhere(self, leases: Sequence[Lease], states: Mapping[str, str]) -> None:
        super().elsewhere(leases, states)
        if self._clock() - self._last_s >= PLAIN_EVERY_S:
            self._print()

    def close(self) -> None:
        """Print the final counts."""
        print_line(f"{self.tally.headline()} after {duration(self.tally.elapsed_s)}", self._stream)

    def _print(self) -> None:
        self._last_s = self._clock()
        print_line(f"{self.tally.headline()}; {self.tally.pace()}", self._stream)


class LiveView(SilentView):
    """Draws on a terminal: a bar, the pace, and the phase map as it fills."""

    def __init__(self, tally: Tally, title: str, console: "Console") -> None:
        from rich.live import Live

        from pipeline.terminal.phase_map import PhaseMap

        super().__init__(tally)
        self._title = title
        self._console = console
        self._lock = threading.Lock()
        """Rich refreshes the screen from a thread of its own."""
        self._mapped: dict[str, PlannedTrial] = {}
        self._new_map, self._map = PhaseMap, PhaseMap([])
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=4, transient=False)

    def reported(self, job: CohortJob, statuses: Sequence[MemberStatus]) -> None:
        with self._lock:
            super().reported(job, statuses)

    def noted(self, note: str) -> None:
        self._console.print(f"note: {shown(note)}", markup=False, highlight=False)

    def ended(self, states: Mapping[str, str]) -> None:
        with self._lock:
            super().ended(states)

    def elsewhere(self, leases: Sequence[Lease], states: Mapping[str, str]) -> None:
        with self._lock:
            super().elsewhere(leases, states)

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def close(self) -> None:
        """Leave the last picture on the screen."""
        self._live.refresh()
        self._live.stop()

    def _render(self) -> "Group":
        with self._lock:
            return self._picture()

    def _picture(self) -> "Group":
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        tally, size = self.tally, self._console.size
        headline = Text(f"{shown(self._title)}  {tally.headline()}", style="bold red" if tally.failed else "bold")
        bar = ProgressBar(total=max(tally.total, 1), completed=tally.done, width=min(size.width // 3, 40))
        second = Table.grid(padding=(0, 2))
        second.add_row(bar, Text(f"{duration(tally.elapsed_s)}, {tally.pace()}", style="bright_black"))
        body: list[RenderableType] = [headline, second]
        if tally.trials:
            if tally.trials is not self._mapped:
                self._mapped, self._map = tally.trials, self._new_map(tally.trials.values(), listed=tally.suggests)
            height = max(size.height - 8, 3)
            body += [Text(""), *self._map.render(tally.states, width=size.width, height=height), self._map.legend()]
        return Group(*body)
