"""Random values in every field of every component, and in spaces: one clear line, or what was meant.

With ``GROKSCAPE_EXAMPLES=10000`` each test tries that number of examples, different each time.
"""

import dataclasses
import datetime
import os
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpys
from ray import tune

from pipeline.execution.study import distribution
from pipeline.spec import Arm, Objective, RunSettings, SpecError, SweepSpec
from pipeline.spec.domains import Range, describe_domain, suggested
from trainables.engine.config import Config, ConfigError, canonical_json, digest, from_json, parse_json
from trainables.engine.errors import GrokscapeError
from trainables.engine.losses import StableMaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.names import import_house
from trainables.engine.optimizers import SGD, AdamW
from trainables.engine.tasks import ModularAddition
from trainables.engine.terminal import shown
from trainables.grokking import GrokkingTrial

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")  # long texts of strategies
ABSTRACT = "__isabstractmethod__"
EXAMPLES = int(os.environ.get("GROKSCAPE_EXAMPLES", "0"))
examples = settings(
    max_examples=EXAMPLES or 100,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

NUMBERS = st.one_of(
    st.integers(0, 30),
    st.integers(),
    st.sampled_from([2**40, 2**63 - 1, 2**63, 2**64, -(2**63), 10**400]),
    st.floats(),
    st.floats(0, 1),
    st.decimals(),
    st.fractions(),
    st.complex_numbers(),
)
ODD = (datetime.date(2024, 1, 1), object(), object, len, np.ma.masked, torch.tensor([1.0], requires_grad=True))
ATOMS = st.one_of(
    NUMBERS,
    st.none(),
    st.booleans(),
    st.text(max_size=5),
    st.characters(categories=["Cs", "Cc", "Cf"]),
    st.binary(max_size=3),
    st.sampled_from(["float32", "float64", *ODD]),
    numpys.scalar_dtypes().flatmap(numpys.from_dtype),
)
FEW = st.integers(1, 40)
DOMAINS = st.one_of(
    st.builds(lambda low, width: tune.uniform(low, low + width), st.floats(-1, 5), st.floats(0, 5)),
    st.builds(lambda low, factor: tune.loguniform(low, low * factor), st.floats(1e-6, 5), st.floats(1, 50)),
    st.builds(lambda low, n, step: tune.quniform(low * step, (low + n) * step, step), FEW, FEW, st.floats(0.1, 2)),
    st.builds(lambda low, width, step: tune.qrandint(low - 9, low + width, step), FEW, FEW, FEW),
    st.builds(lambda low, width: tune.randint(low - 9, low - 9 + width), FEW, FEW),
    st.builds(lambda low, width: tune.lograndint(low, low + width), FEW, FEW),
    st.builds(tune.randn, st.floats(0, 4), st.floats(0.1, 1)),
    st.lists(ATOMS, min_size=1, max_size=4).map(tune.choice),
    st.sampled_from([tune.sample_from(lambda: 0.5), tune.sample_from(lambda spec: spec.config.x)]),
    st.just(tune.grid_search([1, 2])),
)
COMPONENTS = st.sampled_from(
    [SGD(), AdamW(weight_decay=0.5), MLP(hidden=(4,)), StableMaxCrossEntropy(), ModularAddition(p=7)]
)
DTYPES = st.sampled_from([np.int8, np.uint64, np.float32, np.bool_, "U3", "datetime64[s]"])
NESTED = st.recursive(
    ATOMS | COMPONENTS | DOMAINS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=2),
        st.sets(st.integers(), max_size=2),
        numpys.arrays(DTYPES, numpys.array_shapes(min_side=0, max_side=4)),
        numpys.arrays(object, 2, elements=ATOMS),
        st.lists(st.floats(0, 1), max_size=3).map(torch.tensor),
    ),
    max_leaves=6,
)


VALUES = st.one_of(ATOMS, COMPONENTS, DOMAINS, NESTED)


def mostly(good: st.SearchStrategy[Any], odd: st.SearchStrategy[Any] = VALUES) -> st.SearchStrategy[Any]:
    return st.integers(0, 5).flatmap(lambda number: good if number else odd)


