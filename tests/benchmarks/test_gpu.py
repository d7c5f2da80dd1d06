"""The GPU's benchmark, run on the CPU: it measures all that it should, and what is wrong does not pass."""

import itertools
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.benchmarks.gpu import __main__ as command
from tests.benchmarks.gpu import goals, members, repeats, roofline, table
from tests.benchmarks.gpu.report import Section
from tests.benchmarks.gpu.resnet import ResNet18ByHand
from trainables.baselines.resnet import ResNet18
from trainables.engine.cohort import GrokkingCohort
from trainables.engine.gradients import GradientRule, PlainGradient

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class FirstMemberOnly(GradientRule):
    """Right for a solo trial, and off by one part in a million for every other member of a cohort."""

    def __call__(self, parameters, gradients, state, hyper, step):
        off = {name: torch.arange(len(gradient)) > 0 for name, gradient in gradients.items()}
        changed = {
            name: gradient * (1 + 1e-6 * off[name].view(-1, *[1] * (gradient.dim() - 1)))
            for name, gradient in gradients.items()
        }
        return changed, state


@pytest.fixture
def section():
    return Section("made up", float("inf"), print, dry=True)


def test_all_of_it_runs_without_a_gpu_on_a_bare_machine(tmp_path):
    code = "import sys; from tests.support.bare_machine import strip; strip(); "
    code += "from tests.benchmarks.gpu.__main__ import main; sys.exit(main(['--dry', '--out', sys.argv[1]]))"
    out = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert out.returncode == 0, out.stdout + out.stderr
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("dry_cpu_"), "no row of a table"
    run = json.loads(path.read_text())
    found = run["sections"]
    assert list(found) == ["members", "collapse", "repeats", "throughput", "baselines"]
    assert not any(section["left_out"] or section["errors"] for section in found.values())
    assert {"MLP", "Transformer", "AdamW", "OrthogonalGradient", "MNISTSubset", "SwitchLoss"} <= {
        check["name"] for check in found["members"]["checks"]
    }
    assert len(found["repeats"]["checks"]) == 18
    assert {row["dtype"] for row in found["collapse"]["rows"]} == {"float16", "bfloat16", "float32", "float64"}
    assert {row["loop"] for row in found["baselines"]["rows"]} >= {"plain loop", "ours"}
    best = goals.best_cohort(run, 5)
    assert best["times_floor"] > 0
    assert best["times_plain"] > 0


def test_what_depends_on_the_packing_is_caught_and_hides_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(members, "components", lambda: [FirstMemberOnly, PlainGradient])
    assert command.main(["--dry", "--out", str(tmp_path), "--sections", "members"]) == 1
    (path,) = tmp_path.iterdir()
    checks = {check["name"]: check for check in json.loads(path.read_text())["sections"]["members"]["checks"]}
    assert checks["PlainGradient"]["ok"]
    assert not checks["FirstMemberOnly"]["ok"]
    assert 1e-8 < checks["FirstMemberOnly"]["weights"] < 1e-4
    assert len(checks) == 6, "the default models too"
    assert "FAILED FirstMemberOnly" in capsys.readouterr().out


def test_a_step_that_is_off_in_one_member_is_caught(section, monkeypatch):
    trial = members.one_step(members.MLP(hidden=(4,)), p=5)
    members.steps_alike(section, "plain", trial, CPU)
    members.steps_alike(section, "off", trial.replace(gradient=ThousandthOff()), CPU)
    assert [check["ok"] for check in section.checks] == [True, False]


@dataclass(frozen=True, kw_only=True)
class ThousandthOff(GradientRule):
    """Off in float32 by more than its rounding, and right in float64."""

    def __call__(self, parameters, gradients, state, hyper, step):
        factors = {name: 1.001 if value.dtype == torch.float32 else 1 for name, value in gradients.items()}
        return {name: value * factors[name] for name, value in gradients.items()}, state


def test_a_difference_of_one_bit_between_two_runs_is_caught(section, monkeypatch):
    trial = repeats.trials(5, small=True)["MLP"]
    repeats.twice(section, "as it is", trial, CPU)
    whole, runs = GrokkingCohort.state_dict, itertools.count()

    def drifting(cohort, member):
        state = whole(cohort, member)
        if next(runs) == 7:  # the third member of the second run
            weight = state["parameters"]["weight_0"]
            weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
        return state

    monkeypatch.setattr(GrokkingCohort, "state_dict", drifting)
    repeats.twice(section, "drifting", trial, CPU)
    assert [check["ok"] for check in section.checks] == [True, False]


