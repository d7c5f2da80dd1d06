"""A sweep's answer for Python: tables, pictures, and itself in a notebook."""

import base64
import html
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.curves import finals
from analysis.data import frames, source
from analysis.data.sweep import Sweep, SweepError
from analysis.diagram.cells import Diagram, build
from analysis.diagram.tables import cells_table, summary_lines, summary_rows, trials_table
from analysis.diagram.words import answer
from analysis.drawing.guard import drawing
from pipeline.ledger import Ledger
from trainables.engine.errors import GrokscapeError
from trainables.engine.events import EventRule

if TYPE_CHECKING:
    from analysis.drawing.inline import Picture

DEFAULT_SOURCE = "results/ledger"
MOST_ROWS = 40
"""How many cells a notebook lists; :attr:`SweepResult.cells` has all."""


@dataclass(frozen=True, kw_only=True, repr=False)
class SweepResult(Sweep):
    """A sweep as Python and notebooks show it::

        result = open_sweep("quick")
        result.outcomes.groupby("weight_decay")["t_gen"].median()
        result.curves("test_accuracy", weight_decay=1)
        result.plot().savefig("quick.pdf")

    Every table is read or computed when it is asked for, and is the caller's own.
    """

    @property
    def outcomes(self) -> pd.DataFrame:
        """One row a trial, in the sweep's order.

        ``trial_id``; the axes by their short names (``arm``, ``weight_decay``, ``seed``); ``state``, ``stop_reason``,
        ``last_step``; ``phase``; of each event its time ``t_gen`` (the middle of its interval; NaN where it did not
        come), and as in outcomes.csv ``t_gen_kind``, ``t_gen_low_steps``, ``t_gen_high_steps``, ...; the last value of
        each probe (``final_test_accuracy``); the configuration by its whole names (``optimizer.weight_decay``); the
        ``error`` of a trial that failed.
        """
        table = frames.places(self)
        parts = [table]
        if self and self.events:
            known = trials_table(self._diagram).set_index("trial_id")
            known = known.loc[table["trial_id"], "phase":].reset_index(drop=True)
            for name in (rule.name for rule in self._diagram.events):
                came = known[f"{name}_kind"] == "event"
                middle = (known[f"{name}_low_steps"] + known[f"{name}_high_steps"]) / 2
                known.insert(int(known.columns.get_loc(f"{name}_kind")), name, middle.where(came))
                known[f"{name}_kind"] = known[f"{name}_kind"].map(str, na_action="ignore")
            parts.append(known)
        parts += [frames.final_values(self), frames.configurations(self)]
        parts.append(pd.DataFrame({"error": pd.Series([trial.error for trial in self.trials], dtype=object)}))
        joined = pd.concat(parts, axis=1)
        return joined.loc[:, ~joined.columns.duplicated()]

    @property
    def cells(self) -> pd.DataFrame:
        """One row a setting, its seeds together: the table cells.csv, with the axes by their short names.

        ``CELL_COLUMNS`` of :mod:`analysis.diagram.tables`, or of :mod:`analysis.curves.finals` for a sweep without
        events, say what the columns mean.

        :raises SweepError: where nothing was measured.
        """
        table = cells_table(self._diagram) if self.events else finals.cells_table(finals.finals(self))
        return table.rename(columns=frames.axis_columns(self))

    def curves(self, columns: str | Sequence[str] | None = None, **where: Any) -> pd.DataFrame:
        """One row a measurement: ``trial_id``, the axes by their short names, ``step``, and these columns.

        :param columns: probes; all that were measured, without.
        :param where: the trials at these coordinates, as :meth:`Sweep.where` takes them.
        :raises SweepError: for an axis or a value that no trial has, or a column that was not measured.
        """
        names = [columns] if isinstance(columns, str) else columns and list(columns)
        chosen = replace(self, trials=self.where(**where))
        for name, value in where.items():
            if not self.where(**{name: value}) and self:
                values = ", ".join(map(repr, self.values(name)))
                raise SweepError(f"{name}={value!r}: no trial with measurements has it; the sweep's values: {values}")
        table = frames.curves_table(self, chosen.iter_curves(names), names)
        for name in names or ():
            if len(table) and table[name].isna().all():
                _, measured = next(iter(replace(chosen, trials=chosen.trials[:1]).iter_curves()))
                raise SweepError(f"column {name!r}: was not measured; measured: {', '.join(sorted(measured))}")
        return table

    def plot(
        self,
        x: str | None = None,
        y: str | None = None,
        *,
        event: str | None = None,
        tau_steps: int | None = None,
        fix: Sequence[str] = (),
        pool: Sequence[str] = (),
        facet: str | None = None,
        colour: str | None = None,
    ) -> "Picture":
        """The phase diagram as a matplotlib figure, which a notebook shows; learning curves of a sweep without events.

        The arguments are those of :func:`analysis.draw.draw`.

        :raises SweepError: for a bad tau or event, or where nothing was measured.
        :raises analysis.diagram.layout.AxisError: for an unknown axis.
        """
        with drawing():
            from analysis.draw import numbers_of

            options: dict[str, Any] = {"event": event, "tau_steps": tau_steps, "fix": fix, "pool": pool}
            return _picture(numbers_of(self, x, y, facet=facet, colour=colour, **options))

    def answer(self) -> str:
        """The answer in a sentence; why there is none, where nothing was measured."""
        return (answer(self._diagram) if self.events else self.extent()) if self else self.why_empty()

    def __repr__(self) -> str:
        try:
            numbers = self._numbers()
            lines = summary_lines(numbers) if isinstance(numbers, Diagram) else finals.summary_lines(numbers)
        except GrokscapeError as error:
            lines = [str(error)]
        if (more := len(lines) - MOST_ROWS) > 1:
            lines[MOST_ROWS - 5 : -5] = [f"... {more} more lines: .cells has all"]
        return "\n".join([f"{self.name} in {self.source}: {self.extent()}", *lines])

    def _repr_html_(self) -> str:
        """What a notebook shows: the question, the answer, the cells, the picture, and what failed."""
        parts = [f"<p><strong>{html.escape(self.question or self.name)}</strong></p>", _line(self.answer())]
        with suppress(GrokscapeError):  # Nothing was measured, as the answer says.
            numbers = self._numbers()
            rows = summary_rows(numbers) if isinstance(numbers, Diagram) else finals.summary_rows(numbers)
            parts.append(_table(rows))
            with drawing():
                picture = base64.b64encode(_picture(numbers).to_png()).decode()
            parts.append(f'<img style="max-width: 100%; width: 900px" src="data:image/png;base64,{picture}">')
        parts += [_line(f"failed: {line}") for line in (self.origin.failures if self.origin else ())]
        parts.append(f"<p><small>{html.escape(f'{self.name} in {self.source}: {self.extent()}')}</small></p>")
        return f"<div>{''.join(parts)}</div>"

    def _numbers(self) -> Diagram | finals.Finals:
        return self._diagram if self.events else finals.finals(self)

    @cached_property
    def _diagram(self) -> Diagram:
        return build(self)


