"""A figure of the paper: where its evidence comes from, what it claims, how it is judged and how it is drawn.

The modules of :mod:`analysis.paper` export one each, as ``FIGURE``; they are found without being listed.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from matplotlib.figure import SubFigure

from analysis.data.kept import sized_name
from analysis.data.sweep import FULL, SIZES, Sweep, Trial
from analysis.paper import figures as paper
from analysis.paper.verdict import NOTHING, Verdict
from trainables.engine.errors import GrokscapeError

LABELS = {"fig": "Fig.", "table": "Table", "prop": "Prop.", "appendix": "App."}
"""What a module's name may begin with, in the order of the page."""
Snapshots = Callable[[Trial], Mapping[int, bytes]]
"""The stored weights of a trial by step."""


class FigureError(GrokscapeError):
    """A figure that does not exist: one line with those that do."""


@dataclass(frozen=True, kw_only=True)
class PaperFigure:
    """One figure, table, proposition or appendix."""

    name: str
    """As the command line takes it, and the module's own: ``fig02``."""
    title: str
    """What it shows, in a few words."""
    statement: str
    """The acceptance statement, in words."""
    verdict: Callable[[Sweep], Verdict]
    """Called with evidence only where something was measured."""
    draw: Callable[[Sweep, SubFigure], None]
    """Draws the panels.  The head above them (title, verdict, extent) is drawn for every figure alike."""
    space: str | tuple[str, ...] = ()
    """The stem of its search space, or of several; none where :attr:`check` makes the evidence."""
    columns: tuple[str, ...] = ()
    """The probes' columns that it needs."""
    sized: bool = True
    """Whether the space has the sizes full and laptop; one without is full."""
    condense: Callable[[Sweep, Snapshots], Sweep] | None = None
    """Turns a ledger's evidence and its snapshots into what is kept, where curves alone do not tell it."""
    check: Callable[[], Sweep] | None = None
    """Makes the evidence without any training."""
    size_in: tuple[float, float] = (9.6, 4.2)
    """Width and height of the panels, in inches."""

    @property
    def label(self) -> str:
        """How the paper calls it: ``Fig. 2``, ``Table 1``, ``Prop. 1``, ``App. D.1``."""
        kind, number = re.fullmatch(r"([a-z]+)_?(.+)", self.name).groups()  # type: ignore[union-attr]
        if kind == "appendix":
            number = re.sub(r"(?<=[A-Z])(?=[0-9])", ".", number.upper())
        return f"{LABELS[kind]} {number.lstrip('0')}"

    @property
    def spaces(self) -> tuple[str, ...]:
        """The stems of its search spaces."""
        return (self.space,) if isinstance(self.space, str) else self.space

    @property
    def sizes(self) -> tuple[str, ...]:
        """The sizes at which there can be evidence, the paper's own first."""
        return SIZES if self.sized and self.check is None else (FULL,)

    def files(self, size: str) -> tuple[str, ...]:
        """The names under which its evidence of a size is kept."""
        if self.check is not None:
            return (self.name,)
        return tuple(sized_name(space, size, sized=self.sized) for space in self.spaces)

    def judged(self, evidence: Sweep) -> Verdict:
        """The verdict; "not run" where nothing was measured."""
        return self.verdict(evidence) if evidence else NOTHING


def paper_figures() -> dict[str, PaperFigure]:
    """Every figure by name: the figures in order, then tables, propositions and appendices."""
    names = [module.name for module in pkgutil.iter_modules(paper.__path__)]
    kinds = [*LABELS]
    names.sort(key=lambda name: (kinds.index(re.split(r"[\d_]", name)[0]), name))
    return {name: importlib.import_module(f"{paper.__name__}.{name}").FIGURE for name in names}


def named(name: str) -> list[PaperFigure]:
    """The figure of that name, or its panels: ``fig06`` is fig06a, fig06b, ...

    :raises FigureError: naming those that there are.
    """
    found = paper_figures()
    panels = [figure for each, figure in found.items() if re.fullmatch(f"{re.escape(name)}[a-z]?", each)]
    if not panels:
        raise FigureError(f"{name}: no such figure; allowed: all, {', '.join(found)}")
    return panels
