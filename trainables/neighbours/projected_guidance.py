"""Guidance of a diffusion model, with its part along the prediction left out (Sadat et al. 2025, arXiv:2410.02416).

A denoiser D(x, σ, c) predicts the mean of the data behind x = data + σ N(0, I), given the class c or, as D_u, without
it.  Guidance moves the prediction away from D_u; adaptive projected guidance (APG) does so in this order:

    g = D_c - D_u;   g ← g + β g_previous;   g ← g min(1, r / ‖g‖);   g = g_∥ + g_⊥, g_∥ along D_c
    D = D_c + (w - 1) (g_⊥ + η g_∥)

With η = 1, no r and β = 0 this is classifier-free guidance (CFG), D_u + w (D_c - D_u).  The sampler is deterministic,
x ← D + (σ_next / σ) (x - D), from σ = 80 to 0.  Along D_c guidance makes the samples too long, which stands for the
oversaturation of images.

The data are eight Gaussians N(m_j, I) whose means are centred.  Their optimal denoisers have a closed form, which is
the denoiser ``exact`` and an outside judge of the ``trained`` one, an MLP that does not see the class of some rows.

Guidance acts in sampling alone, so a trial is a run of the sampler and a step is one of the sampler's; the network is
among the trial's rows, trained once a process for all trials of a seed that differ in w, η, r and β.

Origin of the settings: the order of the update, its projection in float64, and g_previous before r is applied [C]; r
is a constant of each model there, here it is the median of ‖g‖ over all samples and steps of the sampler without
guidance, or a share of it [G].  The denoiser's scaling and loss are those of Karras et al. 2022, the noise levels the
tangents of evenly spaced angles (the cosine schedule of Nichol and Dhariwal 2021), in training too.  All else is ours
[G]: means of norm 4 in standard deviations, in two dimensions on a circle and else drawn; 1000 samples, 64 steps;
two hidden layers of width 128, 3000 steps of 256 fresh rows, a fifth of them without class, and Adam at a rate that
falls from 5e-3 to 0.

Shape suffixes: K cohort, N samples (and rows of data), D dimensions, C classes, B training rows, I and O of a layer.
"""

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.engine.config import option
from trainables.engine.gradients import OrthogonalGradient, Tensors, per_member
from trainables.engine.iteration import ONE, IterationTrial
from trainables.engine.optimizers import Adam, stack_hyper
from trainables.engine.randomness import (
    DENOISER_STREAM,
    DENOISING_STREAM,
    MIXTURE_STREAM,
    SAMPLER_STREAM,
    normal_matrix,
    random_bits,
    signed_uniform,
)

CLASSES = 8
MEAN_NORM = 4.0
"""Root mean square of ‖m_j‖, in standard deviations of a Gaussian."""
HIGHEST = 80.0
"""The noise level at which the sampler begins."""
PROJECTION = OrthogonalGradient(rescale=False)
LAYERS, BATCH_ROWS, LEARNING_RATE = 3, 256, 5e-3
CLASSLESS = 0.2
"""The probability that a training row loses its class."""
NEIGHBOURS = 3
"""k of precision and recall."""


