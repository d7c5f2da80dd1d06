"""Components of the user's own, in a folder that has nothing to do with this repository."""

import json
import re
import shlex
import subprocess
import sys

import pytest

from tests.support.sweep_runs import ROOT, contents, environment, run_sweep

SECTION = (ROOT / "README.md").read_text(encoding="utf-8").split("## Your own components")[1].split("\n## ")[0]
LOSS, SPACE = re.findall(r"^```python \S+\n(.*?)^```", SECTION, flags=re.MULTILINE | re.DOTALL)
COMMAND, _ = re.findall(r"^python -m (.*)$", SECTION, flags=re.MULTILINE)

PACKAGE = {
    "mylab/__init__.py": "",
    "mylab/constants.py": "POWER = 2\n",
    "mylab/parts.py": '''
from dataclasses import dataclass

from mylab.constants import POWER
from trainables import SGD, ModularArithmetic, Probe, option


@dataclass(frozen=True, kw_only=True)
class Maximum(ModularArithmetic):
    """The larger of a and b."""

    def result(self, a, b):
        return a.clip(b)


@dataclass(frozen=True, kw_only=True)
class MeanPower(Probe):
    """The mean square of the test rows' margins."""

    test_facts = ("margins_KB",)
    columns = ("margin_power",)

    def measure(self, seen):
        return {"margin_power": (seen.test.margins_KB**POWER).mean(-1)}


@dataclass(frozen=True, kw_only=True)
class Momentum(SGD):
    """SGD with momentum."""

    momentum: float = option(0.9, at_least=0.0, below=1.0, per_trial=True)
''',
    "mylab/kinds.py": '''
from dataclasses import dataclass

from mylab.parts import Maximum, MeanPower, Momentum
from trainables import STANDARD, GrokkingTrial, Optimizer, Probe, Task, option


@dataclass(frozen=True, kw_only=True)
class MaximumTrial(GrokkingTrial):
    """A kind of trial with parts of its own."""

    task: Task = option(Maximum(p=7))
    optimizer: Optimizer = option(Momentum())
    probes: tuple[Probe, ...] = option((*STANDARD, MeanPower()), protocol=True)
''',
    "maximum.py": '''"""Own task, probe, optimizer and kind of trial, one of them in the space's own file."""

from dataclasses import dataclass

from mylab.kinds import MaximumTrial
from pipeline import SweepSpec


@dataclass(frozen=True, kw_only=True)
class OwnTrial(MaximumTrial):
    """As it is."""


SWEEP = SweepSpec(base=OwnTrial(horizon_steps=40), axes={"optimizer.momentum": [0.5, 0.9]}, seeds=range(2))
''',
}


def test_the_readme_s_example_runs_and_resumes(tmp_path):
    (tmp_path / "mylosses.py").write_text(LOSS)
    (tmp_path / "sweep_loss.py").write_text(SPACE)
    module, *arguments = shlex.split(COMMAND)
    assert module == "pipeline.sweep"
    arguments += ["--max-steps", "30", "--mlflow-uri", "none", "--json", "--local"]
    first, second = (run_sweep(tmp_path, *arguments, figures=drawn) for drawn in (True, False))
    assert (first.returncode, first.stderr) == (0, "")
    assert [json.loads(first.stdout)[key] for key in ("finished", "failed")] == [12, 0]
    assert [json.loads(second.stdout)[key] for key in ("finished", "cached")] == [0, 12]
    rows, _ = contents(tmp_path / "results/ledger")
    losses = [json.loads(row["config_json"])["loss"] for row in rows.values()]
    assert {loss["class"] for loss in losses} == {"mylosses:GeneralizedCrossEntropy"}
    assert sorted(loss["q"] for loss in losses) == sorted([0.1, 0.4, 0.7, 1.0] * 3)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder with a package that has a task, a probe, an optimizer and a kind of trial, and a space beside it."""
    folder = tmp_path_factory.mktemp("mine")
    for name, text in PACKAGE.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_ray_and_local_fill_the_same_ledger(package, tmp_path):
    for way in ("ray", "local"):
        (tmp_path / way).mkdir()
        flags = ["--mlflow-uri", "none", "--cohort-size", "1", "--json", *(["--local"] if way == "local" else [])]
        done = run_sweep(tmp_path / way, package / "maximum.py", *flags)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    rows, table = contents(tmp_path / "ray/results/ledger")
    assert (rows, table) == contents(tmp_path / "local/results/ledger")
    assert len(table["margin_power"]) > 4 * 20
    config = json.loads(next(iter(rows.values()))["config_json"])
    assert config["class"] == "maximum:OwnTrial"
    assert config["task"]["class"] == "mylab.parts:Maximum"


def test_a_package_keeps_the_contract(package):
    contract = [ROOT / "tests/contract/test_components.py", "--components", "mylab"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, contract)],
        cwd=package,
        env=environment(package),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout
