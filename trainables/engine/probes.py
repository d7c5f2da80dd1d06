"""Probes: what is measured, and under which columns.

A probe sees an :class:`Observation` (the rows' logits and losses at the present weights, the gradient there and the
update that is about to be made) and changes nothing.  All columns are float64, one value a member; accuracies and
other shares are fractions.  Definitions: Prieto et al. 2025, Defs 3 and 5, Eqs 2 and 12.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from trainables.engine.config import Config, option
from trainables.engine.gradients import inner, per_member
from trainables.engine.losses import Loss, softmax_collapsed
from trainables.engine.tasks import Task

MARGIN_QUANTILES = (0.1, 0.5, 0.9)


class Rows(Protocol):
    """One split's rows at the present weights, as facts of each row.  K cohort, B rows."""

    @property
    def losses_KB(self) -> Tensor:
        """In the dtype of the loss."""

    @property
    def correct_KB(self) -> Tensor:
        """Whether the largest logit is the true class's; bool."""

    @property
    def margins_KB(self) -> Tensor:
        """z_y - max_{k != y} z_k; float64."""

    @property
    def rank_KB(self) -> Tensor:
        """How many classes have a larger logit than the true one; int64."""

    @property
    def scale_KB(self) -> Tensor:
        """The standard deviation of the row's logits over the classes; float64."""

    @property
    def collapsed_KB(self) -> Tensor:
        """Softmax collapse in the dtype of the loss, whichever class is the maximum; bool."""

    @property
    def loss_collapsed_KB(self) -> Tensor:
        """Whether the loss's own normaliser equals its largest term; bool."""


class LogitRows:
    """The facts of rows whose logits are at hand, each computed when it is asked for.  V classes."""

    def __init__(self, logits_KBV: Tensor, labels_KB: Tensor, losses_KB: Tensor, loss: Loss) -> None:
        """
        :param logits_KBV: as the loss sees them, times α and over the temperature.
        :param losses_KB: in the dtype of the loss.
        """
        self._logits_KBV, self._labels_KB, self._loss = logits_KBV, labels_KB, loss
        self.losses_KB = losses_KB

    @cached_property
    def correct_KB(self) -> Tensor:
        return self._logits_KBV.argmax(-1) == self._labels_KB

    @cached_property
    def _true_KB1(self) -> Tensor:
        return self._logits_KBV.gather(-1, self._labels_KB.unsqueeze(-1))

    @cached_property
    def margins_KB(self) -> Tensor:
        others_KB = self._logits_KBV.scatter(-1, self._labels_KB.unsqueeze(-1), -torch.inf).amax(-1)
        return (self._true_KB1.squeeze(-1) - others_KB).double()

    @cached_property
    def rank_KB(self) -> Tensor:
        return (self._logits_KBV > self._true_KB1).sum(-1)

    @cached_property
    def scale_KB(self) -> Tensor:
        return self._logits_KBV.double().std(-1, correction=0)

    @cached_property
    def collapsed_KB(self) -> Tensor:
        return softmax_collapsed(self._loss.cast(self._logits_KBV))

    @cached_property
    def loss_collapsed_KB(self) -> Tensor:
        return self._loss.collapsed(self._logits_KBV)


@dataclass(frozen=True)
class Observation:
    """Everything that there is to see at one step."""

    task: Task | None
    """None where the trial is not one of the engine's tasks."""
    train: Rows
    test: Rows
    parameters: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    """Of the loss, before any gradient rule."""
    updates: Mapping[str, Tensor]
    """What the next step adds to the parameters."""
    learning_rate_K: Tensor
    """η of the next step, schedule and α included; float64."""
    watched: Mapping[str, Tensor]
    """What the watchers among the probes have gathered since step 0."""


@dataclass(frozen=True, kw_only=True)
class Probe(Config):
    """Base of the probes."""

    columns: ClassVar[tuple[str, ...]] = ()
    """The columns that do not depend on the model."""
    train_facts: ClassVar[tuple[str, ...]] = ()
    """What it looks at of the training rows, by the names of :class:`Rows`; nothing else is there for it."""
    test_facts: ClassVar[tuple[str, ...]] = ()
    """The same of the test rows."""
    every: int = option(1, at_least=1)
    """Looked at every so many measurements of the trial's schedule, the first included; costly probes look rarely."""

    def names(self, shapes: Mapping[str, tuple[int, ...]], task: Task | None) -> tuple[str, ...]:
        """Every column.

        :param shapes: of the model's parameters by name, without the cohort axis.
        """
        return self.columns

    def check(self, task: Task | None) -> None:  # most probes fit every trial
        """Refuse a task that has nothing of what the probe looks at.

        :raises ConfigError: saying what is allowed.
        """

    @abstractmethod
    def measure(self, seen: Observation) -> dict[str, Tensor]:
        """A tensor of shape (K,) for each of :meth:`names`."""


