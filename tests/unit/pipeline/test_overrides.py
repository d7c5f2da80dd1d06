"""A sweep without a file: what ``--set``, ``--axis`` and ``--seeds`` mean, and that it is a sweep like any other."""

import json
import re
import shlex

import pytest

from pipeline import Arm, SweepSpec, command, sweep
from pipeline.execution import provenance, run
from pipeline.ledger import Ledger
from pipeline.spec import SpecError
from pipeline.spec.base_trial import named_space
from pipeline.spec.override_values import choices
from pipeline.spec.overrides import Overrides
from trainables import MLP, SGD, AdamW, GrokkingTrial, ModularAddition, OrthogonalGradient, PlainGradient

BASE = GrokkingTrial(task=ModularAddition(p=7), model=MLP(hidden=(8,)), horizon_steps=12)
KIND = ["trainables.grokking:GrokkingTrial", "--set", "task=ModularAddition(p=7)", "--set", "horizon_steps=12"]
OWN = """
from dataclasses import dataclass

from trainables import SGD, GrokkingTrial, ModularAddition, option


@dataclass(frozen=True, kw_only=True)
class Momentum(SGD):
    decay: float = option(0.9, at_least=0.0)


TRIAL = GrokkingTrial(task=ModularAddition(p=5), horizon_steps=9)
"""
BUGGY = """
from dataclasses import dataclass

from trainables import SGD, ModularArithmetic, SoftmaxCrossEntropy


@dataclass(frozen=True, kw_only=True)
class Typo(SoftmaxCrossEntropy):
    def row_losses(self, logits_KBV, labels_KB, hyper):
        return logit


@dataclass(frozen=True, kw_only=True)
class Typing(ModularArithmetic):
    def result(self, a, b):
        return a.clipp(b)


@dataclass(frozen=True, kw_only=True)
class Strict(SGD):
    def __post_init__(self):
        super().__post_init__()
        1 / 0
"""


def ids(spec):
    return [trial.config.trial_id for trial in spec.trials()]


def changed(spec, sets=(), axes=()):
    return Overrides.parse(sets, axes).apply(spec)


def test_the_grammar():
    assert choices("0,1e-3,.5,-4") == [0, 1e-3, 0.5, -4]
    assert choices("range(3),choice(5,6)") == [0, 1, 2, 5, 6]
    assert choices("range(.1,.4,.1)") == [0.1, 0.2, 0.3]
    assert choices("range(5,1,-2)") == [5, 3]
    assert choices("null,true,False,float32") == [None, True, False, "float32"]
    assert choices("'a,b',\"true\",my-data/v1.2,[1,[2,3]],()") == ["a,b", "true", "my-data/v1.2", (1, (2, 3)), ()]
    assert choices("OrthogonalGradient(scope=global)") == [OrthogonalGradient(scope="global")]
    assert choices("SGD, AdamW(betas=[.9,.99])") == [SGD(), AdamW(betas=(0.9, 0.99))]


def test_the_trials_are_those_of_the_same_space_in_a_file():
    arms = [
        Arm(name="decay", axes={"optimizer.weight_decay": [0, 1, 2]}),
        Arm(name="sgd", patch={"optimizer": SGD(), "gradient": OrthogonalGradient()}),
    ]
    spec = SweepSpec(base=BASE, arms=arms, axes={"alpha": [1, 2]}, seeds=range(2))
    # The axis is that of one arm; the arm with an optimizer of its own gets the rate too; an axis is fixed.
    expected = SweepSpec(
        base=BASE.replace(alpha=2.0, optimizer=AdamW(learning_rate=0.1)),
        arms=[
            Arm(name="decay", axes={"optimizer.weight_decay": [3]}),
            Arm(name="sgd", patch={"optimizer": SGD(learning_rate=0.1), "gradient": OrthogonalGradient()}),
        ],
        seeds=range(2),
    )
    assert ids(changed(spec, ["optimizer.learning_rate=.1", "alpha=2"], ["optimizer.weight_decay=3"])) == ids(expected)
    # An axis that no arm has takes the place of what an arm has set; one whose field only one arm has is that arm's.
    crossed = changed(spec, ["alpha=1"], ["gradient=PlainGradient,OrthogonalGradient", "optimizer.nesterov=false,true"])
    assert crossed.axes == {"gradient": [PlainGradient(), OrthogonalGradient()]}
    assert [dict(arm.axes).keys() for arm in crossed.arms] == [{"optimizer.weight_decay"}, {"optimizer.nesterov"}]
    # What is set inside the components of an axis is set in each of them.
    losses = changed(SweepSpec(base=BASE, axes={"optimizer": [AdamW(), SGD()]}), ["optimizer.learning_rate=.5"])
    assert {trial.config.optimizer.learning_rate for trial in losses.trials()} == {0.5}


