"""The one-layer transformer (Prieto et al. 2025, Sec. 2.2, Fig. 6a), with a cohort axis on every tensor.

The logits are read at the last token.  Without positional embeddings, only this makes the order of the tokens matter:
attention treats the tokens as a set, and only the query and the residual stream of the last token say which of the
two is b, so the model can learn subtraction.  Two shortcuts leave the result unchanged.  Nothing reads the other
positions, so their queries, feed-forward pass and norms are not computed.  And everything before attention depends
only on a token and its position, so it is computed once per token of the vocabulary and gathered.

Shape suffixes: K cohort, B batch (rows), A tokens of a row, T vocabulary, N vocabulary at every position, W width,
H heads, D width of a head, F feed-forward units, V classes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainables.engine.config import ConfigError, option
from trainables.engine.losses import s
from trainables.engine.models import DTYPES, NORM_EPS, Model
from trainables.engine.noise import Noise
from trainables.engine.randomness import INIT_STREAM, random_bits, signed_uniform, standard_normal
from trainables.engine.tasks import Task

FEED_ROWS = 1024
"""Rows of a member that the feed-forward sublayer processes at a time, so that its activations stay near the cache."""


@dataclass(frozen=True, kw_only=True)
class Transformer(Model):
    """One layer of attention and feed-forward with ReLU, as ``torch.nn.TransformerEncoderLayer`` computes it.

    The default is the released model without its dropout of .1: norms after each sublayer, 2048 feed-forward units,
    biases, no positions.  Weights are stored as (inputs, outputs).  Query, key and value are three tensors; torch (and
    so the released per-tensor ⊥Grad) joins them in one.

    Initial values follow torch: standard normal embeddings; query, key and value by Xavier's rule for the joined
    tensor, uniform in ±sqrt(6 / (4 width)); the other weights, and the biases of the feed-forward layers and of
    ``unembed``, uniform in ±1/sqrt(inputs); attention biases 0; norm gains 1 and biases 0.  The initial weights do not
    depend on the options.
    """

    width: int = option(128, at_least=1, example=8)
    heads: int = option(4, at_least=1, example=2)
    feed_forward: int = option(2048, at_least=1, example=12)
    norm: str = option("post", choices=("none", "pre", "post"))
    """Layer norm: after each residual sum, before each sublayer, or none; never an extra one before ``unembed``."""
    positions: bool = option(False, example=True)
    """Whether to add a learned vector for each position to the embedding."""
    dropout: float = option(0.0, at_least=0.0, below=1.0, example=0.1)
    """Dropout probability of the attention weights, the feed-forward units and each sublayer's output, in training."""
    attention: str = option("softmax", choices=("softmax", "stablemax"))
    bias: bool = option(True)
    """Whether attention, feed-forward, norms and ``unembed`` have biases."""
    dtype: str = option("float32", choices=tuple(DTYPES), example="float64")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise ConfigError(f"Transformer.heads = {self.heads}: must divide the width, {self.width}")

    @property
    def stochastic(self) -> bool:
        return self.dropout > 0

    def check(self, task: Task) -> None:
        if task.input_kind != "tokens":
            raise ConfigError(
                f"Transformer: cannot read {task.input_kind} rows, the inputs of this {type(task).__name__}; "
                "must be tokens, such as inputs=Tokens()"
            )

    def init(self, task: Task, seed: int) -> dict[str, Tensor]:
        width, units, classes = self.width, self.feed_forward, task.classes
        projection = math.sqrt(6 / (4 * width))
        # Shape, and bound of the uniform values; None: standard normal values.
        drawn: dict[str, tuple[tuple[int, ...], float | None]] = {
            "embed": ((task.features, width), None),
            "query": ((width, width), projection),
            "key": ((width, width), projection),
            "value": ((width, width), projection),
            "attention_out": ((width, width), width**-0.5),
            "feed_in": ((width, units), width**-0.5),
            "feed_out": ((units, width), units**-0.5),
            "unembed": ((width, classes), width**-0.5),
        }
        constant: dict[str, float] = {}
        if self.bias:
            drawn |= {
                "feed_in_bias": ((units,), width**-0.5),
                "feed_out_bias": ((width,), units**-0.5),
                "unembed_bias": ((classes,), width**-0.5),
            }
            constant |= dict.fromkeys(("query_bias", "key_bias", "value_bias", "attention_out_bias"), 0.0)
        if self.norm != "none":
            constant |= {"norm_1_gain": 1.0, "norm_2_gain": 1.0}
            if self.bias:
                constant |= {"norm_1_bias": 0.0, "norm_2_bias": 0.0}
        if self.positions:
            drawn["position"] = ((task.active_features, width), None)
        words = [math.prod(size) * (2 if bound is None else 1) for size, bound in drawn.values()]
        pieces = np.split(random_bits(seed, INIT_STREAM, sum(words)), np.cumsum(words)[:-1])
        parameters = {}
        for (name, (size, bound)), bits in zip(drawn.items(), pieces, strict=True):
            values = standard_normal(bits) if bound is None else signed_uniform(bits) * bound
            parameters[name] = torch.from_numpy(values.reshape(size)).to(DTYPES[self.dtype])
        for name, value in constant.items():
            parameters[name] = torch.full((width,), value, dtype=DTYPES[self.dtype])
        return parameters

    @property
    def layers(self) -> tuple[str, ...]:
        return ("stream",)

    @property
    def readout(self) -> str:
        return "unembed"

    def forward(
        self,
        parameters: Mapping[str, Tensor],
        inputs_KBA: Tensor,
        noise: Noise | None = None,
        activations: dict[str, Tensor] | None = None,
    ) -> Tensor:
        places, vocabulary = inputs_KBA.shape[2], parameters["embed"].shape[1]
        stream_KNW, token_KBA = parameters["embed"], inputs_KBA
        if self.positions:
            stream_KATW = parameters["position"].unsqueeze(2) + stream_KNW.unsqueeze(1)
            stream_KNW = stream_KATW.flatten(1, 2)
            token_KBA = inputs_KBA + torch.arange(places, device=inputs_KBA.device) * vocabulary
        read_KNW = self._norm(parameters, "norm_1", stream_KNW) if self.norm == "pre" else stream_KNW

        split = (self.heads, self.width // self.heads)
        last_KB1, last_KTW = inputs_KBA[..., -1:], read_KNW[:, -vocabulary:]
        query_KB1HD = _gathered(_linear(parameters, "query", last_KTW), last_KB1).unflatten(-1, split)
        key_KBAHD = _gathered(_linear(parameters, "key", read_KNW), token_KBA).unflatten(-1, split)
        value_KBAHD = _gathered(_linear(parameters, "value", read_KNW), token_KBA).unflatten(-1, split)
        scores_KBAH = (query_KB1HD * key_KBAHD).sum(-1) / math.sqrt(split[1])
        if self.attention == "stablemax":
            terms_KBAH = s(scores_KBAH)
            shares_KBAH = terms_KBAH / terms_KBAH.sum(2, keepdim=True)
        else:
            shares_KBAH = scores_KBAH.softmax(2)
        shares_KBAH = self._dropped(shares_KBAH, noise)
        attended_KBW = (shares_KBAH.unsqueeze(-1) * value_KBAHD).sum(2).flatten(2)

        stream_KBW = _gathered(stream_KNW[:, -vocabulary:], last_KB1).squeeze(2)
        stream_KBW = stream_KBW + self._dropped(_linear(parameters, "attention_out", attended_KBW), noise)
        if self.norm == "post":
            stream_KBW = self._norm(parameters, "norm_1", stream_KBW)
        read_KBW = self._norm(parameters, "norm_2", stream_KBW) if self.norm == "pre" else stream_KBW
        fed_KBW = torch.cat([self._feed(parameters, part, noise) for part in read_KBW.split(FEED_ROWS, dim=1)], dim=1)
        stream_KBW = stream_KBW + self._dropped(fed_KBW, noise)
        if self.norm == "post":
            stream_KBW = self._norm(parameters, "norm_2", stream_KBW)
        if activations is not None:
            activations["stream"] = stream_KBW
        return _linear(parameters, "unembed", stream_KBW)

    def flops_per_row(self, task: Task) -> float:
        width, places = self.width, task.active_features
        once = 2.0 * width**2 * task.features * (2 * (places if self.positions else 1) + 1) / task.train_rows
        attention = 4.0 * places * width + 2.0 * width**2
        return once + attention + 4.0 * width * self.feed_forward + 2.0 * width * task.classes

    def _feed(self, parameters: Mapping[str, Tensor], read_KBW: Tensor, noise: Noise | None) -> Tensor:
        """Apply the feed-forward sublayer: shape (K, B, W)."""
        # Dropout before the ReLU equals dropout after it, and lets the ReLU work in place.
        units_KBF = self._dropped(_linear(parameters, "feed_in", read_KBW), noise).relu_()
        return _linear(parameters, "feed_out", units_KBF)

    def _norm(self, parameters: Mapping[str, Tensor], name: str, stream_KBW: Tensor) -> Tensor:
        """Apply layer norm (Ba et al. 2016) to every row, with each member's own gain."""
        normed_KBW = functional.layer_norm(stream_KBW, (self.width,), eps=NORM_EPS)
        normed_KBW = normed_KBW * parameters[f"{name}_gain"].unsqueeze(1)
        return normed_KBW + parameters[f"{name}_bias"].unsqueeze(1) if self.bias else normed_KBW

    def _dropped(self, values: Tensor, noise: Noise | None) -> Tensor:
        """Apply inverted dropout to ``values`` (K, ...) in training; return them unchanged in evaluation."""
        if noise is None or not self.stochastic:
            return values
        return values * noise.keep(values.shape[1:], self.dropout).to(values.dtype)


def _linear(parameters: Mapping[str, Tensor], name: str, rows_KBI: Tensor) -> Tensor:
    """Multiply the rows by the weight ``name`` and add its bias, if any: shape (K, B, O)."""
    weight_KIO, bias_KO = parameters[name], parameters.get(f"{name}_bias")
    if bias_KO is None:
        return torch.bmm(rows_KBI, weight_KIO)
    return torch.baddbmm(bias_KO.unsqueeze(1), rows_KBI, weight_KIO)


def _gathered(table_KNW: Tensor, index_KBA: Tensor) -> Tensor:
    """Look the indices up in each member's own table: shape (K, B, A, W)."""
    members, length, _ = table_KNW.shape
    offset_K11 = torch.arange(members, device=index_KBA.device).view(-1, 1, 1) * length
    return functional.embedding(index_KBA + offset_K11, table_KNW.flatten(0, 1))
