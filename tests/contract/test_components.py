"""Every component, found by walking the packages, keeps the same contract: nothing is listed here by hand."""

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import trainables
from tests.fake_mnist import write_mnist
from tests.host_reads import HostReads
from trainables.baselines.images import CIFAR10
from trainables.baselines.text import WikiText2
from trainables.data.tokenizers import Bytes
from trainables.engine.config import Config, ConfigError, from_json, per_trial_paths, replace_at, value_at
from trainables.engine.encodings import Tokens
from trainables.engine.gradients import GradientRule, OrthogonalGradient
from trainables.engine.interventions import Intervention
from trainables.engine.losses import Loss, MeanSquaredError
from trainables.engine.models import MLP, Model
from trainables.engine.optimizers import SGD, Optimizer
from trainables.engine.penalties import Penalty
from trainables.engine.probes import Probe
from trainables.engine.schedules import Schedule
from trainables.engine.tasks import ModularAddition, ModularArithmetic, Task
from trainables.engine.trial import Measuring, Seeds
from trainables.grokking import GrokkingTrial

FIELD_OF = {
    Task: "task",
    Model: "model",
    Loss: "loss",
    GradientRule: "gradient",
    Optimizer: "optimizer",
    Penalty: "penalty",
    Schedule: "schedule",
    Intervention: "intervention",
    Probe: "probes",
}

EXAMPLES: dict[str, dict[str, object]] = {
    "EverySteps": {"every_steps": 10},
    "GrokkingTrial": {"task": ModularAddition(), "horizon_steps": 10},
    "LanguageTrial": {"text": WikiText2(), "tokenizer": Bytes(), "horizon_steps": 10},
    "MLP": {"hidden": (16,), "bias": True, "dtype": "float64"},
    "MNISTSubset": {"train_rows": 20, "test_rows": 10},
    "SparseParity": {"bits": 10, "rows": 100},
    "TextFiles": {"train": "train.txt", "test": "test.txt"},
    "Transformer": {"width": 8, "heads": 2, "feed_forward": 12, "positions": True, "dropout": 0.1, "dtype": "float64"},
    "FourierSpectrum": {"every": 1},
    "LogitNorm": {"strength": 0.1},
    "L1": {"strength": 0.001},
    "L2": {"strength": 0.01},
    "StepDecay": {"every_steps": 3},
    "Warmup": {"warmup_steps": 5},
    "Cosine": {"total_steps": 80, "warmup_steps": 5},
    "ZeroTrueClassGradient": {"at_step": 3},
    "SwitchLoss": {"at_step": 3, "to": MeanSquaredError(dtype="float64")},
    "ImageFolder": {"name": "birds", "classes": 3},
    "ParquetImages": {"train": "train.parquet", "test": "test.parquet", "classes": 3},
    "VisionTrial": {"images": CIFAR10(), "horizon_steps": 10},
    "SwitchOptimizer": {"at_step": 3, "to": SGD(momentum=0.5), "to_gradient": OrthogonalGradient()},
}
"""The fields of a component that its small example needs, by class name; a task on pairs gets p = 7 without."""
COMPANIONS: dict[str, dict[str, object]] = {
    "Transformer": {"task": ModularAddition(p=7, train_fraction=0.6, inputs=Tokens())},
}
"""The other parts of the trial that a component needs beside it, by class name: GrokkingTrial field -> value."""


@pytest.fixture(autouse=True, scope="module")
def data(tmp_path_factory):
    """The tasks whose rows come from disk find them."""
    folder = tmp_path_factory.mktemp("data")
    write_mnist(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GROKSCAPE_DATA", str(folder))
        yield


def all_configs() -> list[type[Config]]:
    for module in pkgutil.walk_packages(trainables.__path__, "trainables."):
        importlib.import_module(module.name)

    def below(cls: type) -> Iterator[type]:
        for child in cls.__subclasses__():
            yield child
            yield from below(child)

    return sorted(
        {
            cls
            for cls in below(Config)
            if not inspect.isabstract(cls) and cls.__module__.startswith("trainables.") and is_concrete(cls)
        },
        key=lambda cls: cls.__qualname__,
    )


def is_concrete(cls: type) -> bool:
    """A component is a leaf: its class has no abstract method left and no subclass of its own."""
    unfinished = any(getattr(getattr(cls, name), "__isabstractmethod__", False) for name in dir(cls))
    return not unfinished and not cls.__subclasses__()


CONFIGS = all_configs()
COMPONENTS = [cls for cls in CONFIGS if issubclass(cls, tuple(FIELD_OF))]


def small_trial(component: Config | None = None, **changes) -> GrokkingTrial:
    """A trial that trains within milliseconds, with the component put where it belongs."""
    parts = {
        "task": ModularAddition(p=7, train_fraction=0.6),
        "model": MLP(hidden=(16,), dtype="float64"),
        "horizon_steps": 30,
    }
    for family, field in FIELD_OF.items():
        if isinstance(component, family):
            parts[field] = (component,) if field == "probes" else component
    companions = COMPANIONS.get(type(component).__name__, {})
    return GrokkingTrial(**(parts | companions | changes))


def example(cls: type[Config]) -> Config:
    if cls.__name__ in EXAMPLES:
        return cls(**EXAMPLES[cls.__name__])
    return cls(p=7, train_fraction=0.6) if issubclass(cls, ModularArithmetic) else cls()


def test_the_walk_finds_the_known_families():
    assert {family for family in FIELD_OF for cls in COMPONENTS if issubclass(cls, family)} == set(FIELD_OF)
    assert {"ModularAddition", "StableMaxCrossEntropy", "OrthogonalGradient", "SGD"} <= {
        cls.__name__ for cls in COMPONENTS
    }


def test_names_are_unique_over_the_house():
    names = [cls.__qualname__ for cls in CONFIGS]
    assert len(names) == len(set(names))
    assert all(
        from_json({"class": name} | example(cls).to_json()) == example(cls)
        for name, cls in zip(names, CONFIGS, strict=True)
    )


@pytest.mark.parametrize("cls", CONFIGS, ids=lambda cls: cls.__name__)
def test_json_round_trip_and_documentation(cls):
    config = example(cls)
    assert from_json(config.to_json()) == config
    assert inspect.getdoc(cls)
    assert cls.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(cls))


