"""XOR clusters: the run in the span against the run in p dimensions by autograd, and what the rows are."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trainables.engine.config import ConfigError
from trainables.engine.trial import Seeds
from trainables.neighbours.xor_clusters import CENTRES, MEANS, XORClusters, spanning

WIDE = XORClusters(dimension=3000, train_rows=60, width=30, mean_norm=12.0, init_std=1e-3, horizon_steps=20)


def in_p_dimensions(trial: XORClusters) -> tuple[torch.Tensor, torch.Tensor]:
    """First weights and training rows as the paper has them."""
    vectors = spanning(trial.seeds, trial.width, trial.train_rows, trial.dimension)
    means, first, noise = vectors.split([MEANS, trial.width, trial.train_rows])
    centres, _ = trial._clusters(trial.train_rows, 0)
    return trial.init_std * first, centres @ means + noise


def trained(trial: XORClusters, steps: int) -> torch.Tensor:
    """The weights after some steps of gradient descent by autograd, in p dimensions."""
    weights, features = in_p_dimensions(trial)
    rows = trial.rows()
    for _ in range(steps):
        weights.requires_grad_()
        outputs = torch.relu(features @ weights.T) @ rows["readout_M"]
        loss = torch.log1p(torch.exp(-rows["label_N"] * outputs)).mean()
        (gradient,) = torch.autograd.grad(loss, weights)
        weights = (weights - trial.learning_rate * gradient).detach()
    return weights


def test_the_run_in_the_span_is_the_run_in_p_dimensions():
    trials = [WIDE, WIDE.replace(mean_norm=5.0, init_std=0.1, learning_rate=0.5, seeds=Seeds.all(7))]
    cohort = WIDE.build(trials, "cpu")
    cohort.advance(6)
    measured = cohort.measure()
    for member, trial in enumerate(trials):
        weights, (_, features) = trained(trial, 6), in_p_dimensions(trial)
        rows, inside = trial.rows(), torch.from_numpy(cohort.snapshot(member)["weights"])
        torch.testing.assert_close(inside @ rows["train_NS"].T, weights @ features.T, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(inside @ inside.T, weights @ weights.T, rtol=1e-9, atol=1e-9)
        margins = rows["label_N"] * (torch.relu(features @ weights.T) @ rows["readout_M"])
        assert measured["train_loss"][member] == pytest.approx(F.softplus(-margins).mean().item())
        assert measured["train_accuracy"][member] == (margins > 0).double().mean()
        flipped = rows["flipped_N"]
        assert measured["flipped_accuracy"][member] == pytest.approx((margins[flipped] > 0).double().mean().item())
        cosines = F.cosine_similarity(weights.unsqueeze(1), torch.eye(2, trial.dimension).double(), dim=2).abs()
        assert measured["alignment"][member] == pytest.approx(cosines.amax(1).mean().item())


def test_test_accuracy_is_that_of_fresh_rows_in_p_dimensions():
    trial = WIDE.replace(mean_norm=9.0, test_rows=20_000)
    cohort = trial.build([trial], "cpu")
    cohort.advance(3)
    weights, generator = trained(trial, 3), torch.Generator().manual_seed(0)
    drawn = torch.tensor(CENTRES)[torch.randint(4, (5000,), generator=generator)]
    fresh = torch.randn(5000, trial.dimension, generator=generator)
    fresh[:, :MEANS] += trial.mean_norm * drawn[:, :MEANS]
    outputs = torch.relu(fresh.double() @ weights.T) @ trial.rows()["readout_M"]
    right = (outputs * drawn[:, MEANS] > 0).double().mean().item()
    assert 0.55 < right < 0.95  # neither chance nor certain
    assert cohort.measure()["test_accuracy"] == pytest.approx(right, abs=4 * 0.5 * (1 / 5000 + 1 / 20_000) ** 0.5)


def test_clusters_and_flips():
    trial = WIDE.replace(train_rows=1000, dimension=2000, width=10, flip_probability=0.1)
    rows = trial.rows()
    assert rows["flipped_N"].double().mean() == pytest.approx(0.1, abs=0.04)
    centres, clean = trial._clusters(1000, 0)
    np.testing.assert_array_equal(rows["label_N"], torch.where(rows["flipped_N"], -clean, clean))
    np.testing.assert_array_equal(centres.norm(dim=1), np.full(1000, 12.0))
    assert ((centres[:, 0] != 0) == (clean > 0)).all()
    counts = np.unique(centres.numpy(), axis=0, return_counts=True)[1]
    assert len(counts) == 4
    assert counts.min() > 200
    # The noise inside the span is that of the rows: squared lengths of about p.
    noise = rows["train_NS"] - F.pad(centres, (0, rows["train_NS"].shape[1] - MEANS))
    assert noise.square().sum(1).mean() == pytest.approx(2000, rel=0.02)


def test_fewer_dimensions_than_the_span_are_refused():
    with pytest.raises(ConfigError, match="dimension = 91: must be at least 92"):
        WIDE.replace(dimension=91)
