"""Models: named parameters with a leading cohort axis, and a forward pass over all members at once.

Shape suffixes: K cohort, B batch (rows), A active features of a row, I inputs, H hidden units, O outputs, V classes.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from trainables.engine.config import Config, ConfigError, option
from trainables.engine.noise import Noise
from trainables.engine.one_hot import OneHotRows
from trainables.engine.randomness import INIT_STREAM, random_bits, signed_uniform, standard_normal
from trainables.engine.tasks import Task

DTYPES = {"float32": torch.float32, "float64": torch.float64}
NORM_EPS = 1e-5
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "gelu": functional.gelu,
    "quadratic": torch.square,
    "tanh": torch.tanh,
}
"""May work in place."""


@dataclass(frozen=True, kw_only=True)
class Model(Config):
    """Base of the models.  Every parameter has a name; in a cohort, axis 0 of its tensor runs over the members."""

    @property
    def stochastic(self) -> bool:
        """Whether a training step draws noise (dropout)."""
        return False

    @abstractmethod
    def check(self, task: Task) -> None:
        """Refuse a task whose rows the model cannot take.

        :raises ConfigError: with what is allowed.
        """

    @abstractmethod
    def init(self, task: Task, seed: int) -> dict[str, Tensor]:
        """Draw the initial parameters of one member: on the CPU, without a cohort axis."""

    def prepare(self, task: Task, inputs_KBA: Tensor) -> Any:
        """Return the rows as :meth:`forward` reads them fastest, with what can be computed once for all steps.

        :param inputs_KBA: in the task's format, which :meth:`forward` reads too.
        """
        return inputs_KBA

    @property
    def layers(self) -> tuple[str, ...]:
        """The hidden activations that :meth:`forward` can show, in order; by default, none."""
        return ()

    @property
    def readout(self) -> str | None:
        """The name of the weight, (features, classes), that turns the last of :attr:`layers` into logits, if any."""
        return None

    @abstractmethod
    def forward(
        self,
        parameters: Mapping[str, Tensor],
        inputs: Any,
        noise: Noise | None = None,
        activations: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Return the logits: shape (K, B, V).

        :param inputs: the rows, in the task's format (K, B, A) or as :meth:`prepare` returns them.
        :param noise: the random draws of this training step, for a stochastic model; None to evaluate.
        :param activations: receives the hidden activations by the names in :attr:`layers`: shape (K, B, H).
        """

    @abstractmethod
    def flops_per_row(self, task: Task) -> float:
        """Return the floating-point operations of one row's forward pass."""


