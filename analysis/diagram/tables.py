"""The diagram's numbers as tables with documented columns, and as the few lines that a terminal shows."""

import math
from typing import Any

import pandas as pd

from analysis.data.sweep import MISSING
from analysis.diagram.cells import EVENTS, UNFINISHED, ArmContrast, Diagram
from analysis.stats.contrasts import pairs_needed
from analysis.stats.intervals import LEVEL, Estimate
from analysis.stats.survival import Summary
from trainables.engine.events import CENSORED, DIVERGED, FROZEN, PHASES, Event, Outcome, rises_to
from trainables.runtime.rows import TrialState

CELL_COLUMNS = {
    "cell": "the cell in words",
    "<axis>": "its value of each axis that all its trials share; empty where they do not",
    "tau_steps": "everything is told as it is known at this step",
    "train_threshold": "t_mem: the training accuracy first sustained at or above this",
    "test_threshold": "t_gen: the test accuracy first sustained at or above this",
    "trials": "trials of the sweep in the cell",
    "measured": "of these, how many have measurements",
    "failed": "of these, how many ended by an error",
    "<phase>": "trials in each phase by tau; memorization is no more than 'not by tau'",
    "unfinished": "trials that were not followed to tau, and may yet change",
    "<phase>_share": "frequency among the trials whose phase is known",
    "<phase>_low, <phase>_high": "its 95 % Wilson interval",
    "diverged, frozen": "trials whose competing event came before t_gen",
    "<event>_by_tau": "P(event by tau)",
    "<event>_by_tau_low, <event>_by_tau_high": "its 95 % interval",
    "<event>_by_tau_method": "Wilson where every trial's fate by tau is known; else the CIF, from Wilson's lower bound "
    "with none of the unknown trials to his upper bound with all",
    "<event>_rmst_steps": "restricted mean time to the event, the integral of 1 - CIF from 0 to tau",
    "<event>_rmst_low_steps, <event>_rmst_high_steps": "its 95 % bootstrap interval over seeds; empty where all agree",
    "<event>_median_steps": "where the CIF crosses one half; empty: not by tau",
    "<event>_estimator": "Aalen-Johansen on upper ends where the intervals are short, else Turnbull; none where "
    "too few trials were followed to tau",
}
"""What the columns of cells.csv mean; ``<event>`` is t_mem or t_gen."""

TRIAL_COLUMNS = {
    "trial_id": "the trial's name in the ledger and in MLflow",
    "cell": "the cell in words",
    "<axis>": "the trial's coordinates; empty where it does not have the axis",
    "state, stop_reason, last_step": "its life so far; 'missing' is a trial that was not begun",
    "phase": "its phase by tau",
    "<event>_kind": "event, censored, diverged or frozen, as known by tau",
    "<event>_low_steps, <event>_high_steps": "the event, or what kept it, lies in (low, high]; censored: not by low",
    "<event>_first_crossing_steps": "the first measurement at or above the threshold, sustained or not",
    "<event>_relapse_steps": "the first measurement below it after it was sustained",
    "delay_low_steps, delay_high_steps": "t_gen - t_mem lies in (low, high]; high is inf where t_gen did not come",
    "delay_ratio_low, delay_ratio_high": "t_gen / t_mem likewise",
}
"""What the columns of outcomes.csv mean; all times are steps."""


def cells_table(diagram: Diagram) -> pd.DataFrame:
    """One row a cell, with the columns that :data:`CELL_COLUMNS` explains."""
    axes = [axis for axis in diagram.frame.axes() if any(axis in cell.coordinates for cell in diagram.cells)]
    rows = []
    for cell in diagram.cells:
        row: dict[str, Any] = {"cell": cell.label} | {axis: cell.coordinates.get(axis) for axis in axes}
        row |= {
            "tau_steps": diagram.tau_steps,
            "train_threshold": diagram.frame.train_threshold,
            "test_threshold": diagram.frame.test_threshold,
            "trials": len(cell.trials),
            "measured": len(cell.trials) - cell.count(MISSING),
            "failed": sum(placed.trial.state == TrialState.FAILED for placed in cell.trials),
        }
        row |= {phase.replace(" ", "_"): cell.count(phase) for phase in (*PHASES, UNFINISHED)}
        for phase, share in cell.shares.items():
            row |= _columns(f"{phase.replace(' ', '_')}_share", share, "")
        row |= {DIVERGED: cell.ended_by(DIVERGED), FROZEN: cell.ended_by(FROZEN)}
        for name in EVENTS:
            summary: Summary = getattr(cell, name)
            row |= _columns(f"{name}_by_tau", summary.by_tau, "") | {f"{name}_by_tau_method": summary.by_tau.method}
            row |= _columns(f"{name}_rmst", summary.restricted_mean_steps, "_steps")
            row |= {f"{name}_median_steps": summary.median_steps, f"{name}_estimator": summary.estimator}
        rows.append(row)
    return pd.DataFrame(rows)


