"""Projected guidance: the update against the paper's equations sample by sample, denoisers against the density."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from trainables.engine.trial import Seeds
from trainables.neighbours.projected_guidance import CLASSES, HIGHEST, ProjectedGuidance, means, noise_levels

EXACT = ProjectedGuidance(
    dimension=5, denoiser="exact", samples=24, sampler_steps=9, horizon_steps=9, seeds=Seeds.all(3)
)
SMALL = {"dimension": 2, "samples": 40, "width": 48, "training_steps": 1000, "horizon_steps": 1}


def stacked(trial: ProjectedGuidance) -> dict[str, torch.Tensor]:
    return {name: value.unsqueeze(0) for name, value in trial.rows().items()}


def by_the_equations(trial: ProjectedGuidance, steps: int) -> np.ndarray:
    """The samples after some steps; D_c and D_u are the trial's own, the rest is written out for each sample."""
    rows, levels = stacked(trial), noise_levels(trial.sampler_steps, torch.device("cpu"))
    samples = trial.start()["samples"].numpy()
    limit = trial.norm_limit * rows["median_gap"].item() if trial.norm_limit else math.inf
    previous = np.zeros_like(samples)
    for step in range(steps):
        predictions = trial.denoised(torch.from_numpy(samples).unsqueeze(0), levels[step], rows)
        conditional, unconditional = (each[0].numpy() for each in predictions)
        moved = np.empty_like(samples)
        for place, (predicted, plain) in enumerate(zip(conditional, unconditional, strict=True)):
            gap = predicted - plain + trial.momentum * previous[place]
            previous[place] = gap
            gap = gap * min(1, limit / np.linalg.norm(gap))
            unit = predicted / np.linalg.norm(predicted)
            parallel = np.dot(gap, unit) * unit
            guided = predicted + (trial.scale - 1) * (gap - parallel + trial.parallel_share * parallel)
            slope = (samples[place] - guided) / levels[step].item()
            moved[place] = samples[place] + (levels[step + 1] - levels[step]).item() * slope
        samples = moved
    return samples


@pytest.mark.parametrize("denoiser", ["exact", "trained"])
def test_the_samples_are_those_of_the_equations(denoiser):
    base = EXACT.replace(denoiser=denoiser, width=8, training_steps=4)
    trials = [
        base.replace(scale=7.0, parallel_share=0.3, norm_limit=0.6, momentum=-0.5),
        base.replace(scale=3.0, parallel_share=0.0, momentum=-0.75),
        base.replace(scale=3.0, norm_limit=1.0, seeds=Seeds.all(8)),
    ]
    cohort = base.build(trials, "cpu")
    for steps in (4, 9):
        cohort.advance(steps - cohort.step)
        for member, trial in enumerate(trials):
            expected = by_the_equations(trial, steps)
            np.testing.assert_allclose(cohort.snapshot(member)["samples"], expected, rtol=1e-9, atol=1e-9)
    before = cohort.snapshot(0)
    cohort.advance(3)
    np.testing.assert_array_equal(cohort.snapshot(0)["samples"], before["samples"])  # the sampler is at its end


@pytest.mark.parametrize("denoiser", ["exact", "trained"])
def test_where_it_is_classifier_free_guidance(denoiser):
    base = EXACT.replace(denoiser=denoiser, width=8, training_steps=4)
    full = base.replace(parallel_share=0.0, norm_limit=0.5, momentum=-0.5)
    cohort = base.build([base, base.replace(scale=12.0), full, full.replace(scale=12.0)], "cpu")
    cohort.advance(9)
    gaps = cohort.measure()["gap_to_cfg"]
    assert (gaps[:3] < 1e-12).all()
    assert gaps[3] > 1e-2
    np.testing.assert_allclose(cohort.snapshot(2)["samples"], cohort.snapshot(0)["samples"], atol=1e-12)


