"""The report of a sweep without events: where each setting ends, seed by seed, and the curves that lead there."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.curves.finals import CELL_COLUMNS, TRIAL_COLUMNS, CurveCell, Finals, Quantity, summary_rows
from analysis.data.sweep import Trial, thousands
from analysis.diagram.layout import setting_words
from analysis.diagram.marks import MEAN_SYMBOL, Symbol
from analysis.drawing.page import render
from analysis.drawing.style import GEN_COLOUR
from analysis.page.cells import first_choice, legend
from analysis.page.curves import cell_curves, trials_shown
from analysis.page.frame import frame
from analysis.page.svg import Scale
from analysis.stats.paired import mean_words
from trainables.engine.events import StopReason

SEED_SYMBOL = Symbol("circle", "white", GEN_COLOUR)
READING = (
    "A setting's value is that at the last step of its runs, over the seeds that got there; ± is the standard "
    "deviation over seeds. Settings are compared with the first one seed by seed: the mean of the differences with "
    "Student's 95 % interval. A run that diverged has no final value and is counted instead; runs that have not "
    "reached their end are named beside the numbers."
)


def write_finals_page(results: Finals, path: Path, *, options: Sequence[str] = ()) -> None:
    """Write the report of final values as one HTML file.

    :param options: of the command that makes the page again.
    """
    path.write_text(finals_page(results, options), encoding="utf-8")


def finals_page(results: Finals, options: Sequence[str] = ()) -> str:
    """The page's HTML."""
    titles, *rows = summary_rows(results)
    until = max(trial.horizon_steps for cell in results.cells for trial in cell.trials)
    named = [[(trial, _name(cell, trial)) for trial in cell.trials] for cell in results.cells]
    means = [
        float(np.mean(values)) if (values := cell.values(results.headline)) else math.nan for cell in results.cells
    ]
    best = [-mean for mean in means] if results.headline.larger_is_better else means
    curves = cell_curves(results.sweep, named, results.headline.column, until_steps=until, logarithmic=False)
    return render(
        "page/page.html.j2",
        **frame(results.sweep, options),
        title=results.title,
        subtitle=results.subtitle,
        answer=_answer(results, first_choice(best)),
        tau=until,
        first=first_choice(best),
        row=None,
        grid=None,
        ends=_ends(results, means),
        uneven=False,
        panels=[_panel(results, cell) for cell in results.cells],
        curves=curves,
        compared=(),
        waits=False,
        waiting=None,
        effects=[],
        effect_texts=[],
        effects_note="",
        sensitivity="",
        cells_titles=[*titles[:-1], titles[-1] or "not at the end"],
        cells_rows=rows,
        reading=[READING],
        files={"cells.csv": CELL_COLUMNS, "finals.csv": TRIAL_COLUMNS},
    )


def _name(cell: CurveCell, trial: Trial) -> str:
    """What distinguishes a trial from the others of its cell: its seed."""
    own = {name: value for name, value in trial.coordinates.items() if name not in cell.setting}
    return setting_words(own) or trial.trial_id


def _answer(results: Finals, best: int) -> str:
    """``test accuracy is best with StableMax CE: 57.00 ± 5.27 %, 3 seeds``; empty where no order is better."""
    cell, quantity = results.cells[best], results.headline
    values = cell.values(quantity)
    if not values or quantity.larger_is_better is None:
        return ""
    where = f"best with {cell.label}: " if len(results.cells) > 1 else ""
    unit = " %" if quantity.share else ""
    seeds = f"{len(values)} seed{'s' if len(values) > 1 else ''}"
    said = f"{quantity.words} is {where}{mean_words(values, quantity.style)}{unit}, {seeds}"
    return f"{said} ({remark})" if (remark := cell.remark()) else said


def _ends(results: Finals, means: list[float]) -> dict[str, Any]:
    """A row a cell: the final value of each seed, and their mean."""
    quantity = results.headline
    known = [value for cell in results.cells for value in cell.values(quantity)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    scale = Scale(low - room, high + room)
    return {
        "title": quantity.title,
        "ticks": scale.ticks(6),
        "legend": legend([("a seed", SEED_SYMBOL), ("their mean", MEAN_SYMBOL)]),
        "seed_symbol": SEED_SYMBOL,
        "rows": [
            {
                "index": index,
                "row": index,
                "label": cell.label,
                "text": mean_words(cell.values(quantity), quantity.style),
                "remark": cell.remark(),
                "says": f"{cell.label}: {quantity.title} {mean_words(cell.values(quantity), quantity.style)}",
                "seeds": [scale.place(value) for value in cell.values(quantity)],
                "mean": None if math.isnan(mean) else scale.place(mean),
            }
            for index, (cell, mean) in enumerate(zip(results.cells, means, strict=True))
        ],
    }


def _panel(results: Finals, cell: CurveCell) -> dict[str, Any]:
    """What the page says of the chosen cell: its numbers, and a line for each of its trials."""
    facts = {each.title: mean_words(cell.values(each), each.style) for each in results.shown}
    if cell is not results.cells[0]:
        facts[f"minus {results.cells[0].label}"] = results.against_first(cell)
    if remark := cell.remark():
        facts["not at the end"] = remark
    shown = trials_shown(len(results.cells))
    trials = [
        {
            "texts": [_name(cell, trial), *(_number(trial, each) for each in results.shown)],
            "colour": "",
            "last": _state(trial),
        }
        for trial in cell.trials[:shown]
    ]
    total = len(cell.trials)
    more = f"the first {shown} of {total} trials; finals.csv has all" if total > shown else ""
    titles = ["", *(each.title for each in results.shown), "ended"]
    return {"label": cell.label, "facts": facts, "titles": titles, "trials": trials, "more": more}


def _number(trial: Trial, quantity: Quantity) -> str:
    """A trial's last value; a dash where it has none."""
    value = trial.final(quantity.column) if trial.begun else math.nan
    return f"{100 * value if quantity.share else value:{quantity.style}}" if math.isfinite(value) else "–"


def _state(trial: Trial) -> str:
    """How far a trial got."""
    if not trial.begun:
        return "not begun"
    diverged = "diverged at " if trial.stop_reason == StopReason.DIVERGED else ""
    return f"{diverged}step {thousands(trial.last_step)} of {thousands(trial.horizon_steps)}"
