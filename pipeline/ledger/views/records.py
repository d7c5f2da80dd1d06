"""One flat row a trial: its place in a sweep, its configuration, how far it is, and when its events came.

The names of the columns, which every view shares, as do the tables of :mod:`analysis.results`:

==========================  ========================================================================================
``trial_id``, ``sweep``     which trial, of which sweep
``weight_decay``, ``seed``  its axes, by the ends of their paths; by the whole path where two end alike
``state``, ``last_step``    how far it is; the state of a trial that nobody has begun is ``missing``
``phase``                   by the events; ``unfinished`` where one may yet come, ``other`` where none fits
``t_gen``                   when an event came, at its headline: the middle of its interval; null where it did not
``t_gen_kind``, ...         what came of it, and the ends of its interval in steps; ``t_gen_90_kind``: a threshold's
``final_test_accuracy``     the last measured value of a probe
``optimizer.weight_decay``  its configuration by whole paths; a component's own path holds the name of its class
``error``, ``train_s``      what else its row says
==========================  ========================================================================================

An outcome is what the sweep asks: its own events, by its own horizon, whatever else the trial was run for.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.ledger.ledger import Ledger
from pipeline.ledger.rows import float_values, probe_columns
from pipeline.ledger.sweep_row import SweepRow, protocols
from trainables.engine.config import CLASS_KEY, ConfigError, canonical_json, from_json, parse_json
from trainables.engine.events import TIMES, EventKind, EventRule, Outcome, PhaseRule, outcome
from trainables.runtime.rows import TrialRow, TrialState

FINAL = "final_"
MISSING = "missing"
"""The state of a trial that the sweep names and nobody has begun, and the phase of one without measurements."""
UNFINISHED = "unfinished"
"""The phase of a trial that was not followed to the horizon, and may yet change."""
OTHER = "other"
"""The phase of a trial that none of the declared ones fits."""
HOW_FAR = ("state", "stop_reason", "last_step")
ROW = ("error", "error_kind", "train_s", "device_kind", "source_hash", "committed_at")
"""The fields of a trial's row that are columns as they are."""
NOT_COLUMNS = ("events", "phases", "probes")
"""Lists of components in a configuration; what they make has columns."""


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
        """The phase so far; None where it is not known."""
        with suppress(KeyError):  # A phase may look at an event whose class is not known.
            return outcome.phase(self.phases) or None if outcome else None
        return None

    def phase_by_horizon(self, row: TrialRow, outcome: Outcome) -> str | None:
        """The phase as :func:`phase_by` has it; None where it is not known."""
        complete = row.stop_reason is not None or row.last_step >= self.horizon_steps
        with suppress(KeyError):  # A phase may look at an event whose class is not known.
            return phase_by(outcome, self.phases, self.horizon_steps, complete=complete)
        return None


