"""Models: named parameters with a leading cohort axis, and a forward pass over all members at once.

Shape suffixes: K cohort, B batch (rows), A active features of a row, I inputs, H hidden units, O outputs, V classes.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from trainables.engine.config import Config, ConfigError, option
from trainables.engine.noise import Noise
from trainables.engine.one_hot import OneHotRows
from trainables.engine.randomness import INIT_STREAM, random_bits, signed_uniform
from trainables.engine.tasks import Task

DTYPES = {"float32": torch.float32, "float64": torch.float64}


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

    @abstractmethod
    def forward(self, parameters: Mapping[str, Tensor], inputs: Any, noise: Noise | None = None) -> Tensor:
        """Return the logits: shape (K, B, V).

        :param inputs: the rows, in the task's format (K, B, A) or as :meth:`prepare` returns them.
        :param noise: the random draws of this training step, for a stochastic model; None to evaluate.
        """

    @abstractmethod
    def flops_per_row(self, task: Task) -> float:
        """Return the floating-point operations of one row's forward pass."""


@dataclass(frozen=True, kw_only=True)
class MLP(Model):
    """ReLU layers on a one-hot or dense input; weights are stored as (inputs, outputs).

    The default is the paper's (Sec. 2.2): two hidden layers of 200 units without bias.  Initial values, biases
    included, are uniform in ±1/sqrt(inputs), as in ``torch.nn.Linear``.  ``hidden=()`` is a linear classifier.
    """

    hidden: tuple[int, ...] = option((200, 200), at_least=1, example=(16,))
    bias: bool = option(False, example=True)
    dtype: str = option("float32", choices=tuple(DTYPES), example="float64")
    init_scale: float = option(1.0, above=0.0, per_trial=True)
    """The factor on every initial value: 100 in Fig. 14 (Liu et al. 2023b)."""

    def widths(self, task: Task) -> list[int]:
        """Return the number of units of every layer, from the input to the logits."""
        return [task.features, *self.hidden, task.classes]

    def check(self, task: Task) -> None:
        if task.input_kind == "tokens":
            raise ConfigError(
                f"MLP: cannot read tokens, the inputs of this {type(task).__name__}; "
                "must be one-hot or dense rows, such as inputs=OneHot()"
            )

    def init(self, task: Task, seed: int) -> dict[str, Tensor]:
        widths = self.widths(task)
        sizes: dict[str, tuple[int, ...]] = {}
        for layer, (inputs, outputs) in enumerate(pairwise(widths)):
            sizes[f"weight_{layer}"] = (inputs, outputs)
            if self.bias:
                sizes[f"bias_{layer}"] = (outputs,)
        uniform = signed_uniform(random_bits(seed, INIT_STREAM, sum(math.prod(size) for size in sizes.values())))
        parameters, start = {}, 0
        for name, size in sizes.items():
            inputs = widths[int(name.rpartition("_")[2])]
            values = uniform[start : start + math.prod(size)].reshape(size) / math.sqrt(inputs) * self.init_scale
            parameters[name] = torch.from_numpy(values).to(DTYPES[self.dtype])
            start += math.prod(size)
        return parameters

    def prepare(self, task: Task, inputs_KBA: Tensor) -> Tensor | OneHotRows:
        return OneHotRows.of(inputs_KBA, task.features) if task.input_kind == "one_hot" else inputs_KBA

    def forward(
        self, parameters: Mapping[str, Tensor], inputs: Tensor | OneHotRows, noise: Noise | None = None
    ) -> Tensor:
        weight_KIH = parameters["weight_0"]
        if isinstance(inputs, Tensor) and inputs.is_floating_point():
            hidden_KBH = torch.bmm(inputs.to(weight_KIH.dtype), weight_KIH)
        else:
            one_hot = OneHotRows.of(inputs, weight_KIH.shape[1]) if isinstance(inputs, Tensor) else inputs
            hidden_KBH = one_hot.product(weight_KIH)
        for layer in range(len(self.hidden) + 1):
            if layer:
                hidden_KBH = torch.bmm(hidden_KBH.relu_(), parameters[f"weight_{layer}"])
            if self.bias:
                hidden_KBH = hidden_KBH + parameters[f"bias_{layer}"].unsqueeze(1)
        return hidden_KBH

    def flops_per_row(self, task: Task) -> float:
        widths = self.widths(task)
        # Gathered weight rows are only added; dense inputs are multiplied as well.
        first = task.active_features * widths[1] * (2.0 if task.input_kind == "dense" else 1.0)
        return first + sum(2.0 * i * o for i, o in pairwise(widths[1:]))
