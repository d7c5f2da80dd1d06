"""``python -m analysis.compare SWEEP SWEEP``: sweeps side by side, paired where their seeds pair.

The sweeps may lie in different ledgers, or in MLflow.  It writes ``comparison.png`` and ``comparison.csv``, and prints
each setting that the sweeps share.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.drawing.guard import drawing
from analysis.phase_diagram import DEFAULT_FIGURES, DEFAULT_SOURCE
from trainables.engine.errors import CommandLine, GrokscapeError
from trainables.engine.terminal import prepare_streams, shown

if TYPE_CHECKING:
    from analysis.comparing.sweeps import SweepComparison


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command_line = CommandLine(
        prog="python -m analysis.compare",
        description="Compare sweeps at the settings that they share, each with the first: a picture and a table.",
        epilog="Exit codes: 0 done, 2 bad input.",
    )
    command_line.add_argument("sweeps", nargs="+", metavar="SWEEP", help="a sweep's name; two or more")
    command_line.add_argument(
        "--from",
        dest="sources",
        nargs="+",
        metavar="URI",
        default=[DEFAULT_SOURCE],
        help=f"a ledger or an MLflow address for all sweeps, or one for each; default: {DEFAULT_SOURCE}",
    )
    command_line.add_argument("--event", help="NAME or NAME:THRESHOLD; default: the first sweep's last declared event")
    command_line.add_argument(
        "--tau", type=int, metavar="STEPS", help="ignore what comes after this step; default: the shortest horizon"
    )
    command_line.add_argument(
        "--out", metavar="DIR", help=f"the folder of the files; default: {DEFAULT_FIGURES}/A_vs_B"
    )
    return command_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print the results and the files; the exit code is 0, or 2 for bad input."""
    prepare_streams()
    options = parser().parse_args(arguments)
    folder = Path(options.out or Path(DEFAULT_FIGURES) / "_vs_".join(options.sweeps))
    try:
        with drawing():
            lines = _compare(options, folder)
    except GrokscapeError as error:
        print(f"error: {shown(error)}", file=sys.stderr)
        return 2
    for line in lines:
        print(shown(line))
    return 0


def _compare(options: argparse.Namespace, folder: Path) -> list[str]:
    from analysis.comparing.picture import draw_png
    from analysis.comparing.sweeps import compare_sweeps
    from analysis.data.spreadsheet import write_csv
    from analysis.data.sweep import SweepError
    from analysis.drawing.fonts import boxes_note
    from analysis.drawing.guard import whole_files

    comparison = compare_sweeps(*options.sweeps, sources=options.sources, event=options.event, tau_steps=options.tau)
    try:
        with whole_files(folder) as partial:
            write_csv(comparison.table, partial / "comparison.csv")
            boxes = boxes_note(draw_png(comparison, partial / "comparison.png"))
    except OSError as error:
        raise SweepError(f"--out {folder}: cannot be written ({error.strerror})") from None
    paths = [str(folder / name) for name in ("comparison.png", "comparison.csv")]
    return [*_summary(comparison), *boxes, "", *paths]


def _summary(comparison: "SweepComparison") -> list[str]:
    """A line a sweep and setting, with its contrast."""
    from analysis.diagram.tables import aligned
    from analysis.diagram.words import by_words, with_interval
    from analysis.stats.intervals import LEVEL

    tau = comparison.tau_steps
    titles = "setting", "sweep", "n", by_words(comparison.event, str(tau), "<="), f"{comparison.event.name} given that"
    rows: list[tuple[str, ...]] = [(*titles, f"RMST({tau})", f"minus {comparison.sweeps[0]}", "ratio of times", "p")]
    for setting, entries in comparison.settings.items():
        for number, entry in enumerate(entries):
            summary, contrast = entry.summary, entry.contrast
            known = not math.isnan(summary.by_tau.value)
            row = [setting if number == 0 else "", entry.sweep, str(entry.n)]
            row += [with_interval(summary.by_tau, ".2f"), with_interval(summary.given_steps, ".0f")]
            row.append(with_interval(summary.restricted_mean_steps, ".0f") if known else "unfinished")
            if contrast is None:
                rows.append((*row, "", "", ""))
                continue
            p = contrast.p if math.isnan(contrast.p_holm) else contrast.p_holm
            pairs = f"{contrast.pairs} pairs" if contrast.pairs else "not paired"
            ratio = with_interval(contrast.ratio, ".2f")
            rows.append((*row, with_interval(contrast.difference_steps, "+.0f"), ratio, f"{p:.3g} ({pairs})"))
    adjusted = any(
        entry.contrast and not math.isnan(entry.contrast.p_holm)
        for entries in comparison.settings.values()
        for entry in entries
    )
    seen = {entry.sweep for entries in comparison.settings.values() for entry in entries}
    notes = [f"{sweep}: left out, it has no setting in common with the others"
             for sweep in comparison.sweeps if sweep not in seen]  # fmt: skip
    notes += ["p by Holm over all rows"] if adjusted else []
    contrasts = [entry.contrast for entries in comparison.settings.values() for entry in entries if entry.contrast]
    paired = [contrast.pairs for contrast in contrasts if contrast.pairs]
    least = min((2.0 ** (1 - pairs) for pairs in paired), default=0.0) * len(contrasts)
    if least >= 1 - LEVEL:
        notes.append(
            f"{len(contrasts)} comparisons of at most {max(paired)} pairs cannot reach p < {1 - LEVEL:.2g} (at best "
            f"{min(1.0, least):.3g}): more seeds, or fewer settings, can"
        )
    return [*aligned(rows), *notes]


if __name__ == "__main__":
    sys.exit(main())
