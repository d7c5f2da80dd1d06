"""The goals, for one H100, and whether a run met them."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Content = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    """A figure of a run's file, and its bound."""

    name: str
    figure: Callable[[Content], float | None]
    """None where it was not measured."""
    at_least: float | None = None
    at_most: float | None = None

    def judged(self, content: Content) -> dict[str, Any]:
        """The goal as the file has it; ``met`` is None where nothing was measured."""
        value = self.figure(content)
        met = None
        if value is not None:
            met = value >= self.at_least if self.at_least is not None else value <= (self.at_most or 0.0)
        bound = {"at_least": self.at_least} if self.at_least is not None else {"at_most": self.at_most}
        return {"name": self.name, **bound, "value": value, "met": met}


def rows(content: Content, section: str, what: str, **values: Any) -> Iterator[dict[str, Any]]:
    """The rows of a section that have these values."""
    for row in content["sections"].get(section, {}).get("rows", ()):
        if row["what"] == what and all(row[name] == value for name, value in values.items()):
            yield row


def best_cohort(content: Content, p: int) -> dict[str, Any] | None:
    """The row of the default trial at the number of members with the most trials an hour; not those of a dry run."""
    default = {"model": "MLP", "weights": "float32", "loss": "SoftmaxCrossEntropy", "loss_dtype": "float32"}
    found = rows(content, "throughput", "throughput", p=p, **default)
    return max(found, key=lambda row: row["trial_steps_per_s"], default=None)


def baseline(content: Content, network: str) -> dict[str, Any] | None:
    """Our row of a network, at its worst beside its fastest plain loop, over precisions and compilation."""
    found = (row for row in rows(content, "baselines", "baseline", loop="ours") if re.match(network, row["network"]))
    return min(found, key=lambda row: row["times_plain"], default=None)


def _of(row: dict[str, Any] | None, name: str) -> float | None:
    return None if row is None else row[name]


GOALS = (
    Goal("default MLP, p = 113: times the plain loop", lambda run: _of(best_cohort(run, 113), "times_plain"), 5.0),
    Goal("default MLP, p = 31: times the plain loop", lambda run: _of(best_cohort(run, 31), "times_plain"), 30.0),
    Goal(
        "default MLP, p = 113: times the arithmetic floor",
        lambda run: _of(best_cohort(run, 113), "times_floor"),
        at_most=2.0,
    ),
    Goal("ResNet-18: times its plain loop", lambda run: _of(baseline(run, "ResNet-18"), "times_plain"), 1.0),
    Goal("GPT-2: times its plain loop", lambda run: _of(baseline(run, "GPT-2"), "times_plain"), 1.0),
)


def judged(content: Content) -> list[dict[str, Any]]:
    """Every goal, with what the run has of it."""
    return [goal.judged(content) for goal in GOALS]


def line(goal: dict[str, Any]) -> str:
    """A judged goal in words."""
    bound = f"at least {goal['at_least']:g}" if "at_least" in goal else f"at most {goal['at_most']:g}"
    if goal["value"] is None:
        return f"goal: {goal['name']}: {bound}; not measured"
    return f"goal: {goal['name']}: {bound}; {goal['value']:.3g}, {'met' if goal['met'] else 'NOT MET'}"
