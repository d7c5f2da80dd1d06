"""From a sweep in a ledger or in MLflow to its files: picture, page, tables, and a few lines for the terminal.

A sweep with events gets a phase diagram of one of them; one without gets its learning curves and final values.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparing.sensitivity import sensitivity, sensitivity_line, sensitivity_table
from analysis.curves import finals
from analysis.curves.picture import draw_curves
from analysis.data.source import open_sweep
from analysis.data.spreadsheet import write_both, write_csv
from analysis.data.sweep import Sweep, SweepError
from analysis.diagram.cells import Diagram, build
from analysis.diagram.influence import INFLUENCE_NOTE, influence, influence_lines, influence_panels, influence_table
from analysis.diagram.picture import caption, draw_png
from analysis.diagram.points import draw_points_png, has_points
from analysis.diagram.tables import cells_table, summary_lines, trials_table
from analysis.diagram.tiles import check_tiles
from analysis.diagram.waiting import waiting_picture, waiting_table
from analysis.drawing import style
from analysis.drawing.effects import draw_effects
from analysis.drawing.fonts import boxes_note
from analysis.drawing.guard import whole_files
from analysis.drawing.history import HistoryPoint, draw_history
from analysis.drawing.sheet import WIDE, WIDTHS, Sheet
from analysis.drawing.waiting import MOST_PANELS, draw_waiting
from analysis.page.finals import write_finals_page
from analysis.page.page import write_page
from analysis.stats.survival import CensoredTimes, summarise
from pipeline.ledger import Ledger
from trainables.engine.events import Event

TABLES = ("cells", "outcomes", "waiting", "effects", "sensitivity")
"""The tables of a phase diagram, as CSV and as Parquet."""


@dataclass(frozen=True)
class Figures:
    """What :func:`draw` has written, and a summary of it."""

    paths: tuple[Path, ...]
    """The picture, then of a phase diagram its interactive page, its curves of waiting and what axes do, then tables.

    ``CELL_COLUMNS`` and ``TRIAL_COLUMNS`` of :mod:`analysis.diagram.tables` or :mod:`analysis.curves.finals`, and
    ``WAITING_COLUMNS`` and ``EFFECT_COLUMNS`` beside the code that fills them, say what their columns mean."""
    summary: tuple[str, ...]

    @property
    def png(self) -> Path:
        """The picture."""
        return self.paths[0]

    @property
    def open_command(self) -> str:
        """The command that opens the page in a browser, or the picture."""
        return open_command(next((path for path in self.paths if path.suffix == ".html"), self.png))


def open_command(path: Path) -> str:
    """The command that opens a file as the desktop does."""
    opener = {"darwin": "open", "win32": "start"}.get(sys.platform, "xdg-open")
    return f"{opener} {shlex.quote(str(path))}"


def draw(
    uri: str | Ledger,
    sweep: str,
    out_dir: str | Path,
    x: str | None = None,
    y: str | None = None,
    *,
    event: str | None = None,
    tau_steps: int | None = None,
    fix: Sequence[str] = (),
    pool: Sequence[str] = (),
    facet: str | None = None,
    colour: str | None = None,
    formats: Sequence[str] = (),
    width: str | None = None,
    titled: bool = True,
) -> Figures:
    """Draw the phase diagram of a sweep; or its learning curves where it has no times of events.

    :param uri: a ledger, or an MLflow tracking address.
    :param out_dir: where the files go; created where it is missing.
    :param x: the horizontal axis, in full or by its ending, and likewise ``y``; the sweep's shape decides without.
    :param event: the diagram's main event, ``NAME`` or ``NAME:THRESHOLD``; the last declared one without.
    :param tau_steps: the time up to which the data count; the sweep's horizon without.
    :param fix: ``["train_fraction=0.4"]``: the trials that count.
    :param pool: axes whose values are pooled in each cell.
    :param facet: the axis that has a panel for each of its values.
    :param colour: what the tiles of a grid show: ``"phase"``, ``"p"``, ``"given"``, ``"median"``, ``"delay"``,
        ``"test_accuracy@400"``; the restricted mean without.
    :param formats: ``"pdf"``, ``"svg"``: the picture in these formats too, for a paper.
    :param width: ``"column"`` or ``"page"``: the picture is as wide as a journal's; as wide as it needs without.
    :param titled: whether the picture has its title and notes.
    :raises SweepError: for an MLflow that cannot answer, a bad tau or event, axes or an event of a sweep that has no
        phase diagram, or a folder that cannot be written.
    :raises analysis.diagram.layout.AxisError: for an unknown axis.
    :raises pipeline.ledger.LedgerError: for a folder that is no ledger, or a ledger without the sweep.
    """
    opened = open_sweep(sweep, uri)
    folder = Path(out_dir)
    options: dict[str, Any] = {"event": event, "tau_steps": tau_steps, "fix": fix, "pool": pool, "facet": facet}
    options |= {"colour": colour}
    sheet = replace(WIDTHS[width] if width else WIDE, titled=titled)
    try:
        numbers = numbers_of(opened, x, y, **options)
        if isinstance(numbers, Diagram):
            return _draw_diagram(numbers, folder, formats, sheet, _flags(x=x, y=y, **options))
        asked = {"--format": " ".join(formats), "--width": width, "--no-title": "" if titled else "given"}
        _check_no_diagram_asked(opened, asked)
        return _draw_curves(numbers, folder, _flags(**options))
    except OSError as error:
        raise SweepError(f"--out {out_dir}: cannot be written ({error.strerror})") from None


def write_report(
    uri: str | Ledger, sweep: str, out_dir: str | Path, x: str | None = None, y: str | None = None, **options: Any
) -> tuple[Path, list[str]]:
    """Write the page of a sweep alone, ``report.html``, with the options of :func:`numbers_of`.

    :returns: its path, and the summary of the numbers.
    :raises GrokscapeError: as :func:`draw` does.
    """
    opened = open_sweep(sweep, uri)
    path, flags = Path(out_dir) / "report.html", _flags(x=x, y=y, **options)
    try:
        numbers = numbers_of(opened, x, y, **options)
        with whole_files(path.parent) as partial:
            if isinstance(numbers, Diagram):
                line = sensitivity_line(numbers, sensitivity(numbers))
                found = influence(numbers)
                write_page(numbers, partial / path.name, options=flags, influence=found, sensitivity=line)
            else:
                write_finals_page(numbers, partial / path.name, options=flags)
    except OSError as error:
        raise SweepError(f"--out {out_dir}: cannot be written ({error.strerror})") from None
    return path, summary_lines(numbers) if isinstance(numbers, Diagram) else finals.summary_lines(numbers)


def numbers_of(
    sweep: Sweep,
    x: str | None = None,
    y: str | None = None,
    *,
    event: str | None = None,
    tau_steps: int | None = None,
    fix: Sequence[str] = (),
    pool: Sequence[str] = (),
    facet: str | None = None,
    colour: str | None = None,
) -> Diagram | finals.Finals:
    """The numbers that :func:`draw` draws, with its options: a phase diagram's, or the final values."""
    if colour is not None:
        check_tiles(colour)
    if sweep.events:
        diagram = build(sweep, x=x, y=y, event=event, tau_steps=tau_steps, fix=fix, pool=pool, facet=facet)
        return diagram if colour is None else _coloured(diagram, colour)
    asked = {"--x": x, "--y": y, "--event": event, "--fix": " ".join(fix), "--pool": " ".join(pool)}
    _check_no_diagram_asked(sweep, asked | {"--facet": facet, "--colour": colour})
    return finals.finals(sweep, tau_steps=tau_steps)


