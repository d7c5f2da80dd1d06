"""The phase diagram as a picture made to be shown; nothing here computes a statistic."""

import warnings
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis.cells import Diagram
from analysis.grid_plot import draw_grid
from analysis.row_plot import draw_row

DPI = 200


def draw_png(diagram: Diagram, path: Path) -> None:
    """Write the picture of a diagram as a PNG file: a row of cells over time, or a grid of cells."""
    figure = Figure(dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # A sign that the font lacks is drawn as a box; that is no reason to stop.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        (draw_row if diagram.y is None else draw_grid)(figure, diagram)
        figure.savefig(path, metadata={"Software": None})