@dataclass(frozen=True, kw_only=True)
class ProjectedGuidance(IterationTrial):
    """Sampling from eight Gaussians under guidance whose part along the prediction is weighted."""

    measured: ClassVar[tuple[str, ...]] = ("radius_ratio", "precision", "recall", "class_accuracy", "gap_to_cfg")
    """Mean norm of the samples over that of as many rows of data; the share of samples among the data, and of data
    among the samples (:func:`covered`); the share of samples whose own class is the likeliest; and the largest
    difference so far between a coordinate of D and of CFG's D at the same point."""
    largest_cohort: ClassVar[int | None] = 10
    """A member's distances are 8 MB, its hidden activations 1 MB a layer."""

    dimension: int = option(32, at_least=2, example=3)
    denoiser: str = option("trained", choices=("trained", "exact"))
    scale: float = option(1.0, at_least=0.0, per_trial=True)
    """w: 1 is the conditional model alone."""
    parallel_share: float = option(1.0, per_trial=True)
    """η."""
    norm_limit: float = option(0.0, at_least=0.0, per_trial=True)
    """r over the median of ‖g‖ along the unguided samplers' paths; 0: none."""
    momentum: float = option(0.0, above=-1.0, below=1.0, per_trial=True)
    """β."""
    samples: int = option(1000, at_least=NEIGHBOURS + 1, example=16)
    """How many, and how many rows of data; the classes take turns."""
    sampler_steps: int = option(64, at_least=2, example=6)
    width: int = option(128, at_least=1, example=8)
    training_steps: int = option(3000, at_least=1, example=4)

    def rows(self) -> ONE:
        return prepared(self.replace(scale=1.0, parallel_share=1.0, norm_limit=0.0, momentum=0.0))

    def start(self) -> ONE:
        noise_ND = HIGHEST * normal_matrix(self.seeds.init, SAMPLER_STREAM, self.samples, self.dimension)
        nothing = torch.zeros((), dtype=torch.float64)
        return {"samples": noise_ND, "running": torch.zeros_like(noise_ND), "gap_to_cfg": nothing}

    def moved(self, state: Tensors, rows: Tensors, hyper: Tensors, step: Tensor) -> Tensors:
        levels_S = noise_levels(self.sampler_steps, step.device)
        place = step.long().clamp(max=self.sampler_steps - 1)
        level, following = levels_S.take(place), levels_S.take(place + 1)
        conditional_KND, unconditional_KND = self.denoised(state["samples"], level, rows)
        gap_KND = conditional_KND - unconditional_KND
        running_KND = gap_KND + per_member(hyper["momentum"], gap_KND) * state["running"]
        guided_KND = guided(conditional_KND, running_KND, rows["median_gap"], hyper)
        cfg_KND = unconditional_KND + per_member(hyper["scale"], gap_KND) * gap_KND
        apart_K = (guided_KND - cfg_KND).abs().flatten(1).amax(1)
        moved = {
            "samples": guided_KND + following / level * (state["samples"] - guided_KND),
            "running": running_KND,
            "gap_to_cfg": torch.maximum(state["gap_to_cfg"], apart_K),
        }
        # The sampler has an end, whatever the horizon.
        return {name: torch.where(step < self.sampler_steps, value, state[name]) for name, value in moved.items()}

    def observe(self, state: Tensors, rows: Tensors, hyper: Tensors) -> Tensors:
        samples_KND, data_KND = state["samples"], rows["data_ND"]
        distances_KNN = distances(samples_KND, data_KND)
        likeliest_KN = log_chances(samples_KND, 0.0, rows).argmax(2)
        return {
            "radius_ratio": samples_KND.norm(dim=2).mean(1) / data_KND.norm(dim=2).mean(1),
            "precision": covered(distances_KNN, rows["reach_N"]),
            "recall": covered(distances_KNN.mT, reach(samples_KND)),
            "class_accuracy": (likeliest_KN == rows["class_NC"].argmax(2)).double().mean(1),
            "gap_to_cfg": state["gap_to_cfg"],
        }

    def denoised(self, noisy_KND: Tensor, level: Tensor, rows: Tensors) -> tuple[Tensor, Tensor]:
        """Return D_c and D_u of the samples at one noise level."""
        class_KNC = rows["class_NC"]
        if self.denoiser == "exact":
            shares = (class_KNC, log_chances(noisy_KND, level, rows).softmax(2))
            conditional, unconditional = (
                (level**2 * (share_KNC @ rows["means_CD"]) + noisy_KND) / (1 + level**2) for share_KNC in shares
            )
        else:
            classes = (class_KNC, torch.zeros_like(class_KNC))
            conditional, unconditional = (network(rows, noisy_KND, level, given_KNC) for given_KNC in classes)
        return conditional, unconditional

    def flops_per_step(self) -> float:
        weights = self.width * (2 * self.width + 2 * self.dimension + CLASSES + 1)
        return 4.0 * self.samples * (weights if self.denoiser == "trained" else CLASSES * self.dimension)


