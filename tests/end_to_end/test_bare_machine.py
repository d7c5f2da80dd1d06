"""A sweep from its plan to its verdict on a machine that has torch, numpy, pyarrow, pandas, scipy, matplotlib only."""

import subprocess
import sys

from tests.support.sweep_runs import environment

SPACE = '''"""The arms of Fig. 6b, as small as they can be."""
from pipeline import Arm, SweepSpec
from trainables import MLP, AdamW, GrokkingTrial, ModularAddition, OrthogonalGradient

SWEEP = SweepSpec(
    base=GrokkingTrial(task=ModularAddition(p=7), model=MLP(hidden=(8,)), optimizer=AdamW(), horizon_steps=30),
    arms=[
        Arm(name="⊥AdamW", patch={"gradient": OrthogonalGradient()}),
        Arm(name="⊥SGD, StableMax", patch={"optimizer.learning_rate": 0.02}),
        Arm(name="AdamW"),
    ],
    seeds=range(3),
)
'''
PROGRAM = """
import sys
from tests.support.bare_machine import strip
strip()
from analysis import figures
from pipeline import sweep
from pipeline.ledger import __main__ as ledger
space = ["fig06b_orthograd_mlp_laptop.py", "--local", "--mlflow-uri", "none", "--ledger", "l", "--out", "drawn"]
codes = [
    sweep.main([*space, "--dry-run"]),
    sweep.main(space),
    ledger.main(["list", "--ledger", "l"]),
    figures.main(["fig06b", "--from", "l", "--out", "judged"]),
    figures.main([]),
    sweep.main(space[:1] + space[2:]),
    sweep.main(space[:2]),
]
lacking = [name for name in ("ray", "mlflow", "optuna", "rich", "psutil") if sys.modules[name] is None]
print(codes, len(lacking))
"""


def test_a_bare_gpu_machine_trains_files_draws_and_judges(tmp_path):
    (tmp_path / "fig06b_orthograd_mlp_laptop.py").write_text(SPACE)
    out = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True
    )
    lines = out.stdout.splitlines()
    assert lines[-1] == "[0, 0, 0, 0, 0, 2, 2] 5", out.stderr
    assert any(line.startswith("9 of 9 done, 0 running, 0 cached, 0 failed after ") for line in lines)
    assert any(line.split()[:3] == ["fig06b_orthograd_mlp_laptop", "9", "9"] for line in lines)
    assert "NOT MET  at laptop size: 3 seeds, all 30 steps" in lines
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [
        "cells.csv",
        "cells.parquet",
        "effects.csv",
        "effects.parquet",
        "effects.png",
        "outcomes.csv",
        "outcomes.parquet",
        "phase_diagram.png",
        "report.html",
        "sensitivity.csv",
        "sensitivity.parquet",
        "waiting.csv",
        "waiting.parquet",
        "waiting.png",
    ]
    assert (tmp_path / "judged" / "fig06b.png").exists()
    assert out.stderr.splitlines() == [
        "error: Ray is not installed: pass --local, or pip install 'ray[tune]'",
        "error: MLflow is not installed: pass --mlflow-uri none, or pip install mlflow",
    ]
