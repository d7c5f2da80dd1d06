"""What ``--dry-run`` prints: what would run, what the ledger already has, the predicted cost."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.plan import Plan
from pipeline.plan.planning import predicted_s
from pipeline.spec.space_file import SIZES, LoadedSpace


def summary(plan: Plan, space: LoadedSpace, device_kind: str = "cpu") -> dict[str, Any]:
    """The plan as JSON values: what ``--dry-run --json`` prints, and what :func:`describe` puts into words.

    ``planned = cached + failed + continued + new``.  A space with an objective has no trials beforehand: ``planned``
    is then its budget times its seeds, and the cost is predicted without measured times.
    """
    spec = space.spec
    horizons = [trial.config.horizon_steps for trial in plan.trials] or [spec.base.horizon_steps]
    sizes = [len(cohort.trials) for cohort in plan.cohorts]
    planned, cost_s, wall_s = len(plan.trials), plan.predicted_s, plan.predicted_wall_s
    if spec.objective is not None:
        seeds = 1 if spec.seeds is None else len(spec.seeds)
        planned = max(planned, spec.objective.budget * seeds)  # the budget may have been larger
        left = max(0, planned - len(plan.cached) - len(plan.failed))
        cost_s = left * predicted_s([spec.base], 0, device_kind, {})
        wall_s = cost_s / plan.workers
    return {
        "sweep": space.name,
        "size": space.size,
        "axes": json.loads(spec.axes_json()),
        "horizon_steps": max(horizons),
        "shortest_horizon_steps": min(horizons),
        "suggestions": None if spec.objective is None else spec.objective.budget,
        "planned": planned,
        **counts(plan, planned),
        "reasons": list(plan.reasons),
        "discarded": sorted(plan.discarded),
        "cohorts": len(sizes),
        "largest_cohort": max(sizes, default=0),
        "workers": plan.workers,
        "predicted_s": round(cost_s, 1),
        "predicted_wall_s": round(wall_s, 1),
        "notes": list(plan.notes),
    }


def describe(plan: Plan, space: LoadedSpace, device_kind: str = "cpu") -> list[str]:
    """The plan in words, a line each."""
    values = summary(plan, space, device_kind)
    axes = values["axes"]
    lines = [f"{values['sweep']}: {space.doc.partition(chr(10))[0]}".rstrip(": ")]
    if values["size"] is not None:
        others = ", ".join(f"--size {size}" for size in SIZES if size != values["size"])
        lines.append(f"  size     {values['size']} (the other one: {others})")
    for arm in axes["arms"]:
        lines.append(f"  arm      {arm['name']}: {'; '.join(map(_axis_text, arm['axes'])) or 'one point'}")
    lines += [f"  axis     {_axis_text(axis)}" for axis in axes["axes"]]
    if axes["seeds"]:
        lines.append(f"  seeds    {_listed(axes['seeds'])}")
    shortest, longest = values["shortest_horizon_steps"], values["horizon_steps"]
    lines.append(f"  horizon  {longest if shortest == longest else f'{shortest} to {longest}'} steps")
    if values["suggestions"] is not None:
        kept = f", {values['cached']} in the ledger" if values["cached"] else ""
        kept += f", {values['continued']} to continue" if values["continued"] else ""
        lines.append(f"  trials   {values['planned']}: {values['suggestions']} suggestions by Optuna{kept}")
    else:
        lines.append(f"  trials   {values['planned']}: {counts_text(values)}")
        lines += [f"  why      {reason}" for reason in values["reasons"]]
        if values["cohorts"]:
            lines.append(
                f"  cohorts  {values['cohorts']}, the largest of {count_of(values['largest_cohort'], 'trial')}"
            )
    if values["new"] or values["continued"]:
        cost, wall = duration(values["predicted_s"]), duration(values["predicted_wall_s"])
        lines.append(
            f"  cost     {cost} of training, {wall} on {count_of(values['workers'], 'worker')}, if no trial stops early"
        )
    else:
        lines.append("  cost     none: nothing is left to run")
    return lines + [f"  note     {note}" for note in values["notes"]]


def counts(plan: Plan, planned: int) -> dict[str, int]:
    """How many trials a run finds and how many it trains; they sum to ``planned``."""
    cached, failed = len(plan.cached), len(plan.failed)
    continued = sum(len(cohort.trials) for cohort in plan.cohorts if cohort.start_step)
    return {"cached": cached, "failed": failed, "continued": continued, "new": planned - cached - failed - continued}


def counts_text(numbers: Mapping[str, Any]) -> str:
    """``12 in the ledger, 0 to continue, 6 new``."""
    failed = f", {numbers['failed']} failed before (--rerun-failed runs them again)" if numbers["failed"] else ""
    return f"{numbers['cached']} in the ledger, {numbers['continued']} to continue, {numbers['new']} new{failed}"


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 20 min``, ``4 d 6 h``: two units at most."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def about(seconds: float) -> str:
    """``about 12 min``, or ``under 1 s``."""
    return duration(seconds) if seconds < 1 else f"about {duration(seconds)}"


def count_of(number: int, what: str) -> str:
    """``1 trial``, ``2 trials``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _axis_text(axis: Mapping[str, Any]) -> str:
    return f"{axis['path']} = {_listed(axis['values']) if axis['kind'] == 'grid' else axis['domain']}"


def _listed(values: Sequence[Any]) -> str:
    """The values, long lists by their ends."""
    texts = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    if len(texts) > 12:
        texts = [*texts[:4], f"... ({len(texts)} values)", texts[-1]]
    return ", ".join(texts)