def guided(conditional_KND: Tensor, gap_KND: Tensor, median_K: Tensor, hyper: Tensors) -> Tensor:
    """Return D, from D_c and from g with its momentum."""
    limit_K = torch.where(hyper["norm_limit"] > 0, hyper["norm_limit"] * median_K, math.inf)
    size_KN1 = gap_KND.norm(dim=2, keepdim=True)
    gap_KND = gap_KND * torch.where(size_KN1 > 0, per_member(limit_K, gap_KND) / size_KN1, 1.0).clamp(max=1.0)
    # Each sample is a member to the engine's projection.
    flat = PROJECTION.projected({"": conditional_KND.flatten(0, 1)}, {"": gap_KND.flatten(0, 1)})
    orthogonal_KND = flat[""].view_as(gap_KND)
    weighted_KND = orthogonal_KND + per_member(hyper["parallel_share"], gap_KND) * (gap_KND - orthogonal_KND)
    return conditional_KND + per_member(hyper["scale"] - 1, gap_KND) * weighted_KND


def network(weights: Tensors, noisy_KND: Tensor, level: Tensor, class_KNC: Tensor) -> Tensor:
    """Return the trained denoiser's prediction; classes of zeros are unknown ones.

    :param level: shape () or (K, N, 1).
    """
    spread = variance(noisy_KND.shape[2])
    size = (level**2 + spread).sqrt()
    label_KN1 = level.atan().expand(*noisy_KND.shape[:2], 1)
    hidden = torch.cat([noisy_KND / size, class_KNC, label_KN1], dim=2)
    for layer in range(LAYERS):
        hidden = torch.baddbmm(weights[f"bias_{layer}"], hidden, weights[f"matrix_{layer}"])
        hidden = hidden if layer == LAYERS - 1 else F.silu(hidden)
    return spread / size**2 * noisy_KND + level * spread**0.5 / size * hidden


def log_chances(noisy_KND: Tensor, level: Tensor | float, rows: Tensors) -> Tensor:
    """Return the log-likelihood of each class at a noise level, up to a constant of the sample: shape (K, N, C)."""
    means_KCD = rows["means_CD"]
    return (noisy_KND @ means_KCD.mT - means_KCD.square().sum(2).unsqueeze(1) / 2) / (1 + level**2)


def distances(left_KND: Tensor, right_KND: Tensor) -> Tensor:
    """Return every pair's distance, from the differences: shape (K, N, N)."""
    return torch.cdist(left_KND, right_KND, compute_mode="donot_use_mm_for_euclid_dist")


def reach(points_KND: Tensor) -> Tensor:
    """Return how far each point's k-th nearest other point is: shape (K, N)."""
    return distances(points_KND, points_KND).topk(NEIGHBOURS + 1, largest=False).values[..., -1]


def covered(distances_KNM: Tensor, reach_KM: Tensor) -> Tensor:
    """Return the share of the N points within reach of any of the M points (Kynkäänniemi et al. 2019): shape (K,)."""
    return (distances_KNM <= reach_KM.unsqueeze(1)).any(2).double().mean(1)


@cache
def noise_levels(steps: int, device: torch.device) -> Tensor:
    """Return σ before each step of the sampler, and 0 after the last: shape (steps + 1,), float64."""
    angles_S = torch.linspace(math.atan(HIGHEST), 0, steps + 1, dtype=torch.float64, device=device)
    return angles_S.tan()


def variance(dimension: int) -> float:
    """Return a coordinate's variance over the data, on average over the coordinates."""
    return 1 + MEAN_NORM**2 / dimension


def means(trial: ProjectedGuidance) -> Tensor:
    """Return the Gaussians' means, whose sum is 0: shape (C, D)."""
    if trial.dimension == 2:
        angles_C = 2 * math.pi / CLASSES * torch.arange(CLASSES, dtype=torch.float64)
        return MEAN_NORM * torch.stack([angles_C.cos(), angles_C.sin()], dim=1)
    drawn_CD = normal_matrix(trial.seeds.split, MIXTURE_STREAM, CLASSES, trial.dimension)
    drawn_CD = drawn_CD - drawn_CD.mean(0)
    return MEAN_NORM * drawn_CD / drawn_CD.square().sum(1).mean().sqrt()


