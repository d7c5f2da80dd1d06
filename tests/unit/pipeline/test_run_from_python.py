"""``from pipeline import run``: what a script and a notebook get, see and may do wrong."""

import io
import linecache
import re
import signal
import sys
import types

import pytest

from pipeline import RunSettings, SweepSpec, command, run
from pipeline.execution.provenance import source_hash
from pipeline.ledger import Ledger
from pipeline.spec import SpecError
from pipeline.spec.from_python import IPYTHON_DOC, python_space
from pipeline.spec.settings import SettingsError
from pipeline.terminal.line_view import LineView, TerminalLine
from pipeline.terminal.tally import Tally
from tests.support.small_spaces import BASE, DECAY, spec
from trainables.engine.errors import GrokscapeError
from trainables.engine.names import forget
from trainables.runtime.cohort_run import CohortRun

SWEEP = spec(base=BASE.replace(horizon_steps=20), axes={DECAY: [0, 1]}, seeds=range(2))
IDS = [trial.config.trial_id for trial in SWEEP.trials()]
HERE = {"local": True, "mlflow_uri": None}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_answers_and_the_same_call_trains_nothing(place, capsys):
    result = run(SWEEP, name="decay", doc="Does decay matter?", **HERE)
    assert "decay: 4 trials: 0 in the ledger, 0 to continue, 4 new" in capsys.readouterr().out
    table = result.outcomes
    assert list(table["trial_id"]) == IDS
    assert list(table["optimizer.weight_decay"]) == [0, 0, 1, 1]
    assert set(table["last_step"]) == {20}
    assert (result.question, result.name) == ("Does decay matter?", "decay")
    ledger = Ledger.open("results/ledger")
    row, files = ledger.sweep("decay"), ledger.files()
    assert ledger.verify() == []
    again = run(SWEEP, name="decay", doc="Does decay matter?", **HERE)
    assert "decay: nothing to run, the ledger has all 4 trials" in capsys.readouterr().out
    assert again.outcomes.equals(table)
    assert (Ledger.open("results/ledger").sweep("decay"), Ledger.open("results/ledger").files()) == (row, files)
    # One change: what is new runs, and nothing else.
    more = run(spec(base=SWEEP.base, axes={DECAY: [0, 1, 2]}, seeds=range(2)), name="decay", silent=True, **HERE)
    assert capsys.readouterr() == ("", "")
    assert set(more.outcomes["trial_id"]) > set(IDS)
    assert not (place / "results" / "figures").exists()


def test_an_interrupted_run_goes_on(place, monkeypatch, capsys):
    """As a notebook's stop button and Ctrl-C do it: with a signal, in the middle of a cohort."""
    whole = CohortRun.run
    with monkeypatch.context() as changed:
        changed.setattr(CohortRun, "run", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt, match="decay: call run again to resume"):
            run(SWEEP, name="decay", **HERE)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert "interrupted (SIGINT): 0 of 4 done" in capsys.readouterr().out
    assert CohortRun.run is whole
    assert set(run(SWEEP, name="decay", silent=True, **HERE).outcomes["last_step"]) == {20}


def test_the_figures_are_written_where_they_are_asked_for(place, monkeypatch):
    drawn = []
    monkeypatch.setattr(command, "_draw", lambda _, name, out: drawn.append((name, out)) or (None, "not in this test"))
    run(SWEEP, name="decay", silent=True, **HERE)
    assert drawn == []
    run(SWEEP, name="decay", silent=True, out=place / "drawn", **HERE)
    assert drawn == [("decay", place / "drawn")]


@pytest.mark.parametrize(
    ("changes", "error", "line"),
    [
        ({"name": "a b"}, SpecError, "name = 'a b': must be at most 100 letters, digits"),
        ({"spec": {"full": SWEEP}}, SpecError, "run: the first argument is of type dict; must be a SweepSpec"),
        ({"doc": 3}, SpecError, "doc = 3: must be a string"),
        ({"worker": 3}, SettingsError, "run: worker: no such setting; allowed: name, doc, silent, local, .*workers"),
        ({"workers": 0}, GrokscapeError, r"RunSettings\.workers = 0: must be "),
        ({"local": True, "workers": 2}, SettingsError, "--workers 2: --local runs one cohort at a time"),
    ],
)
def test_a_mistake_is_one_line_before_anything_starts(place, changes, error, line):
    values = {"spec": SWEEP, "name": "decay", "mlflow_uri": None} | changes
    with pytest.raises(error, match=line) as raised:
        run(values.pop("spec"), **values)
    assert "\n" not in str(raised.value)
    assert list(place.iterdir()) == []


OWN = """
from dataclasses import dataclass
from trainables import SoftmaxCrossEntropy, option

FACTOR = 2


def scaled(losses):
    return FACTOR * losses


@dataclass(frozen=True, kw_only=True)
class Scaled(SoftmaxCrossEntropy):
    def row_losses(self, logits_KBV, labels_KB, hyper):
        return scaled(super().row_losses(logits_KBV, labels_KB, hyper))


CALLS = []


@dataclass(frozen=True, kw_only=True)
class Failing(SoftmaxCrossEntropy):
    def row_losses(self, logits_KBV, labels_KB, hyper):
        CALLS.append(1)
        if len(CALLS) > 15:
            raise ValueError("a mistake of mine")
        return super().row_losses(logits_KBV, labels_KB, hyper)


@dataclass(frozen=True, kw_only=True)
class Plain(SoftmaxCrossEntropy):
    extra: float = option(1.0)
"""


