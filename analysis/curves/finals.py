"""The final values of a sweep without events: where each setting ends, and how settings differ.

A setting's value is that at the last step of its runs, and each setting is compared with the first one seed by seed,
as :mod:`analysis.curves.comparison` does it.  Runs that have not reached their end are listed apart, and one that
diverged has no final value: it is counted instead.  Which columns are shown follows from what was measured.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.curves.comparison import Comparison, compare
from analysis.data.sweep import ARM, STEP, Sweep, SweepError, Trial, is_replicate, is_share, thousands
from analysis.diagram.cells import seeds_per_cell
from analysis.diagram.layout import setting_words
from analysis.diagram.tables import aligned
from analysis.drawing.bands import EPOCH, over_epochs
from analysis.stats.paired import mean_words
from trainables.engine.events import StopReason
from trainables.runtime.rows import TrialState

MOST_COLUMNS = 4
"""The number of columns in the tables when no accuracy and no loss was measured."""

CELL_COLUMNS = {
    "cell": "the cell in words; here as in every text an apostrophe comes before =, +, - or @, against formulas",
    "<axis>": "its value of each axis; empty where it does not have it",
    "trials": "trials of the sweep in the cell",
    "not_begun, diverged, failed, unfinished": "of these, how many have no value at the end, and why",
    "n": "seeds that the means are of",
    "step, horizon_steps": "the means are of this step: the horizon, or, where no seed has reached it, the last step "
    "that all begun seeds have reached",
    "<headline>_mean, <headline>_sd": "over these seeds: the column that is compared; _percent where it is a share",
    "<second>_mean, <second>_sd": "likewise, the column below it in the picture",
    "difference": "the headline minus that of the first cell: the mean over the pairs; _points where it is a share",
    "difference_low, difference_high": "its 95 % interval, Student's",
    "pairs": "seeds that both have",
    "sign_flip_p": "of the differences, two-sided; 2^(1 - pairs) at the least",
    "compared_at_step": "the step at which the two are compared",
}
"""What the columns of cells.csv mean for such a sweep."""

TRIAL_COLUMNS = {
    "trial_id": "the trial's name in the ledger and in MLflow",
    "cell": "the cell in words",
    "<axis>": "the trial's coordinates; empty where it does not have the axis",
    "state, stop_reason, last_step": "how far it got, and how it ended; 'missing' is a trial that was not begun",
    "horizon_steps": "where it ends",
    "epoch": "how often it has seen the training rows",
    "<column>": "the last finite value of each column; shares are fractions",
}
"""What the columns of finals.csv mean."""


@dataclass(frozen=True)
class Quantity:
    """A column as tables and pictures show it."""

    column: str

    @property
    def share(self) -> bool:
        """Whether it is shown in percent."""
        return is_share(self.column)

    @property
    def larger_is_better(self) -> bool | None:
        """True for accuracies, False for losses, None where it is not known."""
        return {"accuracy": True, "loss": False}.get(self.column.rpartition("_")[2])

    @property
    def words(self) -> str:
        return self.column.replace("_", " ").replace(".", " ")

    @property
    def title(self) -> str:
        """``test accuracy, %``"""
        return f"{self.words}, %" if self.share else self.words

    @property
    def style(self) -> str:
        """How a value is written."""
        return ".2f" if self.share else ".3f" if self.column.endswith("_loss") else ".3g"

    def named(self, stem: str) -> str:
        """The name of a table's column with the unit: ``test_accuracy_mean_percent``."""
        return f"{self.column}_{stem}_percent" if self.share else f"{self.column}_{stem}"


def choose(columns: Iterable[str]) -> tuple[tuple[Quantity, ...], tuple[str, ...]]:
    """The one or two quantities to show, and the columns to list, from what was measured.

    Accuracies and losses come first, those of the test rows before others; without any, the first columns.
    """
    measured = [column for column in columns if column != EPOCH]

    def kind(ending: str) -> list[str]:
        ended = [column for column in measured if column.endswith(ending)]
        return sorted(ended, key=lambda column: (column != f"test{ending}", not column.startswith("test_")))

    accuracies, losses = kind("_accuracy"), kind("_loss")
    listed = [column for column in measured if column in {*accuracies, *losses}] or measured[:MOST_COLUMNS]
    shown = [accuracies[0], *losses[:1]] if accuracies else losses[:2] or listed[:2]
    return tuple(Quantity(column) for column in shown), tuple(listed)


