"""Fourier spectra: against numpy, on planted frequencies, and the measures of sparsity by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from trainables.engine.config import ConfigError
from trainables.engine.encodings import Binary, Tokens
from trainables.engine.models import MLP
from trainables.engine.spectra import FourierSpectrum, gini, power_spectrum, top_tenth
from trainables.engine.tasks import ModularAddition, ModularArithmetic, Split, Task
from trainables.engine.transformer import Transformer
from trainables.grokking import GrokkingTrial

P = 13
TASK = ModularAddition(p=P)


def spectrum(parameters: dict[str, np.ndarray], task: Task = TASK) -> dict[str, float]:
    tensors = {name: torch.tensor(value[None]) for name, value in parameters.items()}
    found = FourierSpectrum().measure(SimpleNamespace(task=task, parameters=tensors))
    assert list(found) == list(FourierSpectrum().names({n: v.shape for n, v in parameters.items()}, task))
    return {column: float(value[0]) for column, value in found.items()}


def shares(found: dict[str, float], place: str, p: int = P) -> np.ndarray:
    return np.array([found[f"{place}.power_{k}"] for k in range(1, p // 2 + 1)])


@pytest.mark.parametrize("numbers", [2, 7, 8, 113])
def test_power_spectrum_against_numpy(numbers):
    values = np.random.default_rng(0).normal(size=(3, 5, 2, numbers))
    found = power_spectrum(torch.tensor(values)).numpy()
    # The two-sided transform has every frequency and its negative: nothing is left out and nothing counted twice.
    both = np.abs(np.fft.fft(values, norm="ortho")) ** 2
    folded = np.zeros((3, 5, 2, numbers // 2 + 1))
    for k in range(numbers):
        folded[..., min(k, numbers - k)] += both[..., k]
    np.testing.assert_allclose(found, folded, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.sum(-1), (values**2).sum(-1), rtol=1e-12)
    one_sided = np.abs(np.fft.rfft(values)) ** 2 / numbers
    np.testing.assert_allclose(found[..., 0], one_sided[..., 0], rtol=1e-12, atol=1e-14)
    if numbers > 2:
        np.testing.assert_allclose(found[..., 1], 2 * one_sided[..., 1], rtol=1e-12, atol=1e-14)


def test_one_frequency_per_unit():
    waves = [np.cos(2 * np.pi * k * np.arange(P) / P + k) for k in range(1, P // 2 + 1)]
    found = spectrum({"weight_0": np.ones((2 * P, 6)), "weight_1": np.stack(waves)})
    assert found["fourier_output.unit_top10_share"] == pytest.approx(1)
    assert found["fourier_output.top10_share"] == pytest.approx(1 / 6)
    # A unit of twice the amplitude counts four times, and its two frequencies are 2.5 : 0.5.
    mixed = np.stack([2 * waves[0], waves[1] * math.sqrt(2.5) + waves[2] * math.sqrt(0.5)])
    found = spectrum({"weight_0": np.ones((2 * P, 2)), "weight_1": mixed})
    assert found["fourier_output.unit_top10_share"] == pytest.approx((4 + 2.5) / 7)
    assert found["fourier_output.top10_share"] == pytest.approx(4 / 7)


def test_planted_wave():
    phases = np.linspace(0, 3, 20)[:, None]
    output = 5 + np.cos(2 * np.pi * 4 * np.arange(P) / P + phases)
    a, b = (np.cos(2 * np.pi * k * np.arange(P)[:, None] / P + phases.T) for k in (2, 3))
    found = spectrum({"weight_0": np.concatenate([a, 3 * b]), "weight_1": output})
    np.testing.assert_allclose(shares(found, "fourier_output"), np.eye(6)[3], atol=1e-12)
    np.testing.assert_allclose(shares(found, "fourier_input"), [0, 0.1, 0.9, 0, 0, 0], atol=1e-12)
    assert found["fourier_output.constant_share"] == pytest.approx(25 / 25.5)
    assert found["fourier_input.constant_share"] == pytest.approx(0, abs=1e-12)
    assert found["fourier_output.top10_share"] == pytest.approx(1)
    assert found["fourier_output.ipr"] == pytest.approx(1)
    assert found["fourier_output.gini"] == pytest.approx(5 / 6)
    assert found["fourier_input.ipr"] == pytest.approx(0.82)


def test_random_weights():
    task, rng = ModularAddition(p=113), np.random.default_rng(1)
    found = spectrum({"weight_0": rng.normal(size=(226, 200)), "weight_1": rng.normal(size=(200, 113))}, task)
    for place in ("fourier_output", "fourier_input"):
        np.testing.assert_allclose(shares(found, place, 113), 1 / 56, rtol=0.35)
        assert found[f"{place}.gini"] < 0.06
        assert found[f"{place}.ipr"] < 1.02 / 56
        assert 6 / 56 < found[f"{place}.top10_share"] < 0.13
        # The powers of one unit are exponentially distributed, the six largest of 56 hold 6/56 (1 + ln 56/6) of them.
        assert found[f"{place}.unit_top10_share"] == pytest.approx(0.347, abs=0.015)
        assert found[f"{place}.constant_share"] == pytest.approx(1 / 113, rel=0.35)


def test_gini_and_top_tenth():
    # Mean absolute difference over twice the mean: (1, 2, 3, 4) has 2 * (3*1 + 2*2 + 1*3) / 16 / (2 * 2.5) = 0.25.
    values = torch.tensor([[4.0, 1.0, 3.0, 2.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 8.0, 0.0]], dtype=torch.float64)
    np.testing.assert_allclose(gini(values).numpy(), [0.25, 0, 0.75], atol=1e-15)
    np.testing.assert_allclose(top_tenth(values).numpy(), [4, 1, 8])
    ascending = torch.arange(1.0, 57.0, dtype=torch.float64)[None]
    assert float(top_tenth(ascending)) == 56 + 55 + 54 + 53 + 52 + 51
    assert float(top_tenth(ascending[:, :50])) == 50 + 49 + 48 + 47 + 46


def test_constant_weights():
    found = spectrum({"weight_0": np.zeros((2 * P, 4)), "weight_1": np.zeros((4, P))})
    assert all(math.isnan(value) for value in found.values())


def test_tables_by_shape():
    square = MLP(hidden=(2 * P, P), bias=True)
    shapes = {name: tuple(value.shape) for name, value in square.init(TASK, 0).items()}
    weights = {name: np.ones(shape) for name, shape in shapes.items()}
    weights["weight_2"] = np.cos(2 * np.pi * np.arange(P) / P)[None].repeat(P, 0)
    weights["weight_0"] = np.cos(4 * np.pi * np.arange(2 * P) / P)[:, None].repeat(2 * P, 1)
    found = spectrum(weights)
    assert found["fourier_output.power_1"] == pytest.approx(1)
    assert found["fourier_input.power_2"] == pytest.approx(1)


def test_tables_of_tokens_and_dense_inputs():
    waves = {k: np.cos(2 * np.pi * k * np.arange(P) / P) for k in (2, 5)}
    task = ModularAddition(p=P, inputs=Tokens())
    model = Transformer(width=P + 3, heads=1, feed_forward=P, norm="post", positions=True, bias=True)
    weights = {name: value.numpy() for name, value in model.init(task, 0).items()}
    weights |= {"embed": waves[5][:, None].repeat(P + 3, 1), "unembed": waves[2][None].repeat(P + 3, 0)}
    found = spectrum(weights, task)
    assert found["fourier_input.power_5"] == pytest.approx(1)
    assert found["fourier_output.power_2"] == pytest.approx(1)
    dense = ModularAddition(p=P, inputs=Binary())
    shapes = {name: tuple(value.shape) for name, value in MLP(hidden=(8,)).init(dense, 0).items()}
    assert {name.split(".")[0] for name in FourierSpectrum().names(shapes, dense)} == {"fourier_output"}


def test_cohort_independence():
    configs = [trial(seeds_of) for seeds_of in range(3)]
    cohort = configs[0].build(configs, "cpu")
    together = cohort.measure()
    for member, config in enumerate(configs):
        for column, values in config.build([config], "cpu").measure().items():
            assert together[column][member] == pytest.approx(values[0], rel=1e-12)


def trial(seed: int) -> GrokkingTrial:
    seeds = GrokkingTrial(task=TASK, horizon_steps=1).seeds.all(seed)
    return GrokkingTrial(
        task=TASK, model=MLP(hidden=(16,), bias=True), seeds=seeds, horizon_steps=10, probes=(FourierSpectrum(),)
    )


class Words(Task):
    """A task without numbers mod p; a fixture that is not a component of the engine."""

    features = active_features = classes = train_rows = test_rows = 2

    def split(self, seeds) -> Split:
        raise NotImplementedError


def test_other_tasks_fail_in_one_line():
    assert not issubclass(Words, ModularArithmetic)
    with pytest.raises(ConfigError, match=r"^FourierSpectrum: Words has no numbers mod p; .*modular arithmetic$"):
        GrokkingTrial(task=Words(), horizon_steps=10, probes=(FourierSpectrum(),))
