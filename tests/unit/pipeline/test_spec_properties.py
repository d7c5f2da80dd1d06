"""Random values in every field of every component, and in spaces: one clear line, or what was meant.

With ``GROKSCAPE_EXAMPLES=10000`` each test tries so many examples, other ones each time.
"""

import dataclasses
import datetime
import os
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpys
from ray import tune

from pipeline.spec import Arm, Objective, RunSettings, SpecError, SweepSpec
from pipeline.spec.domains import describe_domain, suggested
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
EXAMPLES = int(os.environ.get("GROKSCAPE_EXAMPLES", "0"))
examples = settings(
    max_examples=EXAMPLES or 150,
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
VALUES = st.recursive(
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
    assert digest(again.shared_identity()) == digest(config.shared_identity())


def classes() -> list[type[Config]]:
    kinds = [cls for cls in import_house().values() if issubclass(cls, Config) and dataclasses.fields(cls)]
    return sorted((cls for cls in kinds if not getattr(cls, "__abstractmethods__", ())), key=lambda cls: cls.__name__)


@examples
@given(data=st.data())
def test_a_field_of_a_component(data: st.DataObject) -> None:
    cls = data.draw(st.sampled_from(classes()))
    field = data.draw(st.sampled_from([spec.name for spec in dataclasses.fields(cls)]))
    try:
        config = cls.example().replace(**{field: data.draw(VALUES)})
    except ConfigError as error:
        one_clear_line(error)
        return
    means_the_same_elsewhere(config)


@examples
@given(data=st.data())
def test_a_setting(data: st.DataObject) -> None:
    field = data.draw(st.sampled_from([spec.name for spec in dataclasses.fields(RunSettings)]))
    try:
        RunSettings(**{field: data.draw(VALUES)})
    except ConfigError as error:
        one_clear_line(error)


BASE = GrokkingTrial(task=ModularAddition(p=7), model=MLP(hidden=(4,)), horizon_steps=10)


def hashable(value: Any) -> bool:
    try:
        return hash(value) == hash(value)
    except TypeError:
        return False


OPTIMIZER = ("optimizer", "optimizer.weight_decay", "optimizer.learning_rate", "optimizer.betas")
OTHERS = ("model", "model.hidden", "model.bias", "task.p", "task.train_fraction", "loss", "loss.dtype", "alpha")
PATHS = st.sampled_from((*OPTIMIZER, *OTHERS, "seeds.init", "horizon_steps", "probes"))
SIMPLE = st.lists(st.integers(0, 9) | st.floats(0, 1), max_size=3)
LISTS = st.one_of(st.lists(VALUES, max_size=3), VALUES, DOMAINS, SIMPLE)
AXES = st.dictionaries(PATHS | st.text(max_size=4) | VALUES.filter(hashable), LISTS, max_size=3)
PATCHES = st.dictionaries(PATHS, VALUES, max_size=2)
ARMS = st.lists(st.builds(Arm, name=st.text(max_size=3), patch=PATCHES | VALUES, axes=AXES | VALUES), max_size=2)
SPACES = st.fixed_dictionaries(
    {},
    optional={
        "axes": AXES | VALUES,
        "arms": ARMS | VALUES,
        "seeds": st.one_of(st.none(), st.lists(st.integers(0, 9), unique=True), st.lists(ATOMS, max_size=3), VALUES),
        "samples": st.integers(0, 3) | ATOMS,
        "sampling_seed": ATOMS,
        "settings": VALUES,
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


@examples
@given(axes=st.dictionaries(PATHS, DOMAINS, min_size=1, max_size=2), data=st.data())
def test_a_space_that_optuna_searches(axes: dict[str, Any], data: st.DataObject) -> None:
    try:
        space = SweepSpec(base=BASE, axes=axes, objective=Objective(budget=data.draw(st.integers(-1, 5) | ATOMS)))
    except SpecError as error:
        one_clear_line(error)
        return
    parse_json(space.axes_json())
    for path, domain in space.sampled_axes().items():
        assert " at 0x" not in describe_domain(domain)
        assert suggested(domain, path) == suggested(domain, path)
