"""One mini-batch trial as a cohort of one: advance, measure, checkpoint.

The engine's losses, gradient rules and probes work around a ``torch.nn`` network.  Everything random in a step (its
rows, their augmentation, dropout) follows from the seeds and the step number.  So a checkpoint holds the weights, the
buffers of network and optimizer, and the step number; a run resumes within an epoch, bit for bit on a CPU.

On several devices each process has such a cohort, and that of the first process leads (see
:mod:`trainables.baselines.devices.parallel`).
"""

import gc
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables.baselines.devices.batch_norm import with_global_batch_norm
from trainables.baselines.devices.group import Group, no_gradient_sync
from trainables.baselines.devices.memory import KeptBuffers, MicroBatches
from trainables.baselines.devices.parallel import APPLY, JOIN, PROPOSE, WITHDRAW, Followers, devices
from trainables.baselines.evaluation import Criterion, evaluate
from trainables.baselines.settings import OWN_COLUMNS, BatchSettings
from trainables.baselines.updates import Directions, Updates, to_host
from trainables.engine.config import ConfigError
from trainables.engine.gradients import PlainGradient
from trainables.engine.probes import Observation, Rows
from trainables.engine.randomness import DROPOUT_STREAM, torch_seeded
from trainables.engine.trial import Cohort

