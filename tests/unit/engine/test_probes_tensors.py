"""Probes of single tensors, on vectors where the answer is known and on real cohorts."""

import math
from typing import ClassVar

import numpy as np
import pytest
import torch

from trainables.engine.encodings import Tokens
from trainables.engine.losses import SoftmaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD, AdamW
from trainables.engine.probes import Alignment, Norms, Observation, Probe, Rows
from trainables.engine.probes_tensors import EffectiveRank, TensorAlignment, TensorNorms, UpdateFractions, UpdateParts
from trainables.engine.schedules import ConstantSchedule, Schedule
from trainables.engine.tasks import ModularAddition
from trainables.engine.transformer import Transformer
from trainables.grokking import GrokkingTrial

PROBES = (TensorNorms(), TensorAlignment(), UpdateFractions(), Norms(), Alignment())


def observation(parameters, gradients, updates, rate=0.1) -> Observation:
    logits_KBV, labels_KB = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[0]])
    loss = SoftmaxCrossEntropy()
    rows = Rows(logits_KBV, labels_KB, loss.row_losses(logits_KBV, labels_KB, {}), loss, {})
    members = len(next(iter(parameters.values())))
    return Observation(
        task=ModularAddition(p=7),
        train=rows,
        test=rows,
        parameters=parameters,
        gradients=gradients,
        updates=updates,
        learning_rate_K=torch.full((members,), rate, dtype=torch.float64),
        watched={},
    )


def trial(**changes) -> GrokkingTrial:
    parts = {
        "task": ModularAddition(p=7, train_fraction=0.6),
        "model": MLP(hidden=(16,)),
        "horizon_steps": 100,
        "probes": PROBES,
    }
    return GrokkingTrial(**(parts | changes))


def measured(config: GrokkingTrial, steps: int = 5) -> dict[str, float]:
    cohort = config.build([config], "cpu")
    cohort.advance(steps)
    return {column: float(values[0]) for column, values in cohort.measure().items()}


def test_tensor_alignment_where_squares_underflow():
    parameters = {"long": torch.tensor([[3.0, 4.0]]), "short": torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])}
    gradients = {"long": torch.tensor([[-3e-42, -4e-42]]), "short": torch.tensor([[[0.0, 2.0], [0.0, 0.0]]])}
    updates = {"long": torch.tensor([[-3e30, -4e30]]), "short": torch.tensor([[[1.0, -1.0], [0.0, 0.0]]])}
    found = TensorAlignment().measure(observation(parameters, gradients, updates))
    assert float(found["alignment_gradient.long"]) == pytest.approx(1, abs=1e-3)
    assert float(found["alignment_gradient.short"]) == 0
    assert float(found["alignment_update.long"]) == pytest.approx(-1)
    assert float(found["alignment_update.short"]) == pytest.approx(math.sqrt(0.5))


def test_zero_vectors_have_no_angle():
    zero, one = {"w": torch.zeros(1, 2)}, {"w": torch.ones(1, 2)}
    for seen in (observation(zero, one, one), observation(one, zero, zero)):
        assert all(value.isnan().all() for value in TensorAlignment().measure(seen).values())


def test_update_fractions():
    # float32 has 24 bits: below 1 the next number is 1 - 2^-24 (above it 1 + 2^-23); beside 0 nothing is absorbed.
    weights = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    gradient = torch.tensor([[0.0, 2.0**-26, 2.0**-24, 2.0**-26]]) / 0.5
    still = {"a": torch.tensor([[0.0, 0.0, 1.0, 0.0]]), "b": torch.tensor([[1.0]])}
    seen = observation(
        {"a": weights, "b": torch.tensor([[5.0]])}, {"a": gradient, "b": torch.tensor([[0.0]])}, still, rate=0.5
    )
    found = {column: float(value) for column, value in UpdateFractions().measure(seen).items()}
    assert found == {
        "absorbed_fraction": 3 / 5,
        "absorbed_fraction.a": 2 / 4,
        "absorbed_fraction.b": 1,
        "zero_gradient_fraction": 2 / 5,
        "zero_gradient_fraction.a": 1 / 4,
        "zero_gradient_fraction.b": 1,
        "zero_update_fraction": 3 / 5,
        "zero_update_fraction.a": 3 / 4,
        "zero_update_fraction.b": 0,
    }


def test_absorption_depends_on_the_dtype():
    for dtype, absorbed in ((torch.float32, 1), (torch.float64, 0)):
        one = {"w": torch.ones(1, 1, dtype=dtype)}
        found = UpdateFractions().measure(observation(one, {"w": one["w"] * 1e-10}, one))
        assert float(found["absorbed_fraction"]) == absorbed


