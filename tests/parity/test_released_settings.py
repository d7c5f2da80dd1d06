"""Ten steps with the released code's settings equal a plain hand-written loop with equal initial weights and rows.

The loops below are written from the paper's equations with torch's autograd and torch's optimizers, and share
nothing with the engine but the initial weights and the training rows: one-hot products for the engine's gathered
sums, no cohort axis, StableMax by Eqs 5 and 6, ⊥Grad by Eq. 12.  Models run in float64.

Tolerances: Adam divides every gradient by its own size, so that an entry that is zero but for rounding moves by a
whole learning rate in the direction of its rounding error; what the two must agree on is therefore stated for the
weights' norm-wise difference relative to the distance they have moved (3e-15 at most where this was written).
"""

from itertools import pairwise

import pytest
import torch
from torch import nn

from tests.parity.test_models_against_torch import TorchTransformer
from trainables.engine.encodings import Tokens
from trainables.engine.gradients import OrthogonalGradient, PlainGradient
from trainables.engine.losses import SoftmaxCrossEntropy, StableMaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD, AdamW
from trainables.engine.tasks import ModularAddition, ModularSubtraction
from trainables.engine.transformer import Transformer
from trainables.grokking import GrokkingTrial

STEPS = 10
PLAIN, ORTHOGONAL = PlainGradient(), OrthogonalGradient()
FLOAT64 = 1e-10
"""For losses in float64."""
FLOAT32 = 1e-5
"""For losses in float32: a logit that differs in its last float64 bit may round to the other float32."""


def softmax(dtype):
    def loss(logits, labels):
        return -torch.log_softmax(logits.to(dtype), -1)[torch.arange(len(labels)), labels].mean()

    return loss


def stablemax(logits, labels):
    z = logits.double()
    s = torch.where(z >= 0, z + 1, 1 / (1 - torch.where(z < 0, z, 0.0)))
    return -(s / s.sum(-1, keepdim=True))[torch.arange(len(labels)), labels].log().mean()


def project(parameters):
    """g⊥ of every tensor, as long as g."""
    for parameter in parameters:
        w, g = parameter.detach(), parameter.grad
        orthogonal = g - (w * g).sum() / (w * w).sum() * w
        parameter.grad = orthogonal * g.norm() / orthogonal.norm()


def train(parameters, forward, labels, loss, optimizer, orthogonal):
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(forward(), labels).backward()
        if orthogonal:
            project(parameters)
        optimizer.step()


def relative_difference(ours, theirs, start) -> float:
    """The largest over the tensors of ‖ours - theirs‖ over the distance from the start."""
    return max(float((ours[name] - theirs[name]).norm() / (theirs[name] - start[name]).norm()) for name in start)


RELEASED_ADAM = {"betas": (0.9, 0.99), "eps": 1e-25}
CASES = {
    "AdamW, softmax float32": (
        SoftmaxCrossEntropy(),
        softmax(torch.float32),
        AdamW(learning_rate=0.01, **RELEASED_ADAM),
        lambda theta: torch.optim.AdamW(theta, lr=0.01, weight_decay=0, **RELEASED_ADAM),
        PLAIN,
        FLOAT32,
    ),
    "AdamW, softmax float64": (
        SoftmaxCrossEntropy(dtype="float64"),
        softmax(torch.float64),
        AdamW(learning_rate=0.01, **RELEASED_ADAM),
        lambda theta: torch.optim.AdamW(theta, lr=0.01, weight_decay=0, **RELEASED_ADAM),
        PLAIN,
        FLOAT64,
    ),
    "AdamW, StableMax": (
        StableMaxCrossEntropy(),
        stablemax,
        AdamW(learning_rate=0.01, betas=(0.9, 0.999), eps=1e-25),
        lambda theta: torch.optim.AdamW(theta, lr=0.01, betas=(0.9, 0.999), eps=1e-25, weight_decay=0),
        PLAIN,
        FLOAT64,
    ),
    "⊥AdamW, softmax float64": (
        SoftmaxCrossEntropy(dtype="float64"),
        softmax(torch.float64),
        AdamW(learning_rate=0.01),
        lambda theta: torch.optim.AdamW(theta, lr=0.01, weight_decay=0),  # the library's defaults: trap 1
        ORTHOGONAL,
        FLOAT64,
    ),
    "⊥AdamW, softmax float32": (
        SoftmaxCrossEntropy(),
        softmax(torch.float32),
        AdamW(learning_rate=0.01),
        lambda theta: torch.optim.AdamW(theta, lr=0.01, weight_decay=0),
        ORTHOGONAL,
        FLOAT32,
    ),
    "SGD, softmax float64": (
        SoftmaxCrossEntropy(dtype="float64"),
        softmax(torch.float64),
        SGD(learning_rate=10.0, momentum=0.2),
        lambda theta: torch.optim.SGD(theta, lr=10.0, momentum=0.2),
        PLAIN,
        FLOAT64,
    ),
    "⊥SGD, StableMax": (
        StableMaxCrossEntropy(),
        stablemax,
        SGD(learning_rate=10.0, momentum=0.8),
        lambda theta: torch.optim.SGD(theta, lr=10.0, momentum=0.8),
        ORTHOGONAL,
        FLOAT64,
    ),
}


