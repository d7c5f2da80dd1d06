"""K grokking trials of one shape in lock-step: advance, measure, retire, checkpoint.

A step is a pure tensor program (fixed shapes, hyper-parameters and step count on the device, no reads back to the host
between measurements) whose result is then written over the same tensors, so that a GPU can replay both as graphs.  A
solo trial is a cohort of one.

Shape suffixes: K cohort, P parameters, B batch (rows), A active features of a row, V classes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.engine.config import ConfigError
from trainables.engine.full_batch import FullBatchTrial
from trainables.engine.gradients import State, Tensors, apart, cloned, per_member
from trainables.engine.interventions import NoIntervention
from trainables.engine.noise import Noise, noise_keys
from trainables.engine.optimizers import stack_hyper
from trainables.engine.penalties import NoPenalty, Pass
from trainables.engine.probes import Observation, Rows, Watcher
from trainables.engine.replay import Memory, Reading, Replay
from trainables.engine.returned import check_returned
from trainables.engine.schedules import ConstantSchedule
from trainables.engine.subnormals import handling, subnormals_flushed
from trainables.engine.trial import Cohort, check_members, check_states
from trainables.engine.updates import PlainUpdate

FLAT = "(all)"
"""The name, which no parameter has, of the tensor that joins all of a member's, for elementwise optimizers."""
OPTIMIZER, GRADIENT, UPDATE = "optimizer", "gradient", "update"
"""The components with buffers, in checkpoints."""


@dataclass(frozen=True)
class _Proposal:
    """The next step, computed but not applied: a measurement reads it, and ``advance`` applies it."""

    logits_KBV: Tensor
    losses_KB: Tensor
    gradients: dict[str, Tensor]
    learning_rate_K: Tensor
    weights_KP: Tensor
    state: dict[str, State]
    """The new buffers of the components that have some."""
    watched: dict[str, Tensor]
    """The new state of the watchers."""


