"""Several drivers of one sweep: they share its trials, and take over those of a driver that is killed or cancelled."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from pipeline.ledger import Ledger
from pipeline.ledger.files import open_files
from pipeline.sharing import live_leases
from tests.support.sweep_runs import ROOT, contents, environment, run_sweep, started_sweep, wait_until, write_space

FLAGS = ("tiny.py", "--local", "--mlflow-uri", "none", "--cohort-size", "1", "--checkpoint-every-s", "1")
SPACE = "base=BASE.replace(stopping=Stopping(on_success=False, on_frozen=False)), seeds=range(8)"


def write_shared_space(folder: Path) -> None:
    """Eight trials of some seconds each."""
    write_space(folder, SPACE, p=11, width=16, horizon=4_000)


def test_what_a_killed_or_cancelled_driver_leaves_is_trained_by_the_others(tmp_path):
    write_shared_space(tmp_path)
    undisturbed = tmp_path / "alone"
    undisturbed.mkdir()
    write_shared_space(undisturbed)
    assert run_sweep(undisturbed, *FLAGS).returncode == 0
    uri = str(tmp_path / "results/ledger")
    with ExitStack() as stack:
        drivers = [stack.enter_context(started_sweep(tmp_path, *FLAGS, "--json")) for _ in range(3)]

        def all_train():
            held = {lease.pid: set(lease.trials) for lease in live_leases(open_files(uri))}
            return all(held.get(driver.pid) for driver in drivers) and held

        held = wait_until(all_train, timeout_s=120, what="every driver has a trial")
        assert len(set.union(*held.values())) == sum(map(len, held.values())), "a trial is held twice"
        os.kill(drivers[0].pid, signal.SIGKILL)
        command = [sys.executable, "-m", "pipeline.cancel", "tiny"]
        cancel = subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, text=True)
        assert drivers[0].wait(10) == -signal.SIGKILL
        # Both of those that are left are asked to end; what they have done is committed.
        assert cancel.communicate(timeout=120)[0].count("has ended") == 2
        interrupted = [json.loads(driver.communicate()[0]) for driver in drivers[1:]]
        assert [result["interrupted"] for result in interrupted] == ["SIGTERM", "SIGTERM"]
        status = subprocess.run(
            [sys.executable, "-m", "pipeline.status"],
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
        ).stdout
        assert re.match(r"tiny: interrupted, \d of 8 done", status)
    assert run_sweep(tmp_path, *FLAGS).returncode == 0
    ledger = Ledger.open(uri)
    assert contents(uri) == contents(undisturbed / "results/ledger")
    assert [problem for problem in ledger.verify() if not problem.harmless] == []


def test_the_slurm_array_of_the_readme_trains_everything_once(tmp_path):
    line = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("sbatch "))
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / "tests/support/sbatch.py", tmp_path / "bin/sbatch")
    (tmp_path / "bin/sbatch").chmod(0o755)
    write_space(tmp_path, SPACE, name="decay", p=11, width=16, horizon=1_500)
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=tmp_path,
        env=environment(
            tmp_path,
            PATH=os.pathsep.join([str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
        ),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    cached = [int(count) for count in re.findall(r"8 of 8 done, 0 running, (\d+) cached, 0 failed after", done.stdout)]
    assert len(cached) == 4
    assert sum(8 - count for count in cached) == 8, "a trial was trained twice, or by nobody"
    ledger = Ledger.open(str(tmp_path / "results/ledger"))
    assert {row.state for row in ledger.trials().values()} <= {"finished", "stopped"}
    assert ledger.verify() == []
