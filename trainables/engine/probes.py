"""Probes: the measured quantities and their columns.

A probe reads an :class:`Observation` (the rows' logits and losses at the current weights, their gradient, and the next
update) and changes nothing.  All columns are float64, one value per member; accuracies and other shares are fractions.
Definitions: Prieto et al. 2025, Defs 3 and 5, Eqs 2 and 12.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from trainables.engine.config import Config, option
from trainables.engine.gradients import inner, norm, per_member
from trainables.engine.losses import Loss, SoftmaxCrossEntropy, softmax_collapsed
from trainables.engine.replay import constant
from trainables.engine.tasks import Task

MARGIN_QUANTILES = (0.1, 0.5, 0.9)


class Rows:
    """The facts about each row of one split at the current weights, computed from its logits on first use.

    K cohort, B rows, V classes.
    """

    def __init__(
        self, logits_KBV: Tensor, labels_KB: Tensor, losses_KB: Tensor, loss: Loss, hyper: Mapping[str, Tensor]
    ) -> None:
        """
        :param logits_KBV: as passed to the loss: times α, divided by the temperature.
        :param losses_KB: in the dtype of the loss.
        :param hyper: the loss's per-trial values.
        """
        self._logits_KBV, self._labels_KB, self._loss, self._hyper = logits_KBV, labels_KB, loss, hyper
        self.losses_KB = losses_KB

    @cached_property
    def _true_KB1(self) -> Tensor:
        return self._logits_KBV.gather(-1, self._labels_KB.unsqueeze(-1))

    @cached_property
    def _others_KB1(self) -> Tensor:
        """The largest logit of the other classes."""
        return self._logits_KBV.scatter(-1, self._labels_KB.unsqueeze(-1), -torch.inf).amax(-1, keepdim=True)

    @cached_property
    def correct_KB(self) -> Tensor:
        """Whether the true class has the largest logit, of several equal ones the first, as for ``argmax``; bool."""
        tied_KB = (self._true_KB1 == self._others_KB1).squeeze(-1)
        ahead_KB = (self._true_KB1 > self._others_KB1).squeeze(-1)
        # Where reading a value is free, spare the rows that have no tie the slow search for the first maximum.
        if tied_KB.device.type == "cpu" and not tied_KB.any():
            return ahead_KB
        return ahead_KB | (tied_KB & (self._logits_KBV.argmax(-1) == self._labels_KB))

    @cached_property
    def margins_KB(self) -> Tensor:
        """z_y - max_{k != y} z_k; float64."""
        return (self._true_KB1 - self._others_KB1).squeeze(-1).double()

    @cached_property
    def rank_KB(self) -> Tensor:
        """The number of classes with a larger logit than the true one; int64."""
        return (self._logits_KBV > self._true_KB1).sum(-1)

    @cached_property
    def scale_KB(self) -> Tensor:
        """The standard deviation of the row's logits over the classes; float64."""
        return self._logits_KBV.double().std(-1, correction=0)

    @cached_property
    def gradient_sum_KB(self) -> Tensor:
        """The sum over the classes of the gradient of the row's loss, as the mean over the rows gives it; float64."""
        with torch.enable_grad():
            logits_KBV = self._logits_KBV.detach().requires_grad_()
            losses_KB = self._loss.row_losses(logits_KBV, self._labels_KB, self._hyper)
            precise = torch.promote_types(losses_KB.dtype, torch.float32)
            (gradient_KBV,) = torch.autograd.grad(losses_KB.to(precise).mean(1).sum(), logits_KBV)
        return gradient_KBV.double().sum(-1) * gradient_KBV.shape[1]

    @cached_property
    def collapsed_KB(self) -> Tensor:
        """Whether the row is in softmax collapse in the dtype of the loss, whichever class is the maximum; bool."""
        largest_KB1 = torch.maximum(self._true_KB1, self._others_KB1)
        return softmax_collapsed(self._loss.cast(self._logits_KBV), self._loss.cast(largest_KB1))

    @cached_property
    def loss_collapsed_KB(self) -> Tensor:
        """Whether the loss's own normaliser equals its largest term; bool."""
        if isinstance(self._loss, SoftmaxCrossEntropy):  # Its own normaliser is the softmax's.
            return self.collapsed_KB
        return self._loss.collapsed(self._logits_KBV)


