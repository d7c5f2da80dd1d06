"""A picture that a notebook shows by itself, whichever backend matplotlib has there."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

from matplotlib.figure import Figure

from analysis.drawing.style import DPI, drawn, own_settings


class Picture(Figure):
    """A figure with the representation that IPython asks for; :meth:`Figure.savefig` writes it as any other."""

    def _repr_png_(self) -> tuple[bytes, dict[str, Any]]:
        """The picture as PNG, and how large it is shown: at half its pixels, so that it is sharp."""
        width, height = self.get_size_inches() * DPI / 2
        return self.to_png(), {"width": int(width), "height": int(height)}

    def to_png(self) -> bytes:
        """The picture as PNG."""
        target = BytesIO()
        with own_settings():
            self.savefig(target, format="png", dpi=DPI, metadata={"Software": None})
        return target.getvalue()


def picture(draw: Callable[[Figure], None]) -> Picture:
    """What a function draws on an empty figure."""
    with own_settings():
        figure = Picture(dpi=DPI, facecolor="white")
        drawn(draw, figure)
    return figure
