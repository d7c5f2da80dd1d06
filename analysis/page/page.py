"""The report of a phase diagram as one self-contained page: a cell opens its numbers, trials and curves.

Everything is inline: the page works from a file, without a network.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.comparing.sensitivity import SENSITIVITY_COLUMNS
from analysis.diagram import marks, words
from analysis.diagram.cells import Cell, Diagram
from analysis.diagram.influence import EFFECT_COLUMNS, INFLUENCE_NOTE, Influence, influence_lines, influence_panels
from analysis.diagram.tables import CELL_COLUMNS, TRIAL_COLUMNS
from analysis.diagram.waiting import WAITING_COLUMNS
from analysis.drawing.page import render
from analysis.page import cells
from analysis.page.curves import cell_curves, trials_shown
from analysis.page.frame import frame
from analysis.page.panels import effect_panels, waiting_panels


def write_page(diagram: Diagram, path: Path, **more: Any) -> None:
    """Write the report of a diagram as one HTML file, with the parameters of :func:`page`."""
    path.write_text(page(diagram, **more), encoding="utf-8")


def page(
    diagram: Diagram, *, options: Sequence[str] = (), influence: Influence | None = None, sensitivity: str = ""
) -> str:
    """The page's HTML.

    :param options: of the command that makes the page again.
    :param influence: what the axes do.
    :param sensitivity: a line on other thresholds and horizons.
    """
    titles, rows = _cells_table(diagram)
    named = [
        [(placed.trial, words.trial_name(cell, number)) for number, placed in enumerate(cell.trials)]
        for cell in diagram.cells
    ]
    curves = cell_curves(diagram.sweep, named, diagram.main.column, until_steps=diagram.tau_steps, rules=diagram.drawn)
    return render(
        "page/page.html.j2",
        **frame(diagram.sweep, options),
        title=diagram.title,
        subtitle=diagram.subtitle,
        answer=words.answer(diagram),
        tau=diagram.tau_steps,
        first=cells.first_choice([cell.main.restricted_mean_steps.value for cell in diagram.cells]),
        row=cells.strips(diagram) if diagram.y is None else None,
        grid=cells.grid(diagram) if diagram.y is not None else None,
        ends=None,
        uneven=len({cell.measured for cell in diagram.cells}) > 1,
        panels=[_panel(diagram, cell) for cell in diagram.cells],
        curves=curves,
        compared=words.contrast_texts(diagram),
        waits=True,
        waiting=waiting_panels(diagram.glued),
        effects=effect_panels(influence_panels(diagram, influence)) if influence else [],
        effect_texts=influence_lines(diagram, influence) if influence else [],
        effects_note=INFLUENCE_NOTE,
        sensitivity=sensitivity,
        cells_titles=titles,
        cells_rows=rows,
        reading=_reading(diagram),
        files={
            "cells.csv": CELL_COLUMNS,
            "outcomes.csv": TRIAL_COLUMNS,
            "waiting.csv": WAITING_COLUMNS,
            "effects.csv": EFFECT_COLUMNS,
            "sensitivity.csv": SENSITIVITY_COLUMNS,
        },
    )


def _panel(diagram: Diagram, cell: Cell) -> dict[str, Any]:
    """What the page says of the chosen cell: its numbers, and a line for each of its trials."""
    tau, name = diagram.tau_steps, words.event_name(diagram.main)
    known = not math.isnan(cell.main.by_tau.value)
    facts = {
        words.by_words(diagram.main, str(tau)): words.with_interval(cell.main.by_tau, ".2f"),
        f"{name} given that": words.with_interval(cell.main.given_steps, ".0f"),
        f"RMST({tau}) of {name}": words.with_interval(cell.main.restricted_mean_steps, ".0f"),
        f"median {name}": words.median_text(cell.main.median_steps, known=known),
    }
    if standing := words.standing_text(diagram, cell):
        facts[f"without {name}"] = standing
    facts |= {
        f"RMST({tau}) of {other}": words.with_interval(summary.restricted_mean_steps, ".0f")
        for other, summary in cell.events.items()
        if other != diagram.main.name
    }
    colours = marks.phase_colours(diagram)
    trials = [
        {
            "texts": [
                words.trial_name(cell, number),
                *(words.event_text(placed.events.get(rule.name)) for rule in diagram.events),
            ],
            "colour": colours[placed.phase],
            "last": marks.phase_words(diagram, placed.phase),
        }
        for number, placed in enumerate(cell.trials[: trials_shown(len(diagram.cells))])
    ]
    total = len(cell.trials)
    more = f"the first {len(trials)} of {total} trials; outcomes.csv has all" if total > len(trials) else ""
    titles = ["", *map(words.event_name, diagram.events), "phase by τ"]
    return {"label": cell.label, "facts": facts, "titles": titles, "trials": trials, "more": more}


def _cells_table(diagram: Diagram) -> tuple[list[str], list[list[str]]]:
    """A row for each cell and event."""
    tau = diagram.tau_steps
    titles = ["cell", "n", "event", f"P(by {tau})", "time given the event", f"RMST({tau})", "median"]
    titles += ["without it", "phases by τ"]
    rows = []
    for cell in diagram.cells:
        for rule in reversed(diagram.events):
            summary = cell.events[rule.name]
            main = rule.name == diagram.main.name
            rows.append(
                [
                    cell.label,
                    str(cell.measured),
                    words.event_name(rule),
                    words.with_interval(summary.by_tau, ".2f"),
                    words.with_interval(summary.given_steps, ".0f"),
                    words.with_interval(summary.restricted_mean_steps, ".0f"),
                    words.median_text(summary.median_steps, known=not math.isnan(summary.by_tau.value)),
                    words.standing_text(diagram, cell) if main else "",
                    marks.phases_text(diagram, cell) if main else "",
                ]
            )
    return titles, rows


def _reading(diagram: Diagram) -> list[str]:
    """The definitions behind the numbers."""
    texts = [
        f"{'; '.join(map(words.event_words, diagram.events))}. {_holds(diagram)} An event is known to lie in (L, R], "
        "after the last measurement short of the threshold and by the first of the run at it.",
        "RMST(τ) is the integral of 1 − CIF from 0 to τ, CIF being the cumulative incidence: a seed without the event "
        "by τ counts τ, whatever the reason. Divergence and certified freezing are competing events, not censoring. "
        f"Estimator: {words.estimator_words(diagram) or 'none yet'}, each event in the middle of its interval.",
        "“Given that” is the geometric mean of the time over the seeds that have the event by τ: read it with P, and "
        "rank nothing by it. The median is given only where the curve crosses one half by τ.",
        "Intervals are nominally 95 %: exact ones for shares (Clopper-Pearson; from none to all of the seeds of which "
        "it is not known by τ); Student's of the logarithms for the time given the event; for RMST a Bayesian "
        "bootstrap over the seeds and one more, half of which has the event at once and half never. In simulations it "
        "covers 92 % and more with three seeds and more; it is wide where few seeds agree, because the next one may "
        "never get there.",
        f"{words.phases_definition(diagram)} A phase without an event never means more than “not by τ”.",
        words.stopped_sentence(diagram),
    ]
    return [text for text in texts if text]


def _holds(diagram: Diagram) -> str:
    """How long each event must hold."""
    holds: dict[str, list[str]] = {}
    for rule in diagram.events:
        held = f"{rule.hold_measurements} measurements and {rule.hold_fraction:.0%} of the steps so far".replace(
            "%", " %"
        )
        holds.setdefault(held, []).append(rule.name)
    if len(holds) == 1:
        return f"A crossing counts when it holds for {next(iter(holds))}."
    each = "; ".join(f"{held} ({', '.join(names)})" for held, names in holds.items())
    return f"A crossing counts when it holds for {each}."
