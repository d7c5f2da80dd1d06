"""Made-up sweeps for the analysis' tests: trajectories with known crossings, as frames and as ledgers.

The numbers resemble the decay sweep of Prieto et al. (2025), Fig. 15; nothing is trained.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.data.sweep import Sweep, Trial
from pipeline.ledger import Ledger, SweepRow
from trainables.engine.events import ACCURACY_EVENTS, ACCURACY_PHASES, EventRule, PhaseRule
from trainables.engine.trial import Measuring
from trainables.runtime.rows import TrialRow, TrialState

PROTOCOL = {
    "events": [rule.to_json() for rule in ACCURACY_EVENTS],
    "phases": [rule.to_json() for rule in ACCURACY_PHASES],
}
CONFIG = {
    "class": "GrokkingTrial",
    "task": {"class": "ModularAddition", "p": 113, "train_fraction": 0.4},
    **PROTOCOL,
}
AXES: dict[str, Any] = {"arms": [], "axes": [], "seeds": [], **PROTOCOL}


@dataclass(frozen=True)
class MadeTrial:
    """What a trial looks like from outside: its place in the sweep, and its rows."""

    trial_id: str
    coordinates: Mapping[str, Any]
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    """``step`` and probe columns; empty for a trial that was not begun."""
    state: str = TrialState.FINISHED
    stop_reason: str | None = None
    horizon_steps: int | None = None
    """Its own; None: the sweep's."""


def make_trial(
    trial_id: str,
    coordinates: Mapping[str, Any],
    *,
    horizon_steps: int = 1500,
    t_mem: float = math.inf,
    t_gen: float = math.inf,
    stop_reason: str | None = None,
    until_steps: int | None = None,
    state: str | None = None,
) -> MadeTrial:
    """A trial whose accuracies pass .99 at ``t_mem`` and .95 at ``t_gen`` (inf: never).

    :param until_steps: its rows end there; by default at the horizon, or a while after success.
    """
    steps = Measuring().steps(horizon_steps)
    if until_steps is None and stop_reason == "success":
        until_steps = int(max(t_mem, 1.15 * t_gen) * 1.1)
    if until_steps is not None:
        steps = steps[steps <= until_steps]
    known = np.maximum(steps, 0.5)
    # Logistic in log(step): .99 = 1 / (1 + 1 / 99) at t_mem, .95 = 1 / (1 + 1 / 19) at t_gen.
    train = 1 / (1 + (t_mem / known) ** 8 / 99) if math.isfinite(t_mem) else 0.3 * (1 - np.exp(-known / 80))
    test = 1 / (1 + (t_gen / known) ** 20 / 19) if math.isfinite(t_gen) else np.full(len(steps), 0.012)
    rows = {
        "step": steps,
        "train_accuracy": np.round(train * 5107) / 5107,
        "test_accuracy": np.round(test * 7662) / 7662,
        "train_loss": 4.7 * np.exp(-known / 25) + 1e-7,
        "test_loss": 4.7 + 6 * (1 - test) * np.minimum(known / 200, 1),
        "sc_true_fraction": np.clip((known - 60) / 400, 0, 1) * (1 - test),
        "parameter_norm": 20 + 8 * np.log1p(known),
    }
    default = (
        TrialState.STOPPED if stop_reason else TrialState.FINISHED if steps[-1] == horizon_steps else TrialState.RUNNING
    )
    return MadeTrial(trial_id, dict(coordinates), rows, state or default, stop_reason, horizon_steps)


def wd_vs_orthograd(seed: int = 7, seeds: int = 5) -> list[MadeTrial]:
    """A decay sweep beside ⊥AdamW, with every kind of ending somewhere in it."""
    rng = np.random.default_rng(seed)
    typical = {0: math.inf, 0.5: 1180.0, 1: 640.0, 2: 380.0, 4: 260.0, 8: 420.0, 16: math.inf}
    trials = []
    for decay, centre in typical.items():
        for k in range(seeds):
            place = {"arm": "AdamW", "optimizer.weight_decay": decay, "seed": k}
            name = f"adamw-{decay}-{k}"
            t_mem = float(rng.lognormal(math.log(26 + decay), 0.08))
            t_gen = float(rng.lognormal(math.log(centre), 0.22)) if math.isfinite(centre) else math.inf
            if decay == 16:
                trials.append(
                    make_trial(
                        name, place, stop_reason="diverged" if k == 3 else None, until_steps=700 if k == 3 else None
                    )
                )
            elif decay == 0 and k in (1, 4):
                trials.append(make_trial(name, place, t_mem=t_mem, stop_reason="frozen", until_steps=900 + 90 * k))
            elif decay == 8 and k == 2:
                trials.append(make_trial(name, place, t_mem=t_mem))
            else:
                done = "success" if t_gen * 1.15 < 1350 else None
                trials.append(make_trial(name, place, t_mem=t_mem, t_gen=t_gen, stop_reason=done))
    for k in range(seeds):
        place = {"arm": "⊥AdamW", "seed": k}
        t_gen = float(rng.lognormal(math.log(105), 0.12))
        trials.append(make_trial(f"perp-{k}", place, t_mem=t_gen * 0.62, t_gen=t_gen, stop_reason="success"))
    return trials