def _flags(**options: Any) -> list[str]:
    """The command line's flags for these options of :func:`numbers_of`, of those that were given."""
    flags = []
    for name, given in options.items():
        for value in given if isinstance(given, list | tuple) else [given]:
            flags += [] if value is None else [f"--{name.removesuffix('_steps')}", str(value)]
    return flags


def _coloured(diagram: Diagram, colour: str) -> Diagram:
    if diagram.y is None:
        raise SweepError(f"--colour {colour}: a row of cells has no tiles to colour; pass --x and --y for a grid")
    return replace(diagram, colour=colour)


def _draw_diagram(
    diagram: Diagram, folder: Path, formats: Sequence[str], sheet: Sheet, flags: Sequence[str]
) -> Figures:
    names = ["phase_diagram.png", "report.html", "waiting.png", "effects.png"]
    with whole_files(folder) as partial:
        picture, page, curves, bars = (partial / name for name in names)
        names += [f"{name}.{kind}" for name in TABLES for kind in ("csv", "parquet")]
        write_both(cells_table(diagram), partial / "cells")
        write_both(trials_table(diagram), partial / "outcomes")
        write_both(waiting_table(diagram), partial / "waiting")
        lines = boxes_note(draw_png(diagram, picture, sheet))
        if not sheet.titled:
            names.append("caption.txt")
            (partial / names[-1]).write_text("\n\n".join(caption(diagram)) + "\n", encoding="utf-8")
        for kind in formats:
            names.append(f"phase_diagram.{kind}")
            draw_png(diagram, partial / names[-1], sheet)
        if has_points(diagram):
            kinds = ("png", *formats)
            names += [f"points.{kind}" for kind in kinds]
            for kind in kinds:
                draw_points_png(diagram, partial / f"points.{kind}", sheet)
        if len(diagram.cells) <= MOST_PANELS:
            drawn = waiting_picture(diagram.glued)
            style.to_png(lambda figure: draw_waiting(figure, drawn), curves)
        else:
            lines.append(f"no picture of {len(diagram.cells)} curves of waiting (at most {MOST_PANELS}): waiting.csv")
        if (found := influence(diagram)) is not None:
            lines += influence_lines(diagram, found)
            if panels := influence_panels(diagram, found):
                write_both(influence_table(found), partial / "effects")
                head = diagram.title, diagram.subtitle, [INFLUENCE_NOTE]
                style.to_png(lambda figure: draw_effects(figure, *head, panels), bars)
        variants = sensitivity(diagram)
        write_both(sensitivity_table(diagram, variants), partial / "sensitivity")
        lines += filter(None, [others := sensitivity_line(diagram, variants)])
        write_page(diagram, page, options=flags, influence=found, sensitivity=others)
        written = [folder / name for name in names if (partial / name).exists()]
    return Figures(tuple(written), (*summary_lines(diagram), *lines))


