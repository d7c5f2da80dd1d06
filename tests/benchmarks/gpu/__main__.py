"""``python -m tests.benchmarks.gpu``: one GPU in eight minutes; correctness first, then throughput, then baselines.

It prints as it goes, and writes its JSON anew after every piece of work, so that a run that is cut keeps what it has.
It needs torch, numpy, pyarrow, pandas, scipy and matplotlib only.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from tests.benchmarks.gpu import baselines, collapse, goals, members, repeats, throughput
from tests.benchmarks.gpu.report import Report, file_name

RESULTS = Path(__file__).resolve().parents[1] / "results"
SECTIONS = (
    ("members", members, 0.22),
    ("collapse", collapse, 0.05),
    ("repeats", repeats, 0.2),
    ("throughput", throughput, 0.55),
    ("baselines", baselines, 1.0),
)
"""Each with its share of the time that the ones before have left."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sections; the exit code is 0, 1 where a check failed or an error came, 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where the JSON goes; default: tests/benchmarks/results"
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything; default: 8")
    parser.add_argument("--sections", nargs="+", choices=[name for name, *_ in SECTIONS], help="these only")
    parser.add_argument("--dry", action="store_true", help="all of it on the CPU at toy sizes; measures nothing")
    options = parser.parse_args(arguments)
    if not options.dry and not torch.cuda.is_available():
        print("error: torch sees no GPU here; --dry runs everything on the CPU at toy sizes", file=sys.stderr)
        return 2
    torch.set_num_threads(1)  # as where a cohort trains
    device = "cpu" if options.dry else "cuda:0"
    folder = options.out or (Path(tempfile.mkdtemp()) if options.dry else RESULTS)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(device, dry=options.dry)
    report = Report(device, path, 60 * options.minutes, dry=options.dry)
    report.say(f"{report.content['device']}, torch {torch.__version__}")
    for name, room, share in SECTIONS:
        if options.sections is None or name in options.sections:
            with report.section(name, share) as section:
                room.run(section, report.device, dry=options.dry)
    if not options.dry:
        report.content["goals"] = goals.judged(report.content)
        for goal in report.content["goals"]:
            report.say(goals.line(goal))
        report.write()
    report.say(f"{report.failed} failures; wrote {path}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
