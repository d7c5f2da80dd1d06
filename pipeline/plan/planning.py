"""What is left to do: a sweep's trials minus what the ledger has, packed into cohorts, with their predicted cost.

A trial is *cached* when its rows cover its protocol, and *continued* when they end too early and it has a checkpoint
(:mod:`pipeline.plan.coverage`).  Nothing here reads or writes: the same arguments give the same plan.
"""

import itertools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal

from pipeline.plan.coverage import config_of, starting_step, unknown_modules
from pipeline.spec import PlannedTrial
from trainables.engine.config import ConfigError
from trainables.engine.trial import TrialConfig
from trainables.runtime.rows import TrialRow, TrialState

__all__ = ["CohortPlan", "Plan", "make_plan", "predicted_s"]

NOMINAL_FLOPS = {"cpu": 6e10, "cuda": 2.4e13}
"""Floating-point operations a second, until the ledger has measured times, for the default MLP's 1.92 GFLOP step.

CPU: it takes 32 ms on one core (Zen 4, float32).  GPU: 79 us in a large cohort (one H200).
"""
STEP_OVERHEAD_S = {"cpu": 1e-3, "cuda": 4e-4}
"""What a step costs beside its arithmetic, once a cohort (0.4 to 1.5 ms on a CPU; 0.15 to 0.4 ms on an H200, replayed).
"""
LOOK_OVERHEADS = {"cpu": 3, "cuda": 10}
"""What a measurement costs beside its arithmetic, in overheads of a step: 4 ms on a GPU that launches it."""
COHORT_WORTH_S = 2.0
"""How long a cohort should train at least, so that its start and its commits (0.1 to 0.2 s) do not matter."""
LARGEST_COHORT = {"cpu": 64, "cuda": 512}
GPU_STEP_OVERHEADS = 20
"""On a GPU a cohort grows until the arithmetic of its step is this many times the overhead: more members gain nothing.

An H200 does 97 % of its most trial-steps a second with 64 members of the default MLP, 99 % with 128.  It bounds the
memory too, which grows with the arithmetic: 20 overheads are 190 GFLOP, and a step holds 5 MB (transformer) to 28 MB
(MLP, p = 31) for each of them, 1 to 5 GB.  Where that is too much, running out of memory halves the cohort.
"""


@dataclass(frozen=True)
class CohortPlan:
    """Trials that train in lock-step, all from the same step."""

    trials: tuple[TrialConfig, ...]
    start_step: int
    """0, or the step of every member's checkpoint."""
    predicted_s: float
    """Seconds of training if no member stops before the horizon: an upper bound."""


@dataclass(frozen=True)
class Plan:
    """What a run of the sweep will do."""

    trials: tuple[PlannedTrial, ...]
    cached: frozenset[str]
    """Trial ids whose rows cover their protocol."""
    failed: frozenset[str]
    """Trial ids that failed before and are left alone (without ``--rerun-failed``)."""
    cohorts: tuple[CohortPlan, ...]
    """The longest first, so that the last workers do not wait for one that began late."""
    notes: tuple[str, ...] = ()
    """What differs between the rows that are used and now, a line each."""
    reasons: tuple[str, ...] = ()
    """Why trials are run, a line each."""
    discarded: Mapping[str, str] = field(default_factory=dict)
    """Trial ids whose rows have to be deleted before they are run again, with the components that changed."""
    workers: int = field(default=1, kw_only=True)

    @property
    def predicted_s(self) -> float:
        """Seconds of training over all cohorts, if no trial stops early."""
        return math.fsum(cohort.predicted_s for cohort in self.cohorts)

    @property
    def predicted_wall_s(self) -> float:
        """Seconds until the last cohort ends, each worker taking the next cohort when it is free."""
        busy_s = [0.0] * self.workers
        for cohort in self.cohorts:
            busy_s[busy_s.index(min(busy_s))] += cohort.predicted_s
        return max(busy_s)