@dataclass(frozen=True)
class CurveCell:
    """One setting and its seeds."""

    label: str
    setting: Mapping[str, Any]
    trials: tuple[Trial, ...]
    """In the sweep's order; those that were not begun too."""
    own: Comparison | None
    """The cell beside itself, at its last step; None where nothing was measured."""
    to_first: Comparison | None
    """Beside the first cell; None where no seed of both was measured."""

    def alive(self) -> list[Trial]:
        """The trials with curves that did not diverge."""
        return [trial for trial in self.trials if trial.begun and trial.stop_reason != StopReason.DIVERGED]

    def diverged(self) -> list[Trial]:
        """The trials that did."""
        return [trial for trial in self.trials if trial.stop_reason == StopReason.DIVERGED]

    def unfinished(self) -> list[Trial]:
        """The begun trials that may yet change, or failed before their end."""
        return [trial for trial in self.alive() if trial.known_until < trial.horizon_steps]

    def values(self, quantity: Quantity) -> list[float]:
        """A quantity's final values, one a seed, as it is shown."""
        if self.own is None:
            return []
        at_end = (trial.at(quantity.column, self.own.step) for trial in self.trials if trial.seed in self.own.ours)
        return [100 * value if quantity.share else value for value in at_end if math.isfinite(value)]

    def remark(self) -> str:
        """Which of its trials are not, or not yet, at their end: ``1 of 3 diverged, 1 at step 237 of 474``."""
        words = []
        if self.diverged():
            words.append(f"{len(self.diverged())} of {len(self.trials)} diverged")
        if short := self.unfinished():
            last = [trial.last_step for trial in short]
            steps = dict.fromkeys(thousands(step) for step in (min(last), max(last)))
            some = "" if len(short) == len(self.trials) else f"{len(short)} of {len(self.trials)} "
            words.append(f"{some}at step {' to '.join(steps)} of {thousands(short[0].horizon_steps)}")
        failed = sum(trial.state == TrialState.FAILED for trial in self.trials)
        missing = sum(not trial.begun and trial.state != TrialState.FAILED for trial in self.trials)
        words += [f"{failed} failed"] if failed else []
        words += [f"{missing} of {len(self.trials)} not begun"] if missing else []
        return ", ".join(words)


