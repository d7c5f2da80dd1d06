"""What may be in a row: checked when it is written, and whenever it is read, since a ledger may be somebody else's.

A row that is not sound is left out by every reader and reported by ``verify``; its file is never rewritten.
"""

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from pipeline.ledger.files import LedgerError
from pipeline.ledger.layout import check_name
from pipeline.ledger.sweep_row import SweepRow
from trainables.engine.config import CLASS_KEY, parse_json
from trainables.engine.errors import one_line
from trainables.engine.events import StopReason
from trainables.engine.terminal import shown
from trainables.runtime.rows import ErrorKind, TrialRow, TrialState

MOST_STEPS = 1 << 40
"""A step lies below it: rows are ordered by ``trial << 40 | step``."""
SCHEMA_VERSION = 2
"""The version of every file in a ledger; a reader refuses any other."""
_LONGEST = 1000
_ADDED = {"traceback": None}
"""The fields that trial rows of older ledgers lack, and what they have instead."""
_EARLIEST, _LATEST = 1971, 9998


class UnsoundError(LedgerError):
    """A row has a value that no ledger of ours has: which, and what is allowed."""


@dataclass(frozen=True)
class Conflict:
    """A trial for which different values were committed for one step."""

    trial_id: str
    rows: int
    first_step: int
    columns: tuple[str, ...]


def trial_row(values: Mapping[str, Any]) -> TrialRow:
    """Make a trial row of what a file says.

    :raises UnsoundError: naming the first field that is missing or unsound.
    """
    values = _ADDED | dict(values)
    missing = [spec.name for spec in fields(TrialRow) if spec.name not in values]
    where = f"trial {_shown(values.get('trial_id'))}"
    if missing:
        raise UnsoundError(f"{where} has no {missing[0]}")
    _checked_name("trial_id", values["trial_id"])
    _one_of(where, "state", values["state"], list(TrialState))
    _one_of(where, "stop_reason", values["stop_reason"], [None, *StopReason])
    _one_of(where, "error_kind", values["error_kind"], [None, *ErrorKind])
    _count(where, "last_step", values["last_step"])
    train_s = values["train_s"]
    if isinstance(train_s, bool) or not isinstance(train_s, int | float) or not 0 <= train_s < math.inf:
        raise UnsoundError(f"{where}: train_s = {_shown(train_s)}: must be a number of seconds")
    for name in ("device_kind", "data_fingerprint", "source_hash"):
        _text(where, name, values[name])
    _time(where, "committed_at", values["committed_at"])
    _object(where, "config_json", values["config_json"])
    _object(where, "provenance_json", values["provenance_json"])
    for name in ("error", "traceback"):
        if not isinstance(values[name], str | None):
            raise UnsoundError(f"{where}: {name} = {_shown(values[name])}: must be text")
    error, traceback = values["error"], values["traceback"]
    texts = {"error": error and shown(error), "traceback": traceback and shown_lines(traceback)}
    own = {spec.name: values[spec.name] for spec in fields(TrialRow)}
    return TrialRow(**own | texts | {"state": TrialState(values["state"])})


def sweep_row(record: Any, stem: str) -> SweepRow:
    """Make a sweep's row of what its file says.

    :param stem: the file's name, without ``.json``.
    :raises UnsoundError: naming the first field that is missing or unsound.
    """
    where = f"sweep {stem}"
    names = [spec.name for spec in fields(SweepRow)]
    if not isinstance(record, Mapping) or (missing := [name for name in names if name not in record]):
        raise UnsoundError(f"{where} has no {missing[0] if isinstance(record, Mapping) else 'fields'}")
    if record.get("schema_version") != SCHEMA_VERSION:
        raise UnsoundError(f"{where} was written by another version of grokscape")
    if record["name"] != stem:
        raise UnsoundError(f"{where}: name = {_shown(record['name'])}: must be the file's")
    trial_ids = record["trial_ids"]
    if not isinstance(trial_ids, list | tuple):
        raise UnsoundError(f"{where}: trial_ids = {_shown(trial_ids)}: must be a list")
    for trial_id in trial_ids:
        _checked_name(f"{where}: trial_id", trial_id)
    if not isinstance(record["doc"], str):
        raise UnsoundError(f"{where}: doc = {_shown(record['doc'])}: must be text")
    _text(where, "revision", record["revision"])
    _time(where, "recorded_at", record["recorded_at"])
    _count(where, "horizon_steps", record["horizon_steps"])
    coordinates = _json(where, "coordinates_json", record["coordinates_json"])
    if not isinstance(coordinates, list) or not all(isinstance(each, dict) for each in coordinates):
        raise UnsoundError(f"{where}: coordinates_json: must be a list of objects")
    if len(coordinates) != len(trial_ids):
        raise UnsoundError(f"{where}: has {len(trial_ids)} trials, but coordinates of {len(coordinates)}")
    if not isinstance(_json(where, "axes_json", record["axes_json"]), dict | list):
        raise UnsoundError(f"{where}: axes_json: must be an object")
    own = {name: record[name] for name in names}
    return SweepRow(**own | {"trial_ids": tuple(trial_ids), "doc": shown_lines(record["doc"])})


