"""How a sweep with an objective ends: the best suggestions with their intervals, and the history as a table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.execution.suggestions import Answer
from pipeline.spec import SweepSpec
from trainables.engine.events import EventRule
from trainables.engine.terminal import shown

BEST_SHOWN = 5


@dataclass(frozen=True)
class Suggestion:
    """A suggestion that has ended."""

    number: int
    """From 1, in the order of the study."""
    values: Mapping[str, Any]
    """By the paths of the axes."""
    answer: Answer | None
    """None where a trial failed, or the values are bad together."""
    by_tau: tuple[float, float] = (math.nan, math.nan)
    """The interval of the probability of the event by tau; NaN where there is none."""
    rmst: tuple[float, float] = (math.nan, math.nan)
    """The interval of the restricted mean, in steps."""

    @property
    def reached(self) -> int:
        """How many seeds had the event by tau."""
        return sum(event.occurred for event in self.answer.events) if self.answer else 0


class History:
    """The suggestions of a sweep, in order."""

    def __init__(self, spec: SweepSpec, suggestions: Sequence[Suggestion]) -> None:
        assert spec.objective is not None
        self.suggestions = suggestions
        self._of = max(spec.objective.budget, len(suggestions))  # The budget may have been larger.
        self._tau_steps = spec.base.horizon_steps
        self._rule: EventRule = spec.objective.rule(spec.base.events)
        self.event = f"{self._rule.name} ({self._rule.words(spec.objective.threshold)})"
        self._final = f"final {self._rule.column.replace('_', ' ')}"

    def best(self) -> list[Suggestion]:
        """Those with a value, the best first, as the sampler orders them; of equals the earliest."""
        return sorted((each for each in self.suggestions if each.answer), key=_value)

    def rows(self) -> list[dict[str, Any]]:
        """The history as a table: a row a suggestion; NaN and None where a trial failed."""
        rows, name = [], self._rule.name
        for each in self.suggestions:
            answer = each.answer
            rows.append(
                {
                    "suggestion": each.number,
                    **each.values,
                    "seeds": len(answer.events) if answer else None,
                    f"seeds_with_{name}": each.reached if answer else None,
                    f"{name}_by_tau": each.reached / len(answer.events) if answer else None,
                    f"{name}_by_tau_low": each.by_tau[0],
                    f"{name}_by_tau_high": each.by_tau[1],
                    "rmst_steps": answer.restricted_mean_steps if answer else None,
                    "rmst_low_steps": each.rmst[0],
                    "rmst_high_steps": each.rmst[1],
                    "tie_break": answer.tie_break if answer else None,
                    f"final_{self._rule.column}": answer.final if answer else None,
                }
            )
        return rows

    def points(self) -> list[tuple[float, float, float, bool]]:
        """What a picture shows of each: RMST, its interval, and whether a seed has the event; NaN without a value."""
        means = [each.answer.restricted_mean_steps if each.answer else math.nan for each in self.suggestions]
        return [(mean, *each.rmst, bool(each.reached)) for mean, each in zip(means, self.suggestions, strict=True)]

    def lines(self) -> list[str]:
        """The best few for the terminal, and how to read them."""
        best = self.best()
        if not best:
            return []
        tau = self._tau_steps
        table = [["suggestion", f"P({self._rule.name} <= {tau})", f"RMST({tau})", self._final, ""]]
        for each in best[:BEST_SHOWN]:
            assert each.answer is not None
            answer, share = each.answer, each.reached / len(each.answer.events)
            table.append(
                [
                    f"{each.number} of {self._of}",
                    _with_interval(share, each.by_tau, ".2f"),
                    _with_interval(answer.restricted_mean_steps, each.rmst, ".0f"),
                    f"{answer.final:.3g}",
                    ", ".join(f"{_words(path)} {_text(value)}" for path, value in each.values.items()),
                ]
            )
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        return [*lines, *self._notes(best)]

    def to_json(self) -> dict[str, Any] | None:
        """The best suggestion; None without one."""
        best = next(iter(self.best()), None)
        if best is None or best.answer is None:
            return None
        ends = dict(zip(("rmst_low_steps", "rmst_high_steps"), best.rmst, strict=True))
        return {
            "suggestion": best.number,
            "of": self._of,
            "values": dict(best.values),
            "event": self.event,
            "rmst_steps": best.answer.restricted_mean_steps,
            **{name: steps if math.isfinite(steps) else None for name, steps in ends.items()},
            "seeds": len(best.answer.events),
            "reached": best.reached,
        }

    def _notes(self, best: Sequence[Suggestion]) -> list[str]:
        without = sum(not each.reached for each in best)
        by = "how near they ended to it" if self._rule.after else f"their {self._final}"
        event = f"{self.event} by step {self._tau_steps}"
        among = f"ordered by {by}, for the sampler too"
        notes = []
        if without == len(best):
            notes.append(f"no suggestion has {event}: they are {among}")
        elif without:
            notes.append(f"no {event} in {without} of {len(best)} suggestions: among themselves they are {among}")
        if without < len(best) and len(best) > 1:
            notes.append(f"the best of {len(best)} on the same seeds looks better than it is: confirm it on others")
        return notes


def _value(suggestion: Suggestion) -> float:
    return math.inf if suggestion.answer is None else suggestion.answer.value


def _with_interval(value: float, ends: tuple[float, float], form: str) -> str:
    low, high = ends
    return f"{value:{form}} [{low:{form}}, {high:{form}}]" if math.isfinite(low) else f"{value:{form}}"


def _words(path: str) -> str:
    return shown(path.rpartition(".")[2].replace("_", " "))


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else shown(str(value))
