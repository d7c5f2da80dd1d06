"""This Python as a bare GPU machine has it: torch, numpy, pyarrow, pandas, scipy, matplotlib, and what they require.

``python -m tests.support.bare_machine MODULE ARGUMENTS`` runs a module so; :func:`strip` does it in this process.
"""

import importlib.metadata
import re
import runpy
import sys
from collections.abc import Sequence

HAS = ("torch", "numpy", "pyarrow", "pandas", "scipy", "matplotlib")


def required(roots: Sequence[str]) -> set[str]:
    """The names of these distributions and of all that they require, extras left out."""
    known: set[str] = set()
    left = list(roots)
    while left:
        name = _normal(left.pop())
        if name in known:
            continue
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # Another platform's, or an older Python's.
        known.add(name)
        left += [_normal(re.split(r"[^\w.-]", line)[0]) for line in lines if "extra ==" not in line]
    return known


def strip() -> None:
    """Let nothing more be imported in this process that such a machine lacks."""
    there = required(HAS)
    for module, distributions in importlib.metadata.packages_distributions().items():
        if there.isdisjoint(map(_normal, distributions)) and "grokscape" not in distributions and module != "tests":
            sys.modules[module] = None  # type: ignore[assignment]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    strip()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
