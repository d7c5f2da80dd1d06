"""A small sweep as a user runs it: through Ray and in process, again, wider, longer, with trials that fail."""

import json
import re

import pytest

from pipeline.ledger import Ledger
from tests.support.sweep_runs import contents, run_sweep, started_sweep, wait_until, write_space

GRID = 'base=BASE, axes={"optimizer.weight_decay": [0, 1], "task.train_fraction": [0.5, 0.7]}, seeds=range(2)'


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory):
    """The sweep through Ray, with everything by default."""
    folder = tmp_path_factory.mktemp("ray")
    write_space(folder, GRID)
    return folder, run_sweep(folder, "tiny.py", "--cohort-size", "1", figures=True)


def test_one_command_gives_everything_and_nothing_else(on_ray):
    folder, done = on_ray
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("tiny: 8 trials: 0 in the ledger, 0 to continue, 8 new; 8 cohorts on ")
    assert any(line.startswith("8 of 8 done, 0 running, 0 cached, 0 failed after") for line in lines)
    # Nothing of Ray's or Tune's own: no tables, no warnings, no paths of theirs.
    assert not re.search(r"\b(ray|tune)\b|warning", done.stdout.replace(str(folder), ""), re.IGNORECASE)
    assert lines[-1] == "open     xdg-open results/figures/tiny/report.html"
    for name in ("phase_diagram.png", "report.html", "cells.csv", "outcomes.csv"):
        assert (folder / "results/figures/tiny" / name).stat().st_size
    assert (folder / "results/mlflow.db").exists()
    ledger = Ledger.open(str(folder / "results/ledger"))
    assert {row.state for row in ledger.trials().values()} <= {"finished", "stopped"}
    assert ledger.verify() == []


def test_in_process_gives_the_same_ledger(on_ray, tmp_path):
    write_space(tmp_path, GRID)
    done = run_sweep(tmp_path, "tiny.py", "--local", "--cohort-size", "1", "--mlflow-uri", "none")
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(tmp_path / "results/ledger") == contents(on_ray[0] / "results/ledger")


def test_again_wider_and_longer(on_ray):
    folder, _ = on_ray
    before = contents(folder / "results/ledger")
    flags = ("--local", "--mlflow-uri", "none", "--json", "--cohort-size", "1")
    again = json.loads(run_sweep(folder, "tiny.py", *flags).stdout)
    assert {name: again[name] for name in ("planned", "cached", "finished", "failed")} == {
        "planned": 8,
        "cached": 8,
        "finished": 0,
        "failed": 0,
    }
    assert contents(folder / "results/ledger") == before

    write_space(folder, GRID.replace("[0, 1]", "[0, 1, 2]"))
    planned = json.loads(run_sweep(folder, "tiny.py", *flags, "--dry-run").stdout)
    assert (planned["cached"], planned["new"], planned["finished"]) == (8, 4, 0)
    assert contents(folder / "results/ledger") == before
    wider = json.loads(run_sweep(folder, "tiny.py", *flags).stdout)
    assert (wider["cached"], wider["finished"]) == (8, 4)

    write_space(folder, GRID.replace("[0, 1]", "[0, 1, 2]"), horizon=60)
    longer = json.loads(run_sweep(folder, "tiny.py", *flags).stdout)
    assert (longer["cached"], longer["finished"]) == (0, 12)
    rows, table = contents(folder / "results/ledger")
    assert {row["last_step"] for row in rows.values()} == {60}
    # Continued from their checkpoints, so that no step was measured twice, and as if they had never stopped.
    assert len(set(zip(table["trial_id"], table["step"], strict=True))) == len(table["step"])
    fresh = folder / "fresh"
    fresh.mkdir()
    write_space(fresh, GRID.replace("[0, 1]", "[0, 1, 2]"), horizon=60)
    run_sweep(fresh, "tiny.py", *flags)
    fresh_rows, fresh_table = contents(fresh / "results/ledger")
    assert rows == fresh_rows
    index = {key: at for at, key in enumerate(zip(table["trial_id"], table["step"], strict=True))}
    kept = [index[key] for key in zip(fresh_table["trial_id"], fresh_table["step"], strict=True)]
    # The old horizon, where the new schedule does not look, is the only surplus.
    assert len(kept) == len(table["step"]) - 12 * ("40" not in fresh_table["step"])
    for name, values in fresh_table.items():
        assert [table[name][at] for at in kept] == values, name


def test_failed_trials(tmp_path):
    # The second model cannot be allocated anywhere; the cohorts are of different shapes.
    write_space(tmp_path, 'base=BASE, axes={"model.hidden": [(8,), (10**8, 10**8)]}, seeds=range(2)')
    done = run_sweep(tmp_path, "tiny.py", "--mlflow-uri", "none", "--workers", "2", "--cohort-size", "2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 of 4 done, 0 running, 0 cached, 2 failed" in done.stdout
    assert "failed   2 trials" in done.stdout
    assert "out of memory" in done.stdout
    ledger = Ledger.open(str(tmp_path / "results/ledger"))
    failed = [row for row in ledger.trials().values() if row.state == "failed"]
    assert [row.error_kind for row in failed] == ["out_of_memory"] * 2
    assert ledger.verify() == []
    flags = ("--mlflow-uri", "none", "--local", "--json")
    again = run_sweep(tmp_path, "tiny.py", *flags)
    assert again.returncode == 1
    printed = json.loads(again.stdout)
    assert (printed["cached"], printed["finished"], printed["failed"]) == (2, 0, 2)
    assert json.loads(run_sweep(tmp_path, "tiny.py", *flags, "--rerun-failed").stdout)["failed"] == 2


def test_sigterm_in_process(tmp_path):
    write_space(tmp_path, "base=BASE.replace(stopping=Stopping(on_success=False)), seeds=range(2)", horizon=1_000_000)
    with started_sweep(tmp_path, "tiny.py", "--mlflow-uri", "none", "--local") as process:
        wait_until(lambda: re.search("[12] running", process.stdout.readline()), timeout_s=120, what="the trials run")
        process.terminate()
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (143, "")
    assert "interrupted (SIGTERM): 0 of 2 done" in output


def test_max_hours(tmp_path):
    write_space(tmp_path, "base=BASE.replace(stopping=Stopping(on_success=False)), seeds=range(2)", horizon=1_000_000)
    done = run_sweep(tmp_path, "tiny.py", "--mlflow-uri", "none", "--local", "--max-hours", "0.001")
    assert done.returncode == 0, done.stderr
    assert "2 trials are left, run the same command again to resume" in done.stdout
    ledger = Ledger.open(str(tmp_path / "results/ledger"))
    assert ledger.checkpoint_steps()
