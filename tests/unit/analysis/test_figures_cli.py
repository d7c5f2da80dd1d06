"""The command line of the paper's figures: what it prints, writes, keeps and refuses."""

import importlib
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from analysis import figures
from analysis.data import kept
from analysis.data.sweep import FULL, LAPTOP, Sweep, SweepError
from analysis.paper import command
from analysis.paper import results as figure_results
from analysis.paper.claims import at_least
from analysis.paper.figure import PAPER, FigureError, FigureSpec, find_figures, named
from analysis.paper.page import page
from analysis.paper.results import FigureResult, keep, markdown, result
from analysis.paper.verdict import Claim, Verdict, judge, per_seed
from analysis.paper.words import percent
from pipeline.ledger import Ledger
from tests.support.synthetic import fill_ledger, make_trial
from tests.support.synthetic_evidence import made_trial


def verdict(found: Sweep) -> Verdict:
    trials = found.where()
    claim = per_seed(
        "a test accuracy <of> .9 & more",
        trials,
        lambda trial: at_least(trial.final("test_accuracy"), 0.9),
        f"ends at {percent(trial.final('test_accuracy') for trial in trials)}",
    )
    return judge(claim, note="made up")


def draw(found: Sweep, figure) -> None:
    axes = figure.subplots()
    for trial in found.where():
        axes.plot(*trial.measured("test_accuracy"))


MADE_UP = FigureSpec(
    name="fig99",
    title="A made-up figure",
    statement="The test accuracy ends at .9 or above.",
    space="fig99_made_up",
    columns=("test_accuracy",),
    verdict=verdict,
    draw=draw,
    size_in=(4, 3),
)


@pytest.fixture
def alone(monkeypatch, tmp_path) -> None:
    """The made-up figure is the only one, and what is kept is in a folder of the test's."""
    found = {"fig99": MADE_UP}
    for module in (command, figure_results):
        monkeypatch.setattr(module, "find_figures", lambda: found)
    monkeypatch.setattr(command, "named", lambda name: [found[name]])
    monkeypatch.setattr(kept, "KEPT", tmp_path / "kept")


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    found = Ledger.open(str(tmp_path / "ledger"), create=True)
    fill_ledger(found, "fig99_made_up_laptop", [make_trial(f"t{k}", {"seed": k}, t_gen=300) for k in range(3)])
    return found


def run(capsys, *arguments: str) -> tuple[int, list[str], str]:
    code = figures.main(arguments)
    out, error = capsys.readouterr()
    return code, out.splitlines(), error


