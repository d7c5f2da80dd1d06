"""One flat row a trial: its place in a sweep, its configuration, how far it is, and when its events came.

The names of the columns, which every view shares:

========================  ==========================================================================================
``trial_id``, ``sweep``   which trial, of which sweep
``axis.NAME``             where the sweep places it: ``axis.arm``, ``axis.seed``, ``axis.optimizer.weight_decay``
``config.PATH``           its configuration, flat; a component's own path holds the name of its class
``state``, ...            the fields of its row; the state of a trial that nobody has begun is ``missing``
``t_gen``                 when an event came, at its headline: the middle of its interval; null where it did not
``t_gen_95_kind``, ...    each threshold: what came of it, and the ends of its interval in steps
``phase``                 the phase by the events
``final.PROBE``           the last measured value of a probe
========================  ==========================================================================================

An outcome is what the sweep asks: its own events, by its own horizon, whatever else the trial was run for.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.ledger.ledger import Ledger
from pipeline.ledger.rows import float_values, probe_columns
from pipeline.ledger.sweep_row import SweepRow, protocols
from trainables.engine.config import CLASS_KEY, ConfigError, canonical_json, from_json, parse_json
from trainables.engine.events import TIMES, EventRule, Outcome, PhaseRule, outcome
from trainables.runtime.rows import TrialRow, TrialState

AXIS, CONFIG, FINAL = "axis.", "config", "final."
MISSING = "missing"
"""The state of a trial that the sweep names and nobody has begun."""
ROW = ("state", "stop_reason", "last_step", "error", "error_kind", "train_s", "device_kind", "committed_at")
"""The fields of a trial's row that are columns as they are."""


@dataclass(frozen=True)
class Asked:
    """What is asked of a trial: its events, its phases, and by when."""

    events: tuple[EventRule, ...]
    phases: tuple[PhaseRule, ...]
    horizon_steps: float = math.inf

    @classmethod
    def by_itself(cls, row: TrialRow | None) -> "Asked":
        """What the configuration of a trial says, of rules whose class is known."""
        config = parse_json(row.config_json, for_terminal=False) if row else {}
        known = [rule for name in ("events", "phases") for rule in _rules(config.get(name))]
        return cls(
            tuple(rule for rule in known if isinstance(rule, EventRule)),
            tuple(rule for rule in known if isinstance(rule, PhaseRule)),
        )

    def columns(self) -> list[str]:
        """The columns of measurements that the events need."""
        return list(dict.fromkeys(rule.column for rule in self.events))

    def outcome(self, row: TrialRow, table: pa.Table) -> Outcome | None:
        """When the events came; None without an event or a measurement."""
        if not self.events or not len(table):
            return None
        columns = {name: float_values(table[name]) for name in self.columns() if name in table.column_names}
        reason = row.stop_reason if row.state == TrialState.STOPPED else None
        return outcome(table["step"].to_numpy(), columns, self.events, stop_reason=reason).by(self.horizon_steps)

    def phase(self, outcome: Outcome | None) -> str | None:
        """The phase; None where it is not known."""
        with suppress(KeyError):  # A phase may look at an event whose class is not known.
            return outcome.phase(self.phases) or None if outcome else None
        return None


@dataclass(frozen=True)
class TrialRecord:
    """One trial in its sweep."""

    place: int
    """Its position in the sweep."""
    trial_id: str
    coordinates: Mapping[str, Any]
    row: TrialRow | None
    """None: nobody has begun it."""
    outcome: Outcome | None
    phase: str | None
    values: Mapping[str, Any]
    """The columns of the module's docstring, by name."""
    table: pa.Table
    """The measurements that were read."""

    @property
    def state(self) -> str:
        return self.row.state if self.row else MISSING


