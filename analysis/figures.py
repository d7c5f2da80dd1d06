"""``python -m analysis.figures fig02``: a figure of the paper, drawn from what was run, and its verdict.

Without ``--from`` it is made from the evidence that is kept in the repository, so that no run is needed.  ``all``
makes one page of every figure; no name prints the table of verdicts.
"""

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from analysis.data.sweep import FULL, LAPTOP, SIZES, SweepError
from analysis.paper.figure import FigureError, PaperFigure, named, paper_figures
from analysis.paper.page import write_page
from analysis.paper.picture import extent_words, png
from analysis.paper.results import FigureResult, keep, markdown, result
from analysis.paper.verdict import MET, NOT_MET, NOT_RUN, REPORTED, UNDECIDED, Claim
from pipeline.ledger import Ledger, LedgerError

DEFAULT_OUT = "results/figures"
ALL = "all"
STYLES = {MET: "green", NOT_MET: "red", UNDECIDED: "yellow", REPORTED: "cyan", NOT_RUN: "dim"}
SIGNS = {MET: "✓", NOT_MET: "✗", UNDECIDED: "?", REPORTED: "·", NOT_RUN: "–"}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="python -m analysis.figures",
        description="Draw a figure of the paper from what was run, and judge its statement.",
        epilog="Verdicts: met, not met, undecided (too few seeds or too short), reported (no threshold is claimed), "
        "not run. Exit codes: 0 done, 2 bad input.",
    )
    found.add_argument("figure", metavar="FIGURE", nargs="?", help="fig02, prop1, ... or all; none: the verdicts")
    found.add_argument(
        "--from",
        dest="source",
        metavar="LEDGER",
        help="a ledger (folder or s3://...) instead of the evidence kept in the repository",
    )
    found.add_argument("--out", metavar="DIR", default=DEFAULT_OUT, help="where the files go; default: %(default)s")
    found.add_argument("--size", choices=SIZES, help="look at this size only")
    found.add_argument("--keep", action="store_true", help="store what --from gives as the kept evidence")
    found.add_argument("--markdown", action="store_true", help="print the table of verdicts as the README has it")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, say what came out and where it is; the exit code is 0, or 2 for bad input."""
    options = parser().parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    try:
        figures = _chosen(options.figure, options.size)
        sizes = None if options.size is None else (options.size,)
        ledger = None if options.source is None else Ledger.open(options.source)
        if options.keep:
            if ledger is None and any(figure.check is None for figure in figures):
                raise FigureError("--keep: needs --from LEDGER, the ledger to keep the evidence of")
            for figure in figures:
                for line in keep(figure, ledger, [size for size in figure.sizes if size in (sizes or SIZES)]):
                    console.print(Text(line))
        found = [result(figure, ledger, sizes) for figure in figures]
        if options.markdown:
            print(markdown(found), end="")
        elif options.figure is None:
            _print_table(console, found)
        else:
            _write(console, found, Path(options.out), page=options.figure == ALL)
    except (FigureError, SweepError, LedgerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _chosen(name: str | None, size: str | None) -> list[PaperFigure]:
    if name is None or name == ALL:
        return [*paper_figures().values()]
    figures = named(name)
    for figure in figures:
        if size is not None and size not in figure.sizes:
            raise FigureError(f"{figure.name}: has no {size} size; --size must be left out")
    return figures


def _write(console: Console, found: Sequence[FigureResult], folder: Path, *, page: bool) -> None:
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in found:
            if each.sizes:
                written.append(folder / f"{each.figure.name}.png")
                written[-1].write_bytes(png(each, each.sizes[0]))
            written.append(folder / f"{each.figure.name}.json")
            written[-1].write_text(json.dumps(each.to_json(), indent=1, ensure_ascii=False), encoding="utf-8")
        if page:
            write_page(found, folder / "figures.html")
    except OSError as error:
        raise FigureError(f"--out {folder}: cannot be written ({error.strerror})") from None
    if page:
        _print_table(console, found)
        console.print()
        console.print(Text(f"{folder / 'figures.html'}  (and a picture and a verdict for each beside it)"))
        return
    for each in found:
        for line in verdict_lines(each, min(shutil.get_terminal_size().columns, 110)):
            console.print(line)
        console.print()
    for path in written:
        console.print(Text(str(path)))


def verdict_lines(found: FigureResult, width: int = 100) -> Iterator[Text]:
    """The statement, and each size's verdict with its claims and their numbers."""
    figure = found.figure
    yield Text(f"{figure.label}  {figure.title}", style="bold")
    for line in textwrap.wrap(figure.statement, width):
        yield Text(line)
    if not found.sizes:
        yield Text()
        yield Text(NOT_RUN.upper(), style=STYLES[NOT_RUN]).append(f"  {_how_to_run(figure)}", style="default")
    for size in found.sizes:
        verdict = found.verdicts[size]
        yield Text()
        head = Text(verdict.status.upper(), style=f"bold {STYLES[verdict.status]}")
        yield head.append(
            f"  {extent_words(found.evidence[size], checked=figure.check is not None)}", style="default not bold"
        )
        for claim in verdict.claims:
            yield from _claim_lines(claim, width)
        for line in textwrap.wrap(verdict.note, width - 2):
            yield Text(f"  {line}")


def _claim_lines(claim: Claim, width: int) -> Iterator[Text]:
    status = claim.status
    held = f" ({claim.holds.count(True)} of {len(claim.holds)} seeds)" if len(claim.holds) > 1 else ""
    yield Text(f"  {SIGNS[status]} {status}{held}", style=STYLES[status]).append(f": {claim.text}", style="default")
    for text in (claim.numbers, claim.reason):
        for line in textwrap.wrap(text, width - 4):
            yield Text(f"    {line}")


def _how_to_run(figure: PaperFigure) -> str:
    folder = "search_spaces/paper" if figure.sized else "search_spaces"
    commands = " && ".join(f"python -m pipeline.sweep {folder}/{space}.py" for space in figure.spaces)
    return f"{commands}; then again with --from results/ledger"


def _print_table(console: Console, found: Sequence[FigureResult]) -> None:
    """A line a figure: its verdict at each size."""
    names = [each.figure.name for each in found]
    first, second = max(map(len, names)), max(len(each.figure.title) for each in found)
    room = max(len(each.summary(FULL)) for each in found)
    console.print(Text(f"{'':{first}}  {'':{second}}  {'full size':{room}}  laptop size", style="bold"))
    for each in found:
        line = Text(f"{each.figure.name:{first}}  {each.figure.title:{second}}")
        for size, wide in ((FULL, room), (LAPTOP, 0)):
            summary = each.summary(size)
            line.append("  ").append(f"{summary:{wide}}", style=STYLES.get(each.status(size), ""))
        console.print(line)


if __name__ == "__main__":
    sys.exit(main())
