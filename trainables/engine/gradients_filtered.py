"""Gradient rules that amplify the slow part of the gradient: Grokfast (Lee et al. 2024, arXiv:2405.20233).

Slow is what an average over the last steps keeps.  The optimizer descends along g + λ h, h being that average.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.engine.config import option
from trainables.engine.gradients import GradientRule, State, Tensors, per_member

AVERAGE, WINDOW = "average", "window"


@dataclass(frozen=True, kw_only=True)
class GrokfastEMA(GradientRule):
    """g + λ h with h ← α h + (1 - α) g, and h = g at the first step (Grokfast-EMA, Algorithm 1, as released)."""

    alpha: float = option(0.98, at_least=0.0, below=1.0, per_trial=True)
    """α: the momentum of the average."""
    strength: float = option(2.0, at_least=0.0, per_trial=True)
    """λ."""

    def init_state(self, parameters: Tensors) -> State:
        return {AVERAGE: {name: torch.zeros_like(value) for name, value in parameters.items()}}

    def __call__(
        self, parameters: Tensors, gradients: Tensors, state: State, hyper: Tensors, step: Tensor
    ) -> tuple[Tensors, State]:
        average, directions = {}, {}
        for name, gradient in gradients.items():
            weight = per_member(torch.where(step == 1, 1.0, 1 - hyper["alpha"]), gradient).to(gradient.dtype)
            average[name] = torch.lerp(state[AVERAGE][name], gradient, weight)
            strength = per_member(hyper["strength"], gradient).to(gradient.dtype)
            directions[name] = gradient + strength * average[name]
        return directions, {AVERAGE: average}


@dataclass(frozen=True, kw_only=True)
class GrokfastMA(GradientRule):
    """g + λ h with h the mean of the last ``steps`` gradients, this one included (Grokfast-MA, Algorithm 2).

    Until there are as many, the gradient is unchanged.  Keeps ``steps`` gradients and writes them all at each step, so
    a step costs several times one of :class:`GrokfastEMA`.
    """

    steps: int = option(100, at_least=1, example=3)
    """The length of the window, w in the paper."""
    strength: float = option(5.0, at_least=0.0, per_trial=True)
    """λ."""

    def init_state(self, parameters: Tensors) -> State:
        return {
            WINDOW: {
                name: value.new_zeros(len(value), self.steps, *value.shape[1:]) for name, value in parameters.items()
            }
        }

    def __call__(
        self, parameters: Tensors, gradients: Tensors, state: State, hyper: Tensors, step: Tensor
    ) -> tuple[Tensors, State]:
        window, directions = {}, {}
        oldest_W = torch.arange(self.steps, device=step.device) == (step - 1) % self.steps
        for name, gradient in gradients.items():
            place = oldest_W.view(1, -1, *[1] * (gradient.dim() - 1))
            window[name] = torch.where(place, gradient.unsqueeze(1), state[WINDOW][name])
            strength_K = torch.where(step >= self.steps, hyper["strength"], 0.0)
            mean = window[name].mean(1)
            directions[name] = gradient + per_member(strength_K, gradient).to(gradient.dtype) * mean
        return directions, {WINDOW: window}