@dataclass(frozen=True, kw_only=True)
class Watcher(Probe):
    """Base of the probes that look at every step, and so have a state, which is part of a checkpoint."""

    @abstractmethod
    def start(self, members: int, device: torch.device) -> dict[str, Tensor]:
        """The state at step 0: tensors with the cohort axis first, by names that no other watcher uses."""

    @abstractmethod
    def watch(self, state: Mapping[str, Tensor], losses_K: Tensor, updates: Tensor) -> dict[str, Tensor]:
        """The state after one more step; a pure tensor program.

        :param losses_K: the mean training loss before the update, float64.
        :param updates: how many updates were made before it; shape (), float64.
        """


@dataclass(frozen=True, kw_only=True)
class LossAndAccuracy(Probe):
    """Mean loss and fraction of rows whose largest logit is the true class's, on both splits."""

    columns: ClassVar[tuple[str, ...]] = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
    train_facts: ClassVar[tuple[str, ...]] = ("losses_KB", "correct_KB")
    test_facts: ClassVar[tuple[str, ...]] = ("losses_KB", "correct_KB")

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        found = {}
        for name, rows in (("train", seen.train), ("test", seen.test)):
            found[f"{name}_loss"] = rows.losses_KB.double().mean(1)
            found[f"{name}_accuracy"] = rows.correct_KB.double().mean(1)
        return found


@dataclass(frozen=True, kw_only=True)
class SoftmaxCollapse(Probe):
    """Fractions of the training rows that have collapsed (Def. 3) in the dtype of the loss.

    ``sc_any``: sum_k exp(z_k - max z) is exactly 1, whichever class is the maximum (the released code);
    ``sc_true``: and the true class is the maximum (Eq. 2); ``sc_loss``: the loss's own normaliser (StableMax's sum of
    s) equals its largest term; ``zero_loss``: the row's loss is exactly 0.
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
    """Quantiles over the training rows of the margin z_y - max_{k != y} z_k: how far collapse is."""

    columns: ClassVar[tuple[str, ...]] = tuple(f"margin_q{100 * q:.0f}" for q in MARGIN_QUANTILES)
    train_facts: ClassVar[tuple[str, ...]] = ("margins_KB",)

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        margins_KB = seen.train.margins_KB
        levels = torch.tensor(MARGIN_QUANTILES, dtype=torch.float64, device=margins_KB.device)
        return dict(zip(self.columns, torch.quantile(margins_KB, levels, dim=1), strict=True))


@dataclass(frozen=True, kw_only=True)
class Norms(Probe):
    """Euclidean norms of all parameters and of the loss's whole gradient."""

    columns: ClassVar[tuple[str, ...]] = ("parameter_norm", "gradient_norm")

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        return {
            "parameter_norm": inner(seen.parameters, seen.parameters).sqrt(),
            "gradient_norm": inner(seen.gradients, seen.gradients).sqrt(),
        }


@dataclass(frozen=True, kw_only=True)
class Alignment(Probe):
    """Naive loss minimisation (Def. 5): the cosine of all parameters with -g, and with the update that follows.

    Where one of the two vectors is zero there is no angle, and the value is NaN.
    """

    columns: ClassVar[tuple[str, ...]] = ("alignment_gradient", "alignment_update")

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        return {
            "alignment_gradient": -cosine(seen.parameters, seen.gradients),
            "alignment_update": cosine(seen.parameters, seen.updates),
        }


def cosine(parameters: Mapping[str, Tensor], vectors: Mapping[str, Tensor]) -> Tensor:
    """The cosine of the angle between two sets of tensors of the same names, NaN where one is zero: (K,), float64.

    The second may be so small that its square underflows, as a gradient near collapse is.
    """
    largest_K = torch.stack([vector.abs().flatten(1).amax(1) for vector in vectors.values()]).amax(0).double()
    scaled = {name: vector.double() / per_member(largest_K, vector) for name, vector in vectors.items()}
    size_K = inner(parameters, parameters).sqrt() * inner(scaled, scaled).sqrt()
    return inner(parameters, scaled) / size_K


STANDARD: tuple[Probe, ...] = (LossAndAccuracy(), SoftmaxCollapse(), Margins(), Norms(), Alignment())
"""What every trial measures unless it asks for something else."""

COLUMNS: tuple[str, ...] = tuple(column for probe in STANDARD for column in probe.columns)
