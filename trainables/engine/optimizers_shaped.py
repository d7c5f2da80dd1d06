"""Optimizers that see each tensor in its shape: Muon, and Adam's relatives that project the update off the weights.

A tensor with more than two axes (beside the cohort's) counts as a matrix of its first axis by all others.  Shape
suffixes: K cohort, I inputs, O outputs; weights are stored as (inputs, outputs), where PyTorch has (outputs, inputs).
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trainables.engine.config import option
from trainables.engine.gradients import OrthogonalGradient, State, Tensors, per_member
from trainables.engine.gradients_matrix import as_matrices
from trainables.engine.optimizers import AdamW, Optimizer, TwoMoments, both_moments, cast, second_moment

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""The coefficients a, b, c of the quintic a x + b x³ + c x⁵ (Jordan et al. 2024)."""
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, kw_only=True)
class Muon(Optimizer):
    """Momentum whose singular values are made nearly equal by Newton and Schulz's iteration; AdamW for the vectors.

    Jordan et al. 2024, as in ``torch.optim.Muon``: M ← μ M + (1 - μ) G, U = μ M + (1 - μ) G (Nesterov), and
    W ← (1 - ηλ) W - η sqrt(max(1, outputs/inputs)) NS(U).  Embeddings and the last layer are matrices too.
    """

    rates: ClassVar[tuple[str, ...]] = ("learning_rate", "vector_learning_rate")

    learning_rate: float = option(0.02, above=0.0, per_trial=True)
    """η of the matrices."""
    momentum: float = option(0.95, at_least=0.0, below=1.0, per_trial=True)
    """μ."""
    nesterov: bool = option(True)
    weight_decay: float = option(0.0, at_least=0.0, per_trial=True)
    """λ, of the matrices and of the vectors."""
    iterations: int = option(5, at_least=1)
    iteration_dtype: str = option("float32", choices=tuple(DTYPES), example="float64")
    """The dtype of the iteration; torch has bfloat16."""
    vector_learning_rate: float = option(0.001, above=0.0, per_trial=True)
    betas: tuple[float, float] = option((0.9, 0.999), at_least=0.0, below=1.0, per_trial=True)
    """Of the vectors' AdamW."""
    eps: float = option(1e-8, above=0.0, per_trial=True)
    """Of the vectors' AdamW."""

    def init_state(self, parameters: Tensors) -> State:
        matrices, vectors = _by_shape(parameters)
        velocity = {name: torch.zeros_like(value) for name, value in matrices.items()}
        return {"velocity": velocity, **AdamW().init_state(vectors)}

    def update(
        self, parameters: Tensors, gradients: Tensors, state: State, hyper: Tensors, step: Tensor
    ) -> tuple[Tensors, State]:
        matrices, vectors = _by_shape(parameters)
        moved, velocity = {}, {}
        for name, weights in matrices.items():
            gradient = gradients[name]
            momentum, rate, decay = (
                per_member(hyper[field], gradient).to(gradient.dtype)
                for field in ("momentum", "learning_rate", "weight_decay")
            )
            velocity[name] = torch.lerp(state["velocity"][name], gradient, 1 - momentum)
            direction = torch.lerp(gradient, velocity[name], momentum) if self.nesterov else velocity[name]
            direction_KIO = as_matrices(direction)
            stretch = math.sqrt(max(1.0, direction_KIO.shape[2] / direction_KIO.shape[1]))
            flat_KIO = newton_schulz(direction_KIO, self.iterations, DTYPES[self.iteration_dtype])
            moved[name] = weights * (1 - rate * decay) - stretch * rate * flat_KIO.view_as(weights)
        moments: State = {name: state[name] for name in ("mean", "square")}
        of_vectors = dict(hyper) | {"learning_rate": hyper["vector_learning_rate"]}
        own = {name: gradients[name] for name in vectors}
        moved_vectors, moments = AdamW().update(vectors, own, moments, of_vectors, step)
        return moved | dict(moved_vectors), {"velocity": velocity, **moments}


