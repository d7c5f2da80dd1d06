"""Two trial kinds that have no accuracy: a regression with events of its own, and an iteration with final values only.

Both are whole trial kinds outside the house, as a user or a neighbouring paper would write one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from trainables.engine.config import option
from trainables.engine.events import EventRule, PhaseRule, falls_to
from trainables.engine.randomness import random_bits, signed_uniform
from trainables.engine.trial import Cohort, TrialConfig

ROWS, FEATURES = 40, 8
STREAM = 77


class VectorCohort(Cohort):
    """K vectors in lock-step; a kind says how they move and what is measured.  K cohort, F features."""

    def __init__(self, trials: Sequence[TrialConfig]) -> None:
        self.trials, self.step = tuple(trials), 0
        self.vectors_KF = torch.zeros(len(trials), FEATURES, dtype=torch.float64)
        self.active_K = torch.ones(len(trials), dtype=torch.bool)

    def moved(self) -> torch.Tensor:
        """The vectors after one more step."""
        raise NotImplementedError

    def measure(self) -> dict[str, np.ndarray]:
        raise NotImplementedError

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            self.vectors_KF = torch.where(self.active_K.unsqueeze(1), self.moved(), self.vectors_KF)
            self.step += 1

    def snapshot(self, member: int) -> dict[str, np.ndarray]:
        return {"vector": self.vectors_KF[member].numpy().copy()}

    def notes(self) -> list[str]:
        return []

    def finite(self) -> np.ndarray:
        return self.vectors_KF.isfinite().all(1).numpy()

    def frozen(self) -> np.ndarray:
        return np.zeros(len(self.trials), dtype=bool)

    def retire(self, members: Sequence[int]) -> None:
        self.active_K[list(members)] = False

    def compact(self) -> None:
        kept = self.active_K.nonzero().flatten()
        self.trials = tuple(self.trials[int(member)] for member in kept)
        self.vectors_KF, self.active_K = self.vectors_KF[kept], self.active_K[kept]

    def state_dict(self, member: int) -> dict[str, Any]:
        return {"step": self.step, "vector": self.vectors_KF[member].clone()}

    def load_state_dict(self, states: Sequence[dict[str, Any]]) -> None:
        self.step = states[0]["step"]
        self.vectors_KF = torch.stack([state["vector"] for state in states])

    def close(self) -> None:
        """Nothing to free."""


class RegressionCohort(VectorCohort):
    """Gradient descent on half the mean squared residual."""

    def __init__(self, trials: Sequence["Regression"]) -> None:
        super().__init__(trials)
        rows = [trial.rows() for trial in trials]
        self.inputs_KRF = torch.from_numpy(np.stack([inputs for inputs, _ in rows]))
        self.targets_KR = torch.from_numpy(np.stack([targets for _, targets in rows]))
        self.rate_K1 = torch.tensor([[trial.learning_rate] for trial in trials], dtype=torch.float64)

    def residuals(self) -> torch.Tensor:
        return torch.einsum("krf,kf->kr", self.inputs_KRF, self.vectors_KF) - self.targets_KR

    def moved(self) -> torch.Tensor:
        train = slice(0, ROWS // 2)
        gradient_KF = torch.einsum("kr,krf->kf", self.residuals()[:, train], self.inputs_KRF[:, train]) / (ROWS // 2)
        return self.vectors_KF - self.rate_K1 * gradient_KF

    def measure(self) -> dict[str, np.ndarray]:
        train, test = self.residuals().square().split(ROWS // 2, dim=1)
        return {"train_loss": train.mean(1).numpy(), "test_loss": test.mean(1).numpy()}

    def compact(self) -> None:
        kept = self.active_K.nonzero().flatten()
        self.inputs_KRF, self.targets_KR = self.inputs_KRF[kept], self.targets_KR[kept]
        self.rate_K1 = self.rate_K1[kept]
        super().compact()


@dataclass(frozen=True, kw_only=True)
class Regression(TrialConfig):
    """A linear regression that is waited for until its test loss falls below two bounds."""

    learning_rate: float = option(0.1, above=0.0, per_trial=True)
    events: tuple[EventRule, ...] = option(
        (falls_to("test_loss", 0.1, 0.01, name="t_fit", headline=0.1),), protocol=True
    )
    phases: tuple[PhaseRule, ...] = option(
        (PhaseRule(name="fitted", happened=("t_fit",), colour="#009e73"), PhaseRule(name="not fitted")), protocol=True
    )

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        bits = random_bits(self.seeds.split, STREAM, ROWS * FEATURES)
        inputs = signed_uniform(bits).reshape(ROWS, FEATURES)
        return inputs, inputs.sum(1)

    @classmethod
    def build(cls, trials: Sequence[Self], device: str = "cpu") -> RegressionCohort:
        return RegressionCohort(trials)

    def columns(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
        return ("train_loss", "test_loss")

    def flops_per_step(self) -> float:
        return 4.0 * ROWS * FEATURES

    def data_fingerprint(self) -> str:
        return f"regression {self.seeds.split}"


class DecayCohort(VectorCohort):
    """Vectors that shrink."""

    def __init__(self, trials: Sequence["Decay"]) -> None:
        super().__init__(trials)
        self.vectors_KF = torch.stack(
            [1 + torch.full((FEATURES,), float(trial.seeds.init)) for trial in trials]
        ).double()
        self.rate_K1 = torch.tensor([[trial.rate] for trial in trials], dtype=torch.float64)

    def moved(self) -> torch.Tensor:
        return (1 - self.rate_K1) * self.vectors_KF

    def measure(self) -> dict[str, np.ndarray]:
        return {"energy_joules": self.vectors_KF.square().sum(1).numpy()}


@dataclass(frozen=True, kw_only=True)
class Decay(TrialConfig):
    """A vector that shrinks by a share at each step: it has an end, and no event."""

    rate: float = option(0.1, above=0.0, below=1.0, per_trial=True)

    @classmethod
    def build(cls, trials: Sequence[Self], device: str = "cpu") -> DecayCohort:
        return DecayCohort(trials)

    def columns(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
        return ("energy_joules",)

    def flops_per_step(self) -> float:
        return float(FEATURES)

    def data_fingerprint(self) -> str:
        return "none"
