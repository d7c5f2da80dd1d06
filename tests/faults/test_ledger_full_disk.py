"""The ledger's disk fills up, or denies a write, in mid-sweep: no outcome of a trial, one line, and a rerun goes on."""

import errno
import os

import pytest

from pipeline import sweep
from pipeline.ledger import Ledger
from pipeline.spec.space_file import load_space
from tests.support.sweep_runs import contents, run_sweep, write_space

OTHERS = (errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO)


@pytest.mark.parametrize(
    ("folder", "numbers"), [("segments", [errno.ENOSPC]), ("checkpoints", [errno.ENOSPC, *OTHERS])]
)
def test_the_trials_stay_open(tmp_path, monkeypatch, capsys, folder, numbers):
    """The second cohort cannot store its rows, or its checkpoint."""
    monkeypatch.chdir(tmp_path)
    space = write_space(tmp_path, "base=BASE, seeds=range(4)", p=5, horizon=12)
    replace, puts = os.replace, {"segments": 0}

    def run(ledger):
        flags = ("--local", "--cohort-size", "2", "--mlflow-uri", "none", "--ledger", ledger)
        return sweep.main([str(space), *flags]), capsys.readouterr().err.splitlines()

    def fail(number):
        def replace_unless_full(source, target):
            if f"/{folder}/" in str(target) and puts["segments"] == 1:
                raise OSError(number, os.strerror(number))
            puts["segments"] += "/segments/" in str(target)
            replace(source, target)

        return replace_unless_full

    for number in numbers:
        puts["segments"] = 0
        monkeypatch.setattr(os, "replace", fail(number))
        code, (line,) = run(errno.errorcode[number])
        assert code == 2
        assert line.startswith(f"error: ledger: cannot write {tmp_path}/{errno.errorcode[number]}/{folder}/")
        assert line.endswith(
            f": {os.strerror(number)}; the sweep ends, its trials stay open: run the same command again to resume"
        )
        ledger = Ledger.open(errno.errorcode[number])
        assert [row.state for row in ledger.trials().values()] == ["finished", "finished"]
        assert [problem.kind for problem in ledger.verify()] == ["unfinished"]  # two trials of the sweep have no row
    monkeypatch.setattr(os, "replace", replace)
    for ledger in ("ENOSPC", "undisturbed"):
        assert run(ledger) == (0, [])
    assert contents("ENOSPC") == contents("undisturbed")


def test_on_ray(tmp_path):
    """A worker cannot store a checkpoint, because a file is in the way of its folder."""
    space = write_space(tmp_path, "base=BASE, seeds=range(4)", p=5, horizon=12)
    blocked = load_space(space).spec.trials()[2].config.trial_id
    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    in_the_way = tmp_path / "ledger" / "checkpoints" / blocked[:2]
    in_the_way.parent.mkdir()
    in_the_way.write_text("")
    flags = (space, "--workers", "1", "--cohort-size", "1", "--ledger", "ledger", "--mlflow-uri", "none")
    done = run_sweep(tmp_path, *flags)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: ledger: cannot write {ledger.uri}/checkpoints/{blocked[:2]}/{blocked}.")
    assert "the sweep ends, its trials stay open" in done.stderr
    assert "failed" not in {row.state for row in ledger.trials().values()}
    in_the_way.unlink()
    assert run_sweep(tmp_path, *flags, "--local").returncode == 0
    assert {row.state for row in ledger.trials().values()} == {"finished"}
    assert len(ledger.trials()) == 4
