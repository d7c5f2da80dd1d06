"""What every report has around its numbers: what failed, where it comes from, how to reproduce and to cite it."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.data.origin import command
from analysis.data.sweep import Sweep
from analysis.diagram import marks
from analysis.page.cite import bibtex
from analysis.page.svg import SHAPES, paint
from trainables.engine.errors import redact

CODE = Path(__file__).with_name("page.js")


def frame(sweep: Sweep, options: Sequence[str]) -> dict[str, Any]:
    """The values of the page's template that do not depend on what was measured.

    :param options: of the command that makes the report, beyond the sweep and its source.
    """
    origin = sweep.origin
    return {
        "name": sweep.name,
        "source": redact(sweep.source),
        "scripts": (CODE.read_text(encoding="utf-8"),),
        "paint": paint,
        "shapes": SHAPES,
        "mean_symbol": marks.MEAN_SYMBOL,
        "share_symbol": marks.SHARE_SYMBOL,
        "failures": origin.failures if origin else (),
        "nothing_failed": "No trial failed." if origin else "The source does not say which trials failed.",
        "made": _made(sweep),
        "repeat": _repeat(sweep, options),
        "bibtex": bibtex(sweep),
    }


def _made(sweep: Sweep) -> dict[str, str]:
    """Where the numbers come from, and what they cost."""
    begun = sum(trial.begun for trial in sweep.trials)
    measured = f"{begun} of {len(sweep.trials)} measured"
    if (origin := sweep.origin) is None:
        return {"trials": measured}
    return {
        "trials": f"{measured}; {origin.cost()}",
        "made by": "; ".join(origin.made_by),
        "the question": f"{sweep.name}: SHA-256 {origin.revision[:12]}, recorded {origin.recorded_at[:10]}",
    }


def _repeat(sweep: Sweep, options: Sequence[str]) -> list[str]:
    """The commands that take the same code, run the sweep and make the report again."""
    commit = sweep.origin.commit if sweep.origin else ""
    report = shlex.join(["python", "-m", "analysis.report", sweep.name, "--from", redact(sweep.source), *options])
    return [*filter(None, [f"git checkout {commit}" if commit else "", command(sweep.doc)]), report]
