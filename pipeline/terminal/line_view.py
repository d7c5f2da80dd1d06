"""One line that updates itself, for runs from Python: in a notebook, or on a terminal without any control sequence."""

import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TextIO

from pipeline.terminal.dry_run import duration
from pipeline.terminal.live_view import PlainView, SilentView
from pipeline.terminal.tally import Tally
from trainables.engine.terminal import print_line, shown
from trainables.runtime.job import CohortJob
from trainables.runtime.status import MemberStatus

EVERY_S = 0.5
BAR_CHARACTERS = 10


class Line(Protocol):
    """A place for one line of text, which the next one replaces."""

    def show(self, text: str) -> None:
        """Replace the line."""

    def end(self) -> None:
        """Leave the line as it is: what is printed next stands below it."""


class TerminalLine:
    """A line of a terminal, written over from its beginning."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._length = 0

    def show(self, text: str) -> None:
        """Replace the line, cut to the width of the terminal."""
        text = text[: shutil.get_terminal_size().columns - 1]
        self._stream.write(f"\r{text.ljust(self._length)}")
        self._stream.flush()
        self._length = len(text)

    def end(self) -> None:
        """Go to the next line."""
        self._stream.write("\n")
        self._stream.flush()
        self._length = 0


class NotebookLine:
    """An output of a notebook's cell, which it replaces; as text, so that every notebook can show it."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str) -> None:
        """Replace the output, or make it."""
        from IPython.display import display

        bundle = {"text/plain": text}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def end(self) -> None:
        """Do nothing: what is printed next has an output of its own."""


class LineView(SilentView):
    """Shows a bar, the counts and the time left in one line."""

    def __init__(self, tally: Tally, title: str, line: Line, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(tally)
        self._title = shown(title)
        self._line = line
        self._clock = clock
        self._last_s = 0.0

    def __enter__(self) -> "LineView":
        self._show(self.tally.pace())
        return self

    def reported(self, job: CohortJob, statuses: Sequence[MemberStatus]) -> None:
        super().reported(job, statuses)
        self._update()

    def ended(self, states: Mapping[str, str]) -> None:
        super().ended(states)
        self._update()

    def noted(self, note: str) -> None:
        """Print a note below the line, which goes on below the note."""
        self._line.end()
        print_line(f"note: {note}", sys.stdout)

    def close(self) -> None:
        """Show the final counts."""
        self._show(f"after {duration(self.tally.elapsed_s)}")
        self._line.end()

    def _update(self) -> None:
        if self._clock() - self._last_s >= EVERY_S:
            self._show(self.tally.pace())

    def _show(self, last: str) -> None:
        self._last_s = self._clock()
        done = BAR_CHARACTERS * self.tally.done // max(self.tally.total, 1)
        bar = "#" * done + "." * (BAR_CHARACTERS - done)
        self._line.show(f"{self._title} [{bar}] {self.tally.headline()}; {last}")


def line_view_of(tally: Tally, title: str) -> SilentView:
    """Choose the view of a run from Python: a line in a notebook or on a terminal, plain lines in a pipe."""
    if in_notebook():
        return LineView(tally, title, NotebookLine())
    if sys.stdout.isatty():
        return LineView(tally, title, TerminalLine(sys.stdout))
    return PlainView(tally, sys.stdout)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")
