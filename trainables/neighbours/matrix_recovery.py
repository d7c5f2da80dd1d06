"""Recovery of a low-rank matrix by sub-gradients, from far too many columns (Ma and Fattahi 2022, arXiv:2202.08788).

A projector X* of rank r is measured by m Gaussian matrices, and some measurements are grossly wrong:

    y_i = ⟨A_i, X*⟩ + s_i,  A_i with entries N(0, 1),  s_i ~ N(0, 10²) in a fraction of the rows, else 0

A factor U with r' columns, of which only r are needed, starts small, U₀ = ε B with entries of B ~ N(0, 1/d), and moves
by sub-gradients of ‖y - A(UUᵀ)‖₁ / m with steps whose length falls geometrically:

    Q = (1/m) Σ_i sign(⟨A_i, UUᵀ⟩ - y_i) A_i,   U ← U - η_t 2QU,   η_t = η_0 ρᵗ / ‖Q‖_F

The size ε of the start plays the part that a norm penalty would: it bounds what the surplus columns leak into.  For the
ℓ2 loss, ‖y - A(UUᵀ)‖² / (2m), Q has the residuals themselves in place of their signs.

UUᵀ is symmetric, so A_i enters by its symmetric part alone, and with these parts in Q, 2QU is a sub-gradient.  Of
each A_i its d(d+1)/2 coefficients are drawn and stored: N(0, 1) on the diagonal, N(0, 2) for each pair of entries.

Origin of the settings: the model, a small start, the sub-gradient with geometrically falling steps divided by ‖Q‖ are
the paper's [R]; d = 40, r = 3, m = 720, X* a projector, outliers N(0, 10²), η_0 = .25, ρ = .99 and 1600 steps are ours
[G], as is the symmetric Q in the norm, and the same steps for the ℓ2 loss.

Shape suffixes: K cohort, M measurements, D the matrix's side, R columns of U, S coefficients of a symmetric matrix.
"""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from trainables.engine.config import ConfigError, option
from trainables.engine.events import EventRule, PhaseRule, falls_to
from trainables.engine.gradients import Tensors, per_member
from trainables.engine.iteration import ONE, IterationTrial
from trainables.engine.randomness import (
    FACTOR_STREAM,
    OUTLIERS_STREAM,
    SENSING_STREAM,
    TARGET_STREAM,
    normal_matrix,
    permutation,
)

OUTLIER_STD = 10.0