@dataclass(frozen=True, kw_only=True)
class MLP(Model):
    """Fully connected layers on one-hot rows, dense rows, or embedded tokens; weights are stored as (inputs, outputs).

    The default is the paper's (Sec. 2.2): two hidden layers of 200 units without bias, with ReLU.  Initial values,
    biases included, are uniform in ±1/sqrt(inputs), as in ``torch.nn.Linear``; embeddings are standard normal, as in
    ``torch.nn.Embedding``; the gains of layer norm are 1 and its biases 0.  ``hidden=()`` is a linear classifier.
    """

    hidden: tuple[int, ...] = option((200, 200), at_least=1, example=(16,))
    bias: bool = option(False, example=True)
    dtype: str = option("float32", choices=tuple(DTYPES), example="float64")
    init_scale: float = option(1.0, above=0.0, per_trial=True)
    """The factor on every initial weight and bias: 100 in Fig. 14 (Liu et al. 2023b)."""
    input_init_scale: float = option(1.0, above=0.0, per_trial=True)
    """A further factor on those of the embedding, or of the first layer where there is none."""
    embedding: int = option(0, at_least=0)
    """The width of the learned vector of each token; 0: read one-hot or dense rows."""
    combine: str = option("concatenate", choices=("concatenate", "sum"))
    """What becomes of the vectors of a row's tokens."""
    activation: str = option("relu", choices=tuple(ACTIVATIONS))
    """After every hidden layer; ``quadratic`` is x² (Gromov 2023)."""
    layer_norm: bool = option(False)
    """Layer norm (Ba et al. 2016) with gain and bias before every activation."""
    residual: bool = option(False)
    """Add to every hidden layer's activations those of the layer before, from the second on; all have one width."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.residual and len(set(self.hidden)) != 1:
            raise ConfigError(f"MLP.hidden = {self.hidden!r}: must be one width for all layers where residual=True")

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(f"hidden_{layer}" for layer in range(len(self.hidden)))

    @property
    def readout(self) -> str:
        return f"weight_{len(self.hidden)}"

    def widths(self, task: Task) -> list[int]:
        """Return the number of units of every layer, from the input to the logits."""
        inputs = task.features
        if self.embedding:
            inputs = self.embedding * (task.active_features if self.combine == "concatenate" else 1)
        return [inputs, *self.hidden, task.classes]

    def check(self, task: Task) -> None:
        if task.input_kind == "tokens" and not self.embedding:
            raise ConfigError(
                f"MLP: cannot read tokens, the inputs of this {type(task).__name__}; "
                "must have an embedding, such as embedding=100, or one-hot or dense rows, such as inputs=OneHot()"
            )
        if task.input_kind != "tokens" and self.embedding:
            raise ConfigError(
                f"MLP.embedding = {self.embedding}: must be 0 for {task.input_kind} rows, the inputs of this "
                f"{type(task).__name__}; tokens are embedded, such as inputs=Tokens()"
            )

    def init(self, task: Task, seed: int) -> dict[str, Tensor]:
        widths = self.widths(task)
        sizes: dict[str, tuple[int, ...]] = {}
        for layer, (inputs, outputs) in enumerate(pairwise(widths)):
            sizes[f"weight_{layer}"] = (inputs, outputs)
            if self.bias:
                sizes[f"bias_{layer}"] = (outputs,)
        count, embedded = sum(map(math.prod, sizes.values())), task.features * self.embedding
        bits = random_bits(seed, INIT_STREAM, count + 2 * embedded)
        dtype, uniform = DTYPES[self.dtype], signed_uniform(bits[:count])
        parameters, start = {}, 0
        if self.embedding:
            table = standard_normal(bits[count:]).reshape(task.features, self.embedding)
            parameters["embedding"] = torch.from_numpy(table * self.init_scale * self.input_init_scale).to(dtype)
        for name, size in sizes.items():
            layer = int(name.rpartition("_")[2])
            values = uniform[start : start + math.prod(size)].reshape(size) / math.sqrt(widths[layer])
            values = values * self.init_scale
            if layer == 0 and not self.embedding:
                values = values * self.input_init_scale
            parameters[name] = torch.from_numpy(values).to(dtype)
            start += math.prod(size)
        for layer, width in enumerate(self.hidden if self.layer_norm else ()):
            parameters[f"norm_{layer}_gain"] = torch.ones(width, dtype=dtype)
            parameters[f"norm_{layer}_bias"] = torch.zeros(width, dtype=dtype)
        return parameters

    def prepare(self, task: Task, inputs_KBA: Tensor) -> Tensor | OneHotRows:
        if task.input_kind == "dense":
            return inputs_KBA
        if self.embedding and self.combine == "concatenate":
            inputs_KBA = inputs_KBA.flatten(1).unsqueeze(2)  # each token is a row of the table
        return OneHotRows.of(inputs_KBA, task.features)

    def forward(
        self,
        parameters: Mapping[str, Tensor],
        inputs: Tensor | OneHotRows,
        noise: Noise | None = None,
        activations: dict[str, Tensor] | None = None,
    ) -> Tensor:
        values_KBH = self._first(parameters, inputs)
        earlier_KBH = None
        for layer in range(len(self.hidden) + 1):
            if layer:
                hidden_KBH = ACTIVATIONS[self.activation](values_KBH)
                if self.residual:
                    hidden_KBH = hidden_KBH if earlier_KBH is None else hidden_KBH + earlier_KBH
                    earlier_KBH = hidden_KBH
                if activations is not None:
                    activations[f"hidden_{layer - 1}"] = hidden_KBH
                values_KBH = torch.bmm(hidden_KBH, parameters[f"weight_{layer}"])
            if self.bias:
                values_KBH = values_KBH + parameters[f"bias_{layer}"].unsqueeze(1)
            if self.layer_norm and layer < len(self.hidden):
                gain_KH, bias_KH = parameters[f"norm_{layer}_gain"], parameters[f"norm_{layer}_bias"]
                normed_KBH = functional.layer_norm(values_KBH, values_KBH.shape[-1:], eps=NORM_EPS)
                values_KBH = normed_KBH * gain_KH.unsqueeze(1) + bias_KH.unsqueeze(1)
        return values_KBH

    def _first(self, parameters: Mapping[str, Tensor], inputs: Tensor | OneHotRows) -> Tensor:
        """Apply the first layer's weight to the rows: shape (K, B, H)."""
        weight_KIH = parameters["weight_0"]
        if isinstance(inputs, Tensor) and inputs.is_floating_point():
            return torch.bmm(inputs.to(weight_KIH.dtype), weight_KIH)
        table_KTE = parameters["embedding"] if self.embedding else weight_KIH
        if isinstance(inputs, Tensor):
            joined = self.embedding and self.combine == "concatenate"
            inputs = OneHotRows.of(inputs.flatten(1).unsqueeze(2) if joined else inputs, table_KTE.shape[1])
        rows = inputs.product(table_KTE)
        if not self.embedding:
            return rows
        return torch.bmm(rows.reshape(len(rows), -1, weight_KIH.shape[1]), weight_KIH)

    def flops_per_row(self, task: Task) -> float:
        widths = self.widths(task)
        if self.embedding:  # Gathered rows are copied or added.
            return task.active_features * self.embedding + sum(2.0 * i * o for i, o in pairwise(widths))
        # Gathered weight rows are only added; dense inputs are multiplied as well.
        first = task.active_features * widths[1] * (2.0 if task.input_kind == "dense" else 1.0)
        return first + sum(2.0 * i * o for i, o in pairwise(widths[1:]))
