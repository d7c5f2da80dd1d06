"""Whether a trial's rows cover a protocol, and where the trial continues if they do not."""

import json
from dataclasses import fields
from typing import Any

from trainables.engine.config import CLASS_KEY, Config, ConfigError, from_json
from trainables.engine.events import StopReason, decides
from trainables.engine.names import find
from trainables.engine.trial import TrialConfig
from trainables.runtime.rows import TrialRow, TrialState

COMPARED_APART = ("horizon_steps", "measuring", "stopping", "events", "phases")
"""Fields of a protocol that :func:`starting_step` compares by itself, or that need no row of their own."""


def starting_step(config: TrialConfig, row: TrialRow | None, checkpoint_step: int | None) -> int | None:
    """The step from which a trial has to run to meet the protocol of ``config``, or None when its rows cover that.

    Rows cover a protocol when they have every measurement of every probe that it requires, and reach its horizon or
    ended for a reason that holds for it: divergence and freezing always do, success does where the protocol stops on
    success and its events are decided by those that have held.  Rows that end too early are continued from the
    checkpoint, which may be ahead of them.  Rows that lack measurements are useless, and so is their checkpoint, and a
    checkpoint that has passed a measurement that its own run did not make, or the horizon.
    """
    if row is None or not measured_enough(config, row, row.last_step + 1):
        return 0
    if row.last_step >= config.horizon_steps:
        return None
    if row.state == TrialState.STOPPED and _stop_holds(config, row):
        return None
    if checkpoint_step is None or checkpoint_step > config.horizon_steps:
        return 0
    return checkpoint_step if measured_enough(config, row, checkpoint_step) else 0


def _stop_holds(config: TrialConfig, row: TrialRow) -> bool:
    """Whether the reason for which the row's trial stopped would have stopped one with this protocol too."""
    if row.stop_reason != StopReason.SUCCESS:
        return True
    trained = trained_by(config, row)
    return config.stopping.on_success and trained is not None and decides(trained.events, config.events)


def measured_enough(config: TrialConfig, row: TrialRow, before_step: int) -> bool:
    """Whether a run with the row's protocol makes every measurement before a step that ``config`` requires."""
    trained = trained_by(config, row)
    if trained is None:
        return False
    if trained is config:
        return True
    same_schedule = trained.measuring == config.measuring
    for spec in fields(config):
        if spec.metadata.get("protocol") and spec.name not in COMPARED_APART:
            required, actual = getattr(config, spec.name), getattr(trained, spec.name)
            if not _covers(spec.name, required, actual, same_schedule):
                return False
    if same_schedule:
        return True
    # Every schedule measures at the horizon, so rows that go beyond it need not have that step.
    required_steps = {int(step) for step in config.measuring.steps(config.horizon_steps)[:-1] if step < before_step}
    return required_steps <= {row.last_step, *trained.measuring.steps(before_step).tolist()}


def _covers(name: str, required: Any, actual: Any, same_schedule: bool) -> bool:
    """Whether a field of a protocol, such as the probes or ``snapshots_every``, gives what another value requires."""
    if isinstance(required, tuple):
        return all(any(_covers(name, each, other, same_schedule) for other in actual) for each in required)
    if isinstance(required, Config):
        every = "every" in {spec.name for spec in fields(required)} and type(actual) is type(required)
        if not every or actual.replace(every=required.every) != required:  # type: ignore[attr-defined]
            return required == actual
        required, actual = required.every, actual.every  # type: ignore[attr-defined]
    elif not name.endswith("_every"):
        return required == actual
    if not required:
        return True
    # Every second step of one schedule says nothing about another schedule; every step does.
    return actual == 1 or (actual > 0 and required % actual == 0 and same_schedule)


def trained_by(config: TrialConfig, row: TrialRow) -> TrialConfig | None:
    """The configuration of a row: ``config`` itself where that is what it says, as in most of a finished sweep."""
    return config if row.config_json == config.json_text else config_of(row)


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