@dataclass(frozen=True, kw_only=True)
class MatrixRecovery(IterationTrial):
    """A factor of too many columns that recovers a low-rank matrix from measurements with outliers."""

    measured: ClassVar[tuple[str, ...]] = ("train_loss", "relative_error", "outside_error")
    """The loss; ‖UUᵀ - X*‖_F / ‖X*‖_F; and of this the part with rows and columns outside the range of X*."""
    largest_cohort: ClassVar[int | None] = 10
    """A member's measurements are 4.7 MB, read twice a step."""

    side: int = option(40, at_least=2, example=5)
    """d."""
    true_rank: int = option(3, at_least=1, example=2)
    """r."""
    columns_of_factor: int = option(40, at_least=1, example=4)
    """r'."""
    measurements: int = option(720, at_least=1, example=30)
    """m."""
    outlier_fraction: float = option(0.0, at_least=0.0, at_most=1.0, per_trial=True)
    init_scale: float = option(1e-3, above=0.0, per_trial=True)
    """ε."""
    step_size: float = option(0.25, above=0.0, per_trial=True)
    """η_0: how long the first step is, relative to ‖Q‖_F."""
    step_decay: float = option(0.99, above=0.0, at_most=1.0, per_trial=True)
    """ρ."""
    loss: str = option("l1", choices=("l1", "l2"))
    dtype: str = option("float64", choices=("float32", "float64"))
    events: tuple[EventRule, ...] = option(
        (
            falls_to("relative_error", 1e-2, name="t_near"),
            falls_to("relative_error", 1e-4, name="t_exact"),
        ),
        protocol=True,
    )
    phases: tuple[PhaseRule, ...] = option(
        (
            PhaseRule(name="error below 1e-4", happened=("t_exact",), colour="#005b8e"),
            PhaseRule(name="error below 1e-2", happened=("t_near",), not_happened=("t_exact",), colour="#56b4e9"),
            PhaseRule(name="not recovered", not_happened=("t_near", "t_exact"), colour="#b3b3b3"),
        ),
        protocol=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.true_rank > self.side:
            raise ConfigError(f"MatrixRecovery.true_rank = {self.true_rank}: must be at most side, {self.side}")

    def rows(self) -> ONE:
        coefficients_MS = normal_matrix(
            self.seeds.split, SENSING_STREAM, self.measurements, self.side * (self.side + 1) // 2
        )
        coefficients_MS[:, self.side :] *= 2**0.5  # of the pairs, which follow the diagonal
        basis_DR, _ = torch.linalg.qr(normal_matrix(self.seeds.split, TARGET_STREAM, self.side, self.true_rank))
        target_DD = basis_DR @ basis_DR.T
        wrong = permutation(self.seeds.split, OUTLIERS_STREAM, self.measurements)
        wrong = wrong[: round(self.outlier_fraction * self.measurements)]
        errors_M = OUTLIER_STD * normal_matrix(
            self.seeds.split, OUTLIERS_STREAM, self.measurements, 1, block=1
        ).squeeze(1)
        answers_M = coefficients_MS @ packed(target_DD)
        answers_M[wrong] += errors_M[wrong]
        rows = {"coefficients_MS": coefficients_MS, "answers_M": answers_M, "target_DD": target_DD}
        return {name: value.to(self._torch_dtype) for name, value in rows.items()}

    def start(self) -> ONE:
        factor_DR = normal_matrix(self.seeds.init, FACTOR_STREAM, self.side, self.columns_of_factor) / self.side**0.5
        return {"factor": (self.init_scale * factor_DR).to(self._torch_dtype)}

    def moved(self, state: Tensors, rows: Tensors, hyper: Tensors, step: Tensor) -> Tensors:
        factor_KDR = state["factor"]
        residuals_KM = residuals(factor_KDR, rows)
        weights_KM = (residuals_KM.sign() if self.loss == "l1" else residuals_KM) / self.measurements
        sums_KS = torch.bmm(weights_KM.unsqueeze(1), rows["coefficients_MS"]).squeeze(1)
        sums_KS[:, self.side :] /= 2  # each pair's coefficient is that of two entries
        q_KDD = sums_KS[:, places(self.side, sums_KS.device)]
        # Q is 0 only where every residual is: then the factor stays.
        norm_K = q_KDD.flatten(1).norm(dim=1).clamp(min=torch.finfo(q_KDD.dtype).tiny)
        step_K = (hyper["step_size"] * hyper["step_decay"] ** step).to(q_KDD.dtype) / norm_K
        return {"factor": factor_KDR - per_member(step_K, factor_KDR) * 2 * (q_KDD @ factor_KDR)}

    def observe(self, state: Tensors, rows: Tensors, hyper: Tensors) -> Tensors:
        residuals_KM = residuals(state["factor"], rows)
        target_KDD = rows["target_DD"]
        error_KDD = state["factor"] @ state["factor"].mT - target_KDD
        outside_KDD = torch.eye(self.side, dtype=error_KDD.dtype, device=error_KDD.device) - target_KDD
        outside_error_KDD = outside_KDD @ error_KDD @ outside_KDD
        size_K = target_KDD.flatten(1).norm(dim=1)
        losses_KM = residuals_KM.abs() if self.loss == "l1" else residuals_KM.square() / 2
        return {
            "train_loss": losses_KM.mean(1),
            "relative_error": error_KDD.flatten(1).norm(dim=1) / size_K,
            "outside_error": outside_error_KDD.flatten(1).norm(dim=1) / size_K,
        }

    def flops_per_step(self) -> float:
        coefficients = self.side * (self.side + 1) / 2
        return 4.0 * self.measurements * coefficients + 4.0 * self.side**2 * self.columns_of_factor

    @property
    def _torch_dtype(self) -> torch.dtype:
        return torch.float32 if self.dtype == "float32" else torch.float64


@cache
def entries(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return row and column of each stored entry of a symmetric matrix: the diagonal, then the upper triangle."""
    diagonal = torch.arange(side, device=device).expand(2, side)
    rows, columns = torch.cat([diagonal, torch.triu_indices(side, side, offset=1, device=device)], dim=1)
    return rows, columns


@cache
def places(side: int, device: torch.device) -> Tensor:
    """Return which stored entry each entry of a symmetric matrix is: shape (D, D), int64."""
    rows, columns = entries(side, device)
    found = torch.empty((side, side), dtype=torch.int64, device=device)
    found[rows, columns] = found[columns, rows] = torch.arange(len(rows), device=device)
    return found


def packed(symmetric: Tensor) -> Tensor:
    """Return the stored entries of symmetric matrices: shape (..., D, D) to (..., S)."""
    rows, columns = entries(symmetric.shape[-1], symmetric.device)
    return symmetric[..., rows, columns]


def residuals(factor_KDR: Tensor, rows: Tensors) -> Tensor:
    """Return ⟨A_i, UUᵀ⟩ - y_i: shape (K, M)."""
    product_KS = packed(factor_KDR @ factor_KDR.mT)
    return torch.bmm(rows["coefficients_MS"], product_KS.unsqueeze(2)).squeeze(2) - rows["answers_M"]
