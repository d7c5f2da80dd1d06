"""Catastrophic overfitting of single-step adversarial training (Lin et al. 2023, AAER), in a small CNN on MNIST.

Training on the points that one step of the fast gradient sign method (FGSM) finds makes a network robust, until within
an epoch its accuracy under many small steps (projected gradient descent, PGD) falls to nothing while its accuracy
under the single step rises.  With u uniform in [-1, 1] per pixel and CE the cross-entropy of a row:

    x_before = clip(x + r ε u),  x_after = clip(x + P(x_before - x + s ε sign ∇CE(x_before)))
    FGSM: r = 0, s = 1;  RS-FGSM: r = 1, s = 1.25, P clamps to ±ε;  N-FGSM: r = 2, s = 1, P is the identity

clip keeps pixels in [0, 1].  A row is abnormal, in A, where CE(x_before) > CE(x_after): the step upwards went down.
AAER (abnormal adversarial examples regularization) adds to the batch's mean CE(x_after)

    λ1 (n_A / B) [λ2 mean_A (CE(x_before) - CE(x_after)) + λ3 max(V_A - V_N, 0)],
    V_A = mean_A ‖f(x_after) - f(x_before)‖²,  V_N likewise over the other rows

where f(x_before) and V_N are constants.  In the released scripts both CE of the λ2 term are constants too, so that λ2
changes no gradient: λ2 = 0 here is the released rule; λ2 > 0 differentiates both.

Origin of the settings: r, s, P, λ1 = 1 and the loss are those of the released code [C], and so is PGD of 50 steps of
ε / 4 from 10 random starts in the size ``full``; the paper trains PreActResNet-18 on CIFAR-10 [R].  MNIST, the network
(two convolutions of 4 x 4 by strides of 2, a hidden layer, ReLU, He's initial weights), plain mini-batches without
augmentation, ε that rises from 0 over the first steps, and the shorter PGD are ours [G].  A row counts as right under
PGD when it is right at the end of every restart; the random starts are the same in every trial.  V is the sum over the
classes.

The rules of events know fixed thresholds, not shares of a column's best so far.  So a run counts as collapsed when PGD
accuracy has been at .5 and then falls to a quarter, and the gap between FGSM and PGD accuracy is at .5.

Shape suffixes: K cohort, B rows, P pixels, V classes, T parameters, N batches of an epoch, M tallies.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import prod
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.data.mnist import CLASSES, PIXELS, MNISTSubset
from trainables.engine.config import ConfigError, digest, option
from trainables.engine.events import EventRule, PhaseRule, falls_to, rises_to
from trainables.engine.gradients import Tensors, per_member
from trainables.engine.iteration import ONE, IterationTrial
from trainables.engine.optimizers import SGD, Optimizer
from trainables.engine.randomness import (
    ATTACK_START_STREAM,
    CNN_STREAM,
    FAST_BATCH_STREAM,
    PGD_START_STREAM,
    permutation,
    random_bits,
    signed_uniform,
    standard_normal,
)

SIDE = 28
Logits = Callable[[Tensor], Tensor]
"""From pixels, (K, B, P), to logits, (K, B, V)."""


class Attack(NamedTuple):
    """A single-step attack: radius of its random start and length of its step, in ε; whether it ends within ±ε."""

    radius: float
    step: float
    projects: bool


ATTACKS = {"FGSM": Attack(0.0, 1.0, True), "RS-FGSM": Attack(1.0, 1.25, True), "N-FGSM": Attack(2.0, 1.0, False)}
OPTIMIZER = "optimizer."


@dataclass(frozen=True, kw_only=True)
class CatastrophicOverfitting(IterationTrial):
    """Single-step adversarial training, with or without AAER, by any optimizer that works entry by entry."""

    measured: ClassVar[tuple[str, ...]] = (
        "clean_accuracy",
        "fgsm_accuracy",
        "pgd_accuracy",
        "gap_fraction",
        "abnormal_fraction",
        "abnormal_variation",
        "normal_variation",
    )
    """Accuracy on test rows: as they are, under FGSM from zero, under PGD; FGSM minus PGD.  Of the training rows of the
    last epoch (or since step 0): the share that was abnormal when it was trained on, and V_A and V_N."""
    largest_cohort: ClassVar[int | None] = 15
    """Beyond a few members the activations leave the cache, and more gain nothing."""

    attack: str = option("FGSM", choices=tuple(ATTACKS))
    epsilon: float = option(0.3, above=0.0, at_most=1.0, per_trial=True)
    step_factor: float = option(1.0, above=0.0, per_trial=True)
    """On the attack's own step."""
    lambda1: float = option(0.0, at_least=0.0, per_trial=True)
    """0: without AAER."""
    lambda2: float = option(0.0, at_least=0.0)
    lambda3: float = option(1.5, at_least=0.0, per_trial=True)
    ramp_steps: int = option(0, at_least=0)
    """Over this many steps the ε of training rises from 0."""
    train_rows: int = option(2000, at_least=1, at_most=60_000, example=40)
    test_rows: int = option(100, at_least=1, at_most=10_000, example=10)
    batch_rows: int = option(50, at_least=1, example=20)
    channels: tuple[int, int] = option((8, 16), at_least=1, example=(2, 3))
    hidden: int = option(64, at_least=1, example=4)
    pgd_steps: int = option(10, at_least=1, example=2)
    """Each of ε / 4."""
    pgd_restarts: int = option(1, at_least=1)
    optimizer: Optimizer = option(SGD(learning_rate=0.1, momentum=0.9))
    events: tuple[EventRule, ...] = option(
        (
            rises_to("pgd_accuracy", 0.5, name="t_robust", hold_measurements=1, hold_fraction=0.0),
            falls_to("pgd_accuracy", 0.25, name="t_fall", after="t_robust", hold_measurements=2),
            rises_to("gap_fraction", 0.5, name="t_gap", hold_measurements=2),
        ),
        protocol=True,
    )
    phases: tuple[PhaseRule, ...] = option(
        (
            PhaseRule(name="catastrophic overfitting", happened=("t_fall", "t_gap"), colour="#d55e00"),
            PhaseRule(name="masked from the start", happened=("t_gap",), not_happened=("t_robust",), colour="#cc79a7"),
            PhaseRule(name="robust", happened=("t_robust",), not_happened=("t_gap",), colour="#0072b2"),
            PhaseRule(name="not robust", not_happened=("t_robust", "t_gap"), colour="#b3b3b3"),
        ),
        protocol=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.optimizer.elementwise:
            name = type(self.optimizer).__name__
            raise ConfigError(f"CatastrophicOverfitting.optimizer = {name}: must be one that works entry by entry")
        if self.batch_rows > self.train_rows:
            raise ConfigError(
                f"CatastrophicOverfitting.batch_rows = {self.batch_rows}: must be at most the {self.train_rows} "
                "training rows"
            )

    @property
    def batches(self) -> int:
        """How many batches an epoch has; rows that are too few for another are left out of it."""
        return self.train_rows // self.batch_rows

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of weights and biases, in the order in which a member's vector holds them."""
        first, second = self.channels
        return (
            *((first, 1, 4, 4), (first,), (second, first, 4, 4), (second,)),
            *((second * (SIDE // 4) ** 2, self.hidden), (self.hidden,), (self.hidden, CLASSES), (CLASSES,)),
        )

    def _images(self) -> MNISTSubset:
        return MNISTSubset(train_rows=self.train_rows, test_rows=self.test_rows)

    def data_fingerprint(self) -> str:
        return digest([super().data_fingerprint(), self._images().fingerprint(self.seeds)])

    def rows(self) -> ONE:
        split = self._images().split(self.seeds)
        return {
            "train_BP": torch.from_numpy(split.train_inputs).double(),
            "train_B": torch.from_numpy(split.train_labels),
            "test_BP": torch.from_numpy(split.test_inputs).double(),
            "test_B": torch.from_numpy(split.test_labels),
        }

    def start(self) -> ONE:
        sizes = [prod(shape) for shape in self.shapes]
        normal = torch.from_numpy(standard_normal(random_bits(self.seeds.init, CNN_STREAM, 2 * sum(sizes))))
        scales = [
            (2 / prod(shape[1:] if len(shape) == 4 else shape[:1])) ** 0.5 if len(shape) > 1 else 0.0
            for shape in self.shapes
        ]
        weights = normal * torch.tensor(scales, dtype=torch.float64).repeat_interleave(torch.tensor(sizes))
        buffers = self.optimizer.init_state({"weights": weights})
        return {
            "weights": weights,
            **{buffer: tensors["weights"] for buffer, tensors in buffers.items()},
            "tallies": torch.zeros(self.batches, 4, dtype=torch.float64),
        }

    def draws(self, step: int) -> ONE:
        epoch, batch = divmod(step, self.batches)
        order = epoch_order(self.seeds.order, self.train_rows, epoch)
        return {
            "chosen_B": order[batch * self.batch_rows : (batch + 1) * self.batch_rows],
            "noise_BP": noise(self.seeds.order, ATTACK_START_STREAM, self.batch_rows, step),
        }

    def moved(self, state: Tensors, rows: Tensors, hyper: Tensors, step: Tensor) -> Tensors:
        chosen_KB = rows["chosen_B"]
        x_KBP = rows["train_BP"].take_along_dim(chosen_KB.unsqueeze(2), dim=1)
        label_KB = rows["train_B"].take_along_dim(chosen_KB, dim=1)
        epsilon_K = hyper["epsilon"] * ((step + 1) / max(self.ramp_steps, 1)).clamp(max=1)
        gradient_KT, tally_KM = self.gradient(
            state["weights"], x_KBP, label_KB, rows["noise_BP"], {**hyper, "epsilon": epsilon_K}
        )
        ours = {name.removeprefix(OPTIMIZER): value for name, value in hyper.items() if name.startswith(OPTIMIZER)}
        buffers = {name: {"weights": state[name]} for name in state.keys() - {"weights", "tallies"}}
        weights, next_buffers = self.optimizer.update(
            {"weights": state["weights"]}, {"weights": gradient_KT}, buffers, ours, step + 1
        )
        return {
            **weights,
            **{buffer: tensors["weights"] for buffer, tensors in next_buffers.items()},
            "tallies": torch.cat([state["tallies"][:, 1:], tally_KM.unsqueeze(1)], dim=1),
        }

    def gradient(
        self, weights_KT: Tensor, x_KBP: Tensor, label_KB: Tensor, noise_KBP: Tensor, hyper: Tensors
    ) -> tuple[Tensor, Tensor]:
        """Return the gradient of a batch's loss, (K, T), and its tallies: rows, abnormal ones, V summed over A and N.

        :param noise_KBP: u.
        """
        attack = ATTACKS[self.attack]
        epsilon_K11, factor_K11 = (per_member(hyper[name], x_KBP) for name in ("epsilon", "step_factor"))
        with torch.enable_grad():
            weights_KT = weights_KT.detach().requires_grad_()
            before_KBP = (x_KBP + attack.radius * epsilon_K11 * noise_KBP).clamp(0, 1).requires_grad_()
            before_KBV = self.logits(weights_KT, before_KBP)
            before_KB = row_losses(before_KBV, label_KB)
            (uphill_KBP,) = torch.autograd.grad(before_KB.sum(), before_KBP, retain_graph=self.lambda2 > 0)
            moved_KBP = before_KBP.detach() - x_KBP + attack.step * factor_K11 * epsilon_K11 * uphill_KBP.sign()
            if attack.projects:
                moved_KBP = moved_KBP.clamp(-epsilon_K11, epsilon_K11)
            after_KBV = self.logits(weights_KT, (x_KBP + moved_KBP).clamp(0, 1))
            after_KB = row_losses(after_KBV, label_KB)
            variation_KB = (after_KBV - before_KBV.detach()).square().sum(2)
            abnormal_KB = (before_KB > after_KB).double()
            loss_K = after_KB.mean(1) + hyper["lambda1"] * aaer_K(
                abnormal_KB, before_KB - after_KB, variation_KB, self.lambda2, hyper["lambda3"]
            )
            (gradient_KT,) = torch.autograd.grad(loss_K.sum(), weights_KT)
        tallies = (
            torch.ones_like(abnormal_KB),
            abnormal_KB,
            abnormal_KB * variation_KB,
            (1 - abnormal_KB) * variation_KB,
        )
        return gradient_KT, torch.stack([each.detach().sum(1) for each in tallies], dim=1)

    def observe(self, state: Tensors, rows: Tensors, hyper: Tensors) -> Tensors:
        x_KBP, label_KB = rows["test_BP"], rows["test_B"]
        epsilon_K11 = per_member(hyper["epsilon"], x_KBP)

        def logits(pixels_KBP: Tensor) -> Tensor:
            return self.logits(state["weights"], pixels_KBP)

        def right(pixels_KBP: Tensor) -> Tensor:
            return logits(pixels_KBP).argmax(2) == label_KB

        fgsm_KBP = ascended(logits, x_KBP, x_KBP, label_KB, epsilon_K11, epsilon_K11)
        robust_KB = torch.ones_like(label_KB, dtype=torch.bool)
        for restart in range(self.pgd_restarts):
            start_BP = noise(0, PGD_START_STREAM, self.test_rows, restart).to(x_KBP.device)
            robust_KB &= right(pgd(logits, x_KBP, label_KB, epsilon_K11, start_BP, self.pgd_steps))
        clean_K, fgsm_K, pgd_K = (each.double().mean(1) for each in (right(x_KBP), right(fgsm_KBP), robust_KB))
        seen_K, abnormal_K, of_abnormal_K, of_normal_K = state["tallies"].sum(1).unbind(1)
        return {
            "clean_accuracy": clean_K,
            "fgsm_accuracy": fgsm_K,
            "pgd_accuracy": pgd_K,
            "gap_fraction": fgsm_K - pgd_K,
            "abnormal_fraction": abnormal_K / seen_K,
            "abnormal_variation": of_abnormal_K / abnormal_K,
            "normal_variation": of_normal_K / (seen_K - abnormal_K),
        }

    def logits(self, weights_KT: Tensor, pixels_KBP: Tensor) -> Tensor:
        """Return the network's logits: shape (K, B, V).  Convolutions of all members are one, in groups."""
        members, count = pixels_KBP.shape[:2]
        ends = [*accumulate(prod(shape) for shape in self.shapes)]
        parts = [part.unflatten(1, shape) for part, shape in
                 zip(weights_KT.tensor_split(ends[:-1], dim=1), self.shapes, strict=True)]  # fmt: skip
        h = pixels_KBP.transpose(0, 1).reshape(count, members, SIDE, SIDE)
        for weight, bias in (parts[:2], parts[2:4]):
            h = F.conv2d(h, weight.flatten(0, 1), bias.flatten(), stride=2, padding=1, groups=members).relu()
        h = h.reshape(count, members, -1).transpose(0, 1)
        h = (h @ parts[4] + parts[5].unsqueeze(1)).relu()
        return h @ parts[6] + parts[7].unsqueeze(1)

    def flops_per_step(self) -> float:
        first, second = self.channels
        forward = 196 * 16 * first + 49 * 16 * first * second + (49 * second + CLASSES) * self.hidden
        return 10.0 * self.batch_rows * forward


def aaer_K(abnormal_KB: Tensor, drop_KB: Tensor, variation_KB: Tensor, lambda2: float, lambda3_K: Tensor) -> Tensor:
    """Return AAER without λ1: shape (K,).

    :param abnormal_KB: 1 for rows in A, else 0.
    :param drop_KB: CE(x_before) - CE(x_after).
    """
    count_K, rows = abnormal_KB.sum(1), abnormal_KB.shape[1]
    # A mean over no row is 0.
    of_abnormal_K = (abnormal_KB * variation_KB).sum(1) / count_K.clamp(min=1)
    of_normal_K = ((1 - abnormal_KB) * variation_KB).sum(1).detach() / (rows - count_K).clamp(min=1)
    excess_K = (of_abnormal_K - of_normal_K).clamp(min=0)
    penalty_K = count_K / rows * lambda3_K * excess_K
    return penalty_K + lambda2 * (abnormal_KB * drop_KB).sum(1) / rows if lambda2 else penalty_K


def row_losses(logits_KBV: Tensor, label_KB: Tensor) -> Tensor:
    """Return the cross-entropy of each row: shape (K, B)."""
    return F.cross_entropy(logits_KBV.flatten(0, 1), label_KB.flatten(), reduction="none").view_as(label_KB)


def ascended(
    logits: Logits, at_KBP: Tensor, x_KBP: Tensor, label_KB: Tensor, step_K11: Tensor, epsilon_K11: Tensor
) -> Tensor:
    """Return the points one signed step of the loss's gradient further, within ±ε of x and within [0, 1]."""
    with torch.enable_grad():
        at_KBP = at_KBP.detach().requires_grad_()
        (uphill_KBP,) = torch.autograd.grad(row_losses(logits(at_KBP), label_KB).sum(), at_KBP)
    moved_KBP = (at_KBP.detach() - x_KBP + step_K11 * uphill_KBP.sign()).clamp(-epsilon_K11, epsilon_K11)
    return (x_KBP + moved_KBP).clamp(0, 1)


def pgd(logits: Logits, x_KBP: Tensor, label_KB: Tensor, epsilon_K11: Tensor, start_BP: Tensor, steps: int) -> Tensor:
    """Return where projected gradient descent ends from x + ε · start, by steps of ε / 4."""
    at_KBP = (x_KBP + epsilon_K11 * start_BP).clamp(0, 1)
    for _ in range(steps):
        at_KBP = ascended(logits, at_KBP, x_KBP, label_KB, epsilon_K11 / 4, epsilon_K11)
    return at_KBP


@lru_cache(maxsize=64)
def noise(seed: int, stream: int, rows: int, block: int) -> Tensor:
    """Return u: shape (rows, P), uniform in [-1, 1).  The cells of a seed share it."""
    return torch.from_numpy(signed_uniform(random_bits(seed, stream, rows * PIXELS, block))).reshape(rows, PIXELS)


@lru_cache(maxsize=64)
def epoch_order(seed: int, rows: int, epoch: int) -> Tensor:
    """Return the order of the training rows in an epoch: shape (rows,)."""
    return torch.from_numpy(permutation(seed, FAST_BATCH_STREAM, rows, epoch))
