"""Large learning rates against spurious correlations and for pruning (Barsbey et al. 2025, arXiv:2507.17748).

Every row holds a core feature, which decides its label, and a spurious one, which agrees with the label in a share ρ of
the training rows and is drawn independently of it in the test rows; a row *conflicts* where the two disagree.

    θ <- θ - η (∇ mean_batch CE(f(x), y) + λ θ),  batches without replacement within an epoch

The claim: a large η makes the network rely on the core feature, and the same weights can be pruned further.  Decay λ is
compared with it at one training loss: the event ``t_fit`` ends a trial at the first measurement at which the loss over
all training rows is at the bound or below, and there everything is compared.

Two tasks.  :class:`DoubleMNIST`: the left digit, bright, is the core feature, the right one, dim, the spurious one.
:class:`CorrelatedParity`: the label is the parity of some bits, and one more bit agrees with it in a share ρ of rows.

Origin of the settings: the two digits, a bright and a dim one, the parity, plain SGD, pruning by global magnitude, the
share of zero activations, the class separation and the confidence on mispredicted conflict rows are the paper's and its
abstract's [R]; the network (an MLP of two hidden layers of 64), pooled digits, all numbers of rows and bits, ρ, the
brightness, batches of 32, biases that are neither pruned nor zero at first, and the matching by the training loss are
ours [G].

Shape suffixes: K cohort, N training rows, T test rows, B batch, F features, H hidden units, C classes, W weights.
"""

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from trainables.data.sets import Images, mnist
from trainables.engine.config import ConfigError, option
from trainables.engine.events import EventRule, PhaseRule, falls_to
from trainables.engine.gradients import Tensors
from trainables.engine.iteration import ONE, IterationTrial
from trainables.engine.models import MLP
from trainables.engine.optimizers import cast
from trainables.engine.randomness import BATCHES_STREAM, CORE_STREAM, SPURIOUS_STREAM, permutation, random_bits
from trainables.engine.tasks import Split, Task
from trainables.engine.trial import Seeds

SIDE, DIGITS = 28, 10
PRUNED = (50, 80, 90, 95)
"""Percent of the weights that are pruned."""
TRAIN, TEST, AGREEMENT = 0, 1, 2
"""Blocks of the streams."""


@dataclass(frozen=True)
class CorrelatedSplit(Split):
    """The rows of one trial, and in which of them the two features disagree: (rows,), bool."""

    train_conflicts: np.ndarray
    test_conflicts: np.ndarray


@dataclass(frozen=True, kw_only=True)
class CorrelatedTask(Task):
    """Base of the tasks with a core feature and a spurious one; rows are dense."""

    input_kind: ClassVar[str] = "dense"

    train_rows: int = option(1000, at_least=1, at_most=60_000, example=40)
    test_rows: int = option(500, at_least=1, at_most=10_000, example=30)
    correlation: float = option(0.9, at_least=0.0, at_most=1.0, per_trial=True)
    """ρ: the share of training rows, rounded to whole rows, in which the spurious feature agrees with the label."""

    @abstractmethod
    def split(self, seeds: Seeds) -> CorrelatedSplit: ...

    def agreeing(self, seeds: Seeds) -> np.ndarray:
        """Choose the training rows whose features agree: shape (N,), bool."""
        places = permutation(seeds.split, SPURIOUS_STREAM, self.train_rows, AGREEMENT)
        return places < round(self.correlation * self.train_rows)


