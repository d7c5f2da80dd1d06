"""The phase diagram as one self-contained page: hover shows a cell's numbers, a click its trials and their curves.

Everything is inline, the drawing library too: the page works from a file, without a network.
"""

import math
import shlex
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.comparing.sensitivity import SENSITIVITY_COLUMNS
from analysis.data.origin import command
from analysis.diagram import marks, words
from analysis.diagram.cells import Cell, Diagram
from analysis.diagram.influence import EFFECT_COLUMNS
from analysis.diagram.tables import CELL_COLUMNS, TRIAL_COLUMNS
from analysis.diagram.waiting import WAITING_COLUMNS
from analysis.drawing import library
from analysis.drawing.page import render
from analysis.page.charts import hatches, page_chart
from analysis.page.curve_charts import trials_shown
from trainables.engine.errors import redact

CODE = Path(__file__).with_name("page.js")


@dataclass(frozen=True)
class Section:
    """A part of the page with a picture of its own."""

    title: str
    texts: Sequence[str]
    picture: Path | None
    """A PNG file."""

    @property
    def image(self) -> str:
        """The picture as an address that needs no file."""
        return f"data:image/png;base64,{b64encode(self.picture.read_bytes()).decode()}" if self.picture else ""


def write_page(diagram: Diagram, path: Path, sections: Sequence[Section] = ()) -> None:
    """Write the interactive page of a diagram as one HTML file."""
    path.write_text(page(diagram, sections), encoding="utf-8")


def page(diagram: Diagram, sections: Sequence[Section] = ()) -> str:
    """The page's HTML."""
    titles, rows = _cells_table(diagram)
    origin = diagram.sweep.origin
    return render(
        "page/page.html.j2",
        name=diagram.sweep.name,
        source=redact(diagram.sweep.source),
        title=diagram.title,
        subtitle=diagram.subtitle,
        answer=words.answer(diagram),
        scripts=(library.script(), CODE.read_text(encoding="utf-8")),
        spec=page_chart(diagram),
        panels=[_panel(diagram, cell) for cell in diagram.cells],
        hatches=hatches(diagram),
        compared=words.contrast_texts(diagram),
        sections=sections,
        failures=origin.failures if origin else (),
        made=_made(diagram),
        repeat=_repeat(diagram),
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
            "phase": marks.phase_words(diagram, placed.phase),
        }
        for number, placed in enumerate(cell.trials[: trials_shown(diagram)])
    ]
    total = len(cell.trials)
    more = f"the first {len(trials)} of {total} trials; outcomes.csv has all" if total > len(trials) else ""
    titles = ["", *map(words.event_name, diagram.events), "phase by τ"]
    return {"label": cell.label, "facts": facts, "titles": titles, "trials": trials, "more": more}


def _cells_table(diagram: Diagram) -> tuple[list[str], list[list[str]]]:
    tau = diagram.tau_steps
    titles = ["cell", "n", "phases by τ"]
    names = map(words.event_name, diagram.events)
    titles += [f"{what} {name}" for name in names for what in (f"P(≤ {tau})", "given that,", f"RMST({tau})", "median")]
    titles.append(f"without {words.event_name(diagram.main)}")
    rows = []
    for cell in diagram.cells:
        texts = [cell.label, str(cell.measured), marks.phases_text(diagram, cell)]
        for summary in cell.events.values():
            texts += [
                words.with_interval(summary.by_tau, ".2f"),
                words.with_interval(summary.given_steps, ".0f"),
                words.with_interval(summary.restricted_mean_steps, ".0f"),
                words.median_text(summary.median_steps, known=not math.isnan(summary.by_tau.value)),
            ]
        rows.append([*texts, words.standing_text(diagram, cell)])
    return titles, rows


def _made(diagram: Diagram) -> dict[str, str]:
    """Where the numbers come from, and what they cost."""
    sweep, origin = diagram.sweep, diagram.sweep.origin
    if origin is None:
        return {}
    begun = sum(trial.begun for trial in sweep.trials)
    return {
        "trials": f"{begun} of {len(sweep.trials)} measured; {origin.cost()}",
        "made by": "; ".join(origin.made_by),
        "the question": f"{sweep.name}: SHA-256 {origin.revision[:12]}, recorded {origin.recorded_at[:10]}",
    }


def _repeat(diagram: Diagram) -> list[str]:
    """The commands that run the sweep and draw the diagram again."""
    sweep = diagram.sweep
    drawn = ["python", "-m", "analysis.phase_diagram", sweep.name, "--from", redact(sweep.source)]
    drawn += ["--event", f"{diagram.main.name}:{diagram.main.shown:g}"] if diagram.main != sweep.events[-1] else []
    drawn += [part for fix in diagram.fixed for part in ("--fix", fix)]
    return [*filter(None, [command(sweep.doc)]), shlex.join(drawn)]


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
