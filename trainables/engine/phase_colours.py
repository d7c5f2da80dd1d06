"""The colour of each phase, the same in the terminal, in pictures and on pages."""

import itertools
from collections.abc import Iterable

from trainables.engine.events import PhaseRule

SPARE_COLOURS = ("#0072b2", "#56b4e9", "#cc79a7", "#e69f00", "#009e73", "#d55e00", "#f0e442")
"""Okabe and Ito's, which colour-blind readers tell apart (jfly.uni-koeln.de/color), for phases that declare none."""


def colours_of(phases: Iterable[PhaseRule]) -> dict[str, str]:
    """The colour of each phase by name, in the order of the phases.

    Where a name appears again, its first colour counts; a phase that declares none gets one that no other declares.

    >>> colours_of([PhaseRule(name="a", colour="#0072b2"), PhaseRule(name="b")])
    {'a': '#0072b2', 'b': '#56b4e9'}
    """
    declared: dict[str, str] = {}
    for phase in phases:
        declared.setdefault(phase.name, phase.colour)
    free = itertools.cycle([colour for colour in SPARE_COLOURS if colour not in declared.values()] or SPARE_COLOURS)
    return {name: colour or next(free) for name, colour in declared.items()}
