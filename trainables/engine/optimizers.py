"""Optimizers: pure functions from parameters, gradients and state to the next parameters and state, per member.

Hyper-parameters are float64 tensors of shape (K,) and the step count one of shape (), all on the device, so that a
step reads nothing back to the host.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trainables.engine.config import Config, component_at, option, per_trial_paths, value_at
from trainables.engine.gradients import State, Tensors, inner, per_member


@dataclass(frozen=True, kw_only=True)
class Optimizer(Config):
    """Base of the optimizers."""

    elementwise: ClassVar[bool] = False
    """Whether it gets all parameters of a member joined in one vector, which costs fewer operations; False: each tensor
    in its shape.  Only for updates that look at single weights, or at norms of all of them together."""
    rates: ClassVar[tuple[str, ...]] = ("learning_rate",)
    """The fields that schedules and α scale."""

    learning_rate: float = option(0.001, above=0.0, per_trial=True)

    @abstractmethod
    def init_state(self, parameters: Tensors) -> State:
        """Return the buffers at step 0, each tensor of its parameter's shape."""

    @abstractmethod
    def update(
        self, parameters: Tensors, gradients: Tensors, state: State, hyper: Tensors, step: Tensor
    ) -> tuple[Tensors, State]:
        """Return the parameters and the buffers after one more update; change no argument in place.

        :param hyper: the per-trial fields by name: shape (K,), or (K, n) for a tuple; float64.
        :param step: the number of this update, from 1; shape (), float64.
        """

    def certifies_frozen(self, parameters: Tensors, state: State, hyper: Tensors, step: Tensor) -> Tensor:
        """Return whether no weight ever changes again if all later gradients are exactly zero: shape (K,), bool.

        True is a proof: every pending and future update is absorbed by its weight in the weight's dtype.  By default,
        certify nothing.

        :param step: the number of updates made so far; shape (), float64.
        """
        return torch.zeros_like(hyper["learning_rate"], dtype=torch.bool)


def stack_hyper(components: Sequence[Config], device: torch.device, *, varied: bool = False) -> dict[str, Tensor]:
    """Stack the per-trial fields of K components of one class, by name: shape (K,), or (K, n) for a tuple; float64.

    :param varied: leave out the fields that are at their default in every member.
    """
    hyper = {}
    for path in per_trial_paths(components[0]):
        values = [value_at(component, path) for component in components]
        owner, name = component_at(components[0], path)
        default = type(owner).__dataclass_fields__[name].default
        if not varied or any(value != default for value in values):
            hyper[path] = torch.tensor(values, dtype=torch.float64, device=device)
    return hyper


def cast(values_K: Tensor, like: Tensor) -> Tensor:
    """Shape one value per member for a tensor with the cohort axis first, in that tensor's dtype."""
    return per_member(values_K, like).to(like.dtype)


def both_moments(
    gradient: Tensor, mean: Tensor, square: Tensor, beta1_K: Tensor, beta2_K: Tensor
) -> tuple[Tensor, Tensor]:
    """Return Adam's running means of the gradient and of its square after one more gradient."""
    return torch.lerp(mean, gradient, cast(1 - beta1_K, gradient)), second_moment(gradient, square, beta2_K)


def second_moment(gradient: Tensor, square: Tensor, beta2_K: Tensor) -> Tensor:
    """Return the running mean of the gradient's square after one more gradient."""
    return torch.addcmul(square * cast(beta2_K, square), cast(1 - beta2_K, gradient) * gradient, gradient)


@dataclass(frozen=True, kw_only=True)
class TwoMoments(Optimizer):
    """Base of the optimizers with Adam's running means of the gradient and of its square."""

    betas: tuple[float, float] = option((0.9, 0.999), at_least=0.0, below=1.0, per_trial=True)
    eps: float = option(1e-8, above=0.0, per_trial=True)
    weight_decay: float = option(0.0, at_least=0.0, per_trial=True)

    def init_state(self, parameters: Tensors) -> State:
        return {
            buffer: {name: torch.zeros_like(value) for name, value in parameters.items()}
            for buffer in ("mean", "square")
        }


