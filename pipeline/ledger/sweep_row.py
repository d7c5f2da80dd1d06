"""A sweep as a ledger stores it, and what it asks of its trials."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from trainables.engine.config import from_json
from trainables.engine.events import EventRule, PhaseRule

_Rule = TypeVar("_Rule", EventRule, PhaseRule)


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """The trials of a sweep and what its space says, so that a reader needs no space file."""

    name: str
    doc: str
    axes_json: str
    trial_ids: tuple[str, ...]
    """In the order of the space."""
    coordinates_json: str
    """A JSON list with one object a trial, in the same order."""
    horizon_steps: int
    revision: str
    """A digest of the space's text."""
    recorded_at: str
    """UTC, ISO 8601."""


def protocols(design: Mapping[str, Any], horizon_steps: int) -> dict[str | None, dict[str, Any]]:
    """What a sweep asks of the trials of each arm, and under None of the others: ``horizon_steps``, ``events`` (its
    own, then those of other arms) and ``phases``.

    :param design: what ``axes_json`` says.
    :raises ConfigError: for a rule that is none.
    """
    arms = {arm["name"]: arm for arm in design.get("arms", ())}
    declared = {name: _rules(arm, "events") for name, arm in (arms or {None: design}).items()}
    every = tuple(rule for rules in declared.values() for rule in rules)
    asked: dict[str | None, dict[str, Any]] = {}
    for name, part in {None: design, **arms}.items():
        own = declared.get(name, ())
        asked[name] = {
            "horizon_steps": part.get("horizon_steps") or horizon_steps,
            "events": by_name((*own, *every)),
            "phases": _rules(part, "phases"),
        }
    return asked


def by_name(rules: Iterable[_Rule]) -> tuple[_Rule, ...]:
    """The first rule of each name."""
    first: dict[str, _Rule] = {}
    for rule in rules:
        first.setdefault(rule.name, rule)
    return tuple(first.values())


def _rules(part: Mapping[str, Any], kind: str) -> tuple[Any, ...]:
    return tuple(from_json(rule) for rule in part.get(kind, ()))
