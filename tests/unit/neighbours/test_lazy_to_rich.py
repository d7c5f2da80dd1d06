"""From lazy to rich: the recursion of the moments against a simulation of all weights, and against the kernel limit."""

import numpy as np
import pytest
import torch

from trainables.engine.trial import Seeds
from trainables.neighbours.lazy_to_rich import LazyToRich, outputs_KP

SMALL = {"train_rows": 30, "test_rows": 20, "features": 6, "neurons": 11}


def output(weights, z, alpha, epsilon):
    h = z @ weights.T
    return alpha * (h + epsilon / 2 * h.square()).mean(1)


def relative(residuals, targets):
    return residuals.square().mean() / targets.var(correction=0)


def test_the_moments_are_those_of_a_network_trained_by_autograd():
    trials = [
        LazyToRich(alpha=alpha, epsilon=epsilon, seeds=Seeds.all(seed), horizon_steps=80, **SMALL)
        for seed, alpha, epsilon in ((0, 0.5, 0.25), (1, 1.0, 0.5), (2, 4.0, 1.0))
    ]
    cohort = LazyToRich.build(trials)
    cohort.advance(80)
    measured = cohort.measure()
    for member, trial in enumerate(trials):
        rows, start = trial.rows(), trial.weights()
        weights = start.clone().requires_grad_()
        optimizer = torch.optim.SGD([weights], lr=0.5 * trial.neurons)
        for _ in range(80):
            optimizer.zero_grad()
            residuals = output(weights, rows["train_z_PD"], trial.alpha, trial.epsilon) - rows["train_y_P"]
            (residuals.square().mean() / trial.alpha**2).backward()
            optimizer.step()
        weights, beta = weights.detach(), rows["beta_D"]
        assert weights.isfinite().all()
        snapshot = cohort.snapshot(member)
        np.testing.assert_allclose(snapshot["mean_D"], weights.mean(0), rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(snapshot["moment_DD"], weights.T @ weights / 11, rtol=1e-8, atol=1e-12)
        for name in ("train", "test"):
            residuals = output(weights, rows[f"{name}_z_PD"], trial.alpha, trial.epsilon) - rows[f"{name}_y_P"]
            expected = relative(residuals, rows[f"{name}_y_P"]).item()
            assert measured[f"{name}_loss"][member] == pytest.approx(expected, rel=1e-7)
        distance = ((weights - start).norm() / start.norm()).item()
        assert distance > 0.05
        assert measured["weight_distance"][member] == pytest.approx(distance, rel=1e-7)
        alignment = ((weights @ beta).square().sum() / beta.square().sum() / weights.square().sum()).item()
        assert measured["alignment"][member] == pytest.approx(alignment, rel=1e-8)


def test_with_a_large_scale_the_residuals_follow_the_kernel():
    """Kernel regression: e <- (I - 2η K / P) e with the kernel of the start, where the targets are near f(0).

    A network that is not centred is not lazy by α alone, because f(0) grows with α; so the targets here are f(0) + y.
    """
    trial = LazyToRich(alpha=1e5, horizon_steps=40, **SMALL)
    rows = {name: value.unsqueeze(0) for name, value in trial.rows().items()}
    state = {name: value.unsqueeze(0) for name, value in trial.start().items()}
    hyper = {name: torch.tensor([getattr(trial, name)]).double() for name in ("alpha", "epsilon", "learning_rate")}
    z, weights = rows["train_z_PD"][0], trial.weights()
    slopes = 1 + trial.epsilon * z @ weights.T
    kernel = (slopes @ slopes.T / trial.neurons) * (z @ z.T)
    residuals = -rows["train_y_P"][0]
    rows["train_y_P"] = rows["train_y_P"] + outputs_KP(state, rows["train_z_PD"], hyper)
    for step in range(40):
        residuals = residuals - 2 * trial.learning_rate * kernel @ residuals / len(z)
        state = trial.moved(state, rows, hyper, torch.tensor(float(step)))
    ours = (outputs_KP(state, rows["train_z_PD"], hyper) - rows["train_y_P"])[0]
    torch.testing.assert_close(ours, residuals, rtol=1e-3, atol=1e-4)
    assert residuals.norm() < 0.7 * trial.rows()["train_y_P"].norm()


def test_beta_and_the_test_rows_do_not_depend_on_how_many_are_for_training():
    few, many = (LazyToRich(horizon_steps=9, **(SMALL | {"train_rows": rows})).rows() for rows in (10, 20))
    assert torch.equal(few["test_z_PD"], many["test_z_PD"])
    assert torch.equal(few["beta_D"], many["beta_D"])
    assert many["train_y_P"].shape == (20,)
    torch.testing.assert_close(few["test_y_P"], (few["test_z_PD"] @ few["beta_D"]).square())
    inputs = LazyToRich(horizon_steps=9).rows()["test_z_PD"]
    assert inputs.square().sum(1).mean().item() == pytest.approx(1.0, abs=0.02)


def test_a_linear_network_cannot_learn_the_feature():
    trial = LazyToRich(epsilon=0.0, horizon_steps=400, **SMALL)
    cohort = LazyToRich.build([trial])
    assert cohort.measure()["weight_distance"][0] < 1e-7
    cohort.advance(400)
    assert cohort.measure()["test_loss"][0] > 0.5