@dataclass(frozen=True, kw_only=True)
class AdaptiveMoments(TwoMoments):
    """Base of Adam (Kingma and Ba 2015) and AdamW, which differ in where they apply weight decay."""

    elementwise: ClassVar[bool] = True

    @abstractmethod
    def decayed(self, parameter: Tensor, gradient: Tensor, decay_K: Tensor, rate_K: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the weight decay; return the parameter and the gradient.

        :param decay_K: the weight decay; shape (K,), float64, like the learning rate ``rate_K``.
        """

    def update(
        self, parameters: Tensors, gradients: Tensors, state: State, hyper: Tensors, step: Tensor
    ) -> tuple[Tensors, State]:
        beta1_K, beta2_K = hyper["betas"].unbind(1)
        step_size_K = hyper["learning_rate"] / (1 - beta1_K**step)
        root_correction_K = (1 - beta2_K**step).sqrt()
        moved: dict[str, Tensor] = {}
        mean: dict[str, Tensor] = {}
        square: dict[str, Tensor] = {}
        for name in gradients:
            parameter, gradient = self.decayed(
                parameters[name], gradients[name], hyper["weight_decay"], hyper["learning_rate"]
            )
            mean[name], square[name] = both_moments(
                gradient, state["mean"][name], state["square"][name], beta1_K, beta2_K
            )
            root = square[name].sqrt() / cast(root_correction_K, gradient) + cast(hyper["eps"], gradient)
            moved[name] = parameter - cast(step_size_K, gradient) * (mean[name] / root)
        return moved, {"mean": mean, "square": square}

    def certifies_frozen(self, parameters: Tensors, state: State, hyper: Tensors, step: Tensor) -> Tensor:
        # With zero gradients each step multiplies the mean by beta1 and the root of the square by sqrt(beta2), so for
        # beta1 < sqrt(beta2) the update shrinks, apart from the bias corrections: the mean's, 1/(1 - beta1^t), shrinks
        # too, and leaving out the root's gives an upper bound.  A mean that has underflowed to a few subnormals no
        # longer shrinks while its square still may, so its bound uses eps alone as the denominator.
        beta1_K, beta2_K = hyper["betas"].unbind(1)
        quiet_K = (hyper["weight_decay"] == 0) & (beta1_K < beta2_K.sqrt())
        for name, value in parameters.items():
            mean, square = state["mean"][name].double(), state["square"][name].double()
            rate = per_member(hyper["learning_rate"] / (1 - beta1_K ** (step + 1)), mean)
            eps = per_member(hyper["eps"], mean)
            smallest = torch.finfo(value.dtype).smallest_normal * torch.finfo(value.dtype).eps
            stuck = (mean != 0) * smallest / (1 - per_member(beta1_K, mean))
            largest = rate * torch.maximum(mean.abs() / (square.sqrt() + eps), stuck / eps)
            quiet_K = quiet_K & _absorbed(value, largest)
        return quiet_K


@dataclass(frozen=True, kw_only=True)
class AdamW(AdaptiveMoments):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), as in ``torch.optim.AdamW``."""

    def decayed(self, parameter: Tensor, gradient: Tensor, decay_K: Tensor, rate_K: Tensor) -> tuple[Tensor, Tensor]:
        return parameter * per_member(1 - rate_K * decay_K, parameter).to(parameter.dtype), gradient


@dataclass(frozen=True, kw_only=True)
class Adam(AdaptiveMoments):
    """Adam with weight decay added to the gradient (L2), as in ``torch.optim.Adam``."""

    def decayed(self, parameter: Tensor, gradient: Tensor, decay_K: Tensor, rate_K: Tensor) -> tuple[Tensor, Tensor]:
        return parameter, gradient + per_member(decay_K, gradient).to(gradient.dtype) * parameter


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Gradient descent with momentum and L2 weight decay, as in ``torch.optim.SGD``."""

    elementwise: ClassVar[bool] = True

    learning_rate: float = option(0.1, above=0.0, per_trial=True)
    momentum: float = option(0.0, at_least=0.0, below=1.0, per_trial=True)
    nesterov: bool = option(False)
    weight_decay: float = option(0.0, at_least=0.0, per_trial=True)

    def init_state(self, parameters: Tensors) -> State:
        return {"velocity": {name: torch.zeros_like(value) for name, value in parameters.items()}}

    def update(
        self, parameters: Tensors, gradients: Tensors, state: State, hyper: Tensors, step: Tensor
    ) -> tuple[Tensors, State]:
        moved, velocity = {}, {}
        for name, gradient in gradients.items():
            decay, momentum, rate = (
                per_member(hyper[field], gradient).to(gradient.dtype)
                for field in ("weight_decay", "momentum", "learning_rate")
            )
            descent = gradient + decay * parameters[name]
            velocity[name] = momentum * state["velocity"][name] + descent
            direction = descent + momentum * velocity[name] if self.nesterov else velocity[name]
            moved[name] = parameters[name] - rate * direction
        return moved, {"velocity": velocity}

    def certifies_frozen(self, parameters: Tensors, state: State, hyper: Tensors, step: Tensor) -> Tensor:
        # With zero gradients each step multiplies the velocity by the momentum, which is below 1.
        quiet_K = hyper["weight_decay"] == 0
        for name, value in parameters.items():
            velocity = state["velocity"][name].double()
            largest = per_member(hyper["learning_rate"] * hyper["momentum"], velocity) * velocity.abs()
            quiet_K = quiet_K & _absorbed(value, largest)
        return quiet_K


@dataclass(frozen=True, kw_only=True)
class NormalizedSGD(Optimizer):
    """Gradient descent whose learning rate is divided at each step by the norm of the full gradient.

    Prieto et al. 2025, App. B.2 and Fig. 9; after Lyu and Li 2020, who divide by the loss.  The full gradient is that
    of all parameters together, after the gradient rule, so ‖Δθ‖ equals the learning rate.  A zero gradient leaves the
    weights unchanged.
    """

    elementwise: ClassVar[bool] = True

    learning_rate: float = option(0.1, above=0.0, per_trial=True)

    def init_state(self, parameters: Tensors) -> State:
        return {}

    def update(
        self, parameters: Tensors, gradients: Tensors, state: State, hyper: Tensors, step: Tensor
    ) -> tuple[Tensors, State]:
        # Scale the largest entry to 1 before squaring, because squares underflow near collapse; use float64, because
        # the rate over the norm may exceed the range of the weights' dtype.
        largest_K = torch.stack([gradient.abs().flatten(1).amax(1) for gradient in gradients.values()]).amax(0).double()
        largest_K = torch.where(largest_K == 0, 1.0, largest_K)
        scaled = {name: value.double() / per_member(largest_K, value) for name, value in gradients.items()}
        norm_K = inner(scaled, scaled).sqrt()
        rate_K = hyper["learning_rate"] / torch.where(norm_K == 0, 1.0, norm_K)
        moved = {
            name: parameter - (per_member(rate_K, parameter) * scaled[name]).to(parameter.dtype)
            for name, parameter in parameters.items()
        }
        return moved, {}

    def certifies_frozen(self, parameters: Tensors, state: State, hyper: Tensors, step: Tensor) -> Tensor:
        return torch.ones_like(hyper["learning_rate"], dtype=torch.bool)


def _absorbed(value: Tensor, largest_update: Tensor) -> Tensor:
    """Return whether adding or subtracting ``largest_update`` leaves every weight equal in its dtype: (K,), bool."""
    update = largest_update.to(value.dtype)
    # A nonzero update that underflows in the weights' dtype is zero in the real update too.
    same = (value - update == value) & (value + update == value)
    return same.flatten(1).all(1)
