"""Probes against their definitions, on logits where the answer is known."""

import math

import numpy as np
import pytest
import torch

from trainables.engine.losses import DTYPES, SoftmaxCrossEntropy, StableMaxCrossEntropy, softmax_collapsed
from trainables.engine.probes import STANDARD, Observation, Rows
from trainables.engine.tasks import ModularAddition


def observation(loss, logits, labels, parameters=None, gradients=None, updates=None) -> Observation:
    logits_KBV, labels_KB = torch.tensor([logits], dtype=torch.float32), torch.tensor([labels])
    rows = Rows(logits_KBV, labels_KB, loss.row_losses(logits_KBV, labels_KB, {}), loss, {})
    one = {"w": torch.ones(1, 2)}
    return Observation(
        task=ModularAddition(p=7),
        train=rows,
        test=rows,
        parameters=parameters or one,
        gradients=gradients or one,
        updates=updates or one,
        learning_rate_K=torch.full((1,), 0.1, dtype=torch.float64),
        watched={},
    )


def measure(seen: Observation) -> dict[str, float]:
    return {name: float(value[0]) for probe in STANDARD for name, value in probe.measure(seen).items()}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_collapse_margin(dtype):
    """Def. 1: 1 + x is 1 when x is at most half the machine epsilon; with two classes x = exp(-margin)."""
    epsilon = torch.finfo(DTYPES[dtype]).eps
    edge = -math.log(epsilon / 2)
    # float16 and bfloat16 store the margin itself with few bits
    slack = 0.05 if dtype in ("float32", "float64") else 0.1 * edge
    logits = torch.tensor([[edge - slack, 0.0], [edge + slack, 0.0]], dtype=torch.float64).to(DTYPES[dtype])
    assert softmax_collapsed(logits).tolist() == [False, True]


def test_variants_of_collapse():
    logits = [[200.0, 0.0, 0.0], [0.0, 200.0, 0.0], [1.0, 0.0, 0.0]]
    found = measure(observation(SoftmaxCrossEntropy(), logits, [0, 0, 0]))
    assert found["sc_any_fraction"] == pytest.approx(2 / 3)
    assert found["sc_true_fraction"] == pytest.approx(1 / 3)
    assert found["sc_loss_fraction"] == pytest.approx(2 / 3)
    assert found["zero_loss_fraction"] == pytest.approx(1 / 3)
    stable = measure(observation(StableMaxCrossEntropy(), logits, [0, 0, 0]))
    assert stable["sc_any_fraction"] == pytest.approx(2 / 3)
    assert stable["sc_loss_fraction"] == 0
    assert stable["zero_loss_fraction"] == 0


def test_stablemax_collapse():
    found = measure(observation(StableMaxCrossEntropy(dtype="float32"), [[1e9, -1e9]], [0]))
    assert found["sc_loss_fraction"] == 1


def test_margins():
    logits = [[3.0, 1.0, 0.0], [0.0, 5.0, 1.0], [2.0, 2.0, -4.0]]
    found = measure(observation(SoftmaxCrossEntropy(), logits, [0, 2, 1]))
    margins = [2.0, -4.0, 0.0]
    for level in (10, 50, 90):
        assert found[f"margin_q{level}"] == pytest.approx(np.quantile(margins, level / 100))


def test_accuracy_and_loss():
    found = measure(observation(SoftmaxCrossEntropy(dtype="float64"), [[1.0, 0.0], [1.0, 0.0]], [0, 1]))
    assert found["train_accuracy"] == found["test_accuracy"] == 0.5
    assert found["train_loss"] == pytest.approx((math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2)


def test_alignment_where_squares_underflow():
    theta, tiny = torch.tensor([[3.0, 4.0]]), torch.tensor([[-3e-42, -4e-42]])
    found = measure(observation(SoftmaxCrossEntropy(), [[1.0, 0.0]], [0], {"w": theta}, {"w": tiny}, {"w": theta}))
    assert found["alignment_gradient"] == pytest.approx(1, abs=1e-3)
    assert found["alignment_update"] == pytest.approx(1)
    assert found["parameter_norm"] == pytest.approx(5)
    still = torch.zeros(1, 2)
    found = measure(observation(SoftmaxCrossEntropy(), [[1.0, 0.0]], [0], {"w": theta}, {"w": still}, {"w": still}))
    assert math.isnan(found["alignment_gradient"])
    assert math.isnan(found["alignment_update"])
    assert found["gradient_norm"] == 0


def test_columns_are_unique():
    columns = [column for probe in STANDARD for column in probe.columns]
    assert len(set(columns)) == len(columns) == 15
