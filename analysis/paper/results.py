"""The results of a figure: its runs and its verdict at each size, from the kept files or from a ledger."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from analysis.data.kept import collect, read_kept, save
from analysis.data.sweep import FULL, LAPTOP, Sweep
from analysis.paper.figure import FigureSpec, find_figures
from analysis.paper.verdict import MET, NOT_MET, NOT_RUN, REPORTED, Claim, Verdict
from pipeline.ledger import Ledger

DECIDED = (MET, NOT_MET, REPORTED)


@dataclass(frozen=True)
class FigureResult:
    """One figure with all that is known of it."""

    figure: FigureSpec
    evidence: Mapping[str, Sweep]
    """Its runs by size, of the sizes that were looked at; empty where nothing was run."""
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
        run = [size for size, evidence in self.evidence.items() if evidence]
        if len(run) < 2:
            return tuple(run)
        settings = {size: len({_key(trial.setting) for trial in self.evidence[size].where()}) for size in run}
        undecided = self.status(FULL) not in DECIDED and self.status(LAPTOP) in DECIDED
        return (LAPTOP, FULL) if settings[FULL] < settings[LAPTOP] or undecided else (FULL, LAPTOP)

    def extent(self, size: str) -> str:
        """``at laptop size: 3 seeds, all 2000 steps``; of a check without training, that it is one."""
        if self.figure.check is not None:
            return "computed from the definitions, no training"
        return f"at {size} size: {self.evidence[size].extent()}"

    def summary(self, size: str) -> str:
        """``met: 5 seeds, all 1500 steps``: a size in one cell of a table."""
        if size not in self.verdicts:
            return "–"
        status = self.status(size)
        if status == NOT_RUN or self.figure.check is not None:
            return status
        return f"{status}: {self.evidence[size].extent()}"

    def claims(self) -> list[tuple[str, dict[str, Claim]]]:
        """Every claim's text and its judgement at each size; in the statement's order."""
        claims: dict[str, dict[str, Claim]] = {}
        for size in self.sizes:
            for claim in self.verdicts[size].claims:
                claims.setdefault(claim.text, {})[size] = claim
        return list(claims.items())

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
    figure: FigureSpec, ledger: Ledger | None = None, sizes: Sequence[str] | None = None, folder: Path | None = None
) -> FigureResult:
    """A figure's runs and verdicts.

    :param ledger: read instead of the kept files; a figure without training makes its own evidence.
    :param sizes: those to look at; every one by default.
    :raises analysis.data.sweep.SweepError: for a kept file that cannot be read.
    :raises pipeline.ledger.LedgerError: for a ledger that cannot be read.
    """
    wanted = [size for size in figure.sizes if sizes is None or size in sizes]
    evidence = {size: _evidence(figure, size, ledger, folder) for size in wanted}
    return FigureResult(figure, evidence, {size: figure.judged(runs) for size, runs in evidence.items()})


def results(ledger: Ledger | None = None, sizes: Sequence[str] | None = None) -> list[FigureResult]:
    """Every figure's result, in the page's order."""
    return [result(figure, ledger, sizes) for figure in find_figures().values()]


def by_room(shown: Iterable[FigureResult]) -> list[tuple[str, list[FigureResult]]]:
    """The results under their rooms' headings; under one empty heading where there is only one room."""
    rooms = [(room, list(group)) for room, group in groupby(shown, key=lambda each: each.figure.room)]
    return rooms if len(rooms) > 1 else [("", results) for _, results in rooms]


def _evidence(figure: FigureSpec, size: str, ledger: Ledger | None, folder: Path | None) -> Sweep:
    if figure.check is not None:
        return read_kept(figure.name, folder) or figure.check()
    if ledger is None:
        parts = [read_kept(name, folder) for name in figure.files(size)]
    else:
        parts = [_collected(figure, space, size, ledger, figure.columns) for space in figure.spaces]
    trials = tuple(trial for part in parts if part is not None for trial in part.trials)
    return Sweep(name=figure.name, size=size, trials=trials)


def _collected(figure: FigureSpec, space: str, size: str, ledger: Ledger, columns: Sequence[str]) -> Sweep:
    sweep = collect(ledger, space, size, columns, sized=figure.sized)
    if figure.condense is None or not sweep:
        return sweep
    return figure.condense(sweep, lambda trial: ledger.snapshots(trial.trial_id))


def keep(figure: FigureSpec, ledger: Ledger | None, sizes: Sequence[str], folder: Path | None = None) -> list[str]:
    """Write a figure's runs of these sizes into the kept files; return a line about each.

    A file serves every figure of its space, so it holds the columns of all of them.  Runs that were followed less far
    than the kept ones do not replace them.
    """
    if figure.check is not None:
        return [f"{save(figure.check(), figure.name, folder)}: written"]
    lines = []
    for size in sizes if ledger is not None else ():
        for space, name in zip(figure.spaces, figure.files(size), strict=True):
            sharing = [other for other in find_figures().values() if space in other.spaces]
            columns = sorted({column for other in (*sharing, figure) for column in other.columns})
            assert ledger is not None
            sweep = _collected(figure, space, size, ledger, columns)
            if not sweep:
                lines.append(f"{name}: nothing to keep, the ledger has no trials of it")
                continue
            before = read_kept(name, folder)
            steps, kept_steps = _steps(sweep), _steps(before) if before is not None else 0
            if steps < kept_steps:
                lines.append(f"{name}: not replaced, it holds more steps ({kept_steps}) than the ledger ({steps})")
                continue
            path = save(sweep, name, folder)
            lines.append(f"{path}: {sweep.extent()}, {path.stat().st_size / 1024:.0f} KiB")
    return lines


def _steps(sweep: Sweep) -> int:
    """How many steps all its trials were followed together."""
    return sum(trial.last_step for trial in sweep.trials)


def markdown(shown: Sequence[FigureResult]) -> str:
    """The README's table of verdicts."""
    rows = ["| | what is claimed | full size | laptop size |", "|---|---|---|---|"]
    for room, members in by_room(shown):
        rows += [f"| **{room}** | | | |"] if room else []
        for each in members:
            cells = (each.summary(size).replace("\u202f", " ").replace("|", "\\|") for size in (FULL, LAPTOP))
            rows.append(f"| {each.figure.label} | {each.figure.title} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"
