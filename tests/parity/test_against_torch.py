"""The engine's mathematics against outside judges: torch's optimizers, modules and autograd, and plain definitions."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from trainables.engine.gradients import OrthogonalGradient, inner
from trainables.engine.losses import SoftmaxCrossEntropy, StableMaxCrossEntropy, log_s, s
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD, Adam, AdamW, stack_hyper
from trainables.engine.tasks import ModularAddition, ModularMultiplication, ModularSubtraction
from trainables.engine.trial import Seeds
from trainables.grokking import GrokkingTrial

CPU = torch.device("cpu")

ADAMWS = [
    AdamW(learning_rate=0.01, betas=(0.9, 0.99), eps=1e-25, weight_decay=1.0),
    AdamW(learning_rate=0.003, betas=(0.5, 0.999), eps=1e-8),
    AdamW(learning_rate=0.1, betas=(0.0, 0.9), eps=1e-3, weight_decay=0.01),
]
ADAMS = [Adam(**vars(optimizer)) for optimizer in ADAMWS]
SGDS = [
    SGD(learning_rate=0.1),
    SGD(learning_rate=0.05, momentum=0.9, weight_decay=0.1),
    SGD(learning_rate=0.2, momentum=0.2),
]
NESTEROVS = [SGD(learning_rate=0.05, momentum=momentum, nesterov=True, weight_decay=0.1) for momentum in (0.5, 0.9)]


def torch_twin(optimizer, parameters):
    if isinstance(optimizer, AdamW | Adam):
        twin = torch.optim.AdamW if isinstance(optimizer, AdamW) else torch.optim.Adam
        return twin(
            parameters,
            lr=optimizer.learning_rate,
            betas=optimizer.betas,
            eps=optimizer.eps,
            weight_decay=optimizer.weight_decay,
        )
    return torch.optim.SGD(
        parameters,
        lr=optimizer.learning_rate,
        momentum=optimizer.momentum,
        nesterov=optimizer.nesterov,
        weight_decay=optimizer.weight_decay,
    )


@pytest.mark.parametrize("optimizers", [ADAMWS, ADAMS, SGDS, NESTEROVS], ids=["AdamW", "Adam", "SGD", "SGD nesterov"])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 2e-5)], ids=str)
def test_optimizers_against_torch(optimizers, dtype, rtol):
    generator = torch.Generator().manual_seed(1)
    shapes = {"a": (4, 3), "b": (5,)}
    start = {
        name: torch.randn(len(optimizers), *shape, dtype=dtype, generator=generator) for name, shape in shapes.items()
    }
    parameters, state = start, optimizers[0].init_state(start)
    hyper = stack_hyper(optimizers, CPU)
    leaves = [[nn.Parameter(start[name][member].clone()) for name in shapes] for member in range(len(optimizers))]
    twins = [torch_twin(optimizer, leaf) for optimizer, leaf in zip(optimizers, leaves, strict=True)]
    for step in range(1, 51):
        gradients = {
            name: torch.randn(len(optimizers), *shape, dtype=dtype, generator=generator) * 10.0 ** -(step % 5)
            for name, shape in shapes.items()
        }
        parameters, state = optimizers[0].update(
            parameters, gradients, state, hyper, torch.tensor(step, dtype=torch.float64)
        )
        for member, (leaf, twin) in enumerate(zip(leaves, twins, strict=True)):
            for name, parameter in zip(shapes, leaf, strict=True):
                parameter.grad = gradients[name][member].clone()
            twin.step()
    for member, leaf in enumerate(leaves):
        for name, parameter in zip(shapes, leaf, strict=True):
            torch.testing.assert_close(parameters[name][member], parameter.detach(), rtol=rtol, atol=rtol / 10)


def as_module(model: MLP, task, parameters) -> nn.Module:
    """The same network as a plain module on one-hot rows."""
    widths = model.widths(task)
    layers: list[nn.Module] = []
    for layer, (inputs, outputs) in enumerate(pairwise(widths)):
        linear = nn.Linear(inputs, outputs, bias=model.bias, dtype=parameters["weight_0"].dtype)
        linear.weight.data = parameters[f"weight_{layer}"].T.clone()
        if model.bias:
            linear.bias.data = parameters[f"bias_{layer}"].clone()
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "loss", [SoftmaxCrossEntropy(dtype="float64"), StableMaxCrossEntropy()], ids=lambda x: type(x).__name__
)
@pytest.mark.parametrize("optimizer", [ADAMWS[0], ADAMS[0], SGDS[1]], ids=["AdamW", "Adam", "SGD"])
def test_twenty_steps_against_a_torch_loop(bias, loss, optimizer):
    """One-hot inputs, nn.Linear, torch's optimizer, the loss by its definition: float64, relative 1e-9."""
    trial = GrokkingTrial(
        task=ModularAddition(p=11, train_fraction=0.5),
        model=MLP(hidden=(24, 16), bias=bias, dtype="float64"),
        loss=loss,
        optimizer=optimizer,
        horizon_steps=20,
    )
    split = trial.task.split(trial.seeds)
    one_hot = torch.zeros(len(split.train_labels), trial.task.features, dtype=torch.float64)
    one_hot.scatter_(1, torch.from_numpy(split.train_inputs), 1.0)
    labels = torch.from_numpy(split.train_labels)
    module = as_module(trial.model, trial.task, trial.model.init(trial.task, trial.seeds.init))
    twin = torch_twin(optimizer, module.parameters())
    for _ in range(20):
        twin.zero_grad()
        logits = module(one_hot)
        if isinstance(loss, StableMaxCrossEntropy):
            positive = torch.where(logits >= 0, logits + 1, 1 / (1 - torch.where(logits < 0, logits, 0.0)))
            probabilities = positive / positive.sum(1, keepdim=True)
            value = -probabilities[torch.arange(len(labels)), labels].log().mean()
        else:
            value = nn.functional.cross_entropy(logits, labels)
        value.backward()
        twin.step()
    cohort = trial.build([trial], "cpu")
    cohort.advance(20)
    ours = cohort.state_dict(0)["parameters"]
    for layer, linear in enumerate(child for child in module if isinstance(child, nn.Linear)):
        torch.testing.assert_close(ours[f"weight_{layer}"].T, linear.weight.detach(), rtol=1e-9, atol=1e-11)
        if bias:
            torch.testing.assert_close(ours[f"bias_{layer}"], linear.bias.detach(), rtol=1e-9, atol=1e-11)
    with torch.no_grad():
        judged = loss.row_losses(module(one_hot).unsqueeze(0), labels.unsqueeze(0), {}).mean()
    assert cohort.measure()["train_loss"][0] == pytest.approx(float(judged), rel=1e-9)


