"""A cohort's job: what travels is what arrives, in a process that has not imported the trials' modules yet."""

import re
import subprocess
import sys

import pytest

from tests.support.sweep_runs import environment
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

    def read(text):
        command = [sys.executable, "-c", program, text]
        return subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)

    assert read(job.to_text()).stdout.split() == ["own_models", job.trials[0].trial_id]
    (tmp_path / "own_models.py").rename(tmp_path / "elsewhere.py")
    assert re.search(
        r"^ImportError: module own_models is not importable on .+: No module named 'own_models'$",
        read(job.to_text()).stderr,
        flags=re.MULTILINE,
    )