@dataclass(frozen=True, kw_only=True)
class DoubleMNIST(CorrelatedTask):
    """A bright digit of MNIST, which is the label, and to its right a dim one; pixels in [0, 1], row by row.

    A half's core digits are different images; the spurious ones are drawn from all images of the same half.
    """

    classes: ClassVar[int] = DIGITS

    pooling: int = option(2, choices=(1, 2, 4), example=4)
    """The side of the squares of pixels that are averaged."""
    spurious_brightness: float = option(0.5, at_least=0.0, at_most=1.0, per_trial=True)
    """The factor on the dim digit."""

    @property
    def features(self) -> int:
        return 2 * (SIDE // self.pooling) ** 2

    def split(self, seeds: Seeds) -> CorrelatedSplit:
        train, test = mnist()
        train_core = self._core(train, self.train_rows, "train_rows", seeds, TRAIN)
        test_core = self._core(test, self.test_rows, "test_rows", seeds, TEST)
        picks_N = random_bits(seeds.split, SPURIOUS_STREAM, self.train_rows, TRAIN)
        picks_T = random_bits(seeds.split, SPURIOUS_STREAM, self.test_rows, TEST)
        train_spurious = spurious_images(train.labels, train.labels[train_core], self.agreeing(seeds), picks_N)
        test_spurious = (picks_T % np.uint64(len(test.labels))).astype(np.int64)
        return CorrelatedSplit(
            self._joined(train, train_core, train_spurious),
            train.labels[train_core],
            self._joined(test, test_core, test_spurious),
            test.labels[test_core],
            train.labels[train_core] != train.labels[train_spurious],
            test.labels[test_core] != test.labels[test_spurious],
        )

    def _core(self, half: Images, rows: int, name: str, seeds: Seeds, block: int) -> np.ndarray:
        if rows > len(half.labels):
            raise ConfigError(f"DoubleMNIST.{name} = {rows}: must be at most {len(half.labels)}, the rows of that half")
        return permutation(seeds.split, CORE_STREAM, len(half.labels), block)[:rows]

    def _joined(self, half: Images, core: np.ndarray, spurious: np.ndarray) -> np.ndarray:
        """Put the digits side by side: shape (rows, F), float32."""
        digits = [half.pixels[core] / 255, self.spurious_brightness * (half.pixels[spurious] / 255)]
        cells = np.concatenate(digits, axis=2).reshape(len(core), SIDE // self.pooling, self.pooling, -1, self.pooling)
        return cells.mean((2, 4)).reshape(len(core), self.features).astype(np.float32)


def spurious_images(labels: np.ndarray, core: np.ndarray, agree: np.ndarray, picks: np.ndarray) -> np.ndarray:
    """Choose for each row an image with the row's label where ``agree``, else one with another: shape (rows,), int64.

    :param labels: of all images; ``core``: of the rows, each of which must occur among them, with others.
    :param picks: a random word for each row; uint64.
    """
    by_class, counts = np.argsort(labels, kind="stable"), np.bincount(labels, minlength=core.max() + 1)
    start, count = (np.cumsum(counts) - counts)[core], counts[core]
    choices = np.where(agree, count, len(labels) - count)
    place = (picks % choices.astype(np.uint64)).astype(np.int64)
    # The images of other classes stand before and behind the block of the row's own.
    others = np.where(place < start, place, place + count)
    return by_class[np.where(agree, start + place, others)]


@dataclass(frozen=True, kw_only=True)
class CorrelatedParity(CorrelatedTask):
    """The parity of the first bits; then the bit that is correlated with it; then bits that say nothing; each is ±1."""

    classes: ClassVar[int] = 2

    core_bits: int = option(3, at_least=1)
    noise_bits: int = option(20, at_least=0, example=4)

    @property
    def features(self) -> int:
        return self.core_bits + 1 + self.noise_bits

    def split(self, seeds: Seeds) -> CorrelatedSplit:
        train, train_labels = self._free(seeds, self.train_rows, TRAIN)
        test, test_labels = self._free(seeds, self.test_rows, TEST)
        spurious_N = np.where(self.agreeing(seeds), train_labels, 1 - train_labels)
        spurious_T = (random_bits(seeds.split, SPURIOUS_STREAM, self.test_rows, TEST) >> np.uint64(63)).astype(int)
        train[:, self.core_bits], test[:, self.core_bits] = spurious_N, spurious_T
        return CorrelatedSplit(
            (2 * train - 1).astype(np.float32),
            train_labels,
            (2 * test - 1).astype(np.float32),
            test_labels,
            spurious_N != train_labels,
            spurious_T != test_labels,
        )

    def _free(self, seeds: Seeds, rows: int, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw all bits independently: shape (rows, F), int64; and the parities of the first ones."""
        words = random_bits(seeds.split, CORE_STREAM, rows * self.features, block)
        bits = (words >> np.uint64(63)).astype(np.int64).reshape(rows, self.features)
        return bits, bits[:, : self.core_bits].sum(1) % 2


@dataclass(frozen=True, kw_only=True)
class LargeLearningRates(IterationTrial):
    """An MLP by mini-batch SGD on rows with a spurious correlation, up to a training loss."""

    measured: ClassVar[tuple[str, ...]] = (
        "train_loss",
        "train_accuracy",
        "test_accuracy",
        "conflict_accuracy",
        *(f"pruned_{percent}_accuracy" for percent in PRUNED),
        "zero_fraction",
        "class_separation",
        "conflict_confidence",
    )
    """Loss and accuracy on all training rows; accuracy on the test rows, whose features are independent, and on those
    that conflict; the test accuracy after pruning; on test rows, the share of hidden activations that are 0, and 1 -
    within / total variance of the last hidden layer by class; and the mean confidence on those conflicting training
    rows whose prediction is wrong (NaN without any)."""
    largest_cohort: ClassVar[int | None] = 8
    """A member's rows are 5 MB."""

    task: CorrelatedTask = option(DoubleMNIST(), example=CorrelatedParity.example())
    model: MLP = option(MLP(hidden=(64, 64), bias=True, dtype="float64"), example=MLP.example())
    batch_rows: int = option(32, at_least=1, example=8)
    """B; an epoch leaves out the rows that do not fill a batch."""
    learning_rate: float = option(0.1, above=0.0, per_trial=True)
    """η."""
    weight_decay: float = option(0.0, at_least=0.0, per_trial=True)
    """λ."""
    events: tuple[EventRule, ...] = option(
        (falls_to("train_loss", 0.05, name="t_fit", hold_measurements=1, hold_fraction=0.0),), protocol=True
    )
    phases: tuple[PhaseRule, ...] = option(
        (
            PhaseRule(name="fitted", happened=("t_fit",), colour="#0072b2"),
            PhaseRule(name="not fitted", not_happened=("t_fit",), colour="#b3b3b3"),
        ),
        protocol=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.model.check(self.task)
        if not self.model.hidden:
            raise ConfigError("LargeLearningRates.model = MLP(hidden=()): must have a hidden layer")
        if self.batch_rows > self.task.train_rows:
            raise ConfigError(
                f"LargeLearningRates.batch_rows = {self.batch_rows}: must be at most task.train_rows, "
                f"{self.task.train_rows}"
            )

    def rows(self) -> ONE:
        split = self.task.split(self.seeds)
        return {
            "train_NF": torch.from_numpy(split.train_inputs).double(),
            "train_label_N": torch.from_numpy(split.train_labels),
            "train_conflict_N": torch.from_numpy(split.train_conflicts),
            "test_TF": torch.from_numpy(split.test_inputs).double(),
            "test_label_T": torch.from_numpy(split.test_labels),
            "test_conflict_T": torch.from_numpy(split.test_conflicts),
        }

    def start(self) -> ONE:
        return self.model.init(self.task, self.seeds.init)

    def draws(self, step: int) -> ONE:
        epoch, place = divmod(step, self.task.train_rows // self.batch_rows)
        order_N = epoch_order(self.seeds.order, self.task.train_rows, epoch)
        return {"batch_B": order_N[place * self.batch_rows : (place + 1) * self.batch_rows]}

    def moved(self, state: Tensors, rows: Tensors, hyper: Tensors, step: Tensor) -> Tensors:
        batch_KB = rows["batch_B"]
        member_K1 = torch.arange(len(batch_KB), device=batch_KB.device).unsqueeze(1)
        inputs_KBF, labels_KB = rows["train_NF"][member_K1, batch_KB], rows["train_label_N"][member_K1, batch_KB]
        with torch.enable_grad():
            leaves = {name: value.detach().requires_grad_() for name, value in state.items()}
            total = row_losses(self.model.forward(leaves, inputs_KBF), labels_KB).mean(1).sum()
            gradients = torch.autograd.grad(total, list(leaves.values()))
        return {
            name: value - cast(hyper["learning_rate"], value) * (gradient + cast(hyper["weight_decay"], value) * value)
            for (name, value), gradient in zip(state.items(), gradients, strict=True)
        }

    def observe(self, state: Tensors, rows: Tensors, hyper: Tensors) -> Tensors:
        train_KNC = self.model.forward(state, rows["train_NF"])
        train_right_KN = train_KNC.argmax(2) == rows["train_label_N"]
        misled_KN = (rows["train_conflict_N"] & ~train_right_KN).double()
        activations: dict[str, Tensor] = {}
        labels_KT, conflict_KT = rows["test_label_T"], rows["test_conflict_T"].double()
        right_KT = (self.model.forward(state, rows["test_TF"], activations=activations).argmax(2) == labels_KT).double()
        hidden = [activations[layer] for layer in self.model.layers]
        pruned = {
            f"pruned_{percent}_accuracy": self.model.forward(weights, rows["test_TF"]).argmax(2) == labels_KT
            for percent, weights in zip(PRUNED, pruned_weights(state, PRUNED), strict=True)
        }
        return {
            "train_loss": row_losses(train_KNC, rows["train_label_N"]).mean(1),
            "train_accuracy": train_right_KN.double().mean(1),
            "test_accuracy": right_KT.mean(1),
            "conflict_accuracy": (right_KT * conflict_KT).sum(1) / conflict_KT.sum(1),
            **{name: right.double().mean(1) for name, right in pruned.items()},
            "zero_fraction": torch.cat([(layer == 0).double().flatten(1) for layer in hidden], dim=1).mean(1),
            "class_separation": separation(hidden[-1], labels_KT, self.task.classes),
            "conflict_confidence": (train_KNC.softmax(2).amax(2) * misled_KN).sum(1) / misled_KN.sum(1),
        }

    def flops_per_step(self) -> float:
        return 3.0 * self.batch_rows * self.model.flops_per_row(self.task)

    def data_fingerprint(self) -> str:
        return self.task.fingerprint(self.seeds)


@lru_cache(maxsize=64)  # A member asks for its epoch's order at each of its steps.
def epoch_order(seed: int, rows: int, epoch: int) -> Tensor:
    """Return the order in which an epoch reads the training rows: shape (N,), int64."""
    return torch.from_numpy(permutation(seed, BATCHES_STREAM, rows, epoch))


def row_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each row: shape (K, rows, C) to (K, rows)."""
    return functional.cross_entropy(logits.mT, labels, reduction="none")


def pruned_weights(parameters: Tensors, percents: tuple[int, ...]) -> list[Tensors]:
    """Return the parameters without the smallest weights of all layers together, for each share; biases stay."""
    weights = {name: value for name, value in parameters.items() if name.startswith("weight_")}
    magnitudes_KW = torch.cat([value.abs().flatten(1) for value in weights.values()], dim=1).sort(dim=1).values
    results: list[Tensors] = []
    for percent in percents:
        largest_pruned_K = magnitudes_KW[:, round(percent / 100 * magnitudes_KW.shape[1]) - 1]
        kept = {
            name: torch.where(value.abs() > cast(largest_pruned_K, value), value, 0.0)
            for name, value in weights.items()
        }
        results.append({**parameters, **kept})
    return results


def separation(hidden_KTH: Tensor, labels_KT: Tensor, classes: int) -> Tensor:
    """Return 1 - within / total variance of hidden activations, by class: shape (K,)."""
    member_KTC = functional.one_hot(labels_KT, classes).to(hidden_KTH.dtype)
    centred_KTH = hidden_KTH - hidden_KTH.mean(1, keepdim=True)
    sums_KCH = member_KTC.mT @ centred_KTH
    between_K = (sums_KCH.square().sum(2) / member_KTC.sum(1).clamp(min=1)).sum(1)
    return between_K / centred_KTH.square().sum((1, 2))