def make_plan(
    trials: Sequence[PlannedTrial],
    rows: Mapping[str, TrialRow],
    checkpoints: Callable[[str], int | None],
    *,
    cohort_size: int | Literal["auto"] = "auto",
    device_kind: str,
    workers: int,
    rerun_failed: bool = False,
    rerun_changed: bool = False,
    source_hash: Callable[[TrialConfig], str] | None = None,
    component_hashes: Callable[[TrialConfig], Mapping[str, str]] | None = None,
    other_protocols: Mapping[str, Sequence[TrialRow]] | None = None,
) -> Plan:
    """Decide for every trial whether it is cached, left alone, continued or started, and pack what is to run.

    :param rows: the ledger's trials by id; those of other sweeps serve to predict costs.
    :param checkpoints: the step of a trial's checkpoint, or None.
    :param device_kind: where the cohorts will run, as the rows have it: ``cpu...`` or ``cuda...``.
    :param rerun_changed: start trials again that another version of their components trained.
    :param source_hash: of a trial's components as they are now, to be compared with the rows'.
    :param component_hashes: likewise, of each component by its name.
    :param other_protocols: further rows of the trials, that were run for other protocols.
    """
    cached, failed = set(), set()
    discarded: dict[str, str] = {}
    to_run: dict[tuple[str, int], list[TrialConfig]] = defaultdict(list)
    used: list[tuple[str, TrialConfig, TrialRow, str]] = []
    unread: Counter[str] = Counter()
    for trial in trials:
        config, row = trial.config, rows.get(trial.config.trial_id)
        start = starting_step(config, row, checkpoints(config.trial_id) if row else None)
        for other in (other_protocols or {}).get(config.trial_id, ()) if start is not None else ():
            if starting_step(config, other, None) is None:
                row, start = other, None
                break
        changed = _changed_source(config, row, source_hash, component_hashes) if row else ""
        if changed and (rerun_changed or (rerun_failed and row and row.state == TrialState.FAILED)):
            start, discarded[config.trial_id] = 0, changed
            to_run[config.cohort_key, start].append(config)
            continue
        if start is None:
            cached.add(config.trial_id)
        elif row and row.state == TrialState.FAILED and not rerun_failed:
            failed.add(config.trial_id)
        else:
            to_run[config.cohort_key, start].append(config)
        if row and start != 0:
            used.append(("cached" if start is None else "continued", config, row, changed))
        elif row and changed and config.trial_id in failed:
            used.append(("failed", config, row, changed))
        elif row:
            unread.update(unknown_modules(row))
    rates = _measured_rates(rows.values(), device_kind) if to_run else {}
    sized = _sizes(to_run, cohort_size, _accelerator(device_kind), workers, rates)
    for group, members in to_run.items():
        sized[group] = min(sized[group], members[0].largest_cohort or sized[group])
    cohorts = [
        CohortPlan(tuple(chunk), start, predicted_s(chunk, start, device_kind, rates))
        for (key, start), members in to_run.items()
        for chunk in _chunks(members, sized[key, start])
    ]
    cohorts.sort(key=lambda cohort: -cohort.predicted_s)
    return Plan(
        trials=tuple(trials),
        cached=frozenset(cached),
        failed=frozenset(failed),
        cohorts=tuple(cohorts),
        notes=(*_notes(used, device_kind), *_notes_of_unread(unread)),
        discarded=discarded,
        workers=workers,
    )


def _accelerator(device_kind: str) -> str:
    return "cpu" if device_kind.lower().startswith("cpu") else "cuda"


def _cost_key(config: TrialConfig) -> str:
    """Equal for trials whose steps cost the same: the shape of the cohort, whatever its protocol."""
    protocol: dict[str, Any] = {
        spec.name: spec.default
        for spec in fields(config)
        if spec.metadata.get("protocol") and spec.default is not MISSING
    }
    return config.replace(**protocol, horizon_steps=1).cohort_key


def _measured_rates(rows: Iterable[TrialRow], device_kind: str) -> dict[str, float]:
    """Seconds a trial-step by :func:`_cost_key`, from the rows that were trained on the same kind of device."""
    seconds: dict[str, float] = defaultdict(float)
    steps: dict[str, int] = defaultdict(int)
    for row in rows:
        if row.device_kind != device_kind or not row.last_step or not row.train_s:
            continue
        config = config_of(row)
        if config is not None:
            key = _cost_key(config)
            seconds[key] += row.train_s
            steps[key] += row.last_step
    return {key: seconds[key] / steps[key] for key in steps}


