"""The phase diagram as one self-contained page: hover shows a cell's numbers, a click its trials and their curves.

Everything is inline, the drawing library too: the page works from a file, without a network.
"""

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import altair as alt
import vl_convert

from analysis.data.sweep import MISSING
from analysis.diagram.cells import EVENTS, Cell, Diagram
from analysis.diagram.charts import page_chart, trial_name
from analysis.diagram.tables import CELL_COLUMNS, TRIAL_COLUMNS, contrast_text, event_text, median_text, with_interval
from analysis.drawing import style
from analysis.stats.survival import Summary

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; }
body { margin: 0 auto; padding: 1.6rem 2rem 3rem; max-width: 1500px; }
h1 { font-size: 1.55rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .5rem; }
.subtitle, .hint, footer { color: #6b6b6b; }
.subtitle { margin: 0 0 1rem; }
.hint { margin: 0 0 .8rem; font-size: .9rem; }
main { display: flex; flex-wrap: wrap; gap: 1rem 2.2rem; align-items: flex-start; }
#chart { overflow-x: auto; max-width: 100%; }
#chart .mark-text, #chart [class*="dots_"], #chart [class*="ring_"] { pointer-events: none; }
aside { flex: 1 1 300px; max-width: 460px; position: sticky; top: 1rem; }
aside { border-left: 4px solid #dfe9f3; padding-left: 1.1rem; }
aside h2 { margin-top: 0; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .22rem .8rem .22rem 0; border-bottom: 1px solid #e6e6e6; vertical-align: top; }
th { font-weight: 600; }
.scroll { overflow-x: auto; }
.swatch { display: inline-block; width: .75em; height: .75em; margin-right: .35em; border: 1px solid #9a9a9a; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .4rem 0 1rem; font-size: .9rem; }
dt { color: #6b6b6b; } dd { margin: 0; }
details dl { grid-template-columns: minmax(12rem, max-content) 1fr; }
.vega-bindings { margin-top: .6rem; font-size: .9rem; } .vega-bind { margin-right: 1.2rem; display: inline-block; }
"""

SCRIPT = """
vegaEmbed("#chart", spec, {renderer: "svg", actions: {export: true, source: false, compiled: false, editor: false}})
  .then(({view}) => {
    const panels = [...document.querySelectorAll("aside section")];
    const show = value => {
      const chosen = value && value.cell ? value.cell[0] : null;
      panels.forEach(panel => { panel.hidden = panel.dataset.cell !== String(chosen); });
    };
    view.addSignalListener("cell", (name, value) => show(value));
    show(view.signal("cell"));
    document.body.dataset.ready = "yes";
  })
  .catch(error => { document.getElementById("chart").textContent = "The chart cannot be drawn: " + error; });
"""


def write_page(diagram: Diagram, path: Path) -> None:
    """Write the interactive page of a diagram as one HTML file."""
    path.write_text(page(diagram), encoding="utf-8")


def page(diagram: Diagram) -> str:
    """The page's HTML."""
    # The library's own type stub calls the snippet required; without one, vegaEmbed is put into the window.
    version = ".".join(alt.SCHEMA_VERSION.split(".")[:2])
    library = vl_convert.javascript_bundle(vl_version=version)  # type: ignore[call-arg]
    # "</" would end the script element early, whatever text it stands in.
    spec = json.dumps(page_chart(diagram), ensure_ascii=False).replace("</", "<\\/")
    declared = [_p(contrast_text(found, diagram.tau_steps)) for found in diagram.contrasts if found.declared]
    others = [contrast_text(found, diagram.tau_steps) for found in diagram.contrasts if not found.declared]
    exploratory = ""
    if others:
        items = "".join(f"<li>{html.escape(text)}</li>" for text in others)
        exploratory = f"<details><summary>Exploratory comparisons</summary><ul>{items}</ul></details>"
    comparing = f"<h2>Comparing arms</h2>{''.join(declared)}{exploratory}" if declared else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(diagram.frame.name)}: phase diagram</title>
<style>{STYLE}</style>
<script>{library}</script>
</head>
<body>
<h1>{html.escape(diagram.title)}</h1>
<p class="subtitle">{html.escape(diagram.subtitle)}</p>
<p class="hint">Point at a cell for its numbers; click it for its trials and their curves.</p>
<main>
<div id="chart"></div>
<aside>{"".join(_panel(diagram, index, cell) for index, cell in enumerate(diagram.cells))}</aside>
</main>
{comparing}
<h2>All cells</h2>
<div class="scroll">{_cells_table(diagram)}</div>
<h2>How to read it</h2>
{_reading(diagram)}
<footer><p>{html.escape(diagram.frame.name)}, read from {html.escape(diagram.frame.source)}</p></footer>
<script>const spec = {spec};{SCRIPT}</script>
</body>
</html>
"""


def _panel(diagram: Diagram, index: int, cell: Cell) -> str:
    """What the page says of the chosen cell: its numbers, and a line for each of its trials."""
    tau = diagram.tau_steps
    known = not math.isnan(cell.t_gen.by_tau.value)
    facts = {
        f"P(t_gen ≤ {tau})": with_interval(cell.t_gen.by_tau, ".2f"),
        f"RMST({tau}) of t_gen": with_interval(cell.t_gen.restricted_mean_steps, ".0f"),
        "median t_gen": median_text(cell.t_gen.median_steps, known=known),
        f"RMST({tau}) of t_mem": with_interval(cell.t_mem.restricted_mean_steps, ".0f"),
    }
    rows = []
    for number, placed in enumerate(cell.trials):
        mem, gen = (event_text(event) if event else "–" for event in (placed.t_mem, placed.t_gen))
        colour = style.PHASE_COLOURS[placed.phase]
        swatch = f'<span class="swatch" style="background:{colour}"></span>'
        texts = (trial_name(cell, number), mem, gen)
        rows.append(
            "<tr>"
            + "".join(f"<td>{html.escape(text)}</td>" for text in texts)
            + f"<td>{swatch}{html.escape(style.phase_words(placed.phase))}</td></tr>"
        )
    head = _head_row(("", "t_mem", "t_gen", "phase by τ"))
    return (
        f'<section data-cell="{index}" hidden><h2>{html.escape(cell.label)}</h2>{_definitions(facts)}'
        f'<div class="scroll"><table>{head}{"".join(rows)}</table></div></section>'
    )


def _cells_table(diagram: Diagram) -> str:
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
        rows.append("<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in texts) + "</tr>")
    return f"<table>{_head_row(titles)}{''.join(rows)}</table>"


def _reading(diagram: Diagram) -> str:
    """The definitions behind the numbers, and the columns of the files beside the page."""
    frame, estimators = diagram.frame, sorted({cell.t_gen.estimator for cell in diagram.cells} - {"none"})
    texts = [
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
    columns = "".join(
        f"<details><summary>Columns of {name}</summary>{_definitions(found)}</details>"
        for name, found in (("cells.csv", CELL_COLUMNS), ("outcomes.csv", TRIAL_COLUMNS))
    )
    return "".join(_p(text) for text in texts) + columns


def _p(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _definitions(entries: Mapping[str, str]) -> str:
    inner = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in entries.items())
    return f"<dl>{inner}</dl>"


def _head_row(titles: Sequence[str] | Iterable[str]) -> str:
    return "<tr>" + "".join(f"<th>{html.escape(title)}</th>" for title in titles) + "</tr>"