def test_titles_say_what_is_fixed():
    overrides = Overrides.parse(["optimizer.learning_rate=.1"], ["alpha=1,2"])
    doc = "Where does it grok?  Decay against rate.\n\nAt length."
    assert overrides.question(doc, "space") == (
        "Where does it grok (learning rate 0.1)?  Decay against rate.\n\nAt length."
    )
    assert overrides.question("", "GrokkingTrial") == "What does alpha change in GrokkingTrial?"


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (
            ["--set", "optimizer.weight_decoy=1"],
            r"--set optimizer.weight_decoy: .* did you mean optimizer.weight_decay\?$",
        ),
        (
            ["--set", "optimizer.lr=1"],
            r"--set optimizer.lr: .* allowed: optimizer.learning_rate, [\w., ]*$",
        ),
        (["--axis", "weight_decay=0,1"], r"--axis weight_decay: .* did you mean optimizer.weight_decay\?$"),
        (["--set", "optimizer.weight_decay=lots"], r"--set optimizer.weight_decay=lots: .*: must be a number$"),
        (["--axis", "optimizer.weight_decay=0,-1"], r"axis optimizer.weight_decay: .* = -1.0: must be at least 0.0"),
        (["--set", "gradient=Orthogonal"], r"must be a GradientRule; did you mean .*OrthogonalGradient"),
        (["--set", "optimizer=SGD(lr=1)"], r"SGD\(lr=...\): no such field; .*learning_rate"),
        (["--set", "optimizer.betas=.9,.99"], r"must be one value; --axis .* tries each, \[.9,.99\] is one list"),
        (["--set", "horizon_steps"], r"--set 'horizon_steps': must be PATH=VALUE"),
        (["--set", "alpha=1", "--axis", "alpha=1,2"], r"--axis alpha: is given twice"),
        (["--axis", "alpha=loguniform(1,2)"], r"a sampled axis needs a search-space file"),
        (["--axis", "alpha=range(0,1,0)"], r"range\(0,1,0\): must be range\(start,stop\)"),
        (["--set", "optimizer=no_such:Rule"], r"module no_such is not importable"),
        (["--seeds", "5:5"], r"--seeds: '5:5': must be an integer of at least 1, FIRST:END"),
        (["--name", "a/b"], r"--name 'a/b': must be at most 100 letters"),
    ],
)
def test_a_flag_that_is_wrong_gets_one_line(capsys, tmp_path, monkeypatch, flags, line):
    monkeypatch.chdir(tmp_path)
    try:
        code = sweep.main([*KIND, *flags, "--dry-run"])
    except SystemExit as stop:  # argparse
        code = stop.code
    error = capsys.readouterr().err.strip().removeprefix("error: ").removesuffix(" (see --help)")
    assert code == 2
    assert "\n" not in error
    assert re.search(line, error), error


def test_a_kind_needs_what_has_no_default():
    with pytest.raises(SpecError, match=r"no default for horizon_steps and task; for example --set horizon_steps="):
        named_space(KIND[0])
    with pytest.raises(SpecError, match=r"no trial of that name; its trials: GrokkingTrial$"):
        named_space("trainables.grokking:AdamW")


