"""The numbers of a sweep whose trials are measured for their curves: where each setting ends, and how settings differ.

A setting's accuracy is that at the last step of its runs, and each setting is compared with the first one seed by
seed, as :mod:`analysis.stats.paired` does it.  A run that is not at its end is told apart from those that are, and one
that diverged has no final value: it is counted instead.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.curves.comparison import Comparison, compare
from analysis.data.sweep import ARM, Sweep, SweepError, Trial, is_replicate, thousands
from analysis.diagram.cells import seeds_a_cell
from analysis.diagram.layout import setting_words
from analysis.drawing.bands import EPOCH, over_epochs
from analysis.stats.paired import mean_words
from trainables.engine.events import DIVERGED
from trainables.runtime.rows import TrialState

ACCURACY, LOSS = "test_accuracy", "test_loss"
COLUMNS = ("train_loss", LOSS, "train_accuracy", ACCURACY)
"""What the tables tell the last values of."""

CELL_COLUMNS = {
    "cell": "the cell in words",
    "<axis>": "its value of each axis; empty where it does not have it",
    "trials": "trials of the sweep in the cell",
    "not_begun, diverged, failed, unfinished": "of these, how many have no value at the end, and why",
    "n": "seeds that the means are of",
    "step, horizon_steps": "the means are of this step: the horizon, or, where no seed is there yet, the last step "
    "that all that were begun have reached",
    "test_accuracy_mean_percent, test_accuracy_sd_percent": "over these seeds",
    "test_loss_mean, test_loss_sd": "likewise, of each trial's own loss",
    "difference_points": "test accuracy minus that of the first cell: the mean over the pairs, in points",
    "difference_low_points, difference_high_points": "its 95 % interval, Student's",
    "pairs": "seeds that both have",
    "sign_flip_p": "of the differences, two-sided; 2^(1 - pairs) at the least",
    "compared_at_step": "the step at which the two are compared",
}
"""What the columns of cells.csv mean for such a sweep."""

TRIAL_COLUMNS = {
    "trial_id": "the trial's name in the ledger and in MLflow",
    "cell": "the cell in words",
    "<axis>": "the trial's coordinates; empty where it does not have the axis",
    "state, stop_reason, last_step": "its life so far; 'missing' is a trial that was not begun",
    "horizon_steps": "where it ends",
    "epoch": "how often it has seen the training rows",
    "<column>": "the last finite value of each loss (its own) and accuracy (a fraction)",
}
"""What the columns of finals.csv mean."""


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
        return [trial for trial in self.trials if trial.begun and trial.stop_reason != DIVERGED]

    def diverged(self) -> list[Trial]:
        """The trials that did."""
        return [trial for trial in self.trials if trial.stop_reason == DIVERGED]

    def unfinished(self) -> list[Trial]:
        """The begun trials that may yet change, or failed before their end."""
        return [trial for trial in self.alive() if trial.known_until < trial.horizon_steps]

    def accuracies(self) -> list[float]:
        """The final test accuracies, in %."""
        return [] if self.own is None else [*self.own.ours.values()]

    def losses(self) -> list[float]:
        """The test losses at the same step."""
        if self.own is None:
            return []
        found = (trial.at(LOSS, self.own.step) for trial in self.trials if trial.seed in self.own.ours)
        return [loss for loss in found if math.isfinite(loss)]

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

    frame: Sweep
    cells: tuple[CurveCell, ...]
    """In the sweep's order; the others are compared with the first."""
    in_epochs: bool
    """Whether the curves can be drawn over epochs, of which the trials are then in :meth:`over`."""

    @property
    def title(self) -> str:
        """The question: the space's own where its docstring opens with one."""
        return self.frame.question or "How do the test accuracy and loss develop?"

    @property
    def subtitle(self) -> str:
        """The data and the model, how long it is trained, and how many trials a cell holds."""
        begun = [trial for cell in self.cells for trial in cell.trials if trial.begun]
        longest = max(begun, key=lambda trial: trial.horizon_steps)
        words = [self.frame.task, f"{thousands(longest.horizon_steps)} steps"]
        if self.in_epochs:
            epochs = longest.horizon_steps * longest.final(EPOCH) / longest.last_step
            words[1] += f" ({epochs:.3g} epochs)"
        words.append(seeds_a_cell([sum(trial.begun for trial in cell.trials) for cell in self.cells]))
        return "  ·  ".join(word for word in words if word)

    def over(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials as they are drawn: over epochs, or over steps."""
        return [over_epochs(trial) for trial in trials] if self.in_epochs else [*trials]


def finals(frame: Sweep, *, tau_steps: int | None = None) -> Finals:
    """The final values of every setting.

    :param tau_steps: everything is told as of this step; each trial's horizon by default.
    :raises SweepError: for a tau outside the horizon, or a sweep of which nothing was measured yet.
    """
    tau = frame.horizon_steps if tau_steps is None else tau_steps
    if not 0 < tau <= frame.horizon_steps:
        raise SweepError(f"--tau {tau}: must be above 0 and at most the sweep's horizon, {frame.horizon_steps} steps")
    frame = frame.with_curves([*COLUMNS, EPOCH]).truncated_at(tau)
    if not any(len(trial.measured(ACCURACY)[0]) for trial in frame.trials):
        raise SweepError(f"{frame.name} in {frame.source}: nothing was measured yet; run the sweep first")
    members: dict[tuple, list[Trial]] = {}
    for trial in frame.trials:
        members.setdefault(tuple(trial.setting.items()), []).append(trial)
    begun = [trial for trials in members.values() for trial in trials if trial.begun]
    varying = [
        name
        for name in sorted(frame.axes(), key=lambda name: name != ARM)
        if not is_replicate(name) and len({dict(setting).get(name) for setting in members}) > 1
    ]
    first = next(iter(members.values()))
    cells = []
    for key, trials in members.items():
        setting = dict(key)
        label = setting_words({name: setting[name] for name in varying if name in setting})
        beside = compare(trials, first, ACCURACY)
        cells.append(
            CurveCell(label or "all trials", setting, tuple(trials), compare(trials, trials, ACCURACY), beside)
        )
    in_epochs = all(np.isfinite(trial.curves[EPOCH]).all() for trial in begun)
    return Finals(frame, tuple(cells), in_epochs and any(trial.final(EPOCH) > 0 for trial in begun))


# --- tables -------------------------------------------------------------------------------------------------------


def cells_table(found: Finals) -> pd.DataFrame:
    """One row a cell, with the columns that :data:`CELL_COLUMNS` explains."""
    rows = []
    axes = [axis for axis in found.frame.axes() if not is_replicate(axis)]
    for cell in found.cells:
        row: dict[str, Any] = {"cell": cell.label} | {axis: cell.setting.get(axis) for axis in axes}
        row |= {
            "trials": len(cell.trials),
            "not_begun": sum(not trial.begun for trial in cell.trials),
            "diverged": len(cell.diverged()),
            "failed": sum(trial.state == TrialState.FAILED for trial in cell.trials),
            "unfinished": len(cell.unfinished()),
            "n": len(cell.accuracies()),
            "step": cell.own.step if cell.own else None,
            "horizon_steps": cell.trials[0].horizon_steps,
        }
        for name, values in (("test_accuracy_{}_percent", cell.accuracies()), ("test_loss_{}", cell.losses())):
            row[name.format("mean")] = np.mean(values) if values else None
            row[name.format("sd")] = np.std(values, ddof=1) if len(values) > 1 else None
        if cell is not found.cells[0] and cell.to_first is not None and cell.to_first.difference is not None:
            difference = cell.to_first.difference
            row |= {
                "difference_points": difference.estimate.value,
                "difference_low_points": difference.estimate.low,
                "difference_high_points": difference.estimate.high,
                "pairs": difference.pairs,
                "sign_flip_p": difference.p,
                "compared_at_step": cell.to_first.step,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def trials_table(found: Finals) -> pd.DataFrame:
    """One row a trial, in the sweep's order within each cell, with the columns of :data:`TRIAL_COLUMNS`."""
    rows = []
    for cell in found.cells:
        for trial in cell.trials:
            row: dict[str, Any] = {"trial_id": trial.trial_id, "cell": cell.label}
            row |= {axis: trial.coordinates.get(axis) for axis in found.frame.axes()}
            row |= {"state": trial.state, "stop_reason": trial.stop_reason, "last_step": trial.last_step}
            row["horizon_steps"] = trial.horizon_steps
            row |= {EPOCH: trial.final(EPOCH)} if found.in_epochs and trial.begun else {}
            row |= {name: trial.final(name) for name in COLUMNS}
            rows.append(row)
    return pd.DataFrame(rows)


def summary_lines(found: Finals) -> list[str]:
    """A line a cell: its final values, the difference to the first, and which of its trials are not at their end."""
    rows: list[tuple[str, ...]] = [
        ("cell", "n", "test accuracy, %", "test loss", f"minus {found.cells[0].label}, points [95 %]", "")
    ]
    for cell in found.cells:
        rows.append(
            (
                cell.label,
                str(len(cell.accuracies())),
                mean_words(cell.accuracies()),
                mean_words(cell.losses(), ".3f"),
                "" if cell is found.cells[0] else against_first(cell),
                cell.remark(),
            )
        )
    if len(rows) == 2:
        rows = [(*row[:4], row[5]) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def against_first(cell: CurveCell) -> str:
    """``+0.12 [−1.03, +1.27]``, with the step where that is not the end; a dash where no seed has both."""
    if cell.to_first is None or cell.to_first.difference is None:
        return "–"
    step = "" if cell.to_first.complete else f" at step {thousands(cell.to_first.step)}"
    return f"{cell.to_first.difference}{step}"