def phase_by(known: Outcome, phases: Sequence[PhaseRule], tau_steps: float, *, complete: bool) -> str:
    """The first phase that fits by tau; :data:`UNFINISHED` where an event that it depends on may yet come.

    :param known: what is known at tau.
    :param complete: whether the trial was followed to tau, or ended for a reason that settles it.
    :raises KeyError: when a phase looks at an event that was not evaluated.
    """
    name = known.phase(phases)
    for phase in phases:
        events = [known.event(event) for event in phase.events]
        if any(event.kind == EventKind.CENSORED and event.low_steps < tau_steps for event in events):
            return UNFINISHED
        if phase.name == name:
            return name
    return OTHER if complete else UNFINISHED


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
            known = {arm: Asked(**fields) for arm, fields in asked.items() if fields["events"]}
            if all(isinstance(each.horizon_steps, int | float) for each in known.values()):
                self._asked = known

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
        finals = (f"{FINAL}{name}" for name in self._ledger.probes())
        config = (name for each in flats for name in each)
        whose = ("trial_id", "sweep", *axis_columns(self.axes).values(), *HOW_FAR)
        return list(dict.fromkeys([*whose, "phase", *outcomes, *finals, *config, *ROW]))

    def read(self, finals: Collection[str] | None = ()) -> Iterator[TrialRecord]:
        """Yield each trial once for each of its places, in the order of trial ids, a few in memory at a time.

        :param finals: the probes whose last values are wanted; None: all of them, and whole measurements with them.
        """
        columns, axes, has_events = None, axis_columns(self.axes), bool(self.events)
        if finals is not None:
            events = (name for asked in self._every_asked() for name in asked.columns())
            columns = list(dict.fromkeys([*events, *finals]))
        for trial_id, table in self._ledger.iter_trajectories(sorted(self._places), columns):
            row = self.rows.get(trial_id)
            wanted = [name for name in probe_columns(table.column_names) if finals is None or name in finals]
            for place, coordinates in self._places[trial_id]:
                asked = self._asked_of(coordinates, row)
                outcome = asked.outcome(row, table) if row else None
                phase = asked.phase_by_horizon(row, outcome) if row and outcome else MISSING
                by_horizon = table.slice(0, int(np.searchsorted(table["step"], asked.horizon_steps, side="right")))
                values = {"trial_id": trial_id, "sweep": self.sweep.name}
                values |= {axes[name]: _plain(value) for name, value in coordinates.items()}
                parts = [
                    {name: getattr(row, name, None) for name in HOW_FAR} | {"state": row.state if row else MISSING},
                    _outcome_values(outcome) if outcome else {},
                    {"phase": phase} if has_events else {},
                    {f"{FINAL}{name}": last(by_horizon, name) for name in wanted if len(table)},
                    flat(parse_json(row.config_json, for_terminal=False)) if row else {},
                    {name: getattr(row, name, None) for name in ROW},
                ]
                for part in parts:  # An axis may be called ``loss``, and an event ``state``.
                    values |= {name: value for name, value in part.items() if name not in values}
                yield TrialRecord(place, trial_id, coordinates, row, outcome, phase, values, table)

    def _every_asked(self) -> list[Asked]:
        return [*self._asked.values()] or [*{Asked.by_itself(row): None for row in self.rows.values()}]

    def _asked_of(self, coordinates: Mapping[str, Any], row: TrialRow | None) -> Asked:
        if not self._asked:
            return replace(Asked.by_itself(row), horizon_steps=self.sweep.horizon_steps)
        arm = coordinates.get("arm")
        return self._asked.get(arm if isinstance(arm, str) else None) or self._asked.get(None) or Asked((), ())


def axis_columns(axes: Sequence[str]) -> dict[str, str]:
    """The column of each axis: the end of its path, or the whole path where that is not its own."""
    ends = Counter(axis.rpartition(".")[2] for axis in axes)
    taken = {"trial_id", "sweep", "step", "phase", *HOW_FAR, *ROW}
    return {axis: end if ends[end := axis.rpartition(".")[2]] == 1 and end not in taken else axis for axis in axes}


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration's JSON under dotted names; a component's path holds its class, and a list is JSON."""
    named: dict[str, Any] = {}
    for name, value in config.items():
        if name == CLASS_KEY:
            named[prefix.removesuffix(".") or CLASS_KEY] = value
        elif isinstance(value, dict):
            named |= flat(value, f"{prefix}{name}.")
        elif prefix or name not in NOT_COLUMNS:
            named[f"{prefix}{name}"] = _plain(value)
    return named


def _plain(value: Any) -> Any:
    return canonical_json(value) if isinstance(value, list | dict) else value


def last(table: pa.Table, name: str) -> float | None:
    """The last measured value of a probe."""
    measured = np.flatnonzero(table[name].is_valid().to_numpy())
    return table[name][int(measured[-1])].as_py() if len(measured) else None


def _stems(rule: EventRule) -> dict[str, float]:
    """The beginnings of an event's columns: its name for the headline, and one for each threshold."""
    return {rule.name: rule.shown} | {rule.key(threshold): threshold for threshold in rule.thresholds}


def _outcome_names(rule: EventRule) -> Iterator[str]:
    yield rule.name
    yield from (f"{stem}_{name}" for stem in _stems(rule) for name in ("kind", *TIMES))


def _outcome_values(known: Outcome) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for rule in known.rules:
        headline = known.event(rule.name)
        values[rule.name] = headline.time_steps if headline.occurred else None
        for stem, threshold in _stems(rule).items():
            event = known.event(rule.name, threshold)
            values[f"{stem}_kind"] = str(event.kind)
            for name in TIMES:
                steps = getattr(event, name)
                values[f"{stem}_{name}"] = int(steps) if math.isfinite(steps) else None
    return values


def _rules(values: Any) -> Sequence[Any]:
    rules = []
    for value in values if isinstance(values, list) else ():
        with suppress(ConfigError):
            rules.append(from_json(value))
    return rules