def one_clear_line(error: GrokscapeError) -> None:
    assert shown(str(error)) == str(error)
    assert 10 < len(str(error)) < 2000


def means_the_same_elsewhere(config: Config) -> None:
    """What the ledger holds of a configuration is the configuration."""
    text = canonical_json(config.to_json())
    again = from_json(parse_json(text))
    assert again == config
    assert canonical_json(again.to_json()) == text
    assert digest(again.identity()) == digest(config.identity())
    assert again.shared_text == config.shared_text


def classes() -> list[type[Config]]:
    kinds = [cls for cls in import_house().values() if issubclass(cls, Config) and dataclasses.fields(cls)]
    concrete = [cls for cls in kinds if not any(getattr(getattr(cls, name), ABSTRACT, False) for name in dir(cls))]
    return sorted(concrete, key=lambda cls: cls.__name__)


@examples
@given(data=st.data())
def test_a_field_of_a_component(data: st.DataObject) -> None:
    cls = data.draw(st.sampled_from(classes()))
    field = data.draw(st.sampled_from([spec.name for spec in dataclasses.fields(cls)]))
    try:
        config = cls.example().replace(**{field: data.draw(mostly(ATOMS))})
    except ConfigError as error:
        one_clear_line(error)
        return
    means_the_same_elsewhere(config)


def disguised(value: Any) -> st.SearchStrategy[Any]:
    """The same value as numpy or torch hold it."""
    if isinstance(value, bool):
        return st.sampled_from([value, np.bool_(value), np.array(value), torch.tensor(value)])
    if isinstance(value, int) and abs(value) < 2**63:
        return st.sampled_from([value, np.int64(value), np.array(value), torch.tensor(value)])
    if isinstance(value, float):
        return st.sampled_from([value, np.float64(value), np.array(value), torch.tensor(value, dtype=torch.float64)])
    if isinstance(value, str):
        return st.sampled_from([value, np.str_(value), np.array(value)])
    if isinstance(value, tuple | list):
        items = st.tuples(*map(disguised, value))
        arrays = st.just(np.array(value)) if value and not isinstance(value[0], Config) else st.nothing()
        return items | items.map(list) | arrays
    return st.just(value)


@examples
@given(data=st.data())
def test_a_value_in_disguise_is_itself(data: st.DataObject) -> None:
    settings = RunSettings(workers=3, cohort_size=2, max_hours=1.5, gpus_per_cohort=0.25, device="cpu", data="here")
    config = data.draw(st.sampled_from([settings, BASE, *(cls.example() for cls in classes())]))
    fields = {spec.name: data.draw(disguised(getattr(config, spec.name))) for spec in dataclasses.fields(config)}
    same = type(config)(**fields)
    assert same == config
    assert canonical_json(same.to_json()) == canonical_json(config.to_json())
    if config is not settings:
        means_the_same_elsewhere(same)


BASE = GrokkingTrial(task=ModularAddition(p=7), model=MLP(hidden=(4,)), horizon_steps=10)


@examples
@given(data=st.data())
def test_a_setting(data: st.DataObject) -> None:
    field = data.draw(st.sampled_from([spec.name for spec in dataclasses.fields(RunSettings)]))
    try:
        RunSettings(**{field: data.draw(mostly(ATOMS))})
    except ConfigError as error:
        one_clear_line(error)


def hashable(value: Any) -> bool:
    try:
        return hash(value) == hash(value)
    except TypeError:
        return False