@dataclass(frozen=True)
class Finals:
    """Everything that is drawn and written of one sweep."""

    sweep: Sweep
    cells: tuple[CurveCell, ...]
    """In the sweep's order; the others are compared with the first."""
    shown: tuple[Quantity, ...]
    """The headline, by which cells are compared, and mostly a second quantity."""
    columns: tuple[str, ...]
    """Those whose final values are listed."""
    in_epochs: bool
    """Whether the curves can be drawn over epochs, of which the trials are then in :meth:`over`."""

    @property
    def headline(self) -> Quantity:
        """The quantity by which cells are compared."""
        return self.shown[0]

    @property
    def title(self) -> str:
        """The question: the space's own where its docstring opens with one."""
        names = [f"the {quantity.words}" for quantity in self.shown]
        return self.sweep.question or f"How {'do' if len(names) > 1 else 'does'} {' and '.join(names)} develop?"

    @property
    def subtitle(self) -> str:
        """The data and the model, how long it is trained, and how many trials a cell holds."""
        begun = [trial for cell in self.cells for trial in cell.trials if trial.begun]
        longest = max(begun, key=lambda trial: trial.horizon_steps)
        words = [self.sweep.task, f"{thousands(longest.horizon_steps)} steps"]
        if self.in_epochs:
            epochs = longest.horizon_steps * longest.final(EPOCH) / longest.last_step
            words[1] += f" ({epochs:.3g} epochs)"
        words.append(seeds_per_cell([sum(trial.begun for trial in cell.trials) for cell in self.cells]))
        return "  ·  ".join(word for word in words if word)

    def over(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials as they are drawn: over epochs, or over steps."""
        return [over_epochs(trial) for trial in trials] if self.in_epochs else [*trials]

    def against_first(self, cell: CurveCell) -> str:
        """``+0.12 [−1.03, +1.27]``, with the step where that is not the end; a dash where no seed has both."""
        if cell.to_first is None or cell.to_first.difference is None:
            return "–"
        step = "" if cell.to_first.complete else f" at step {thousands(cell.to_first.step)}"
        return f"{cell.to_first.difference.words(self.headline.style)}{step}"


def finals(sweep: Sweep, *, tau_steps: int | None = None) -> Finals:
    """The final values of every setting.

    :param tau_steps: the step up to which the data count; each trial's horizon by default.
    :raises SweepError: for a tau outside the horizon, or a sweep of which nothing was measured yet.
    """
    tau = sweep.tau(tau_steps)
    measured = dict.fromkeys(name for _, curves in sweep.iter_curves() for name in curves if name != STEP)
    shown, columns = choose(measured)
    if not shown:
        raise SweepError(f"{sweep.name} in {sweep.source}: {sweep.why_empty()}")
    sweep = sweep.with_curves([*columns, *(quantity.column for quantity in shown), EPOCH]).truncated_at(tau)
    members: dict[tuple, list[Trial]] = {}
    for trial in sweep.trials:
        members.setdefault(tuple(trial.setting.items()), []).append(trial)
    varying = [
        name
        for name in sorted(sweep.axes(), key=lambda name: name != ARM)
        if not is_replicate(name) and len({dict(setting).get(name) for setting in members}) > 1
    ]
    first, headline = next(iter(members.values())), shown[0].column
    cells = []
    for key, trials in members.items():
        setting = dict(key)
        label = setting_words({name: setting[name] for name in varying if name in setting})
        own, to_first = (compare(trials, others, headline) for others in (trials, first))
        cells.append(CurveCell(label or "all trials", setting, tuple(trials), own, to_first))
    begun = [trial for trial in sweep.trials if trial.begun]
    in_epochs = all(np.isfinite(trial.curves[EPOCH]).all() for trial in begun)
    return Finals(sweep, tuple(cells), shown, columns, in_epochs and any(trial.final(EPOCH) > 0 for trial in begun))


# --- tables -------------------------------------------------------------------------------------------------------


def cells_table(results: Finals) -> pd.DataFrame:
    """One row a cell, with the columns that :data:`CELL_COLUMNS` explains."""
    rows = []
    axes = [axis for axis in results.sweep.axes() if not is_replicate(axis)]
    unit = "_points" if results.headline.share else ""
    for cell in results.cells:
        row: dict[str, Any] = {"cell": cell.label} | {axis: cell.setting.get(axis) for axis in axes}
        row |= {
            "trials": len(cell.trials),
            "not_begun": sum(not trial.begun for trial in cell.trials),
            "diverged": len(cell.diverged()),
            "failed": sum(trial.state == TrialState.FAILED for trial in cell.trials),
            "unfinished": len(cell.unfinished()),
            "n": len(cell.values(results.headline)),
            "step": cell.own.step if cell.own else None,
            "horizon_steps": cell.trials[0].horizon_steps,
        }
        for quantity in results.shown:
            values = cell.values(quantity)
            row[quantity.named("mean")] = np.mean(values) if values else None
            row[quantity.named("sd")] = np.std(values, ddof=1) if len(values) > 1 else None
        if cell is not results.cells[0] and cell.to_first is not None and cell.to_first.difference is not None:
            difference = cell.to_first.difference
            row |= {
                f"difference{unit}": difference.estimate.value,
                f"difference_low{unit}": difference.estimate.low,
                f"difference_high{unit}": difference.estimate.high,
                "pairs": difference.pairs,
                "sign_flip_p": difference.p,
                "compared_at_step": cell.to_first.step,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def trials_table(results: Finals) -> pd.DataFrame:
    """One row a trial, in the sweep's order within each cell, with the columns of :data:`TRIAL_COLUMNS`."""
    rows = []
    for cell in results.cells:
        for trial in cell.trials:
            row: dict[str, Any] = {"trial_id": trial.trial_id, "cell": cell.label}
            row |= {axis: trial.coordinates.get(axis) for axis in results.sweep.axes()}
            row |= {"state": trial.state, "stop_reason": trial.stop_reason, "last_step": trial.last_step}
            row["horizon_steps"] = trial.horizon_steps
            row |= {EPOCH: trial.final(EPOCH)} if results.in_epochs and trial.begun else {}
            row |= {name: trial.final(name) for name in results.columns}
            rows.append(row)
    return pd.DataFrame(rows)


def summary_lines(results: Finals) -> list[str]:
    """A line a cell: its final values, the difference to the first, and which of its trials are not at their end."""
    return aligned(summary_rows(results))


def summary_rows(results: Finals) -> list[list[str]]:
    """The titles of the columns, and a row of texts for each cell."""
    titles = [quantity.title for quantity in results.shown]
    points = ", points" if results.headline.share else ""
    rows: list[list[str]] = [["cell", "n", *titles, f"minus {results.cells[0].label}{points} [95 %]", ""]]
    for cell in results.cells:
        values = [mean_words(cell.values(quantity), quantity.style) for quantity in results.shown]
        difference = "" if cell is results.cells[0] else results.against_first(cell)
        rows.append([cell.label, str(len(cell.values(results.headline))), *values, difference, cell.remark()])
    return [[*row[:-2], row[-1]] for row in rows] if len(rows) == 2 else rows
