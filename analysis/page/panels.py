"""Curves of waiting and what the axes do, as charts of the page; their numbers are those of the pictures."""

import math
from typing import Any

import numpy as np

from analysis.diagram.cells import Diagram
from analysis.diagram.waiting import waiting_picture
from analysis.drawing.effects import EffectPanel, EffectRow, ratio_ticks, reach
from analysis.drawing.waiting import MOST_PANELS, WaitingPanel, WaitingPicture
from analysis.page.svg import Scale, number, paint, path
from analysis.stats.waiting import WaitingCurve


def waiting_panels(diagram: Diagram) -> dict[str, Any] | None:
    """A panel a cell with its curves and its band; None for more cells than a page shows."""
    if len(diagram.cells) > MOST_PANELS:
        return None
    drawn = waiting_picture(diagram)
    scale = Scale(max(drawn.floor, 0.7) if drawn.logarithmic else drawn.floor, drawn.tau, drawn.logarithmic)
    panels = [_waiting(panel, cell.label, scale) for panel, cell in zip(drawn.panels, diagram.cells, strict=True)]
    panels.sort(key=lambda panel: (panel["row"], panel["column"]))
    return {
        "panels": panels,
        "all": "".join(panel["main"] for panel in panels),
        "ticks": _time_ticks(drawn, scale),
        "main": drawn.main,
        "earlier": drawn.earlier,
        "unit": f"steps{' (log scale)' if drawn.logarithmic else ''}",
        "note": drawn.notes[0],
    }


def _waiting(panel: WaitingPanel, label: str, scale: Scale) -> dict[str, Any]:
    band = ""
    if panel.main is not None:
        across = scale.at(_held(panel.main, scale.low))
        low, high = (_corners(values) for values in (panel.main.low, panel.main.high))
        band = path(np.concatenate([across, across[::-1]]), np.concatenate([low, high[::-1]]), closed=True)
    main, earlier = ("" if curve is None else _line(curve, scale) for curve in (panel.main, panel.earlier))
    return {
        "label": label,
        "note": panel.note,
        "band": band,
        "main": main,
        "earlier": earlier,
        "row": panel.row,
        "column": panel.column,
    }


def _line(curve: WaitingCurve, scale: Scale) -> str:
    return path(scale.at(_held(curve, scale.low)), _corners(curve.incidence))


def _held(curve: WaitingCurve, floor: float) -> np.ndarray:
    """The steps at the corners of a step curve (2 J - 1,)."""
    return np.maximum(np.repeat(curve.steps, 2)[1:], floor)


def _corners(values: np.ndarray) -> np.ndarray:
    return np.repeat(values, 2)[:-1]


def _time_ticks(drawn: WaitingPicture, scale: Scale) -> list[tuple[float, str]]:
    if not drawn.logarithmic:
        return [(scale.place(value), number(value)) for value in (0.0, drawn.tau)]
    ticks = [10.0**power for power in range(12) if scale.low <= 10.0**power < 0.3 * drawn.tau]
    return [(scale.place(value), number(value)) for value in (*ticks, drawn.tau)]


def effect_panels(panels: list[EffectPanel]) -> list[dict[str, Any]]:
    """Rows with intervals: points around 1 on a logarithmic scale, or bars from 0."""
    return [_effects(panel) for panel in panels]


def _effects(panel: EffectPanel) -> dict[str, Any]:
    low, high = reach(panel)
    scale = Scale(low, high, panel.ratio)
    ticks = [(scale.place(tick), f"{tick:g}×") for tick in ratio_ticks(low, high)] if panel.ratio else scale.ticks(5)
    return {
        "title": panel.title,
        "xlabel": panel.xlabel,
        "ratio": panel.ratio,
        "one": scale.place(1.0) if panel.ratio else 0.0,
        "ticks": ticks,
        "rows": [_effect(row, scale) for row in panel.rows],
    }


def _effect(row: EffectRow, scale: Scale) -> dict[str, Any]:
    known = not math.isnan(row.estimate.low)
    return {
        "label": row.label,
        "text": row.text,
        "colour": paint(row.colour),
        "at": scale.place(row.estimate.value),
        "interval": (scale.place(row.estimate.low), scale.place(row.estimate.high)) if known else None,
    }