class GrokkingCohort(Cohort):
    """The full-batch cohort."""

    def __init__(self, trials: Sequence[FullBatchTrial], device: str = "cpu") -> None:
        """Set up the trials at step 0.

        :raises ConfigError: when they differ in more than per-trial values.
        """
        check_members(trials)
        self.trials: Sequence[FullBatchTrial] = tuple(trials)
        self.step = 0
        self.device = torch.device(device)
        # All members share this configuration; its per-trial values are the first member's and stay unused.
        self._shared = trials[0]
        self._intervenes = not isinstance(self._shared.intervention, NoIntervention)
        self._places = {int(step): place for place, step in enumerate(self._shared.grid())}
        splits = [trial.task.split(trial.seeds) for trial in trials]
        self._rows = {
            name: torch.from_numpy(np.stack([getattr(split, name) for split in splits])).to(self.device)
            for name in ("train_inputs", "train_labels", "test_inputs", "test_labels")
        }
        self._prepare()
        inits = [trial.model.init(trial.task, trial.seeds.init) for trial in trials]
        self._shapes = {name: tuple(value.shape) for name, value in inits[0].items()}
        self._weights_KP = self._joined({name: torch.stack([init[name] for init in inits]) for name in inits[0]})
        self._active_K = torch.ones(len(trials), dtype=torch.bool, device=self.device)
        self._watchers = [probe for probe in self._shared.probes if isinstance(probe, Watcher)]
        self._watched: dict[str, Tensor] = {}
        for watcher in self._watchers:
            started = watcher.start(len(trials), self.device)
            self._watched |= {name: value.clone() for name, value in started.items()}
        start = self._split(self._weights_KP)
        self._state: dict[str, State] = {UPDATE: cloned(self._shared.update.init_state(start))}
        self._begin(switched=False)

    def _prepare(self) -> None:
        """Compute what stays the same over the steps, for the present members."""
        model, task = self._shared.model, self._shared.task
        self._inputs = {split: model.prepare(task, self._rows[f"{split}_inputs"]) for split in ("train", "test")}
        self._noise_keys_K = noise_keys([trial.seeds.order for trial in self.trials], self.device)

    def _begin(self, *, switched: bool) -> None:
        """Set up loss, penalty, gradient rule and optimizer for the steps before or after the intervention.

        Reset the optimizer's buffers and its count of updates, unless the optimizer continues through the intervention;
        and those of the gradient rule, unless it stays the same.
        """
        shared, self._switched = self._shared, switched
        losses, penalties = [trial.loss for trial in self.trials], [trial.penalty for trial in self.trials]
        rules, optimizers = [trial.gradient for trial in self.trials], [trial.optimizer for trial in self.trials]
        if switched:
            # Ask each member: the new components have per-trial values too.
            changes = [trial.intervention for trial in self.trials]
            losses = [change.loss(loss) for change, loss in zip(changes, losses, strict=True)]
            penalties = [change.penalty(penalty) for change, penalty in zip(changes, penalties, strict=True)]
            rules = [change.gradient(rule) for change, rule in zip(changes, rules, strict=True)]
            optimizers = [change.optimizer(each) for change, each in zip(changes, optimizers, strict=True)]
        same_rule = switched and rules[0] == shared.gradient
        self._loss, self._penalty, self._rule, self._optimizer = losses[0], penalties[0], rules[0], optimizers[0]
        self._checked = False
        if not same_rule:
            self._state[GRADIENT] = cloned(self._rule.init_state(self._split(self._weights_KP)))
            self._rule_since = self.step
        if not switched or shared.intervention.restarts_optimizer:
            self._state[OPTIMIZER] = cloned(self._optimizer.init_state(self._seen_by_optimizer(self._weights_KP)))
            self._updates = torch.zeros((), dtype=torch.float64, device=self.device)
            self._updates_before = self.step
        # Of the loss, stack only the values that differ from the default, to save the operations.
        self._hyper: dict[str, dict[str, Tensor]] = {
            OPTIMIZER: stack_hyper(optimizers, self.device),
            GRADIENT: stack_hyper(rules, self.device),
            UPDATE: stack_hyper([trial.update for trial in self.trials], self.device),
            "loss": stack_hyper(losses, self.device, varied=True),
            "penalty": stack_hyper(penalties, self.device),
            "trial": {},
        }
        alphas = [trial.alpha for trial in self.trials]
        if set(alphas) != {1.0}:
            alpha_K = torch.tensor(alphas, dtype=torch.float64, device=self.device)
            self._hyper["trial"]["alpha"] = alpha_K
            for rate in self._optimizer.rates:
                self._hyper[OPTIMIZER][rate] /= alpha_K**2
        self._restart()

    def _restart(self) -> None:
        """Forget the proposal and the recordings, for the tensors that they read are others now."""
        self._forget()
        self._memory = Memory(self.device)
        self._computing = Replay[_Proposal](self.device, memory=self._memory)
        self._writing = Replay[None](self.device, repeatable=False, after=1, memory=self._memory)
        self._checking = Replay[Reading](self.device, after=2, memory=self._memory)

    def _forget(self) -> None:
        """Forget the next step and what was found out about it."""
        self._proposal: _Proposal | None = None
        self._health: dict[str, np.ndarray] | None = None

    def advance(self, steps: int) -> None:
        """Make ``steps`` updates of every active member; nothing is read back to the host."""
        for _ in range(steps):
            # Only a recorded proposal has the same tensors every time.
            if self._propose() is self._computing.recorded:
                self._writing(self._write)
            else:
                self._write()
            self.step += 1
            self._forget()

    @property
    def replays(self) -> bool:
        """Whether the last step was replayed on a GPU rather than launched kernel by kernel."""
        return self._computing.recorded is not None

    def measure(self) -> dict[str, np.ndarray]:
        """Return the columns of the probes that are due at the current step, each of shape (K,), float64.

        Gradient and update are those of the next step, which ``advance`` then reuses: a measurement costs the test
        rows' forward pass and the probes, and changes nothing.
        """
        place = self._places.get(self.step)
        due = [probe for probe in self._shared.probes if self._shared.due(place, probe.every)]
        next_step, parameters, shared = self._propose(), self._split(self._weights_KP), self._shared
        with torch.no_grad(), subnormals_flushed(self.device):
            labels_KB, losses_KB = self._rows["train_labels"], next_step.losses_KB
            train = Rows(next_step.logits_KBV, labels_KB, losses_KB, self._loss, self._hyper["loss"])
            activations: dict[str, Tensor] = {}
            # The step of a stochastic model ran with noise, and no step keeps its activations.
            if shared.model.stochastic:
                train = self.evaluate(parameters, "train", activations)
            elif any(probe.reads_activations for probe in due):
                self.evaluate(parameters, "train", activations)
            seen = Observation(
                task=shared.task,
                train=train,
                test=self.evaluate(parameters, "test"),
                parameters=parameters,
                gradients=next_step.gradients,
                updates=self._split(next_step.weights_KP - self._weights_KP),
                learning_rate_K=next_step.learning_rate_K,
                watched=self._watched,
                activations=activations,
                readout=shared.model.readout,
            )
            columns: dict[str, Tensor] = {}
            for probe in due:
                columns |= probe.measure(seen)
            return Reading.of(columns, torch.float64).on_host()

    def snapshot(self, member: int) -> dict[str, np.ndarray]:
        """Return one member's weights by name, on the host."""
        return {name: values[member].cpu().numpy().copy() for name, values in self._split(self._weights_KP).items()}

    def evaluate(self, parameters: Tensors, split: str, activations: dict[str, Tensor] | None = None) -> Rows:
        """Evaluate a split, "train" or "test", at the given weights (with cohort axis), without noise.

        :param activations: receives the hidden activations.
        """
        labels_KB, hyper = self._rows[f"{split}_labels"], self._hyper["loss"]
        logits_KBV = self._logits(parameters, self._inputs[split], None, activations)
        losses_KB = self._loss.row_losses(logits_KBV, labels_KB, hyper)
        return Rows(logits_KBV, labels_KB, losses_KB, self._loss, hyper)

    def _logits(
        self, parameters: Tensors, inputs: Any, noise: Noise | None, activations: dict[str, Tensor] | None
    ) -> Tensor:
        """Return the logits as passed to the loss: times α, divided by the temperature."""
        model = self._shared.model
        if activations is None or not model.layers:
            logits_KBV = model.forward(parameters, inputs, noise)
        else:
            logits_KBV = model.forward(parameters, inputs, noise, activations)
            if tuple(activations) != model.layers:
                raise ConfigError(
                    f"{type(model).__name__}.forward: shows the activations {', '.join(activations) or 'of no layer'}; "
                    f"must be those that its layers name: {', '.join(model.layers)}"
                )
        if "alpha" in self._hyper["trial"]:
            logits_KBV = logits_KBV * per_member(self._hyper["trial"]["alpha"], logits_KBV).to(logits_KBV.dtype)
        if "temperature" in self._hyper["loss"]:
            logits_KBV = logits_KBV / per_member(self._hyper["loss"]["temperature"], logits_KBV).to(logits_KBV.dtype)
        return logits_KBV

    def finite(self) -> np.ndarray:
        """Return whether each member's loss, gradient and weights, now and after the next step, are finite: (K,)."""
        return self._checked_health()["finite"]

    def _checked_health(self) -> dict[str, np.ndarray]:
        """Return for each member whether all is finite, and whether the gradient is exactly 0: (K,), bool."""
        if self._health is None:
            recorded = self._propose() is self._computing.recorded
            checked = self._checking(self._numbers_checked) if recorded else self._numbers_checked()
            self._health = checked.on_host()
        return self._health

    def _numbers_checked(self) -> Reading:
        next_step = self._propose()
        # The largest absolute value is NaN or infinite where any number is.
        gradients_TK, others_TK = (
            torch.stack([tensor.flatten(1).abs().amax(1).double() for tensor in tensors])
            for tensors in (
                next_step.gradients.values(),
                (next_step.losses_KB, self._weights_KP, next_step.weights_KP),
            )
        )
        finite_K = torch.cat([gradients_TK, others_TK]).isfinite().all(0)
        return Reading.of({"finite": finite_K, "still": (gradients_TK == 0).all(0)}, torch.bool)

    def frozen(self) -> np.ndarray:
        """Return whether each member's weights provably never change again: shape (K,), bool.

        The gradient is exactly 0, so it stays 0 while the weights do not change, and the optimizer certifies that every
        weight absorbs the updates pending in its buffers.  False under noise, before an intervention, and with a
        gradient rule or an update rule that may move the weights all the same.
        """
        never_K = np.zeros(len(self.trials), dtype=bool)
        waiting = self._intervenes and not self._switched
        moved = not self._rule.zero_stays_zero or self._shared.update.may_move_still_weights
        moving = self._shared.model.stochastic or moved
        if waiting or moving:
            return never_K
        still_K = self._checked_health()["still"]
        if not still_K.any():
            return never_K
        # A schedule's factor is at most 1, so the unscheduled learning rate is an upper bound.
        seen = self._seen_by_optimizer(self._weights_KP)
        certified_K = self._optimizer.certifies_frozen(
            seen, self._state[OPTIMIZER], self._hyper[OPTIMIZER], self._updates
        )
        return still_K & certified_K.cpu().numpy()

    def arithmetic(self) -> dict[str, str]:
        """Return how subnormal numbers are handled, and the generator of the noise of a stochastic model."""
        stochastic = self._shared.model.stochastic
        return {"subnormals": handling(self.device)} | ({"noise": "SplitMix64"} if stochastic else {})

    def retire(self, members: Sequence[int]) -> None:
        """Stop updating these members; shapes do not change until :meth:`compact`."""
        self._active_K[list(members)] = False

    def compact(self) -> None:
        """Drop the retired members; keep the others in order."""
        kept = self._active_K.nonzero().flatten()
        if len(kept) == len(self.trials):
            return
        self.trials = tuple(self.trials[int(member)] for member in kept)

        def keep(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor[kept] for name, tensor in tensors.items()}

        self._rows, self._watched, self._weights_KP = keep(self._rows), keep(self._watched), self._weights_KP[kept]
        self._hyper = {part: keep(values) for part, values in self._hyper.items()}
        for part, buffers in self._state.items():
            self._state[part] = {buffer: keep(tensors) for buffer, tensors in buffers.items()}
        self._active_K = self._active_K[kept]
        self._prepare()
        self._restart()

    def state_dict(self, member: int) -> dict[str, Any]:
        """Return what one member needs to continue bit for bit, in any cohort: CPU tensors without a cohort axis."""

        def pick(tensors: Tensors) -> dict[str, Tensor]:
            by_name = self._split(tensors[FLAT]) if FLAT in tensors else tensors
            return {name: tensor[member].cpu().clone() for name, tensor in by_name.items()}

        return {
            "step": self.step,
            "parameters": pick({FLAT: self._weights_KP}),
            "watched": pick(self._watched),
            **{
                part: {buffer: pick(tensors) for buffer, tensors in buffers.items()}
                for part, buffers in self._state.items()
                if buffers or part == OPTIMIZER
            },
        }

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Continue from one state per member.

        :raises ValueError: when there is not one state per member, or when they are at different steps.
        """
        check_states(states, len(self.trials))

        def stack(tensors: Sequence[Tensors], names: Iterable[str]) -> dict[str, Tensor]:
            return {name: torch.stack([each[name] for each in tensors]).to(self.device) for name in names}

        self._weights_KP = self._joined(stack([state["parameters"] for state in states], self._shapes))
        self.step, intervention, step = 0, self._shared.intervention, states[0]["step"]
        self._begin(switched=False)
        if self._intervenes and step >= intervention.at_step:
            self.step = intervention.at_step
            self._begin(switched=True)
        self.step = step
        self._updates.fill_(step - self._updates_before)
        for part, buffers in self._state.items():
            # At the step where an optimizer or a gradient rule starts, its buffers are empty; a state saved there may
            # hold its predecessor's.  Those of an update rule are the run's.
            if step <= {OPTIMIZER: self._updates_before, GRADIENT: self._rule_since, UPDATE: -1}[part]:
                continue
            self._state[part] = {
                buffer: {FLAT: self._joined(stack([state[part][buffer] for state in states], self._shapes))}
                if FLAT in tensors
                else stack([state[part][buffer] for state in states], tensors)
                for buffer, tensors in buffers.items()
            }
        # A watcher that was added after the checkpoint missed the steps before: its state is unknown (NaN), not 0.
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
        """Join parameters (or gradients) along one axis: shape (K, P), on the cohort's device."""
        return torch.cat([tensors[name].flatten(1) for name in self._shapes], dim=1).to(self.device)

    def _split(self, joined_KP: Tensor) -> dict[str, Tensor]:
        """Invert :meth:`_joined`; return views."""
        sizes = [math.prod(shape) for shape in self._shapes.values()]
        parts = joined_KP.split(sizes, dim=1)
        return {
            name: part.view(len(part), *shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }

    def _seen_by_optimizer(self, joined_KP: Tensor) -> dict[str, Tensor]:
        """Return parameters (or gradients) as the optimizer takes them."""
        return {FLAT: joined_KP} if self._optimizer.elementwise else self._split(joined_KP)

    def _propose(self) -> _Proposal:
        """Return the next step; compute it only once, however often it is read before it is applied."""
        if self._proposal is None:
            if self._intervenes and not self._switched and self.step >= self._shared.intervention.at_step:
                self._begin(switched=True)
            self._proposal = self._computing(self._next_step)
        return self._proposal

    def _next_step(self) -> _Proposal:
        """Compute the next step; the same program until a new :meth:`_begin`."""
        shared, labels_KB = self._shared, self._rows["train_labels"]
        parameters = self._split(self._weights_KP)
        leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        noise = None
        if shared.model.stochastic:
            noise = Noise(self._noise_keys_K, self._updates + self._updates_before)
        with torch.enable_grad(), subnormals_flushed(self.device):
            activations: dict[str, Tensor] | None = {} if self._penalty.reads_activations else None
            logits_KBV = self._logits(leaves, self._inputs["train"], noise, activations)
            trained_KBV = shared.intervention.logits(logits_KBV, labels_KB) if self._switched else logits_KBV
            losses_KB = self._loss.row_losses(trained_KBV, labels_KB, self._hyper["loss"])
            # Average in float32 at least.  Members do not interact, so each gets its own gradient from the sum.
            precise = torch.promote_types(losses_KB.dtype, torch.float32)
            total = losses_KB.to(precise).mean(1).sum()
            if not isinstance(self._penalty, NoPenalty):
                seen = Pass(trained_KBV, leaves, activations or {})
                total = total + self._penalty.value(seen, self._hyper["penalty"]).sum()
            gradients = dict(zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True))
        with torch.no_grad():
            hyper, state = self._hyper[OPTIMIZER], dict(self._state)
            if not isinstance(shared.schedule, ConstantSchedule):
                factor = shared.schedule.factor(self._updates + self._updates_before + 1)
                hyper = hyper | {rate: hyper[rate] * factor for rate in self._optimizer.rates}
            number = self._updates + (1 + self._updates_before - self._rule_since)
            directions, state[GRADIENT] = self._rule(
                parameters, gradients, state[GRADIENT], self._hyper[GRADIENT], number
            )
            if not self._checked:
                check_returned(self._rule, "gradients", directions, parameters, state[GRADIENT], self._state[GRADIENT])
            seen_by_it = self._seen_by_optimizer(self._weights_KP)
            moved, state[OPTIMIZER] = self._optimizer.update(
                seen_by_it,
                {FLAT: self._joined(directions)} if FLAT in seen_by_it else directions,
                state[OPTIMIZER],
                hyper,
                self._updates + 1,
            )
            if not self._checked:
                buffers = self._state[OPTIMIZER]
                check_returned(self._optimizer, "weights", moved, seen_by_it, state[OPTIMIZER], buffers)
            if not isinstance(shared.update, PlainUpdate):
                after = self._split(moved[FLAT]) if FLAT in moved else moved
                moved = shared.update(parameters, after, state[UPDATE], self._hyper[UPDATE])
                if not self._checked:
                    check_returned(shared.update, "weights", moved, parameters, {}, {})
            self._checked = True
            weights_KP = moved[FLAT] if FLAT in moved else self._joined(moved)
            watched: dict[str, Tensor] = {}
            for watcher in self._watchers:
                losses_K = losses_KB.detach().double().mean(1)
                watched |= watcher.watch(self._watched, losses_K, self._updates + self._updates_before)
            watched = apart(watched, self._watched, self._watched.values())
            held = [self._weights_KP, *self._buffers().values()]
            for part in (GRADIENT, OPTIMIZER):
                before = self._state[part]
                state[part] = {name: apart(tensors, before[name], held) for name, tensors in state[part].items()}
        return _Proposal(
            logits_KBV.detach(), losses_KB.detach(), gradients, hyper["learning_rate"], weights_KP, state, watched
        )

    def _write(self) -> None:
        """Write the proposed step over the tensors that it was computed from, of the active members."""
        proposal = self._propose()
        with torch.no_grad():
            self._overwrite(self._weights_KP, proposal.weights_KP)
            for (part, name, tensor), buffer in self._buffers().items():
                self._overwrite(buffer, proposal.state[part][name][tensor])
            for name, values in proposal.watched.items():
                self._watched[name].copy_(values)
            self._updates += 1

    def _buffers(self) -> dict[tuple[str, str, str], Tensor]:
        """Return the buffers that a step overwrites, by component, buffer and tensor."""
        return {
            (part, name, tensor): values
            for part in (GRADIENT, OPTIMIZER)
            for name, tensors in self._state[part].items()
            for tensor, values in tensors.items()
        }

    def _overwrite(self, old: Tensor, new: Tensor) -> None:
        torch.where(per_member(self._active_K, old), new, old, out=old)