@pytest.mark.parametrize("level", [0.3, 1.0, 7.0])
def test_the_exact_denoiser_is_the_gradient_of_the_density(level):
    """Tweedie: the mean of the data behind x is x + σ² ∇ log p_σ(x)."""
    rows = stacked(EXACT)
    noisy = (rows["data_ND"] + level * torch.randn(1, 24, 5, generator=torch.Generator().manual_seed(0))).double()
    variance = (1 + level**2) * torch.eye(5, dtype=torch.float64)
    clusters = MultivariateNormal(means(EXACT), variance)
    mixture = MixtureSameFamily(Categorical(torch.ones(CLASSES, dtype=torch.float64)), clusters)
    point = noisy[0].clone().requires_grad_()
    (score,) = torch.autograd.grad(mixture.log_prob(point).sum(), point)
    own = MultivariateNormal(rows["class_NC"][0] @ means(EXACT), variance)
    (own_score,) = torch.autograd.grad(own.log_prob(point).sum(), point)
    conditional, unconditional = EXACT.denoised(noisy, torch.tensor(level, dtype=torch.float64), rows)
    torch.testing.assert_close(unconditional[0], noisy[0] + level**2 * score)
    torch.testing.assert_close(conditional[0], noisy[0] + level**2 * own_score)


def test_without_guidance_the_samples_follow_the_flow_of_their_gaussian():
    """x - m shrinks by (1 + σ²)^(-1/2), as dx/dσ = (x - D) / σ has it; the error of the steps falls as their length."""
    errors = []
    for steps in (200, 400):
        trial = EXACT.replace(sampler_steps=steps)
        cohort = trial.build([trial], "cpu")
        cohort.advance(steps)
        centres = trial.rows()["class_NC"] @ means(trial)
        expected = centres + (trial.start()["samples"] - centres) / math.sqrt(1 + HIGHEST**2)
        errors.append(np.abs(cohort.snapshot(0)["samples"] - expected.numpy()).max())
    assert errors[1] < 0.03
    assert errors[1] == pytest.approx(errors[0] / 2, rel=0.1)


def test_precision_and_recall_by_a_tree_of_neighbours():
    trial = EXACT.replace(samples=200, scale=4.0)
    cohort = trial.build([trial], "cpu")
    cohort.advance(9)
    samples, data = cohort.snapshot(0)["samples"], trial.rows()["data_ND"].numpy()
    expected = []
    for points, others in ((samples, data), (data, samples)):
        reach = KDTree(others).query(others, k=4)[0][:, 3]  # the first is the point itself
        expected.append(np.mean([(np.linalg.norm(others - point, axis=1) <= reach).any() for point in points]))
    measured = cohort.measure()
    assert [measured["precision"].item(), measured["recall"].item()] == pytest.approx(expected)
    assert 0.02 < min(expected) < max(expected) < 0.98
    ratio = np.linalg.norm(samples, axis=1).mean() / np.linalg.norm(data, axis=1).mean()
    assert measured["radius_ratio"] == pytest.approx(ratio)


def test_training_leads_to_the_exact_denoiser_with_and_without_the_class():
    trial = ProjectedGuidance(**SMALL)
    rows = stacked(trial)
    for level, bound in ((1.0, 0.55), (2.0, 0.3)):  # untrained: at least .64 and .34
        noise = torch.randn(1, 40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        noisy, sigma = rows["data_ND"] + level * noise, torch.tensor(level, dtype=torch.float64)
        exact = trial.replace(denoiser="exact").denoised(noisy, sigma, rows)
        size = (exact[0] - exact[1]).norm()
        for ours, best in zip(trial.denoised(noisy, sigma, rows), exact, strict=True):
            assert (ours - best).norm() < bound * size
    assert ProjectedGuidance(**SMALL).rows()["matrix_0"] is trial.rows()["matrix_0"]  # trained once
    assert trial.replace(scale=9.0, momentum=-0.5).rows()["matrix_0"] is trial.rows()["matrix_0"]


def test_means_are_centred_and_of_one_size():
    for dimension in (2, 32):
        centres = means(EXACT.replace(dimension=dimension))
        torch.testing.assert_close(centres.sum(0), torch.zeros(dimension, dtype=torch.float64), atol=1e-12, rtol=0)
        assert centres.square().sum(1).mean() == pytest.approx(16)
