"""Every option of a trial's recipe against twenty steps of a plain loop that is written out for it, in float64.

The loops share nothing with the engine but the initial weights and the training rows; AdamW, Adam and SGD are torch's.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.interventions import SwitchLoss, SwitchOptimizer, ZeroTrueClassGradient
from trainables.engine.losses import (
    MeanSquaredError,
    SoftmaxCrossEntropy,
    StableMaxCrossEntropy,
    TaylorSoftmaxCrossEntropy,
)
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD, Adam, AdamW, NormalizedSGD
from trainables.engine.penalties import L1, L2, LogitNorm
from trainables.engine.schedules import Cosine, Warmup
from trainables.engine.tasks import ModularAddition
from trainables.grokking import GrokkingTrial

STEPS, AT, RATE = 20, 8, 0.01
SOFTMAX = SoftmaxCrossEntropy(dtype="float64")


def cross_entropy(z, y, theta, step):
    return nn.functional.cross_entropy(z, y)


def true_of(z, y):
    return z[torch.arange(len(y)), y]


def taylor(z, y, theta, step):
    x = z - z.min(1, keepdim=True).values
    t = 1 + x + x**2 / 2
    return -(true_of(t, y) / t.sum(1)).log().mean()


def stablemax(z, y):
    s = torch.where(z >= 0, z + 1, 1 / (1 - torch.where(z < 0, z, 0.0)))
    return s / s.sum(1, keepdim=True)


def smoothed_stablemax(z, y, theta, step):
    log_p = stablemax(z, y).log()
    return -(0.8 * true_of(log_p, y) + 0.2 * log_p.mean(1)).mean()


def held_true_logit(z, y, theta, step):
    """From AT on the true class's logit is a constant: -z_y + log sum_k exp z_k, its own part of both terms dropped."""
    if step < AT:
        return cross_entropy(z, y, theta, step)
    constant = true_of(z, y).detach()
    others = z.exp().sum(1) - true_of(z, y).exp()
    return (-constant + (constant.exp() + others).log()).mean()


def by_hand_softmax(z, y, theta, step):
    x = z - z.max(1, keepdim=True).values
    return -(true_of(x, y) - x.exp().sum(1).log()).mean()


def over_gradient_norm(theta, rate):
    norm = math.sqrt(sum(float((parameter.grad**2).sum()) for parameter in theta))
    with torch.no_grad():
        for parameter in theta:
            parameter -= rate / norm * parameter.grad


def orthogonal_globally(theta):
    w, g = (torch.cat([tensor.flatten() for tensor in each]) for each in ([*theta], [p.grad for p in theta]))
    g = g - (w @ g) / (w @ w) * w
    for parameter, piece in zip(theta, g.split([p.numel() for p in theta]), strict=True):
        parameter.grad = piece.view(parameter.shape).detach().clone()


def torch_adamw(theta):
    return torch.optim.AdamW(theta, lr=RATE, weight_decay=0.1)


@dataclass
class Case:
    """A recipe twice: as fields of a trial, and written out."""

    fields: dict
    objective: Callable = cross_entropy
    optimizer: Callable = torch_adamw
    rate: Callable = lambda step: RATE
    """Of the update from ``step`` on to the next, steps counted from 0."""
    switched: Callable | None = None
    """The optimizer from AT on."""
    project: Callable | None = None
    normalized: bool = False