@pytest.mark.parametrize("cls", CONFIGS, ids=lambda cls: cls.__name__)
def test_a_value_of_a_wrong_kind_is_refused_with_the_fields_name(cls):
    config = example(cls)
    for field in dataclasses.fields(cls):
        with pytest.raises(ConfigError, match=rf"{cls.__name__}\.{field.name} = .*must be"):
            config.replace(**{field.name: object()})


@pytest.mark.parametrize("cls", COMPONENTS, ids=lambda cls: cls.__name__)
def test_one_step_is_finite_moves_the_weights_and_repeats_bit_for_bit(cls):
    trial = small_trial(example(cls))
    first, second = (trial.build([trial], "cpu") for _ in range(2))
    start = first.state_dict(0)["parameters"]
    for cohort in (first, second):
        cohort.advance(1)
        assert cohort.finite().all()
    one, two = first.state_dict(0), second.state_dict(0)
    assert all(torch.equal(one["parameters"][name], two["parameters"][name]) for name in start)
    assert any(not torch.equal(one["parameters"][name], start[name]) for name in start)
    measured, again = first.measure(), second.measure()
    shapes = {name: tuple(value.shape) for name, value in start.items()}
    assert sorted(measured) == sorted(column for probe in trial.probes for column in probe.names(shapes, trial.task))
    for column, values in measured.items():
        assert values.shape == (1,)
        assert values.dtype == np.float64
        np.testing.assert_array_equal(values, again[column])


@pytest.mark.parametrize("cls", COMPONENTS, ids=lambda cls: cls.__name__)
def test_a_member_of_a_cohort_is_the_solo_trial(cls):
    """100 steps in float64: relative 1e-8, whatever the packing, with every per-trial value differing."""
    base = small_trial(example(cls), horizon_steps=100)
    trials = [base.replace(seeds=Seeds.all(seed)) for seed in range(3)]
    for path in per_trial_paths(base):
        if path.startswith("seeds."):
            continue
        value = value_at(base, path)
        for member in range(3):
            changed = (
                tuple(v * (1 - 0.02 * member) for v in value)
                if isinstance(value, tuple)
                else (value or 0.1) * (1 - 0.1 * member)
            )
            trials[member] = replace_at(trials[member], path, changed)
    assert len({trial.trial_id for trial in trials}) == 3
    cohort = base.build(trials, "cpu")
    cohort.advance(100)
    together = cohort.measure()
    for member, trial in enumerate(trials):
        solo = trial.build([trial], "cpu")
        solo.advance(100)
        alone, packed = solo.state_dict(0)["parameters"], cohort.state_dict(member)["parameters"]
        for name, value in alone.items():
            torch.testing.assert_close(packed[name], value, rtol=1e-8, atol=1e-10)
        for column, values in solo.measure().items():
            np.testing.assert_allclose(together[column][member], values[0], rtol=1e-7, atol=1e-9, err_msg=column)


PROBES = [cls for cls in COMPONENTS if issubclass(cls, Probe)]


@pytest.mark.parametrize("every", [1, 7])
@pytest.mark.parametrize(
    "classes", [*([cls] for cls in PROBES), PROBES], ids=lambda found: "+".join(c.__name__ for c in found)
)
def test_no_probe_changes_the_path(classes, every):
    """The weights and the optimizer's buffers, bit for bit: looked at after every step, or never."""
    companions = {}
    for cls in classes:
        companions |= COMPANIONS.get(cls.__name__, {})
    blind = small_trial(horizon_steps=50, measuring=Measuring(dense_until_steps=50), **companions).replace(probes=())
    looked = blind.replace(probes=tuple(example(cls).replace(every=every) for cls in classes))
    assert looked.trial_id == blind.trial_id
    unseen, seen = blind.build([blind], "cpu"), looked.build([looked], "cpu")
    unseen.advance(50)
    columns = seen.measure().keys()
    for _ in range(50):
        seen.advance(1)
        assert seen.measure().keys() == (columns if seen.step % every == 0 or seen.step == 50 else set())
    assert columns
    one, other = unseen.state_dict(0), seen.state_dict(0)
    for name, value in one["parameters"].items():
        assert torch.equal(value, other["parameters"][name])
    for buffer, tensors in one["optimizer"].items():
        assert all(torch.equal(value, other["optimizer"][buffer][name]) for name, value in tensors.items())


@pytest.mark.parametrize("cls", COMPONENTS, ids=lambda cls: cls.__name__)
def test_a_step_reads_nothing_back_and_is_the_same_operations_every_time(cls):
    """With any component in it a step stays a pure tensor program, so that a GPU can replay it as a graph."""
    trials = [small_trial(example(cls)).replace(seeds=Seeds.all(seed)) for seed in range(3)]
    cohort = trials[0].build(trials, "cpu")
    cohort.advance(5)  # past the step at which an example's intervention sets in
    runs = []
    for _ in range(3):
        with HostReads() as reads:
            cohort.advance(1)
        runs.append(reads.operations)
        cohort.retire([0])
    assert runs[0] == runs[1] == runs[2]
    assert len(runs[0]) > 20
