"""Gradient rules that see the matrices: equal singular values, and projections row by row and column by column.

A tensor with more than two axes (beside the cohort's) counts as a matrix of its first axis by all others, and a vector
as a matrix of one column.  Shape suffixes: K cohort, I and O the two axes of a matrix.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trainables.engine.config import option
from trainables.engine.gradients import GradientRule, OrthogonalGradient, State, Tensors


@dataclass(frozen=True, kw_only=True)
class EgalitarianGradientDescent(GradientRule):
    """G → (G Gᵀ)^(-1/2) G, the pseudo-inverse where G lacks rank: every singular value becomes 1, or stays 0.

    Pasand and Dohmatob 2025 (arXiv:2510.04930), who descend along it by plain gradient descent: ``optimizer=SGD(...)``.
    A vector is divided by its norm.  Computed in float64 from the eigenvalues of G Gᵀ or Gᵀ G.  Singular
    values that may be rounding count as 0: those below 1e-7 of the largest, and below n times the gradient's machine
    epsilon, n being the longer side.  Else what is zero in exact arithmetic, such as the common shift of all logits,
    would become as large as the rest.  A matrix that is not finite gives NaN.  On a GPU the decomposition may wait for
    the device.
    """

    zero_stays_zero: ClassVar[bool] = True

    def __call__(
        self, parameters: Tensors, gradients: Tensors, state: State, hyper: Tensors, step: Tensor
    ) -> tuple[Tensors, State]:
        return {name: equalised(gradient) for name, gradient in gradients.items()}, state


@dataclass(frozen=True, kw_only=True)
class IterativeOrthogonalGradient(GradientRule):
    """⊥Grad row by row and column by column: g is projected off the weights along one axis, then along the other.

    Each pass removes from every row (or column) of g 1.01 times its part along the row of the weights, and restores its
    norm; one whose norm is below n^(-1/2), n being its length, is not restored and so shrinks a little at each pass.
    The passes alternate, beginning along the longer axis of PyTorch's (outputs, inputs) layout.  Vectors are projected
    as by :class:`OrthogonalGradient`.  After Koratahiu's adv_optm (``iterative_ortho_project``), which gives no paper.
    """

    zero_stays_zero: ClassVar[bool] = True

    iterations: int = option(3, at_least=1)

    def __call__(
        self, parameters: Tensors, gradients: Tensors, state: State, hyper: Tensors, step: Tensor
    ) -> tuple[Tensors, State]:
        return {name: self._projected(parameters[name], gradient) for name, gradient in gradients.items()}, state

    def _projected(self, weights: Tensor, gradient: Tensor) -> Tensor:
        if gradient.dim() < 3:
            return OrthogonalGradient().projected({"": weights}, {"": gradient})[""]
        weights_KIO, projected_KIO = as_matrices(weights.double()), as_matrices(gradient.double())
        inputs, outputs = projected_KIO.shape[1:]
        axes = (2, 1) if outputs > inputs else (1, 2)
        floors = {axis: projected_KIO.shape[axis] ** -0.5 for axis in axes}
        lengths = {axis: _norms(projected_KIO, axis).clamp(min=floors[axis]) for axis in axes}
        squares = {axis: weights_KIO.square().sum(axis, keepdim=True) for axis in axes}
        for _ in range(self.iterations):
            for axis in axes:
                products = (weights_KIO * projected_KIO).sum(axis, keepdim=True)
                none = squares[axis] == 0
                shares = torch.where(none, 0.0, products / torch.where(none, 1.0, squares[axis]))
                projected_KIO = projected_KIO - 1.01 * shares * weights_KIO
                projected_KIO = projected_KIO * (lengths[axis] / _norms(projected_KIO, axis).clamp(min=floors[axis]))
        return projected_KIO.to(gradient.dtype).view_as(gradient)


def equalised(tensor: Tensor) -> Tensor:
    """Return (G Gᵀ)^(-1/2) G of every member's matrix, by the pseudo-inverse: shape and dtype of ``tensor``."""
    matrices_KIO = as_matrices(tensor).double()
    # One member that is not finite would make the decomposition of all fail.
    finite = matrices_KIO.isfinite().all(2, keepdim=True).all(1, keepdim=True)
    matrices_KIO = torch.where(finite, matrices_KIO, 0.0)
    # Scale the largest entry to 1: squares underflow near collapse.
    largest = matrices_KIO.abs().amax((1, 2), keepdim=True)
    matrices_KIO = matrices_KIO / torch.where(largest == 0, 1.0, largest)
    wide = matrices_KIO.shape[1] <= matrices_KIO.shape[2]
    rows = matrices_KIO if wide else matrices_KIO.mT
    squares, vectors = torch.linalg.eigh(rows @ rows.mT)
    tolerance = max(1e-7, max(matrices_KIO.shape[1:]) * torch.finfo(tensor.dtype).eps)
    kept = squares > tolerance**2 * squares.amax(-1, keepdim=True)
    scale = torch.where(kept, torch.where(kept, squares, 1.0).rsqrt(), 0.0)
    whitened = (vectors * scale.unsqueeze(1)) @ (vectors.mT @ rows)
    return torch.where(finite, whitened if wide else whitened.mT, torch.nan).reshape(tensor.shape).to(tensor.dtype)


def as_matrices(tensor: Tensor) -> Tensor:
    """View every member's tensor as a matrix: shape (K, I, O)."""
    return tensor.unsqueeze(2) if tensor.dim() == 2 else tensor.flatten(2)


def _norms(matrices_KIO: Tensor, axis: int) -> Tensor:
    return torch.linalg.vector_norm(matrices_KIO, dim=axis, keepdim=True)
