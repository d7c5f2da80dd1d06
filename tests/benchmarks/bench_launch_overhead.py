"""What it costs to launch trivial trials: ours, beside a bare Tune function trainable with Tune's MLflow callback.

Both run in processes of their own from nothing to the end (Ray's start included), both with MLflow in an SQLite
file.  Ours also files every row in the ledger and draws the figures.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.form import Result, main
from tests.support.sweep_runs import environment, write_space

BARE = """
import logging, os, sys
os.environ.update(RAY_AIR_NEW_OUTPUT="0", TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1", RAY_USAGE_STATS_ENABLED="0")
import ray
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback

def train(config):
    for step in (0, 1):
        tune.report({"train_accuracy": 0.5, "test_accuracy": 0.5, "steps": step})

ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL)
callback = MLflowLoggerCallback(tracking_uri=f"sqlite:///{os.getcwd()}/mlflow.db", experiment_name="bare")
results = tune.Tuner(
    train,
    param_space={"seed": tune.grid_search(list(range(int(sys.argv[1]))))},
    run_config=tune.RunConfig(storage_path=os.getcwd() + "/tune", verbose=0, callbacks=[callback]),
).fit()
assert len(results) == int(sys.argv[1]) and not results.errors
"""


def timed(arguments: list[str], folder: Path) -> tuple[float, str]:
    """Seconds, and the output, of a process that must succeed."""
    began = time.perf_counter()
    done = subprocess.run(arguments, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments[:3])} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - began, done.stdout


def measure(quick: bool, trials: int = 200) -> Iterator[Result]:
    trials = 20 if quick else trials
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_space(folder, f"base=BASE, seeds=range({trials})", name="trivial", p=5, width=4, horizon=1)
        command = [sys.executable, "-m", "pipeline.sweep", "trivial.py", "--workers", "2", "--json"]
        ours_s, output = timed(command, folder)
        assert json.loads(output)["finished"] == trials
        bare = folder / "bare"
        bare.mkdir()
        bare_s, _ = timed([sys.executable, "-c", BARE, str(trials)], bare)
        yield Result(
            name=f"{trials} trials",
            value=ours_s / bare_s,
            what="wall-clock time, of the bare trainable's",
            goal=None if quick else 0.05,
            raw={"ours_s": ours_s, "bare_s": bare_s},
        )


if __name__ == "__main__":
    main(measure, trials=200)
