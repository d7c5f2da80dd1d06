"""The Ray that a sweep starts on this machine: private, ended with the sweep by any signal, replaced when it dies."""

import contextlib
import os
import signal
from collections import deque
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from pipeline.execution import ray_process
from pipeline.execution.ray_session import LONGEST_FOLDER, RayStartError, make_private_folder, ray_folder
from pipeline.execution.resources import Resources
from pipeline.ledger import Ledger
from tests.support.long_sweep import FLAGS, in_mid_sweep, write_long_space
from tests.support.planted_secrets import ENVIRONMENT, leaks
from tests.support.sweep_runs import actors, alive, contents, descendants, started_sweep


def process_with(pid: int, text: str) -> psutil.Process:
    """The one process below ``pid`` whose command has this text."""
    (found,) = [each for each in psutil.Process(pid).children(recursive=True) if text in " ".join(each.cmdline()[:1])]
    return found


def listening(pids: list[int]) -> set[str]:
    """The addresses at which these processes listen."""
    found = set()
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            connections = psutil.Process(pid).net_connections("inet")
            found |= {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    return found


def is_private(folder: Path) -> bool:
    return folder.stat().st_mode & 0o077 == 0


def test_it_is_private_and_ends_with_the_terminal(tmp_path):
    write_long_space(tmp_path)
    long = tmp_path / ("a" * 80)  # Too long for Ray's sockets.
    long.mkdir()
    with started_sweep(tmp_path, *FLAGS, TMPDIR=str(long), **ENVIRONMENT) as process:
        in_mid_sweep(tmp_path)
        below = descendants(process.pid)
        raylet = process_with(process.pid, "raylet/raylet")
        folder = Path(next(word for word in raylet.cmdline() if "session_dir=" in word).partition("=")[2])
        private = next(parent for parent in folder.parents if parent.name.startswith("grokscape-"))
        assert is_private(private)
        assert len(list(private.rglob("*.log"))) > 5
        assert leaks([private], {}) == []
        addresses = listening(below)
        assert addresses
        assert addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
        process.send_signal(signal.SIGHUP)
        output, errors = process.communicate(timeout=60)
        assert alive(below) == []
    assert (process.returncode, errors) == (129, "")
    assert "interrupted (SIGHUP): 0 of 2 done" in output
    assert "run the same command again to resume" in output
    assert not private.exists()
    assert list(long.iterdir()) == []
    ledger = Ledger.open(str(tmp_path / "results/ledger"))
    assert not [problem for problem in ledger.verify() if not problem.harmless]


def test_it_dies_and_is_started_again(tmp_path, undisturbed):
    write_long_space(tmp_path)
    with started_sweep(tmp_path, *FLAGS) as process:
        in_mid_sweep(tmp_path)
        for pid in actors(process.pid):
            os.kill(pid, signal.SIGSTOP)  # Else they may be done before Ray notices.
        process_with(process.pid, "raylet/raylet").send_signal(signal.SIGKILL)
        output, errors = process.communicate(timeout=240)
    assert process.returncode == 0
    assert errors.splitlines() == [
        "warning: Ray ended unexpectedly (exit code 1); starting it again, what it ran goes on"
    ]
    assert "2 of 2 done, 0 running, 0 cached, 0 failed after" in output
    ledger = Ledger.open(str(tmp_path / "results/ledger"))
    assert contents(ledger.uri) == contents(undisturbed)
    assert ledger.verify() == []


class Queue:
    """A dispatcher of cohorts that nobody trains."""

    def __init__(self) -> None:
        self.waiting, self.errors = deque(["a", "b"]), []
        self.open = True

    def next(self):
        return SimpleNamespace(to_text=lambda: "{}", trials=[SimpleNamespace(cohort_key="")])

    def settle(self, job, error=None):
        self.errors.append(error.kind)


def test_it_dies_too_often(monkeypatch, capsys):
    monkeypatch.setattr(ray_process, "PROGRAM", "tests.support.dying_ray")
    queue = Queue()
    resources = Resources(device="cpu", device_kind="cpu", workers=2, cpus_per_cohort=1.0, gpus_per_cohort=0.0)
    with (
        pytest.raises(ray_process.RayLostError, match=r"for the 3rd time, its logs are in (.*); run the same") as lost,
        ray_process.RayProcess(None, cpus=2) as ray,
    ):
        ray.run(queue, resources, store=None, provenance=None)
    assert queue.errors == ["lost_worker"] * 3
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert "\n" not in str(lost.value)


def test_it_does_not_start(monkeypatch, tmp_path):
    monkeypatch.setattr(ray_process, "PROGRAM", "tests.support.no_such_program")
    with pytest.raises(RayStartError, match=r"Ray ended unexpectedly \(exit code 1\); its logs are in"):
        ray_process.RayProcess(None)


def test_there_is_no_short_folder(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / ("a" * LONGEST_FOLDER)))
    folder = make_private_folder()
    assert len(os.fsencode(ray_folder(folder))) <= LONGEST_FOLDER
    folder.rmdir()
    odd = tmp_path.parent / "50% #1"
    odd.mkdir(exist_ok=True)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(odd))
    make_private_folder().rmdir()
    assert list(odd.iterdir()) == []
    monkeypatch.setattr("pipeline.execution.ray_session.SHORT_FOLDERS", (str(tmp_path / "none"),))
    with pytest.raises(RayStartError, match="set TMPDIR to such a folder, or pass --local"):
        make_private_folder()
