"""The models against torch.nn's modules with equal weights: outputs and gradients, in float64."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from trainables.engine.encodings import Binary, Tokens
from trainables.engine.models import MLP
from trainables.engine.noise import Noise, noise_keys
from trainables.engine.tasks import ModularAddition, ModularSubtraction
from trainables.engine.transformer import Transformer
from trainables.engine.trial import Seeds

P = 11
TOKENS = ModularSubtraction(p=P, train_fraction=0.5, inputs=Tokens())
SMALL = {"width": 12, "heads": 3, "feed_forward": 20, "dtype": "float64"}


def rows(task, seed=0):
    split = task.split(Seeds.all(seed))
    return torch.from_numpy(split.train_inputs), torch.from_numpy(split.train_labels)


def disturbed(model, task, seed):
    """Weights at which no norm and no bias is at its initial 1 or 0."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: value + 0.1 * torch.randn(value.shape, dtype=value.dtype, generator=generator)
        for name, value in model.init(task, seed).items()
    }


class TorchTransformer(nn.Module):
    """The released model, built from torch's own layer: every position computed, the last one read."""

    def __init__(self, model: Transformer, task, parameters) -> None:
        super().__init__()
        self.embedding = nn.Embedding(task.features, model.width)
        self.layer = nn.TransformerEncoderLayer(
            model.width,
            model.heads,
            dim_feedforward=model.feed_forward,
            dropout=model.dropout,
            batch_first=True,
            norm_first=model.norm == "pre",
            bias=model.bias,
        )
        self.linear = nn.Linear(model.width, task.classes, bias=model.bias)
        self.position = nn.Parameter(parameters.get("position", torch.zeros(task.active_features, model.width)))
        self.double()
        if model.norm == "none":
            self.layer.norm1, self.layer.norm2 = nn.Identity(), nn.Identity()
        targets = {
            "embed": self.embedding.weight,
            "attention_out": self.layer.self_attn.out_proj.weight,
            "feed_in": self.layer.linear1.weight,
            "feed_out": self.layer.linear2.weight,
            "unembed": self.linear.weight,
            "attention_out_bias": self.layer.self_attn.out_proj.bias,
            "feed_in_bias": self.layer.linear1.bias,
            "feed_out_bias": self.layer.linear2.bias,
            "unembed_bias": self.linear.bias,
        }
        if model.norm != "none":
            targets |= {f"norm_{n}_gain": getattr(self.layer, f"norm{n}").weight for n in (1, 2)}
            targets |= {f"norm_{n}_bias": getattr(self.layer, f"norm{n}").bias for n in (1, 2)}
        with torch.no_grad():
            for name, target in targets.items():
                if target is not None:
                    target.copy_(parameters[name] if name == "embed" or target.dim() == 1 else parameters[name].T)
            attention = self.layer.self_attn
            attention.in_proj_weight.copy_(torch.cat([parameters[n].T for n in ("query", "key", "value")]))
            if model.bias:
                attention.in_proj_bias.copy_(torch.cat([parameters[f"{n}_bias"] for n in ("query", "key", "value")]))
        self.targets = targets

    def forward(self, tokens):
        return self.linear(self.layer(self.embedding(tokens) + self.position))[:, -1]


