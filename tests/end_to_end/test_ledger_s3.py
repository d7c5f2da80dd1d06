"""The ledger in an object store: a real S3 server, several processes, the command line."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.ledger import Checkpoint, Ledger, LedgerError
from pipeline.ledger.files import Files
from tests.support.competing_drivers import held_twice
from tests.support.ledger_samples import archive, assert_exactly_once, commit_steps, record, trajectory, trial_row
from tests.support.ledger_workers import PROCESSES, commit_overlapping, compact_until, read_until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def uri(server, request):
    return server.uri(f"results/{request.node.name}")


@pytest.fixture
def ledger(uri):
    return Ledger.open(uri, create=True)


def test_the_whole_life_of_a_ledger(server, uri, tmp_path):
    with pytest.raises(LedgerError, match=r"there is no ledger at s3://bucket/results/"):
        Ledger.open(uri)
    ledger = Ledger.open(uri, create=True)
    ends = {"a1": 7, "b1": 5, "c1": 3}
    for trial_id, end in ends.items():
        for start in range(0, end, 2):
            last = min(start + 3, end)
            checkpoint = Checkpoint(trial_id=trial_id, step=last, data=archive("x" * 10_000))
            ledger.commit([trial_row(trial_id, last)], trajectory(trial_id, range(start, last + 1)), [checkpoint])
    record(ledger, "one", ["a1", "b1"])
    record(ledger, "two", ["b1", "c1"])
    assert_exactly_once(Ledger.open(uri), ends)
    assert ledger.checkpoint_steps() == ends
    assert ledger.checkpoint("b1") == Checkpoint(trial_id="b1", step=5, data=archive("x" * 10_000))
    assert ledger.verify() == []
    assert ledger.compact().files_after == ledger.files() == 3
    commit_steps(ledger, "c1", range(9), "stopped", stop_reason="frozen")
    ends["c1"] = 8
    assert_exactly_once(ledger, ends)
    assert ledger.checkpoint_steps() == {"a1": 7, "b1": 5}
    local = Ledger.open(str(tmp_path / "local"), create=True)
    local.merge(ledger)
    ledger.drop("one")
    assert_exactly_once(ledger, {"b1": 5, "c1": 8})
    assert ledger.verify() == []
    ledger.merge(local)
    for found in (local, ledger):
        assert_exactly_once(found, ends)
        assert found.checkpoint_steps() == {"a1": 7, "b1": 5}
        assert found.verify() == []
    assert sorted(row.name for row in ledger.sweeps()) == ["one", "two"]


def test_foreign_and_impossible_places(server, uri):
    Files(uri).put("thesis.tex", b"years of work")
    with pytest.raises(LedgerError, match=r"is not a ledger: .* but contains thesis\.tex"):
        Ledger.open(uri, create=True)
    nowhere = uri.replace("@bucket/", "@no-such-bucket/")
    with pytest.raises(LedgerError, match=r"^ledger: cannot [^\n]* s3://no-such-bucket/[^\n]*$"):
        Ledger.open(nowhere, create=True)


def test_a_dead_server_is_one_line_within_seconds():
    started = time.monotonic()
    dead = "s3://key:secret@bucket/x?scheme=http&endpoint_override=127.0.0.1:9&region=us-east-1"
    with pytest.raises(LedgerError, match=r"^ledger: cannot open s3://bucket/x: [^\n]*$"):
        Ledger.open(dead)
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    "bad", ["s3://key:secret@bucket/x?region=us-east-1&unknown=1", "s3://key:secret@/x", "s3://key:secret@bucket/x y"]
)
def test_credentials_are_in_no_message(bad):
    with pytest.raises(LedgerError, match=r"^ledger: cannot open [^\n]*$") as failed:
        Ledger.open(bad)
    assert "secret" not in str(failed.value)


def test_processes_at_once(ledger):
    ends = {"a": 40, "b": 30}
    stop, complaints = PROCESSES.Event(), PROCESSES.Queue()
    others = [
        PROCESSES.Process(target=compact_until, args=(ledger.uri, stop)),
        PROCESSES.Process(target=read_until, args=(ledger.uri, stop, complaints)),
    ]
    workers = [
        PROCESSES.Process(target=commit_overlapping, args=(ledger.uri, trial_id, end, seed))
        for trial_id, end in ends.items()
        for seed in range(2)
    ]
    for process in [*others, *workers]:
        process.start()
    for process in workers:
        process.join(120)
    stop.set()
    heard = complaints.get(timeout=120)
    for process in others:
        process.join(120)
    assert [process.exitcode for process in [*others, *workers]] == [0] * 6
    assert heard.startswith("read ")
    assert_exactly_once(ledger, ends)
    assert [str(problem) for problem in ledger.verify() if not problem.harmless] == []
    ledger.compact()
    assert ledger.files() == 3
    assert_exactly_once(ledger, ends)


def test_by_the_command_line(ledger, tmp_path):
    commit_steps(ledger, "a", range(5), "finished")
    record(ledger, "some", ["a"])
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    tables = str(tmp_path / "tables")
    for arguments, expected in (
        (["list"], "some"),
        (["compact"], "1 file -> 3"),
        (["verify"], "no problems"),
        (["show", "some"], "some: 1 trial"),
        (["show", "a"], "trial a: finished at step 4"),
        (["export", "some", "--out", tables], "wrote 1 trial and 5 measurements of some"),
    ):
        command = [sys.executable, "-m", "pipeline.ledger", *arguments, "--ledger", ledger.uri]
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert expected in ended.stdout
        assert "secret" not in ended.stdout


def test_drivers_that_ask_for_the_same_trials_at_once_share_them(ledger):
    assert held_twice(ledger, drivers=4, rounds=3) == []
