"""One self-contained page with every figure: the table of verdicts, then each figure beside its verdict."""

import base64
import html
from collections.abc import Iterator, Sequence
from pathlib import Path

from analysis.data.sweep import FULL, LAPTOP
from analysis.paper.picture import STATUS_COLOURS, png
from analysis.paper.results import FigureResult, by_room
from analysis.paper.verdict import NOT_RUN, STATUSES, Claim

TITLE = "Grokking at the edge of numerical stability: results"
INTRODUCTION = (
    "Every figure and statement of Prieto et al. (2025, arXiv:2501.04697), run again: drawn from the kept evidence "
    "and judged by one rule. Met: every seed meets the statement, with at least three. Not met: more than half of at "
    "least three seeds fail it. Undecided: too few seeds, or runs too short to tell. A claim about two means is judged "
    "by the interval of their difference. Reported: no threshold is claimed. Full is the paper's own size; laptop asks "
    "the same question with fewer steps, and its verdict is about that size."
)
PIXELS_AN_INCH = 100
"""How large a picture is shown at most."""
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; }
body { margin: 0 auto; padding: 1.6rem 2rem 4rem; max-width: 1480px; }
h1 { font-size: 1.55rem; line-height: 1.25; margin: 0 0 .35rem; }
h2 { font-size: 1.15rem; margin: 0 0 .4rem; scroll-margin-top: 1rem; }
a { color: inherit; text-decoration-color: #c4c4c4; text-underline-offset: 3px; }
.subtitle, .extent, .numbers, .why, figcaption, footer { color: #6b6b6b; }
.subtitle { margin: 0 0 1.2rem; max-width: 62rem; }
.count { margin: 0 1.1rem .4rem 0; display: inline-block; font-size: .95rem; }
.count b { font-size: 1.5rem; font-weight: 600; margin-right: .3rem; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; width: 100%; }
th, td { text-align: left; padding: .3rem 1rem .3rem 0; border-bottom: 1px solid #eee; vertical-align: top; }
th { font-weight: 600; border-bottom-color: #c4c4c4; }
tr.figure td { border-top: 1px solid #c4c4c4; padding-top: .45rem; }
td.what { max-width: 26rem; } td.numbers { max-width: 32rem; } td.name { white-space: nowrap; }
.scroll { overflow-x: auto; margin-bottom: 3rem; }
.status { font-weight: 600; white-space: nowrap; }
article { display: grid; grid-template-columns: minmax(0, 1.75fr) minmax(20rem, 1fr); gap: .5rem 2.4rem; }
h2.room { font-size: 1.3rem; margin: 2rem 0 .6rem; }
article { border-top: 1px solid #c4c4c4; padding: 1.6rem 0 2.4rem; align-items: start; }
article > header { grid-column: 1 / -1; }
img { width: 100%; height: auto; display: block; }
.none { border: 1px dashed #c4c4c4; color: #6b6b6b; padding: 2.5rem 1rem; text-align: center; }
details { margin-top: .9rem; } summary { cursor: pointer; color: #6b6b6b; font-size: .9rem; }
.statement { border-left: 4px solid #dfe9f3; padding-left: 1rem; margin: 0 0 1.1rem; }
.verdict { margin: 0 0 .3rem; } .verdict .status { font-size: 1.05rem; margin-right: .5rem; }
ul { list-style: none; margin: .2rem 0 1.3rem; padding: 0; font-size: .9rem; }
li { margin: 0 0 .6rem; } li .numbers, li .why { display: block; font-size: .85rem; }
@media (max-width: 900px) { article { grid-template-columns: 1fr; } body { padding: 1rem; } }
"""


def write_page(shown: Sequence[FigureResult], path: Path) -> None:
    """Write the page as one HTML file."""
    path.write_text(page(shown), encoding="utf-8")


def page(shown: Sequence[FigureResult]) -> str:
    """The page's HTML, pictures included."""
    articles = "\n".join(
        (f'<h2 class="room">{html.escape(room)}</h2>\n' if room else "") + "\n".join(map(_article, members))
        for room, members in by_room(shown)
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(TITLE)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{html.escape(TITLE)}</h1>
<p class="subtitle">{html.escape(INTRODUCTION)}</p>
{_counts(shown)}
<div class="scroll">{_table(shown)}</div>
<main>
{articles}
</main>
<footer><p>Made by python -m analysis.figures all.</p></footer>
</body>
</html>
"""


def best_status(shown: FigureResult) -> str:
    """The verdict of the size that is shown; "not run" where there is none."""
    return shown.status(shown.sizes[0]) if shown.sizes else NOT_RUN


def _counts(shown: Sequence[FigureResult]) -> str:
    statuses = [best_status(each) for each in shown]
    counts = "".join(
        f'<span class="count"><b style="color:{STATUS_COLOURS[status]}">{statuses.count(status)}</b>{status}</span>'
        for status in STATUSES
        if status in statuses
    )
    return f'<p>{counts}<span class="extent">each figure at the size that is shown first</span></p>'


def _table(shown: Sequence[FigureResult]) -> str:
    """A row a figure, and below it a row for each of its claims."""
    head = "".join(f"<th>{title}</th>" for title in ("", "claim", "laptop", "full", "numbers"))
    rows = [f"<tr>{head}</tr>"]
    for room, members in by_room(shown):
        rows += [f'<tr class="room"><th colspan="5">{html.escape(room)}</th></tr>'] if room else []
        rows += [row for each in members for row in _rows(each)]
    return f"<table>{''.join(rows)}</table>"


def _rows(shown: FigureResult) -> Iterator[str]:
    name, title = html.escape(shown.figure.label), html.escape(shown.figure.title)
    statuses = "".join(f"<td>{_status(shown.status(size))}</td>" for size in (LAPTOP, FULL))
    extents = " · ".join(shown.extent(size) for size in shown.sizes)
    yield (
        f'<tr class="figure"><td class="name"><a href="#{shown.figure.name}">{name}</a></td><td class="what">'
        f'<b>{title}</b></td>{statuses}<td class="numbers">{html.escape(extents)}</td></tr>'
    )
    for text, sizes in shown.claims():
        cells = "".join(f"<td>{_status(sizes[size].status if size in sizes else '')}</td>" for size in (LAPTOP, FULL))
        numbers = next(iter(sizes.values())).numbers
        yield (
            f'<tr><td></td><td class="what">{html.escape(text)}</td>{cells}'
            f'<td class="numbers">{html.escape(numbers)}</td></tr>'
        )


def _article(shown: FigureResult) -> str:
    figure = shown.figure
    pictures = [_picture(shown, size) for size in shown.sizes]
    body = pictures[0] if pictures else '<div class="none">not run</div>'
    for size, other in zip(shown.sizes[1:], pictures[1:], strict=True):
        body += f"<details><summary>The same at {size} size</summary>{other}</details>"
    verdicts = "".join(_verdict(shown, size) for size in shown.sizes)
    return f"""<article id="{figure.name}">
<header><h2>{html.escape(figure.label)} &nbsp; {html.escape(figure.title)}</h2></header>
<div>{body}</div>
<div><p class="statement">{html.escape(figure.statement)}</p>{verdicts or _status(NOT_RUN)}</div>
</article>"""


def _verdict(shown: FigureResult, size: str) -> str:
    verdict = shown.verdicts[size]
    items = "".join(_claim(claim) for claim in verdict.claims)
    note = f'<p class="extent">{html.escape(verdict.note)}</p>' if verdict.note else ""
    extent = f'<span class="extent">{html.escape(shown.extent(size))}</span>'
    return f'<p class="verdict">{_status(verdict.status)}{extent}</p><ul>{items}</ul>{note}'


def _claim(claim: Claim) -> str:
    seeds = f" ({claim.holds.count(True)} of {len(claim.holds)} seeds)" if len(claim.holds) > 1 else ""
    why = f'<span class="why">{html.escape(claim.reason)}</span>' if claim.reason else ""
    return (
        f'<li>{_status(claim.status)}{seeds}: {html.escape(claim.text)}<span class="numbers">'
        f"{html.escape(claim.numbers)}</span>{why}</li>"
    )


def _status(status: str) -> str:
    if not status:
        return ""
    return f'<span class="status" style="color:{STATUS_COLOURS[status]}">{status}</span>'


def _picture(shown: FigureResult, size: str) -> str:
    data = base64.b64encode(png(shown, size, head=False)).decode()
    words = html.escape(f"{shown.figure.label} {shown.extent(size)}")
    widest = round(PIXELS_AN_INCH * shown.figure.size_in[0])
    return f'<img alt="{words}" style="max-width: {widest}px" src="data:image/png;base64,{data}">'
