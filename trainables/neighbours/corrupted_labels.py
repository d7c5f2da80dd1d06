"""Corrupted labels (Doshi et al. 2024, arXiv:2310.13061): memorizing and generalising neurons side by side.

A two-layer network with a quadratic activation learns addition mod p from a fraction α of all pairs, of whose labels a
fraction ξ is drawn anew.  It can memorize the random labels and generalise all the same; the neurons that do the one
and the other are told apart by how few Fourier frequencies their weights have, and weight decay removes the former.

    f(a, b) = V (U one-hot(a, b))²,  U of (N, 2p), V of (p, N), no biases
    loss = mean over rows and classes of (f - one-hot(label))²,  full batches, AdamW
    IPR of a neuron = mean over its three vectors w (for a, for b, for the label) of Σ_k (abs(ŵ_k) / ‖ŵ‖)⁴,  ŵ = rfft w

A vector of one frequency has an IPR of 1; one whose spectrum is flat, 1 / (p // 2 + 1).

Origin of the settings: p = 97, N = 500, both layers N(0, (.5 / (2N)^(1/3))²), AdamW with learning rate .01 and betas
(.9, .98), 2000 epochs, the decays 0, 5, 15 and 20, and random labels that may equal the true one are those of the
released code [C]; so are three numbers at α = .5, ξ = .35: a train accuracy of .6537 = 1 - .35 · 96/97 at decay 15, and
a loss of .010309 = 1/97, that of a network which has died, at decay 20.  That the number of random labels is rounded
down, the thresholds of the events and pruning by tenths of the neurons are ours [G].  The weights are float32, as
torch's are by default.  The paper's other two regularisers, dropout and batch normalisation, are left out.

Shape suffixes: K cohort, B rows, P = p numbers, N neurons.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from trainables.engine.cohort import GrokkingCohort
from trainables.engine.config import ConfigError, option
from trainables.engine.events import EventRule, PhaseRule, falls_to, rises_to
from trainables.engine.full_batch import FullBatchTrial
from trainables.engine.gradients import Tensors
from trainables.engine.losses import Loss, MeanSquaredError
from trainables.engine.models import DTYPES, Model
from trainables.engine.noise import Noise
from trainables.engine.one_hot import OneHotRows
from trainables.engine.optimizers import AdamW, Optimizer
from trainables.engine.probes import LossAndAccuracy, Norms, Probe
from trainables.engine.randomness import (
    CORRUPTION_STREAM,
    INIT_STREAM,
    ORDER_STREAM,
    permutation,
    random_bits,
    standard_normal,
)
from trainables.engine.subnormals import subnormals_flushed
from trainables.engine.tasks import ModularArithmetic, Split, Task
from trainables.engine.trial import Seeds

TENTHS = tuple(range(10, 100, 10))
"""The pruned shares of the neurons, in percent."""
ROWS = ("clean", "corrupted", "test")


@dataclass(frozen=True, kw_only=True)
class RandomlyLabelledAddition(ModularArithmetic):
    """a + b mod p, where the labels of some training rows are drawn anew, uniformly: 1 in p stays as it was."""

    p: int = option(97, at_least=2, at_most=2039, example=7)
    train_fraction: float = option(0.5, above=0.0, below=1.0, example=0.6)
    label_corruption: float = option(0.35, at_least=0.0, at_most=1.0, per_trial=True)
    """The share of training rows with a random label, which may be the true one; test labels stay true."""

    def result(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a + b

    def split(self, seeds: Seeds) -> Split:
        true = super(RandomlyLabelledAddition, self.replace(label_corruption=0.0)).split(seeds)
        _, labels = self._drawn(seeds)
        corrupted, rows = self.corrupted(seeds), permutation(seeds.order, ORDER_STREAM, self.train_rows)
        mixed = np.where(corrupted, labels[rows], true.train_labels)
        return Split(true.train_inputs, mixed, true.test_inputs, true.test_labels)

    def corrupted(self, seeds: Seeds) -> np.ndarray:
        """Return which training rows of :meth:`split` have a random label: shape (train rows,), bool.

        A larger share has the same rows with the same labels, and further ones.
        """
        rank, _ = self._drawn(seeds)
        count = math.floor(self.label_corruption * self.train_rows + 1e-9)
        return (rank < count)[permutation(seeds.order, ORDER_STREAM, self.train_rows)]

    def _drawn(self, seeds: Seeds) -> tuple[np.ndarray, np.ndarray]:
        """Return a random rank and a random label of each training row, in the order of the split."""
        rank_bits, label_bits = np.split(random_bits(seeds.split, CORRUPTION_STREAM, 2 * self.train_rows), 2)
        return rank_bits.argsort(kind="stable").argsort(), (label_bits % np.uint64(self.p)).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class QuadraticNetwork(Model):
    """One hidden layer of x² without biases on one-hot rows; both layers begin as N(0, (scale / (2N)^(1/3))²)."""

    neurons: int = option(500, at_least=10, example=16)
    init_scale: float = option(0.5, above=0.0, per_trial=True)
    dtype: str = option("float32", choices=tuple(DTYPES), example="float64")

    layers: ClassVar[tuple[str, ...]] = ("hidden",)
    readout: ClassVar[str] = "weight_1"

    def check(self, task: Task) -> None:
        if task.input_kind != "one_hot":
            raise ConfigError(f"QuadraticNetwork: reads one-hot rows only, not the {task.input_kind} ones of this task")

    def init(self, task: Task, seed: int) -> dict[str, Tensor]:
        first, second = (task.features, self.neurons), (self.neurons, task.classes)
        values = standard_normal(random_bits(seed, INIT_STREAM, 2 * (math.prod(first) + math.prod(second))))
        weights = torch.from_numpy(values * self.init_scale / (2 * self.neurons) ** (1 / 3)).to(DTYPES[self.dtype])
        parts = weights.split([math.prod(first), math.prod(second)])
        return {"weight_0": parts[0].reshape(first), "weight_1": parts[1].reshape(second)}

    def prepare(self, task: Task, inputs_KBA: Tensor) -> OneHotRows:
        return OneHotRows.of(inputs_KBA, task.features)

    def forward(
        self,
        parameters: Mapping[str, Tensor],
        inputs: Tensor | OneHotRows,
        noise: Noise | None = None,
        activations: dict[str, Tensor] | None = None,
    ) -> Tensor:
        if isinstance(inputs, Tensor):
            inputs = OneHotRows.of(inputs, parameters["weight_0"].shape[1])
        hidden_KBN = inputs.product(parameters["weight_0"]).square()
        if activations is not None:
            activations["hidden"] = hidden_KBN
        return torch.bmm(hidden_KBN, parameters["weight_1"])

    def flops_per_row(self, task: Task) -> float:
        return self.neurons * (task.active_features + 1.0 + 2.0 * task.classes)


@dataclass(frozen=True, kw_only=True)
class CorruptedLabels(FullBatchTrial):
    """One full-batch run on addition with random labels.

    Beside its probes' columns it has ``clean_accuracy`` and ``corrupted_accuracy`` of the training rows with true and
    with random labels (NaN where there are none), and ``ipr``, the mean over the neurons; at every n-th measurement and
    at the end, ``clean_pruned_30_accuracy`` and the like: those of the clean, the corrupted and the test rows without
    the 30 % of the neurons that have the lowest IPR.
    """

    task: RandomlyLabelledAddition = option(RandomlyLabelledAddition(), example=RandomlyLabelledAddition.example())
    model: QuadraticNetwork = option(QuadraticNetwork(), example=QuadraticNetwork.example())
    loss: Loss = option(MeanSquaredError())
    optimizer: Optimizer = option(AdamW(learning_rate=0.01, betas=(0.9, 0.98)))
    probes: tuple[Probe, ...] = option((LossAndAccuracy(), Norms()), protocol=True)
    prune_every: int = option(10, at_least=1, protocol=True)
    events: tuple[EventRule, ...] = option(
        (
            rises_to("test_accuracy", 0.9, name="t_test"),
            rises_to("corrupted_accuracy", 0.9, name="t_memorize"),
            falls_to("corrupted_accuracy", 0.9, name="t_slip", after="t_memorize"),
            falls_to("corrupted_accuracy", 0.1, name="t_unlearn", after="t_test"),
            falls_to("train_accuracy", 0.1, name="t_forget", after="t_memorize"),
        ),
        protocol=True,
    )
    phases: tuple[PhaseRule, ...] = option(
        (
            PhaseRule(name="forgetting", happened=("t_forget",), colour="#555555"),
            PhaseRule(name="full inversion", happened=("t_test", "t_unlearn"), colour="#005b8e"),
            PhaseRule(name="coexistence", happened=("t_test", "t_memorize"), not_happened=("t_slip",),
                      colour="#009e73"),
            PhaseRule(name="partial inversion", happened=("t_test",), colour="#56b4e9"),
            PhaseRule(name="memorization", happened=("t_memorize",), colour="#e69f00"),
            PhaseRule(name="confusion", not_happened=("t_test", "t_memorize"), colour="#b3b3b3"),
        ),
        protocol=True,
    )  # fmt: skip

    @classmethod
    def build(cls, trials: Sequence[Self], device: str = "cpu") -> "CorruptedLabelsCohort":
        """Build the cohort of these trials at step 0; see :meth:`TrialConfig.build`."""
        return CorruptedLabelsCohort(trials, device)

    def columns(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
        pruned = (f"{rows}_pruned_{share}_accuracy" for share in TENTHS for rows in ROWS)
        return (*super().columns(shapes), "clean_accuracy", "corrupted_accuracy", "ipr", *pruned)


class CorruptedLabelsCohort(GrokkingCohort):
    """The full-batch cohort, which knows which labels are random."""

    trials: Sequence[CorruptedLabels]

    def __init__(self, trials: Sequence[CorruptedLabels], device: str = "cpu") -> None:
        super().__init__(trials, device)
        corrupted = np.stack([trial.task.corrupted(trial.seeds) for trial in trials])
        self._rows["corrupted"] = torch.from_numpy(corrupted).to(self.device)

    def measure(self) -> dict[str, np.ndarray]:
        columns, shared = super().measure(), self.trials[0]
        parameters = self._split(self._weights_KP)
        with torch.no_grad(), subnormals_flushed(self.device):
            ipr_KN = participation_KN(parameters["weight_0"], parameters["weight_1"])
            train_K = self._shares_correct(self._propose().logits_KBV, "train")
            ours = {f"{rows}_accuracy": values_K for rows, values_K in train_K.items()} | {"ipr": ipr_KN.mean(1)}
            if shared.due(self._places.get(self.step), shared.prune_every):
                for split in ("train", "test"):
                    ours |= self._pruned(parameters, ipr_KN.argsort(1), split)
            values_CK = torch.stack([values_K.double() for values_K in ours.values()]).cpu().numpy()
        return columns | dict(zip(ours, values_CK, strict=True))

    def _pruned(self, parameters: Tensors, order_KN: Tensor, split: str) -> dict[str, Tensor]:
        """Return the accuracies without the first tenths of the neurons of an order."""
        first, second = parameters["weight_0"], parameters["weight_1"]
        first = first.gather(2, order_KN.unsqueeze(1).expand_as(first))
        second = second.gather(1, order_KN.unsqueeze(2).expand_as(second))
        hidden_KBN = self._inputs[split].product(first).square()
        ends = [round(share * order_KN.shape[1] / 100) for share in (*TENTHS, 100)]
        accuracies = {}
        logits_KBV = torch.zeros((), dtype=first.dtype, device=self.device)
        for share, (start, end) in reversed([*zip(TENTHS, pairwise(ends), strict=True)]):
            logits_KBV = logits_KBV + torch.bmm(hidden_KBN[:, :, start:end], second[:, start:end])
            for rows, values_K in self._shares_correct(logits_KBV, split).items():
                accuracies[f"{rows}_pruned_{share}_accuracy"] = values_K
        return accuracies

    def _shares_correct(self, logits_KBV: Tensor, split: str) -> dict[str, Tensor]:
        """Return the accuracy on the clean and on the corrupted rows, or on the test rows: shape (K,) each."""
        correct_KB = logits_KBV.argmax(-1) == self._rows[f"{split}_labels"]
        if split == "test":
            return {"test": correct_KB.double().mean(1)}
        corrupted_KB = self._rows["corrupted"]
        parts = {"clean": ~corrupted_KB, "corrupted": corrupted_KB}
        return {rows: (correct_KB & part_KB).sum(1) / part_KB.sum(1) for rows, part_KB in parts.items()}


def participation_KN(first_KIN: Tensor, second_KNP: Tensor) -> Tensor:
    """Return the inverse participation ratio (IPR) of each neuron, (K, N), float64; NaN where a vector is 0."""
    by_number_KNP = first_KIN.transpose(1, 2)
    vectors = torch.stack([*by_number_KNP.split(second_KNP.shape[2], dim=2), second_KNP]).double()
    spectra = torch.fft.rfft(vectors).abs()
    return (spectra / torch.linalg.vector_norm(spectra, dim=-1, keepdim=True)).pow(4).sum(-1).mean(0)
