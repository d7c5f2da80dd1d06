"""Whether the rows that a trial has cover what is asked of it, and where it continues if they do not."""

import json
from dataclasses import fields
from typing import Any

from trainables.engine.config import CLASS_KEY, Config, ConfigError, from_json
from trainables.engine.events import StopReason, decides
from trainables.engine.names import find
from trainables.engine.trial import TrialConfig
from trainables.runtime.rows import TrialRow, TrialState

DECIDED_APART = ("horizon_steps", "measuring", "stopping", "events", "phases")
"""Fields of a protocol that :func:`starting_step` compares by itself, or that need no row of their own."""


def starting_step(config: TrialConfig, row: TrialRow | None, checkpoint_step: int | None) -> int | None:
    """The step from which a trial has to run to give what ``config`` asks, or None when its rows cover that.

    Rows cover a protocol when they were measured at every step that it wants, with every probe that it wants, and
    reach its horizon or ended for a reason that holds for it: divergence and freezing always do, success does where
    the protocol stops on success and its events are decided by those that have held.  Rows that end too early are
    continued from the checkpoint, which may be ahead of them; rows that lack measurements are of no use, nor is their
    checkpoint, nor one that has passed a measurement that it was not asked for, or the horizon.
    """
    if row is None or not _measured_enough(config, row, row.last_step + 1):
        return 0
    if row.last_step >= config.horizon_steps:
        return None
    if row.state == TrialState.STOPPED and _stop_holds(config, row):
        return None
    if checkpoint_step is None or checkpoint_step > config.horizon_steps:
        return 0
    return checkpoint_step if _measured_enough(config, row, checkpoint_step) else 0


def _stop_holds(config: TrialConfig, row: TrialRow) -> bool:
    """Whether the reason for which the row's trial stopped would have stopped one with this protocol too."""
    if row.stop_reason != StopReason.SUCCESS:
        return True
    held = config_of(row)
    return config.stopping.on_success and held is not None and decides(held.events, config.events)


def _measured_enough(config: TrialConfig, row: TrialRow, before_step: int) -> bool:
    """Whether a run as the row's has every measurement before a step that ``config`` asks for."""
    held = config_of(row)
    if held is None:
        return False
    same_schedule = held.measuring == config.measuring
    for spec in fields(config):
        if spec.metadata.get("protocol") and spec.name not in DECIDED_APART:
            wanted, had = getattr(config, spec.name), getattr(held, spec.name)
            if not _looked_enough(spec.name, wanted, had, same_schedule):
                return False
    if same_schedule:
        return True
    # The horizon itself is looked at whatever the schedule, so rows that go beyond it need not have it.
    wanted_steps = {int(step) for step in config.measuring.steps(config.horizon_steps)[:-1] if step < before_step}
    return wanted_steps <= {row.last_step, *held.measuring.steps(before_step).tolist()}


def _looked_enough(name: str, wanted: Any, had: Any, same_schedule: bool) -> bool:
    """Whether a protocol to look at some measurements of the schedule, or probes that are, is met by another."""
    if isinstance(wanted, tuple):
        return all(any(_looked_enough(name, each, held, same_schedule) for held in had) for each in wanted)
    if isinstance(wanted, Config):
        every = "every" in {spec.name for spec in fields(wanted)} and type(had) is type(wanted)
        if not every or had.replace(every=wanted.every) != wanted:  # type: ignore[attr-defined]
            return wanted == had
        wanted, had = wanted.every, had.every  # type: ignore[attr-defined]
    elif not name.endswith("_every"):
        return wanted == had
    if not wanted:
        return True
    # "Every second" of one schedule says nothing of every second of another; "every one" does.
    return had == 1 or (had > 0 and wanted % had == 0 and same_schedule)


def config_of(row: TrialRow) -> TrialConfig | None:
    """The configuration of a row, or None when it is of a class or a field that no longer exists."""
    try:
        config = from_json(json.loads(row.config_json))
    except ConfigError:
        return None
    return config if isinstance(config, TrialConfig) else None


def unknown_modules(row: TrialRow) -> set[str]:
    """The modules of those classes of a row's configuration that nobody has imported."""
    modules = set()

    def visit(values: dict[str, Any]) -> dict[str, Any]:
        module, colon, _ = str(values.get(CLASS_KEY)).partition(":")
        if colon and find(values[CLASS_KEY]) is None:
            modules.add(module)
        return values

    json.loads(row.config_json, object_hook=visit)
    return modules
