"""A made-up sweep in a ledger, without any training: trajectories that grok, or not, at known steps."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.ledger import Ledger, SweepRow
from trainables.engine.config import canonical_json, digest
from trainables.engine.events import ACCURACY_EVENTS, ACCURACY_PHASES
from trainables.engine.trial import Measuring
from trainables.runtime.rows import TrialRow, TrialState

COLUMNS = (
    "train_loss",
    "test_loss",
    "train_accuracy",
    "test_accuracy",
    "sc_any_fraction",
    "sc_true_fraction",
    "sc_loss_fraction",
    "zero_loss_fraction",
    "margin_q10",
    "margin_q50",
    "margin_q90",
    "parameter_norm",
    "gradient_norm",
    "alignment_gradient",
    "alignment_update",
)


@dataclass
class SampleSweep:
    """``arms`` x ``seeds`` trials; the trial of arm ``a`` generalises at step ``300 + 100 a + seed``."""

    ledger: Ledger
    name: str = "sample"
    arms: int = 2
    seeds: int = 2
    horizon_steps: int = 1500
    trial_ids: list[str] = field(init=False)
    coordinates: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.coordinates = [{"arm": f"wd{arm}", "seed": seed} for arm in range(self.arms) for seed in range(self.seeds)]
        self.trial_ids = [digest([self.name, found]) for found in self.coordinates]
        self.record()

    def record(self, horizon_steps: int | None = None) -> None:
        """The sweep's own row."""
        self.ledger.record_sweep(
            SweepRow(
                name=self.name,
                doc="Does the sample grok?",
                axes_json=canonical_json({"arm": [f"wd{arm}" for arm in range(self.arms)]}),
                trial_ids=tuple(self.trial_ids),
                coordinates_json=canonical_json(self.coordinates),
                horizon_steps=horizon_steps or self.horizon_steps,
                revision="r1",
                recorded_at="2026-01-02T03:04:05+00:00",
            )
        )

    def commit(self, index: int, until_step: int | None = None, state: str | None = None, **changes: Any) -> None:
        """Rows of one trial up to a step, in one segment; ``changes`` replace fields of its row."""
        horizon = self.horizon_steps
        steps = Measuring().steps(max(horizon, until_step or horizon))
        steps = steps[steps <= (until_step or horizon)]
        last = int(steps[-1])
        row = self.row(
            index, last, state or (TrialState.FINISHED if last >= horizon else TrialState.RUNNING), **changes
        )
        self.ledger.commit([row], {"trial_id": [row.trial_id] * len(steps), "step": steps, **self.curves(index, steps)})

    def commit_all(self) -> None:
        for index in range(len(self.trial_ids)):
            self.commit(index)

    def row(self, index: int, last_step: int, state: str, **changes: Any) -> TrialRow:
        """The row of one trial."""
        config = {
            "class": "GrokkingTrial",
            "seeds": {"class": "Seeds", "split": index, "init": index, "order": index},
            "task": {"class": "ModularAddition", "p": 113, "train_fraction": 0.4},
            "optimizer": {"class": "AdamW", "weight_decay": 0.5, "betas": [0.9, 0.99]},
            "horizon_steps": self.horizon_steps,
            "measuring": {"class": "Measuring", "dense_until_steps": 20, "ratio": 1.05},
            "stopping": {"class": "Stopping", "on_success": True, "on_frozen": True},
            "events": [rule.to_json() for rule in ACCURACY_EVENTS],
            "phases": [rule.to_json() for rule in ACCURACY_PHASES],
        }
        values = {
            "trial_id": self.trial_ids[index],
            "config_json": canonical_json(config),
            "state": state,
            "stop_reason": "success" if state == TrialState.STOPPED else None,
            "last_step": last_step,
            "train_s": last_step / 100,
            "device_kind": "cpu:sample",
            "data_fingerprint": f"data{index}",
            "source_hash": "source",
            "provenance_json": canonical_json({"commit": "c0ffee", "versions": {"torch": "2.13"}}),
            "committed_at": "2026-01-02T04:00:00+00:00",
        }
        return TrialRow(**{**values, **changes})

    def generalises_at(self, index: int) -> int:
        return 300 + 100 * (index // self.seeds) + index % self.seeds

    def curves(self, index: int, steps: np.ndarray) -> dict[str, np.ndarray]:
        """Every probe's column: smooth curves, accuracies that jump, and a first alignment that is not a number."""
        curves = {name: np.exp(-steps / (100.0 * (1 + place))) + index for place, name in enumerate(COLUMNS)}
        curves["train_accuracy"] = np.where(steps >= 50, 1.0, 0.1)
        curves["test_accuracy"] = np.where(steps >= self.generalises_at(index), 1.0, 0.05)
        curves["alignment_update"] = np.where(steps == 0, np.nan, curves["alignment_update"])
        return curves