def _columns(stem: str, estimate: Estimate, unit: str) -> dict[str, float]:
    short = stem.removesuffix("_share")
    return {f"{stem}{unit}": estimate.value, f"{short}_low{unit}": estimate.low, f"{short}_high{unit}": estimate.high}


def trials_table(diagram: Diagram) -> pd.DataFrame:
    """One row a trial, in the sweep's order within each cell, with the columns of :data:`TRIAL_COLUMNS`."""
    rows = []
    for cell in diagram.cells:
        for placed in cell.trials:
            trial = placed.trial
            row: dict[str, Any] = {"trial_id": trial.trial_id, "cell": cell.label}
            row |= {axis: trial.coordinates.get(axis) for axis in diagram.frame.axes()}
            row |= {"state": trial.state, "stop_reason": trial.stop_reason, "last_step": trial.last_step}
            row["phase"] = placed.phase
            for name in EVENTS:
                event: Event | None = getattr(placed, name)
                for field in ("kind", "low_steps", "high_steps", "first_crossing_steps", "relapse_steps"):
                    row[f"{name}_{field}"] = getattr(event, field) if event else None
            if placed.t_mem and placed.t_gen:
                # The headline names lead Outcome to the thresholds that were chosen here.
                rules = (
                    rises_to("train_accuracy", placed.t_mem.threshold, name="t_mem"),
                    rises_to("test_accuracy", placed.t_gen.threshold, name="t_gen"),
                )
                pair = Outcome(rules, (placed.t_mem, placed.t_gen))
                row["delay_low_steps"], row["delay_high_steps"] = pair.delay()
                row["delay_ratio_low"], row["delay_ratio_high"] = pair.delay_ratio()
            rows.append(row)
    return pd.DataFrame(rows)


def summary_lines(diagram: Diagram) -> list[str]:
    """A line a cell, and what the arms' comparison says."""
    tau = diagram.tau_steps
    rows = [("cell", "n", f"P(t_gen <= {tau})", f"RMST({tau})", "median")]
    for cell in diagram.cells:
        share, mean = cell.t_gen.by_tau, cell.t_gen.restricted_mean_steps
        known = not math.isnan(share.value)
        rows.append(
            (
                cell.label,
                str(len(cell.trials) - cell.count(MISSING)),
                with_interval(share, ".2f") if known else "unfinished",
                with_interval(mean, ".0f") if known else "unfinished",
                median_text(cell.t_gen.median_steps, known=known),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return lines + [contrast_text(found, tau) for found in diagram.contrasts if found.declared]


def with_interval(estimate: Estimate, style: str) -> str:
    """``0.60 [0.23, 0.88]``; the interval is left out where there is none."""
    if math.isnan(estimate.value):
        return "–"
    if math.isnan(estimate.low):
        return f"{estimate.value:{style}}"
    return f"{estimate.value:{style}} [{estimate.low:{style}}, {estimate.high:{style}}]"


def median_text(median_steps: float, *, known: bool = True) -> str:
    """``420``, or that it did not come by tau; a dash where that is not known."""
    if not known:
        return "–"
    return "not by τ" if math.isnan(median_steps) else f"{median_steps:.0f}"


def event_text(event: Event) -> str:
    """``(407, 427]``, ``frozen (919, 964]`` or ``not by 1500``."""
    if event.kind == CENSORED:
        return f"not by {event.low_steps:.0f}"
    what = "" if event.occurred else f"{event.kind} "
    return f"{what}({event.low_steps:.0f}, {event.high_steps:.0f}]"


def contrast_text(found: ArmContrast, tau_steps: int) -> str:
    """One comparison in words, with what its number of pairs can and cannot show."""
    contrast = found.contrast
    text = (
        f"{found.text}: {with_interval(contrast.difference_steps, '+.0f')} steps of RMST({tau_steps}), "
        f"{contrast.pairs} paired seeds, p = {contrast.p:.3g}"
    )
    if not found.declared:
        return f"{text} (Holm: {contrast.p_holm:.3g}, exploratory)"
    least = 2.0 ** (1 - contrast.pairs)
    if least >= 1 - LEVEL:
        text += f" ({contrast.pairs} pairs cannot reach p < {1 - LEVEL:.2g}: at best {least:.3g}; {pairs_needed()} can)"
    return text
