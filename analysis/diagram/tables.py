"""The diagram's numbers as tables with documented columns, and as the few lines that a terminal shows."""

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import pandas as pd

from analysis.diagram.cells import Diagram
from analysis.diagram.grid_text import grid_rows, grid_sentence, is_grid
from analysis.diagram.words import (
    COMPARED_IN_TERMINAL,
    answer,
    by_words,
    contrast_texts,
    event_name,
    standing_text,
    stopped_sentence,
    with_interval,
)
from analysis.stats.intervals import Estimate
from pipeline.ledger.views.records import UNFINISHED
from trainables.engine.events import TIMES, EventKind, Outcome
from trainables.runtime.rows import TrialState

try:
    from rich.cells import cell_len, set_cell_size
except ModuleNotFoundError:  # A bare GPU machine: wide characters are not aligned there.
    cell_len, set_cell_size = len, str.ljust  # type: ignore[assignment]

COMPETING = (EventKind.DIVERGED, EventKind.FROZEN, EventKind.STOPPED)

CELL_COLUMNS = {
    "cell": "the cell in words; here as in every text an apostrophe comes before =, +, - or @, against formulas",
    "<axis>": "its value of each axis that all its trials share; empty where they do not",
    "tau_steps": "the data count up to this step",
    "<event>_threshold": "its column first sustained at this value or beyond",
    "trials": "trials of the sweep in the cell",
    "measured": "of these, how many have measurements",
    "failed": "of these, how many ended with an error",
    "<phase>": "trials in each phase by tau; a phase without an event says no more of it than 'not by tau'",
    "unfinished": "trials that were not followed to tau, and may yet change",
    "<phase>_share": "frequency among the trials whose phase is known",
    "<phase>_low, <phase>_high": "its 95 % interval (Clopper-Pearson)",
    "diverged, frozen, stopped": "trials with this competing event before the main event; stopped: on the success of "
    "other events",
    "<event>_by_tau": "P(event by tau)",
    "<event>_by_tau_low, <event>_by_tau_high": "its 95 % interval",
    "<event>_by_tau_method": "Clopper-Pearson where it is known of every trial by tau; else the CIF, from the lower "
    "bound with none of the unknown trials to the upper bound with all",
    "<event>_given_steps": "geometric mean of the time, given that the event comes by tau",
    "<event>_given_low_steps, <event>_given_high_steps": "its 95 % interval (Student's, of logarithms); empty for one "
    "trial, and where it is not known of every trial",
    "<event>_rmst_steps": "restricted mean time to the event, the integral of 1 - CIF from 0 to tau",
    "<event>_rmst_low_steps, <event>_rmst_high_steps": "its 95 % interval (Bayesian bootstrap over seeds, "
    "which leaves room for seeds that never have it)",
    "<event>_median_steps": "where the CIF crosses one half; empty: not by tau",
    "delay_trials": "trials that have the earlier of the two events that a phase compares; only where one does",
    "delay_median_steps": "median of the main minus the earlier event, over these trials; empty where fewer than half "
    "have the main one as far as they were followed",
    "delay_above_steps": "what that median is then above",
    "<event>_estimator": "Aalen-Johansen where the intervals are short, else Turnbull; none where "
    "too few trials were followed to tau",
}
"""What the columns of cells.csv mean; ``<event>`` is each declared one, ``<phase>`` each declared one."""

TRIAL_COLUMNS = {
    "trial_id": "the trial's name in the ledger and in MLflow",
    "cell": "the cell in words",
    "<axis>": "the trial's coordinates; empty where it does not have the axis",
    "state, stop_reason, last_step": "how far it got; 'missing' is a trial that was not begun",
    "phase": "its phase by tau",
    "<event>_kind": "event, censored, or the competing event (diverged, frozen, stopped), as known by tau",
    "<event>_low_steps, <event>_high_steps": "the event, or its competitor, lies in (low, high]; censored: not by low",
    "<event>_first_crossing_steps": "the first measurement at the threshold, sustained or not",
    "<event>_relapse_steps": "the first measurement short of it after it was sustained",
    "<event>_decided_steps": "the measurement at which the kind was known; censored: the last one",
    "delay_low_steps, delay_high_steps": "main minus earlier event lies in (low, high]; high is inf where the main one "
    "did not come; only where a phase compares two events",
    "delay_ratio_low, delay_ratio_high": "main / earlier event likewise",
}
"""What the columns of outcomes.csv mean; all times are steps."""


