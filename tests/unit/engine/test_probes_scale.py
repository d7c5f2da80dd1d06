"""Top-k accuracy, perplexity and the logits' scale, against torch and numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from trainables.engine.losses import SoftmaxCrossEntropy, StableMaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.probes import Observation, Rows
from trainables.engine.probes_scale import FeatureInflation, LogitScale, Perplexity, TopAccuracy
from trainables.engine.tasks import ModularAddition
from trainables.grokking import GrokkingTrial

MEMBERS, CLASSES = 2, 11


def rows(count: int, seed: int, loss=SoftmaxCrossEntropy()) -> tuple[torch.Tensor, torch.Tensor, Rows]:
    chance = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(MEMBERS, count, CLASSES, generator=chance)
    labels = torch.randint(CLASSES, (MEMBERS, count), generator=chance)
    return logits, labels, Rows(logits, labels, loss.row_losses(logits, labels, {}), loss, {})


def observation(train: Rows, test: Rows) -> Observation:
    nothing: dict[str, torch.Tensor] = {}
    return Observation(None, train, test, nothing, nothing, nothing, torch.ones(MEMBERS), nothing)


@pytest.mark.parametrize("k", [1, 5, CLASSES])
def test_top_k_accuracy_against_torch(k):
    splits = {"train": rows(60, 0), "test": rows(40, 1)}
    probe = TopAccuracy(k=k)
    found = probe.measure(observation(splits["train"][2], splits["test"][2]))
    assert tuple(found) == probe.names({}, None) == (f"train_top{k}_accuracy", f"test_top{k}_accuracy")
    for split, (logits, labels, _) in splits.items():
        hits = (logits.topk(k, dim=-1).indices == labels.unsqueeze(-1)).any(-1)
        torch.testing.assert_close(found[f"{split}_top{k}_accuracy"], hits.double().mean(1))


def test_top_k_ties():
    logits, labels = torch.zeros(1, 1, CLASSES), torch.full((1, 1), 7)
    loss = SoftmaxCrossEntropy()
    tied = Rows(logits, labels, loss.row_losses(logits, labels, {}), loss, {})
    assert TopAccuracy(k=1).measure(observation(tied, tied))["train_top1_accuracy"].tolist() == [1.0]


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), StableMaxCrossEntropy()], ids=["softmax", "stablemax"])
def test_perplexity(loss):
    (logits, labels, train), (_, _, test) = rows(60, 0, loss), rows(40, 1, loss)
    found = Perplexity().measure(observation(train, test))
    z = logits.double()
    weights = z.exp() if isinstance(loss, SoftmaxCrossEntropy) else torch.where(z >= 0, z + 1, 1 / (1 - z))
    p = (weights / weights.sum(-1, keepdim=True)).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(found["train_perplexity"], p.prod(1) ** (-1 / 60), rtol=1e-5, atol=0)
    if isinstance(loss, SoftmaxCrossEntropy):
        judged = functional.cross_entropy(logits[0], labels[0]).exp().double()
        torch.testing.assert_close(found["train_perplexity"][0], judged, rtol=1e-5, atol=0)
    assert set(found) == set(Perplexity.columns)


def test_logit_scale():
    (logits, _, train), (other, _, test) = rows(60, 0), rows(40, 1)
    found = LogitScale().measure(observation(train, test))
    for split, values in (("train", logits), ("test", other)):
        np.testing.assert_allclose(found[f"{split}_logit_scale"], values.numpy().std(-1).mean(-1), rtol=1e-5)


def inflation(loss, size):
    """The probe's columns, for true classes whose logits lead by this, give or take 1."""
    chance = torch.Generator().manual_seed(5)
    features, readout = torch.rand(2, 30, 4, generator=chance), torch.randn(2, 4, CLASSES, generator=chance)
    labels = torch.randint(CLASSES, (2, 30), generator=chance)
    logits = torch.rand(2, 30, CLASSES, generator=chance)
    logits = logits.scatter_add(-1, labels.unsqueeze(-1), torch.full((2, 30, 1), float(size)))
    train = Rows(logits, labels, loss.row_losses(logits, labels, {}), loss, {})
    seen = replace(
        observation(train, train), activations={"hidden_0": features}, readout="last", parameters={"last": readout}
    )
    return FeatureInflation().measure(seen), features.double().numpy(), readout.double().numpy()


def test_feature_inflation_is_zero_until_the_true_class_s_gradient_is_absorbed():
    """Half of a float32's last place of the sum is lost where exp(-z) is below 2⁻²⁴: at a difference of some 17."""
    loss = SoftmaxCrossEntropy()
    small, large = (inflation(loss, lead)[0]["logit_gradient_sum"] for lead in (1, 25))
    assert (small < 1e-7).all()
    others = (CLASSES - 1) * np.exp(-25)
    assert ((others / 3 < large) & (large < 3 * others)).all()  # the true class's is exactly 0
    assert (inflation(SoftmaxCrossEntropy(dtype="float64"), 25)[0]["logit_gradient_sum"] < 1e-6 * others).all()


def test_feature_inflation_means():
    columns, features, readout = inflation(SoftmaxCrossEntropy(), 1)
    assert tuple(columns) == FeatureInflation.columns
    np.testing.assert_allclose(columns["feature_mean_norm"], np.linalg.norm(features.mean(1), axis=1), rtol=1e-12)
    np.testing.assert_allclose(columns["class_mean_norm"], np.linalg.norm(readout.mean(2), axis=1), rtol=1e-12)


def test_feature_inflation_of_a_trial_reads_the_weights_and_features_of_that_step():
    trial = GrokkingTrial(
        task=ModularAddition(p=7),
        model=MLP(hidden=(8,), dtype="float64"),
        probes=(FeatureInflation(),),
        horizon_steps=5,
    )
    cohort = trial.build([trial], "cpu")
    cohort.advance(3)
    weights = cohort.snapshot(0)
    inputs = trial.task.split(trial.seeds).train_inputs
    features = np.maximum(weights["weight_0"][inputs].sum(1), 0)
    measured = cohort.measure()
    np.testing.assert_allclose(measured["feature_mean_norm"], np.linalg.norm(features.mean(0)), rtol=1e-12)
    np.testing.assert_allclose(measured["class_mean_norm"], np.linalg.norm(weights["weight_1"].mean(1)), rtol=1e-12)