@lru_cache(maxsize=64)
def prepared(trial: ProjectedGuidance) -> ONE:
    """Return the rows of every trial that differs from this one in its guidance alone."""
    means_CD = means(trial)
    class_NC = F.one_hot(torch.arange(trial.samples) % CLASSES, CLASSES).double()
    noise_ND = normal_matrix(trial.seeds.split, MIXTURE_STREAM, trial.samples, trial.dimension, block=1)
    data_ND = class_NC @ means_CD + noise_ND
    rows = {
        "means_CD": means_CD,
        "class_NC": class_NC,
        "data_ND": data_ND,
        "reach_N": reach(data_ND.unsqueeze(0))[0],
        **(trained(trial, means_CD) if trial.denoiser == "trained" else {}),
    }
    return rows | {"median_gap": median_gap(trial, rows)}


def median_gap(trial: ProjectedGuidance, rows: ONE) -> Tensor:
    """Return the median of ‖g‖ over the samples and the steps of the sampler without guidance: shape ()."""
    stacked = {name: value.unsqueeze(0) for name, value in rows.items()}
    samples_KND, sizes = trial.start()["samples"].unsqueeze(0), []
    levels_S = noise_levels(trial.sampler_steps, samples_KND.device)
    for level, following in pairwise(levels_S):
        conditional_KND, unconditional_KND = trial.denoised(samples_KND, level, stacked)
        sizes.append((conditional_KND - unconditional_KND).norm(dim=2))
        samples_KND = conditional_KND + following / level * (samples_KND - conditional_KND)
    return torch.cat(sizes).median()


def trained(trial: ProjectedGuidance, means_CD: Tensor) -> ONE:
    """Return the weights after training on fresh rows at each step."""
    sides = [trial.dimension + CLASSES + 1, *[trial.width] * (LAYERS - 1), trial.dimension]
    initial = {}
    for layer, (inputs, outputs) in enumerate(pairwise(sides)):
        drawn_IO = normal_matrix(trial.seeds.init, DENOISER_STREAM, inputs, outputs, block=layer)
        initial[f"matrix_{layer}"] = (drawn_IO / inputs**0.5).unsqueeze(0)
        initial[f"bias_{layer}"] = torch.zeros(1, 1, outputs, dtype=torch.float64)
    weights: Tensors = initial
    optimizer = Adam(learning_rate=LEARNING_RATE)
    hyper, state = stack_hyper([optimizer], torch.device("cpu")), optimizer.init_state(weights)
    for step in range(trial.training_steps):
        leaves = {name: value.requires_grad_() for name, value in weights.items()}
        gradients = torch.autograd.grad(denoising_loss(trial, leaves, means_CD, step), list(leaves.values()))
        falling = hyper | {"learning_rate": hyper["learning_rate"] * (1 - step / trial.training_steps)}
        weights, state = optimizer.update(
            {name: value.detach() for name, value in leaves.items()},
            dict(zip(leaves, gradients, strict=True)), state, falling, torch.tensor(step + 1.0).double(),
        )  # fmt: skip
    return {name: value[0] for name, value in weights.items()}


def denoising_loss(trial: ProjectedGuidance, weights: Tensors, means_CD: Tensor, step: int) -> Tensor:
    """Return the mean squared error of the network's output on one step's rows."""
    chance_3B = (1 - signed_uniform(random_bits(trial.seeds.order, DENOISING_STREAM, 3 * BATCH_ROWS, 2 * step))) / 2
    class_B, kept_B, angle_B = torch.from_numpy(chance_3B).view(3, BATCH_ROWS)
    class_BC = F.one_hot((CLASSES * class_B).ceil().long() - 1, CLASSES).double()
    level_B1 = (math.atan(HIGHEST) * angle_B).tan().unsqueeze(1)
    normal = normal_matrix(trial.seeds.order, DENOISING_STREAM, 2 * BATCH_ROWS, trial.dimension, block=2 * step + 1)
    clean_BD, noise_BD = class_BC @ means_CD + normal[:BATCH_ROWS], normal[BATCH_ROWS:]
    given_BC = class_BC * (kept_B > CLASSLESS).unsqueeze(1)
    noisy_1BD = (clean_BD + level_B1 * noise_BD).unsqueeze(0)
    error_BD = network(weights, noisy_1BD, level_B1.unsqueeze(0), given_BC.unsqueeze(0))[0] - clean_BD
    return ((1 / level_B1**2 + 1 / variance(trial.dimension)) * error_BD.square()).mean()
