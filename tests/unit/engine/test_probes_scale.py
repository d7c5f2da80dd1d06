"""Top-k accuracy, perplexity and the logits' scale, against torch and numpy."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from trainables.engine.losses import SoftmaxCrossEntropy, StableMaxCrossEntropy
from trainables.engine.probes import Observation, Rows
from trainables.engine.probes_scale import LogitScale, Perplexity, TopAccuracy

MEMBERS, CLASSES = 2, 11


def rows(count: int, seed: int, loss=SoftmaxCrossEntropy()) -> tuple[torch.Tensor, torch.Tensor, Rows]:
    chance = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(MEMBERS, count, CLASSES, generator=chance)
    labels = torch.randint(CLASSES, (MEMBERS, count), generator=chance)
    return logits, labels, Rows(logits, labels, loss.row_losses(logits, labels, {}), loss)


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
    tied = Rows(logits, labels, loss.row_losses(logits, labels, {}), loss)
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
