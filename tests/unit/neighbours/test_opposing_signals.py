"""Opposing signals: the closed forms against autograd on the rows, the steps against torch's optimizers."""

import numpy as np
import pytest
import torch

from trainables import Muon
from trainables.engine.config import ConfigError
from trainables.engine.optimizers import SGD, Adam
from trainables.engine.trial import Seeds
from trainables.neighbours.opposing_signals import OpposingSignals, gradient_KT, hessian_KTT, losses_KG


def loss_of(weights, features, targets):
    return (weights[0] * (features @ weights[1:]) - targets).square().mean() / 2


def with_cohort(tensors):
    return {name: value.unsqueeze(0) for name, value in tensors.items()}


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # by torch.func's own imports
def test_losses_gradient_and_hessian_are_those_of_autograd():
    trial = OpposingSignals(horizon_steps=9, seeds=Seeds.all(3))
    features, targets = trial.data()
    weights = torch.linspace(-1.5, 2.0, 22, dtype=torch.float64)
    rows = with_cohort(trial.rows())
    groups = [loss_of(weights, features[part], targets[part]) for part in (slice(20), slice(20, 40), slice(40, None))]
    torch.testing.assert_close(losses_KG(weights.unsqueeze(0), rows)[0], torch.stack(groups))
    by_autograd = torch.func.grad(loss_of)(weights, features, targets)
    torch.testing.assert_close(gradient_KT(weights.unsqueeze(0), rows)[0], by_autograd)
    by_autograd = torch.func.hessian(loss_of)(weights, features, targets)
    torch.testing.assert_close(hessian_KTT(weights.unsqueeze(0), rows)[0], by_autograd)


def test_the_data_are_the_papers():
    features, targets = OpposingSignals(horizon_steps=9, alpha=100.0).data()
    plain, without = OpposingSignals(horizon_steps=9, alpha=0.0).data()
    assert torch.equal(features[:, :-1], plain[:, :-1])
    assert features[:, -1].tolist() == [10.0] * 20 + [-10.0] * 20 + [0.0] * 960
    torch.testing.assert_close(targets - without, features[:, -1].abs())
    assert plain[:, -1].abs().max() == 0
    beta = torch.linalg.lstsq(plain[:, :-1], without.unsqueeze(1)).solution
    torch.testing.assert_close(beta.norm().item(), 3.0)


@pytest.mark.parametrize(
    ("ours", "judge"),
    [(SGD(learning_rate=0.1), torch.optim.SGD), (Adam(learning_rate=0.01), torch.optim.Adam)],
    ids=["GD", "Adam"],
)
def test_a_run_is_torchs(ours, judge):
    trials = [OpposingSignals(horizon_steps=60, alpha=200.0, optimizer=ours, seeds=Seeds.all(seed)) for seed in (2, 6)]
    cohort = OpposingSignals.build(trials)
    cohort.advance(60)
    for member, trial in enumerate(trials):
        features, targets = trial.data()
        weights = trial.start()["weights"].clone().requires_grad_()
        optimizer = judge([weights], lr=ours.learning_rate)
        losses = []
        for _ in range(60):
            optimizer.zero_grad()
            loss_of(weights, features, targets).backward()
            losses.append(loss_of(weights, features, targets).item())
            optimizer.step()
        losses.append(loss_of(weights, features, targets).item())
        np.testing.assert_allclose(cohort.snapshot(member)["weights"], weights.detach().numpy(), rtol=1e-7, atol=1e-9)
        measured = {name: values[member] for name, values in cohort.measure().items()}
        rises = np.diff(losses)
        spikes = np.sum(np.array(losses[1:]) > 1.02 * np.array(losses[:-1]))
        assert measured["spikes"] == spikes
        assert (spikes > 0) == (judge is torch.optim.SGD)
        np.testing.assert_allclose(measured["loss_rises"], rises[rises > 0].sum(), rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(measured["train_loss"], losses[-1], rtol=1e-7)


def test_by_gradient_flow_the_sharpness_becomes_linear_in_the_signal():
    """2pα‖β‖ by the theory; so small a step is close to the flow."""
    trials = [
        OpposingSignals(alpha=alpha, beta_norm=beta_norm, optimizer=SGD(learning_rate=0.01), horizon_steps=1500)
        for alpha in (100.0, 200.0)
        for beta_norm in (2.0, 3.0)
    ]
    cohort = OpposingSignals.build(trials)
    cohort.advance(1500)
    theory = [2 * 0.02 * trial.alpha * trial.beta_norm for trial in trials]
    np.testing.assert_allclose(cohort.measure()["sharpness"], theory, rtol=0.06)


def test_the_theorys_hessian_at_the_balanced_solution():
    """c² = ‖b‖ = ‖β‖ (b along β), b_o = 0: along b_o it is 2pα‖β‖."""
    trial = OpposingSignals(horizon_steps=9, alpha=100.0)
    weights = torch.zeros(1, 22, dtype=torch.float64)
    weights[0, 0] = 3.0**0.5
    assert hessian_KTT(weights, with_cohort(trial.rows()))[0, 21, 21].item() == pytest.approx(12.0)


def test_a_run_that_diverges_is_measured_and_told():
    trial = OpposingSignals(alpha=200.0, optimizer=SGD(learning_rate=0.2), horizon_steps=100)
    cohort = OpposingSignals.build([trial])
    while cohort.finite().all():
        measured = cohort.measure()
        assert measured["train_loss"] >= 0
        cohort.advance(1)
    assert cohort.step < 40
    assert measured["spikes"] > 0
    cohort.measure()


def test_settings_that_leave_a_group_empty_and_optimizers_that_need_shapes():
    with pytest.raises(ValueError, match=r"group_fraction = 0\.0001: must leave each group"):
        OpposingSignals(horizon_steps=9, group_fraction=1e-4)
    with pytest.raises(ConfigError, match="Muon: must be one that works entry by entry"):
        OpposingSignals(horizon_steps=9, optimizer=Muon())
