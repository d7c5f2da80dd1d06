"""Probes of the logits' scale and drift, and for many classes: top-k accuracy and perplexity."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trainables.engine.config import option
from trainables.engine.probes import Observation, Probe
from trainables.engine.tasks import Task


@dataclass(frozen=True, kw_only=True)
class TopAccuracy(Probe):
    """``train_top<k>_accuracy`` and ``test_top<k>_accuracy``: the fraction of rows whose true class is in the top k.

    That is, fewer than k classes have a larger logit; ties, which occur among rounded logits, count as correct.
    """

    train_facts: ClassVar[tuple[str, ...]] = ("rank_KB",)
    test_facts: ClassVar[tuple[str, ...]] = ("rank_KB",)
    k: int = option(5, at_least=1)

    def names(self, shapes: Mapping[str, tuple[int, ...]], task: Task | None) -> tuple[str, ...]:
        return (f"train_top{self.k}_accuracy", f"test_top{self.k}_accuracy")

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        return {
            f"{name}_top{self.k}_accuracy": (rows.rank_KB < self.k).double().mean(1)
            for name, rows in (("train", seen.train), ("test", seen.test))
        }


@dataclass(frozen=True, kw_only=True)
class Perplexity(Probe):
    """exp of the mean loss, on both splits.

    It is the perplexity of the loss's own probabilities: StableMax's under StableMax, and with label smoothing
    included.
    """

    columns: ClassVar[tuple[str, ...]] = ("train_perplexity", "test_perplexity")
    train_facts: ClassVar[tuple[str, ...]] = ("losses_KB",)
    test_facts: ClassVar[tuple[str, ...]] = ("losses_KB",)

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        return {
            "train_perplexity": seen.train.losses_KB.double().mean(1).exp(),
            "test_perplexity": seen.test.losses_KB.double().mean(1).exp(),
        }


@dataclass(frozen=True, kw_only=True)
class LogitScale(Probe):
    """The standard deviation over the classes of a row's logits, averaged over the rows of each split."""

    columns: ClassVar[tuple[str, ...]] = ("train_logit_scale", "test_logit_scale")
    train_facts: ClassVar[tuple[str, ...]] = ("scale_KB",)
    test_facts: ClassVar[tuple[str, ...]] = ("scale_KB",)

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        return {
            "train_logit_scale": seen.train.scale_KB.mean(1),
            "test_logit_scale": seen.test.scale_KB.mean(1),
        }


@dataclass(frozen=True, kw_only=True)
class FeatureInflation(Probe):
    """Numerical feature inflation (Liu et al. 2026, arXiv:2605.06152): a drift that rounding causes.

    * ``logit_gradient_sum``: the mean over the training rows of |sum_k ∂loss/∂z_k|, zero for a loss that a common shift
      of the logits does not change, but not once the true class's gradient is absorbed (softmax collapse);
    * ``class_mean_norm``: the norm of the mean over the classes of the last layer's weights, which this drift moves;
    * ``feature_mean_norm``: the norm of the mean over the training rows of the features that the last layer reads.
    """

    columns: ClassVar[tuple[str, ...]] = ("logit_gradient_sum", "class_mean_norm", "feature_mean_norm")
    reads_activations: ClassVar[bool] = True

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        assert seen.readout is not None
        features_KBH, readout_KHV = [*seen.activations.values()][-1], seen.parameters[seen.readout]
        return {
            "logit_gradient_sum": seen.train.gradient_sum_KB.abs().mean(1),
            "class_mean_norm": torch.linalg.vector_norm(readout_KHV.double().mean(2), dim=1),
            "feature_mean_norm": torch.linalg.vector_norm(features_KBH.double().mean(1), dim=1),
        }