def test_a_figure_from_a_ledger(alone, ledger, tmp_path, capsys):
    code, out, error = run(capsys, "fig99", "--from", ledger.uri, "--out", str(tmp_path / "out"))
    assert (code, error) == (0, "")
    assert out[0] == "Fig. 99  A made-up figure"
    assert out[1] == MADE_UP.statement
    assert "MET  at laptop size: 3 seeds, all 1\u202f500 steps" in out
    assert "  ✓ met (3 of 3 seeds): a test accuracy <of> .9 & more" in out
    assert "    ends at 100\u202f%" in out
    assert "  made up" in out
    assert not any("\x1b" in line for line in out), "plain where nobody looks"
    assert out[-2:] == [str(tmp_path / "out" / name) for name in ("fig99.png", "fig99.json")]
    assert (tmp_path / "out" / "fig99.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads((tmp_path / "out" / "fig99.json").read_text())
    assert told["verdicts"]["laptop"]["status"] == "met"
    assert told["verdicts"]["laptop"]["claims"][0]["holds"] == [True, True, True]
    assert told["verdicts"]["full"]["status"] == "not run"


def test_from_kept_runs(alone, ledger, tmp_path, capsys):
    first = run(capsys, "fig99", "--from", ledger.uri, "--out", str(tmp_path / "out"), "--keep")
    assert first[1][1].startswith(str(tmp_path / "kept" / "fig99_made_up_laptop.parquet"))
    assert first[1][0] == "fig99_made_up_full: nothing to keep, the ledger has no trials of it"
    picture = (tmp_path / "out" / "fig99.png").read_bytes()
    second = run(capsys, "fig99", "--out", str(tmp_path / "out"))
    assert second[1] == first[1][2:]
    assert (tmp_path / "out" / "fig99.png").read_bytes() == picture


def test_keep_does_not_shorten(ledger, tmp_path):
    more = Sweep(size=LAPTOP, trials=tuple(made_trial(f"m{k}", {"seed": k}, horizon_steps=9000) for k in range(3)))
    path = kept.save(more, "fig99_made_up_laptop", tmp_path)
    before = path.read_bytes()
    (line,) = keep(MADE_UP, ledger, (LAPTOP,), tmp_path)
    assert line == "fig99_made_up_laptop: not replaced, it holds more steps (27000) than the ledger (4500)"
    assert path.read_bytes() == before


def test_keep_serves_every_figure_of_a_space(ledger, tmp_path, monkeypatch):
    other = FigureSpec(**{**vars(MADE_UP), "name": "fig98", "columns": ("parameter_norm",)})
    monkeypatch.setattr(figure_results, "find_figures", lambda: {"fig98": other, "fig99": MADE_UP})
    keep(MADE_UP, ledger, (LAPTOP,), tmp_path)
    stored = kept.read_kept("fig99_made_up_laptop", tmp_path)
    assert stored is not None
    assert set(stored.trials[0].curves) == {"step", "test_accuracy", "parameter_norm"}


def test_how_to_run(alone, tmp_path, capsys):
    code, out, _ = run(capsys, "fig99", "--out", str(tmp_path / "out"))
    assert code == 0
    assert any(line.startswith("NOT RUN  python -m pipeline.sweep search_spaces/fig99_made_up.py;") for line in out)
    assert not (tmp_path / "out" / "fig99.png").exists()


def test_table_of_verdicts(alone, ledger, capsys):
    code, out, _ = run(capsys, "--from", ledger.uri)
    assert code == 0
    assert out[1].split("  ")[0] == "fig99"
    assert "not run" in out[1]
    assert "met: 3 seeds, all 1\u202f500 steps" in out[1]
    _, out, _ = run(capsys, "--from", ledger.uri, "--markdown")
    assert out == [
        "| | what is claimed | full size | laptop size |",
        "|---|---|---|---|",
        "| Fig. 99 | A made-up figure | not run | met: 3 seeds, all 1 500 steps |",
    ]
    _, out, _ = run(capsys, "--from", ledger.uri, "--size", "full")
    assert out[1].split() == ["fig99", "A", "made-up", "figure", "not", "run", "–"]


def test_all_makes_a_page(alone, ledger, tmp_path, capsys):
    code, out, _ = run(capsys, "all", "--from", ledger.uri, "--out", str(tmp_path / "out"))
    assert code == 0
    assert out[-1].startswith(str(tmp_path / "out" / "figures.html"))
    text = (tmp_path / "out" / "figures.html").read_text()
    assert "a test accuracy &lt;of&gt; .9 &amp; more" in text
    assert "<of>" not in text
    assert text.count("data:image/png;base64,") == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"figures.html", "fig99.png", "fig99.json"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fig77"], "error: fig77: no such figure; must be all or one of: fig01"),
        (["fig15", "--from", "nowhere"], "error: ledger: there is no ledger at"),
        (["fig15", "--size", "laptop"], "error: fig15: has no laptop size; drop --size"),
        (["fig15", "--keep"], "error: --keep: needs --from LEDGER"),
        (["fig15", "--out", "{file}/x"], "error: --out {file}/x: cannot be written (Not a directory)"),
    ],
)
def test_bad_input_is_one_line(arguments, said, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    code, out, error = run(capsys, *(argument.format(file=file) for argument in arguments))
    assert (code, out) == (2, [])
    assert error.startswith(said.format(file=file))
    assert error.count("\n") == 1


def test_names_and_labels():
    assert [figure.name for figure in named("fig15")] == ["fig15"]
    with pytest.raises(FigureError, match="no such figure; must be all or one of: fig01"):
        named("fig")
    of_the_paper = [figure for figure in find_figures().values() if figure.room == PAPER]
    kinds = [figure.label.split()[0] for figure in of_the_paper]
    assert kinds == sorted(kinds, key=["Fig.", "Table", "Prop.", "App."].index), "the order of the page"
    labels = {
        "fig02": "Fig. 2",
        "fig06b": "Fig. 6b",
        "prop1": "Prop. 1",
        "appendix_d1": "App. D.1",
        "appendix_h": "App. H",
    }
    for name, label in labels.items():
        assert FigureSpec(**{**vars(MADE_UP), "name": name}).label == label


NEIGHBOUR = """
from analysis.paper.figure import FigureSpec
from tests.unit.analysis.test_figures_cli import MADE_UP, draw, verdict

FIGURE = FigureSpec(name="{name}", title="A neighbour's finding", statement="It ends at .9 or above.",
                    space="fig99_made_up", columns=("test_accuracy",), verdict=verdict, draw=draw, size_in=(4, 3))
"""


@pytest.fixture
def neighbour(monkeypatch, tmp_path) -> None:
    """One figure of the paper, one of a neighbour and one of a dispute, in modules under any name."""
    for package, name in (
        ("analysis.neighbours", "slow_circuits"), ("analysis.disputes", "fig"), ("analysis.paper.figures", "fig99")
    ):  # fmt: skip
        folder = tmp_path / package
        folder.mkdir()
        (folder / f"{name}.py").write_text(NEIGHBOUR.format(name=name))
        monkeypatch.setattr(importlib.import_module(package), "__path__", [str(folder)])
        monkeypatch.delitem(sys.modules, f"{package}.{name}", raising=False)
    monkeypatch.setattr(kept, "KEPT", tmp_path / "kept")
    yield
    for name in ("neighbours.slow_circuits", "disputes.fig", "paper.figures.fig99"):
        sys.modules.pop(f"analysis.{name}", None)


def test_rooms(neighbour, ledger, tmp_path, capsys):
    labels = {name: (figure.room, figure.label) for name, figure in find_figures().items()}
    assert labels == {
        "fig99": ("The paper", "Fig. 99"),
        "slow_circuits": ("Neighbours", "Slow circuits"),
        "fig": ("Disputes", "Fig"),
    }
    code, out, _ = run(capsys, "slow_circuits", "--from", ledger.uri, "--out", str(tmp_path / "out"))
    assert (code, out[0]) == (0, "Slow circuits  A neighbour's finding")
    assert (tmp_path / "out" / "slow_circuits.png").exists()
    _, out, _ = run(capsys, "--from", ledger.uri)
    assert [line.split("  ")[0].strip() for line in out[1:]] == [
        "The paper", "fig99", "Neighbours", "slow_circuits", "Disputes", "fig"
    ]  # fmt: skip
    _, out, _ = run(capsys, "--from", ledger.uri, "--markdown")
    assert out[2::2] == [f"| **{room}** | | | |" for room in ("The paper", "Neighbours", "Disputes")]
    assert run(capsys, "all", "--from", ledger.uri, "--out", str(tmp_path / "all"))[0] == 0
    text = (tmp_path / "all" / "figures.html").read_text()
    assert text.count('<h2 class="room">') == text.count('<tr class="room">') == 3
    assert text.index(">Neighbours</h2>") < text.index('<article id="slow_circuits">') < text.index(">Disputes</h2>")


def test_a_name_in_two_rooms(neighbour, tmp_path, capsys):
    (tmp_path / "analysis.disputes" / "fig99.py").write_text(NEIGHBOUR.format(name="fig99"))
    with pytest.raises(
        FigureError, match=r"analysis\.disputes\.fig99: The paper has a figure of this name; rename one"
    ):
        find_figures()


# --- which size is shown ------------------------------------------------------------------------------------------


def of_sizes(full: int, laptop: int, *, full_settings: int = 1) -> FigureResult:
    """With this many seeds at each size; the full one with more settings of an axis."""
    found = {
        FULL: [made_trial(f"f{s}{k}", {"x": s, "seed": k}) for s in range(full_settings) for k in range(full)],
        LAPTOP: [made_trial(f"l{s}{k}", {"x": s, "seed": k}) for s in range(2) for k in range(laptop)],
    }
    parts = {size: Sweep(size=size, trials=tuple(trials)) for size, trials in found.items()}
    return FigureResult(MADE_UP, parts, {size: MADE_UP.judged(part) for size, part in parts.items()})


def test_which_size_is_first():
    assert of_sizes(3, 3, full_settings=2).sizes == (FULL, LAPTOP)
    assert of_sizes(3, 3, full_settings=1).sizes == (LAPTOP, FULL)
    assert of_sizes(1, 3, full_settings=2).sizes == (LAPTOP, FULL), "only the laptop's verdict is decided"
    assert of_sizes(1, 1, full_settings=2).sizes == (FULL, LAPTOP)
    assert of_sizes(1, 0).sizes == (FULL,)
    assert of_sizes(0, 0).sizes == ()


def test_the_page_shows_both_sizes():
    text = page([of_sizes(3, 3, full_settings=2)])
    assert text.count("<img") == 2
    assert "The same at laptop size" in text
    assert text.index("at full size") < text.index("at laptop size")
    assert "not run" in page([of_sizes(0, 0)])


def test_summary_of_a_size():
    told = of_sizes(1, 3)
    assert told.summary(FULL) == "undecided: 1 seed, all 1\u202f000 steps"
    assert told.summary(LAPTOP) == "met: 3 seeds, all 1\u202f000 steps"
    unsized = FigureSpec(**{**vars(MADE_UP), "sized": False})
    assert result(unsized, folder=kept.KEPT / "none").summary(LAPTOP) == "–"
    assert markdown([told]).count("\n") == 3


def test_check_without_training(tmp_path):
    made = Sweep(size=FULL, trials=tuple(made_trial(f"c{k}", {"seed": k}) for k in range(3)))
    calls = []

    def check() -> Sweep:
        calls.append(1)
        return made

    figure = FigureSpec(**{**vars(MADE_UP), "space": (), "check": check})
    assert result(figure, folder=tmp_path).status(FULL) == "met"
    assert calls == [1]
    keep(figure, None, (FULL,), tmp_path)
    assert result(figure, folder=tmp_path).status(FULL) == "met"
    assert calls == [1, 1], "the second result was read"
    assert figure.sizes == (FULL,)


def test_claims_of_one_size():
    told = of_sizes(3, 3)
    verdicts = dict(told.verdicts) | {FULL: judge(Claim("another", (True,) * 3, "numbers"))}
    rows = FigureResult(MADE_UP, told.evidence, verdicts).claims()
    assert [(text, [*sizes]) for text, sizes in rows] == [
        ("a test accuracy <of> .9 & more", [LAPTOP]),
        ("another", [FULL]),
    ]


def test_condense(tmp_path):
    """What curves cannot tell is made of the stored weights when the evidence is collected, and kept."""

    class Kept:
        def __init__(self, ledger):
            self.ledger = ledger

        def __getattr__(self, name):
            return getattr(self.ledger, name)

        def snapshots(self, trial_id):
            return {5: trial_id.encode()}

    def condense(found: Sweep, snapshots) -> Sweep:
        trials = (
            replace(trial, curves={**trial.curves, "sizes": np.array([len(snapshots(trial)[5])])})
            for trial in found.trials
        )
        return Sweep(size=found.size, trials=tuple(trials))

    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    fill_ledger(ledger, "fig99_made_up_laptop", [make_trial("abc", {"seed": 0}, t_gen=300)])
    figure = FigureSpec(**{**vars(MADE_UP), "condense": condense})
    found = result(figure, Kept(ledger)).evidence[LAPTOP]  # type: ignore[arg-type]
    assert found.trials[0].curves["sizes"] == [3]


def test_a_broken_kept_file(tmp_path):
    (tmp_path / "fig99_made_up_full.parquet").write_bytes(b"nonsense")
    with pytest.raises(SweepError, match="cannot be read"):
        result(MADE_UP, folder=tmp_path)
