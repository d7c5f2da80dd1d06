"""GPT-2's own behaviour: size, initial values, causality, dropout, activation checkpointing; torch judges elsewhere."""

import math

import pytest
import torch
from torch import nn

from trainables.baselines.gpt2 import GPT2, GPT2Network
from trainables.engine.config import ConfigError
from trainables.engine.randomness import DROPOUT_STREAM, torch_seeded

SMALL = GPT2(layers=2, heads=2, width=16)
VOCABULARY, BLOCK = 31, 12
ATTENTIONS = ["softmax", "stablemax"]


def tokens(rows: int = 3) -> torch.Tensor:
    return torch.randint(VOCABULARY, (rows, BLOCK), generator=torch.Generator().manual_seed(1))


def test_gpt2_small_parameter_count():
    with torch.device("meta"):
        network = GPT2Network(GPT2(), 50257, 1024)
    assert sum(parameter.numel() for parameter in network.parameters()) == 124_439_808


def test_initial_values():
    model = GPT2(layers=8, heads=2, width=64)
    network = model.network(512, BLOCK, seed=3)
    torch.manual_seed(0)
    again, other = model.network(512, BLOCK, seed=3), model.network(512, BLOCK, seed=4)
    for (name, value), same, different in zip(
        network.named_parameters(), again.parameters(), other.parameters(), strict=True
    ):
        assert value.dtype == torch.float32
        assert value.device.type == "cpu"
        assert torch.equal(value, same)
        if value.dim() == 1:
            assert (value == ("norm" in name and name.endswith("weight"))).all(), name
        else:
            expected = 0.02 / math.sqrt(16) if "_out." in name else 0.02
            assert value.std().item() == pytest.approx(expected, rel=0.1), name
            assert not torch.equal(value, different)


def test_building_restores_torchs_generator():
    before = torch.get_rng_state()
    SMALL.network(VOCABULARY, BLOCK, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_causality(attention):
    network = SMALL.replace(attention=attention).network(VOCABULARY, BLOCK, seed=0).eval()
    first = tokens()
    second = first.clone()
    second[:, 7] = (second[:, 7] + 1) % VOCABULARY
    one, other = network(first), network(second)
    assert torch.equal(one[:, :7], other[:, :7])
    assert (one[:, 7:] != other[:, 7:]).any(-1).all()


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_short_rows(attention):
    network = SMALL.replace(attention=attention).network(VOCABULARY, BLOCK, seed=0).eval()
    torch.testing.assert_close(network(tokens()[:, :5]), network(tokens())[:, :5])


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_activation_checkpointing_bits_with_dropout(attention):
    gradients, kept = [], []
    for checkpointing in (False, True):
        model = SMALL.replace(attention=attention)
        network = model.network(VOCABULARY, BLOCK, seed=0, activation_checkpointing=checkpointing)
        sizes: list[int] = []

        def keep(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch_seeded(0, DROPOUT_STREAM, 5):
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                logits = network(tokens())
            logits.square().mean().backward()
        gradients.append([logits.detach(), *(parameter.grad for parameter in network.parameters())])
        kept.append(sum(sizes))
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
    assert kept[1] < kept[0] / 3


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_dropout_uses_torchs_generator_in_training_only(attention):
    network = SMALL.replace(attention=attention, dropout=0.3).network(VOCABULARY, BLOCK, seed=0)

    def trained(step: int) -> torch.Tensor:
        with torch_seeded(0, DROPOUT_STREAM, step):
            return network.train()(tokens())

    assert torch.equal(trained(1), trained(1))
    assert not torch.allclose(trained(1), trained(2))
    quiet = SMALL.replace(attention=attention, dropout=0.0).network(VOCABULARY, BLOCK, seed=0)
    assert torch.equal(network.eval()(tokens()), quiet(tokens()))


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_bfloat16_autocast_stays_near_float32(attention):
    network = SMALL.replace(attention=attention, dropout=0.0).network(VOCABULARY, BLOCK, seed=0)
    with torch.autocast("cpu", torch.bfloat16):
        low = network(tokens())
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), network(tokens()), rtol=0.05, atol=0.01)
    low.float().square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_flops():
    model = GPT2()
    network_weights = 0
    with torch.device("meta"):
        for module in (network := GPT2Network(model, 50257, 1024)).modules():
            if isinstance(module, nn.Linear):
                network_weights += module.weight.numel()
    network_weights += network.token_embedding.weight.numel()
    assert model.flops_per_token(50257, 1024) == 6 * network_weights + 12 * 12 * 768 * 1024


def test_heads_divide_the_width():
    with pytest.raises(ConfigError, match=r"^GPT2\.heads = 5: must divide the width, 768$"):
        GPT2(heads=5)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_small_network_learns_to_continue_a_pattern(attention):
    network = SMALL.replace(attention=attention, dropout=0.0).network(VOCABULARY, BLOCK, seed=0)
    row = torch.arange(BLOCK + 1).remainder(5).expand(4, -1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        logits = network(row[:, :-1])
        nn.functional.cross_entropy(logits.flatten(0, 1), row[:, 1:].flatten()).backward()
        optimizer.step()
    assert (network(row[:, :-1]).argmax(-1) == row[:, 1:]).all()