def search_intervals(events: Sequence[Event], tau_steps: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """The intervals of P by tau and of RMST(tau), of a suggestion's events, as a cell of the tables would have them."""
    summary = summarise(CensoredTimes.of(events, tau_steps), tau_steps, np.random.default_rng(0))
    share, mean = summary.by_tau, summary.restricted_mean_steps
    return (share.low, share.high), (mean.low, mean.high)


def draw_search(
    rows: Sequence[Mapping[str, Any]],
    points: Sequence[tuple[float, float, float, bool]],
    paths: Sequence[Path],
    title: str,
    event: str,
    *,
    tau_steps: int,
) -> None:
    """Write the history of a search: a picture of its suggestions, and a table, at these two paths of one folder.

    :param points: of each suggestion RMST, its interval, and whether a seed has the event.
    """
    with whole_files(paths[0].parent) as partial:
        picture, table = (partial / path.name for path in paths)
        drawn = [HistoryPoint(*point) for point in points]
        draw_history(drawn, picture, title=title, event=event, tau_steps=tau_steps)
        write_csv(pd.DataFrame(rows), table)


def _draw_curves(results: finals.Finals, folder: Path, flags: Sequence[str]) -> Figures:
    names = ("curves.png", "report.html", "cells.csv", "cells.parquet", "finals.csv", "finals.parquet")
    with whole_files(folder) as partial:
        write_both(finals.cells_table(results), partial / "cells")
        write_both(finals.trials_table(results), partial / "finals")
        boxes = boxes_note(draw_curves(results, partial / names[0]))
        write_finals_page(results, partial / names[1], options=flags)
    return Figures(tuple(folder / name for name in names), (*finals.summary_lines(results), *boxes))


def _check_no_diagram_asked(sweep: Sweep, options: Mapping[str, str | None]) -> None:
    """Learning curves have no axes and no event to choose."""
    for option, value in options.items():
        if value:
            raise SweepError(
                f"{option} {value}: {sweep.name} declares no event and has no phase diagram; allowed: --tau"
            )
