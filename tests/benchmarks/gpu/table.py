"""README's table of GPUs, from the files of runs: ``python -m tests.benchmarks.gpu.table [--write]``.

A device without a file has no row; of several runs on one device the newest counts.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.gpu.goals import baseline, best_cohort, line
from tests.benchmarks.gpu.report import failures

HERE = Path(__file__).resolve().parent
RESULTS, README = HERE.parent / "results", HERE.parents[2] / "README.md"
MARKERS = "<!-- gpu table -->\n", "<!-- end of gpu table -->\n"
NOTHING = "No GPU has been measured yet; `python -m tests.benchmarks.gpu` measures one in eight minutes.\n"
CUT = "- the run was cut\n"
HEAD = (
    "| GPU | default MLP, p = 113: trials of 1500 steps an hour | steps beside the plain loop | at p = 31 | "
    "beside the arithmetic floor | ResNet-18, GPT-2 beside their plain loops | checks |\n"
    "|---|---|---|---|---|---|---|\n"
)


def runs(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The newest run of each device."""
    newest: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("gpu_*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        if run["device"] not in newest or newest[run["device"]]["began"] <= run["began"]:
            newest[run["device"]] = run
    return [newest[device] for device in sorted(newest)]


def table(found: Sequence[dict[str, Any]]) -> str:
    """The table in Markdown, with what the goals say under it; one sentence where nothing was measured."""
    if not found:
        return NOTHING
    text = HEAD + "".join(map(_row, found))
    for run in found:
        judged = "".join(f"- {line(goal).removeprefix('goal: ')}\n" for goal in run.get("goals", ()))
        text += f"\nThe goals, on {_name(run)}:\n\n{judged or CUT}"
    return text


def written(readme: str, text: str) -> str:
    """README's text with the table between its markers."""
    before, rest = readme.split(MARKERS[0])
    return before + MARKERS[0] + text + MARKERS[1] + rest.split(MARKERS[1])[1]


def _row(run: dict[str, Any]) -> str:
    large, small = (best_cohort(run, p) for p in (113, 31))
    checks = [check for section in run["sections"].values() for check in section["checks"]]
    failed = sum(map(failures, run["sections"].values()))
    cells = (
        f"{_name(run)}, {run['began'][:10]}",
        "–" if large is None else f"{large['trials_per_hour']:,.0f} (K = {large['members']})",
        _times(large, "times_plain"),
        _times(small, "times_plain"),
        _times(large, "times_floor"),
        ", ".join(_times(baseline(run, network), "times_plain") for network in ("ResNet-18", "GPT-2")),
        f"{len(checks)}, {failed} failures" if failed else f"all {len(checks)}",
    )
    return f"| {' | '.join(cells)} |\n"


def _name(run: dict[str, Any]) -> str:
    return str(run["device"]).removeprefix("cuda:")


def _times(row: dict[str, Any] | None, name: str) -> str:
    return "–" if row is None or row[name] is None else f"{row[name]:.3g} ×"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, or put it into README."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu.table", description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="put it into README.md")
    options = parser.parse_args(arguments)
    text = table(runs())
    if options.write:
        README.write_text(written(README.read_text(encoding="utf-8"), text), encoding="utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
