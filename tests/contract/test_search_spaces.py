"""Every search space loads, names its trials purely, is a lab record, and can be built; found without being listed."""

import ast
import builtins
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.plan import make_plan
from pipeline.plan.planning import NOMINAL_FLOPS
from pipeline.spec import SpecError
from pipeline.spec.space_file import SIZES, LoadedSpace, load_space
from pipeline.terminal.dry_run import describe
from tests.support.fake_mnist import write_mnist
from trainables.engine.gradients import OrthogonalGradient, PlainGradient
from trainables.engine.losses import SoftmaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Seeds, TrialConfig

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "search_spaces"
FILES = sorted(path for path in FOLDER.rglob("*.py") if path.name != "__init__.py")
STEP_S = 0.1
"""A shape whose step is predicted to cost more is built by its trainable's own tests, at a smaller size."""


def has_sizes(path: Path) -> bool:
    try:
        return load_space(path).size is not None
    except SpecError:
        return False  # reported by the tests below


def sizes_of(path: Path) -> tuple[str | None, ...]:
    return SIZES if has_sizes(path) else (None,)


@pytest.fixture(scope="module", autouse=True)
def _data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The tasks whose rows come from disk find them."""
    folder = tmp_path_factory.mktemp("data")
    write_mnist(folder, train_rows=2000, test_rows=10_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GROKSCAPE_DATA", str(folder))
        yield


each_file = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
each_space = pytest.mark.parametrize(
    ("path", "size"),
    [(path, size) for path in FILES for size in sizes_of(path)],
    ids=[path.stem if size is None else f"{path.stem}-{size}" for path in FILES for size in sizes_of(path)],
)


@each_file
def test_it_is_a_lab_record(path: Path) -> None:
    doc = load_space(path).doc
    assert doc.partition("\n")[0].endswith(("?", ".", ")")), "the first line is the question"
    entries = {line.partition(" ")[0]: line.partition(" ")[2].strip() for line in doc.splitlines()}
    for entry in ("Result", "Cost", "Hardware", "Command"):
        assert entries.get(entry), f"{entry} is missing"
    command = f"python -m pipeline.sweep {path.relative_to(ROOT).as_posix()}"
    with_size = [f"{command} --size {size}" for size in SIZES] if has_sizes(path) else []
    assert entries["Command"] in (command, *with_size)


@each_file
def test_it_is_data_only(path: Path) -> None:
    """A docstring, imports, shared constants in capitals where there are sizes, and one SWEEP: nothing that could
    expand differently elsewhere."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert {type(statement) for statement in tree.body} <= {ast.Expr, ast.Import, ast.ImportFrom, ast.Assign}
    assert [type(node.value) for node in tree.body if isinstance(node, ast.Expr)] == [ast.Constant]
    names = [[ast.unparse(target) for target in node.targets] for node in tree.body if isinstance(node, ast.Assign)]
    assert names[-1] == ["SWEEP"]
    assert [name for (name,) in names if not (name.isidentifier() and name.isupper())] == []
    assert len(names) == 1 or has_sizes(path), "a space without sizes needs no constants"
    odd = (ast.Lambda, ast.Set, ast.SetComp, ast.NamedExpr, ast.Await, ast.IfExp)
    assert not [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, odd)]
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    assert used & set(dir(builtins)) <= {"range", "dict", "str", "float"}
    roots = {module.split(".")[0] for module in imported(tree)}
    assert roots <= {"pipeline", "trainables", "ray"}


def imported(tree: ast.AST) -> set[str]:
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return modules | {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}


@each_space
def test_its_trials_are_pure_distinct_and_can_be_planned(path: Path, size: str | None) -> None:
    space, again = load_space(path, size), load_space(path, size)
    trials = space.spec.trials()
    ids = [trial.config.trial_id for trial in trials]
    assert ids
    assert ids == [trial.config.trial_id for trial in again.spec.trials()]
    assert len({tuple(sorted(trial.coordinates.items(), key=str)) for trial in trials}) == len(trials)
    plan = make_plan(trials, {}, lambda trial_id: None, device_kind="cpu", workers=2)
    assert sorted(trial.trial_id for cohort in plan.cohorts for trial in cohort.trials) == sorted(ids)
    assert describe(plan, space)


def test_the_trials_have_the_ids_that_they_always_had() -> None:
    """A change of a class, a default or a name that changes an id orphans every ledger: never by accident."""
    golden = json.loads((ROOT / "tests" / "contract" / "trial_ids.json").read_text())
    spaces = [load_space(path, size) for path in FILES for size in sizes_of(path)]
    assert {space.name: [trial.config.trial_id for trial in space.spec.trials()] for space in spaces} == golden


@each_file
def test_each_of_its_shapes_trains_a_step(path: Path) -> None:
    """Of the size that a laptop can do, and of a shape whose step takes no longer than a test may."""
    for config in shapes(load_space(path)):
        cohort = config.build([config], "cpu")
        measured = cohort.measure()
        parameters = {name: values.shape for name, values in cohort.snapshot(0).items()}
        assert set(measured) == set(config.columns(parameters))
        cohort.advance(1)
        assert cohort.finite().all()
        assert any(np.isfinite(values).all() for values in cohort.measure().values())


def shapes(space: LoadedSpace) -> list[TrialConfig]:
    """One trial of each shape that is cheap enough."""
    by_shape = {trial.config.cohort_key: trial.config for trial in space.spec.trials()}
    return [config for config in by_shape.values() if config.flops_per_step() <= STEP_S * NOMINAL_FLOPS["cpu"]]


def test_the_quick_space_has_shapes_that_are_trained() -> None:
    assert shapes(load_space(FOLDER / "quick.py"))


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
    plan = make_plan(trials, {}, lambda trial_id: None, device_kind="cpu", workers=2)
    assert plan.predicted_wall_s < 60 * minutes
