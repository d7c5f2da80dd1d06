"""Every component, found by walking the packages, keeps the same contract: nothing is listed here by hand."""

import contextlib
import dataclasses
import inspect

import numpy as np
import pytest
import torch

from tests.support.components import FIELD_OF, configs_of, same, small_trial, varied
from tests.support.fake_mnist import write_mnist
from tests.support.host_reads import HostReads, HostWrites
from trainables.engine.config import ConfigError, canonical_json, from_json
from trainables.engine.probes import Probe
from trainables.engine.trial import Measuring, Seeds, TrialConfig


@pytest.fixture(autouse=True, scope="module")
def data(tmp_path_factory):
    """The tasks whose rows come from disk find them."""
    folder = tmp_path_factory.mktemp("data")
    write_mnist(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GROKSCAPE_DATA", str(folder))
        yield


CONFIGS = configs_of("trainables")
COMPONENTS = [cls for cls in CONFIGS if issubclass(cls, tuple(FIELD_OF))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run on our components, or on those of the modules that ``--components`` names."""
    modules = metafunc.config.getoption("components", default=None) or ["trainables"]
    configs = [cls for module in modules for cls in configs_of(module)]
    if not configs:
        raise pytest.UsageError(f"--components {' '.join(modules)}: defines no component")
    parts = [cls for cls in configs if issubclass(cls, tuple(FIELD_OF))]
    probes = [cls for cls in parts if issubclass(cls, Probe)]
    values = {
        "config_class": configs,
        "part_class": parts,
        "trial_kind": [cls for cls in configs if issubclass(cls, TrialConfig)],
        "probe_classes": [*([cls] for cls in probes), probes] if len(probes) > 1 else [[cls] for cls in probes],
    }
    for name in values.keys() & set(metafunc.fixturenames):
        metafunc.parametrize(name, values[name], ids=id_of)


def id_of(classes: type | list[type]) -> str:
    return "+".join(cls.__name__ for cls in (classes if isinstance(classes, list) else [classes]))


def test_the_walk_finds_the_known_families():
    assert {family for family in FIELD_OF for cls in COMPONENTS if issubclass(cls, family)} == set(FIELD_OF)
    assert {"ModularAddition", "StableMaxCrossEntropy", "OrthogonalGradient", "SGD"} <= {
        cls.__name__ for cls in COMPONENTS
    }


def test_names_are_unique_over_the_house():
    names = [cls.__qualname__ for cls in CONFIGS]
    assert len(names) == len(set(names))
    assert all(cls.example().to_json()["class"] == name for name, cls in zip(names, CONFIGS, strict=True))


def test_json_round_trip_and_documentation(config_class):
    config = config_class.example()
    assert from_json(config.to_json()) == config
    assert config.json_text == canonical_json(config.to_json())
    assert inspect.getdoc(config_class)
    assert config_class.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(config_class))


def test_a_value_of_a_wrong_kind_is_refused_with_the_fields_name(config_class):
    config = config_class.example()
    for field in dataclasses.fields(config_class):
        with pytest.raises(ConfigError, match=rf"{config_class.__name__}\.{field.name} = .*must be"):
            config.replace(**{field.name: object()})


def test_one_step_is_finite_moves_the_weights_and_repeats_bit_for_bit(part_class):
    trial = small_trial(part_class.example())
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


def test_it_changes_no_argument_in_place(part_class):
    """Neither the weights nor a gradient that a measurement still reads, nor the buffers of the step before."""
    trial = small_trial(part_class.example())
    cohort = trial.build([trial], "cpu")
    cohort.advance(2)
    weights, before = cohort.snapshot(0), cohort.state_dict(0)
    cohort.finite()  # computes the next step
    assert same(cohort.snapshot(0), weights)
    assert same(cohort.state_dict(0), before)


def test_it_resumes_bit_for_bit(part_class):
    """From a state between two steps of which the second still needs what the first has left behind."""
    trials = varied(small_trial(part_class.example(), horizon_steps=100), 2)
    whole, resumed = (trials[0].build(trials, "cpu") for _ in range(2))
    for steps in (2, 5):  # before and after the step at which an example's intervention sets in
        whole.advance(steps)
        resumed.load_state_dict([whole.state_dict(member) for member in range(2)])
        for cohort in (whole, resumed):
            cohort.advance(4)
        assert all(same(whole.state_dict(member), resumed.state_dict(member)) for member in range(2))
        assert same(whole.measure(), resumed.measure())


def test_a_member_of_a_cohort_is_the_solo_trial(part_class):
    """100 steps in float64: relative 1e-8, whatever the packing, with every per-trial value differing."""
    base = small_trial(part_class.example(), horizon_steps=100)
    trials = varied(base, 3)
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


@pytest.mark.parametrize("every", [1, 7])
def test_no_probe_changes_the_path(probe_classes, every):
    """The weights and the optimizer's buffers, bit for bit: looked at after every step, or never."""
    probes = tuple(cls.example().replace(every=every) for cls in probe_classes)
    looked = small_trial(horizon_steps=50, measuring=Measuring(dense_until_steps=50), probes=probes)
    blind = looked.replace(probes=())
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


def test_a_trial_kind_measures_its_columns_and_resumes_bit_for_bit(trial_kind):
    trial = trial_kind.example()
    try:
        trial.data_fingerprint()
    except ConfigError as error:
        pytest.skip(str(error))
    cohort, resumed = (trial_kind.build([trial], "cpu") for _ in range(2))
    with contextlib.closing(cohort), contextlib.closing(resumed):
        shapes = {name: value.shape for name, value in cohort.snapshot(0).items()}
        assert sorted(cohort.measure()) == sorted(trial.columns(shapes))
        cohort.advance(2)
        resumed.load_state_dict([cohort.state_dict(0)])
        for each in (cohort, resumed):
            each.advance(2)
        assert cohort.step == resumed.step == 4
        assert same(cohort.state_dict(0), resumed.state_dict(0))
        assert same(cohort.measure(), resumed.measure())
    assert trial.flops_per_step() > 0


def test_a_step_is_the_same_tensor_program_for_any_number_of_members(part_class):
    """With any component in it a step reads nothing back and launches as much for five members as for two, so that a
    GPU can replay it as a graph; a measurement waits for the device three times at most."""
    base = small_trial(part_class.example())
    steps, looks = [], []
    for members in (2, 5):
        trials = [base.replace(seeds=Seeds.all(seed)) for seed in range(members)]
        cohort = base.build(trials, "meta")
        cohort.advance(5)  # past the step at which an example's intervention sets in
        with HostReads():
            cohort.measure()  # what it keeps on the device is there now
        cohort.advance(1)
        for _ in range(2):
            with HostReads() as step, HostWrites():
                cohort.advance(1)
            assert step.transfers == 0
            steps.append(step.operations)
            cohort.retire([0])
        with HostReads() as look, HostWrites():
            cohort.measure()
            cohort.finite()
            cohort.frozen()
        assert look.transfers <= 3
        looks.append(look.operations)
    assert len(steps[0]) > 20
    assert all(program == steps[0] for program in steps)
    assert looks[0] == looks[1]