def test_an_error_costs_what_was_attempted_and_the_end_of_the_time_says_what_it_left_out(section):
    section.attempt("broken", lambda: 1 / 0)
    section.attempt("next", lambda: section.row(what="next"))
    section.deadline = 0.0
    section.attempt("late", lambda: section.row(what="late"))
    assert section.errors == [{"name": "broken", "error": "ZeroDivisionError: division by zero"}]
    assert (section.rows, section.left_out) == ([{"what": "next"}], ["late"])


def test_no_gpu_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command.main([]) == 2
    assert capsys.readouterr().err == ("error: torch sees no GPU here; --dry runs everything on the CPU at toy sizes\n")


def test_deviations():
    nan, inf = np.nan, np.inf
    assert members.deviation(np.array([1.0, nan, inf]), np.array([1.0, nan, inf])) == 0
    assert members.deviation(np.array([1.0, 1.0]), np.array([1.0, nan])) == inf
    assert members.deviation(np.array([inf]), np.array([1.0])) == inf
    assert members.deviation(np.array([1.0]), np.array([inf])) == inf
    assert members.deviation(np.array([2.2, 0.001]), np.array([2.0, 0.0])) == pytest.approx(0.1)


def test_the_network_by_hand_is_torchvisions():
    ours, judge = (cls().network(10, seed=1).eval() for cls in (ResNet18ByHand, ResNet18))
    ours.load_state_dict(judge.state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(ours(images), judge(images))


def made_up(device: str, **changes) -> dict:
    throughput = {
        "what": "throughput",
        "model": "MLP",
        "weights": "float32",
        "loss": "SoftmaxCrossEntropy",
        "loss_dtype": "float32",
    }
    rows = [
        throughput
        | {"p": p, "members": k, "trial_steps_per_s": k, "trials_per_hour": 2.4 * k}
        | {"times_plain": k / 10, "times_floor": 100 / k}
        for p in (113, 31)
        for k in (1, 64)
    ]
    base = [
        {"what": "baseline", "network": network, "loop": loop, "times_plain": times}
        for network, loop, times in (
            ("ResNet-18, stem cifar", "ours", 1.2),
            ("GPT-2", "ours", 0.9),
            ("GPT-2", "x", 0.1),
        )
    ]
    sections = {
        "members": {"checks": [{"name": "MLP", "ok": True}], "errors": [], "rows": []},
        "throughput": {"checks": [], "errors": [{"name": "x", "error": "y"}], "rows": rows},
        "baselines": {"checks": [], "errors": [], "rows": base},
    }
    run = {"device": device, "began": "2026-01-02T03:04:05+00:00", "sections": sections} | changes
    return run | {"goals": goals.judged(run)}


def test_goals_and_table(tmp_path):
    run = made_up("cuda:Test GPU")
    assert {goal["name"]: goal["met"] for goal in run["goals"]} == {
        "default MLP, p = 113: times the plain loop": True,
        "default MLP, p = 31: times the plain loop": False,
        "default MLP, p = 113: times the arithmetic floor": True,
        "ResNet-18: times its plain loop": True,
        "GPT-2: times its plain loop": False,
    }
    assert all(goal["met"] is None for goal in goals.judged({"sections": {}}))
    for number, each in enumerate((run, made_up("cuda:Test GPU", began="2025"), made_up("cuda:Other", sections={}))):
        (tmp_path / f"gpu_{number}.json").write_text(json.dumps(each))
    (tmp_path / "dry_cpu.json").write_text("{}")
    text = table.table(table.runs(tmp_path))
    lines = text.splitlines()
    assert lines[2].startswith("| Other, 2026-01-02 | – | – | – | – | –, – | all 0 |")
    assert lines[3] == (
        "| Test GPU, 2026-01-02 | 154 (K = 64) | 6.4 × | 6.4 × | 1.56 × | 1.2 ×, 0.9 × | 1, 1 failures |"
    )
    assert "GPT-2: times its plain loop: at least 1; 0.9, NOT MET" in lines[-1]
    assert table.table([]) == table.NOTHING


def test_readme_has_the_table_of_the_files():
    readme = table.README.read_text(encoding="utf-8")
    assert readme == table.written(readme, table.table(table.runs())), "python -m tests.benchmarks.gpu.table --write"


def test_more_members_are_counted_from_few():
    few = {count: roofline.step_counts(5, count) for count in (*roofline.COUNTED, 7)}
    assert roofline.extrapolated(few, 7) == few.pop(7) == roofline.extrapolated(few, 7)
