"""``python -m pipeline.ledger``: what it prints and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path
from socket import gethostname

import pytest

from pipeline.ledger import Ledger, SweepRow
from pipeline.ledger.__main__ import main
from pipeline.sharing import Leases
from tests.support.ledger_samples import commit_steps, trial_row

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    for trial_id, state in (("a", "finished"), ("b", "stopped"), ("c", "running"), ("elsewhere", "finished")):
        reason = "success" if state == "stopped" else None
        commit_steps(ledger, trial_id, range(1000), state, stop_reason=reason)
    ledger.commit([trial_row("d", 0, "failed", error="it broke", error_kind="error")], {})
    ledger.record_sweep(
        SweepRow(
            name="decay_sweep",
            doc="",
            axes_json="[]",
            trial_ids=("a", "b", "c", "d", "e"),
            coordinates_json=json.dumps([{}] * 5),
            horizon_steps=10,
            revision="r",
            recorded_at="2026-01-02T03:04:05.678+00:00",
        )
    )
    return ledger


def test_list(ledger, capsys):
    assert main(["list", ledger.uri]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:6] == ["sweep", "trials", "finished", "stopped", "failed", "running"]
    assert lines[0].split()[6:] == ["missing", "rows", "size", "checkpoints", "snapshots", "recorded"]
    assert lines[1].split()[:8] == ["decay_sweep", "5", "1", "1", "1", "1", "1", "3,000"]
    assert lines[1].rstrip().endswith("2026-01-02 03:04:05")
    assert lines[2].split()[:9] == ["(in", "no", "sweep)", "1", "1", "0", "0", "0", "0"]
    assert lines[1].index("3,000") == lines[2].index("1,000") == lines[0].index("rows") - 1
    assert lines[3].startswith(f"{ledger.uri}: 1 sweep, 5 trials, 5 files, ")


def test_list_of_an_empty_ledger(tmp_path, capsys):
    Ledger.open(str(tmp_path), create=True)
    assert main(["list", "--ledger", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: 0 sweeps, 0 trials, 0 files, 0 bytes\n"


def test_verify(ledger, capsys):
    assert main(["verify", ledger.uri]) == 0  # An interrupted sweep is sound.
    interrupted, verdict = capsys.readouterr().out.splitlines()
    assert interrupted.startswith("unfinished: sweep decay_sweep: 1 of its 5 trials have no row yet: e; ")
    assert verdict == f"{ledger.uri}: no problems, 1 unfinished sweep"
    commit_steps(ledger, "e", range(3))
    Path(ledger.uri, "segments", ".tmp-killed").write_bytes(b"")
    assert main(["verify", ledger.uri]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{ledger.uri}: no problems, 1 harmless stray file"
    next(Path(ledger.uri, "segments").glob("*.parquet")).write_bytes(b"")
    assert main(["verify", ledger.uri]) == 1
    assert ": 1 problem" in capsys.readouterr().out


def test_compact(ledger, capsys):
    assert main(["compact", ledger.uri]) == 0
    assert capsys.readouterr().out.startswith(f"{ledger.uri}: 5 files -> 4, ")


def test_a_sweep_that_is_running_is_not_dropped(ledger, capsys):
    with Leases(ledger, "decay_sweep"), Leases(ledger, "other"):
        assert main(["drop", "decay_sweep", "--ledger", ledger.uri]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"error: decay_sweep: is running on {gethostname()} (process {os.getpid()}); wait for it, or end it with "
        f"python -m pipeline.cancel decay_sweep --ledger {ledger.uri}"
    )
    assert main(["drop", "decay_sweep", "--ledger", ledger.uri]) == 0


def test_drop(ledger, capsys):
    assert main(["drop", "decay_sweep", "--ledger", ledger.uri]) == 0
    assert capsys.readouterr().out == f"{ledger.uri}: dropped decay_sweep and 4 trials\n"
    assert list(ledger.trials()) == ["elsewhere"]


def test_merge_into_a_new_ledger(ledger, tmp_path, capsys):
    target = tmp_path / "new"
    assert main(["merge", ledger.uri, str(target)]) == 0
    output = capsys.readouterr().out
    assert output == f"{target}: copied 5 trials (5 new), 4,000 rows and 1 sweep from {ledger.uri}\n"
    assert Ledger.open(str(target)).trials() == ledger.trials()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "{tmp}/none"], "there is no ledger at {tmp}/none"),
        (["drop", "other", "{tmp}/ledger"], "has no sweep 'other'; its sweeps: decay_sweep"),
        (["merge", "{tmp}/none", "{tmp}/ledger"], "there is no ledger at {tmp}/none"),
        (["merge", "{tmp}/ledger", "{tmp}/ledger"], "cannot be merged into itself"),
        (["verify", "a", "--ledger", "b"], "got both a and --ledger b; give one"),
    ],
)
def test_bad_input(ledger, tmp_path, capsys, arguments, message):
    assert main([argument.format(tmp=tmp_path) for argument in arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert output.err.startswith("error: ")
    assert message.format(tmp=tmp_path) in output.err


@pytest.mark.parametrize("arguments", [[], ["polish"], ["drop"], ["list", "--fast"]])
def test_bad_commands(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_as_a_command_in_a_pipe(ledger, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "40"}
    command = [sys.executable, "-m", "pipeline.ledger", "list", ledger.uri]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "decay_sweep" in ended.stdout
    ended = subprocess.run(command[:-1], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert (
        ended.stderr == f"error: ledger: there is no ledger at {tmp_path}/results/ledger; run a sweep to create one\n"
    )


def test_a_reader_that_has_read_enough_ends_the_printing_alone(ledger):
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-m", "pipeline.ledger", "list", ledger.uri]
    ended = subprocess.run(command, cwd=ROOT, stdout=writes, stderr=subprocess.PIPE, text=True)
    os.close(writes)
    assert (ended.returncode, ended.stderr) == (0, "")