def test_a_bug_in_an_own_component_is_found_before_anything_starts(capsys, tmp_path, monkeypatch):
    (tmp_path / "buggy_of_overrides.py").write_text(BUGGY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    flags = [KIND[0], "--set", "horizon_steps=12", "--seeds", "3:4", "--local", "--mlflow-uri", "none", "--set"]
    lines = {
        ("task=ModularAddition(p=7)", "--set", "loss=buggy_of_overrides:Typo"): "trial seed = 3: fails in its first "
        "step: NameError: name 'logit' is not defined (buggy_of_overrides.py:10, in row_losses)",
        ("task=buggy_of_overrides:Typing(p=7)",): "AttributeError: 'numpy.ndarray' object has no attribute 'clipp' "
        "(buggy_of_overrides.py:16, in result)",
        ("task=ModularAddition(p=7)", "--set", "optimizer=buggy_of_overrides:Strict"): "ZeroDivisionError: division by "
        "zero (buggy_of_overrides.py:23, in __post_init__)",
    }
    for values, line in lines.items():
        for more in (["--dry-run"], []):
            assert sweep.main([*flags, *values, *more]) == 2
            assert capsys.readouterr().err == f"error: {line}\n"
    assert not Ledger.open("results/ledger").trials()


def test_rows_of_another_version_are_deleted_before_their_trials_run_again(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_draw", lambda *_: (None, "not in this test"))
    flags = [*KIND[:-1], "horizon_steps=20", "--seeds", "2", "--local", "--mlflow-uri", "none"]
    assert sweep.main([*flags, "--name", "first"]) == 0
    assert sweep.main([*flags, "--name", "other", "--seeds", "1"]) == 0
    capsys.readouterr()
    monkeypatch.setattr(run, "source_hash", lambda _: "newer")
    monkeypatch.setattr(run, "component_hashes", lambda trial: provenance.component_hashes(trial) | {"AdamW": "newer"})
    shorter = [*flags, "--name", "first", "--set", "alpha=1", "--max-steps", "12"]
    assert sweep.main(shorter) == 0
    stale = "2 cached trials were trained by another version of AdamW; --rerun-changed deletes such rows"
    assert f"note: {stale}" in capsys.readouterr().out
    ids = sorted(Ledger.open("results/ledger").trials())
    lines = [
        "2 from the beginning: trained by another version of AdamW",
        f"the rows of 2 trials, of the sweeps first, other, are deleted before they run again: {', '.join(ids)}",
    ]
    for more in (["--dry-run"], []):
        assert sweep.main([*shorter, "--rerun-changed", *more]) == 0
        output = capsys.readouterr().out
        assert all(line in output for line in lines), output
        rows = Ledger.open("results/ledger").trials().values()
        assert {row.last_step for row in rows} == ({20} if more else {12})


def test_a_sweep_without_a_file_is_run_and_repeated_like_any_other(capsys, tmp_path, monkeypatch):
    (tmp_path / "mine_of_overrides.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(command, "_draw", lambda *_: (None, "not in this test"))
    flags = ["mine_of_overrides:TRIAL", "--axis", "optimizer.decay=.5,.9", "--seeds", "1:3"]
    flags += ["--set", "optimizer=mine_of_overrides:Momentum"]
    how = ["--local", "--mlflow-uri", "none", "--json"]
    assert sweep.main([*flags, *how]) == 0
    assert json.loads(capsys.readouterr().out)["finished"] == 4
    (row,) = Ledger.open("results/ledger").sweeps()
    assert row.name == "mine_of_overrides.TRIAL@decay0.5_0.9-optimizerMomentum-seeds1_to_2"
    # The record has the command, which makes the same sweep again.
    written = row.doc.partition("\nCommand   ")[2]
    arguments = shlex.split(written)
    assert arguments[:3] == ["python", "-m", "pipeline.sweep"]
    assert sweep.main([*arguments[3:], *how]) == 0
    assert json.loads(capsys.readouterr().out)["cached"] == 4
    assert Ledger.open("results/ledger").sweeps() == [row]
