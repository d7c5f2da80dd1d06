"""Matrix recovery: the packed step against autograd on whole matrices, and what the measurements are."""

import numpy as np
import pytest
import torch

from trainables.engine.config import ConfigError
from trainables.engine.trial import Seeds
from trainables.neighbours.matrix_recovery import MatrixRecovery, packed, places


def small(**changes) -> MatrixRecovery:
    return MatrixRecovery.example().replace(side=6, measurements=50, horizon_steps=400, **changes)


def matrices(trial: MatrixRecovery) -> torch.Tensor:
    """The symmetric A_i whole: shape (M, D, D)."""
    coefficients = trial.rows()["coefficients_MS"].clone()
    coefficients[:, trial.side :] /= 2
    return coefficients[:, places(trial.side, coefficients.device)]


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_a_step_is_the_sub_gradient_by_autograd_over_the_norm_of_q(loss):
    trials = [small(loss=loss, outlier_fraction=share, seeds=Seeds.all(seed)) for seed, share in ((3, 0.0), (4, 0.2))]
    cohort = trials[0].build(trials, "cpu")
    cohort.advance(5)
    for member, trial in enumerate(trials):
        factor = torch.tensor(cohort.snapshot(member)["factor"], requires_grad=True)
        sensing, answers = matrices(trial), trial.rows()["answers_M"]
        residuals = torch.einsum("mij,ij->m", sensing, factor @ factor.T) - answers
        value = residuals.abs().mean() if loss == "l1" else residuals.square().mean() / 2
        (gradient,) = torch.autograd.grad(value, factor)
        weights = residuals.sign() if loss == "l1" else residuals
        q = torch.einsum("m,mij->ij", weights, sensing).detach() / len(answers)
        following = trial.build([trial], "cpu")
        following.load_state_dict([cohort.state_dict(member)])
        np.testing.assert_allclose(following.measure()["train_loss"], [value.item()], rtol=1e-12)
        following.advance(1)
        expected = factor.detach() - 0.25 * 0.99**5 / q.norm() * gradient
        np.testing.assert_allclose(following.snapshot(0)["factor"], expected, rtol=1e-12, atol=1e-15)


def test_measurements_are_those_of_gaussian_matrices():
    """⟨A, X⟩ ~ N(0, ‖X‖²) for any symmetric X, on and off the diagonal; outliers are N(0, 10²) where they are."""
    trial = MatrixRecovery(side=12, measurements=20_000, outlier_fraction=0.1, horizon_steps=1)
    rows = trial.rows()
    off = torch.ones(12, 12, dtype=torch.float64)
    for symmetric in (torch.eye(12, dtype=torch.float64), off, off - torch.eye(12, dtype=torch.float64)):
        measured = rows["coefficients_MS"] @ packed(symmetric)
        assert measured.square().mean() == pytest.approx(symmetric.square().sum().item(), rel=0.05)
    errors = rows["answers_M"] - rows["coefficients_MS"] @ packed(rows["target_DD"])
    wrong = errors.abs() > 1e-9
    assert wrong.sum() == 2000
    assert errors[wrong].std() == pytest.approx(10, rel=0.05)
    target = rows["target_DD"]
    torch.testing.assert_close(target @ target, target)
    assert target.trace() == pytest.approx(3)


def test_outliers_are_ignored_by_l1_and_not_by_l2():
    """The recovery itself, at a size of milliseconds: d = 8, r = 1, r' = 8."""
    base = MatrixRecovery(
        side=8, true_rank=1, columns_of_factor=8, measurements=200, init_scale=1e-4, horizon_steps=1500
    )
    errors = {}
    for loss, share in (("l1", 0.0), ("l1", 0.1), ("l2", 0.0), ("l2", 0.1)):
        trial = base.replace(loss=loss, outlier_fraction=share)
        cohort = trial.build([trial], "cpu")
        assert cohort.measure()["relative_error"] == pytest.approx(1)
        cohort.advance(1500)
        measured = cohort.measure()
        errors[loss, share] = measured["relative_error"].item()
        assert measured["outside_error"] <= measured["relative_error"]
    assert max(errors["l1", 0.0], errors["l1", 0.1], errors["l2", 0.0]) < 1e-2
    assert errors["l2", 0.1] > 10 * errors["l1", 0.1]


def test_from_zero_it_never_moves():
    trial = small()
    cohort = trial.build([trial], "cpu")
    state = cohort.state_dict(0)
    state["state"]["factor"] = torch.zeros_like(state["state"]["factor"])
    cohort.load_state_dict([state])
    cohort.advance(3)
    assert not cohort.snapshot(0)["factor"].any()


def test_dtype_and_what_is_refused():
    trial = small(dtype="float32")
    cohort = trial.build([trial], "cpu")
    cohort.advance(3)
    assert cohort.snapshot(0)["factor"].dtype == np.float32
    with pytest.raises(ConfigError, match="true_rank = 7: must be at most side, 6"):
        small(true_rank=7)
