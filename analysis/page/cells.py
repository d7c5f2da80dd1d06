"""The cells of the diagram as the page shows them: a list of strips over time, or a grid of tiles.

What is drawn is computed in :mod:`analysis.diagram.marks` and :mod:`analysis.diagram.tiles`, as for the picture.
"""

import math
from collections.abc import Sequence
from typing import Any

from analysis.diagram import marks
from analysis.diagram.cells import Cell, Diagram
from analysis.diagram.tiles import Tiles, tiles
from analysis.diagram.words import by_words, event_name, event_text, with_interval
from analysis.drawing import style
from analysis.page.svg import HATCHES, Scale, number, paint
from analysis.stats.intervals import Estimate

LANE_PX, LEAST_LANE_PX, SEEDS_PX, SUMMARY_PX = 9.0, 1.5, 108.0, 22
"""The height of a seed in a strip, for many seeds less; of all seeds, and of what they say together."""
NEAR = 13.0
"""Ticks nearer to the last one than this, in percent, have no room for their text in a narrow window."""
LABEL_REM = (6.0, 15.0)
"""The least and the most width of the labels of strips."""
COLOURS_IN_BAR = 16
LONG = 7
"""The text of a tile with more letters is written small."""


def strips(diagram: Diagram) -> dict[str, Any]:
    """A row of cells: every seed's events along a time axis, the restricted mean, and the phases."""
    axis = marks.time_axis(diagram)
    scale = Scale(axis.floor, axis.ceiling, axis.logarithmic)
    stems = list(marks.stems(diagram, axis))
    tau = scale.place(diagram.tau_steps)
    ticks = [(scale.place(tick), number(tick)) for tick in axis.ticks]
    order = sorted(range(len(diagram.cells)), key=lambda index: diagram.cells[index].x)
    longest = max(len(cell.label) for cell in diagram.cells)
    return {
        "label_rem": round(min(max(0.58 * longest, LABEL_REM[0]), LABEL_REM[1]), 1),
        "tau": tau,
        "ticks": [(place, text, _is_minor(place, text, tau)) for place, text in ticks],
        "unit": f"steps{' (log scale)' if axis.logarithmic else ''}",
        "rows": [
            _strip(diagram, index, [stem for stem in stems if stem.cell == index], scale, place)
            for place, index in enumerate(order)
        ],
        "legend": legend(marks.time_legend(diagram, stems)),
        "phases": legend(marks.phase_legend(diagram, probability=True)),
    }


def _is_minor(place: float, text: str, tau: float) -> bool:
    """Whether a tick has no room for its text in a narrow window: near to the last one, or no power of ten."""
    return place != tau and (tau - place < NEAR or text.strip("0") not in ("1", ""))


def _strip(diagram: Diagram, index: int, stems: list[marks.Stem], scale: Scale, row: int) -> dict[str, Any]:
    cell = diagram.cells[index]
    lane = max(LEAST_LANE_PX, min(LANE_PX, SEEDS_PX / max(1, len(cell.trials))))
    seeds = []
    for number_, stem in enumerate(stems):
        (main, earlier) = stem.spans
        bars = [
            (scale.place(low), scale.place(high), paint(colour))
            for (low, high), colour in ((earlier, marks.EARLIER_COLOUR), (main, marks.MAIN_COLOUR))
            if not math.isnan(low)
        ]
        seeds.append(
            {
                "y": round((number_ + 0.5) * lane + 3, 1),
                "line": None if math.isnan(stem.bottom) else (scale.place(stem.bottom), scale.place(stem.top)),
                "bars": bars,
                "end": (scale.place(stem.top), marks.ENDS[stem.end]) if stem.end else None,
                "says": _seed_text(diagram, stem),
            }
        )
    height = round(len(stems) * lane + 6)
    summary = None
    mean, given = cell.main.restricted_mean_steps, cell.main.given_steps
    if not math.isnan(mean.value):
        intervals = [
            (scale.place(each.low), scale.place(each.high)) if not math.isnan(each.low) else None
            for each in (mean, given)
        ]
        ends = [end for interval in intervals if interval for end in interval] or [scale.place(mean.value)]
        before = max(ends) > 80 and min(ends) > 100 - max(ends)  # the number stands where there is more room
        summary = {
            "y": height + SUMMARY_PX / 2 - 3,
            "mean": intervals[0],
            "given": intervals[1],
            "at": scale.place(mean.value),
            "text": f"{mean.value:.0f}",
            "before": before,
            "beside": min(ends) if before else max(ends),
        }
    return {
        **_face(diagram, index),
        "row": row,
        "height": height + SUMMARY_PX,
        "thick": round(min(6.0, 0.7 * lane), 1),
        "thin": round(min(1.2, 0.4 * lane), 1),
        "seeds": seeds,
        "summary": summary,
        "share": _percent(cell.main.by_tau),
    }


