"""Foreign text on a terminal, and terminals that cannot show every character."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainables.engine.terminal import prepare_streams, shown

ROOT = Path(__file__).parents[3]


def test_foreign_text_is_shown_and_not_obeyed():
    assert shown("\x1b]0;title\x07\x9b2J\r\nnext\ttab \u202egnp.exe \ud800") == (
        r"\x1b]0;title\x07\x9b2J\r\nnext\ttab \u202egnp.exe \ud800"
    )
    assert shown("τ ≥ 0.5, 12\u202f000, 学习率, [/red]") == "τ ≥ 0.5, 12\u202f000, 学习率, [/red]"


def test_streams_replace_what_they_lack(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="latin-1", write_through=True))
    prepare_streams()
    print("é by τ")
    assert raw.getvalue() == b"\xe9 by ?\n"


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("pipeline.sweep", ["学习率τ.py"]),
        ("pipeline.ledger", ["verify", "学习率τ.py"]),
        ("pipeline.tracking", ["tiny", "--ledger", "学习率τ.py"]),
        ("analysis.phase_diagram", ["tiny", "--from", "学习率τ.py"]),
        ("analysis.figures", ["学习率τ.py"]),
    ],
)
def test_every_command_on_a_terminal_of_ascii(module, arguments, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "????.py" in done.stderr
