"""Grokking as the transition from lazy to rich dynamics (Kumar et al. 2024, arXiv:2310.06110): their polynomial task.

A two-layer network with a quadratic activation and fixed readouts learns a quadratic target.  A large output scale α
makes training lazy: the weights hardly move while a kernel fits the training rows; the feature β is learnt later.

    x ~ N(0, I_D),  z = x / √D,  β ~ N(0, I_D),  y = (β·z)²
    f(z) = α/N Σ_i (h_i + ε/2 h_i²),  h = W z,  W ~ N(0, 1) of shape (N, D), not centred (f is not 0 at the start)
    loss = mean (f - y)² / α²,  full batches, learning rate ηN with η = .5, no regularisation, float64

f depends on W through m = mean_i W_i and M = WᵀW / N only, and so does a step.  With the residuals e = f - y of the P
training rows Z and g = 2η / (αP) every neuron moves by the same affine map,

    W_i <- B W_i - u,  u = g Zᵀe,  B = I - ε g Zᵀ diag(e) Z,
    m <- B m - u,  M <- B M B - (B m) uᵀ - u (B m)ᵀ + u uᵀ,  C <- C B - m(0) uᵀ

where C = W(0)ᵀW / N gives the distance from the start.  So the cost does not depend on N.

Origin of the settings: D = 100, N = 500, P = 550, ε = .25, η = .5, the loss and 1000 test rows are those of the sweeps
of the released code [C]; the paper's introduction has another convention (y = (β·z)² / 2, ε = .02, loss undivided,
learning rate N / α²), which is not used here.  That train and test count as fitted below a tenth of the target's
variance is ours [G], and so is the alignment, the share βᵀMβ / (‖β‖² tr M) of the weights' power along β.

Shape suffixes: K cohort, P rows, D features.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trainables.engine.config import option
from trainables.engine.events import EventRule, PhaseRule, falls_to
from trainables.engine.gradients import Tensors, per_member
from trainables.engine.iteration import ONE, IterationTrial
from trainables.engine.randomness import (
    LAZY_TO_RICH_START_STREAM,
    LAZY_TO_RICH_STREAM,
    random_bits,
    standard_normal,
)

FITTED = 0.1
"""Of the target's variance."""


