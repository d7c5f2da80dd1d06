"""Shares of a GPU are handed to Ray: one GPU that is only claimed, and trials that train on the CPU beside it."""

import json
import os
import subprocess
import sys

from tests.support.sweep_runs import environment

RECORDER = """
import json
import time

from trainables.runtime.status import Origin


class Recorder:
    # In each worker: record the resources, and wait until all four have, for which all must run at the same time.
    def __init__(self, folder):
        self.folder = folder

    def __call__(self, trial, device):
        import ray

        context = ray.get_runtime_context()
        got = {"gpu": context.get_assigned_resources().get("GPU"), "ids": context.get_accelerator_ids()["GPU"]}
        (self.folder / f"gpus-{trial.trial_id}.json").write_text(json.dumps(got))
        until = time.monotonic() + 60
        while len(list(self.folder.glob("gpus-*.json"))) < 4 and time.monotonic() < until:
            time.sleep(0.05)
        return Origin("cpu", "hash", json.dumps({"together": time.monotonic() < until}))
"""
PROGRAM = """
import json
from dataclasses import replace
from pathlib import Path

from pipeline.execution.dispatch import Dispatcher
from pipeline.execution.ray_process import RayProcess
from pipeline.execution.resources import Resources
from pipeline.ledger import Ledger
from pipeline.plan import CohortPlan
from pipeline.sharing import CohortQueue
from recorder import Recorder
from trainables.engine.models import MLP
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Seeds
from trainables.grokking import GrokkingTrial

TRIALS = [
    GrokkingTrial(
        task=ModularAddition(p=5), model=MLP(hidden=(4,)), horizon_steps=10, seeds=Seeds.all(seed)
    )
    for seed in range(4)
]

if __name__ == "__main__":
    ledger = Ledger.open("ledger", create=True)
    resources = Resources(device="cpu", device_kind="cpu", workers=4, cpus_per_cohort=1.0, gpus_per_cohort=0.25)
    cohorts = [CohortPlan((trial,), 0, 1.0) for trial in TRIALS]
    queue = CohortQueue(cohorts, None, lambda trials, size: [])
    dispatcher = Dispatcher(queue, store=ledger, again=lambda trials, size: [], origin=None, device="cpu")
    with RayProcess(None, cpus=4, gpus=1) as ray:
        slots = ray.slots(resources), ray.slots(replace(resources, gpus_per_cohort=1.0))
        ray.run(dispatcher, resources, store=ledger, provenance=Recorder(Path.cwd()))
    rows = ledger.trials().values()
    gpus = [json.loads(path.read_text()) for path in Path.cwd().glob("gpus-*.json")]
    together = [json.loads(row.provenance_json)["together"] for row in rows]
    print(json.dumps({"slots": slots, "gpus": gpus, "states": [row.state for row in rows], "together": together}))
"""


def test_four_trials_share_a_gpu(tmp_path):
    (tmp_path / "recorder.py").write_text(RECORDER, encoding="utf-8")
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env=environment(tmp_path, OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1")),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    assert printed["slots"] == [4, 1]
    assert printed["states"] == ["finished"] * 4
    assert printed["gpus"] == [{"gpu": 0.25, "ids": ["0"]}] * 4
    assert printed["together"] == [True] * 4
