"""The sweep as a table of cells for the terminal: one small coloured glyph a seed, which shows its phase so far."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from pipeline.spec import PlannedTrial
from trainables.engine.events import PhaseRule
from trainables.engine.phase_colours import colours_of
from trainables.engine.terminal import shown
from trainables.runtime.rows import TrialState

ARM, SEED = "arm", "seed"
ABSENT = "–"
WAITING, DONE, FAILED = ("·", "bright_black"), ("✓", "#009e73"), ("✗", "bold red")
"""The glyphs, with their styles, of trials that have no phase: DONE is for those that declare none."""
SHAPES = "■●◆▲○★▼□◇"
"""A shape for each phase, in the order in which they are declared, since colour alone does not reach everybody."""


def glyphs_of(phases: Iterable[PhaseRule]) -> dict[str, tuple[str, str]]:
    """The glyph and the colour of each phase, by name."""
    shapes = zip(colours_of(phases).items(), itertools.cycle(SHAPES), strict=False)
    return {name: (shape, colour) for (name, colour), shape in shapes}


class PhaseMap:
    """Cells by the coordinates of a sweep's trials, seeds pooled."""

    def __init__(self, trials: Iterable[PlannedTrial], *, listed: bool = False) -> None:
        """
        :param trials: in the order of the sweep.
        :param listed: a row a cell, the latest first, instead of a table, which suggestions would leave almost empty.
        """
        trials = list(trials)
        self._glyphs = glyphs_of(phase for trial in trials for phase in trial.config.phases)
        points = {trial.config.trial_id: trial.coordinates for trial in trials}
        axes = list(dict.fromkeys(name for point in points.values() for name in point if not _is_seed(name)))
        values = {axis: {str(point[axis]) for point in points.values() if axis in point} for axis in axes}
        free = [axis for axis in axes if axis != ARM] or axes
        self.x = "" if listed else max(free, key=lambda axis: len(values[axis]), default="")
        """The horizontal axis: the one with the most values; all others together are the vertical one."""
        self._listed = listed
        self._others = [axis for axis in axes if axis != self.x]
        self._cells: dict[tuple[str, str], list[str]] = {}
        for trial_id, point in points.items():
            self._cells.setdefault(self._place(point), []).append(trial_id)
        self.rows = list(dict.fromkeys(row for row, _ in self._cells))[:: -1 if listed else 1]
        columns: dict[str, Any] = {self._place(point)[1]: point.get(self.x) for point in points.values()}
        numeric = all(isinstance(value, int | float | None) for value in columns.values())
        self.columns = sorted(columns, key=lambda name: _rank(columns[name])) if numeric else list(columns)

    def render(self, states: Mapping[str, tuple[str, str]], *, width: int, height: int) -> list[Text | Table]:
        """The axes and the table, for a terminal of this size; what does not fit is counted in a last column or row.

        :param states: (state, phase so far) by trial id, for the trials that have begun.
        """
        seeds = max(len(members) for members in self._cells.values())
        label = min(max(5, *map(cell_len, self.rows)), width - seeds - 4 if self._listed else width // 3)
        fitting, used = 0, label + 2
        for column in self.columns:
            used += max(seeds, cell_len(column)) + 2
            if used > width - 6 and fitting:
                break
            fitting += 1
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
        table.add_column("", style="bold", max_width=label, no_wrap=True)
        for column in self.columns[:fitting]:
            table.add_column(Text("" if self._listed else column, style="bright_black"), no_wrap=True)
        if fitting < len(self.columns):
            table.add_column(Text(f"+{len(self.columns) - fitting}", style="bright_black"), no_wrap=True)
        shown = self.rows if len(self.rows) <= height else self.rows[: max(height - 1, 1)]
        for row in shown:
            cells = (self._cells.get((row, column), []) for column in self.columns[:fitting])
            table.add_row(Text(row), *(self._cell(members, states) for members in cells))
        if len(shown) < len(self.rows):
            table.add_row(Text(f"+{len(self.rows) - len(shown)}", style="bright_black"))
        down = " · ".join(_words(axis) for axis in self._others)
        axes = [f"{words} {arrow}" for words, arrow in ((down, "↓"), (_words(self.x), "→")) if words]
        return [Text("  ".join(axes), style="bright_black"), table]

    def legend(self) -> Text:
        """What the glyphs mean, in one line."""
        text = Text()
        for name, (glyph, style) in (self._glyphs or {"done": DONE}).items():
            text.append(glyph, style=style).append(f" {shown(name)}  ", style="bright_black")
        text.append(WAITING[0], style=WAITING[1]).append(" waiting, faint: running", style="bright_black")
        return text

    def _cell(self, members: Sequence[str], states: Mapping[str, tuple[str, str]]) -> Text:
        text = Text()
        for trial_id in members:
            state, phase = states.get(trial_id, ("", ""))
            begun = bool(state) and not (self._glyphs and state == TrialState.RUNNING)
            glyph, style = self._glyphs.get(phase, DONE if begun else WAITING)
            if state == TrialState.FAILED:
                glyph, style = FAILED
            text.append(glyph, style=f"dim {style}" if state == TrialState.RUNNING else style)
        return text

    def _place(self, point: Mapping[str, Any]) -> tuple[str, str]:
        row = " · ".join(_tick(point[axis]) for axis in self._others if axis in point)
        return row, _tick(point[self.x]) if self.x in point else ABSENT


def _is_seed(axis: str) -> bool:
    return axis == SEED or axis.startswith("seeds.")


def _tick(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else shown(value)


def _rank(value: float | None) -> tuple[bool, float]:
    """Ascending, without a value last."""
    return value is None, value or 0.0


def _words(axis: str) -> str:
    """``weight decay`` for ``optimizer.weight_decay``."""
    return shown(axis.rpartition(".")[2].replace("_", " "))