def shown_lines(text: str) -> str:
    """Escape each line of a string for a terminal."""
    return "\n".join(map(shown, text.expandtabs().split("\n")))


def conflict(values: Mapping[str, Any]) -> Conflict:
    """Make a conflict of what a manifest says.

    :raises ValueError, KeyError, TypeError: when it is none.
    """
    try:
        _checked_name("trial_id", values["trial_id"])
        _count("conflict", "rows", values["rows"])
        _count("conflict", "first_step", values["first_step"])
    except UnsoundError as error:
        raise ValueError(str(error)) from None
    return Conflict(values["trial_id"], values["rows"], values["first_step"], tuple(map(str, values["columns"])))


def _shown(value: Any) -> str:
    """A value in a message: cut, and nothing that a number of many digits or a deep list could stop."""
    if isinstance(value, str):
        return ascii(value[:60])
    return str(value) if value is None or isinstance(value, bool | float) else f"a value of type {type(value).__name__}"


def _checked_name(what: str, value: Any) -> None:
    try:
        check_name(what, value)
    except LedgerError:
        allowed = "must be at most 200 letters, digits, '_', '-', inner dots and '@'"
        raise UnsoundError(f"{what} = {_shown(value)}: {allowed}") from None


def _one_of(where: str, name: str, value: Any, allowed: list[Any]) -> None:
    if not isinstance(value, str | None) or value not in allowed:
        raise UnsoundError(f"{where}: {name} = {_shown(value)}; allowed: {', '.join(map(str, allowed))}")


def _count(where: str, name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MOST_STEPS:
        raise UnsoundError(f"{where}: {name} = {_shown(value)}: must be an integer in [0, 2^40)")


def _text(where: str, name: str, value: Any) -> None:
    if not isinstance(value, str) or len(value) > _LONGEST or shown(value) != value:
        raise UnsoundError(f"{where}: {name} = {_shown(value)}: must be at most {_LONGEST} printable characters")


def _time(where: str, name: str, value: Any) -> None:
    try:
        good = value == "" or _EARLIEST <= datetime.fromisoformat(value).year <= _LATEST
    except (ValueError, TypeError):
        good = False
    if not good:
        raise UnsoundError(f"{where}: {name} = {_shown(value)}: must be a time, as ISO 8601 writes it")


def _json(where: str, name: str, text: Any) -> Any:
    try:
        return parse_json(text) if isinstance(text, str) else _no_text()
    except ValueError as error:
        raise UnsoundError(f"{where}: {name}: {one_line(error)}") from None


def _no_text() -> Any:
    raise ValueError("must be text")


def _object(where: str, name: str, text: Any) -> None:
    """Check that a string is a JSON object whose classes are named by strings."""
    reason = _no_object(text) if isinstance(text, str) else "must be text"
    if reason:
        raise UnsoundError(f"{where}: {name}: {reason}")


@functools.lru_cache(maxsize=1 << 14)  # a trial's rows have one text
def _no_object(text: str) -> str:
    """Return why a string is not such an object, or an empty string."""
    try:
        value = parse_json(text, for_terminal=False)
    except ValueError as error:
        return one_line(error)
    if not isinstance(value, dict):
        return "must be an object"
    for name in ("events", "phases"):
        if not isinstance(value.get(name, []), list) or not all(isinstance(rule, dict) for rule in value.get(name, [])):
            return f"{name}: must be a list of objects"
    parts: list[Any] = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            name = part.get(CLASS_KEY, "")
            if not isinstance(name, str) or not _names_component(name):
                return f"class = {_shown(name)}: must be the name of a component"
            parts += [each for each in part.values() if type(each) in _NESTED]
        else:
            parts += [each for each in part if type(each) in _NESTED]
    return ""


_NESTED = (dict, list)


@functools.lru_cache(maxsize=1 << 10)
def _names_component(name: str) -> bool:
    return all(map(str.isidentifier, re.split("[.:]", name or "_")))
