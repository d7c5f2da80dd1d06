"""A cohort's job: what travels is what arrives, in a process that has not imported the trials' modules yet."""

import subprocess
import sys

import pytest

from tests.sweep_runs import environment
from trainables.engine.models import MLP
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Seeds
from trainables.grokking import GrokkingTrial
from trainables.runtime.job import CohortJob

BASE = GrokkingTrial(task=ModularAddition(p=5), model=MLP(hidden=(4,)), horizon_steps=10)
TRIALS = tuple(BASE.replace(seeds=Seeds.all(seed)) for seed in range(2))
OWN = """
from dataclasses import dataclass
from trainables.engine.models import MLP

@dataclass(frozen=True, kw_only=True)
class OwnMLP(MLP):
    pass
"""


@pytest.mark.parametrize("deadline", [None, 1_700_000_000.1234567])
def test_the_text_holds_the_whole_job(deadline):
    job = CohortJob(trials=TRIALS, device="cuda:1", start_step=7, deadline=deadline, checkpoint_every_s=2.5)
    assert job.modules == ()
    assert CohortJob.from_text(job.to_text()) == job


def test_a_worker_imports_the_modules_of_the_users_own_components(tmp_path, monkeypatch):
    (tmp_path / "own_models.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    from own_models import OwnMLP

    job = CohortJob(trials=(BASE.replace(model=OwnMLP(hidden=(4,))),), device="cpu")
    assert job.modules == ("own_models",)
    program = "import sys; from trainables.runtime.job import CohortJob; job = CohortJob.from_text(sys.argv[1]); "
    program += "print(type(job.trials[0].model).__module__, job.trials[0].trial_id)"
    env = environment(tmp_path)
    env["PYTHONPATH"] += f":{tmp_path}"
    command = [sys.executable, "-c", program, job.to_text()]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["own_models", job.trials[0].trial_id]
