"""Verification: what is missing, damaged, contradictory or stray."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.ledger import Ledger, LedgerError
from pipeline.spec.space_file import load_space
from tests.support.ledger_samples import archive, commit_steps, record, trajectory, trial_row
from tests.support.sweep_runs import ROOT, run_sweep, write_space
from trainables.engine.config import canonical_json
from trainables.engine.trial import Measuring


@pytest.fixture
def ledger(tmp_path):
    return Ledger.open(str(tmp_path / "ledger"), create=True)


def stored(ledger, folder):
    return sorted(path for path in Path(ledger.uri, folder).rglob("*") if path.is_file())


def only(ledger):
    (problem,) = ledger.verify()
    return problem


def test_a_sweep_that_was_interrupted(ledger):
    commit_steps(ledger, "a", range(3))
    record(ledger, "some", ["a", "b", "c"])
    problem = only(ledger)
    assert problem.harmless
    assert str(problem) == (
        "unfinished: sweep some: 2 of its 3 trials have no row yet: b, c; if it was interrupted, run the same command "
        "again to resume"
    )


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "foreign"])
@pytest.mark.parametrize("folder", ["segments", "compacted"])
def test_damaged_files(ledger, damage, folder):
    commit_steps(ledger, "a", range(200))
    if folder == "compacted":
        ledger.compact()
    path = next(path for path in stored(ledger, folder) if not path.name.startswith("trials"))
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[1000] ^= 1
    path.write_bytes({"cut": content[:-100], "empty": b"", "flipped": content, "foreign": b"PAR1"}[damage])
    problem = ledger.verify()[0]
    assert (problem.kind, problem.where) == ("damaged", f"{folder}/{path.name}")
    assert not problem.harmless
    with pytest.raises(LedgerError, match=rf"^ledger: [^\n]*{path.name} is damaged or not a ledger file: [^\n]*$"):
        Ledger.open(ledger.uri).trajectories()


def test_a_segment_whose_content_does_not_match_its_name(ledger):
    commit_steps(ledger, "a", range(3))
    commit_steps(ledger, "b", range(3))
    first, second = stored(ledger, "segments")
    first.write_bytes(second.read_bytes())
    assert "its content does not match its name" in ledger.verify()[0].what


def test_a_compacted_file_that_is_not_what_its_manifest_names(ledger):
    """Such as one whose footer names another column, which no checksum of Parquet covers."""
    commit_steps(ledger, "a", range(3))
    ledger.compact()
    path = next(Path(ledger.uri, "compacted").glob("trajectories-*"))
    path.write_bytes(path.read_bytes().replace(b"train_accuracy", b"trend_accuracy"))
    assert Ledger.open(ledger.uri).trajectories()["trend_accuracy"].null_count < 3
    (problem,) = ledger.verify()
    assert str(problem).startswith(f"damaged: compacted/{path.name}: its content is not what its manifest names")


def test_a_missing_compacted_file(ledger):
    commit_steps(ledger, "a", range(3))
    ledger.compact()
    path = next(Path(ledger.uri, "compacted").glob("trajectories-*"))
    path.unlink()
    assert ("missing", f"compacted/{path.name}") in [(item.kind, item.where) for item in ledger.verify()]
    (manifest,) = stored(ledger, "manifests")
    with pytest.raises(LedgerError, match=rf"{path.name} is missing, though manifests/{manifest.name} names it"):
        ledger.trials()
    # What the message suggests.
    record(ledger, "some", ["a"])
    manifest.unlink()
    assert only(ledger).kind == "gap"
    ledger.drop("some")
    assert ledger.verify() == []


def test_a_damaged_manifest(ledger):
    commit_steps(ledger, "a", range(3))
    ledger.compact()
    (path,) = stored(ledger, "manifests")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(LedgerError, match=rf"^ledger: [^\n]*{path.name} is damaged or not a ledger file"):
        Ledger.open(ledger.uri).trials()
    problem = Ledger.open(ledger.uri).verify()[0]
    assert (problem.kind, problem.where) == ("damaged", f"manifests/{path.name}")


def test_a_damaged_sweep(ledger):
    record(ledger, "some", [])
    (path,) = stored(ledger, "sweeps")
    path.write_text("{}")
    assert only(ledger).kind == "damaged"


def test_gaps(ledger):
    measuring = Measuring(dense_until_steps=5)
    steps = measuring.steps(100)
    kept = np.delete(steps, [3, 17])
    ledger.commit([trial_row("a", 100, measuring=measuring)], trajectory("a", kept))
    assert only(ledger).what == "2 measured steps are missing, from 3 on"
    commit_steps(ledger, "b", [0, 4, 9], measuring=None)  # a config without a schedule: nothing to compare
    assert len(ledger.verify()) == 1


def test_a_raised_horizon_is_no_gap(ledger):
    measuring = Measuring(dense_until_steps=5)
    for horizon in (57, 100):
        rows = trajectory("a", measuring.steps(horizon))
        ledger.commit([trial_row("a", horizon, "finished", measuring=measuring)], rows)
    assert ledger.verify() == []


def test_rows_that_end_before_the_last_step(ledger):
    ledger.commit([trial_row("a", 9)], trajectory("a", range(5)))
    assert only(ledger).what == "its rows end at step 4, but its trial row says 9"
    ledger.commit([trial_row("b", 9)], {})
    assert [item.what for item in ledger.verify()][1] == "it has no rows, but its trial row says 9"


def test_stray_files(ledger):
    commit_steps(ledger, "a", range(3))
    Path(ledger.uri, "segments", ".tmp-killed").write_bytes(b"half")
    Path(ledger.uri, "segments", "notes.txt").write_text("hello")
    problems = ledger.verify()
    assert [(item.kind, item.where, item.harmless) for item in problems] == [
        ("stray", "segments/notes.txt", True),
        ("stray", "segments/.tmp-killed", True),
    ]


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        ({"state": "running"}, True),
        ({"state": "finished"}, True),
        ({"state": "stopped", "stop_reason": "success"}, True),
        ({"state": "stopped", "stop_reason": "diverged"}, False),
        ({"state": "stopped", "stop_reason": "frozen"}, False),
        ({"state": "failed"}, False),
    ],
)
def test_stray_checkpoints(ledger, row, kept):
    ledger.commit([trial_row("abc", 3, **row)], trajectory("abc", range(4)))
    # Written by a zombie, after the row.
    path = Path(ledger.uri, "checkpoints", "ab", "abc.3.ckpt")
    path.parent.mkdir(parents=True)
    path.write_bytes(archive("weights"))
    if kept:
        assert ledger.verify() == []
    else:
        assert only(ledger).what.startswith("the checkpoint of a trial that has ")
        assert only(ledger).harmless
    path.with_name("abc.2.ckpt").write_bytes(archive("weights"))
    assert len(ledger.verify()) == (1 if kept else 2)


UNKNOWN = ["sly_module.Schedule", "sly_module:Schedule", "sly_module"]
VERIFY = "import sys; from pipeline.ledger import Ledger; assert Ledger.open(sys.argv[1]).verify() == []"


def unknown_config(folder, name):
    """A config whose class and schedule are of a module that leaves a file behind when it is imported."""
    (folder / "sly_module.py").write_text("from pathlib import Path\nPath(__file__).with_name('imported').touch()\n")
    return canonical_json({"class": name, "measuring": {"class": name}, "snapshots_every": 2})


@pytest.mark.parametrize("name", UNKNOWN)
def test_verify_imports_no_unknown_class(ledger, tmp_path, name):
    ledger.commit([trial_row("a", 3, config_json=unknown_config(tmp_path, name))], trajectory("a", range(4)))
    command = [sys.executable, "-c", VERIFY, ledger.uri]
    path = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, env=os.environ | path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "imported").exists()


def test_a_dry_run_imports_no_unknown_class(ledger, tmp_path):
    """Whether the row is of one of the sweep's trials or of another sweep's."""
    space = write_space(tmp_path, f"base=BASE, seeds=range({len(UNKNOWN)})")
    trials = load_space(space).spec.trials()
    for trial, name in zip(trials, UNKNOWN, strict=True):
        for trial_id in (trial.config.trial_id, f"other_{trial.config.trial_id}"):
            row = trial_row(trial_id, 3, config_json=unknown_config(tmp_path, name))
            ledger.commit([row], trajectory(trial_id, range(4)))
    flags = ("--dry-run", "--json", "--ledger", ledger.uri, "--mlflow-uri", "none")
    done = run_sweep(tmp_path, space, *flags, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["planned"] == len(trials)
    assert not (tmp_path / "imported").exists()