@pytest.mark.parametrize("norm", ["none", "pre", "post"])
@pytest.mark.parametrize("positions", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_transformer_against_torch_encoder_layer(norm, positions, bias, monkeypatch):
    monkeypatch.setattr("trainables.engine.transformer.FEED_ROWS", 7)  # many parts, the last one short
    model = Transformer(**SMALL, norm=norm, positions=positions, bias=bias)
    tokens, labels = rows(TOKENS)
    parameters = disturbed(model, TOKENS, 3)
    leaves = {name: value.unsqueeze(0).requires_grad_() for name, value in parameters.items()}
    ours = model.forward(leaves, tokens.unsqueeze(0))
    judge = TorchTransformer(model, TOKENS, parameters).train()  # in training mode torch takes no fused path
    theirs = judge(tokens)
    torch.testing.assert_close(ours[0], theirs, rtol=1e-10, atol=1e-12)

    nn.functional.cross_entropy(ours[0], labels).backward()
    nn.functional.cross_entropy(theirs, labels).backward()
    expected = {name: target.grad for name, target in judge.targets.items() if target is not None}
    expected |= dict(zip(("query", "key", "value"), judge.layer.self_attn.in_proj_weight.grad.chunk(3), strict=True))
    if bias:
        parts = judge.layer.self_attn.in_proj_bias.grad.chunk(3)
        expected |= dict(zip(("query_bias", "key_bias", "value_bias"), parts, strict=True))
    if positions:
        expected["position"] = judge.position.grad
    assert set(expected) == set(leaves)
    for name, gradient in expected.items():
        transposed = gradient.T if gradient.dim() == 2 and name not in ("embed", "position") else gradient
        torch.testing.assert_close(leaves[name].grad[0], transposed, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: n + m)


def test_dropout_positions_and_scale_against_torch():
    """Mean and variance of the logits over many masks are those of torch's layer in training mode."""
    model = Transformer(**SMALL, dropout=0.3)
    tokens = rows(TOKENS)[0][:4]
    parameters = disturbed(model, TOKENS, 3)
    judge = TorchTransformer(model, TOKENS, parameters).train()
    draws = 20_000
    torch.manual_seed(0)
    with torch.no_grad():
        theirs = judge(tokens.repeat(draws, 1)).view(draws, 4, P)
        batched = {name: value.unsqueeze(0) for name, value in parameters.items()}
        noise = Noise(noise_keys([1], torch.device("cpu")), torch.tensor(0))
        ours = model.forward(batched, tokens.repeat(draws, 1).unsqueeze(0), noise)[0].view(draws, 4, P)
        whole = model.forward(batched, tokens.unsqueeze(0))[0]
    error = (theirs.var(0) / draws).sqrt()
    assert ((ours.mean(0) - theirs.mean(0)).abs() < 6 * error).all()
    torch.testing.assert_close(ours.std(0), theirs.std(0), rtol=0.05, atol=0)
    assert ((ours.mean(0) - whole).abs() > 6 * error).any()  # the norms are not linear, so the two differ at all


def test_stablemax_attention_weights():
    """One head by the definition: s(q k / sqrt D) over its sum, at every position, the last one read."""
    model = Transformer(
        width=6, heads=1, feed_forward=5, norm="none", bias=False, attention="stablemax", dtype="float64"
    )
    tokens, _ = rows(TOKENS)
    weights = {name: value * 2 for name, value in disturbed(model, TOKENS, 5).items()}
    stream = weights["embed"][tokens]
    query, key, value = (stream @ weights[name] for name in ("query", "key", "value"))
    scores = query @ key.transpose(1, 2) / math.sqrt(6)
    assert (scores < 0).any()
    assert (scores > 0).any()
    positive = torch.where(scores >= 0, scores + 1, 1 / (1 - torch.where(scores < 0, scores, 0.0)))
    stream = stream + positive / positive.sum(2, keepdim=True) @ value @ weights["attention_out"]
    stream = stream + torch.relu(stream @ weights["feed_in"]) @ weights["feed_out"]
    expected = (stream @ weights["unembed"])[:, -1]
    ours = model.forward({name: value.unsqueeze(0) for name, value in weights.items()}, tokens.unsqueeze(0))[0]
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


def test_transformer_initial_distributions_against_torch():
    task, model = ModularAddition(inputs=Tokens()), Transformer(positions=True)
    torch.manual_seed(0)
    judge = TorchTransformer(model, task, model.init(task, 0))
    fresh = nn.TransformerEncoderLayer(128, 4)
    attention = fresh.self_attn
    theirs = dict(zip(("query", "key", "value"), attention.in_proj_weight.detach().chunk(3), strict=True)) | {
        "embed": nn.Embedding(113, 128).weight.detach(),
        "position": nn.Embedding(2, 128).weight.detach(),
        "attention_out": attention.out_proj.weight.detach(),
        "feed_in": fresh.linear1.weight.detach(),
        "feed_out": fresh.linear2.weight.detach(),
        "feed_in_bias": fresh.linear1.bias.detach(),
        "feed_out_bias": fresh.linear2.bias.detach(),
        "unembed": nn.Linear(128, 113).weight.detach(),
        "unembed_bias": nn.Linear(128, 113).bias.detach(),
    }
    ours = model.init(task, 1)
    assert sum(value.numel() for value in ours.values()) == sum(value.numel() for value in judge.parameters())
    for name, value in ours.items():
        if name not in theirs:
            assert (value == float(name.endswith("gain"))).all(), name
            continue
        draw = theirs[name]
        assert value.numel() == draw.numel()
        assert value.dtype == torch.float32
        tolerance = 5 / math.sqrt(2 * draw.numel()) + 1e-3
        assert value.std() / draw.std() == pytest.approx(1, abs=2 * tolerance), name
        assert abs(value.mean() / draw.std()) < 5 / math.sqrt(draw.numel()), name
        if name not in ("embed", "position"):
            assert value.abs().max() == pytest.approx(float(draw.abs().max()), rel=0.1), name
    # Of a normal distribution, .3173 lies beyond one and .0455 beyond two standard deviations.
    embed = ours["embed"].flatten().numpy()
    assert np.mean(np.abs(embed) > 1) == pytest.approx(0.3173, abs=0.02)
    assert np.mean(np.abs(embed) > 2) == pytest.approx(0.0455, abs=0.01)
    options = {"positions": False, "bias": False, "norm": "none"}
    plain = model.replace(**options).init(task, 1)
    assert all(torch.equal(plain[name], ours[name]) for name in plain)


@pytest.mark.parametrize("hidden", [(), (9,), (9, 8, 7)])
@pytest.mark.parametrize("bias", [False, True])
def test_mlp_on_dense_rows_against_torch(hidden, bias):
    task, model = ModularAddition(p=P, inputs=Binary()), MLP(hidden=hidden, bias=bias, dtype="float64", init_scale=3.0)
    inputs, _ = rows(task)
    parameters = model.init(task, 2)
    layers: list[nn.Module] = []
    for layer, (before, after) in enumerate(pairwise(model.widths(task))):
        linear = nn.Linear(before, after, bias=bias, dtype=torch.float64)
        linear.weight.data = parameters[f"weight_{layer}"].T.clone()
        if bias:
            linear.bias.data = parameters[f"bias_{layer}"].clone()
        layers += [linear, nn.ReLU()]
    ours = model.forward({name: value.unsqueeze(0) for name, value in parameters.items()}, inputs.unsqueeze(0))[0]
    torch.testing.assert_close(ours, nn.Sequential(*layers[:-1])(inputs.double()), rtol=1e-12, atol=1e-14)


class Layers(nn.Module):
    """An MLP with everything, of torch's modules."""

    def __init__(self, task, model, parameters):
        super().__init__()
        self.model = model
        self.table = nn.Embedding.from_pretrained(parameters["embedding"])
        widths = model.widths(task)
        self.linear = nn.ModuleList(nn.Linear(a, b, bias=False, dtype=torch.float64) for a, b in pairwise(widths))
        self.norm = nn.ModuleList(nn.LayerNorm(width, dtype=torch.float64) for width in widths[1:-1])
        for layer, linear in enumerate(self.linear):
            linear.weight.data = parameters[f"weight_{layer}"].T.clone()
        for layer, norm in enumerate(self.norm if model.layer_norm else ()):
            norm.weight.data, norm.bias.data = (parameters[f"norm_{layer}_{part}"] for part in ("gain", "bias"))

    def forward(self, tokens):
        vectors = self.table(tokens)
        hidden = vectors.sum(1) if self.model.combine == "sum" else vectors.flatten(1)
        activation = {"relu": torch.relu, "gelu": nn.functional.gelu, "tanh": torch.tanh, "quadratic": lambda x: x * x}
        for layer, (linear, norm) in enumerate(zip(self.linear[:-1], self.norm, strict=True)):
            values = norm(linear(hidden)) if self.model.layer_norm else linear(hidden)
            values = activation[self.model.activation](values)
            hidden = values + hidden if self.model.residual and layer else values
        return self.linear[-1](hidden)


@pytest.mark.parametrize("combine", ["concatenate", "sum"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "quadratic", "tanh"])
@pytest.mark.parametrize("extras", [{}, {"layer_norm": True, "residual": True}], ids=["plain", "norm, residual"])
def test_mlp_on_tokens_against_torch(combine, activation, extras):
    """Logits, and the gradients of every parameter; of prepared rows and of plain ones."""
    task = ModularAddition(p=P, inputs=Tokens())
    model = MLP(hidden=(9, 9, 9), dtype="float64", embedding=5, combine=combine, activation=activation, **extras)
    inputs, labels = rows(task)
    drawn = disturbed(model, task, 2)
    reference = Layers(task, model, drawn)
    reference.table.weight.requires_grad_()
    expected = reference(inputs)
    nn.functional.cross_entropy(expected, labels).backward()
    theirs = {"embedding": reference.table.weight.grad}
    theirs |= {f"weight_{layer}": linear.weight.grad.T for layer, linear in enumerate(reference.linear)}
    for layer, norm in enumerate(reference.norm if model.layer_norm else ()):
        theirs |= {f"norm_{layer}_gain": norm.weight.grad, f"norm_{layer}_bias": norm.bias.grad}
    for prepared in (inputs.unsqueeze(0), model.prepare(task, inputs.unsqueeze(0))):
        leaves = {name: value.unsqueeze(0).clone().requires_grad_() for name, value in drawn.items()}
        ours = model.forward(leaves, prepared)[0]
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-14)
        nn.functional.cross_entropy(ours, labels).backward()
        assert leaves.keys() == theirs.keys()
        for name, leaf in leaves.items():
            torch.testing.assert_close(leaf.grad[0], theirs[name], rtol=1e-9, atol=1e-14)