def cells_table(diagram: Diagram) -> pd.DataFrame:
    """One row a cell, with the columns that :data:`CELL_COLUMNS` explains."""
    axes = [axis for axis in diagram.sweep.axes() if any(axis in cell.coordinates for cell in diagram.cells)]
    rows = []
    for cell in diagram.cells:
        row: dict[str, Any] = {"cell": cell.label} | {axis: cell.coordinates.get(axis) for axis in axes}
        row |= {
            "tau_steps": diagram.tau_steps,
            **{f"{rule.name}_threshold": rule.shown for rule in diagram.events},
            "trials": len(cell.trials),
            "measured": cell.measured,
            "failed": sum(placed.trial.state == TrialState.FAILED for placed in cell.trials),
        }
        row |= {phase.replace(" ", "_"): cell.count(phase) for phase in (*cell.shares, UNFINISHED)}
        for phase, share in cell.shares.items():
            row |= _columns(f"{phase.replace(' ', '_')}_share", share, "")
        row |= {kind.value: cell.ended_by(kind) for kind in COMPETING}
        for name, summary in cell.events.items():
            row |= _columns(f"{name}_by_tau", summary.by_tau, "") | {f"{name}_by_tau_method": summary.by_tau.method}
            row |= _columns(f"{name}_given", summary.given_steps, "_steps")
            row |= _columns(f"{name}_rmst", summary.restricted_mean_steps, "_steps")
            row |= {f"{name}_median_steps": summary.median_steps, f"{name}_estimator": summary.estimator}
        if cell.delay is not None:
            row |= {f"delay_{field.name}": getattr(cell.delay, field.name) for field in fields(cell.delay)}
        rows.append(row)
    return pd.DataFrame(rows)


def _columns(stem: str, estimate: Estimate, unit: str) -> dict[str, float]:
    short = stem.removesuffix("_share")
    return {f"{stem}{unit}": estimate.value, f"{short}_low{unit}": estimate.low, f"{short}_high{unit}": estimate.high}


def trials_table(diagram: Diagram) -> pd.DataFrame:
    """One row a trial, in the sweep's order within each cell, with the columns of :data:`TRIAL_COLUMNS`."""
    rows = []
    rules = tuple(rule.replace(thresholds=(rule.shown,)) for rule in diagram.events)
    for cell in diagram.cells:
        for placed in cell.trials:
            trial = placed.trial
            row: dict[str, Any] = {"trial_id": trial.trial_id, "cell": cell.label}
            row |= {axis: trial.coordinates.get(axis) for axis in diagram.sweep.axes()}
            row |= {"state": trial.state, "stop_reason": trial.stop_reason, "last_step": trial.last_step}
            row["phase"] = placed.phase
            for rule in diagram.events:
                event = placed.events.get(rule.name)
                for field in ("kind", *TIMES):
                    row[f"{rule.name}_{field}"] = getattr(event, field) if event else None
            if diagram.earlier and placed.events:
                pair = diagram.earlier.name, diagram.main.name
                outcome = Outcome(rules, tuple(placed.events.values()))
                row["delay_low_steps"], row["delay_high_steps"] = outcome.delay(*pair)
                row["delay_ratio_low"], row["delay_ratio_high"] = outcome.delay_ratio(*pair)
            rows.append(row)
    return pd.DataFrame(rows)


def summary_lines(diagram: Diagram) -> list[str]:
    """A grid of texts for a grid of cells, or a line a cell; and what the arms' comparison says."""
    cells = (
        [grid_sentence(diagram), *aligned(grid_rows(diagram))] if is_grid(diagram) else aligned(summary_rows(diagram))
    )
    return [
        *cells,
        *filter(None, [answer(diagram)]),
        *contrast_texts(diagram, most=COMPARED_IN_TERMINAL),
        *filter(None, [stopped_sentence(diagram)]),
    ]


def summary_rows(diagram: Diagram) -> list[tuple[str, ...]]:
    """The titles of the columns, and a row of texts for each cell."""
    tau = diagram.tau_steps
    name = event_name(diagram.main)
    titles = (
        "cell",
        "n",
        by_words(diagram.main, str(tau), "<="),
        f"{name} given that",
        f"RMST({tau})",
        f"without {name}",
    )
    rows = []
    for cell in diagram.cells:
        share, mean = cell.main.by_tau, cell.main.restricted_mean_steps
        known = not math.isnan(share.value)
        rows.append(
            (
                cell.label,
                str(cell.measured),
                with_interval(share, ".2f") if known else cell.unknown,
                with_interval(cell.main.given_steps, ".0f"),
                with_interval(mean, ".0f") if known else cell.unknown,
                standing_text(diagram, cell),
            )
        )
    # Where no cell has the event, or every trial has it, a column would say nothing.
    told = [column for column in zip(titles, *rows, strict=True) if any(text not in ("", "–") for text in column[1:])]
    return [*zip(*told, strict=True)]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of texts as lines whose columns are as wide as a terminal shows them."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(set_cell_size, row, widths)).rstrip() for row in rows]
