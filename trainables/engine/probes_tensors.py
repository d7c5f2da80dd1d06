"""Probes of single parameter tensors: norms, ranks, alignments, and what an update does to them.

Their columns are named ``<quantity>.<parameter>``, for every parameter of the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trainables.engine.config import option
from trainables.engine.gradients import inner, norm, per_member
from trainables.engine.probes import Observation, Probe, cosine
from trainables.engine.tasks import Task


@dataclass(frozen=True, kw_only=True)
class TensorNorms(Probe):
    """``norm.<parameter>``: the Euclidean norm of every parameter tensor."""

    def names(self, shapes: Mapping[str, tuple[int, ...]], task: Task | None) -> tuple[str, ...]:
        return tuple(f"norm.{name}" for name in shapes)

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        return {f"norm.{name}": norm({name: value}) for name, value in seen.parameters.items()}


@dataclass(frozen=True, kw_only=True)
class EffectiveRank(Probe):
    """``effective_rank.<parameter>`` of every matrix (Roy and Vetterli 2007): exp of its singular values' entropy.

    The singular values count as shares of their sum.  From 1 to the smaller side; NaN where all weights are 0.
    """

    every: int = option(4, at_least=1, example=1)

    def names(self, shapes: Mapping[str, tuple[int, ...]], task: Task | None) -> tuple[str, ...]:
        return tuple(f"effective_rank.{name}" for name, shape in shapes.items() if len(shape) > 1)

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        columns = {}
        for name, value in seen.parameters.items():
            if value.dim() > 2:
                # One member that is not finite would make the decomposition of all fail.
                finite_K = value.isfinite().flatten(1).all(1)
                whole = torch.where(per_member(finite_K, value), value, 0.0)
                singular_KR = torch.linalg.svdvals(whole.flatten(2).double())
                shares_KR = singular_KR / singular_KR.sum(1, keepdim=True)
                columns[f"effective_rank.{name}"] = torch.special.entr(shares_KR).sum(1).exp()
        return columns


@dataclass(frozen=True, kw_only=True)
class UpdateParts(Probe):
    """The next update split along the weights: what only rescales them, and the rest.

    ``update_along``: θᵀΔθ / ‖θ‖, negative where the weights shrink; ``update_across``: the norm of what is left.  Each
    is of all weights together, and with the suffix ``.<parameter>`` of one tensor by itself; NaN where θ is 0.
    """

    columns: ClassVar[tuple[str, ...]] = ("update_along", "update_across")

    def names(self, shapes: Mapping[str, tuple[int, ...]], task: Task | None) -> tuple[str, ...]:
        return self.columns + tuple(f"{quantity}.{name}" for quantity in self.columns for name in shapes)

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        parts = {"": (seen.parameters, seen.updates)}
        parts |= {f".{name}": ({name: value}, {name: seen.updates[name]}) for name, value in seen.parameters.items()}
        columns = {}
        for suffix, (weights, updates) in parts.items():
            norm_K = norm(weights)
            share_K = inner(weights, updates) / norm_K.square()
            along = {name: per_member(share_K, value) * value.double() for name, value in weights.items()}
            rest = {name: value.double() - along[name] for name, value in updates.items()}
            columns[f"update_along{suffix}"] = share_K * norm_K
            columns[f"update_across{suffix}"] = norm(rest)
        return columns


@dataclass(frozen=True, kw_only=True)
class TensorAlignment(Probe):
    """Naive loss minimisation tensor by tensor (Prieto et al. 2025, Def. 5 and Fig. 5).

    ``alignment_gradient.<parameter>``: the cosine of the tensor with its own -g; ``alignment_update.<parameter>``:
    with its next update.  NaN where one of the two vectors is zero.
    """

    quantities: ClassVar[tuple[str, ...]] = ("alignment_gradient", "alignment_update")

    def names(self, shapes: Mapping[str, tuple[int, ...]], task: Task | None) -> tuple[str, ...]:
        return tuple(f"{quantity}.{name}" for quantity in self.quantities for name in shapes)

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        columns = {}
        for name, value in seen.parameters.items():
            norm_K = norm({name: value})
            columns[f"alignment_gradient.{name}"] = -cosine({name: value}, {name: seen.gradients[name]}, norm_K)
            columns[f"alignment_update.{name}"] = cosine({name: value}, {name: seen.updates[name]}, norm_K)
        return columns


@dataclass(frozen=True, kw_only=True)
class UpdateFractions(Probe):
    """Fractions of the weights that a step does not change (Prieto et al. 2025, App. C and Fig. 10).

    * ``absorbed_fraction``: w - ηg equals w in the dtype of the weights, g = 0 included.  As in the paper, this assumes
      plain gradient descent, with the gradient of the loss and the trial's η, whatever the trial's optimizer;
    * ``zero_gradient_fraction``: g is exactly 0;
    * ``zero_update_fraction``: the next step of the trial's own optimizer leaves the weight unchanged.

    Each is measured over all weights, and with the suffix ``.<parameter>`` over those of one tensor.
    """

    columns: ClassVar[tuple[str, ...]] = ("absorbed_fraction", "zero_gradient_fraction", "zero_update_fraction")

    def names(self, shapes: Mapping[str, tuple[int, ...]], task: Task | None) -> tuple[str, ...]:
        return self.columns + tuple(f"{quantity}.{name}" for quantity in self.columns for name in shapes)

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        by_tensor, counts = {}, dict.fromkeys(self.columns, torch.zeros_like(seen.learning_rate_K))
        for name, weights in seen.parameters.items():
            gradient = seen.gradients[name]
            rate = per_member(seen.learning_rate_K, weights).to(weights.dtype)
            for quantity, unchanged in (
                ("absorbed_fraction", weights - rate * gradient == weights),
                ("zero_gradient_fraction", gradient == 0),
                ("zero_update_fraction", seen.updates[name] == 0),
            ):
                count_K = unchanged.flatten(1).sum(1).double()
                by_tensor[f"{quantity}.{name}"] = count_K / weights[0].numel()
                counts[quantity] = counts[quantity] + count_K
        total = sum(weights[0].numel() for weights in seen.parameters.values())
        return {quantity: count_K / total for quantity, count_K in counts.items()} | by_tensor