OPTIMIZER = ("optimizer", "optimizer.weight_decay", "optimizer.learning_rate", "optimizer.betas")
OTHERS = ("model", "model.hidden", "model.bias", "task.p", "task.train_fraction", "loss", "loss.dtype", "alpha")
PATHS = st.sampled_from((*OPTIMIZER, *OTHERS, "seeds.init", "horizon_steps", "probes"))
KEYS = mostly(PATHS, st.text(max_size=4) | VALUES.filter(hashable))
LISTS = mostly(st.lists(st.integers(0, 9) | st.floats(0, 1), max_size=3), st.lists(VALUES, max_size=3) | VALUES)
AXES = mostly(st.dictionaries(KEYS, LISTS, max_size=3))
PATCHES = mostly(st.dictionaries(KEYS, VALUES, max_size=2))
ARMS = st.lists(st.builds(Arm, name=mostly(st.sampled_from("abcdefgh")), patch=PATCHES, axes=AXES), max_size=2)
SPACES = st.fixed_dictionaries(
    {},
    optional={
        "axes": AXES,
        "arms": mostly(ARMS),
        "seeds": mostly(st.none() | st.lists(st.integers(0, 9), unique=True, min_size=1)),
        "samples": mostly(st.integers(0, 3)),
        "sampling_seed": VALUES,
        "settings": mostly(st.just(RunSettings())),
    },
)


@examples
@given(values=SPACES)
def test_a_space(values: dict[str, Any]) -> None:
    try:
        space = SweepSpec(base=BASE, **values)
    except SpecError as error:
        one_clear_line(error)
        return
    trials = space.trials()
    assert len({trial.config.trial_id for trial in trials}) == len(trials) > 0
    parse_json(space.axes_json())
    for trial in trials:
        means_the_same_elsewhere(trial.config)
        assert parse_json(canonical_json(trial.coordinates)) == trial.coordinates
    again = SweepSpec(base=BASE, **values)
    assert (again.trials(), again.axes_json()) == (trials, space.axes_json())


GOOD = {
    "optimizer.weight_decay": st.floats(0, 1e6),
    "optimizer.learning_rate": st.floats(1e-6, 10) | st.integers(1, 3),
    "optimizer.betas": st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)),
    "model.hidden": st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple),
    "model.bias": st.booleans(),
    "loss.dtype": st.sampled_from(["float32", "float64"]),
    "task.p": st.integers(5, 9),
}


@examples
@given(data=st.data())
def test_a_space_in_disguise_is_itself(data: st.DataObject) -> None:
    paths = data.draw(st.lists(st.sampled_from(list(GOOD)), max_size=3, unique=True))
    axes = {path: data.draw(st.lists(GOOD[path], min_size=1, max_size=3, unique=True)) for path in paths}
    seeds = data.draw(st.none() | st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3, unique=True))
    plain = SweepSpec(base=BASE, axes=axes, seeds=seeds)
    hidden = {path: data.draw(st.tuples(*map(disguised, values))) for path, values in axes.items()}
    same = SweepSpec(base=BASE, axes=hidden, seeds=None if seeds is None else data.draw(disguised(seeds)))
    assert (same.trials(), same.axes_json()) == (plain.trials(), plain.axes_json())
    for trial in same.trials():
        means_the_same_elsewhere(trial.config)
        assert parse_json(canonical_json(trial.coordinates)) == trial.coordinates


@examples
@given(data=st.data())
def test_what_optuna_suggests_is_in_the_domain(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(["optimizer.weight_decay", "alpha", "task.p", "loss.dtype"]))
    axes = {path: data.draw(DOMAINS | st.lists(st.floats(0, 9) | st.integers(5, 9), min_size=1).map(tune.choice))}
    try:
        space = SweepSpec(base=BASE, axes=axes, objective=Objective(budget=data.draw(st.integers(1, 5) | ATOMS)))
    except SpecError as error:
        one_clear_line(error)
        return
    values = suggested(axes[path], path)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(3):
        asked = study.ask(fixed_distributions={path: distribution(values)}).params
        if isinstance(values, Range):
            assert values.low <= asked[path] <= values.high * (1 + 1e-12)
            assert axes[path].is_valid(asked[path]) or asked[path] == pytest.approx(axes[path].upper)
        else:
            assert asked[path] in values
        (trial,) = space.suggestion(asked)
        means_the_same_elsewhere(trial.config)
    assert " at 0x" not in describe_domain(axes[path])
    parse_json(space.axes_json())