CASES = {
    "alpha: logits times it, rate over its square": Case(
        {"alpha": 3.0},
        lambda z, y, theta, step: nn.functional.cross_entropy(3.0 * z, y),
        rate=lambda step: RATE / 9,
    ),
    "temperature": Case(
        {"loss": SOFTMAX.replace(temperature=5.0)},
        lambda z, y, theta, step: nn.functional.cross_entropy(z / 5, y),
    ),
    "alpha and temperature": Case(
        {"alpha": 0.5, "loss": StableMaxCrossEntropy(temperature=0.25)},
        lambda z, y, theta, step: -true_of(stablemax(0.5 * z / 0.25, y), y).log().mean(),
        rate=lambda step: RATE / 0.25,
    ),
    "label smoothing": Case(
        {"loss": SOFTMAX.replace(label_smoothing=0.1)},
        lambda z, y, theta, step: nn.functional.cross_entropy(z, y, label_smoothing=0.1),
    ),
    "label smoothing of StableMax": Case({"loss": StableMaxCrossEntropy(label_smoothing=0.2)}, smoothed_stablemax),
    "Taylor softmax": Case({"loss": TaylorSoftmaxCrossEntropy()}, taylor),
    "log-softmax by hand": Case({"loss": SOFTMAX.replace(log_softmax="by_hand")}, by_hand_softmax),
    "mean squared error": Case(
        {"loss": MeanSquaredError(dtype="float64")},
        lambda z, y, theta, step: nn.functional.mse_loss(z, nn.functional.one_hot(y, z.shape[1]).double()),
    ),
    "logit norm": Case(
        {"penalty": LogitNorm(strength=0.3)},
        lambda z, y, theta, step: nn.functional.cross_entropy(z, y) + 0.3 * z.norm(dim=1).mean(),
    ),
    "L1": Case(
        {"penalty": L1(strength=0.01)},
        lambda z, y, theta, step: nn.functional.cross_entropy(z, y) + 0.01 * sum(p.abs().sum() for p in theta),
    ),
    "L2": Case(
        {"penalty": L2(strength=0.1)},
        lambda z, y, theta, step: nn.functional.cross_entropy(z, y) + 0.05 * sum((p**2).sum() for p in theta),
    ),
    "L2 as the decay of SGD": Case(
        {"penalty": L2(strength=0.1), "optimizer": SGD(learning_rate=RATE, momentum=0.9)},
        optimizer=lambda theta: torch.optim.SGD(theta, lr=RATE, momentum=0.9, weight_decay=0.1),
    ),
    "Adam": Case(
        {"optimizer": Adam(learning_rate=RATE, weight_decay=0.3)},
        optimizer=lambda theta: torch.optim.Adam(theta, lr=RATE, weight_decay=0.3),
    ),
    "rate over the gradient norm": Case({"optimizer": NormalizedSGD(learning_rate=RATE)}, normalized=True),
    "rate over the gradient norm, warm-up": Case(
        {"optimizer": NormalizedSGD(learning_rate=RATE), "schedule": Warmup(warmup_steps=5)},
        rate=lambda step: RATE * min((step + 1) / 5, 1),
        normalized=True,
    ),
    "⊥ over all parameters, not rescaled": Case(
        {"gradient": OrthogonalGradient(scope="global", rescale=False)}, project=orthogonal_globally
    ),
    "warm-up": Case(
        {"schedule": Warmup(warmup_steps=6)},
        rate=lambda step: RATE * min((step + 1) / 6, 1),
    ),
    "cosine with warm-up": Case(
        {"schedule": Cosine(total_steps=15, warmup_steps=4, final_fraction=0.1)},
        rate=lambda step: (
            RATE * (step + 1) / 4
            if step < 4
            else RATE * (0.1 + 0.9 * (1 + math.cos(math.pi * min((step + 1 - 4) / 11, 1))) / 2)
        ),
    ),
    "the true class's gradient zeroed": Case({"intervention": ZeroTrueClassGradient(at_step=AT)}, held_true_logit),
    "another loss": Case(
        {"intervention": SwitchLoss(at_step=AT, to=TaylorSoftmaxCrossEntropy(temperature=2.0))},
        lambda z, y, theta, step: (cross_entropy if step < AT else taylor)(z / (1 if step < AT else 2), y, theta, step),
    ),
    "another optimizer, on the schedule of the run": Case(
        {
            "intervention": SwitchOptimizer(at_step=AT, to=SGD(learning_rate=0.2, momentum=0.5)),
            "schedule": Cosine(total_steps=STEPS),
        },
        rate=lambda step: (RATE if step < AT else 0.2) * (1 + math.cos(math.pi * (step + 1) / STEPS)) / 2,
        switched=lambda theta: torch.optim.SGD(theta, lr=0.2, momentum=0.5),
    ),
    "the same optimizer anew": Case(
        {"intervention": SwitchOptimizer(at_step=AT, to=AdamW(learning_rate=RATE, weight_decay=0.1))},
        switched=torch_adamw,
    ),
}


def trained(trial: GrokkingTrial) -> dict[str, torch.Tensor]:
    cohort = trial.build([trial], "cpu")
    cohort.advance(STEPS)
    return cohort.state_dict(0)["parameters"]


def trial_of(case: Case) -> GrokkingTrial:
    fields = {
        "task": ModularAddition(p=11, train_fraction=0.5),
        "model": MLP(hidden=(24, 16), dtype="float64"),
        "loss": SOFTMAX,
        "optimizer": AdamW(learning_rate=RATE, weight_decay=0.1),
        "horizon_steps": STEPS,
    }
    return GrokkingTrial(**(fields | case.fields))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_twenty_steps_against_the_loop(case):
    trial = trial_of(case)
    split, start = trial.task.split(trial.seeds), trial.model.init(trial.task, trial.seeds.init)
    one_hot = nn.functional.one_hot(torch.from_numpy(split.train_inputs), 22).sum(1).double()
    labels = torch.from_numpy(split.train_labels)
    theta = [nn.Parameter(value.clone()) for value in start.values()]
    optimizer = case.optimizer(theta)
    for step in range(STEPS):
        if step == AT and case.switched:
            optimizer = case.switched(theta)
        optimizer.zero_grad()
        logits = torch.relu(torch.relu(one_hot @ theta[0]) @ theta[1]) @ theta[2]
        case.objective(logits, labels, theta, step).backward()
        if case.project:
            case.project(theta)
        if case.normalized:
            over_gradient_norm(theta, case.rate(step))
        else:
            optimizer.param_groups[0]["lr"] = case.rate(step)
            optimizer.step()
    for (name, ours), theirs in zip(trained(trial).items(), theta, strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-9, atol=1e-11, msg=lambda m, n=name: f"{n}: {m}")


def test_recipes_lead_to_different_weights():
    """Or a case could pass with its option ignored."""
    sums = [float(sum(value.abs().sum() for value in trained(trial_of(case)).values())) for case in CASES.values()]
    sums.append(float(sum(value.abs().sum() for value in trained(trial_of(Case({}))).values())))
    # The log-softmax by hand is the plain recipe but for rounding.
    assert len({round(total, 6) for total in sums}) == len(sums) - 1
