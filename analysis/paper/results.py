"""What came out for a figure: its evidence and its verdict at each size, from the kept files or from a ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.data.kept import collect, read_kept, save
from analysis.data.sweep import FULL, LAPTOP, Sweep
from analysis.paper.figure import PaperFigure, paper_figures
from analysis.paper.verdict import MET, NOT_MET, NOT_RUN, REPORTED, Claim, Verdict
from pipeline.ledger import Ledger

DECIDED = (MET, NOT_MET, REPORTED)


@dataclass(frozen=True)
class FigureResult:
    """One figure with all that is known of it."""

    figure: PaperFigure
    evidence: Mapping[str, Sweep]
    """By size, of those that were looked at; empty where nothing was run."""
    verdicts: Mapping[str, Verdict]
    """By size, likewise."""

    def status(self, size: str) -> str:
        """The verdict at a size; empty where the figure has no such size, or it was not looked at."""
        return self.verdicts[size].status if size in self.verdicts else ""

    @property
    def sizes(self) -> tuple[str, ...]:
        """The sizes at which something was measured, the one to show first.

        Full comes first where it shows at least as many settings, unless only the laptop's verdict is decided.
        """
        found = [size for size, evidence in self.evidence.items() if evidence]
        if len(found) < 2:
            return tuple(found)
        settings = {size: len({_key(trial.setting) for trial in self.evidence[size].where()}) for size in found}
        undecided = self.status(FULL) not in DECIDED and self.status(LAPTOP) in DECIDED
        return (LAPTOP, FULL) if settings[FULL] < settings[LAPTOP] or undecided else (FULL, LAPTOP)

    def summary(self, size: str) -> str:
        """``met: 5 seeds, all 1500 steps``; what there is to say of a size in one cell of a table."""
        if size not in self.verdicts:
            return "–"
        status = self.status(size)
        if status == NOT_RUN or self.figure.check is not None:
            return status
        return f"{status}: {self.evidence[size].extent()}"

    def claims(self) -> list[tuple[str, dict[str, Claim]]]:
        """Every claim's text and what each size says of it; in the statement's order."""
        found: dict[str, dict[str, Claim]] = {}
        for size in self.sizes:
            for claim in self.verdicts[size].claims:
                found.setdefault(claim.text, {})[size] = claim
        return list(found.items())

    def to_json(self) -> dict[str, Any]:
        """Everything but the curves, as plain JSON."""
        return {
            "figure": self.figure.name,
            "title": self.figure.title,
            "statement": self.figure.statement,
            "verdicts": {
                size: {
                    "status": verdict.status,
                    "reason": verdict.reason,
                    "extent": self.evidence[size].extent(),
                    "note": verdict.note,
                    "claims": [
                        {"text": claim.text, "status": claim.status, "holds": claim.holds, "numbers": claim.numbers}
                        for claim in verdict.claims
                    ],
                }
                for size, verdict in self.verdicts.items()
            },
        }


def _key(setting: Mapping[str, Any]) -> tuple:
    return tuple(sorted((name, str(value)) for name, value in setting.items()))


def result(
    figure: PaperFigure, ledger: Ledger | None = None, sizes: Sequence[str] | None = None, folder: Path | None = None
) -> FigureResult:
    """A figure's evidence and verdicts.

    :param ledger: read instead of the kept evidence; a figure without training has its own.
    :param sizes: those to look at; every one by default.
    :raises analysis.data.sweep.SweepError: for a kept file that cannot be read.
    :raises pipeline.ledger.LedgerError: for a ledger that cannot be read.
    """
    wanted = [size for size in figure.sizes if sizes is None or size in sizes]
    evidence = {size: _evidence(figure, size, ledger, folder) for size in wanted}
    return FigureResult(figure, evidence, {size: figure.judged(found) for size, found in evidence.items()})


def results(ledger: Ledger | None = None, sizes: Sequence[str] | None = None) -> list[FigureResult]:
    """Every figure's result, in the page's order."""
    return [result(figure, ledger, sizes) for figure in paper_figures().values()]


def _evidence(figure: PaperFigure, size: str, ledger: Ledger | None, folder: Path | None) -> Sweep:
    if figure.check is not None:
        return read_kept(figure.name, folder) or figure.check()
    if ledger is None:
        parts = [read_kept(name, folder) for name in figure.files(size)]
    else:
        parts = [_collected(figure, space, size, ledger, figure.columns) for space in figure.spaces]
    return Sweep(size=size, trials=tuple(trial for part in parts if part is not None for trial in part.trials))


def _collected(figure: PaperFigure, space: str, size: str, ledger: Ledger, columns: Sequence[str]) -> Sweep:
    found = collect(ledger, space, size, columns, sized=figure.sized)
    if figure.condense is None or not found:
        return found
    return figure.condense(found, lambda trial: ledger.snapshots(trial.trial_id))


def keep(figure: PaperFigure, ledger: Ledger | None, sizes: Sequence[str], folder: Path | None = None) -> list[str]:
    """Write a figure's evidence of these sizes into the kept files; a line for each, about what was done.

    A file serves every figure of its space, so it holds the columns of all of them.  Sweep that was followed
    less far than what is kept does not replace it.
    """
    if figure.check is not None:
        return [f"{save(figure.check(), figure.name, folder)}: written"]
    lines = []
    for size in sizes if ledger is not None else ():
        for space, name in zip(figure.spaces, figure.files(size), strict=True):
            sharing = [other for other in paper_figures().values() if space in other.spaces]
            columns = sorted({column for other in (*sharing, figure) for column in other.columns})
            assert ledger is not None
            found = _collected(figure, space, size, ledger, columns)
            if not found:
                lines.append(f"{name}: nothing to keep, the ledger has no trials of it")
                continue
            before = read_kept(name, folder)
            steps, had = _steps(found), _steps(before) if before is not None else 0
            if steps < had:
                lines.append(f"{name}: left as it was, because it holds more ({had} steps, the ledger {steps})")
                continue
            path = save(found, name, folder)
            lines.append(f"{path}: {found.extent()}, {path.stat().st_size / 1024:.0f} KiB")
    return lines


def _steps(evidence: Sweep) -> int:
    """How many steps all its trials were followed together."""
    return sum(trial.last_step for trial in evidence.trials)


def markdown(found: Sequence[FigureResult]) -> str:
    """The README's table of verdicts."""
    rows = ["| | what is claimed | full size | laptop size |", "|---|---|---|---|"]
    for each in found:
        cells = (each.summary(size).replace("\u202f", " ").replace("|", "\\|") for size in (FULL, LAPTOP))
        rows.append(f"| {each.figure.label} | {each.figure.title} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"