@dataclass(frozen=True)
class Observation:
    """What probes can read at one step."""

    task: Task | None
    """None for a trial without one of the engine's tasks."""
    train: Rows
    test: Rows
    parameters: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    """The gradients of the loss, before the gradient rule."""
    updates: Mapping[str, Tensor]
    """The changes of the parameters in the next step."""
    learning_rate_K: Tensor
    """η of the next step, schedule and α included; float64."""
    watched: Mapping[str, Tensor]
    """The state of the watchers since step 0."""
    activations: Mapping[str, Tensor] = field(default_factory=dict)
    """The hidden activations of the training rows by layer, (K, B, H); empty unless a probe that is due reads them."""
    readout: str | None = None
    """The name of the weight from the last of them to the logits, (K, H, V)."""

    @cached_property
    def parameter_norm_K(self) -> Tensor:
        """The Euclidean norm of all parameters; float64."""
        return norm(self.parameters)


@dataclass(frozen=True, kw_only=True)
class Probe(Config):
    """Base of the probes."""

    columns: ClassVar[tuple[str, ...]] = ()
    """The columns that do not depend on the model."""
    train_facts: ClassVar[tuple[str, ...]] = ()
    """The attributes of :class:`Rows` that the probe reads of training rows; mini-batch trials compute only these."""
    test_facts: ClassVar[tuple[str, ...]] = ()
    """The same for the test rows."""
    reads_activations: ClassVar[bool] = False
    """Whether the probe needs :attr:`Observation.activations` and ``readout``, which full-batch trials have."""
    every: int = option(1, at_least=1)
    """Measure at every ``every``-th measurement of the trial's schedule, beginning with the first."""

    def names(self, shapes: Mapping[str, tuple[int, ...]], task: Task | None) -> tuple[str, ...]:
        """Return the names of all columns.

        :param shapes: the shapes of the model's parameters by name, without the cohort axis.
        """
        return self.columns

    def check(self, task: Task | None) -> None:  # most probes fit every trial
        """Refuse a task that the probe cannot measure.

        :raises ConfigError: with what is allowed.
        """

    @abstractmethod
    def measure(self, seen: Observation) -> dict[str, Tensor]:
        """Return a tensor of shape (K,) for each of :meth:`names`."""


@dataclass(frozen=True, kw_only=True)
class Watcher(Probe):
    """Base of the probes that read every step; their state is part of checkpoints."""

    @abstractmethod
    def start(self, members: int, device: torch.device) -> dict[str, Tensor]:
        """Return the state at step 0: tensors with the cohort axis first, by names that no other watcher uses."""

    @abstractmethod
    def watch(self, state: Mapping[str, Tensor], losses_K: Tensor, updates: Tensor) -> dict[str, Tensor]:
        """Return the state after one more step; a pure tensor program.

        :param losses_K: the mean training loss before the update, float64.
        :param updates: the number of updates before this one; shape (), float64.
        """


@dataclass(frozen=True, kw_only=True)
class LossAndAccuracy(Probe):
    """Mean loss, and fraction of rows whose true class has the largest logit, on both splits."""

    columns: ClassVar[tuple[str, ...]] = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
    train_facts: ClassVar[tuple[str, ...]] = ("losses_KB", "correct_KB")
    test_facts: ClassVar[tuple[str, ...]] = ("losses_KB", "correct_KB")

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        columns = {}
        for split, rows in (("train", seen.train), ("test", seen.test)):
            columns[f"{split}_loss"] = rows.losses_KB.double().mean(1)
            columns[f"{split}_accuracy"] = rows.correct_KB.double().mean(1)
        return columns


