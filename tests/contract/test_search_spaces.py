"""Every search space loads, names its trials purely, is a lab record, and can be built; found without being listed."""

import ast
from pathlib import Path

import numpy as np
import pytest

from pipeline.plan import describe, make_plan
from pipeline.space_file import load_space
from trainables.engine.gradients import OrthogonalGradient, PlainGradient
from trainables.engine.losses import SoftmaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.probes import COLUMNS
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Seeds

FOLDER = Path(__file__).resolve().parents[2] / "search_spaces"
FILES = sorted(path for path in FOLDER.glob("*.py") if path.name != "__init__.py")

each_space = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


@each_space
def test_it_is_a_lab_record(path: Path) -> None:
    doc = load_space(path).doc
    assert doc.partition("\n")[0].endswith(("?", ".", ")")), "the first line is the question"
    told = {line.partition(" ")[0]: line.partition(" ")[2].strip() for line in doc.splitlines()}
    for entry in ("Result", "Cost", "Hardware", "Command"):
        assert told.get(entry), f"{entry} is missing"
    assert told["Command"] == f"python -m pipeline.sweep search_spaces/{path.name}"


@each_space
def test_it_is_data_only(path: Path) -> None:
    """A docstring, imports and one SWEEP: nothing that could expand differently elsewhere."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    assert {type(statement) for statement in body} <= {ast.Expr, ast.Import, ast.ImportFrom, ast.Assign}
    (assignment,) = [statement for statement in body if isinstance(statement, ast.Assign)]
    assert ast.unparse(assignment.targets[0]) == "SWEEP"


@each_space
def test_its_trials_are_pure_distinct_and_can_be_planned(path: Path) -> None:
    space, again = load_space(path), load_space(path)
    trials = space.spec.trials()
    ids = [trial.config.trial_id for trial in trials]
    assert ids
    assert ids == [trial.config.trial_id for trial in again.spec.trials()]
    assert len({tuple(sorted(trial.coordinates.items(), key=str)) for trial in trials}) == len(trials)
    found = make_plan(trials, {}, lambda trial_id: None, device_kind="cpu", workers=2)
    assert sorted(trial.trial_id for cohort in found.cohorts for trial in cohort.trials) == sorted(ids)
    assert describe(found, space)


@each_space
def test_each_of_its_shapes_trains_a_step(path: Path) -> None:
    shapes = {trial.config.cohort_key: trial.config for trial in load_space(path).spec.trials()}
    for config in shapes.values():
        cohort = config.build([config], "cpu")
        cohort.advance(1)
        measured = cohort.measure()
        assert set(measured) == set(COLUMNS)
        assert np.isfinite(measured["train_loss"]).all()


def test_wd_vs_orthograd_is_figure_15_as_the_released_code_ran_it() -> None:
    space = load_space(FOLDER / "wd_vs_orthograd.py")
    trials = space.spec.trials()
    decay = [trial.config for trial in trials if trial.coordinates["arm"] == "AdamW"]
    orthogonal = [trial.config for trial in trials if trial.coordinates["arm"] == "⊥AdamW"]
    assert (len(decay), len(orthogonal)) == (35, 5)
    for config in decay + orthogonal:
        assert (config.task, config.model, config.loss) == (ModularAddition(), MLP(), SoftmaxCrossEntropy())
        assert (config.optimizer.learning_rate, config.horizon_steps) == (0.01, 1500)
    assert {(c.gradient, c.optimizer.betas, c.optimizer.eps) for c in decay} == {(PlainGradient(), (0.9, 0.99), 1e-25)}
    assert {(c.gradient, c.optimizer.betas, c.optimizer.eps, c.optimizer.weight_decay) for c in orthogonal} == {
        (OrthogonalGradient(), (0.9, 0.999), 1e-8, 0.0)
    }
    by_decay = {
        value: [c.seeds for c in decay if c.optimizer.weight_decay == value] for value in (0, 0.5, 1, 2, 4, 8, 16)
    }
    assert all(seeds == [Seeds.all(k) for k in range(5)] for seeds in by_decay.values())
    assert [config.seeds for config in orthogonal] == [Seeds.all(k) for k in range(5)]


@pytest.mark.parametrize(("name", "minutes"), [("wd_vs_orthograd", 20), ("fraction_vs_dtype", 15), ("quick", 0.5)])
def test_the_predicted_cost_on_two_cores_is_bearable(name: str, minutes: float) -> None:
    trials = load_space(FOLDER / f"{name}.py").spec.trials()
    found = make_plan(trials, {}, lambda trial_id: None, device_kind="cpu", workers=2)
    assert found.predicted_wall_s < 60 * minutes
