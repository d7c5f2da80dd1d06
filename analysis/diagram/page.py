"""The phase diagram as one self-contained page: hover shows a cell's numbers, a click its trials and their curves.

Everything is inline, the drawing library too: the page works from a file, without a network.
"""

import math
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from analysis.data.sweep import MISSING
from analysis.diagram.cells import EVENTS, Cell, Diagram
from analysis.diagram.charts import page_chart, trial_name
from analysis.diagram.tables import CELL_COLUMNS, TRIAL_COLUMNS, contrast_text, event_text, median_text, with_interval
from analysis.drawing import style
from analysis.drawing.page import render
from analysis.stats.survival import Summary


def write_page(diagram: Diagram, path: Path) -> None:
    """Write the interactive page of a diagram as one HTML file."""
    path.write_text(page(diagram), encoding="utf-8")


def page(diagram: Diagram) -> str:
    """The page's HTML."""
    # The library's own type stub calls the snippet required; without one, vegaEmbed is put into the window.
    version = ".".join(alt.SCHEMA_VERSION.split(".")[:2])
    library = vl_convert.javascript_bundle(vl_version=version)  # type: ignore[call-arg]
    titles, rows = _cells_table(diagram)
    return render(
        "diagram/page.html.j2",
        name=diagram.frame.name,
        source=diagram.frame.source,
        title=diagram.title,
        subtitle=diagram.subtitle,
        library=library,
        spec=page_chart(diagram),
        panels=[_panel(diagram, cell) for cell in diagram.cells],
        declared=[contrast_text(each, diagram.tau_steps) for each in diagram.contrasts if each.declared],
        exploratory=[contrast_text(each, diagram.tau_steps) for each in diagram.contrasts if not each.declared],
        cells_titles=titles,
        cells_rows=rows,
        reading=_reading(diagram),
        files={"cells.csv": CELL_COLUMNS, "outcomes.csv": TRIAL_COLUMNS},
    )


def _panel(diagram: Diagram, cell: Cell) -> dict[str, Any]:
    """What the page says of the chosen cell: its numbers, and a line for each of its trials."""
    tau = diagram.tau_steps
    known = not math.isnan(cell.t_gen.by_tau.value)
    facts = {
        f"P(t_gen ≤ {tau})": with_interval(cell.t_gen.by_tau, ".2f"),
        f"RMST({tau}) of t_gen": with_interval(cell.t_gen.restricted_mean_steps, ".0f"),
        "median t_gen": median_text(cell.t_gen.median_steps, known=known),
        f"RMST({tau}) of t_mem": with_interval(cell.t_mem.restricted_mean_steps, ".0f"),
    }
    trials = [
        {
            "texts": [trial_name(cell, number)]
            + [event_text(event) if event else "–" for event in (placed.t_mem, placed.t_gen)],
            "colour": style.PHASE_COLOURS[placed.phase],
            "phase": style.phase_words(placed.phase),
        }
        for number, placed in enumerate(cell.trials)
    ]
    return {"label": cell.label, "facts": facts, "titles": ("", "t_mem", "t_gen", "phase by τ"), "trials": trials}


def _cells_table(diagram: Diagram) -> tuple[list[str], list[list[str]]]:
    tau = diagram.tau_steps
    titles = ["cell", "n", "phases by τ"]
    titles += [f"{what} {name}" for name in EVENTS for what in (f"P(≤ {tau})", f"RMST({tau})", "median")]
    rows = []
    for cell in diagram.cells:
        texts = [cell.label, str(len(cell.trials) - cell.count(MISSING)), style.phases_words(cell)]
        for name in EVENTS:
            summary: Summary = getattr(cell, name)
            texts += [
                with_interval(summary.by_tau, ".2f"),
                with_interval(summary.restricted_mean_steps, ".0f"),
                median_text(summary.median_steps, known=not math.isnan(summary.by_tau.value)),
            ]
        rows.append(texts)
    return titles, rows


def _reading(diagram: Diagram) -> list[str]:
    """The definitions behind the numbers."""
    frame, estimators = diagram.frame, sorted({cell.t_gen.estimator for cell in diagram.cells} - {"none"})
    return [
        f"t_mem is the training accuracy reaching {frame.train_threshold:g}, t_gen the test accuracy reaching "
        f"{frame.test_threshold:g}; a crossing counts when it holds for three measurements and 5 % of the steps so "
        "far. An event is known to lie in (L, R], after the last measurement below and by the first of the run above.",
        "RMST(τ) is the integral of 1 − CIF from 0 to τ, CIF being the cumulative incidence: a seed that does not get "
        "there counts τ, whatever kept it. Divergence and certified freezing are competing events, not censoring. "
        f"Estimator: {' and '.join(estimators) or 'none yet'}, each event at the upper end of its interval.",
        "Intervals are nominally 95 %: Wilson's for shares (from none to all of the seeds whose fate by τ is not "
        "known); for RMST a bootstrap over the seeds, widened for small "
        "numbers and left out where all seeds agree. In simulations it covers about 90 % with five seeds and 70 % "
        "with three: read it as the spread it is. The median is told only where the curve crosses one half by τ. "
        "Phases are by first crossings of .9; memorization never means more than “not by τ”.",
    ]