def predicted_s(members: Sequence[TrialConfig], start: int, device_kind: str, rates: Mapping[str, float]) -> float:
    """Seconds of training of one cohort from a step to its horizon, if no member stops early.

    :param rates: seconds a trial-step, measured, by cost key.
    """
    config = members[0]
    steps = config.horizon_steps - start
    rate = rates.get(_cost_key(config))
    if rate is not None:
        return len(members) * steps * rate
    looks = int((config.measuring.steps(config.horizon_steps) > start).sum())
    accelerator = _accelerator(device_kind)
    arithmetic_s = len(members) * config.flops_per_step() / NOMINAL_FLOPS[accelerator]
    overheads = steps + LOOK_OVERHEADS[accelerator] * looks
    return overheads * STEP_OVERHEAD_S[accelerator] + (steps + looks) * arithmetic_s


def _sizes(
    groups: Mapping[tuple[str, int], Sequence[TrialConfig]],
    cohort_size: int | Literal["auto"],
    accelerator: str,
    workers: int,
    rates: Mapping[str, float],
) -> dict[tuple[str, int], int]:
    """How many trials a cohort of each group has at most.

    On a CPU batching large trials gains nothing, so a cohort is only as large as makes its start negligible, and the
    dispatch of a step no more than its arithmetic; the workers get two cohorts each where there are as many trials.
    On a GPU the dispatch of a step is to be small beside its arithmetic, and every worker gets its part.
    """
    if cohort_size != "auto":
        return dict.fromkeys(groups, cohort_size)
    total = sum(len(members) for members in groups.values())
    largest = LARGEST_COHORT[accelerator]
    sizes = {}
    for (key, start), members in groups.items():
        per_overhead = STEP_OVERHEAD_S[accelerator] * NOMINAL_FLOPS[accelerator] / max(members[0].flops_per_step(), 1.0)
        if accelerator == "cuda":
            sizes[key, start] = max(1, min(largest, int(GPU_STEP_OVERHEADS * per_overhead), math.ceil(total / workers)))
            continue
        starts = math.ceil(COHORT_WORTH_S / max(predicted_s(members[:1], start, accelerator, rates), 1e-9))
        sizes[key, start] = max(1, min(largest, max(starts, int(per_overhead)), total // (2 * workers)))
    return sizes


def _chunks(members: Sequence[TrialConfig], size: int) -> list[Sequence[TrialConfig]]:
    """Consecutive parts of at most ``size``, as equal as can be."""
    count = math.ceil(len(members) / size)
    edges = [len(members) * number // count for number in range(count + 1)]
    return [members[low:high] for low, high in itertools.pairwise(edges)]


def _notes_of_unread(rows: Mapping[str, int]) -> Iterable[str]:
    """Rows with components of a user's module do not count without it: for example their probes are not known."""
    for module, count in sorted(rows.items()):
        yield (
            f"the rows of {count} {'trial' if count == 1 else 'trials'} name components of {module}, which is not "
            f"imported: they start again (--components {module} imports it)"
        )


def _changed_source(
    config: TrialConfig,
    row: TrialRow,
    source_hash: Callable[[TrialConfig], str] | None,
    component_hashes: Callable[[TrialConfig], Mapping[str, str]] | None,
) -> str:
    """The components of which another version trained a row; empty where the source is the row's."""
    if source_hash is None or row.source_hash == source_hash(config):
        return ""
    before = json.loads(row.provenance_json).get("components")
    now = component_hashes(config) if component_hashes is not None else {}
    # Rows of earlier releases have the digest of all components together only.
    names = sorted(name for name in now if before.get(name) != now[name]) if isinstance(before, dict) else []
    return ", ".join(names) or "the components' source"


def _notes(used: Sequence[tuple[str, TrialConfig, TrialRow, str]], device_kind: str) -> Iterable[str]:
    """What differs between now and the rows that count or are continued: reported, never silently mixed."""
    differences: Counter[tuple[str, str]] = Counter()
    for how, config, row, changed in used:
        if changed:
            again = "--rerun-changed deletes such rows and trains again"
            differences[how, f"trained by another version of {changed}; {again}"] += 1
        if how == "failed":
            continue
        if row.device_kind != device_kind:
            differences[how, f"trained on {row.device_kind}, not on {device_kind}"] += 1
        try:
            if row.data_fingerprint != config.data_fingerprint():
                differences[how, "trained on other rows of data"] += 1
        except ConfigError as error:  # the data set is missing
            differences[how, f"trained on data that cannot be compared ({error})"] += 1
    for (how, difference), count in sorted(differences.items()):
        yield f"{count} {how} {'trial was' if count == 1 else 'trials were'} {difference}"