class SweepRecords:
    """The trials of one sweep as flat rows."""

    def __init__(self, ledger: Ledger, sweep: SweepRow) -> None:
        self._ledger = ledger
        self.sweep = sweep
        self.rows = ledger.trials(sweep.trial_ids)
        self._places: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
        placed = zip(sweep.trial_ids, parse_json(sweep.coordinates_json, for_terminal=False), strict=True)
        for place, (trial_id, coordinates) in enumerate(placed):
            self._places.setdefault(trial_id, []).append((place, coordinates))
        self._asked: dict[str | None, Asked] = {}
        # Without what the sweep asks (a stranger's, or an old one) each trial's own configuration says it.
        with suppress(ConfigError, LookupError, TypeError, AttributeError):
            asked = protocols(parse_json(sweep.axes_json, for_terminal=False), sweep.horizon_steps)
            self._asked = {arm: Asked(**fields) for arm, fields in asked.items() if fields["events"]}

    @property
    def axes(self) -> list[str]:
        """The names of all coordinates, in the order in which the trials bring them up."""
        return list(dict.fromkeys(name for places in self._places.values() for _, each in places for name in each))

    @property
    def events(self) -> list[str]:
        """The names of all events that are asked of some trial, in order."""
        return list(dict.fromkeys(rule.name for asked in self._every_asked() for rule in asked.events))

    def names(self) -> list[str]:
        """Every column that some trial may have."""
        configs = {row.config_json for row in self.rows.values()}
        flats = (flat(parse_json(text, for_terminal=False)) for text in configs)
        outcomes = (name for asked in self._every_asked() for rule in asked.events for name in _outcome_names(rule))
        return list(
            dict.fromkeys(
                [
                    *("trial_id", "sweep", *ROW),
                    *(f"{AXIS}{name}" for name in self.axes),
                    *(name for each in flats for name in each),
                    *outcomes,
                    "phase",
                    *(f"{FINAL}{name}" for name in self._ledger.probes()),
                ]
            )
        )

    def read(self, finals: Collection[str] | None = ()) -> Iterator[TrialRecord]:
        """Yield each trial once for each of its places, in the order of trial ids, a few in memory at a time.

        :param finals: the probes whose last values are wanted; None: all of them, and whole measurements with them.
        """
        columns = None
        if finals is not None:
            events = (name for asked in self._every_asked() for name in asked.columns())
            columns = list(dict.fromkeys([*events, *finals]))
        for trial_id, table in self._ledger.iter_trajectories(sorted(self._places), columns):
            row = self.rows.get(trial_id)
            wanted = [name for name in probe_columns(table.column_names) if finals is None or name in finals]
            for place, coordinates in self._places[trial_id]:
                asked = self._asked_of(coordinates, row)
                outcome = asked.outcome(row, table) if row else None
                values: dict[str, Any] = {"trial_id": trial_id, "sweep": self.sweep.name}
                values |= {name: getattr(row, name, None) for name in ROW} | {"state": row.state if row else MISSING}
                values |= {f"{AXIS}{name}": value for name, value in coordinates.items()}
                values |= flat(parse_json(row.config_json, for_terminal=False)) if row else {}
                phase = asked.phase(outcome)
                if outcome:  # An event may be called ``state``.
                    values = _outcome_values(outcome) | {"phase": phase} | values
                by_horizon = table.slice(0, int(np.searchsorted(table["step"], asked.horizon_steps, side="right")))
                values |= {f"{FINAL}{name}": last(by_horizon, name) for name in wanted if len(table)}
                yield TrialRecord(place, trial_id, coordinates, row, outcome, phase, values, table)

    def _every_asked(self) -> list[Asked]:
        return [*self._asked.values()] or [*{Asked.by_itself(row): None for row in self.rows.values()}]

    def _asked_of(self, coordinates: Mapping[str, Any], row: TrialRow | None) -> Asked:
        if not self._asked:
            return Asked.by_itself(row)
        return self._asked.get(coordinates.get("arm")) or self._asked.get(None) or Asked((), ())


def flat(values: Mapping[str, Any], prefix: str = CONFIG) -> dict[str, Any]:
    """Nested JSON under dotted names; a component's class goes by the component's own name, a list is JSON."""
    named: dict[str, Any] = {}
    for name, value in values.items():
        if name == CLASS_KEY:
            named[prefix] = value
        elif isinstance(value, dict):
            named |= flat(value, f"{prefix}.{name}")
        else:
            named[f"{prefix}.{name}"] = canonical_json(value) if isinstance(value, list) else value
    return named


def last(table: pa.Table, name: str) -> float | None:
    """The last measured value of a probe."""
    measured = np.flatnonzero(table[name].is_valid().to_numpy())
    return table[name][int(measured[-1])].as_py() if len(measured) else None


def _outcome_names(rule: EventRule) -> Iterator[str]:
    yield rule.name
    for threshold in rule.thresholds:
        yield from (f"{rule.key(threshold)}_{name}" for name in ("kind", *TIMES))


def _outcome_values(known: Outcome) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for rule in known.rules:
        headline = known.event(rule.name)
        values[rule.name] = headline.time_steps if headline.occurred else None
        for threshold in rule.thresholds:
            event, key = known.event(rule.name, threshold), rule.key(threshold)
            values[f"{key}_kind"] = str(event.kind)
            for name in TIMES:
                steps = getattr(event, name)
                values[f"{key}_{name}"] = int(steps) if math.isfinite(steps) else None
    return values


def _rules(values: Any) -> Sequence[Any]:
    rules = []
    for value in values if isinstance(values, list) else ():
        with suppress(ConfigError):
            rules.append(from_json(value))
    return rules
