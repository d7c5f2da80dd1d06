"""Outliers with opposing signals (Rosenfeld and Risteski 2024, arXiv:2311.04163): their linear model, exactly.

Two small groups of rows have a large feature of opposite sign and the same target.  The signal β·x makes the weights
grow, their growth sharpens the direction of that feature, and beyond 2 / (learning rate) the two groups' losses
oscillate against each other until the total rises.

    x ~ N(0, I_d),  ‖β‖ = 3;  x_o = ±√α in a fraction p of the rows each, else 0;  y = β·x + abs(x_o)
    f = c (b·x + b_o x_o),  loss = mean (f - y)² / 2,  full batches, θ = (c, b, b_o)

With w = (b, b_o), X the rows (x, x_o), S = XᵀX / n and q = Xᵀy / n, everything is a function of S and q:

    loss = (c² wᵀSw - 2c wᵀq + mean y²) / 2
    gradient = (c wᵀSw - wᵀq,  c² Sw - c q)
    Hessian = [[wᵀSw, (2c Sw - q)ᵀ], [2c Sw - q, c² S]]

At the balanced solution c² = ‖β‖, and the sharpness along b_o is c² mean x_o² = 2pα‖β‖.

Origin of the settings: y, f, the groups and the linear growth of the sharpness in ‖β‖ are the paper's and its reviews'
[R]; d = 20, n = 1000, p = .02, ‖β‖ = 3 and initial weights N(0, .1²) are ours [G], and so are the definition of a spike
(a rise of the loss by more than 2 % in a step, to more than 1e-6) and Adam's learning rate of .01.  α = 0 is the same
data without the groups.

Shape suffixes: K cohort, G groups (positive, negative, the rest), W = d + 1 features, T = d + 2 parameters.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trainables.engine.config import ConfigError, option
from trainables.engine.events import EventRule, PhaseRule, rises_to
from trainables.engine.gradients import Tensors
from trainables.engine.iteration import ONE, IterationTrial
from trainables.engine.optimizers import SGD, Optimizer
from trainables.engine.randomness import (
    OPPOSING_SIGNALS_STREAM,
    OPPOSING_START_STREAM,
    random_bits,
    standard_normal,
)

RISE, LEAST_LOSS = 1.02, 1e-6
"""A step is a spike when it multiplies the loss by more than this, to more than that."""
OPTIMIZER = "optimizer."


@dataclass(frozen=True, kw_only=True)
class OpposingSignals(IterationTrial):
    """The linear model on rows with two groups of outliers, by any optimizer that works entry by entry."""

    measured: ClassVar[tuple[str, ...]] = (
        "train_loss",
        "positive_loss",
        "negative_loss",
        "rest_loss",
        "sharpness",
        "sharpness_ratio",
        "spikes",
        "loss_rises",
    )
    """Losses of all rows, of each group and of the rest; the Hessian's largest eigenvalue, and this times half the
    learning rate (above 1, gradient descent is unstable); how many steps were spikes so far, and the sum of all rises
    of the loss so far."""

    alpha: float = option(100.0, at_least=0.0, per_trial=True)
    """The square of the groups' feature; 0: no groups."""
    group_fraction: float = option(0.02, above=0.0, at_most=0.5)
    beta_norm: float = option(3.0, above=0.0, per_trial=True)
    features: int = option(20, at_least=1, example=3)
    row_count: int = option(1000, at_least=3, example=50)
    init_std: float = option(0.1, above=0.0, per_trial=True)
    optimizer: Optimizer = option(SGD(learning_rate=0.1))
    events: tuple[EventRule, ...] = option(
        (
            rises_to("sharpness_ratio", 1.0, name="t_cross", hold_measurements=1, hold_fraction=0.0),
            rises_to("spikes", 1.0, name="t_spike", hold_measurements=1, hold_fraction=0.0),
        ),
        protocol=True,
    )
    phases: tuple[PhaseRule, ...] = option(
        (
            PhaseRule(name="spikes", happened=("t_spike",), colour="#d55e00"),
            PhaseRule(name="sharp, no spike", happened=("t_cross",), not_happened=("t_spike",), colour="#e69f00"),
            PhaseRule(name="stable", not_happened=("t_cross", "t_spike"), colour="#0072b2"),
        ),
        protocol=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.optimizer.elementwise:
            name = type(self.optimizer).__name__
            raise ConfigError(f"OpposingSignals.optimizer = {name}: must be one that works entry by entry")
        if not 1 <= self.group_rows <= (self.row_count - 1) // 2:
            raise ConfigError(
                f"OpposingSignals.group_fraction = {self.group_fraction!r}: must leave each group and the rest at "
                f"least one of {self.row_count} rows"
            )

    @property
    def group_rows(self) -> int:
        """How many rows each of the two groups has."""
        return round(self.group_fraction * self.row_count)

    def data(self) -> tuple[Tensor, Tensor]:
        """Return the features, shape (n, d + 1) with x_o last, and the targets, shape (n,): the groups come first."""
        count = self.features * (self.row_count + 1)
        normal = torch.from_numpy(standard_normal(random_bits(self.seeds.split, OPPOSING_SIGNALS_STREAM, 2 * count)))
        direction, x = normal[: self.features], normal[self.features :].reshape(self.row_count, self.features)
        x_o = torch.zeros(self.row_count, dtype=torch.float64)
        x_o[: self.group_rows], x_o[self.group_rows : 2 * self.group_rows] = 1.0, -1.0
        x_o *= self.alpha**0.5
        targets = x @ (self.beta_norm * direction / direction.norm()) + x_o.abs()
        return torch.cat([x, x_o.unsqueeze(1)], dim=1), targets

    def rows(self) -> ONE:
        features, targets = self.data()
        sizes = (self.group_rows, self.group_rows, self.row_count - 2 * self.group_rows)
        parts = [*zip(features.split(sizes), targets.split(sizes), sizes, strict=True)]
        return {
            "gram_GWW": torch.stack([x.T @ x / size for x, _, size in parts]),
            "cross_GW": torch.stack([x.T @ y / size for x, y, size in parts]),
            "power_G": torch.stack([y.square().mean() for _, y, _ in parts]),
            "share_G": torch.tensor(sizes, dtype=torch.float64) / self.row_count,
        }

    def start(self) -> ONE:
        bits = random_bits(self.seeds.init, OPPOSING_START_STREAM, 2 * (self.features + 2))
        weights = self.init_std * torch.from_numpy(standard_normal(bits))
        buffers = self.optimizer.init_state({"weights": weights})
        none_yet = torch.zeros(1, dtype=torch.float64)
        return {
            "weights": weights,
            **{buffer: tensors["weights"] for buffer, tensors in buffers.items()},
            "spikes": none_yet,
            "loss_rises": none_yet,
        }

    def moved(self, state: Tensors, rows: Tensors, hyper: Tensors, step: Tensor) -> Tensors:
        ours = {name.removeprefix(OPTIMIZER): value for name, value in hyper.items() if name.startswith(OPTIMIZER)}
        buffers = {name: {"weights": state[name]} for name in state.keys() - {"weights", "spikes", "loss_rises"}}
        gradient = {"weights": gradient_KT(state["weights"], rows)}
        weights, next_buffers = self.optimizer.update({"weights": state["weights"]}, gradient, buffers, ours, step + 1)
        before_K, after_K = (total_K(each, rows) for each in (state["weights"], weights["weights"]))
        spike_K = (after_K > RISE * before_K) & (after_K > LEAST_LOSS)
        return {
            **weights,
            **{buffer: tensors["weights"] for buffer, tensors in next_buffers.items()},
            "spikes": state["spikes"] + spike_K.double().unsqueeze(1),
            "loss_rises": state["loss_rises"] + (after_K - before_K).clamp(min=0).unsqueeze(1),
        }

    def observe(self, state: Tensors, rows: Tensors, hyper: Tensors) -> Tensors:
        positive_K, negative_K, rest_K = losses_KG(state["weights"], rows).unbind(1)
        # A diverging member's Hessian overflows before its weights do, and eigvalsh accepts finite numbers only.
        hessian = torch.nan_to_num(hessian_KTT(state["weights"], rows), posinf=1e300, neginf=-1e300)
        sharpness_K = torch.linalg.eigvalsh(hessian)[:, -1]
        return {
            "train_loss": total_K(state["weights"], rows),
            "positive_loss": positive_K,
            "negative_loss": negative_K,
            "rest_loss": rest_K,
            "sharpness": sharpness_K,
            "sharpness_ratio": sharpness_K * hyper[f"{OPTIMIZER}learning_rate"] / 2,
            "spikes": state["spikes"].squeeze(1),
            "loss_rises": state["loss_rises"].squeeze(1),
        }

    def flops_per_step(self) -> float:
        return 12.0 * (self.features + 2) ** 2


def losses_KG(weights_KT: Tensor, rows: Tensors) -> Tensor:
    """Return the loss of each group: shape (K, G)."""
    c_K1, w_KW = weights_KT.split([1, weights_KT.shape[1] - 1], dim=1)
    square_KG = torch.einsum("kw,kgwv,kv->kg", w_KW, rows["gram_GWW"], w_KW)
    product_KG = torch.einsum("kw,kgw->kg", w_KW, rows["cross_GW"])
    return (c_K1**2 * square_KG - 2 * c_K1 * product_KG + rows["power_G"]) / 2


def total_K(weights_KT: Tensor, rows: Tensors) -> Tensor:
    """Return the loss of all rows: shape (K,)."""
    return (rows["share_G"] * losses_KG(weights_KT, rows)).sum(1)


def gradient_KT(weights_KT: Tensor, rows: Tensors) -> Tensor:
    """Return the gradient of the loss by (c, b, b_o): shape (K, T)."""
    c_K1, w_KW, _, cross_KW, Sw_KW = _parts(weights_KT, rows)
    by_c_K1 = c_K1 * (w_KW * Sw_KW).sum(1, keepdim=True) - (w_KW * cross_KW).sum(1, keepdim=True)
    return torch.cat([by_c_K1, c_K1**2 * Sw_KW - c_K1 * cross_KW], dim=1)


def hessian_KTT(weights_KT: Tensor, rows: Tensors) -> Tensor:
    """Return the Hessian of the loss by (c, b, b_o): shape (K, T, T)."""
    c_K1, w_KW, gram_KWW, cross_KW, Sw_KW = _parts(weights_KT, rows)
    corner_K1 = (w_KW * Sw_KW).sum(1, keepdim=True)
    edge_KW = 2 * c_K1 * Sw_KW - cross_KW
    first_KT = torch.cat([corner_K1, edge_KW], dim=1)
    others_KWT = torch.cat([edge_KW.unsqueeze(2), c_K1.unsqueeze(2) ** 2 * gram_KWW], dim=2)
    return torch.cat([first_KT.unsqueeze(1), others_KWT], dim=1)


def _parts(weights_KT: Tensor, rows: Tensors) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return c, w, S, q and Sw of all rows."""
    c_K1, w_KW = weights_KT.split([1, weights_KT.shape[1] - 1], dim=1)
    gram_KWW = torch.einsum("kg,kgwv->kwv", rows["share_G"], rows["gram_GWW"])
    cross_KW = torch.einsum("kg,kgw->kw", rows["share_G"], rows["cross_GW"])
    return c_K1, w_KW, gram_KWW, cross_KW, torch.einsum("kwv,kv->kw", gram_KWW, w_KW)
