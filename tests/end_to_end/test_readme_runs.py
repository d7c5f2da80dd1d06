"""The README's files and commands, in order, in an empty folder, as a reader would type them.

Two things are not as printed, for the sake of time: after the first three, the sweeps run in their own process without
MLflow, and of those that only show how something is written a few steps are trained.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sweep_runs import ROOT, environment

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = r"^(<!-- (?:not run|test command)[^\n]*-->\n)?```(python|sh|diff)(?: (\S+))?\n(.*?)^```$"
BLOCKS = re.findall(BLOCK, README, flags=re.MULTILINE | re.DOTALL)
WHOLE = 3
"""How many sweeps run on Ray and with MLflow, as printed."""
SHIM = """#!/bin/sh
exec {python} "$@"
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bin").mkdir()
    for name in ("python", "python3"):
        path = tmp_path / "bin" / name
        path.write_text(SHIM.format(python=sys.executable))
        path.chmod(0o755)
    return tmp_path


def as_typed(command: str, sweeps: int) -> str:
    """A command of the README, the later sweeps made cheap."""
    cheap = "pipeline.sweep" in command and sweeps >= WHOLE and "--dry-run" not in command
    return f"{command.split('  #')[0]} {'--local --mlflow-uri none' if cheap else ''}"


@pytest.mark.timeout(1500)
def test_every_block_runs(folder):
    assert {kind for _, kind, _, _ in BLOCKS} == {"python", "sh", "diff"}
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    outputs: dict[str, str] = {}
    sweeps = 0

    def run(command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment(folder, PATH=path),
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    for not_run, kind, name, text in BLOCKS:
        if not_run:
            continue
        if kind == "diff":
            change(folder / name, text)
        elif kind == "python" and name:
            (folder / name).write_text(text, encoding="utf-8")
        elif kind == "python":
            (folder / "block.py").write_text(text, encoding="utf-8")
            run("python block.py")
        for command in text.splitlines() if kind == "sh" else ():
            outputs[command] = run(as_typed(command, sweeps))
            sweeps += "pipeline.sweep" in command
    assert_printed(outputs)


def change(file: Path, diff: str) -> None:
    """Apply a diff of single lines."""
    text = file.read_text(encoding="utf-8")
    lines = diff.splitlines()
    for old, new in zip(lines[::2], lines[1::2], strict=True):
        assert old[0] == "-"
        assert new[0] == "+"
        assert text.count(old[1:]) == 1
        text = text.replace(old[1:], new[1:])
    file.write_text(text, encoding="utf-8")


def assert_printed(outputs: dict[str, str]) -> None:
    """The answer that the README shows has the form of the one that came; the numbers are a machine's."""
    printed = next(text for text in re.findall(r"^```console\n(.*?)^```", README, flags=re.M | re.S) if "why " in text)
    came = outputs["python -m pipeline.sweep decay.py"].splitlines()
    assert printed.splitlines()[1] in came
    beginnings = {re.split("  |;|: ", line)[0] for line in came}
    for line in printed.splitlines():
        if line != "..." and not line.startswith("t_gen comes soonest"):
            assert re.split("  |;|: ", line)[0] in beginnings, line