def open_sweep(name: str, uri: str | Ledger = DEFAULT_SOURCE, events: Sequence[EventRule] = ()) -> SweepResult:
    """Open the sweep of that name::

        result = open_sweep("quick", "results/ledger")
        result.outcomes[["weight_decay", "seed", "phase", "t_gen"]]
        for trial in result.where(weight_decay=1):
            print(trial.seed, trial.event("t_gen").high_steps)

    :param uri: a ledger (opened, a folder or an address), an MLflow tracking address, or a folder with
        ``<name>.parquet`` as the figures keep it.
    :param events: events to take beside the declared ones: see :meth:`Sweep.with_events`.
    :raises SweepError: for an MLflow that does not answer or lacks the sweep, or events that it does not hold.
    :raises pipeline.ledger.LedgerError: for a folder that is no ledger, or a ledger without the sweep.
    """
    sweep = source.open_sweep(name, uri, events)
    return SweepResult(**{field.name: getattr(sweep, field.name) for field in fields(sweep)})


def _picture(numbers: Diagram | finals.Finals) -> "Picture":
    from analysis.curves.picture import draw_panels
    from analysis.diagram.picture import draw_diagram
    from analysis.drawing.inline import picture

    if isinstance(numbers, Diagram):
        return picture(lambda figure: draw_diagram(figure, numbers))
    return picture(lambda figure: draw_panels(figure, numbers))


def _line(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _table(rows: Sequence[Sequence[str]]) -> str:
    shown = pd.DataFrame(rows[1 : MOST_ROWS + 1], columns=rows[0]).to_html(index=False, border=0, justify="left")
    more = len(rows) - 1 - MOST_ROWS
    return shown + (_line(f"{more} more: .cells has all") if more > 0 else "")