@pytest.mark.parametrize(("loss", "plain_loss", "optimizer", "judge", "rule", "tolerance"), CASES.values(), ids=CASES)
def test_mlp_against_a_hand_written_loop(loss, plain_loss, optimizer, judge, rule, tolerance):
    """226-200-200-113 without bias on 40 % of the sums modulo 113."""
    trial = GrokkingTrial(
        task=ModularAddition(p=113, train_fraction=0.4),
        model=MLP(hidden=(200, 200), dtype="float64"),
        loss=loss,
        optimizer=optimizer,
        gradient=rule,
        horizon_steps=STEPS,
    )
    split, start = trial.task.split(trial.seeds), trial.model.init(trial.task, trial.seeds.init)
    assert [tuple(value.shape) for value in start.values()] == list(pairwise((226, 200, 200, 113)))
    one_hot = nn.functional.one_hot(torch.from_numpy(split.train_inputs), 226).sum(1).double()
    labels = torch.from_numpy(split.train_labels)
    theta = [nn.Parameter(value.clone()) for value in start.values()]

    def forward():
        return torch.relu(torch.relu(one_hot @ theta[0]) @ theta[1]) @ theta[2]

    train(theta, forward, labels, plain_loss, judge(theta), rule is ORTHOGONAL)
    theirs = dict(zip(start, (parameter.detach() for parameter in theta), strict=True))
    cohort = trial.build([trial], "cpu")
    cohort.advance(STEPS)
    difference = relative_difference(cohort.state_dict(0)["parameters"], theirs, start)
    assert difference < tolerance


@pytest.mark.parametrize("weight_decay", [0.0, 1.5])
def test_transformer_against_torch_layer(weight_decay):
    """Fig. 6a's recipe (AdamW at .001; post-norm, biases, no positions), without dropout and with fewer units."""
    model = Transformer(width=32, heads=4, feed_forward=64, dtype="float64")
    optimizer = AdamW(learning_rate=0.001, weight_decay=weight_decay, **RELEASED_ADAM)
    trial = GrokkingTrial(
        task=ModularSubtraction(p=23, train_fraction=0.4, inputs=Tokens()),
        model=model,
        loss=SoftmaxCrossEntropy(dtype="float64"),
        optimizer=optimizer,
        horizon_steps=STEPS,
    )
    split, start = trial.task.split(trial.seeds), model.init(trial.task, trial.seeds.init)
    tokens, labels = torch.from_numpy(split.train_inputs), torch.from_numpy(split.train_labels)
    module = TorchTransformer(model, trial.task, start).train()
    theta = [parameter for parameter in module.parameters() if parameter is not module.position]
    judge = torch.optim.AdamW(theta, lr=0.001, weight_decay=weight_decay, **RELEASED_ADAM)
    train(theta, lambda: module(tokens), labels, softmax(torch.float64), judge, orthogonal=False)
    theirs = {name: target.detach() for name, target in module.targets.items()}
    theirs |= dict(zip(("query", "key", "value"), module.layer.self_attn.in_proj_weight.detach().chunk(3), strict=True))
    theirs |= dict(
        zip(
            ("query_bias", "key_bias", "value_bias"),
            module.layer.self_attn.in_proj_bias.detach().chunk(3),
            strict=True,
        )
    )
    theirs = {name: value.T if value.dim() == 2 and name != "embed" else value for name, value in theirs.items()}
    assert theirs.keys() == start.keys()
    cohort = trial.build([trial], "cpu")
    cohort.advance(STEPS)
    ours = cohort.state_dict(0)["parameters"]
    del theirs["key_bias"]  # adds the same to all scores of a row: its gradient is rounding, which Adam makes a step
    difference = relative_difference(ours, theirs, {name: start[name] for name in theirs})
    assert difference < FLOAT64
