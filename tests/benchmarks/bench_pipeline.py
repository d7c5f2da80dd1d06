"""The pipeline around the step: trivial trials on Ray, the finished sweep again, a dry run, --help, memory, MLflow.

Seconds are told in those of ``import torch``, which every command that loads a space needs, by a process of its own
in the same run; memory is what the kernel counts (PSS: a shared page counts once over all processes).  The sync writes
the runs of the sweep's first trials to an SQLite file, in turns with a bare client that writes the same in the
fewest calls: create, one batch, end.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.ledger import Ledger
from pipeline.tracking.client import connect
from pipeline.tracking.mirror import Mirror
from tests.benchmarks.form import Result, main, ratios
from tests.support.sweep_runs import descendants, environment, write_space

TORCH = "wall-clock time, of import torch"
MEMORY = "peak memory, MB"
SYNC = "wall-clock time a run of MLflow, of a bare client's"
SWEEP = ("-m", "pipeline.sweep", "trivial.py", "--workers", "2", "--mlflow-uri", "none", "--json")
RUNS_A_ROUND = 20


@dataclass
class Process:
    """A process that ran to its end."""

    output: str
    wall_s: float
    own_mb: float = 0.0
    all_mb: float = 0.0
    """With what it started."""


def run(folder: Path, *arguments: str, watch: bool = False) -> Process:
    """Run Python; it must succeed.

    :param watch: sample its memory.
    """
    done = Process("", 0.0)
    with tempfile.TemporaryFile("w+") as output:
        began = time.perf_counter()
        command = [sys.executable, *arguments]
        process = subprocess.Popen(command, cwd=folder, env=environment(folder), stdout=output, stderr=output)
        while watch and process.poll() is None:
            own, *below = map(memory_mb, (process.pid, *descendants(process.pid)))
            done.own_mb, done.all_mb = max(done.own_mb, own), max(done.all_mb, own + sum(below))
            time.sleep(0.2)
        code, done.wall_s = process.wait(), time.perf_counter() - began
        output.seek(0)
        done.output = output.read()
    if code:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.output}")
    return done


def memory_mb(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1000
    return 0.0


def measure(quick: bool, trials: int = 5000) -> Iterator[Result]:
    trials, rounds = (200, 3) if quick else (trials, 5)
    few = trials // 10
    with tempfile.TemporaryDirectory() as name:
        large, small = Path(name, "large"), Path(name, "small")
        for folder, count in ((large, trials), (small, few)):
            folder.mkdir()
            path = write_space(folder, f"base=BASE, seeds=range({count})", name="trivial", p=5, width=4, horizon=1)
            path.write_text(path.read_text().replace("from ray import tune\n", ""))  # no space of ours needs it
        torch_s = [run(large, "-c", "import torch").wall_s for _ in range(rounds)]

        def told(name: str, *arguments: str, goal: float | None = None) -> Result:
            seconds = [run(large, *arguments).wall_s for _ in range(rounds)]
            raw = {"s": min(seconds), "torch_s": min(torch_s)}
            return Result.of(name, ratios(seconds, torch_s), what=TORCH, goal=goal, raw=raw)

        yield told("pipeline.sweep --help", "-m", "pipeline.sweep", "--help", goal=0.4)
        yield told(f"a dry run of {trials}", *SWEEP, "--dry-run", goal=3.0)
        start = run(small, *SWEEP)
        whole = run(large, *SWEEP, watch=True)
        assert json.loads(whole.output.splitlines()[-1])["finished"] == trials
        each_s = (whole.wall_s - start.wall_s) / (trials - few)
        raw = {"ms_a_trial": 1000 * each_s, f"s_of_{few}": start.wall_s, f"s_of_{trials}": whole.wall_s}
        name_of = f"a thousand trials of {trials}, beyond the start"
        yield Result(name=name_of, value=1000 * each_s / min(torch_s), what=TORCH, goal=5.0, raw=raw)
        yield told(f"the finished sweep of {trials} again", *SWEEP, goal=8.0)
        yield Result(name=f"the driver of {trials} trials", value=whole.own_mb, what=MEMORY, goal=1200.0)
        yield Result(name=f"all its processes, of {trials} trials", value=whole.all_mb, what=MEMORY)
        yield synced(Ledger.open(str(large / "results/ledger")), f"sqlite:///{name}/mlflow.db", rounds)


def synced(ledger: Ledger, uri: str, rounds: int) -> Result:
    """Our sync beside a bare client, in turns."""
    from mlflow.entities import Metric, Param, RunTag

    sweep = ledger.sweep("trivial")
    mirror, client = Mirror(ledger, sweep, uri), connect(uri)
    batches = [sweep.trial_ids[at : at + RUNS_A_ROUND] for at in range(0, (rounds + 1) * RUNS_A_ROUND, RUNS_A_ROUND)]
    mirror.write(batches[0])
    experiment = client.get_experiment_by_name("trivial")
    assert experiment is not None
    shown = client.search_runs([experiment.experiment_id], "params.alpha != ''")[0]
    points = [
        Metric(point.key, point.value, point.timestamp, point.step)
        for key in shown.data.metrics
        for point in client.get_metric_history(shown.info.run_id, key)
    ]
    params = [Param(key, value) for key, value in shown.data.params.items()]
    tags = [RunTag(key, value) for key, value in shown.data.tags.items()]
    bare_id = client.create_experiment("bare")

    def bare() -> None:
        run_id = client.create_run(bare_id, run_name="bare").info.run_id
        client.log_batch(run_id, metrics=points, params=params, tags=tags)
        client.set_terminated(run_id)

    bare()
    ours_s, bare_s = [], []
    for batch in batches[1:]:
        began = time.perf_counter()
        mirror.write(batch)
        ours_s.append((time.perf_counter() - began) / len(batch))
        began = time.perf_counter()
        for _ in batch:
            bare()
        bare_s.append((time.perf_counter() - began) / len(batch))
    raw = {"ours_runs_a_s": 1 / min(ours_s), "bare_runs_a_s": 1 / min(bare_s)}
    return Result.of("SQLite", ratios(ours_s, bare_s), what=SYNC, goal=1.2, raw=raw)


if __name__ == "__main__":
    main(measure, trials=5000)