def test_initial_values_against_linear_layers():
    task, model = ModularAddition(), MLP(bias=True)
    parameters = model.init(task, 3)
    for layer, fan_in in enumerate((226, 200, 200)):
        weight = parameters[f"weight_{layer}"]
        bound = 1 / math.sqrt(fan_in)
        assert weight.abs().max() <= bound
        assert weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)
        assert weight.mean() == pytest.approx(0, abs=bound / 50)
        assert parameters[f"bias_{layer}"].abs().max() <= bound
    assert not torch.equal(parameters["weight_0"], model.init(task, 4)["weight_0"])


@pytest.mark.parametrize(
    ("task", "operation"),
    [
        (ModularAddition, lambda a, b: a + b),
        (ModularSubtraction, lambda a, b: a - b),
        (ModularMultiplication, lambda a, b: a * b),
    ],
)
def test_split_has_every_pair_once_with_its_label(task, operation):
    p = 13
    trial_task = task(p=p, train_fraction=0.4)
    split = trial_task.split(Seeds.all(5))
    assert len(split.train_labels) == math.floor(0.4 * p * p)
    seen = set()
    for inputs, labels in ((split.train_inputs, split.train_labels), (split.test_inputs, split.test_labels)):
        for (a, b_feature), label in zip(inputs.tolist(), labels.tolist(), strict=True):
            b = b_feature - p
            assert label == operation(a, b) % p
            seen.add((a, b))
    assert seen == {(a, b) for a in range(p) for b in range(p)}
    reordered = trial_task.split(Seeds(split=5, order=6))
    assert set(map(tuple, reordered.train_inputs)) == set(map(tuple, split.train_inputs))
    assert (reordered.train_inputs != split.train_inputs).any()
    assert trial_task.fingerprint(Seeds.all(5)) != trial_task.fingerprint(Seeds(split=5, order=6))


