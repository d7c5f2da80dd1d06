"""What ``python -m analysis.figures`` does: draw the chosen figures, judge them, print verdicts, keep runs."""

import argparse
import json
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from analysis.data.sweep import FULL, LAPTOP, SIZES
from analysis.drawing.guard import whole_files
from analysis.paper.figure import FigureError, FigureSpec, find_figures, named
from analysis.paper.picture import png
from analysis.paper.results import FigureResult, by_room, keep, markdown, result
from analysis.paper.verdict import MET, NOT_MET, NOT_RUN, REPORTED, UNDECIDED, Claim
from pipeline.ledger import Ledger
from trainables.engine.terminal import shown

try:
    from rich.console import Console
    from rich.text import Text
except ModuleNotFoundError:
    from analysis.paper.plain_text import Console, Text  # type: ignore[assignment]

ALL = "all"
STYLES = {MET: "green", NOT_MET: "red", UNDECIDED: "yellow", REPORTED: "cyan", NOT_RUN: "dim"}
SIGNS = {MET: "✓", NOT_MET: "✗", UNDECIDED: "?", REPORTED: "·", NOT_RUN: "–"}


def run(options: argparse.Namespace) -> None:
    """Do what the command line asks.

    :raises GrokscapeError: for bad input.
    """
    console = Console(highlight=False, soft_wrap=True)
    figures = _chosen(options.figure, options.size)
    sizes = None if options.size is None else (options.size,)
    ledger = None if options.source is None else Ledger.open(options.source)
    if options.keep:
        if ledger is None and any(figure.check is None for figure in figures):
            raise FigureError("--keep: needs --from LEDGER")
        for figure in figures:
            for line in keep(figure, ledger, [size for size in figure.sizes if size in (sizes or SIZES)]):
                console.print(Text(shown(line)))
    results = [result(figure, ledger, sizes) for figure in figures]
    if options.markdown:
        print(markdown(results), end="")
    elif options.figure is None:
        _print_table(console, results)
    else:
        _write(console, results, Path(options.out), page=options.figure == ALL)


def _chosen(name: str | None, size: str | None) -> list[FigureSpec]:
    if name is None or name == ALL:
        return [*find_figures().values()]
    figures = named(name)
    for figure in figures:
        if size is not None and size not in figure.sizes:
            raise FigureError(f"{figure.name}: has no {size} size; drop --size")
    return figures


def _write(console: Console, results: Sequence[FigureResult], folder: Path, *, page: bool) -> None:
    written = []
    try:
        with whole_files(folder) as partial:
            for each in results:
                if each.sizes:
                    written.append(folder / f"{each.figure.name}.png")
                    (partial / written[-1].name).write_bytes(png(each, each.sizes[0]))
                written.append(folder / f"{each.figure.name}.json")
                text = json.dumps(each.to_json(), indent=1, ensure_ascii=False)
                (partial / written[-1].name).write_text(text, encoding="utf-8")
            if page:
                from analysis.paper.page import write_page

                write_page(results, partial / "figures.html")
    except OSError as error:
        raise FigureError(f"--out {folder}: cannot be written ({error.strerror})") from None
    if page:
        _print_table(console, results)
        console.print()
        console.print(Text(f"{shown(folder / 'figures.html')}  (a picture and a verdict for each are beside it)"))
        return
    for each in results:
        for line in verdict_lines(each, min(shutil.get_terminal_size().columns, 110)):
            console.print(line)
        console.print()
    for path in written:
        console.print(Text(shown(path)))


def verdict_lines(judged: FigureResult, width: int = 100) -> Iterator[Text]:
    """The statement, and each size's verdict with its claims and their numbers."""
    figure = judged.figure
    yield Text(f"{figure.label}  {figure.title}", style="bold")
    for line in textwrap.wrap(figure.statement, width):
        yield Text(line)
    if not judged.sizes:
        yield Text()
        yield Text(NOT_RUN.upper(), style=STYLES[NOT_RUN]).append(f"  {_how_to_run(figure)}", style="default")
    for size in judged.sizes:
        verdict = judged.verdicts[size]
        yield Text()
        head = Text(verdict.status.upper(), style=f"bold {STYLES[verdict.status]}")
        yield head.append(f"  {judged.extent(size)}", style="default not bold")
        for claim in verdict.claims:
            yield from _claim_lines(claim, width)
        for line in textwrap.wrap(verdict.note, width - 2):
            yield Text(f"  {line}")


def _claim_lines(claim: Claim, width: int) -> Iterator[Text]:
    status = claim.status
    yield Text(f"  {SIGNS[status]} {status}{claim.seeds}", style=STYLES[status]).append(
        f": {shown(claim.text)}", style="default"
    )
    for text in (claim.numbers, claim.reason):
        for line in textwrap.wrap(text, width - 4):
            yield Text(f"    {shown(line)}")


def _how_to_run(figure: FigureSpec) -> str:
    commands = " && ".join(f"python -m pipeline.sweep {_space_file(space)}" for space in figure.spaces)
    return f"{commands}; then again with --from results/ledger"


def _space_file(space: str) -> str:
    """Where a search space is in this checkout."""
    root = Path(__file__).parents[1]
    paths = sorted((root / "search_spaces").rglob(f"{space}.py"))
    return paths[0].relative_to(root).as_posix() if paths else f"search_spaces/{space}.py"


def _print_table(console: Console, results: Sequence[FigureResult]) -> None:
    """A line a figure: its verdict at each size."""
    names = [each.figure.name for each in results]
    first, second = max(map(len, names)), max(len(each.figure.title) for each in results)
    room_for_full = max(len(each.summary(FULL)) for each in results)
    console.print(Text(f"{'':{first}}  {'':{second}}  {'full size':{room_for_full}}  laptop size", style="bold"))
    for room, members in by_room(results):
        if room:
            console.print(Text(room, style="bold"))
        for each in members:
            line = Text(f"{each.figure.name:{first}}  {each.figure.title:{second}}")
            for size, width in ((FULL, room_for_full), (LAPTOP, 0)):
                summary = each.summary(size)
                line.append("  ").append(f"{summary:{width}}", style=STYLES.get(each.status(size), ""))
            console.print(line)
