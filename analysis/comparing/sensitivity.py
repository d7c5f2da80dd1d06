"""Would another threshold, or a shorter horizon, order the cells of a diagram in another way?

The map is estimated again at every declared threshold of the main event, and at parts of tau.  Kendall's tau says how
far each orders the cells as the diagram does: 1 the same order, 0 no relation.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.diagram.cells import Diagram
from analysis.diagram.words import event_name
from analysis.stats.survival import CensoredTimes, incidence
from trainables.engine.events import Event, EventKind

PARTS = (0.5, 0.75)
"""Of tau."""
FEWEST_CELLS = 3
SENSITIVITY_COLUMNS = {
    "threshold": "of the main event; the first rows are the diagram's own",
    "tau_steps": "the data count up to this step",
    "cell": "the cell in words",
    "<axis>": "its value of each axis that all its trials share; empty where they do not",
    "by_tau": "P(event by tau)",
    "rmst_steps": "restricted mean time to the event up to tau; empty where it is not known to tau",
}
"""What the columns of sensitivity.csv mean."""


@dataclass(frozen=True)
class Variant:
    """The map at one threshold and horizon, cell by cell."""

    threshold: float
    tau_steps: int
    by_tau: tuple[float, ...]
    rmst_steps: tuple[float, ...]


def sensitivity(diagram: Diagram) -> list[Variant]:
    """The diagram's own map, then its variants."""
    shown, tau = diagram.main.shown, diagram.tau_steps
    thresholds = [each for each in diagram.main.thresholds if each != shown]
    variants = [(shown, tau), *((each, tau) for each in thresholds), *((shown, round(part * tau)) for part in PARTS)]
    return [_variant(diagram, threshold, steps) for threshold, steps in variants if steps > 0]


def _variant(diagram: Diagram, threshold: float, tau_steps: int) -> Variant:
    shares, means = [], []
    for cell in diagram.cells:
        events = [
            placed.trial.event(diagram.main.name, threshold) if _looked_for(diagram, placed.main) else placed.main
            for placed in cell.trials
            if placed.main is not None
        ]
        times = CensoredTimes.of(events, tau_steps)
        known = times.followed_to(tau_steps)
        curve = incidence(times) if known else None
        shares.append(math.nan if curve is None else float(curve.by(tau_steps)[0]))
        means.append(math.nan if curve is None else float(curve.restricted_mean(tau_steps)[0]))
    return Variant(threshold, tau_steps, tuple(shares), tuple(means))


def _looked_for(diagram: Diagram, event: Event) -> bool:
    """Whether anything is known of the event; one of another arm is censored at 0."""
    return event.kind != EventKind.CENSORED or event.low_steps > 0


def sensitivity_table(diagram: Diagram, variants: list[Variant]) -> pd.DataFrame:
    """One row a variant and cell, with the columns of :data:`SENSITIVITY_COLUMNS`."""
    axes = [axis for axis in diagram.sweep.axes() if any(axis in cell.coordinates for cell in diagram.cells)]
    return pd.DataFrame(
        {
            "threshold": each.threshold,
            "tau_steps": each.tau_steps,
            "cell": cell.label,
            **{axis: cell.coordinates.get(axis) for axis in axes},
            "by_tau": each.by_tau[index],
            "rmst_steps": each.rmst_steps[index],
        }
        for each in variants
        for index, cell in enumerate(diagram.cells)
    )


def sensitivity_line(diagram: Diagram, variants: list[Variant]) -> str:
    """How far the variants order the cells alike; empty with too few cells, or where nothing orders them."""
    own, *others = variants
    if len(diagram.cells) < FEWEST_CELLS or not others:
        return ""
    agreements: dict[str, dict[str, float]] = {"threshold": {}, "by step": {}}
    for each in others:
        kind, what = ("by step", each.tau_steps) if each.threshold == own.threshold else ("threshold", each.threshold)
        agreements[kind][f"{what:g}"] = kendall(np.array(own.rmst_steps), np.array(each.rmst_steps))
    if all(math.isnan(value) for values in agreements.values() for value in values.values()):
        return ""
    texts = [
        f"{kind} {', '.join(f'{what}: {value:.2f}' for what, value in values.items())}".replace("nan", "–")
        for kind, values in agreements.items()
        if values
    ]
    return (
        f"the order of the cells by RMST of {event_name(diagram.main)}, against other choices (Kendall's τ, 1: the "
        f"same): {'; '.join(texts)}"
    )


def kendall(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b (1945) over the cells that both know; NaN with fewer than three, or where one orders none.

    >>> kendall(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0]))
    0.333...
    """
    known = np.isfinite(first) & np.isfinite(second)
    if known.sum() < FEWEST_CELLS:
        return math.nan
    signs = [np.sign(np.subtract.outer(values[known], values[known])) for values in (first, second)]
    untied = math.sqrt(float(np.abs(signs[0]).sum()) * float(np.abs(signs[1]).sum()))
    return float((signs[0] * signs[1]).sum()) / untied if untied else math.nan