def _seed_text(diagram: Diagram, stem: marks.Stem) -> str:
    """``seed 3: t_mem (24, 27], t_gen (407, 427]; grokking``."""
    events = (f"{event_name(rule)} {event_text(stem.placed.events[rule.name])}" for rule in diagram.drawn)
    return f"{stem.name}: {', '.join(events)}; {marks.phase_words(diagram, stem.placed.phase)}"


def grid(diagram: Diagram) -> dict[str, Any]:
    """Grids of cells, one a panel: tiles with a number, P by tau, and a bar of phases; rows from the top down."""
    assert diagram.y is not None
    shown = tiles(diagram)
    count = len(diagram.y.ticks)
    # Numbers grow upwards; names read from the top down.
    order = range(count)[::-1] if diagram.y.numeric else range(count)
    places = {(cell.panel, cell.y, cell.x): index for index, cell in enumerate(diagram.cells)}
    panels = []
    for panel, title in enumerate(diagram.facet.ticks if diagram.facet else [""]):
        rows = []
        for row, y in enumerate(order):
            row_tiles = [
                None
                if (index := places.get((panel, y, x))) is None
                else _tile(diagram, shown, index) | {"row": panel * count + row, "column": x}
                for x in range(len(diagram.x.ticks))
            ]
            rows.append((diagram.y.ticks[y], row_tiles))
        panels.append((title, rows))
    return {
        "panels": panels,
        "ticks": diagram.x.ticks,
        "x": diagram.x.label,
        "y": diagram.y.label,
        "missing": len(diagram.cells) < len(panels) * count * len(diagram.x.ticks),
        "bar": _colour_bar(shown),
        "phases": legend([*marks.phase_legend(diagram), *shown.legend]),
    }


def _tile(diagram: Diagram, shown: Tiles, index: int) -> dict[str, Any]:
    colour, reached = shown.colours[index], diagram.cells[index].main.by_tau
    known = not math.isnan(reached.value)
    return {
        **_face(diagram, index),
        "colour": colour,
        "ink": style.ink_on(colour),
        "open": diagram.cells[index].uncertain,
        "number": shown.texts[index],
        "long": len(shown.texts[index]) > LONG,
        "share": f"P {reached.value:.2f}" if known else "",
        "interval": _interval(reached) if known else "",
    }


def _colour_bar(shown: Tiles) -> dict[str, Any] | None:
    """The colours of the tiles along their scale; None where they show phases."""
    if (scale := shown.scale) is None:
        return None
    low, high = scale.low, scale.high
    parts = [part / (COLOURS_IN_BAR - 1) for part in range(COLOURS_IN_BAR)]
    values = [low * (high / low) ** part if scale.logarithmic else low + part * (high - low) for part in parts]
    places = Scale(low, high, scale.logarithmic)
    return {
        "label": shown.label,
        "colours": ", ".join(map(scale.colour, values)),
        "ticks": [(places.place(tick), f"{tick:{shown.form.replace('d', '.0f')}}") for tick in scale.ticks],
    }


def _percent(share: Estimate) -> dict[str, float] | None:
    """A share and its interval in percent; None where it is not known, and no interval where there is none."""
    if math.isnan(share.value):
        return None
    ends = {"low": share.low, "high": share.high, "at": share.value}
    return {name: round(100 * (share.value if math.isnan(end) else end), 2) for name, end in ends.items()}


def _interval(estimate: Estimate) -> str:
    return "" if math.isnan(estimate.low) else f"[{estimate.low:.2f}, {estimate.high:.2f}]"


def _face(diagram: Diagram, index: int) -> dict[str, Any]:
    """What both kinds of cells have: a name, a label for who cannot see it, and the bar of phases."""
    cell = diagram.cells[index]
    return {
        "index": index,
        "label": cell.label,
        "says": _says(diagram, cell),
        "n": cell.measured,
        "parts": [
            {
                "number": part.number,
                "shown": part.high - part.low >= marks.NUMBERED,
                "words": f"{part.number} {part.words}",
                "look": (part.colour, part.edge, HATCHES[part.hatch]),
                "ink": style.ink_on(part.colour),
            }
            for part in marks.segments(diagram, cell)
        ],
    }


def _says(diagram: Diagram, cell: Cell) -> str:
    if math.isnan(cell.main.by_tau.value):
        return f"{cell.label}: {cell.unknown}; {marks.phases_text(diagram, cell)}"
    return (
        f"{cell.label}: {by_words(diagram.main, str(diagram.tau_steps))} {with_interval(cell.main.by_tau, '.2f')}, "
        f"RMST {with_interval(cell.main.restricted_mean_steps, '.0f')}; {marks.phases_text(diagram, cell)}"
    )


def legend(entries: list[tuple[str, marks.Symbol]]) -> list[dict[str, Any]]:
    """The entries of a legend: swatches with their look, other symbols as they are."""
    return [
        {"label": label, "look": (symbol.fill, symbol.stroke, HATCHES[symbol.hatch]), "symbol": symbol}
        for label, symbol in entries
    ]


def first_choice(values: Sequence[float]) -> int:
    """The cell that is open before anybody chooses: the one with the smallest value."""
    return min(range(len(values)), key=lambda index: (math.isnan(values[index]), values[index]))