def wide_logits(generator: torch.Generator) -> torch.Tensor:
    logits = torch.randn(3, 50, 11, dtype=torch.float64, generator=generator)
    return logits * torch.logspace(-6, 6, 50, dtype=torch.float64).view(1, -1, 1)


def test_stablemax_definition_and_softmax_of_g():
    """Def. 4 (Eqs 5 and 6) and Prop. 1, within 1e-12 in float64."""
    logits = wide_logits(torch.Generator().manual_seed(0))
    definition = torch.where(logits >= 0, logits + 1, 1 / (1 - logits))
    torch.testing.assert_close(s(logits), definition, rtol=1e-12, atol=0)
    probabilities = definition / definition.sum(-1, keepdim=True)
    g = torch.sign(logits) * torch.log1p(logits.abs())
    assert (torch.softmax(g, -1) - probabilities).abs().max() < 1e-12
    torch.testing.assert_close(log_s(logits), g, rtol=1e-12, atol=0)
    labels = torch.randint(0, 11, (3, 50), generator=torch.Generator().manual_seed(1))
    ours = StableMaxCrossEntropy().row_losses(logits, labels, {})
    judged = -probabilities.gather(-1, labels.unsqueeze(-1)).squeeze(-1).log()
    torch.testing.assert_close(ours, judged, rtol=1e-11, atol=1e-12)


def test_stablemax_gradient_at_zero_logits():
    logits = torch.zeros(1, 1, 3, dtype=torch.float64, requires_grad=True)
    StableMaxCrossEntropy().row_losses(logits, torch.tensor([[0]]), {}).sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[[-2 / 3, 1 / 3, 1 / 3]]], dtype=torch.float64))


@pytest.mark.parametrize("scope", ["tensor", "global"])
@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_orthogonal_gradient_proposition_2(scope, rescale, dtype):
    """<-g⊥, g> <= 0, and |θ·g⊥| / (‖θ‖ ‖g⊥‖) < 1e-6, on random draws; against the equation written out."""
    generator = torch.Generator().manual_seed(3)
    rule = OrthogonalGradient(scope=scope, rescale=rescale)
    for _ in range(20):
        theta = {
            "a": torch.randn(3, 40, 7, generator=generator, dtype=dtype),
            "b": torch.randn(3, 9, generator=generator, dtype=dtype),
        }
        g = {name: torch.randn(value.shape, generator=generator, dtype=dtype) + value for name, value in theta.items()}
        result = rule.projected(theta, g)
        groups = [["a"], ["b"]] if scope == "tensor" else [["a", "b"]]
        for group in groups:
            for member in range(3):
                flat = [
                    torch.cat([tensors[name][member].flatten().double() for name in group])
                    for tensors in (theta, g, result)
                ]
                t, gradient, ours = flat
                expected = gradient - (t @ gradient) / (t @ t) * t
                if rescale:
                    expected = expected * gradient.norm() / expected.norm()
                torch.testing.assert_close(ours, expected, rtol=1e-5 if dtype == torch.float32 else 1e-10, atol=1e-6)
                assert -(ours @ gradient) <= 0
                assert (t @ ours).abs() / (t.norm() * ours.norm()) < 1e-6


def test_orthogonal_gradient_edge_cases():
    rule = OrthogonalGradient()
    g = {"a": torch.ones(2, 3)}
    torch.testing.assert_close(rule.projected({"a": torch.zeros(2, 3)}, g)["a"], g["a"])
    parallel = {"a": torch.tensor([[3.0, 1.0, 7.0], [0.1, 0.2, 0.3]])}
    left = rule.projected(parallel, {"a": parallel["a"] * 1.7})["a"]
    assert (left.norm(dim=1) < 1e-5 * parallel["a"].norm(dim=1)).all(), "rounding noise must not be blown up"
    zero = rule.projected(parallel, {"a": torch.zeros(2, 3)})["a"]
    assert torch.equal(zero, torch.zeros(2, 3))
    assert inner(g, g).dtype == torch.float64
