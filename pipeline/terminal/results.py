"""What a run prints before it starts and after it ends, and its result as data."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.plan import Plan
from pipeline.terminal.dry_run import about, count_of, counts, counts_text
from pipeline.terminal.flags import DONE, SOME_FAILED
from pipeline.terminal.signals import Interrupted
from pipeline.terminal.tally import Tally
from trainables.runtime.rows import TrialRow, TrialState


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The result of a run of a sweep."""

    sweep: str
    planned: int
    cached: int
    finished: int
    """In this run; without those that failed."""
    failed: int
    notes: tuple[str, ...]
    """What happened to cohorts, a line each."""
    ledger: str
    """As messages show it, without secrets."""
    mlflow: str | None
    figures: tuple[Path, ...] | None
    """None where nothing was measured, or the drawing failed."""
    figures_error: str | None = None
    mlflow_error: str | None = None
    mlflow_command: str | None = None
    """Repeats the sync that failed."""
    best: dict[str, Any] | None = None
    """The best suggestion of an objective."""
    interrupted: Interrupted | None = None

    @classmethod
    def of(cls, tally: Tally, **values: Any) -> "RunResult":
        """The result with the counts of a tally."""
        return cls(
            planned=len(tally.trials),
            cached=len(tally.cached),
            finished=tally.finished,
            failed=tally.failed,
            notes=tuple(tally.notes),
            **values,
        )

    @property
    def exit_code(self) -> int:
        if self.interrupted:
            return self.interrupted.exit_code
        return SOME_FAILED if self.failed else DONE

    def to_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        paths = None if self.figures is None else [str(path) for path in self.figures]
        values = vars(self) | {"notes": list(self.notes), "figures": paths}
        values["interrupted"] = self.interrupted and self.interrupted.name
        optional = ("figures_error", "mlflow_error", "mlflow_command", "best", "interrupted")
        return {name: value for name, value in values.items() if value or name not in optional}


def announcement(sweep: str, plan: Plan, suggestions: int) -> list[str]:
    """What is about to run, and why, as the dry run says it."""
    if suggestions:
        return [f"{sweep}: {suggestions} suggestions by Optuna to run, {len(plan.cached)} trials in the ledger"]
    planned = len(plan.trials)
    if not plan.cohorts and not plan.failed:
        return [f"{sweep}: nothing to run, the ledger has all {planned} trials"]
    what = f"{sweep}: {count_of(planned, 'trial')}: {counts_text(counts(plan, planned))}"
    if not plan.cohorts:
        return [f"{what}; nothing to run"]
    where = f"{count_of(len(plan.cohorts), 'cohort')} on {count_of(plan.workers, 'worker')}"
    cost = f"{about(plan.predicted_wall_s)} of training if no trial stops early"
    return [f"{what}; {where}, {cost}", *(f"why      {reason}" for reason in plan.reasons)]


def failures(rows: Iterable[TrialRow]) -> list[str]:
    """A line for each kind of failure among the rows: how many trials, and the first one's error."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.state == TrialState.FAILED:
            kinds.setdefault((row.error_kind or "", row.error or ""), []).append(row.trial_id)
    return [
        f"failed   {count_of(len(trial_ids), 'trial')} ({trial_ids[0]}{', ...' if len(trial_ids) > 1 else ''}), "
        f"{kind.replace('_', ' ')}: {error}"
        for (kind, error), trial_ids in kinds.items()
    ]