@dataclass(frozen=True, kw_only=True)
class AdamP(TwoMoments):
    """AdamW with the update projected off weights that look scale-invariant (Heo et al. 2021, arXiv:2006.08217).

    Where the gradient is nearly orthogonal to the weights of every output unit, |cos(w, g)| < δ n^(-1/2) with n inputs,
    the update loses its part along each unit's weights, and the decay counts ``decay_ratio`` times; else the same is
    asked of the whole matrix.  Vectors are updated as by AdamW.  After ⊥Grad every matrix looks scale-invariant.
    """

    delta: float = option(0.1, at_least=0.0, per_trial=True)
    """δ."""
    decay_ratio: float = option(0.1, at_least=0.0, at_most=1.0, per_trial=True)

    def update(
        self, parameters: Tensors, gradients: Tensors, state: State, hyper: Tensors, step: Tensor
    ) -> tuple[Tensors, State]:
        beta1_K, beta2_K = hyper["betas"].unbind(1)
        rate_K, decay_K = hyper["learning_rate"], hyper["weight_decay"]
        moved: dict[str, Tensor] = {}
        moments: dict[str, dict[str, Tensor]] = {"mean": {}, "square": {}}
        for name, weights in parameters.items():
            gradient = gradients[name]
            mean, square = both_moments(gradient, state["mean"][name], state["square"][name], beta1_K, beta2_K)
            root = square.sqrt() / cast((1 - beta2_K**step).sqrt(), square) + cast(hyper["eps"], square)
            update, kept_decay_K = mean / root, decay_K
            if weights.dim() > 2:
                update, ratio_K = self._projected(weights, gradient, update, hyper)
                kept_decay_K = decay_K * ratio_K
            shrunk = weights * cast(1 - rate_K * kept_decay_K, weights)
            moved[name] = shrunk - cast(rate_K / (1 - beta1_K**step), weights) * update
            moments["mean"][name], moments["square"][name] = mean, square
        return moved, moments

    def _projected(self, weights: Tensor, gradient: Tensor, update: Tensor, hyper: Tensors) -> tuple[Tensor, Tensor]:
        """Return the update, and the factor on the decay: (K,)."""
        weights_KIO, gradient_KIO, update_KIO = map(as_matrices, (weights, gradient, update))
        # Only its direction matters, and its squares underflow near collapse.
        largest = gradient_KIO.abs().amax((1, 2), keepdim=True)
        gradient_KIO = gradient_KIO / torch.where(largest == 0, 1.0, largest)
        inputs, outputs = weights_KIO.shape[1:]
        plain_K = torch.ones_like(hyper["delta"], dtype=torch.bool)
        result_KIO = update_KIO
        for axes, length in (((1,), inputs), ((1, 2), inputs * outputs)):
            norms = torch.linalg.vector_norm(weights_KIO, dim=axes, keepdim=True)
            sizes = norms * torch.linalg.vector_norm(gradient_KIO, dim=axes, keepdim=True)
            products = (weights_KIO * gradient_KIO).sum(axes, keepdim=True)
            largest_K = (products.abs() / sizes.clamp(min=torch.finfo(sizes.dtype).tiny)).flatten(1).amax(1)
            invariant_K = plain_K & (largest_K < hyper["delta"] / math.sqrt(length))
            units_KIO = weights_KIO / (norms + cast(hyper["eps"], norms))
            projected_KIO = update_KIO - units_KIO * (units_KIO * update_KIO).sum(axes, keepdim=True)
            result_KIO = torch.where(per_member(invariant_K, result_KIO), projected_KIO, result_KIO)
            plain_K = plain_K & ~invariant_K
        return result_KIO.view_as(update), torch.where(plain_K, 1.0, hyper["decay_ratio"])


@dataclass(frozen=True, kw_only=True)
class OrthogonalLaProp(TwoMoments):
    """LaProp with ⊥Grad after the moments: the update, not the gradient, is projected off the weights.

    LaProp (Ziyin et al. 2020, arXiv:2002.04839) divides by the root of the second moment before it averages: v ← β₂ v +
    (1 - β₂) g², m ← β₁ m + (1 - β₁) g / (sqrt(v / (1 - β₂ᵗ)) + ε), u = m / (1 - β₁ᵗ).  Then u is projected tensor by
    tensor and rescaled to its norm, as in heavyball's ``LaPropOrtho``, and W ← (1 - ηλ) W - η u⊥.
    """

    def update(
        self, parameters: Tensors, gradients: Tensors, state: State, hyper: Tensors, step: Tensor
    ) -> tuple[Tensors, State]:
        beta1_K, beta2_K = hyper["betas"].unbind(1)
        rate_K, decay_K = hyper["learning_rate"], hyper["weight_decay"]
        updates: dict[str, Tensor] = {}
        moments: dict[str, dict[str, Tensor]] = {"mean": {}, "square": {}}
        for name, gradient in gradients.items():
            square = second_moment(gradient, state["square"][name], beta2_K)
            root = (square / cast(1 - beta2_K**step, square)).sqrt() + cast(hyper["eps"], square)
            mean = torch.lerp(state["mean"][name], gradient / root, cast(1 - beta1_K, gradient))
            updates[name] = mean / cast(1 - beta1_K**step, mean)
            moments["mean"][name], moments["square"][name] = mean, square
        projected = OrthogonalGradient().projected(parameters, updates)
        moved = {
            name: weights * cast(1 - rate_K * decay_K, weights) - cast(rate_K, weights) * projected[name]
            for name, weights in parameters.items()
        }
        return moved, moments


def newton_schulz(matrices_KIO: Tensor, iterations: int, dtype: torch.dtype) -> Tensor:
    """Push the singular values of every member's matrix towards 1, by the quintic :data:`NEWTON_SCHULZ`.

    Of any size: torch's lets a matrix of norm below 1e-7 shrink.

    :param dtype: of the iteration; the result has that of the argument.
    """
    a, b, c = NEWTON_SCHULZ
    largest = matrices_KIO.abs().amax((1, 2), keepdim=True)
    matrices_KIO = matrices_KIO / torch.where(largest == 0, 1.0, largest)
    tall = matrices_KIO.shape[1] > matrices_KIO.shape[2]
    rows = (matrices_KIO.mT if tall else matrices_KIO).to(dtype)
    rows = rows / torch.linalg.vector_norm(rows, dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        gram = rows @ rows.mT
        rows = torch.baddbmm(rows, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), rows, beta=a)
    return (rows.mT if tall else rows).to(matrices_KIO.dtype).contiguous()


def _by_shape(parameters: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the matrices, and the vectors."""
    matrices = {name: value for name, value in parameters.items() if value.dim() > 2}
    return matrices, {name: value for name, value in parameters.items() if name not in matrices}