@pytest.fixture
def notebook(monkeypatch):
    """A function that runs a cell, as IPython does it: in a module without a file, with its text in linecache."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)

    def cell(text):
        file = f"/tmp/ipykernel_1/{hash(text)}.py"
        monkeypatch.setitem(linecache.cache, file, (len(text), None, text.splitlines(keepends=True), file))
        exec(compile(text, file, "exec"), vars(module))
        return vars(module)

    yield cell
    forget("__main__")


def test_a_notebook_s_own_component_trains_here(place, notebook, capsys):
    cells = notebook(OWN)
    own = spec(base=SWEEP.base.replace(loss=cells["Scaled"]()), axes={DECAY: [0, 1]})
    first = run(own, name="own", **HERE)
    assert set(first.outcomes["loss"]) == {"__main__:Scaled"}
    assert set(first.outcomes["last_step"]) == {20}
    hashes = [row.source_hash for row in Ledger.open("results/ledger").trials().values()]
    assert hashes == [source_hash(own.base)] * 2
    capsys.readouterr()
    run(own, name="own", mlflow_uri=None)
    assert "nothing to run" in capsys.readouterr().out, "the ledger has all, so that no worker is needed"
    cells["FACTOR"] = 3
    run(own, name="own", **HERE)
    assert source_hash(own.base) != hashes[0], "what the class refers to is read again"
    plain = source_hash(own.base.replace(loss=cells["Plain"]()))
    assert plain not in (hashes[0], source_hash(own.base))


def test_a_trial_that_fails_says_why(place, notebook, capsys):
    own = spec(base=SWEEP.base.replace(loss=notebook(OWN)["Failing"]()), seeds=range(2))
    result = run(own, name="own", **HERE)
    assert "failed   2 trials" in capsys.readouterr().out
    assert set(result.outcomes["state"]) == {"failed"}
    error = "ValueError: a mistake of mine (a notebook's cell:26, in row_losses)"
    assert set(result.outcomes["error"]) == {error}
    assert "ValueError: a mistake of mine" in result._repr_html_()


def test_workers_cannot_import_a_notebook(place, notebook):
    own = spec(base=SWEEP.base.replace(loss=notebook(OWN)["Scaled"]()), axes={DECAY: [0, 1]})
    line = "Scaled is defined in this notebook, from which workers cannot import it: move it to a file beside"
    with pytest.raises(GrokscapeError, match=line):
        run(own, name="own", mlflow_uri=None)
    assert Ledger.open("results/ledger").sweeps() == []
    sys.modules["__main__"].__file__ = "/somewhere/decay.py"
    with pytest.raises(GrokscapeError, match=r"Scaled is defined in decay\.py, .* beside the script and import it"):
        run(own, name="own", mlflow_uri=None)


def test_a_component_needs_a_source(place, notebook, monkeypatch):
    """One that was typed at a prompt has none."""
    cells = notebook(OWN)
    monkeypatch.setattr(linecache, "cache", {})
    with pytest.raises(GrokscapeError, match=r"__main__:Scaled: its source cannot be read, .* or a cell of a notebook"):
        run(spec(base=SWEEP.base.replace(loss=cells["Scaled"]())), name="own", **HERE)


def test_the_question_is_the_caller_s_docstring():
    assert python_space(SWEEP, "x", {"__doc__": "  Why?\n\n  So.\n"}).doc == "Why?\n\nSo."
    assert python_space(SWEEP, "x", {"__doc__": IPYTHON_DOC}).doc == ""
    assert python_space(SWEEP, "x", {}).revision == python_space(SWEEP, "y", {}).revision
    other = spec(base=SWEEP.base.replace(horizon_steps=21), axes=SWEEP.axes, seeds=SWEEP.seeds)
    assert python_space(other, "x", {}).revision != python_space(SWEEP, "x", {}).revision


def test_a_space_may_carry_settings(place):
    own = SweepSpec(base=SWEEP.base, settings=RunSettings(ledger="mine", mlflow_uri=None, local=True))
    run(own, name="one", silent=True)
    assert [path.name for path in place.iterdir()] == ["mine"]


def test_the_line_replaces_itself_without_control_sequences(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    stream = io.StringIO()
    with LineView(Tally(SWEEP.trials()), "decay", TerminalLine(stream)) as view:
        view.ended(dict.fromkeys(IDS[:2], "finished"))
        view._last_s = 0
        view.ended(dict.fromkeys(IDS[2:], "finished"))
    text = stream.getvalue()
    assert re.findall(r"\[[#.]+\] \d of 4 done", text)[0] == "[..........] 0 of 4 done"
    assert "[##########] 4 of 4 done" in text.split("\r")[-1]
    assert all(len(line.rstrip("\n")) < 60 for line in text.split("\r"))
    assert text.endswith("\n")
    assert "\x1b" not in text
