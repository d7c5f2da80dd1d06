"""The common form of the benchmarks: what one measures, the machine it ran on, and its own command line.

A benchmark is a file ``bench_<name>.py`` with a function that yields results, and two lines at its end::

    def measure(quick: bool) -> Iterator[Result]:
        rounds = [ours() / plain() for _ in range(3 if quick else 7)]
        yield Result.of("cohort of 4", rounds, what="CPU time a step, of the plain loop's", goal=0.9)

    if __name__ == "__main__":
        main(measure)

``what`` and ``name`` say what was measured and at which size: figures that agree in both are compared.  A quick run
takes fewer rounds, or smaller sizes under other names.
"""

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Result:
    """One figure: a ratio measured in one run, or another number that does not depend on the machine's speed."""

    name: str
    value: float
    spread: float | None = None
    """The interquartile range over the rounds; None for a single round."""
    rounds: int = 1
    what: str = ""
    """Of what it is the ratio: ``CPU time a step, of the plain loop's``; results that share it make one table."""
    goal: float | None = None
    higher_is_better: bool = False
    raw: Mapping[str, float] = field(default_factory=dict)
    """The numbers behind it, by name and unit: ``{"ours_ms": 20.5, "plain_ms": 26.1}``."""

    @classmethod
    def of(cls, name: str, rounds: Sequence[float], **more: Any) -> "Result":
        """The median of the rounds and their interquartile range."""
        spread = None
        if len(rounds) > 1:
            low, _, high = statistics.quantiles(rounds, n=4, method="inclusive")
            spread = high - low
        return cls(name=name, value=statistics.median(rounds), spread=spread, rounds=len(rounds), **more)

    @property
    def misses_goal(self) -> bool:
        """Whether it falls short of its goal by more than its spread."""
        if self.goal is None:
            return False
        short = self.goal - self.value if self.higher_is_better else self.value - self.goal
        return short > (self.spread or 0.0)

    def change(self, committed: "Result") -> str:
        """``slower`` or ``faster`` where it differs from the committed figure by more than both spreads; else empty.

        Where neither has a spread nothing can be told.
        """
        spreads = [spread for spread in (self.spread, committed.spread) if spread is not None]
        difference = self.value - committed.value
        if not spreads or abs(difference) <= sum(spreads):
            return ""
        return "faster" if (difference > 0) == self.higher_is_better else "slower"


def ratios(ours: Sequence[float], plain: Sequence[float]) -> list[float]:
    """Round by round, so that they hold on a machine whose speed drifts."""
    return [a / b for a, b in zip(ours, plain, strict=True)]


def machine() -> dict[str, Any]:
    """What decides whether figures can be compared (``cpu``), and the rest that a reader wants to know."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        fields = dict(reversed([tuple(map(str.strip, line.split(":", 1))) for line in lines if ":" in line]))
        model = f"{fields['model name']}, family {fields['cpu family']}, model {fields['model']}"
    except (OSError, KeyError):
        pass  # not Linux, or not x86
    return {"cpu": model, "system": platform.system(), "python": platform.python_version()}


def main(measure: Callable[..., Iterator[Result]], **options: Any) -> None:
    """The command line of one benchmark: ``--quick``, ``--json``, and an option for each keyword with its default."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds or smaller sizes")
    parser.add_argument("--json", action="store_true", help="one result a line, as python -m tests.benchmarks reads it")
    for name, default in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help=f"{default}")
    given = vars(parser.parse_args())
    as_json = given.pop("json")
    for result in measure(**given):
        print(json.dumps(asdict(result)) if as_json else row_of(result), flush=True)


def row_of(result: Result, committed: Result | None = None, change: str = "") -> str:
    """One line of the table: the figure, its goal, and the committed one."""
    goal = "" if result.goal is None else f"{'≥' if result.higher_is_better else '≤'} {result.goal:.3g}"
    behind = ", ".join(f"{name} {value:.4g}" for name, value in result.raw.items())
    remark = ", ".join(filter(None, (change.upper(), "misses goal" if result.misses_goal else "")))
    cells = (f"  {result.name:<44}", f"{_with_spread(result):<15}", f"{goal:<8}", f"{_with_spread(committed):<15}")
    return " ".join((*cells, f"{remark:<16}", behind)).rstrip()


HEADER = f"  {'':<44} {'now':<15} {'goal':<8} committed"


def _with_spread(result: Result | None) -> str:
    if result is None:
        return "–"
    return f"{result.value:.3g}" + ("" if result.spread is None else f" ± {result.spread:.2g}")