@dataclass(frozen=True, kw_only=True)
class LazyToRich(IterationTrial):
    """The polynomial network by vanilla gradient descent, exactly, through the first two moments of its weights."""

    measured: ClassVar[tuple[str, ...]] = ("train_loss", "test_loss", "alignment", "weight_distance")
    """Mean squared errors over the variance of the same rows' targets; the share of the weights' power along β; the
    distance of the weights from their start over the norm of the start."""
    autonomous: ClassVar[bool] = True

    alpha: float = option(1.0, above=0.0, per_trial=True)
    """The output scale: large is lazy."""
    epsilon: float = option(0.25, at_least=0.0, per_trial=True)
    """The size of the quadratic part, without which β cannot be learnt."""
    learning_rate: float = option(0.5, above=0.0, per_trial=True)
    """η, the learning rate over N."""
    train_rows: int = option(550, at_least=2, example=12)
    test_rows: int = option(1000, at_least=2, example=9)
    features: int = option(100, at_least=1, example=4)
    neurons: int = option(500, at_least=1, example=6)
    events: tuple[EventRule, ...] = option(
        (falls_to("train_loss", FITTED, name="t_train"), falls_to("test_loss", FITTED, name="t_test")), protocol=True
    )
    phases: tuple[PhaseRule, ...] = option(
        (
            PhaseRule(name="comprehension", happened=("t_train", "t_test"), prompt=("t_train", "t_test"),
                      colour="#005b8e"),
            PhaseRule(name="grokking", happened=("t_train", "t_test"), delayed=("t_train", "t_test"), colour="#56b4e9"),
            PhaseRule(name="test only", happened=("t_test",), not_happened=("t_train",), colour="#cc79a7"),
            PhaseRule(name="memorization", happened=("t_train",), not_happened=("t_test",), colour="#e69f00"),
            PhaseRule(name="confusion", not_happened=("t_train", "t_test"), colour="#b3b3b3"),
        ),
        protocol=True,
    )  # fmt: skip

    def rows(self) -> ONE:
        """Return β, the inputs z and targets of both splits, and the mean and the power of W at the start."""
        # Each has a block of its own, so that β and the test rows do not depend on how many are for training.
        beta, test, train = (
            self._normal(LAZY_TO_RICH_STREAM, self.seeds.split, count, block)
            for block, count in enumerate((1, self.test_rows, self.train_rows))
        )
        rows = {"beta_D": beta[0]}
        for name, x in (("train", train), ("test", test)):
            z = x / self.features**0.5
            rows |= {f"{name}_z_PD": z, f"{name}_y_P": (z @ beta[0]).square()}
        weights = self.weights()
        return rows | {"start_mean_D": weights.mean(0), "start_power": weights.square().sum() / self.neurons}

    def weights(self) -> Tensor:
        """Return W at the start: shape (N, D)."""
        return self._normal(LAZY_TO_RICH_START_STREAM, self.seeds.init, self.neurons)

    def _normal(self, stream: int, seed: int, count: int, block: int = 0) -> Tensor:
        """Return standard normal values: shape (count, D)."""
        bits = random_bits(seed, stream, 2 * count * self.features, block)
        return torch.from_numpy(standard_normal(bits)).reshape(count, self.features)

    def start(self) -> ONE:
        weights = self.weights()
        moment = weights.T @ weights / self.neurons
        return {"mean_D": weights.mean(0), "moment_DD": moment, "overlap_DD": moment}

    def moved(self, state: Tensors, rows: Tensors, hyper: Tensors, step: Tensor) -> Tensors:
        z_KPD, mean_KD, moment_KDD = rows["train_z_PD"], state["mean_D"], state["moment_DD"]
        residuals_KP = outputs_KP(state, z_KPD, hyper) - rows["train_y_P"]
        scaled_KP = (2 * hyper["learning_rate"] / hyper["alpha"] / z_KPD.shape[1]).unsqueeze(1) * residuals_KP
        u_KD = torch.einsum("kp,kpd->kd", scaled_KP, z_KPD)
        quadratic_KDD = z_KPD.mT @ (scaled_KP.unsqueeze(2) * z_KPD)
        identity = torch.eye(z_KPD.shape[2], dtype=z_KPD.dtype, device=z_KPD.device)
        B_KDD = identity - per_member(hyper["epsilon"], quadratic_KDD) * quadratic_KDD
        Bm_KD = torch.einsum("kde,ke->kd", B_KDD, mean_KD)
        # (B m) uᵀ + u (B m)ᵀ - u uᵀ = p uᵀ + u pᵀ with p = B m - u / 2.
        cross_KDD = (Bm_KD - u_KD / 2).unsqueeze(2) * u_KD.unsqueeze(1)
        return {
            "mean_D": Bm_KD - u_KD,
            "moment_DD": B_KDD @ moment_KDD @ B_KDD - cross_KDD - cross_KDD.mT,
            "overlap_DD": state["overlap_DD"] @ B_KDD - rows["start_mean_D"].unsqueeze(2) * u_KD.unsqueeze(1),
        }

    def observe(self, state: Tensors, rows: Tensors, hyper: Tensors) -> Tensors:
        losses = {}
        for name in ("train", "test"):
            residuals_KP = outputs_KP(state, rows[f"{name}_z_PD"], hyper) - rows[f"{name}_y_P"]
            variance_K = rows[f"{name}_y_P"].var(1, correction=0)
            losses[f"{name}_loss"] = residuals_KP.square().mean(1) / variance_K
        power_K, overlap_K = (_trace_K(state[name]) for name in ("moment_DD", "overlap_DD"))
        along_K = torch.einsum("kd,kde,ke->k", rows["beta_D"], state["moment_DD"], rows["beta_D"])
        distance_K = (power_K - 2 * overlap_K + rows["start_power"]).clamp(min=0) / rows["start_power"]
        return {
            **losses,
            "alignment": along_K / rows["beta_D"].square().sum(1) / power_K,
            "weight_distance": distance_K.sqrt(),
        }

    def flops_per_step(self) -> float:
        return 4.0 * self.train_rows * self.features**2 + 6.0 * self.features**3


def outputs_KP(state: Tensors, z_KPD: Tensor, hyper: Tensors) -> Tensor:
    """Return f of every row: shape (K, P)."""
    linear_KP = torch.einsum("kpd,kd->kp", z_KPD, state["mean_D"])
    square_KP = torch.einsum("kpd,kpd->kp", z_KPD @ state["moment_DD"], z_KPD)
    return hyper["alpha"].unsqueeze(1) * (linear_KP + hyper["epsilon"].unsqueeze(1) / 2 * square_KP)


def _trace_K(matrices_KDD: Tensor) -> Tensor:
    return matrices_KDD.diagonal(dim1=1, dim2=2).sum(1)
