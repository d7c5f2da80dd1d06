"""From gradients to updates: the engine's gradient rules, and its optimizers run by ``torch.optim``.

``torch.optim`` updates many tensors in place and in one kernel.  The engine's functional update remains the reference:
tests compare the two, and measurements use it to predict the next update without changing anything.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainables.engine.config import ConfigError
from trainables.engine.gradients import GradientRule, PlainGradient, State, Tensors, apart, cloned
from trainables.engine.optimizers import SGD, Adam, AdamW, Optimizer, stack_hyper
from trainables.engine.replay import Replay

BUFFERS = {AdamW: {"mean": "exp_avg", "square": "exp_avg_sq"}, SGD: {"velocity": "momentum_buffer"}}
BUFFERS[Adam] = BUFFERS[AdamW]
"""The engine's name of a buffer -> torch's."""


def check_optimizer(optimizer: Optimizer) -> None:
    """Refuse an optimizer that ``torch.optim`` does not have.

    :raises ConfigError: with the allowed ones.
    """
    if type(optimizer) not in BUFFERS:
        allowed = ", ".join(sorted(cls.__name__ for cls in BUFFERS))
        raise ConfigError(f"optimizer = {type(optimizer).__name__}: must be one of {allowed} for mini-batch trials")


class Directions:
    """Applies a gradient rule to one network's gradients, which have a cohort axis of one.

    A rule is some forty kernels a tensor; on a GPU they are launched together (see :class:`Replay`), for which the
    gradients are first copied to where they are always read.
    """

    def __init__(self, rule: GradientRule, parameters: Mapping[str, nn.Parameter]) -> None:
        self._rule, self._parameters = rule, dict(parameters)
        self._device = next(iter(self._parameters.values())).device
        self._hyper = stack_hyper([rule], self._device)
        self._state = cloned(rule.init_state(self.stacked()))
        self._number = torch.ones((), dtype=torch.float64, device=self._device)
        self._replay = Replay[tuple[Tensors, State]](self._device)
        self._held: dict[str, Tensor] = {}

    def stacked(self) -> dict[str, Tensor]:
        """Return the weights with a cohort axis, as the engine expects."""
        return {name: weight.detach().unsqueeze(0) for name, weight in self._parameters.items()}

    def of(self, gradients: Tensors, number: int) -> tuple[Tensors, State]:
        """Return the gradients to descend along, valid until the next call, and the rule's buffers after the step.

        :param number: the number of the update, from 1.
        """
        self._number.fill_(number)
        if self._device.type == "cpu" or isinstance(self._rule, PlainGradient):
            return self._directions(gradients)
        if not self._held:
            self._held = {name: torch.empty_like(gradient) for name, gradient in gradients.items()}
        torch._foreach_copy_(list(self._held.values()), [gradients[name] for name in self._held])
        return self._replay(lambda: self._directions(self._held))

    def _directions(self, gradients: Tensors) -> tuple[Tensors, State]:
        return self._rule(self.stacked(), gradients, self._state, self._hyper, self._number)

    def adopt(self, state: State) -> None:
        """Keep the rule's buffers after a step."""
        held = [value for tensors in self._state.values() for value in tensors.values()]
        new = {buffer: apart(tensors, self._state[buffer], held) for buffer, tensors in state.items()}
        for buffer, tensors in self._state.items():
            for name, value in tensors.items():
                value.copy_(new[buffer][name])

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Copy the rule's buffers to the host."""
        return {buffer: to_host(tensors) for buffer, tensors in self._state.items()}

    def load_state_dict(self, state: State) -> None:
        """Continue from a :meth:`state_dict`."""
        for buffer, tensors in self._state.items():
            for name, value in tensors.items():
                value.copy_(state[buffer][name])


def to_host(tensors: Tensors) -> dict[str, Tensor]:
    """Copy tensors to the host."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


class Updates:
    """Updates one network's weights by the gradients in its parameters."""

    def __init__(self, optimizer: Optimizer, parameters: Mapping[str, nn.Parameter], *, fused: bool) -> None:
        """
        :param fused: update all tensors in one kernel; not for a scaled loss, whose overflows skip an update.
        """
        self._config, self._parameters = optimizer, dict(parameters)
        common: dict[str, Any] = {"lr": optimizer.learning_rate, "fused": fused}
        weights = list(self._parameters.values())
        self.torch: torch.optim.Optimizer
        if isinstance(optimizer, SGD):
            self.torch = torch.optim.SGD(
                weights,
                momentum=optimizer.momentum,
                nesterov=optimizer.nesterov,
                weight_decay=optimizer.weight_decay,
                **common,
            )
        else:
            assert isinstance(optimizer, AdamW | Adam)
            make = torch.optim.AdamW if isinstance(optimizer, AdamW) else torch.optim.Adam
            self.torch = make(
                weights, betas=optimizer.betas, eps=optimizer.eps, weight_decay=optimizer.weight_decay, **common
            )
        self._hyper = stack_hyper([optimizer], weights[0].device)

    @property
    def learning_rate(self) -> float:
        """η of the next update; set it before each update."""
        return self.torch.param_groups[0]["lr"]

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.torch.param_groups[0]["lr"] = value

    @property
    def made(self) -> int:
        """The number of updates made, without those skipped by overflow; always 0 for SGD, which does not count."""
        for state in self.torch.state.values():
            if "step" in state:
                return int(state["step"])
        return 0

    def buffers(self) -> dict[str, dict[str, Tensor]]:
        """Return the optimizer's buffers by the engine's names, without copying; zeros before the first update."""
        buffers: dict[str, dict[str, Tensor]] = {}
        for ours, theirs in BUFFERS[type(self._config)].items():
            held = {name: self.torch.state.get(weight, {}).get(theirs) for name, weight in self._parameters.items()}
            buffers[ours] = {
                name: torch.zeros_like(self._parameters[name]) if value is None else value
                for name, value in held.items()
            }
        return buffers

    def predict(self, directions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the next change of each weight by the engine's own update, with a cohort axis of one."""
        parameters = {name: weight.detach().unsqueeze(0) for name, weight in self._parameters.items()}
        state = {
            buffer: {name: value.unsqueeze(0) for name, value in tensors.items()}
            for buffer, tensors in self.buffers().items()
        }
        hyper = self._hyper | {"learning_rate": torch.full_like(self._hyper["learning_rate"], self.learning_rate)}
        step = torch.tensor(self.made + 1, dtype=torch.float64, device=hyper["learning_rate"].device)
        moved, _ = self._config.update(parameters, directions, state, hyper, step)
        return {name: moved[name] - parameters[name] for name in parameters}

    def state_dict(self) -> dict[str, Any]:
        """Copy the state to the host."""
        copies = {buffer: to_host(tensors) for buffer, tensors in self.buffers().items()}
        return {"made": self.made, "buffers": copies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        names = BUFFERS[type(self._config)]
        for name, weight in self._parameters.items():
            mine: dict[str, Any] = {
                theirs: state["buffers"][ours][name].to(weight.device, copy=True) for ours, theirs in names.items()
            }
            if isinstance(self._config, SGD):
                if not self._config.momentum:
                    continue
            elif state["made"]:
                device = weight.device if self.torch.param_groups[0]["fused"] else "cpu"
                mine["step"] = torch.tensor(float(state["made"]), device=device)
            else:
                continue
            self.torch.state[weight] = mine