def test_absorbed_weights_of_sgd_do_not_move():
    """For SGD without momentum the paper's reading and the actual update are the same, bit by bit."""
    found = measured(trial(optimizer=SGD(learning_rate=1e-5)), steps=20)
    assert 0 < found["absorbed_fraction"] == found["zero_update_fraction"] < 1
    for name in ("weight_0", "weight_1"):
        assert found[f"absorbed_fraction.{name}"] == found[f"zero_update_fraction.{name}"]
    adam = measured(trial(optimizer=AdamW(learning_rate=1e-5)), steps=20)
    assert adam["zero_update_fraction"] < adam["absorbed_fraction"]


class Halved(Schedule):
    """Half the learning rate; a fixture that is not a component of the engine."""

    def factor(self, updates):
        return torch.full_like(updates, 0.5)


class Recording(Probe):
    """Keeps what it was shown."""

    last: ClassVar[Observation]

    def measure(self, seen):
        Recording.last = seen
        return {}


@pytest.mark.parametrize("schedule", [ConstantSchedule(), Halved()], ids=["constant", "halved"])
def test_effective_learning_rate(schedule):
    model = MLP(hidden=(16,), dtype="float64")
    configs = [
        trial(optimizer=SGD(learning_rate=rate), alpha=alpha, schedule=schedule, model=model, probes=(Recording(),))
        for rate, alpha in ((0.1, 1.0), (0.3, 4.0))
    ]
    cohort = configs[0].build(configs, "cpu")
    cohort.advance(3)
    cohort.measure()
    seen, factor = Recording.last, 0.5 if isinstance(schedule, Halved) else 1
    np.testing.assert_allclose(seen.learning_rate_K.numpy(), [0.1 * factor, 0.3 / 16 * factor])
    for name, update in seen.updates.items():
        step = -seen.learning_rate_K.view(-1, 1, 1) * seen.gradients[name]
        torch.testing.assert_close(update, step, rtol=1e-6, atol=1e-15)


@pytest.mark.parametrize(
    ("model", "task"),
    [
        (MLP(hidden=(16,)), ModularAddition(p=7)),
        (MLP(hidden=(8, 12), bias=True, dtype="float64"), ModularAddition(p=7)),
        (Transformer(width=8, heads=2, feed_forward=16, norm="post", bias=True), ModularAddition(p=7, inputs=Tokens())),
    ],
    ids=["MLP", "MLP with bias", "Transformer"],
)
def test_tensors_add_up(model, task):
    found, init = measured(trial(model=model, task=task)), model.init(task, 0)
    shapes = {name: tuple(value.shape) for name, value in init.items()}
    assert set(found) == {name for probe in PROBES for name in probe.names(shapes, task)}
    assert math.hypot(*(found[f"norm.{name}"] for name in init)) == pytest.approx(found["parameter_norm"])
    for quantity in UpdateFractions.columns:
        mean = np.average([found[f"{quantity}.{name}"] for name in init], weights=[v.numel() for v in init.values()])
        assert mean == pytest.approx(found[quantity])
    for quantity in TensorAlignment.quantities:
        assert all(-1 <= found[f"{quantity}.{name}"] <= 1 for name in init)


def test_single_tensor_has_the_overall_alignment():
    found = measured(trial(model=MLP(hidden=())))
    for quantity in ("alignment_gradient", "alignment_update"):
        assert -1 < found[quantity] < 1
        assert found[f"{quantity}.weight_0"] == found[quantity]


def test_effective_rank():
    wide = torch.zeros(3, 4, 6)
    wide[0, 0, 0] = 5.0  # one singular value
    wide[1, range(4), range(4)] = -2.0  # four equal ones
    parameters = {"wide": wide, "bias": torch.ones(3, 2)}
    columns = EffectiveRank().measure(observation(parameters, parameters, parameters))
    assert list(columns) == list(EffectiveRank().names({"wide": (4, 6), "bias": (2,)}, None)) == ["effective_rank.wide"]
    found = columns["effective_rank.wide"].tolist()
    assert found[:2] == pytest.approx([1.0, 4.0])
    assert math.isnan(found[2])
    matrix = np.random.default_rng(0).standard_normal((5, 3))
    shares = np.linalg.svd(matrix, compute_uv=False) / np.linalg.svd(matrix, compute_uv=False).sum()
    seen = observation({"w": torch.tensor(matrix)[None]}, {}, {})
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert float(EffectiveRank().measure(seen)["effective_rank.w"]) == pytest.approx(expected, rel=1e-12)


def test_update_parts():
    parameters = {"a": torch.tensor([[3.0, 4.0]]), "b": torch.tensor([[0.0]])}
    updates = {"a": torch.tensor([[-4.0, -3.0]]), "b": torch.tensor([[2.0]])}
    columns = {
        name: float(value) for name, value in UpdateParts().measure(observation(parameters, {}, updates)).items()
    }
    assert columns.keys() == set(UpdateParts().names({"a": (2,), "b": (1,)}, None))
    assert columns["update_along"] == columns["update_along.a"] == pytest.approx(-24 / 5)
    assert columns["update_across.a"] == pytest.approx(7 / 5)
    assert columns["update_across"] == pytest.approx(math.hypot(7 / 5, 2))
    assert math.isnan(columns["update_along.b"])
