"""XOR cluster data with flipped labels, fitted by a two-layer ReLU network (Xu et al. 2024, arXiv:2310.02541).

A row is one of four cluster centres plus noise in very many dimensions, and the label says which axis its centre is on:

    x = c + ξ,  c ∈ {μ₁, -μ₁: label +1;  μ₂, -μ₂: label -1},  ξ ~ N(0, I_p),  μ₁ ⟂ μ₂, of one norm
    each training label is flipped with probability η
    f(x) = Σ_j a_j max(w_j·x, 0),  a_j = ±1/√m, fixed;  loss = mean log(1 + exp(-y f(x))),  full-batch gradient descent

From a start that is small against the step, the first step makes f nearly linear in the training rows: it fits every
row, the flipped ones too, and knows nothing of the clusters, since XOR has no linear solution.  Later steps learn the
features μ₁ and μ₂, and the network generalises while it goes on fitting the flipped labels.

Structure.  Gradient descent moves W in the span of the training rows, and f sees a row only by W's products with it.
So everything happens in the span of μ₁, μ₂, the first weights and the training rows: m + n + 2 dimensions in place of
p.  :func:`span` gives coordinates of those vectors in an orthonormal basis of their span (the Cholesky factor of their
Gram matrix); a test row's noise, which is independent of them, has coordinates N(0, I) there, exactly.  All numbers of
a run are those of the run in p dimensions.

Origin of the settings: data, network, labels with η = .1, logistic loss and the small start are the paper's and its
reviews' [R]; m = 100, n = 400, p = 20 000, step .1, weights N(0, (1e-5)²), 20 steps, 2000 test rows are ours [G], and
so are a sign drawn for each a_j and the four clusters drawn alike.

Shape suffixes: K cohort, N training rows, T test rows, M neurons, S = m + n + 2 dimensions of the span, P = p.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.engine.config import ConfigError, option
from trainables.engine.events import ACCURACY_PHASES, EventRule, PhaseRule, rises_to
from trainables.engine.gradients import Tensors, per_member
from trainables.engine.iteration import ONE, IterationTrial
from trainables.engine.randomness import (
    CLUSTER_STREAM,
    FIRST_LAYER_STREAM,
    FLIP_STREAM,
    NOISE_ROWS_STREAM,
    SECOND_LAYER_STREAM,
    TEST_ROWS_STREAM,
    normal_matrix,
    random_bits,
    signed_uniform,
)
from trainables.engine.trial import Seeds

CENTRES = ((1.0, 0.0, 1.0), (-1.0, 0.0, 1.0), (0.0, 1.0, -1.0), (0.0, -1.0, -1.0))
"""Of each cluster: its place in units of ‖μ‖ along μ₁ and μ₂, and its label."""
MEANS = 2
"""How many of the span's vectors are directions of means; they come first, and are its first two coordinates."""


