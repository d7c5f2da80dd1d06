"""The README says what is: its links lead somewhere, its commands parse, its listings are the files' own text."""

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from analysis import figures, phase_diagram, report
from pipeline.ledger import Ledger
from pipeline.ledger.__main__ import main as ledger_command
from pipeline.terminal import flags as sweep_flags
from tests.contract.test_components import CONFIGS, FIELD_OF
from tests.support.synthetic import fill_ledger, wd_vs_orthograd
from trainables.baselines.augmentation import Augmentation
from trainables.baselines.gpt2 import LanguageModel
from trainables.baselines.images import ImageSet
from trainables.baselines.resnet import ImageModel
from trainables.baselines.text import TextSet
from trainables.baselines.trial import BatchTrial
from trainables.data.tokenizers import Tokenizer
from trainables.engine.encodings import Encoding
from trainables.engine.probes import STANDARD
from trainables.engine.tasks import ModularAddition
from trainables.grokking import GrokkingTrial

BASELINES = (Augmentation, BatchTrial, ImageModel, ImageSet, LanguageModel, TextSet, Tokenizer)
NEIGHBOURS = "trainables.neighbours."
ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.split("  #")[0].strip()
    for kind, text in BLOCKS
    if kind == "sh"
    for line in text.splitlines()
    if line.startswith("python -m")
]


def test_local_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?://)([^)#]+)", README)
    assert len(links) >= 2
    assert not [link for link in links if not (ROOT / link).exists()]


def test_mentioned_files_exist():
    named = set(re.findall(r"`((?:search_spaces|trainables|pipeline|analysis|tests)/[\w/.]*)`", README))
    assert len(named) >= 5
    assert not [name for name in named if not (ROOT / name).exists()]


def test_the_search_space_is_printed_as_it_is():
    printed = next(text for kind, text in BLOCKS if kind == "python" and "p=113" in text)
    assert printed in (ROOT / "search_spaces" / "wd_vs_orthograd.py").read_text(encoding="utf-8")


def test_the_events_can_be_declared():
    names: dict = {}
    exec(next(text for kind, text in BLOCKS if kind == "python" and "EVENTS = (" in text), names)
    GrokkingTrial(task=ModularAddition(), horizon_steps=10, events=names["EVENTS"]).check_columns()


def test_the_components_are_those_that_there_are():
    """Each of the table's classes exists, and none is missing but those that stand for nothing."""
    table = README.split("| component | classes |")[1].split("\n\n")[0]
    named = set(re.findall(r"`([A-Z]\w+)`", table))
    default = {"NoPenalty", "NoIntervention"} | {type(probe).__name__ for probe in STANDARD}
    listed = (*FIELD_OF, *BASELINES, Encoding)
    there = {cls.__name__ for cls in CONFIGS if issubclass(cls, listed) or cls.__module__.startswith(NEIGHBOURS)}
    assert named == there - default


@pytest.mark.parametrize("command", [c for c in COMMANDS if "pipeline.sweep" in c])
def test_sweep_commands_parse(command):
    sweep_flags.parser().parse_args(shlex.split(command)[3:])


@pytest.mark.parametrize("command", [c for c in COMMANDS if "analysis.phase_diagram" in c or "analysis.report" in c])
def test_commands_that_draw_parse(command):
    drawn = phase_diagram if "analysis.phase_diagram" in command else report
    drawn.parser().parse_args(shlex.split(command)[3:])


@pytest.mark.parametrize("command", [c for c in COMMANDS if "analysis.figures" in c])
def test_figures_commands_parse(command):
    figures.parser().parse_args(shlex.split(command)[3:])


def test_every_module_that_is_run_has_a_help():
    modules = sorted({shlex.split(command)[2] for command in COMMANDS})
    assert len(modules) >= 9
    for module in modules:
        out = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, cwd=ROOT)
        assert out.returncode == 0, out.stderr
        assert "usage: " in out.stdout


def test_the_error_is_printed_as_it_comes(tmp_path):
    printed = next(text for kind, text in BLOCKS if kind == "console" and "typo.py" in text)
    line = int(re.search(r"typo\.py:(\d+)", printed)[1])
    space = (
        "from pipeline.spec import SweepSpec\n"
        "from trainables.engine.tasks import ModularAddition\n"
        "from trainables.grokking import GrokkingTrial\n"
    )
    space += "\n" * (line - 4)
    space += "SWEEP = SweepSpec(base=GrokkingTrial(task=ModularAddition(), horizon_steps=9), "
    space += 'axes={"optimizer.weight_decoy": [1]})\n'
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "typo.py").write_text(space)
    out = subprocess.run(
        [sys.executable, "-m", "pipeline.sweep", "search_spaces/typo.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    assert out.returncode == 2
    assert out.stderr.strip() == printed.strip().splitlines()[1]


def test_the_tables_are_for_everyone_s_tools(tmp_path, monkeypatch):
    """Each line of the README that is one of Python, where its library is installed."""
    monkeypatch.chdir(tmp_path)
    ledger = Ledger.open("results/ledger", create=True)
    fill_ledger(ledger, "quick", wd_vs_orthograd(seeds=2))
    assert ledger_command(["export", "quick", "--out", "tables"]) == 0
    block = next(text for kind, text in BLOCKS if kind == "python" and "import duckdb" in text)
    lines = {ast.unparse(node).partition(".")[0]: node for node in ast.parse(block).body if isinstance(node, ast.Expr)}
    assert set(lines) == {"duckdb", "polars", "pandas"}
    for library, line in lines.items():
        if importlib.util.find_spec(library):
            assert len(eval(ast.unparse(line), {library: importlib.import_module(library)})) > 1, library
