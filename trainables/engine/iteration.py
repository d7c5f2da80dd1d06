"""Trials that are iterations: a few tensors, and a step that is a function of them, for many trials at once.

A trial kind whose system is small (a theory's model, gradient descent by hand, a recursion) derives from
:class:`IterationTrial` and says what its rows are, where it starts, how it moves and what is measured; the cohort here
does the rest.  Shape suffix: K cohort.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from trainables.engine.config import digest
from trainables.engine.gradients import Tensors, per_member
from trainables.engine.optimizers import stack_hyper
from trainables.engine.trial import Cohort, TrialConfig, check_members, check_states

ONE = Tensors
"""Tensors of one trial, on the CPU, without a cohort axis."""


@dataclass(frozen=True, kw_only=True)
class IterationTrial(TrialConfig):
    """Base of the iterations.  Every method is a pure function; numbers come from the seeds by ``randomness.py``."""

    measured: ClassVar[tuple[str, ...]] = ()
    """The columns that :meth:`observe` gives."""
    autonomous: ClassVar[bool] = False
    """Whether a step depends on state and rows only, neither on its number nor on draws: only then can a state that a
    step leaves as it is be certified as frozen."""

    @abstractmethod
    def rows(self) -> ONE:
        """Return what stays the same over the steps, such as data."""

    @abstractmethod
    def start(self) -> ONE:
        """Return the state at step 0."""

    def draws(self, step: int) -> ONE:
        """Return the random numbers of one step (of a batch, of noise); by default, none.

        :param step: the number of steps made before this one.
        """
        return {}

    @abstractmethod
    def moved(self, state: Tensors, rows: Tensors, hyper: Tensors, step: Tensor) -> Tensors:
        """Return the state after one more step of every member, reading nothing back to the host.

        :param state, rows: with the cohort axis first; ``rows`` has the step's draws too.
        :param hyper: the per-trial fields by name: shape (K,), float64.  The others are those of ``self``.
        :param step: the number of steps made before this one; shape (), float64.
        """

    @abstractmethod
    def observe(self, state: Tensors, rows: Tensors, hyper: Tensors) -> Tensors:
        """Return a tensor of shape (K,) for each of :attr:`measured`; ``rows`` is without draws."""

    def columns(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
        return self.measured

    def data_fingerprint(self) -> str:
        """A digest of the seeds: the rows follow from the configuration, and the source hash covers their code."""
        return digest([type(self).__name__, self.seeds.to_json()])

    @classmethod
    def build(cls, trials: Sequence[Self], device: str = "cpu") -> "IterationCohort":
        """Build the cohort of these trials at step 0."""
        return IterationCohort(trials, device)


class IterationCohort(Cohort):
    """The cohort of any :class:`IterationTrial`."""

    def __init__(self, trials: Sequence[IterationTrial], device: str = "cpu") -> None:
        """Set up the trials at step 0.

        :raises ConfigError: when they differ in more than per-trial values.
        """
        check_members(trials)
        self.trials: Sequence[IterationTrial] = tuple(trials)
        self.step = 0
        self._device = torch.device(device)
        self._rows = self._stacked([trial.rows() for trial in trials])
        self._hyper = stack_hyper(trials, self._device)
        self._state = self._stacked([trial.start() for trial in trials])
        self._active_K = torch.ones(len(trials), dtype=torch.bool, device=self._device)
        self._next: Tensors | None = None

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            self._state = {
                name: torch.where(per_member(self._active_K, value), value, self._state[name])
                for name, value in self._proposed().items()
            }
            self.step += 1
            self._next = None

    def measure(self) -> dict[str, np.ndarray]:
        with torch.no_grad():
            columns = self.trials[0].observe(self._state, self._rows, self._hyper)
            values_CK = torch.stack([columns[name].double() for name in self.trials[0].measured]).cpu().numpy()
        return dict(zip(self.trials[0].measured, values_CK, strict=True))

    def snapshot(self, member: int) -> dict[str, np.ndarray]:
        return {name: value[member].cpu().numpy().copy() for name, value in self._state.items()}

    def finite(self) -> np.ndarray:
        """Return whether each member's state, now and after the next step, is finite: shape (K,), bool."""
        checked = [*self._state.values(), *self._proposed().values()]
        finite_TK = torch.stack(
            [value.isfinite().reshape(len(value), -1).all(1) for value in checked if value.is_floating_point()]
        )
        return finite_TK.all(0).cpu().numpy()

    def frozen(self) -> np.ndarray:
        """Return whether each member's state provably never changes again: shape (K,), bool.

        The next step leaves every number as it is, and so does every later one.
        """
        if not self.trials[0].autonomous:
            return np.zeros(len(self.trials), dtype=bool)
        still = [
            (value == self._state[name]).reshape(len(value), -1).all(1) for name, value in self._proposed().items()
        ]
        return torch.stack(still).all(0).cpu().numpy()

    def retire(self, members: Sequence[int]) -> None:
        self._active_K[list(members)] = False

    def compact(self) -> None:
        kept = self._active_K.nonzero().flatten()
        if len(kept) == len(self.trials):
            return
        self.trials = tuple(self.trials[int(member)] for member in kept)
        self._rows, self._hyper, self._state = (
            {name: value[kept] for name, value in tensors.items()} for tensors in (self._rows, self._hyper, self._state)
        )
        self._active_K, self._next = self._active_K[kept], None

    def state_dict(self, member: int) -> dict[str, Any]:
        return {
            "step": self.step,
            "state": {name: value[member].cpu().clone() for name, value in self._state.items()},
        }

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        check_states(states, len(self.trials))
        self.step, self._next = states[0]["step"], None
        self._state = self._stacked([{name: state["state"][name] for name in self._state} for state in states])

    def _stacked(self, each: Sequence[ONE]) -> dict[str, Tensor]:
        return {name: torch.stack([tensors[name] for tensors in each]).to(self._device) for name in each[0]}

    def _proposed(self) -> Tensors:
        """Return the next state; compute it only once, however often it is read before it is applied."""
        if self._next is None:
            rows, step = self._rows, torch.tensor(float(self.step), dtype=torch.float64, device=self._device)
            if self.trials[0].draws(self.step):
                rows = rows | self._stacked([trial.draws(self.step) for trial in self.trials])
            self._next = self.trials[0].moved(self._state, rows, self._hyper, step)
        return self._next