@dataclass(frozen=True, kw_only=True)
class XORClusters(IterationTrial):
    """The two-layer network on XOR clusters, in the span that its weights never leave."""

    measured: ClassVar[tuple[str, ...]] = (
        "train_loss",
        "train_accuracy",
        "flipped_accuracy",
        "test_accuracy",
        "alignment",
    )
    """Loss and accuracy on the training labels, flipped ones included; accuracy on the rows with flipped labels alone
    (NaN without any); on test rows with clean labels; and the mean over neurons of the larger |cos| between w_j and μ₁
    or μ₂."""
    autonomous: ClassVar[bool] = True
    largest_cohort: ClassVar[int | None] = 10
    """A member's rows are 10 MB."""

    dimension: int = option(20_000, at_least=4, example=40)
    """p."""
    train_rows: int = option(400, at_least=1, example=12)
    """n."""
    test_rows: int = option(2000, at_least=1, example=20)
    width: int = option(100, at_least=1, example=8)
    """m."""
    mean_norm: float = option(20.0, above=0.0, per_trial=True)
    """‖μ₁‖ = ‖μ₂‖."""
    flip_probability: float = option(0.1, at_least=0.0, at_most=0.5, per_trial=True)
    init_std: float = option(1e-5, above=0.0, per_trial=True)
    learning_rate: float = option(0.1, above=0.0, per_trial=True)
    events: tuple[EventRule, ...] = option(
        (
            rises_to("train_accuracy", 0.99, name="t_mem", hold_measurements=1),
            rises_to("test_accuracy", 0.95, name="t_gen", hold_measurements=1),
        ),
        protocol=True,
    )
    phases: tuple[PhaseRule, ...] = option(ACCURACY_PHASES, protocol=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dimension < self._span:
            raise ConfigError(
                f"XORClusters.dimension = {self.dimension}: must be at least {self._span}, the rows, the neurons and "
                "the two means together"
            )

    @property
    def _span(self) -> int:
        return MEANS + self.width + self.train_rows

    def rows(self) -> ONE:
        coordinates_SS = span(self.seeds, self.width, self.train_rows, self.dimension)
        noise_NS = coordinates_SS[MEANS + self.width :]
        test_TS = normal_matrix(self.seeds.split, TEST_ROWS_STREAM, self.test_rows, self._span)
        centre_N, clean_N = self._clusters(self.train_rows, 0)
        centre_T, label_T = self._clusters(self.test_rows, 1)
        chance_N = (signed_uniform(random_bits(self.seeds.split, FLIP_STREAM, self.train_rows)) + 1) / 2
        flipped_N = torch.from_numpy(chance_N) < self.flip_probability
        signs_M = random_bits(self.seeds.init, SECOND_LAYER_STREAM, self.width) >> 63
        readout_M = (2.0 * torch.from_numpy(signs_M.astype(float)) - 1) / self.width**0.5
        return {
            "train_NS": F.pad(centre_N, (0, self._span - MEANS)) + noise_NS,
            "test_TS": F.pad(centre_T, (0, self._span - MEANS)) + test_TS,
            "label_N": torch.where(flipped_N, -clean_N, clean_N),
            "flipped_N": flipped_N,
            "label_T": label_T,
            "readout_M": readout_M,
        }

    def start(self) -> ONE:
        coordinates_SS = span(self.seeds, self.width, self.train_rows, self.dimension)
        return {"weights": self.init_std * coordinates_SS[MEANS : MEANS + self.width]}

    def moved(self, state: Tensors, rows: Tensors, hyper: Tensors, step: Tensor) -> Tensors:
        weights_KMS, train_KNS, label_KN = state["weights"], rows["train_NS"], rows["label_N"]
        hidden_KNM = train_KNS @ weights_KMS.mT
        margin_KN = label_KN * output(hidden_KNM, rows)
        # -dloss/df = y σ(-y f) / n, and df/dw_j = a_j 1[w_j·x > 0] x.
        pull_KN = label_KN * torch.sigmoid(-margin_KN) / self.train_rows
        pull_KMN = rows["readout_M"].unsqueeze(2) * (pull_KN.unsqueeze(2) * (hidden_KNM > 0)).mT
        return {"weights": weights_KMS + per_member(hyper["learning_rate"], weights_KMS) * (pull_KMN @ train_KNS)}

    def observe(self, state: Tensors, rows: Tensors, hyper: Tensors) -> Tensors:
        weights_KMS = state["weights"]
        train_KN = rows["label_N"] * output(rows["train_NS"] @ weights_KMS.mT, rows)
        test_KT = output(rows["test_TS"] @ weights_KMS.mT, rows)
        fitted_KN, flipped_KN = (train_KN > 0).double(), rows["flipped_N"].double()
        cosine_KM2 = weights_KMS[:, :, :MEANS] / weights_KMS.norm(dim=2, keepdim=True)
        return {
            "train_loss": F.softplus(-train_KN).mean(1),
            "train_accuracy": fitted_KN.mean(1),
            "flipped_accuracy": (fitted_KN * flipped_KN).sum(1) / flipped_KN.sum(1),
            "test_accuracy": (rows["label_T"] * test_KT > 0).double().mean(1),
            "alignment": cosine_KM2.abs().amax(2).mean(1),
        }

    def flops_per_step(self) -> float:
        return 4.0 * self.train_rows * self.width * self._span

    def _clusters(self, count: int, block: int) -> tuple[Tensor, Tensor]:
        """Draw the clusters of some rows: centres along the means' directions, shape (count, 2), and clean labels."""
        cluster = (random_bits(self.seeds.split, CLUSTER_STREAM, count, block) >> 62).astype(int)
        drawn = torch.tensor(CENTRES, dtype=torch.float64)[torch.from_numpy(cluster)]
        return self.mean_norm * drawn[:, :MEANS], drawn[:, MEANS]


def output(hidden: Tensor, rows: Tensors) -> Tensor:
    """Return f from the products w_j·x: shape (K, rows, M) to (K, rows)."""
    return torch.einsum("krm,km->kr", hidden.relu(), rows["readout_M"])


def spanning(seeds: Seeds, width: int, rows: int, dimension: int) -> Tensor:
    """Return what spans a run, shape (S, P): the means' directions, w_j / init_std, the noise of the training rows."""
    means_2P = torch.eye(MEANS, dimension, dtype=torch.float64)
    first_MP = normal_matrix(seeds.init, FIRST_LAYER_STREAM, width, dimension)
    noise_NP = normal_matrix(seeds.split, NOISE_ROWS_STREAM, rows, dimension)
    return torch.cat([means_2P, first_MP, noise_NP])


@lru_cache(maxsize=24)
def span(seeds: Seeds, width: int, rows: int, dimension: int) -> Tensor:
    """Return the coordinates of :func:`spanning` in an orthonormal basis of their span: shape (S, S), lower triangular.

    They do not depend on the means' norm, the initial scale or the step: the cells of a seed share them.
    """
    vectors_SP = spanning(seeds, width, rows, dimension)
    return torch.linalg.cholesky(vectors_SP @ vectors_SP.T)
