"""Losses against their definitions; their gradients are checked in ``tests/parity/test_gradients.py``."""

import math

import pytest
import torch
from torch import nn

from trainables.engine.config import ConfigError
from trainables.engine.losses import (
    DTYPES,
    MeanSquaredError,
    SoftmaxCrossEntropy,
    StableMaxCrossEntropy,
    TaylorSoftmaxCrossEntropy,
    log_softmax_by_hand,
)

CROSS_ENTROPIES = [
    SoftmaxCrossEntropy(dtype="float64"),
    SoftmaxCrossEntropy(dtype="float64", log_softmax="by_hand"),
    StableMaxCrossEntropy(),
    TaylorSoftmaxCrossEntropy(),
]


def drawn(members: int = 2, rows: int = 20, classes: int = 7, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(members, rows, classes, dtype=torch.float64, generator=generator)
    return logits, torch.randint(0, classes, (members, rows), generator=generator)


def probabilities(loss, logits):
    """By the definitions, without logarithms."""
    if isinstance(loss, StableMaxCrossEntropy):
        terms = torch.where(logits >= 0, logits + 1, 1 / (1 - logits))
    elif isinstance(loss, TaylorSoftmaxCrossEntropy):
        x = logits - logits.amin(-1, keepdim=True)
        terms = 1 + x + x**2 / 2
    else:
        terms = logits.exp()
    return terms / terms.sum(-1, keepdim=True)


@pytest.mark.parametrize("loss", CROSS_ENTROPIES, ids=repr)
def test_cross_entropy_definition(loss):
    logits, labels = drawn()
    expected = -probabilities(loss, logits).gather(-1, labels.unsqueeze(-1)).squeeze(-1).log()
    torch.testing.assert_close(loss.row_losses(logits, labels, {}), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("loss", CROSS_ENTROPIES, ids=repr)
def test_label_smoothing_definition_per_member(loss):
    logits, labels = drawn()
    smoothing = torch.tensor([0.1, 0.4], dtype=torch.float64)
    minus_log_p = -probabilities(loss, logits).log()
    true = minus_log_p.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    expected = (1 - smoothing).view(-1, 1) * true + smoothing.view(-1, 1) * minus_log_p.mean(-1)
    found = loss.row_losses(logits, labels, {"label_smoothing": smoothing})
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_label_smoothing_against_torch():
    logits, labels = drawn(members=1)
    judge = nn.CrossEntropyLoss(label_smoothing=0.2, reduction="none")(logits[0], labels[0])
    found = SoftmaxCrossEntropy(dtype="float64").row_losses(
        logits, labels, {"label_smoothing": torch.tensor([0.2], dtype=torch.float64)}
    )
    torch.testing.assert_close(found[0], judge, rtol=1e-12, atol=0)


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_label_smoothing_bounds(value):
    with pytest.raises(ConfigError, match="label_smoothing"):
        SoftmaxCrossEntropy(label_smoothing=value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_smoothing_keeps_the_bits(dtype):
    logits, labels = drawn()
    loss = SoftmaxCrossEntropy(dtype=dtype)
    mixed = loss.row_losses(logits, labels, {"label_smoothing": torch.tensor([0.0, 0.3], dtype=torch.float64)})
    assert torch.equal(mixed[0], loss.row_losses(logits, labels, {})[0])
    assert not torch.equal(mixed[1], loss.row_losses(logits, labels, {})[1])


def gradient(loss, logits, labels):
    leaf = logits.clone().requires_grad_()
    loss.row_losses(leaf, labels, {}).sum().backward()
    return leaf.grad


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_softmax_by_hand(dtype):
    logits = drawn()[0].to(DTYPES[dtype])
    shifted = logits - logits.max(-1, keepdim=True).values
    expected = shifted - torch.log(torch.exp(shifted).sum(-1, keepdim=True))
    assert torch.equal(log_softmax_by_hand(logits), expected)
    native = torch.log_softmax(logits, -1)
    epsilon = torch.finfo(DTYPES[dtype]).eps
    assert (expected - native).abs().max() <= 4 * epsilon * native.abs().max()


@pytest.mark.parametrize(("dtype", "margin"), [("float16", 12.0), ("float32", 25.0), ("float64", 40.0)])
def test_collapsed_row_learns_only_by_hand(dtype, margin):
    """App. I: the loss is exactly 0 either way; the gradient through the maximum is the sum of the others'."""
    logits, labels = torch.tensor([[[margin, 0.0, 1.0]]], dtype=DTYPES[dtype]), torch.tensor([[0]])
    native, by_hand = (SoftmaxCrossEntropy(dtype=dtype, log_softmax=kind) for kind in ("native", "by_hand"))
    for loss in (native, by_hand):
        assert loss.collapsed(logits).all()
        assert (loss.row_losses(logits, labels, {}) == 0).all()
    assert gradient(native, logits, labels)[0, 0, 0] == 0
    exact = -math.exp(-margin) - math.exp(1 - margin)
    assert float(gradient(by_hand, logits, labels)[0, 0, 0]) == pytest.approx(exact, rel=1e-2)
    torch.testing.assert_close(gradient(native, logits, labels)[..., 1:], gradient(by_hand, logits, labels)[..., 1:])


def test_taylor_gradient_through_the_minimum():
    """So it has no component along (1, ..., 1), and what the smallest logit gets is what the others leave."""
    logits, labels = drawn()
    found = gradient(TaylorSoftmaxCrossEntropy(), logits, labels)
    torch.testing.assert_close(found.sum(-1), torch.zeros_like(found.sum(-1)), rtol=0, atol=1e-14)
    detached = logits.clone().requires_grad_()
    x = detached - logits.amin(-1, keepdim=True)
    terms = 1 + x + x**2 / 2
    picked = (terms / terms.sum(-1, keepdim=True)).gather(-1, labels.unsqueeze(-1))
    (-picked.log()).sum().backward()
    smallest = torch.nn.functional.one_hot(logits.argmin(-1), logits.shape[-1]).bool()
    torch.testing.assert_close(found[~smallest], detached.grad[~smallest])
    assert (found[smallest] != detached.grad[smallest]).all()


def test_mean_squared_error_against_torch():
    logits, labels = drawn(members=1)
    loss = MeanSquaredError(dtype="float64")
    judge = nn.MSELoss()(logits[0], nn.functional.one_hot(labels[0], logits.shape[-1]).double())
    assert float(loss.row_losses(logits, labels, {}).mean()) == pytest.approx(float(judge), rel=1e-14)
    assert not loss.collapsed(1e30 * logits).any()
    assert loss.collapsed(logits).shape == labels.shape


@pytest.mark.parametrize(
    "loss",
    [
        SoftmaxCrossEntropy(),
        SoftmaxCrossEntropy(log_softmax="by_hand"),
        StableMaxCrossEntropy(),
        TaylorSoftmaxCrossEntropy(),
        MeanSquaredError(),
    ],
    ids=repr,
)
def test_loss_dtype(loss):
    for dtype in DTYPES:
        logits, labels = drawn()
        hyper = {"label_smoothing": torch.tensor([0.1, 0.2], dtype=torch.float64)}
        assert loss.replace(dtype=dtype).row_losses(logits.float(), labels, hyper).dtype == DTYPES[dtype]
