"""A figure: where its runs come from, what it claims, how it is judged and how it is drawn.

A module of one of the :data:`ROOMS` exports one, as ``FIGURE``; it is found without being listed.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.figure import SubFigure

from analysis.data.kept import sized_name
from analysis.data.sweep import FULL, SIZES, STEP, Sweep, Trial
from analysis.paper.verdict import NOTHING, Verdict
from trainables.engine.errors import GrokscapeError
from trainables.runtime.rows import TrialState

PAPER, NEIGHBOURS, DISPUTES = "The paper", "Neighbours", "Disputes"
ROOMS = {PAPER: "analysis.paper.figures", NEIGHBOURS: "analysis.neighbours", DISPUTES: "analysis.disputes"}
"""The packages in which figures are found, under their headings, in the order of the page."""
KINDS = {"fig": "Fig.", "table": "Table", "prop": "Prop.", "appendix": "App."}
"""What the name of a figure of the paper begins with, and its label; in the order of the page."""
_LABELLED = re.compile(rf"({'|'.join(KINDS)})_?([a-z]?\d*[a-z]?)")
Snapshots = Callable[[Trial], Mapping[int, bytes]]
"""The stored weights of a trial by step."""


class FigureError(GrokscapeError):
    """A figure that does not exist, or cannot be drawn as asked: one line."""


@dataclass(frozen=True, kw_only=True)
class FigureSpec:
    """One figure, table, proposition or appendix of the paper, or one figure about a neighbour or a dispute."""

    title: str
    """What it shows, in a few words."""
    statement: str
    """The acceptance statement, in words."""
    verdict: Callable[[Sweep], Verdict]
    """Called with runs only where something was measured."""
    draw: Callable[[Sweep, SubFigure], None]
    """Draws the panels.  The head above them (title, verdict, extent) is drawn for every figure alike."""
    space: str | tuple[str, ...] = ()
    """The stem of its search space, or of several; none where :attr:`check` makes the evidence."""
    columns: tuple[str, ...] = ("train_accuracy", "test_accuracy")
    """The probes' columns that it needs."""
    sized: bool = True
    """Whether the space has the sizes full and laptop; one without is full."""
    condense: Callable[[Sweep, Snapshots], Sweep] | None = None
    """Turns a ledger's runs and their snapshots into what is kept, where curves alone do not tell it."""
    check: Callable[[], Sweep] | None = None
    """Makes the evidence without any training."""
    size_in: tuple[float, float] = (9.6, 4.2)
    """Width and height of the panels, in inches."""
    name: str = ""
    """As the command line takes it, ``fig02``: its module's own; set when it is found, and likewise the room."""
    room: str = PAPER
    """The heading that it is under."""

    @property
    def label(self) -> str:
        """How the paper calls it (``Fig. 2``, ``Table 1``, ``App. D.1``); of the other rooms, its name in words."""
        labelled = _LABELLED.fullmatch(self.name) if self.room == PAPER else None
        if labelled is None:
            words = self.name.replace("_", " ").strip()
            return words[:1].upper() + words[1:]
        kind, number = labelled.groups()
        if kind == "appendix":
            number = re.sub(r"(?<=[A-Z])(?=[0-9])", ".", number.upper())
        return f"{KINDS[kind]} {number.lstrip('0')}"

    @property
    def spaces(self) -> tuple[str, ...]:
        """The stems of its search spaces."""
        return (self.space,) if isinstance(self.space, str) else self.space

    @property
    def sizes(self) -> tuple[str, ...]:
        """The sizes at which there can be runs, the paper's own first."""
        return SIZES if self.sized and self.check is None else (FULL,)

    def files(self, size: str) -> tuple[str, ...]:
        """The names under which its runs of a size are kept."""
        if self.check is not None:
            return (self.name,)
        return tuple(sized_name(space, size, sized=self.sized) for space in self.spaces)

    def judged(self, evidence: Sweep) -> Verdict:
        """The verdict; "not run" where nothing was measured."""
        return self.verdict(evidence) if evidence else NOTHING


def computed(figure: str, curves: Mapping[str, Sequence[float] | np.ndarray], **coordinates: Any) -> Trial:
    """A trial of a figure that is computed, without any training: its points stand where steps are."""
    arrays = {name: np.asarray(values, dtype=float) for name, values in curves.items()}
    points = np.arange(len(next(iter(arrays.values()))), dtype=float)
    return Trial(
        trial_id="-".join(map(str, (figure, *coordinates.values()))),
        space=figure,
        coordinates=coordinates,
        state=TrialState.FINISHED,
        curves={STEP: points, **arrays},
    )


def find_figures() -> dict[str, FigureSpec]:
    """Every figure by name, room by room: the paper's in its own order, the others by name."""
    figures: dict[str, FigureSpec] = {}
    for room, package in ROOMS.items():
        modules = pkgutil.iter_modules(importlib.import_module(package).__path__)
        for name in sorted((module.name for module in modules), key=_order):
            if name in figures:
                raise FigureError(f"{package}.{name}: {figures[name].room} has a figure of this name; rename one")
            figures[name] = replace(importlib.import_module(f"{package}.{name}").FIGURE, name=name, room=room)
    return figures


def _order(name: str) -> tuple[int, str]:
    labelled = _LABELLED.fullmatch(name)
    return ([*KINDS].index(labelled[1]) if labelled else len(KINDS)), name


def named(name: str) -> list[FigureSpec]:
    """The figure of that name, or its panels: ``fig06`` is fig06a, fig06b, ...

    :raises FigureError: naming those that there are.
    """
    figures = find_figures()
    panels = [figure for each, figure in figures.items() if re.fullmatch(f"{re.escape(name)}[a-z]?", each)]
    if not panels:
        raise FigureError(f"{name}: no such figure; must be all or one of: {', '.join(figures)}")
    return panels
