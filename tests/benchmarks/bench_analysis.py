"""From a ledger of many trials to their outcomes and their diagram, beside plain pandas.

``--trials 100000`` is the full size; the ledger of 500 rows a trial is made in a temporary folder.  Plain pandas reads
the three columns that the events need and takes each trial's first crossing of one threshold an event, by
``groupby.apply``; ours finds every threshold, sustained or not, and what is censored.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.form import Result, main
from tests.support.large_ledger import NAME, write

OURS = f"""
from analysis.data.source import open_sweep
sweep = open_sweep({NAME!r}, "LEDGER")
assert sum(trial.event("t_gen").occurred for trial in sweep.trials) > 0
"""
DIAGRAM = """
from analysis.diagram.cells import build
from analysis.page.page import page
from analysis.diagram.tables import cells_table, trials_table
diagram = build(sweep)
assert len(page(diagram)) > 1e5
assert len(trials_table(diagram)) == len(sweep.trials) and len(cells_table(diagram))
"""
PLAIN = """
import pandas as pd
columns = ["trial_id", "step", "train_accuracy", "test_accuracy"]
rows = pd.read_parquet(sorted(__import__("glob").glob("LEDGER/compacted/trajectories-*.parquet")), columns=columns)

def first_crossings(trial):
    return pd.Series({
        "t_mem": trial.step[trial.train_accuracy >= 0.99].min(), "t_gen": trial.step[trial.test_accuracy >= 0.95].min()
    })

outcomes = rows.groupby("trial_id", observed=True)[columns[1:]].apply(first_crossings)
assert outcomes.t_gen.notna().sum() > 0
"""
USED = """
import json, re
peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())  # ru_maxrss would start at the parent's
print(json.dumps({"s": time.process_time() - began, "mb": int(peak[1]) / 1024}))
"""


def used(code: str, ledger: Path, imports: str) -> dict[str, float]:
    """CPU seconds without the imports, and peak memory in MB with them, of code in a process of its own."""
    whole = f"{imports}\nimport time\nbegan = time.process_time()\n{code}{USED}".replace("LEDGER", str(ledger))
    done = subprocess.run([sys.executable, "-c", whole], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def measure(quick: bool, trials: int = 2000) -> Iterator[Result]:
    trials = 500 if quick else trials
    rounds = 1 if quick or trials > 10_000 else 3
    imports = "import analysis.data.source, analysis.page.page, analysis.diagram.tables, scipy.stats"
    with tempfile.TemporaryDirectory() as name:
        few, many = Path(name) / "few", Path(name) / "many"
        write(few, trials // 4)
        write(many, trials)
        ours, quarter, plain, diagram = [], [], [], []
        for _ in range(rounds):
            ours.append(used(OURS, many, imports))
            quarter.append(used(OURS, few, imports))
            plain.append(used(PLAIN, many, "import pandas, pyarrow.parquet"))
            diagram.append(used(OURS + DIAGRAM, many, imports))
    where = f"{trials} trials of 500 rows"
    yield Result.of(
        f"{where}: outcomes",
        [a["s"] / b["s"] for a, b in zip(ours, plain, strict=True)],
        what="CPU time, of plain pandas'",
        goal=1.0,
        raw={"ours_s": ours[0]["s"], "plain_s": plain[0]["s"], "ours_mb": ours[0]["mb"], "plain_mb": plain[0]["mb"]},
    )
    yield Result.of(
        f"{where}: outcomes",
        [a["s"] / (4 * b["s"]) for a, b in zip(ours, quarter, strict=True)],
        what="CPU time a trial, of that with a quarter of the trials: 1 is linear",
        goal=1.1,
        raw={"many_s": ours[0]["s"], "few_s": quarter[0]["s"]},
    )
    yield Result.of(
        f"{where}: outcomes, diagram, tables and page",
        [a["mb"] / 1000 for a in diagram],
        what="peak memory, GB",
        goal=2.0,
        raw={"s": diagram[0]["s"]},
    )


if __name__ == "__main__":
    main(measure, trials=2000)
