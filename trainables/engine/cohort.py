"""K grokking trials of one shape in lock-step: advance, measure, retire, checkpoint.

A step is a pure tensor program: fixed shapes, hyper-parameters and the step count as device tensors, nothing read
back to the host between measurements, so that a GPU can replay it as a graph.  A solo trial is a cohort of one.

Shape suffixes: K cohort, B batch (rows), A active features of a row, V classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from trainables.engine.config import ConfigError
from trainables.engine.gradients import per_member
from trainables.engine.optimizers import stack_hyper
from trainables.engine.probes import Observation, Rows

if TYPE_CHECKING:
    from trainables.grokking import GrokkingTrial


@dataclass(frozen=True)
class _Proposal:
    """The next step, computed but not made: what a measurement looks at and what ``advance`` then adopts."""

    logits_KBV: Tensor
    losses_KB: Tensor
    gradients: dict[str, Tensor]
    parameters: dict[str, Tensor]
    state: dict[str, dict[str, Tensor]]


class GrokkingCohort:
    """The full-batch cohort; implements :class:`trainables.engine.trial.Cohort`."""

    def __init__(self, trials: Sequence["GrokkingTrial"], device: str = "cpu") -> None:
        """The trials at step 0.

        :raises ConfigError: when they differ in more than per-trial values.
        """
        if len({trial.cohort_key for trial in trials}) != 1:
            raise ConfigError(f"a cohort of {len(trials)} trials: they must differ in per-trial values only")
        self.trials: Sequence[GrokkingTrial] = tuple(trials)
        self.step = 0
        self._device = torch.device(device)
        self._model, self._loss = trials[0].model, trials[0].loss
        self._rule, self._optimizer, self._probes = trials[0].gradient, trials[0].optimizer, trials[0].probes
        splits = [trial.task.split(trial.seeds) for trial in trials]
        self._rows = {
            name: torch.from_numpy(np.stack([getattr(split, name) for split in splits])).to(self._device)
            for name in ("train_inputs", "train_labels", "test_inputs", "test_labels")
        }
        inits = [trial.model.init(trial.task, trial.seeds.init) for trial in trials]
        self._parameters = {name: torch.stack([init[name] for init in inits]).to(self._device) for name in inits[0]}
        self._state = self._optimizer.init_state(self._parameters)
        self._hyper = stack_hyper([trial.optimizer for trial in trials], self._device)
        self._active_K = torch.ones(len(trials), dtype=torch.bool, device=self._device)
        self._updates = torch.zeros((), dtype=torch.float64, device=self._device)
        self._proposal: _Proposal | None = None

    def advance(self, steps: int) -> None:
        """Make ``steps`` updates of every active member; nothing is read back to the host."""
        for _ in range(steps):
            self._adopt(self._propose())
        self.step += steps

    def measure(self) -> dict[str, np.ndarray]:
        """Every probe's columns at the present step, each of shape (K,), float64.

        The gradient and the update that it looks at are those of the next step, which then need not be computed
        again: a measurement costs the test rows' forward pass and the probes, and changes nothing.
        """
        next_step = self._propose()
        with torch.no_grad():
            test_logits_KBV = self._model.forward(self._parameters, self._rows["test_inputs"])
            test_losses_KB = self._loss.row_losses(test_logits_KBV, self._rows["test_labels"])
            seen = Observation(
                loss=self._loss,
                train=Rows(next_step.logits_KBV, self._rows["train_labels"], next_step.losses_KB),
                test=Rows(test_logits_KBV, self._rows["test_labels"], test_losses_KB),
                parameters=self._parameters,
                gradients=next_step.gradients,
                updates={name: value - self._parameters[name] for name, value in next_step.parameters.items()},
            )
            found = {column: values for probe in self._probes for column, values in probe.measure(seen).items()}
            return {column: values.double().cpu().numpy() for column, values in found.items()}

    def finite(self) -> np.ndarray:
        """Whether each member's loss, gradient and weights, now and after the next step, are finite: (K,), bool."""
        next_step = self._propose()
        finite_K = next_step.losses_KB.isfinite().all(1)
        for tensors in (next_step.gradients, self._parameters, next_step.parameters):
            for tensor in tensors.values():
                finite_K = finite_K & tensor.isfinite().flatten(1).all(1)
        return finite_K.cpu().numpy()

    def frozen(self) -> np.ndarray:
        """Whether each member's weights provably never change again: shape (K,), bool.

        The gradient is exactly 0, so that it stays 0 as long as the weights do, and the optimizer certifies that
        what is pending in its buffers is absorbed by every weight and only shrinks.
        """
        frozen_K = self._optimizer.stays_put(self._parameters, self._state, self._hyper, self._updates)
        for gradient in self._propose().gradients.values():
            frozen_K = frozen_K & (gradient == 0).flatten(1).all(1)
        return frozen_K.cpu().numpy()

    def retire(self, members: Sequence[int]) -> None:
        """Stop updating these members; the shapes stay until :meth:`compact`."""
        self._active_K[list(members)] = False

    def compact(self) -> None:
        """Drop the retired members; the others keep their order."""
        kept = self._active_K.nonzero().flatten()
        if len(kept) == len(self.trials):
            return
        self.trials = tuple(self.trials[int(member)] for member in kept)

        def keep(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor[kept] for name, tensor in tensors.items()}

        self._rows, self._parameters, self._hyper = keep(self._rows), keep(self._parameters), keep(self._hyper)
        self._state = {buffer: keep(tensors) for buffer, tensors in self._state.items()}
        self._active_K, self._proposal = self._active_K[kept], None

    def state_dict(self, member: int) -> dict[str, Any]:
        """What one member needs to go on, bit for bit, in any packing: CPU tensors without a cohort axis."""

        def pick(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor[member].detach().cpu().clone() for name, tensor in tensors.items()}

        return {
            "step": self.step,
            "parameters": pick(self._parameters),
            "optimizer": {buffer: pick(tensors) for buffer, tensors in self._state.items()},
        }

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Continue from one state a member.

        :raises ValueError: when the states are not one a member, or not all at one step.
        """
        if len(states) != len(self.trials) or len({state["step"] for state in states}) != 1:
            raise ValueError(
                f"{len(states)} states at steps {sorted({s['step'] for s in states})}: one a member, one step"
            )

        def stack(tensors: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
            return {name: torch.stack([each[name] for each in tensors]).to(self._device) for name in tensors[0]}

        self.step = states[0]["step"]
        self._updates.fill_(self.step)
        self._parameters = stack([state["parameters"] for state in states])
        self._state = {
            buffer: stack([state["optimizer"][buffer] for state in states]) for buffer in states[0]["optimizer"]
        }
        self._proposal = None

    def _propose(self) -> _Proposal:
        """The next step; computed once, however often it is looked at before it is made."""
        if self._proposal is None:
            leaves = {name: value.detach().requires_grad_() for name, value in self._parameters.items()}
            with torch.enable_grad():
                logits_KBV = self._model.forward(leaves, self._rows["train_inputs"])
                losses_KB = self._loss.row_losses(logits_KBV, self._rows["train_labels"])
                # The mean in float32 at least; members do not touch, so the gradient of the sum is each one's own.
                precise = torch.promote_types(losses_KB.dtype, torch.float32)
                total = losses_KB.to(precise).mean(1).sum()
                gradients = dict(zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True))
            with torch.no_grad():
                directions = self._rule(self._parameters, gradients)
                moved, state = self._optimizer.update(
                    self._parameters, directions, self._state, self._hyper, self._updates + 1
                )
            self._proposal = _Proposal(logits_KBV.detach(), losses_KB.detach(), gradients, moved, state)
        return self._proposal

    def _adopt(self, proposal: _Proposal) -> None:
        """Make the step, in place, for the active members."""
        with torch.no_grad():
            _overwrite(self._parameters, proposal.parameters, self._active_K)
            for buffer, tensors in proposal.state.items():
                _overwrite(self._state[buffer], tensors, self._active_K)
            self._updates += 1
        self._proposal = None


def _overwrite(old: Mapping[str, Tensor], new: Mapping[str, Tensor], active_K: Tensor) -> None:
    for name, tensor in old.items():
        tensor.copy_(torch.where(per_member(active_K, tensor), new[name], tensor))
