"""``--detach``: what is said of a process in the background that starts, fails, or cannot start."""

import os
import sys

import pytest

from pipeline.ledger import Ledger
from pipeline.sharing.lease import Lease, RunProgress, this_place
from pipeline.terminal import detach
from pipeline.terminal.signals import Interrupted
from trainables.engine.errors import GrokscapeError


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Have a shell script be the command that goes to the background."""
    monkeypatch.chdir(tmp_path)

    def write(script):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return write


def test_a_command_that_fails_is_told_by_its_own_last_lines(command, capsys):
    command('echo "first $*"')
    assert detach.detach(["s.py", "--detach", "--local"], "s", "ledger") == 0
    command("echo error: broken; exit 2")
    assert detach.detach(["s.py", "--detach"], "s", "ledger") == 2
    assert capsys.readouterr() == ("first -m pipeline.sweep s.py --local\n", "error: broken\n")
    with open("results/logs/s.log") as log:
        assert len(log.readlines()) == 2, "a second driver must not cut off the log of the first"


def test_a_log_that_cannot_be_written_is_one_line(command, tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(GrokscapeError, match=r"--detach: cannot write the log results/logs/s\.log: Not a directory"):
        detach.detach([], "s", "ledger")


def test_a_command_is_at_work_once_it_says_how_far_it_is(command, monkeypatch, capsys):
    """Before that, missing data or the like may still end it; Ctrl-C in the meantime ends it too."""
    command("exec sleep 60")
    ledger = Ledger.open("ledger", create=True)
    looks = []

    def lease(_):
        looks.append(pid := started[-1].pid)
        progress = RunProgress(total=4) if len(looks) == 3 else RunProgress()
        if len(looks) == 5:
            raise Interrupted(2)
        place = this_place()
        return [Lease(driver="d", sweep="s", host="h", pid=pid, place=place, started_at="", progress=progress)]

    started, popen = [], detach.subprocess.Popen
    monkeypatch.setattr(detach.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    monkeypatch.setattr(detach, "live_leases", lease)
    monkeypatch.setattr(detach, "LOOK_EVERY_S", 0.0)
    assert detach.detach([], "s", ledger.uri) == 0
    assert len(looks) == 3
    assert "s: runs in the background as process" in capsys.readouterr().out
    with pytest.raises(Interrupted):
        detach.detach([], "s", ledger.uri)
    assert started[1].wait(10) < 0
    os.kill(started[0].pid, 9)
    started[0].wait(10)
