"""The command line of a sweep: every bad input gets one clear line and code 2, before anything starts."""

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time

import pytest

from pipeline import command, sweep
from pipeline.execution.ray_environment import RayAddressError, check_address, variables
from pipeline.ledger import Ledger
from tests.support.fake_mnist import write_mnist
from tests.support.sweep_runs import environment, run_sweep, write_space

SMALL = 'base=BASE, axes={"optimizer.weight_decay": [0, 1]}, seeds=range(2)'


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, *arguments):
    """(exit code, standard output, standard error)"""
    try:
        code = sweep.main([str(argument) for argument in arguments])
    except SystemExit as stop:  # argparse
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def newer_ledger(folder):
    Ledger.open(str(folder / "newer"), create=True)
    marker = folder / "newer" / "grokscape-ledger.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"schema_version": 99}))


def foreign_folder(folder):
    (folder / "foreign").mkdir()
    (folder / "foreign" / "thesis.tex").write_text("do not touch")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


BAD = [
    ("no such file", "missing.py", [], r"missing\.py: cannot be read"),
    ("no SWEEP", "SPACE = 1\n", [], r"space\.py: defines no SWEEP"),
    ("another type", "SWEEP = 1\n", [], r"SWEEP is of type int; must be a SweepSpec"),
    ("a Python error", "x = 1\nSWEEP = x / 0\n", [], r"space\.py:2: ZeroDivisionError"),
    ("a syntax error", "x = 1\nSWEEP = (\n", [], r"space\.py:2: SyntaxError"),
    ("an unknown axis", 'base=BASE, axes={"optimizer.momentum": [0.9]}', [], r"axis optimizer\.momentum: .*allowed: "),
    (
        "a bad value",
        'base=BASE, axes={"optimizer.weight_decay": [0, -1]}',
        [],
        r"weight_decay = -1.*must be at least 0",
    ),
    ("no such module", SMALL, ["--components", "no_such"], r"module no_such is not importable on .*: No module named"),
    ("an unknown flag", SMALL, ["--fast"], r"unrecognized arguments: --fast"),
    ("no workers", SMALL, ["--workers", "0"], r"--workers: '0': must be at least 1"),
    (
        "a size in words",
        SMALL,
        ["--cohort-size", "big"],
        r"--cohort-size: 'big': must be .* or 'auto'",
    ),
    ("no time", SMALL, ["--max-hours", "-1"], r"--max-hours: '-1': must be above 0"),
    ("half a seed", SMALL, ["--seeds", "1.5"], r"--seeds: '1.5': must be"),
    (
        "a size of a space without sizes",
        SMALL,
        ["--size", "full"],
        r"space\.py: has no sizes: drop --size full",
    ),
    ("a size of fantasy", SMALL, ["--size", "huge"], r"--size: invalid choice: 'huge' \(choose from .*laptop"),
    ("a device of fantasy", SMALL, ["--device", "tpu"], r"--device: 'tpu': must be cpu, cuda or cuda:N"),
    ("a missing GPU", SMALL, ["--local", "--device", "cuda:77"], r"--device cuda:77: .*CUDA GPU"),
    ("a GPU that Ray hands out", SMALL, ["--device", "cuda:0"], r"--device cuda:0: Ray assigns the GPUs"),
    ("two places", SMALL, ["--local", "--address", "127.0.0.1:1"], r"--local runs in this process"),
    ("many, in process", SMALL, ["--local", "--workers", "3"], r"--workers 3: --local runs one cohort at a time"),
    ("no address", SMALL, ["--address", "cluster"], r"--address cluster: must be host:port"),
    ("a foreign folder", SMALL, ["--ledger", "foreign"], r"foreign is not a ledger: .*thesis\.tex"),
    ("a newer ledger", SMALL, ["--ledger", "newer"], r"ledger: .*newer"),
    ("a file for a ledger", SMALL, ["--ledger", "space.py"], r"ledger: .*space\.py"),
    ("an unwritable place", SMALL, ["--ledger", "/proc/nowhere"], r"ledger: .*/proc/nowhere"),
    ("a folder for MLflow", SMALL, ["--mlflow-uri", "mlruns"], r"MLflow at 'mlruns'"),
    ("no database", SMALL, ["--mlflow-uri", "sqlite:///space.py"], r"MLflow at sqlite:///space\.py"),
]


