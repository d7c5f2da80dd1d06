"""Drawing: the user's matplotlib does not reach the pictures, and what goes wrong is one line."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.font_manager import fontManager

from analysis import draw, figures, phase_diagram
from analysis.diagram.cells import build
from analysis.diagram.picture import draw_png
from analysis.drawing.fonts import boxes_note, families
from analysis.drawing.guard import DrawingError, drawing
from pipeline.ledger import Ledger
from tests.support.synthetic import fill_ledger, grid_sweep, make_sweep, make_trial

ROOT = Path(__file__).parents[3]
STRANGE = """
text.usetex: True
font.family: NoSuchFont
font.size: 40
axes.facecolor: red
figure.autolayout: True
savefig.dpi: 3
savefig.bbox: tight
savefig.transparent: True
lines.linewidth: many
no.such.setting: 1
backend: qt5agg
"""


class Panic(BaseException):
    """What Rust raises through Python: no Exception."""


@pytest.fixture
def ledger(tmp_path) -> str:
    made = Ledger.open(str(tmp_path / "ledger"), create=True)
    fill_ledger(made, "grid", grid_sweep())
    return made.uri


@pytest.mark.parametrize("place", ["variable", "folder"])
def test_the_user_s_matplotlib_does_not_reach_the_picture(ledger, tmp_path, place):
    (tmp_path / "matplotlibrc").write_text(STRANGE)
    variables = {"MPLBACKEND": "module://no_such.backend", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    if place == "variable":
        variables["MATPLOTLIBRC"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "analysis.phase_diagram", "grid", "--from", ledger, "--out", tmp_path / "theirs"],
        cwd=tmp_path if place == "folder" else ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    draw.draw(ledger, "grid", tmp_path / "ours")
    picture = (tmp_path / "theirs" / "phase_diagram.png").read_bytes()
    assert picture == (tmp_path / "ours" / "phase_diagram.png").read_bytes()


def test_a_user_s_own_settings_stay(tmp_path):
    import matplotlib

    with matplotlib.rc_context({"font.size": 33.0}):
        draw_png(build(make_sweep(grid_sweep())), tmp_path / "picture.png")
        assert matplotlib.rcParams["font.size"] == 33.0


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("no\nluck"), "error: cannot be drawn (RuntimeError: no luck)\n"),
        (Panic("at src/lib.rs"), "error: cannot be drawn (Panic: at src/lib.rs)\n"),
        (MemoryError(), "error: cannot be drawn (MemoryError: MemoryError)\n"),
        (OSError(28, "No space left on device"), "error: --out OUT: cannot be written (No space left on device)\n"),
    ],
)
def test_whatever_goes_wrong_is_one_line(ledger, tmp_path, monkeypatch, capsys, error, line):
    def fail(*_: object, **__: object) -> None:
        raise error

    out = str(tmp_path / "out")
    draw.draw(ledger, "grid", out, tau_steps=500)
    before = {path.name: path.read_bytes() for path in Path(out).iterdir()}
    monkeypatch.setattr(draw, "write_page", fail)
    assert phase_diagram.main(["grid", "--from", ledger, "--out", out]) == 2
    assert capsys.readouterr() == ("", line.replace("OUT", out))
    monkeypatch.setattr("analysis.paper.command.png", fail)
    assert figures.main(["fig02", "--out", out]) == 2
    assert capsys.readouterr() == ("", line.replace("OUT", out))
    assert {path.name: path.read_bytes() for path in Path(out).iterdir()} == before


def test_characters_that_matplotlib_lacks(tmp_path, monkeypatch, caplog):
    """A font of the machine draws them, or a line says which are boxes; what looks like markup is text."""
    shipped = [font for font in fontManager.ttflist if "mpl-data" in font.fname]
    monkeypatch.setattr(fontManager, "ttflist", shipped)
    points = [
        {"arm": arm, "学习率": value, "seed": 0} for arm in ("$\\frac$", "عربي", "⌚") for value in ("\x1b[2J", "$x")
    ]
    trials = [make_trial(f"t{index}", point, t_gen=300) for index, point in enumerate(points)]
    missing = draw_png(build(make_sweep(trials, doc="A $question?")), tmp_path / "picture.png")
    assert missing == "习学率"
    assert boxes_note(missing) == [
        "the picture has boxes for 习 学 率 (cjk): no font on this machine has them; install one that does"
    ]
    assert families("aé⌚学") == (["DejaVu Sans", "STIXGeneral"], "学")
    assert families("a τ ≥ \n") == (["DejaVu Sans"], "")
    assert boxes_note("") == []
    assert not caplog.records


def test_a_note_of_boxes_is_in_the_summary(ledger, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(draw, "draw_png", lambda diagram, path, sheet: "学")
    assert phase_diagram.main(["grid", "--from", ledger, "--out", str(tmp_path / "out")]) == 0
    assert "\nthe picture has boxes for 学 (cjk): " in capsys.readouterr().out


def test_the_end_of_a_process_is_no_failure_of_a_drawing():
    for end in (KeyboardInterrupt, SystemExit):
        with pytest.raises(end), drawing():
            raise end
    assert logging.getLogger("matplotlib").level == logging.NOTSET


def test_a_library_that_cannot_be_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "analysis.draw", None)
    with pytest.raises(DrawingError, match=r"cannot be drawn \(ModuleNotFoundError: "), drawing():
        from analysis.draw import draw  # noqa: F401