@dataclass(frozen=True, kw_only=True)
class SoftmaxCollapse(Probe):
    """Fractions of the training rows that have collapsed (Def. 3) in the dtype of the loss.

    * ``sc_any_fraction``: sum_k exp(z_k - max z) is exactly 1, whichever class is the maximum (the released code);
    * ``sc_true_fraction``: the same, and the true class is the maximum (Eq. 2);
    * ``sc_loss_fraction``: the loss's own normaliser (StableMax's sum of s) equals its largest term;
    * ``zero_loss_fraction``: the row's loss is exactly 0.
    """

    columns: ClassVar[tuple[str, ...]] = (
        "sc_any_fraction",
        "sc_true_fraction",
        "sc_loss_fraction",
        "zero_loss_fraction",
    )
    train_facts: ClassVar[tuple[str, ...]] = ("losses_KB", "correct_KB", "collapsed_KB", "loss_collapsed_KB")

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        rows = seen.train
        return {
            "sc_any_fraction": rows.collapsed_KB.double().mean(1),
            "sc_true_fraction": (rows.collapsed_KB & rows.correct_KB).double().mean(1),
            "sc_loss_fraction": rows.loss_collapsed_KB.double().mean(1),
            "zero_loss_fraction": (rows.losses_KB == 0).double().mean(1),
        }


@dataclass(frozen=True, kw_only=True)
class Margins(Probe):
    """Quantiles over the training rows of the margin z_y - max_{k != y} z_k, which grows towards collapse."""

    columns: ClassVar[tuple[str, ...]] = tuple(f"margin_q{100 * q:.0f}" for q in MARGIN_QUANTILES)
    train_facts: ClassVar[tuple[str, ...]] = ("margins_KB",)

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        margins_KB = seen.train.margins_KB
        levels = constant(MARGIN_QUANTILES, torch.float64, margins_KB.device)
        return dict(zip(self.columns, torch.quantile(margins_KB, levels, dim=1), strict=True))


@dataclass(frozen=True, kw_only=True)
class Norms(Probe):
    """Euclidean norms of all parameters together and of the loss's gradient with respect to all of them."""

    columns: ClassVar[tuple[str, ...]] = ("parameter_norm", "gradient_norm")

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        return {
            "parameter_norm": seen.parameter_norm_K,
            "gradient_norm": norm(seen.gradients),
        }


@dataclass(frozen=True, kw_only=True)
class Alignment(Probe):
    """Naive loss minimisation (Def. 5): the cosine of all parameters with -g, and with the next update.

    NaN where one of the two vectors is zero.
    """

    columns: ClassVar[tuple[str, ...]] = ("alignment_gradient", "alignment_update")

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        return {
            "alignment_gradient": -cosine(seen.parameters, seen.gradients, seen.parameter_norm_K),
            "alignment_update": cosine(seen.parameters, seen.updates, seen.parameter_norm_K),
        }


def cosine(parameters: Mapping[str, Tensor], vectors: Mapping[str, Tensor], parameter_norm_K: Tensor) -> Tensor:
    """Return the cosine of the angle between two sets of tensors with the same names: shape (K,), float64.

    NaN if one of them is zero.

    :param parameter_norm_K: the norm of the first.
    """
    if any(vector.dtype == torch.float64 for vector in vectors.values()):
        # Squares underflow, as those of gradients do near collapse; float64 holds the square of any float32.
        largest_K = torch.stack([vector.abs().flatten(1).amax(1) for vector in vectors.values()]).amax(0).double()
        vectors = {name: vector.double() / per_member(largest_K, vector) for name, vector in vectors.items()}
    return inner(parameters, vectors) / (parameter_norm_K * norm(vectors))


STANDARD: tuple[Probe, ...] = (LossAndAccuracy(), SoftmaxCollapse(), Margins(), Norms(), Alignment())
"""The default probes of every trial."""
