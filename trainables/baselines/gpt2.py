"""GPT-2 (Radford et al. 2019) of any size, with softmax or StableMax attention, and the base of language models.

Shape suffixes: B batch (rows), T tokens of a row, W width, H heads, D width of a head, V vocabulary.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from trainables.engine.config import Config, ConfigError, option
from trainables.engine.losses import s
from trainables.engine.randomness import WEIGHTS_STREAM, torch_seeded

INITIAL_DEVIATION = 0.02


@dataclass(frozen=True, kw_only=True)
class LanguageModel(Config):
    """Base of the language models: networks that map every token of a row to the logits of the next token."""

    @abstractmethod
    def network(
        self, vocabulary: int, block_size: int, seed: int, *, activation_checkpointing: bool = False
    ) -> nn.Module:
        """Build a network from tokens (B, T <= ``block_size``) to logits (B, T, V), on the CPU, in float32.

        :param seed: determines the initial weights.
        :param activation_checkpointing: keep only the activations between blocks and recompute the others in the
            backward pass: the same bits, with less memory and about a third more work.
        """

    @abstractmethod
    def flops_per_token(self, vocabulary: int, block_size: int) -> float:
        """Return the floating-point operations of forward and backward pass over a full row, per token."""


@dataclass(frozen=True, kw_only=True)
class GPT2(LanguageModel):
    """GPT-2's decoder; the default is "small": 124.4 million parameters with 50 257 tokens and 1024 positions.

    Learned positions; blocks of causal attention and of a feed-forward layer, four times as wide, with GELU (tanh
    form), each after a layer norm and added to the residual stream; a final layer norm; and the embedding as the output
    layer (tied weights).  Query, key and value are one weight, as in GPT-2, and so one tensor to per-tensor rules.

    Initial values: weights and embeddings are normal with standard deviation .02, but .02/sqrt(2 layers) for the two
    projections of each block into the residual stream; biases 0; norm gains 1 and biases 0.
    """

    layers: int = option(12, at_least=1)
    heads: int = option(12, at_least=1)
    width: int = option(768, at_least=1)
    dropout: float = option(0.1, at_least=0.0, below=1.0)
    """Dropout probability of the summed embeddings, the attention weights and each sublayer's output, in training."""
    attention: str = option("softmax", choices=("softmax", "stablemax"))
    """``stablemax`` replaces softmax by s(score) over its sum (Prieto et al. 2025, Eq. 6), in float32."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise ConfigError(f"GPT2.heads = {self.heads}: must divide the width, {self.width}")

    def network(
        self, vocabulary: int, block_size: int, seed: int, *, activation_checkpointing: bool = False
    ) -> "GPT2Network":
        with torch.device("meta"):  # Skip torch's own initial values, which draw_weights replaces.
            network = GPT2Network(self, vocabulary, block_size, activation_checkpointing=activation_checkpointing)
        network.to_empty(device="cpu")
        with torch_seeded(seed, WEIGHTS_STREAM), torch.no_grad():
            network.draw_weights()
        return network

    def flops_per_token(self, vocabulary: int, block_size: int) -> float:
        """Count 6 per weight in a product, and 12 W per layer and attended token (Chowdhery et al. 2022, App. B).

        As in published figures, the causal mask does not reduce the count.
        """
        weights = 12 * self.layers * self.width**2 + vocabulary * self.width
        return 6.0 * weights + 12.0 * self.layers * self.width * block_size


class GPT2Network(nn.Module):
    """GPT-2 as a module; dropout draws from torch's global generator."""

    def __init__(
        self, model: GPT2, vocabulary: int, block_size: int, *, activation_checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.activation_checkpointing = activation_checkpointing
        self.token_embedding = nn.Embedding(vocabulary, model.width)
        self.position_embedding = nn.Embedding(block_size, model.width)
        self.dropout = nn.Dropout(model.dropout)
        self.blocks = nn.ModuleList([Block(model) for _ in range(model.layers)])
        self.norm = nn.LayerNorm(model.width)

    def draw_weights(self) -> None:
        """Draw every parameter, in the modules' order, from torch's global generator."""
        residual = INITIAL_DEVIATION / math.sqrt(2 * len(self.blocks))
        for name, module in self.named_modules():
            match module:
                case nn.Linear():
                    module.weight.normal_(std=residual if name.endswith("_out") else INITIAL_DEVIATION)
                    module.bias.zero_()
                case nn.Embedding():
                    module.weight.normal_(std=INITIAL_DEVIATION)
                case nn.LayerNorm():
                    module.weight.fill_(1)
                    module.bias.zero_()

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits: (B, T, V)."""
        positions_TW = self.position_embedding.weight[: tokens_BT.shape[1]]
        stream_BTW = self.dropout(self.token_embedding(tokens_BT) + positions_TW)
        for block in self.blocks:
            if self.activation_checkpointing and torch.is_grad_enabled():
                # Checkpointing restores the generators for the second pass, so dropout drops the same units.
                stream_BTW = checkpoint(block, stream_BTW, use_reentrant=False)
            else:
                stream_BTW = block(stream_BTW)
        return functional.linear(self.norm(stream_BTW), self.token_embedding.weight)


class Block(nn.Module):
    """One layer: attention, then feed-forward, each after a layer norm and added to the residual stream."""

    def __init__(self, model: GPT2) -> None:
        super().__init__()
        width = model.width
        self.heads, self.attention, self.dropout = model.heads, model.attention, model.dropout
        self.norm_1 = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.feed_in = nn.Linear(width, 4 * width)
        self.feed_out = nn.Linear(4 * width, width)

    def forward(self, stream_BTW: Tensor) -> Tensor:
        stream_BTW = stream_BTW + self._dropped(self.attention_out(self._attended(self.norm_1(stream_BTW))))
        units_BTF = functional.gelu(self.feed_in(self.norm_2(stream_BTW)), approximate="tanh")
        return stream_BTW + self._dropped(self.feed_out(units_BTF))

    def _attended(self, read_BTW: Tensor) -> Tensor:
        joined_BT3HD = self.query_key_value(read_BTW).unflatten(-1, (3, self.heads, -1))
        query_BHTD, key_BHTD, value_BHTD = joined_BT3HD.permute(2, 0, 3, 1, 4)
        if self.attention == "stablemax":
            shares_BHTT = self._dropped(stablemax_shares(query_BHTD, key_BHTD).to(value_BHTD.dtype))
            mixed_BHTD = shares_BHTT @ value_BHTD
        else:
            mixed_BHTD = functional.scaled_dot_product_attention(
                query_BHTD, key_BHTD, value_BHTD, dropout_p=self.dropout if self.training else 0.0, is_causal=True
            )
        return mixed_BHTD.transpose(1, 2).flatten(2)

    def _dropped(self, values: Tensor) -> Tensor:
        return functional.dropout(values, self.dropout, self.training)


def stablemax_shares(query_BHTD: Tensor, key_BHTD: Tensor) -> Tensor:
    """Compute causal attention weights by StableMax: s(score) over its sum, 0 for later tokens.

    :returns: (B, H, T, T) in float32, or in float64 for float64 queries.  The scores are computed in that dtype too,
        whatever autocast says, as fused softmax attention does.
    """
    dtype = torch.promote_types(query_BHTD.dtype, torch.float32)
    with torch.autocast(query_BHTD.device.type, enabled=False):
        query_BHTD = query_BHTD.to(dtype) / math.sqrt(query_BHTD.shape[-1])
        return _CausalShares.apply(query_BHTD @ key_BHTD.to(dtype).mT)


class _CausalShares(torch.autograd.Function):
    """One operation that saves only its result and the sums, where autograd would save five tensors of T² scores."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        terms = s(scores).tril_()
        sums = terms.sum(-1, keepdim=True)
        shares = terms / sums
        ctx.save_for_backward(shares, sums)
        return shares

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        shares, sums = ctx.saved_tensors
        inner = (gradient * shares).sum(-1, keepdim=True)
        slope = (shares * sums).clamp_(max=1).square_()  # s' is 1 above 0, s² below, and 0 where masked.
        return slope.mul_(gradient - inner).div_(sums)