DOC = (
    "How long does it take to grok with weight decay, and does ⊥Grad need any?  (Prieto et al. 2025, Fig. 15)\n\nMore."
)


def make_sweep(
    trials: Sequence[MadeTrial],
    *,
    horizon_steps: int = 1500,
    events: Sequence[EventRule] = ACCURACY_EVENTS,
    phases: Sequence[PhaseRule] = ACCURACY_PHASES,
    sampled: frozenset[str] = frozenset(),
    doc: str = DOC,
) -> Sweep:
    """These trials as :func:`analysis.data.source.open_sweep` would give them."""
    declared = {"events": [rule.to_json() for rule in events], "phases": [phase.to_json() for phase in phases]}
    curves = {
        trial.trial_id: {name: np.array(values, dtype=float) for name, values in trial.rows.items()}
        for trial in trials
        if trial.rows
    }

    def read(trial_ids: Sequence[str], columns: Sequence[str] | None) -> list[tuple[str, dict[str, np.ndarray]]]:
        return [
            (id_, {name: values for name, values in curves[id_].items() if name in ("step", *(columns or curves[id_]))})
            for id_ in trial_ids
        ]

    made = [
        Trial(
            trial_id=trial.trial_id,
            space="wd_vs_orthograd",
            coordinates=trial.coordinates,
            config=CONFIG | declared if trial.rows else {},
            state=trial.state if trial.rows else "missing",
            stop_reason=trial.stop_reason,
            last_step=int(trial.rows["step"][-1]) if trial.rows else 0,
            horizon_steps=trial.horizon_steps or horizon_steps,
            curves=curves.get(trial.trial_id, {}),
            events=tuple(events),
            phases=tuple(phases),
        )
        for trial in trials
    ]
    axes = [{"path": path, "kind": "sampled"} for path in sampled]
    return Sweep(
        name="wd_vs_orthograd",
        trials=tuple(made),
        doc=doc,
        horizon_steps=horizon_steps,
        design={**AXES, "axes": axes, **declared},
        source="synthetic",
        reader=read,
    )


def grid_sweep(seeds: int = 3) -> list[MadeTrial]:
    """Training fraction against dtype, with a cell left out, one that freezes and one that was interrupted."""
    trials = []
    for row, dtype in enumerate(("float16", "float32", "float64")):
        for column, fraction in enumerate((0.3, 0.4, 0.5, 0.6)):
            for k in range(seeds):
                place = {"task.train_fraction": fraction, "loss.dtype": dtype, "seed": k}
                name = f"{dtype}-{fraction}-{k}"
                if (dtype, fraction) == ("float32", 0.5):
                    continue
                if (dtype, fraction) == ("float16", 0.3):
                    trials.append(make_trial(name, place, t_mem=40, stop_reason="frozen", until_steps=600))
                elif (dtype, fraction) == ("float64", 0.6):
                    trials.append(make_trial(name, place, t_mem=40, until_steps=500))
                else:
                    t_gen = 1200.0 / (1 + column + row) * (1 + 0.1 * k)
                    trials.append(make_trial(name, place, t_mem=40, t_gen=t_gen))
    return trials


def fill_ledger(
    ledger: Ledger,
    name: str,
    trials: Sequence[MadeTrial],
    *,
    horizon_steps: int = 1500,
    config: Mapping[str, Any] = CONFIG,
    axes: Mapping[str, Any] = AXES,
    doc: str = DOC,
) -> None:
    """Commit these trials and record their sweep."""
    for trial in trials:
        if not trial.rows:
            continue
        row = TrialRow(
            trial_id=trial.trial_id,
            config_json=json.dumps(config),
            state=trial.state,
            stop_reason=trial.stop_reason,
            last_step=int(trial.rows["step"][-1]),
            device_kind="cpu:synthetic",
            data_fingerprint="data",
            source_hash="source",
            provenance_json="{}",
            committed_at="2026-01-02T03:04:05+00:00",
        )
        ledger.commit([row], {"trial_id": [trial.trial_id] * len(trial.rows["step"]), **trial.rows})
    ledger.record_sweep(
        SweepRow(
            name=name,
            doc=doc,
            axes_json=json.dumps(axes),
            trial_ids=tuple(trial.trial_id for trial in trials),
            coordinates_json=json.dumps([dict(trial.coordinates) for trial in trials]),
            horizon_steps=horizon_steps,
            revision="r1",
            recorded_at="2026-01-02T03:04:05+00:00",
        )
    )
