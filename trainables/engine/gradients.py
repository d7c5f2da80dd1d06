"""Gradient rules: transformations of the gradient before the optimizer sees it.  Here are the plain one and ⊥Grad.

Every tensor has the cohort axis K first; reductions run over all other axes.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trainables.engine.config import Config, option

Tensors = Mapping[str, Tensor]
State = Mapping[str, Tensors]
"""What a component remembers between steps: by buffer and parameter a tensor with the cohort axis first."""


@dataclass(frozen=True, kw_only=True)
class GradientRule(Config):
    """Base of the gradient rules."""

    zero_stays_zero: ClassVar[bool] = False
    """Whether a gradient of exactly zero always gives zero: only then can a run be certified as frozen."""

    def init_state(self, parameters: Tensors) -> State:
        """Return the buffers at step 0; by default, remember nothing."""
        return {}

    @abstractmethod
    def __call__(
        self, parameters: Tensors, gradients: Tensors, state: State, hyper: Tensors, step: Tensor
    ) -> tuple[Tensors, State]:
        """Return the gradients to descend along, by parameter name, and the buffers after this step.

        Change no argument in place.

        :param hyper: the per-trial fields by name: shape (K,), float64.
        :param step: the number of this update since the rule began, from 1; shape (), float64.
        """


@dataclass(frozen=True, kw_only=True)
class PlainGradient(GradientRule):
    """The gradient, unchanged."""

    zero_stays_zero: ClassVar[bool] = True

    def __call__(
        self, parameters: Tensors, gradients: Tensors, state: State, hyper: Tensors, step: Tensor
    ) -> tuple[Tensors, State]:
        return gradients, state


@dataclass(frozen=True, kw_only=True)
class OrthogonalGradient(GradientRule):
    """⊥Grad: g⊥ = g - (θᵀg / θᵀθ) θ (Prieto et al. 2025, Eq. 12).

    The paper projects all of θ at once (``scope="global"``).  The released code projects tensor by tensor and then
    rescales g⊥ to the norm of g; this is the default here.  Where θ = 0, g stays unchanged.  A g⊥ at rounding level,
    whose direction is only noise, is not rescaled.
    """

    zero_stays_zero: ClassVar[bool] = True

    scope: str = option("tensor", choices=("tensor", "global"))
    rescale: bool = option(True)

    def __call__(
        self, parameters: Tensors, gradients: Tensors, state: State, hyper: Tensors, step: Tensor
    ) -> tuple[Tensors, State]:
        return self.projected(parameters, gradients), state

    def projected(self, parameters: Tensors, vectors: Tensors) -> dict[str, Tensor]:
        """Return g⊥ of each tensor, in its dtype."""
        if self.scope == "tensor":
            directions: dict[str, Tensor] = {}
            for name, vector in vectors.items():
                # Cast to float64 once for all sums: for large tensors memory traffic dominates the cost.
                theta, wide = parameters[name].double(), vector.double()
                projected = self._project({name: theta}, {name: wide}, torch.finfo(vector.dtype).eps)
                directions[name] = projected[name].to(vector.dtype)
            return directions
        eps = max(torch.finfo(vector.dtype).eps for vector in vectors.values())
        together = self._project(parameters, vectors, eps)
        return {name: projected.to(vectors[name].dtype) for name, projected in together.items()}

    def _project(self, parameters: Tensors, gradients: Tensors, eps: float) -> dict[str, Tensor]:
        """Compute g⊥ in float64, because it can be a small difference of large numbers.

        :param eps: machine epsilon of the dtype in which the gradients were computed.
        """
        theta_theta_K = inner(parameters, parameters)
        zero_K = theta_theta_K == 0
        share_K = torch.where(zero_K, 0.0, inner(parameters, gradients) / torch.where(zero_K, 1.0, theta_theta_K))
        projected = {
            name: gradient.double() - per_member(share_K, gradient) * parameters[name].double()
            for name, gradient in gradients.items()
        }
        if self.rescale:
            size_K, left_K = inner(gradients, gradients).sqrt(), inner(projected, projected).sqrt()
            meaningful_K = left_K > 16 * eps * size_K
            factor_K = torch.where(meaningful_K, size_K / torch.where(meaningful_K, left_K, 1.0), 1.0)
            for gradient in projected.values():
                gradient.mul_(per_member(factor_K, gradient))
        return projected


def inner(left: Tensors, right: Tensors) -> Tensor:
    """Return each member's inner product of two sets of tensors with the same names: shape (K,), float64."""
    products = [(tensor.double() * right[name].double()).flatten(1).sum(1) for name, tensor in left.items()]
    return torch.stack(products).sum(0)


def norm(tensors: Tensors) -> Tensor:
    """Return each member's Euclidean norm of all tensors together: shape (K,), float64."""
    parts = [torch.linalg.vector_norm(value.flatten(1), dim=1, dtype=torch.float64) for value in tensors.values()]
    return torch.linalg.vector_norm(torch.stack(parts), dim=0)


def per_member(values_K: Tensor, like: Tensor) -> Tensor:
    """Reshape one value per member to broadcast against a tensor with the cohort axis first."""
    return values_K.view(-1, *[1] * (like.dim() - 1))


def cloned(state: State) -> State:
    """Copy the buffers that a component begins with: it may have returned the weights themselves, which change."""
    return {buffer: {name: value.clone() for name, value in tensors.items()} for buffer, tensors in state.items()}


def apart(new: Tensors, old: Tensors, held: Iterable[Tensor]) -> dict[str, Tensor]:
    """Copy the tensors of a new state that lie in another one's memory, which may be overwritten first.

    :param old: the state of the same names, whose tensors may stay as they are.
    :param held: all tensors that the step overwrites.
    """
    places = {value.untyped_storage().data_ptr() for value in held}
    return {
        name: value.clone() if value is not old[name] and value.untyped_storage().data_ptr() in places else value
        for name, value in new.items()
    }