@pytest.mark.parametrize(("space", "flags", "line"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(capsys, tmp_path, space, flags, line):
    foreign_folder(tmp_path)
    newer_ledger(tmp_path)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    name = "space.py"
    if space.startswith("base="):
        write_space(tmp_path, space, name="space")
    elif space.endswith(".py"):
        name = space
    else:
        (tmp_path / name).write_text(space)
    if "--mlflow-uri" not in flags:
        flags = [*flags, "--mlflow-uri", "none"]
    code, output, errors = run(capsys, name, *flags)
    assert (code, output) == (2, "")
    assert re.fullmatch(r"error: [^\n]*\n", errors), errors
    assert re.search(line, errors), errors
    # Nothing was begun, and nothing of anybody else's was touched.
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(
        {*before, *([name] if name == "space.py" else [])}
    )


@pytest.mark.parametrize("flag", ["--mlflow-uri", "--address"])
def test_a_dead_address_is_said_soon(capsys, tmp_path, flag):
    write_space(tmp_path, SMALL, name="space")
    address = f"127.0.0.1:{free_port()}"
    more = [flag, f"http://{address}"] if flag == "--mlflow-uri" else [flag, address, "--mlflow-uri", "none"]
    began = time.monotonic()
    code, output, errors = run(capsys, "space.py", *more)
    assert time.monotonic() - began < 15
    assert (code, output) == (2, "")
    assert re.fullmatch(rf"error: [^\n]*{address}[^\n]*refused[^\n]*\n", errors), errors
    assert not (tmp_path / "results").exists()


def test_a_dry_run_makes_nothing(capsys, tmp_path):
    write_space(tmp_path, SMALL, name="space", doc="Why not?")
    code, output, errors = run(capsys, "space.py", "--dry-run", "--mlflow-uri", "none", "--workers", "2")
    assert (code, errors) == (0, "")
    assert output.splitlines()[0] == "space: Why not?"
    assert "  axis     optimizer.weight_decay = 0, 1" in output
    assert "  trials   4: 0 in the ledger, 0 to continue, 4 new" in output
    assert " on 2 workers" in output
    assert [path.name for path in tmp_path.iterdir()] == ["space.py"]
    code, output, errors = run(capsys, "space.py", "--dry-run", "--json", "--seeds", "3", "--max-steps", "9")
    printed = json.loads(output)
    assert {name: printed[name] for name in ("planned", "cached", "finished", "failed", "figures")} == {
        "planned": 6,
        "cached": 0,
        "finished": 0,
        "failed": 0,
        "figures": None,
    }
    assert (printed["ledger"], printed["mlflow"]) == ("results/ledger", "sqlite:///results/mlflow.db")
    assert printed["horizon_steps"] == 9
    assert [path.name for path in tmp_path.iterdir()] == ["space.py"]


@pytest.mark.parametrize(("flags", "size", "planned"), [([], "laptop", 2), (["--size", "full"], "full", 6)])
def test_a_space_of_two_sizes(capsys, tmp_path, flags, size, planned):
    path = write_space(tmp_path, "base=BASE, seeds=range(6)", name="space", p=5, horizon=12)
    path.write_text(path.read_text() + "SWEEP = {'full': SWEEP, 'laptop': SweepSpec(base=BASE, seeds=range(2))}\n")
    flags = [*flags, "--mlflow-uri", "none"]
    code, output, errors = run(capsys, "space.py", "--dry-run", *flags)
    assert (code, errors) == (0, "")
    assert output.startswith(f"space_{size}: Tiny.\n  size     {size} ")
    code, output, errors = run(capsys, "space.py", "--local", *flags, "--json")
    assert (code, errors) == (0, "")
    printed = json.loads(output)
    assert (printed["sweep"], printed["planned"], printed["finished"]) == (f"space_{size}", planned, planned)
    assert printed["figures"][0].startswith(f"results/figures/space_{size}/")
    assert [row.name for row in Ledger.open("results/ledger").sweeps()] == [f"space_{size}"]


def test_a_whole_sweep_twice(capsys, tmp_path):
    write_space(tmp_path, SMALL, name="space", p=5, horizon=12)
    flags = ("--local", "--mlflow-uri", "none", "--out", "pictures")
    code, output, errors = run(capsys, "space.py", *flags)
    assert (code, errors) == (0, "")
    assert "space: 4 trials: 0 in the ledger, 0 to continue, 4 new; " in output
    assert "4 of 4 done, 0 running, 0 cached, 0 failed after" in output
    assert output.splitlines()[-1] == "open     xdg-open pictures/report.html"
    recorded = Ledger.open("results/ledger").sweep("space")
    code, output, errors = run(capsys, "space.py", *flags)
    assert (code, errors) == (0, "")
    assert output.startswith("space: nothing to run, the ledger has all 4 trials\n")
    assert Ledger.open("results/ledger").sweep("space") == recorded
    code, output, _ = run(capsys, "space.py", *flags, "--json")
    printed = json.loads(output)
    assert (code, printed["planned"], printed["cached"], printed["finished"], printed["failed"]) == (0, 4, 4, 0, 0)
    assert printed["ledger"] == str(tmp_path / "results" / "ledger")
    assert printed["mlflow"] is None
    assert "pictures/phase_diagram.png" in printed["figures"]


FAILING = """
import sys
import analysis.draw
from pipeline.sweep import main

def fail(*_):
    raise BaseException("a panic\\nof a library")

analysis.draw.draw_png = fail
sys.exit(main(sys.argv[1:]))
"""


def test_a_drawing_that_fails_costs_nothing_else(tmp_path):
    write_space(tmp_path, "base=BASE", p=5, horizon=12)
    flags = ("tiny.py", "--local", "--mlflow-uri", "sqlite:///runs.db")
    done = run_sweep(tmp_path, *flags, program=FAILING, figures=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nmlflow   mlflow server " in done.stdout
    assert done.stdout.endswith("\nfigures  none: cannot be drawn (BaseException: a panic of a library)\n")
    with sqlite3.connect(tmp_path / "runs.db") as runs:
        assert runs.execute("SELECT status, COUNT(*) FROM runs GROUP BY status").fetchall() == [("FINISHED", 2)]
    done = run_sweep(tmp_path, *flags[:2], "--mlflow-uri", "none", "--json", program=FAILING, figures=True)
    printed = json.loads(done.stdout)
    assert (done.returncode, printed["figures"]) == (0, None)
    assert printed["figures_error"] == "cannot be drawn (BaseException: a panic of a library)"


def mnist_space(folder):
    path = write_space(folder, "base=BASE.replace(task=MNISTSubset(train_rows=20, test_rows=20))", name="space")
    path.write_text(path.read_text().replace("BASE =", "from trainables.data.mnist import MNISTSubset\n\nBASE ="))


def test_missing_data(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("GROKSCAPE_DATA", raising=False)
    monkeypatch.delenv("GROKSCAPE_DOWNLOAD", raising=False)
    mnist_space(tmp_path)
    code, output, errors = run(capsys, "space.py", "--dry-run", "--mlflow-uri", "none")
    assert (code, errors) == (0, "")
    assert re.search(r"^  note     data missing: GROKSCAPE_DATA is not set[^\n]*$", output, re.MULTILINE), output
    code, output, errors = run(capsys, "space.py", "--local", "--mlflow-uri", "none")
    assert (code, output) == (2, "")
    assert re.fullmatch(r"error: GROKSCAPE_DATA is not set[^\n]*\n", errors), errors
    assert Ledger.open("results/ledger").sweeps() == []


def test_a_dry_run_downloads_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("GROKSCAPE_DATA", str(tmp_path))
    monkeypatch.setenv("GROKSCAPE_DOWNLOAD", "1")
    mnist_space(tmp_path)
    code, output, errors = run(capsys, "space.py", "--dry-run", "--json", "--mlflow-uri", "none")
    printed = json.loads(output)
    assert (code, errors, printed["planned"]) == (0, "", 1)
    assert re.fullmatch(r"MNIST: is not in [^\n]*; a run downloads it \(.*\)", *printed["data_missing"])
    assert [path.name for path in tmp_path.iterdir()] == ["space.py"]


def test_the_data_flag(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("GROKSCAPE_DATA", "elsewhere")  # restored afterwards, whatever the command sets
    mnist_space(tmp_path)
    write_mnist(tmp_path / "sets")
    code, output, errors = run(capsys, "space.py", "--data", "set", "--dry-run")
    assert (code, output) == (2, "")
    assert re.fullmatch(r"error: --data /[^\n]*/set: not a folder; must be [^\n]*\n", errors), errors
    code, output, errors = run(capsys, "space.py", "--data", "sets", "--dry-run", "--json", "--mlflow-uri", "none")
    assert (code, errors, json.loads(output)["data_missing"]) == (0, "", [])
    assert os.environ["GROKSCAPE_DATA"] == str(tmp_path / "sets")


def test_help(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    code, output, _ = run(capsys, "--help")
    assert code == 0
    for flag in (
        *("--local", "--ledger URI", "--mlflow-uri URI", "--address HOST:PORT", "--device", "--dry-run", "--json"),
        *(
            "--data DIR",
            "--size {full,laptop}",
            "--max-steps N",
            "--seeds N",
            "--workers N",
            "--cohort-size N",
            "--max-hours H",
            "--rerun-failed",
        ),
    ):
        assert flag in output
    assert "Exit codes: 0 done, 1 some trials failed, 2 bad input, 130 interrupted" in " ".join(output.split())
    assert max(map(len, output.splitlines())) <= 100


class TestRayEnvironment:
    def test_our_own_cluster_gets_a_token_that_nobody_else_has(self, tmp_path):
        one, two = (variables(None, {"HOME": str(tmp_path)}) for _ in range(2))
        assert one["RAY_AUTH_MODE"] == "token"
        assert len(one["RAY_AUTH_TOKEN"]) >= 32
        assert one["RAY_AUTH_TOKEN"] != two["RAY_AUTH_TOKEN"]
        assert list(tmp_path.iterdir()) == []
        assert one["RAY_USAGE_STATS_ENABLED"] == "0"

    def test_the_user_s_own_token_stays(self, tmp_path):
        assert "RAY_AUTH_TOKEN" not in variables(None, {"HOME": str(tmp_path), "RAY_AUTH_TOKEN": "mine"})
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("kept")
        assert "RAY_AUTH_TOKEN" not in variables(None, {"HOME": str(tmp_path)})

    def test_to_join_a_cluster_a_token_is_used_where_there_is_one(self, tmp_path):
        assert "RAY_AUTH_MODE" not in variables("head:6379", {"HOME": str(tmp_path)})
        shared = {"HOME": str(tmp_path), "RAY_AUTH_TOKEN": "shared"}
        assert variables("head:6379", shared)["RAY_AUTH_MODE"] == "token"

    @pytest.mark.parametrize("address", ["", "head", "head:", ":6379", "head:port", "ray://head:10001", "head:70000"])
    def test_what_is_no_address(self, address):
        with pytest.raises(RayAddressError, match="must be host:port"):
            check_address(address)

    def test_one_that_answers(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            check_address(f"127.0.0.1:{server.getsockname()[1]}")


def test_a_smaller_run_is_a_sweep_of_its_own(capsys, tmp_path):
    write_space(tmp_path, "base=BASE, seeds=range(2)")
    flags = ("tiny.py", "--local", "--mlflow-uri", "none")
    assert run(capsys, *flags)[0] == 0
    kept = Ledger.open("results/ledger").sweep("tiny")
    code, output, errors = run(capsys, *flags, "--seeds", "1", "--max-steps", "5")
    assert (code, errors) == (0, "")
    assert "note: flags change the file's sweep: this is tiny@steps5-seeds1, beside tiny; trials" in output
    assert (tmp_path / "results/figures/tiny@steps5-seeds1/phase_diagram.png").is_file()
    # More is another extent too; what equals the file is not.
    code, output, errors = run(capsys, *flags, "--json", "--seeds", "3")
    assert {key: json.loads(output)[key] for key in ("sweep", "cached", "finished")} == {
        "sweep": "tiny@seeds3",
        "cached": 2,
        "finished": 1,
    }
    code, output, errors = run(capsys, *flags, "--seeds", "2", "--max-steps", "99")
    assert "nothing to run, the ledger has all 2 trials" in output
    assert "note" not in output
    ledger = Ledger.open("results/ledger")
    assert ledger.sweep("tiny") == kept
    assert {row.name: (len(row.trial_ids), row.horizon_steps) for row in ledger.sweeps()} == {
        "tiny": (2, 40),
        "tiny@steps5-seeds1": (1, 5),
        "tiny@seeds3": (3, 40),
    }
    assert ledger.verify() == []


def test_an_edit_that_makes_a_sweep_smaller_is_said(capsys, tmp_path):
    flags = ("tiny.py", "--local", "--mlflow-uri", "none")
    write_space(tmp_path, "base=BASE, seeds=range(2)")
    assert "is now" not in run(capsys, *flags)[1]
    write_space(tmp_path, "base=BASE, seeds=range(1)")
    output = run(capsys, *flags)[1]
    assert "note: the sweep 'tiny' was 2 trials to step 40 and is now 1 to step 40; no row is lost" in output
    assert "2 of 2 trials" not in output


def test_a_suggestion_that_another_sweep_has_trained_is_cached(capsys, tmp_path):
    flags = ("--local", "--mlflow-uri", "none", "--json")
    write_space(tmp_path, "base=BASE, seeds=range(1)", name="one")
    assert run(capsys, "one.py", *flags)[0] == 0
    search = (
        'base=BASE, axes={"optimizer.weight_decay": tune.choice([1.0])}, seeds=range(2), objective=Objective(budget=2)'
    )
    write_space(tmp_path, search, name="search")
    code, output, errors = run(capsys, "search.py", *flags)
    assert (code, errors) == (0, "")
    assert {key: json.loads(output)[key] for key in ("planned", "cached", "finished", "failed")} == {
        "planned": 2,
        "cached": 1,
        "finished": 1,
        "failed": 0,
    }
    # A second run has nothing to do, and leaves the sweep as it is recorded.
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "results/ledger/sweeps").iterdir()}
    code, output, errors = run(capsys, "search.py", *flags)
    assert (code, json.loads(output)["cached"]) == (0, 2)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "results/ledger/sweeps").iterdir()} == written


def test_the_environment_is_followed_or_said_not_to_be(capsys, tmp_path, monkeypatch):
    write_space(tmp_path, "base=BASE, seeds=range(1)")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///~/team/mlflow.db")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    code, output, errors = run(capsys, "tiny.py", "--dry-run")
    assert (code, errors) == (0, "")
    assert f"  note     MLflow is at sqlite:///{tmp_path}/team/mlflow.db, as MLFLOW_TRACKING_URI says\n" in output
    assert "  note     RAY_ADDRESS = head:6379 is not followed: Ray starts on this machine; to join" in output
    assert "  cost     under 1 s of training" in output
    assert "note" not in run(capsys, "tiny.py", "--dry-run", "--mlflow-uri", "none", "--local")[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    code, output, errors = run(capsys, "tiny.py", "--dry-run")
    assert (code, output) == (2, "")
    assert errors.endswith("(MLFLOW_TRACKING_URI says this address; --mlflow-uri overrides it)\n")


def test_an_unwritable_folder_for_figures(tmp_path):
    write_space(tmp_path, "base=BASE, seeds=range(2)")
    done = run_sweep(tmp_path, "tiny.py", "--local", "--mlflow-uri", "none", "--out", "tiny.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --out tiny.py: tiny.py is not a writable folder\n"
    assert not (tmp_path / "results").exists()


def test_a_closed_pipe(tmp_path):
    write_space(tmp_path, "base=BASE, seeds=range(2)")
    command = f"{sys.executable} -m pipeline.sweep tiny.py --local --mlflow-uri none | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "results/figures/tiny/phase_diagram.png").is_file()


def test_figures_that_a_sweep_is_evidence_for():
    asked = {name: list(command._figures_on(name)) for name in ("table1_cifar10_laptop", "wd_vs_orthograd", "quick")}
    assert asked == {"table1_cifar10_laptop": ["table1"], "wd_vs_orthograd": ["fig15"], "quick": []}
