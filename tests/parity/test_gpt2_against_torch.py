"""GPT-2 against outside judges: ``torch.nn.TransformerEncoderLayer``, and StableMax attention by its definition."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.baselines.gpt2 import GPT2, GPT2Network, stablemax_shares

MODEL = GPT2(layers=3, heads=4, width=32, dropout=0.0)
VOCABULARY, BLOCK = 50, 16

NAMES = {
    "norm_1": "norm1",
    "query_key_value.weight": "self_attn.in_proj_weight",
    "query_key_value.bias": "self_attn.in_proj_bias",
    "attention_out": "self_attn.out_proj",
    "norm_2": "norm2",
    "feed_in": "linear1",
    "feed_out": "linear2",
}
"""The names of a block's parameters, ours and torch's."""


def torchs_name(name: str) -> str:
    for ours, theirs in NAMES.items():
        name = name.replace(f".{ours}", f".{theirs}")
    return name


class Judge(nn.Module):
    """GPT-2 put together of torch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(VOCABULARY, MODEL.width)
        self.position_embedding = nn.Embedding(BLOCK, MODEL.width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                MODEL.width,
                MODEL.heads,
                4 * MODEL.width,
                dropout=0.0,
                activation=partial(functional.gelu, approximate="tanh"),
                batch_first=True,
                norm_first=True,
            )
            for _ in range(MODEL.layers)
        )
        self.norm = nn.LayerNorm(MODEL.width)

    def forward(self, tokens: Tensor) -> Tensor:
        places = tokens.shape[1]
        stream = self.token_embedding(tokens) + self.position_embedding(torch.arange(places))
        mask = nn.Transformer.generate_square_subsequent_mask(places, dtype=stream.dtype)
        for block in self.blocks:
            stream = block(stream, src_mask=mask)
        return self.norm(stream) @ self.token_embedding.weight.T


def lively(network: GPT2Network) -> GPT2Network:
    """In float64, with biases, norms and scores far from their initial values."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.double().parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return network


def test_logits_and_gradients_against_torch_layers():
    ours, theirs = lively(MODEL.network(VOCABULARY, BLOCK, seed=0)), Judge().double()
    theirs.load_state_dict({torchs_name(name): value for name, value in ours.state_dict().items()})
    rows = torch.randint(VOCABULARY, (5, BLOCK + 1), generator=torch.Generator().manual_seed(1))
    logits = []
    for network in (ours, theirs):
        logits.append(network(rows[:, :-1]))
        functional.cross_entropy(logits[-1].flatten(0, 1), rows[:, 1:].flatten()).backward()
    torch.testing.assert_close(*logits, rtol=1e-10, atol=1e-12)
    judged = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, judged[torchs_name(name)].grad, rtol=1e-9, atol=1e-13, msg=name)


def heads(seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    values = torch.randn(2, 3, 9, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (2 * values).to(dtype).requires_grad_()


def defined(query: Tensor, key: Tensor) -> Tensor:
    """Prieto et al. 2025, Eq. 6 and Def. 4, over the tokens that are not later."""
    scores = torch.einsum("bhqd,bhkd->bhqk", query, key) / query.shape[-1] ** 0.5
    terms = torch.where(scores >= 0, scores + 1, 1 / (1 - scores)) * torch.ones(scores.shape[-2:]).tril()
    return terms / terms.sum(-1, keepdim=True)


def test_stablemax_shares_and_gradients_against_definition():
    query, key, weights = heads(0), heads(1), torch.randn(9, generator=torch.Generator().manual_seed(2)).double()
    shares, expected = stablemax_shares(query, key), defined(query, key)
    torch.testing.assert_close(shares, expected, rtol=1e-12, atol=1e-15)
    for mine, judged in zip(
        torch.autograd.grad((shares @ weights).square().sum(), (query, key)),
        torch.autograd.grad((expected @ weights).square().sum(), (query, key)),
        strict=True,
    ):
        torch.testing.assert_close(mine, judged, rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(stablemax_shares, (heads(3), heads(4)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_stablemax_shares_are_float32_under_autocast(dtype):
    query, key = heads(0, dtype), heads(1, dtype)
    with torch.autocast("cpu", torch.bfloat16):
        shares = stablemax_shares(query, key)
    assert shares.dtype == torch.float32
    torch.testing.assert_close(shares.double(), defined(query.double(), key.double()), rtol=2e-6, atol=1e-7)


def test_stablemax_attention_in_the_network():
    model = MODEL.replace(layers=1, attention="stablemax")
    block = lively(model.network(VOCABULARY, BLOCK, seed=0)).blocks[0]
    stream = torch.randn(2, BLOCK, model.width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    parts = block.query_key_value(block.norm_1(stream)).chunk(3, dim=-1)
    query, key, value = (part.unflatten(-1, (model.heads, -1)).transpose(1, 2) for part in parts)
    mixed = torch.einsum("bhqk,bhkd->bqhd", defined(query, key), value).flatten(2)
    attended = stream + block.attention_out(mixed)
    units = functional.gelu(block.feed_in(block.norm_2(attended)), approximate="tanh")
    torch.testing.assert_close(block(stream), attended + block.feed_out(units), rtol=1e-10, atol=1e-12)
