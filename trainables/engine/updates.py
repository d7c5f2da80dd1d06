"""Update rules: what happens to the weights after the optimizer has moved them.

Every tensor has the cohort axis K first; reductions run over all other axes.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trainables.engine.config import Config, option
from trainables.engine.gradients import OrthogonalGradient, State, Tensors, norm, per_member

START = "start_norm"


@dataclass(frozen=True, kw_only=True)
class UpdateRule(Config):
    """Base of the update rules."""

    may_move_still_weights: ClassVar[bool] = False
    """Whether it changes weights that the optimizer has left as they were, so that no run is ever frozen."""

    def init_state(self, parameters: Tensors) -> State:
        """Return what to remember of the initial weights; by default, nothing.  It never changes."""
        return {}

    @abstractmethod
    def __call__(self, before: Tensors, after: Tensors, state: State, hyper: Tensors) -> Tensors:
        """Return the weights to go on with, by parameter name; change no argument in place.

        :param before: the weights before this update.
        :param after: the weights as the optimizer has moved them, decay included.
        :param hyper: the per-trial fields by name: shape (K,), float64.
        """


@dataclass(frozen=True, kw_only=True)
class PlainUpdate(UpdateRule):
    """The optimizer's update, unchanged."""

    def __call__(self, before: Tensors, after: Tensors, state: State, hyper: Tensors) -> Tensors:
        return after


@dataclass(frozen=True, kw_only=True)
class OrthogonalUpdate(UpdateRule):
    """⊥Grad's projection of the whole update, u⊥ = u - (θᵀu / θᵀθ) θ, instead of the gradient.

    The formula is Prieto et al. 2025, Eq. 12, applied to u = θ' - θ after momentum, moments and weight decay, so decay
    along the weights is removed too.  ``scope`` and ``rescale`` as in :class:`OrthogonalGradient`.
    """

    scope: str = option("tensor", choices=("tensor", "global"))
    rescale: bool = option(False)

    def __call__(self, before: Tensors, after: Tensors, state: State, hyper: Tensors) -> Tensors:
        updates = {name: value - before[name] for name, value in after.items()}
        projected = OrthogonalGradient(scope=self.scope, rescale=self.rescale).projected(before, updates)
        return {name: before[name] + update for name, update in projected.items()}


@dataclass(frozen=True, kw_only=True)
class NormClamp(UpdateRule):
    """After every update, rescale the weights to ‖θ‖ = ρ ‖θ at the start‖, all together or each tensor by itself.

    Khanh et al. 2026 (arXiv:2606.13753) hold the norm of all weights at multiples of the norm at which a free run
    groks; here the multiples are of the initial norm, which needs no earlier run.  By tensor, what begins at 0, such
    as the biases of layer norm, stays 0.
    """

    may_move_still_weights: ClassVar[bool] = True

    ratio: float = option(1.0, above=0.0, per_trial=True)
    """ρ."""
    scope: str = option("global", choices=("global", "tensor"))

    def init_state(self, parameters: Tensors) -> State:
        return {START: {name: norm(part) for name, part in self._parts(parameters).items()}}

    def __call__(self, before: Tensors, after: Tensors, state: State, hyper: Tensors) -> Tensors:
        clamped: dict[str, Tensor] = {}
        for name, part in self._parts(after).items():
            norm_K, wanted_K = norm(part), hyper["ratio"] * state[START][name]
            factor_K = torch.where(norm_K == 0, 1.0, wanted_K / torch.where(norm_K == 0, 1.0, norm_K))
            clamped |= {
                each: (value.double() * per_member(factor_K, value)).to(value.dtype) for each, value in part.items()
            }
        return clamped

    def _parts(self, tensors: Tensors) -> dict[str, Tensors]:
        """Return what is clamped together, by name."""
        return {"all": tensors} if self.scope == "global" else {name: {name: value} for name, value in tensors.items()}
