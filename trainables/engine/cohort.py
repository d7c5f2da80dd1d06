"""K grokking trials of one shape in lock-step: advance, measure, retire, checkpoint.

A step is a pure tensor program: fixed shapes, hyper-parameters and the step count as device tensors, nothing read
back to the host between measurements, so that a GPU can replay it as a graph.  A solo trial is a cohort of one.

Shape suffixes: K cohort, P parameters, B batch (rows), A active features of a row, V classes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.engine.config import ConfigError
from trainables.engine.full_batch import FullBatchTrial
from trainables.engine.gradients import per_member
from trainables.engine.interventions import NoIntervention
from trainables.engine.noise import Noise
from trainables.engine.optimizers import stack_hyper
from trainables.engine.penalties import NoPenalty
from trainables.engine.probes import LogitRows, Observation, Watcher
from trainables.engine.schedules import ConstantSchedule

FLAT = "flat"
"""All parameters of a member side by side: optimizers work element by element, so one tensor does for all of them."""


@dataclass(frozen=True)
class _Proposal:
    """The next step, computed but not made: what a measurement looks at and what ``advance`` then adopts."""

    logits_KBV: Tensor
    losses_KB: Tensor
    gradients: dict[str, Tensor]
    learning_rate_K: Tensor
    weights_KP: Tensor
    state: dict[str, dict[str, Tensor]]


class GrokkingCohort:
    """The full-batch cohort; implements :class:`trainables.engine.trial.Cohort`."""

    def __init__(self, trials: Sequence[FullBatchTrial], device: str = "cpu") -> None:
        """The trials at step 0.

        :raises ConfigError: when they differ in more than per-trial values.
        """
        if len({trial.cohort_key for trial in trials}) != 1:
            raise ConfigError(f"a cohort of {len(trials)} trials: they must differ in per-trial values only")
        self.trials: Sequence[FullBatchTrial] = tuple(trials)
        self.step = 0
        self.device = torch.device(device)
        # What all members share; the per-trial values among it are the first member's, and are not looked at.
        self._shared = trials[0]
        self._intervenes = not isinstance(self._shared.intervention, NoIntervention)
        self._places = {int(step): place for place, step in enumerate(self._shared.grid())}
        splits = [trial.task.split(trial.seeds) for trial in trials]
        self._rows = {
            name: torch.from_numpy(np.stack([getattr(split, name) for split in splits])).to(self.device)
            for name in ("train_inputs", "train_labels", "test_inputs", "test_labels")
        }
        inits = [trial.model.init(trial.task, trial.seeds.init) for trial in trials]
        self._shapes = {name: tuple(value.shape) for name, value in inits[0].items()}
        self._weights_KP = self._joined({name: torch.stack([init[name] for init in inits]) for name in inits[0]})
        self._active_K = torch.ones(len(trials), dtype=torch.bool, device=self.device)
        self._watchers = [probe for probe in self._shared.probes if isinstance(probe, Watcher)]
        self._watched: dict[str, Tensor] = {}
        for watcher in self._watchers:
            self._watched |= watcher.start(len(trials), self.device)
        self._begin(switched=False)

    def _begin(self, *, switched: bool) -> None:
        """Set up the loss, the gradient rule and the optimizer of one side of the intervention.

        The optimizer's buffers and its count of updates start anew, unless it goes on through the intervention.
        """
        shared, self._switched = self._shared, switched
        self._rule, losses = shared.gradient, [trial.loss for trial in self.trials]
        optimizers = [trial.optimizer for trial in self.trials]
        if switched:
            # Each member's own: what an intervention brings in has per-trial values too.
            self._rule = shared.intervention.gradient(self._rule)
            losses = [trial.intervention.loss(trial.loss) for trial in self.trials]
            optimizers = [trial.intervention.optimizer(trial.optimizer) for trial in self.trials]
        self._loss, self._optimizer = losses[0], optimizers[0]
        if not switched or shared.intervention.restarts_optimizer:
            self._state = self._optimizer.init_state({FLAT: self._weights_KP})
            self._updates = torch.zeros((), dtype=torch.float64, device=self.device)
            self._updates_before = self.step
        # Apart from the optimizer's, only values that do something cost anything.
        self._hyper: dict[str, dict[str, Tensor]] = {
            "optimizer": stack_hyper(optimizers, self.device),
            "loss": stack_hyper(losses, self.device, varied=True),
            "penalty": stack_hyper([trial.penalty for trial in self.trials], self.device),
            "trial": {},
        }
        alphas = [trial.alpha for trial in self.trials]
        if set(alphas) != {1.0}:
            alpha_K = torch.tensor(alphas, dtype=torch.float64, device=self.device)
            self._hyper["trial"]["alpha"] = alpha_K
            self._hyper["optimizer"]["learning_rate"] /= alpha_K**2
        self._proposal: _Proposal | None = None

    def advance(self, steps: int) -> None:
        """Make ``steps`` updates of every active member; nothing is read back to the host."""
        for _ in range(steps):
            self._adopt(self._propose())

    def measure(self) -> dict[str, np.ndarray]:
        """The columns of the probes that are due at the present step, each of shape (K,), float64.

        The gradient and the update that it looks at are those of the next step, which then need not be computed
        again: a measurement costs the test rows' forward pass and the probes, and changes nothing.
        """
        next_step, parameters = self._propose(), self._split(self._weights_KP)
        with torch.no_grad():
            seen = Observation(
                task=self._shared.task,
                # Of a stochastic model the step has seen a noisy network, and the rows are of the whole one.
                train=self.evaluate(parameters, "train")
                if self._shared.model.stochastic
                else LogitRows(next_step.logits_KBV, self._rows["train_labels"], next_step.losses_KB, self._loss),
                test=self.evaluate(parameters, "test"),
                parameters=parameters,
                gradients=next_step.gradients,
                updates=self._split(next_step.weights_KP - self._weights_KP),
                learning_rate_K=next_step.learning_rate_K,
                watched=self._watched,
            )
            found: dict[str, Tensor] = {}
            for probe in self._shared.probes:
                if self._shared.due(self._places.get(self.step), probe.every):
                    found |= probe.measure(seen)
            return {column: values.double().cpu().numpy() for column, values in found.items()}

    def snapshot(self, member: int) -> dict[str, np.ndarray]:
        """One member's weights by name, on the host."""
        return {name: values[member].cpu().numpy().copy() for name, values in self._split(self._weights_KP).items()}

    def evaluate(self, parameters: Mapping[str, Tensor], split: str) -> LogitRows:
        """The rows of a split, "train" or "test", at these weights (each with the cohort axis), without noise."""
        labels_KB = self._rows[f"{split}_labels"]
        logits_KBV = self._logits(parameters, self._rows[f"{split}_inputs"], None)
        losses_KB = self._loss.row_losses(logits_KBV, labels_KB, self._hyper["loss"])
        return LogitRows(logits_KBV, labels_KB, losses_KB, self._loss)

    def _logits(self, parameters: Mapping[str, Tensor], inputs: Tensor, noise: Noise | None) -> Tensor:
        """The logits as the loss sees them: times α and over the temperature."""
        logits_KBV = self._shared.model.forward(parameters, inputs, noise)
        if "alpha" in self._hyper["trial"]:
            logits_KBV = logits_KBV * per_member(self._hyper["trial"]["alpha"], logits_KBV).to(logits_KBV.dtype)
        if "temperature" in self._hyper["loss"]:
            logits_KBV = logits_KBV / per_member(self._hyper["loss"]["temperature"], logits_KBV).to(logits_KBV.dtype)
        return logits_KBV

    def notes(self) -> list[str]:
        """Nothing: whatever happens to a grokking trial is in its rows."""
        return []

    def close(self) -> None:
        """Nothing to free but memory."""

    def finite(self) -> np.ndarray:
        """Whether each member's loss, gradient and weights, now and after the next step, are finite: (K,), bool."""
        next_step = self._propose()
        finite_K = next_step.losses_KB.isfinite().all(1)
        for tensor in (*next_step.gradients.values(), self._weights_KP, next_step.weights_KP):
            finite_K = finite_K & tensor.isfinite().flatten(1).all(1)
        return finite_K.cpu().numpy()

    def frozen(self) -> np.ndarray:
        """Whether each member's weights provably never change again: shape (K,), bool.

        The gradient is exactly 0, so that it stays 0 as long as the weights do, and the optimizer certifies that
        what is pending in its buffers is absorbed by every weight and only shrinks.  Noise, or an intervention that
        is still to come, may move them again.
        """
        if self._shared.model.stochastic or (self._intervenes and not self._switched):
            return np.zeros(len(self.trials), dtype=bool)
        # A schedule's factor is 1 at most, so that the unscheduled learning rate is a bound.
        frozen_K = self._optimizer.stays_put(
            {FLAT: self._weights_KP}, self._state, self._hyper["optimizer"], self._updates
        )
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

        self._rows, self._watched, self._weights_KP = keep(self._rows), keep(self._watched), self._weights_KP[kept]
        self._hyper = {part: keep(values) for part, values in self._hyper.items()}
        self._state = {buffer: keep(tensors) for buffer, tensors in self._state.items()}
        self._active_K, self._proposal = self._active_K[kept], None

    def state_dict(self, member: int) -> dict[str, Any]:
        """What one member needs to go on, bit for bit, in any packing: CPU tensors without a cohort axis."""

        def pick(joined_KP: Tensor) -> dict[str, Tensor]:
            return {name: tensor[member].cpu().clone() for name, tensor in self._split(joined_KP).items()}

        return {
            "step": self.step,
            "parameters": pick(self._weights_KP),
            "optimizer": {buffer: pick(tensors[FLAT]) for buffer, tensors in self._state.items()},
            "watched": {name: values[member].cpu().clone() for name, values in self._watched.items()},
        }

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Continue from one state a member.

        :raises ValueError: when the states are not one a member, or not all at one step.
        """
        if len(states) != len(self.trials) or len({state["step"] for state in states}) != 1:
            raise ValueError(
                f"{len(states)} states at steps {sorted({s['step'] for s in states})}: one a member, one step"
            )

        def stack(tensors: Sequence[Mapping[str, Tensor]]) -> Tensor:
            return self._joined({name: torch.stack([each[name] for each in tensors]) for name in self._shapes})

        self._weights_KP = stack([state["parameters"] for state in states])
        self.step, intervention, step = 0, self._shared.intervention, states[0]["step"]
        self._begin(switched=False)
        if self._intervenes and step >= intervention.at_step:
            self.step = intervention.at_step
            self._begin(switched=True)
        self.step = step
        self._updates.fill_(step - self._updates_before)
        # At the very step of a start buffers are empty; a state taken there may have those of the optimizer before.
        if step > self._updates_before:
            self._state = {
                buffer: {FLAT: stack([state["optimizer"][buffer] for state in states])}
                for buffer in states[0]["optimizer"]
            }
        # What nobody watched from step 0 is unknown, not 0: the probe was asked for after the checkpoint was made.
        self._watched = {
            name: torch.stack(
                [
                    state.get("watched", {}).get(name, torch.full_like(values[0], torch.nan, device="cpu"))
                    for state in states
                ]
            ).to(self.device)
            for name, values in self._watched.items()
        }

    def _joined(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Parameters (or gradients) side by side: shape (K, P), on the cohort's device."""
        return torch.cat([tensors[name].flatten(1) for name in self._shapes], dim=1).to(self.device)

    def _split(self, joined_KP: Tensor) -> dict[str, Tensor]:
        """The inverse of :meth:`_joined`, as views."""
        sizes = [math.prod(shape) for shape in self._shapes.values()]
        parts = joined_KP.split(sizes, dim=1)
        return {
            name: part.view(len(part), *shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }

    def _propose(self) -> _Proposal:
        """The next step; computed once, however often it is looked at before it is made."""
        if self._proposal is None:
            shared, labels_KB = self._shared, self._rows["train_labels"]
            intervening = self._intervenes and self.step >= shared.intervention.at_step
            if intervening and not self._switched:
                self._begin(switched=True)
            parameters = self._split(self._weights_KP)
            leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
            noise = None
            if shared.model.stochastic:
                noise = Noise([trial.seeds.order for trial in self.trials], self.step, self.device)
            with torch.enable_grad():
                logits_KBV = self._logits(leaves, self._rows["train_inputs"], noise)
                trained_KBV = shared.intervention.logits(logits_KBV, labels_KB) if intervening else logits_KBV
                losses_KB = self._loss.row_losses(trained_KBV, labels_KB, self._hyper["loss"])
                # The mean in float32 at least; members do not touch, so the gradient of the sum is each one's own.
                precise = torch.promote_types(losses_KB.dtype, torch.float32)
                total = losses_KB.to(precise).mean(1).sum()
                if not isinstance(shared.penalty, NoPenalty):
                    total = total + shared.penalty.value(trained_KBV, leaves, self._hyper["penalty"]["strength"]).sum()
                gradients = dict(zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True))
            with torch.no_grad():
                hyper = self._hyper["optimizer"]
                if not isinstance(shared.schedule, ConstantSchedule):
                    factor = shared.schedule.factor(self._updates + self._updates_before + 1)
                    hyper = hyper | {"learning_rate": hyper["learning_rate"] * factor}
                directions_KP = self._joined(self._rule(parameters, gradients))
                moved, state = self._optimizer.update(
                    {FLAT: self._weights_KP}, {FLAT: directions_KP}, self._state, hyper, self._updates + 1
                )
            self._proposal = _Proposal(
                logits_KBV.detach(), losses_KB.detach(), gradients, hyper["learning_rate"], moved[FLAT], state
            )
        return self._proposal

    def _adopt(self, proposal: _Proposal) -> None:
        """Make the step, in place, for the active members."""
        with torch.no_grad():
            self._overwrite(self._weights_KP, proposal.weights_KP)
            for buffer, tensors in proposal.state.items():
                self._overwrite(self._state[buffer][FLAT], tensors[FLAT])
            for watcher in self._watchers:
                losses_K = proposal.losses_KB.double().mean(1)
                self._watched |= watcher.watch(self._watched, losses_K, self._updates + self._updates_before)
            self._updates += 1
        self.step += 1
        self._proposal = None

    def _overwrite(self, old_KP: Tensor, new_KP: Tensor) -> None:
        old_KP.copy_(torch.where(self._active_K.unsqueeze(1), new_KP, old_KP))