AUTOCAST = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class BatchCohort(Cohort):
    """The cohort of one mini-batch trial."""

    def __init__(
        self,
        trials: Sequence[BatchSettings],
        device: str = "cpu",
        *,
        processes: int | None = None,
        group: Group | None = None,
    ) -> None:
        """Set up the trial at step 0.

        :param processes: how many processes share each batch; None: one per visible GPU if ``device`` is "cuda", else
            one.  The result is that of one process, up to the order of sums and the masks of dropout.
        :param group: the group of a follower; None for the leader.
        :raises ConfigError: for more than one trial, or for more processes than rows in a batch.
        """
        if len(trials) != 1:
            raise ConfigError(f"a cohort of {len(trials)} mini-batch trials: must have one")
        self._group = group or Group(size=processes or devices(device))
        if trials[0].batch_size < self._group.size:
            raise ConfigError(f"batch_size = {trials[0].batch_size}: must be at least {self._group.size}, the devices")
        self.trials: Sequence[BatchSettings] = tuple(trials)
        self.step = 0
        trial = self._trial = trials[0]
        self._device = torch.device(device)
        self._places = {int(step): place for place, step in enumerate(trial.grid())}
        self._batches = trial.batches(device)
        network = trial.network()
        if self._group.size > 1:
            network = with_global_batch_norm(network, self._group, compiled=trial.compile)
        self._network = trial.to_device(network, self._device)
        self._forward: nn.Module = torch.compile(self._network) if trial.compile else self._network  # type: ignore[assignment]
        self._parameters = dict(self._network.named_parameters())
        self._criterion = Criterion.of(trial.loss, self._device)
        half = trial.precision == "float16"
        self._autocast = torch.autocast(
            self._device.type, AUTOCAST[trial.precision], enabled=trial.precision != "float32"
        )
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=half)
        self._updates = Updates(trial.optimizer, self._parameters, fused=not half)
        self._directions = Directions(trial.gradient, self._parameters)
        self._micro = MicroBatches(trial.batch_size, trial.micro_batch_size, self._device)
        self._followers = None
        if self._group.size > 1 and group is None:
            self._followers = Followers(self._group, self._device, BatchCohort, trial)
        self._distributed: nn.Module | None = None
        """The network as several processes train it together; None in a single process."""
        self._loss: Tensor | None = None
        """The loss of the next step's batch while its gradient is in the parameters, before any gradient rule."""
        self._buffers = KeptBuffers(self._network)

    def advance(self, steps: int) -> None:
        """Make ``steps`` updates."""
        for _ in range(steps):
            self._propose()
            self._apply()

    def measure(self) -> dict[str, np.ndarray]:
        """Return the columns of the probes that are due at the current step, each of shape (1,), float64.

        Gradient and update are those of the next step's batch; the update is not applied.
        """
        trial = self._trial
        self._withdraw()
        due = [probe for probe in trial.probes if trial.due(self._places.get(self.step), probe.every)]
        train = self._evaluate("train", trial.measured_train_rows, {name for each in due for name in each.train_facts})
        test = self._evaluate("test", trial.test_rows, {name for each in due for name in each.test_facts})
        self._propose()
        gradients = self._gradients()
        with torch.no_grad():
            self._updates.learning_rate = self._learning_rate()
            seen = Observation(
                task=None,
                train=train,
                test=test,
                parameters=self._directions.stacked(),
                gradients=gradients,
                updates=self._updates.predict(self._directions.of(gradients, self.step + 1)[0]),
                learning_rate_K=torch.tensor([self._learning_rate()], dtype=torch.float64, device=self._device),
                watched={},
            )
            columns: dict[str, Tensor] = {}
            for probe in due:
                columns |= probe.measure(seen)
        own = (self.step / self._batches.order.steps_per_epoch, self._learning_rate(), float(self._micro.size))
        return {name: np.array([value]) for name, value in zip(OWN_COLUMNS, own, strict=True)} | {
            name: values.double().cpu().numpy() for name, values in columns.items()
        }

    def snapshot(self, member: int) -> dict[str, np.ndarray]:
        """Return the weights by name, on the host."""
        return {name: weight.detach().cpu().numpy().copy() for name, weight in self._parameters.items()}

    def notes(self) -> list[str]:
        """Return a line for each time that a batch did not fit in memory since the last call."""
        return self._micro.notes()

    def finite(self) -> np.ndarray:
        """Return whether the loss of the next batch, its gradient and the weights are finite: (1,), bool.

        Ignore gradients under a scaled loss: the optimizer skips those that overflow.
        """
        self._propose()
        assert self._loss is not None
        checked = [self._loss, *self._parameters.values()]
        if not self._scaler.is_enabled():
            checked += list(self._gradients().values())
        return torch.stack([tensor.detach().isfinite().all() for tensor in checked]).all().reshape(1).cpu().numpy()

    def frozen(self) -> np.ndarray:
        """Return False: the next batch may have another gradient."""
        return np.zeros(1, dtype=bool)

    def state_dict(self, member: int) -> dict[str, Any]:
        """Return what the trial needs to continue, bit for bit on a CPU: tensors on the host."""
        return {
            "step": self.step,
            "parameters": to_host(self._parameters),
            "buffers": to_host(self._buffers.current()),
            "optimizer": self._updates.state_dict(),
            "gradient": self._directions.state_dict(),
            "scaler": self._scaler.state_dict(),
            "micro_batch_size": self._micro.size,
        }

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Continue from a state.

        :raises ValueError: for more than one state.
        """
        (state,) = states
        self.close()  # The next step starts the other processes again, from the new state.
        self._withdraw()
        self._buffers.drop()
        self.step = state["step"]
        with torch.no_grad():
            for tensors, name in ((self._parameters, "parameters"), (dict(self._network.named_buffers()), "buffers")):
                for key, value in tensors.items():
                    value.copy_(state[name][key])
        self._updates.load_state_dict(state["optimizer"])
        self._directions.load_state_dict(state["gradient"])
        self._scaler.load_state_dict(state["scaler"])
        self._micro.size = min(self._micro.size, state["micro_batch_size"])

    def close(self) -> None:
        """End the other processes, if any; the next step starts them again."""
        if self._followers is not None:
            # First free the wrapper, which has hooks on the gradients and references the group.
            self._distributed = None
            gc.collect()
            self._followers.stop()

    def follow(self, command: str, *arguments: Any) -> None:
        """Run a command of the leader, in a follower's process."""
        if command == JOIN:
            port, state = arguments
            self._group.join(self._device, port)
            self.load_state_dict([torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)])
            self._distributed = self._group.distributed(self._forward, self._device)
        elif command == PROPOSE:
            (self._micro.size,) = arguments
            self._buffers.keep()
            self._loss = self._accumulate()
        elif command == APPLY:
            self._apply()
        elif command == WITHDRAW:
            self._withdraw()

    def _propose(self) -> None:
        """Compute the gradient of the next step's batch, unless it is already there."""
        if self._loss is None:
            self._buffers.keep()
            self._loss = self._micro.retry_smaller(self._accumulate_on_all, self._withdraw)

    def _accumulate_on_all(self) -> Tensor:
        """Run :meth:`_accumulate` in every process."""
        if self._followers is None:
            return self._accumulate()
        if not self._followers.running:
            state = io.BytesIO()
            torch.save(self.state_dict(0), state)
            self.close()  # Free what is left of their predecessors.
            with self._followers.start(state.getvalue()):
                self._distributed = self._group.distributed(self._forward, self._device)
        with self._followers.together(PROPOSE, self._micro.size):
            return self._accumulate()

    def _accumulate(self) -> Tensor:
        """Accumulate the batch's gradient in the parameters, part by part; return the batch's mean loss."""
        trial, step = self._trial, self.step
        rows = self._batches.order.size(step)
        self._network.train()
        self._updates.torch.zero_grad(set_to_none=True)
        total = torch.zeros((), dtype=torch.float32, device=self._device)
        network = self._forward if self._distributed is None else self._distributed
        block = step + (self._group.rank << 48)  # Each process draws its own dropout masks.
        with torch_seeded(trial.seeds.order, DROPOUT_STREAM, block, self._device):
            for low, high in self._micro.parts(0, rows):
                own_low, own_high = self._group.share(low, high)
                batch = self._batches.train(step, own_low, own_high)
                with no_gradient_sync(self._distributed, enabled=high < rows):
                    with self._autocast:
                        logits = network(batch.inputs)
                    losses_KB = self._criterion.rows(logits, batch.labels).losses_KB
                    # Average over the whole batch, in float32 at least: a part counts by its share of the labels.
                    precise = torch.promote_types(losses_KB.dtype, torch.float32)
                    loss = losses_KB.to(precise).sum() / (losses_KB.shape[1] * rows / (own_high - own_low))
                    if not self._group.has_rows:
                        loss = 0.0 * loss
                    # DistributedDataParallel averages gradients over the processes; we need their sum.
                    self._scaler.scale(self._group.size * loss).backward()
                total = total + loss.detach()
        if self._scaler.is_enabled():
            self._scaler.unscale_(self._updates.torch)
        return self._group.total(total)

    def _apply(self) -> None:
        """Make the update from the gradient in the parameters."""
        if self._followers is not None:
            self._followers.send(APPLY)
        if not isinstance(self._trial.gradient, PlainGradient):
            with torch.no_grad():
                directions, state = self._directions.of(self._gradients(), self.step + 1)
                self._directions.adopt(state)
                for name, direction in directions.items():
                    self._parameters[name].grad = direction.squeeze(0)
        self._updates.learning_rate = self._learning_rate()
        self._scaler.step(self._updates.torch)
        self._scaler.update()
        self.step += 1
        self._loss = None
        self._buffers.drop()

    def _withdraw(self) -> None:
        """Discard the gradient in the parameters, and restore the network's buffers from before its batch."""
        if self._followers is not None:
            self._followers.send(WITHDRAW)
        self._buffers.restore()
        self._updates.torch.zero_grad(set_to_none=True)
        self._loss = None

    def _evaluate(self, split: str, rows: int | None, facts: Collection[str]) -> Rows:
        def attempt() -> Rows:
            batches = self._batches.measured(split, rows, self._micro.size)
            return evaluate(self._forward, batches, self._criterion, self._autocast, facts)

        return self._micro.retry_smaller(attempt, lambda: None)

    def _learning_rate(self) -> float:
        """Return η of the next update, by the schedule."""
        factor = self._trial.schedule.factor(torch.tensor(self.step + 1, dtype=torch.float64))
        return self._trial.optimizer.learning_rate * float(factor)

    def _gradients(self) -> dict[str, Tensor]:
        """Return the gradients with a cohort axis; zero for weights that the loss does not depend on."""
        return {
            name: torch.zeros_like(weight).unsqueeze(0) if weight.grad is None else weight.grad.unsqueeze(0)
            for name, weight in self._parameters.items()
        }
