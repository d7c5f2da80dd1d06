"""From a sweep in a ledger or in MLflow to its files: picture, page, tables, and a few lines for the terminal."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from analysis.cells import build
from analysis.load import LoadError, load
from analysis.pages import write_page
from analysis.plots import draw_png
from analysis.tables import cells_table, summary_lines, trials_table
from trainables.engine.outcome import GEN_THRESHOLD, MEM_THRESHOLD


@dataclass(frozen=True)
class Figures:
    """What :func:`draw` has written, and what it says in short."""

    png: Path
    html: Path
    cells: Path
    """One row a cell; :data:`analysis.tables.CELL_COLUMNS` explains its columns."""
    outcomes: Path
    """One row a trial; :data:`analysis.tables.TRIAL_COLUMNS` explains its columns."""
    summary: tuple[str, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file."""
        return self.png, self.html, self.cells, self.outcomes

    @property
    def open_command(self) -> str:
        """The command that opens the page in a browser."""
        opener = {"darwin": "open", "win32": "start"}.get(sys.platform, "xdg-open")
        return f"{opener} {shlex.quote(str(self.html))}"


def draw(
    uri: str,
    sweep: str,
    out_dir: str | Path,
    x: str | None = None,
    y: str | None = None,
    *,
    tau_steps: int | None = None,
    train_threshold: float = MEM_THRESHOLD,
    test_threshold: float = GEN_THRESHOLD,
) -> Figures:
    """Draw the phase diagram of a sweep.

    :param uri: a ledger, or an MLflow tracking address.
    :param out_dir: where the files go; made where it is missing.
    :param x: the horizontal axis, in full or by its ending, and likewise ``y``; chosen by the sweep without.
    :param tau_steps: the time up to which everything is told; the sweep's horizon without.
    :raises LoadError: for an MLflow that cannot answer, a bad tau or threshold, or a folder that cannot be written.
    :raises analysis.layout.AxisError: for an unknown axis.
    :raises pipeline.ledger.LedgerError: for a folder that is no ledger, or a ledger without the sweep.
    """
    frame = load(uri, sweep, train_threshold=train_threshold, test_threshold=test_threshold)
    diagram = build(frame, x=x, y=y, tau_steps=tau_steps)
    folder = Path(out_dir)
    figures = Figures(
        png=folder / "phase_diagram.png",
        html=folder / "phase_diagram.html",
        cells=folder / "cells.csv",
        outcomes=folder / "outcomes.csv",
        summary=tuple(summary_lines(diagram)),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        cells_table(diagram).to_csv(figures.cells, index=False)
        trials_table(diagram).to_csv(figures.outcomes, index=False)
        draw_png(diagram, figures.png)
        write_page(diagram, figures.html)
    except OSError as error:
        raise LoadError(f"--out {out_dir}: cannot be written ({error.strerror})") from None
    return figures
