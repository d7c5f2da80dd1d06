"""The axes of a sweep as columns of numbers: what a regression over them is fitted to.

A numeric axis with positive values is one column, log2 of the value, so that its coefficient is of a doubling; zero,
which has no logarithm, gets a column of its own, as its difference to the smallest positive value.  An axis with
negative values is one column as it is.  Any other axis has a column a level, as its difference to the first
(treatment coding).  A level at which the event never came tells nothing of its time; its trials are left out.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MANY_LEVELS = 12
"""A numeric axis with more values than this is sampled: it has no levels."""


@dataclass(frozen=True)
class Column:
    """One number a trial, and the change of it whose effect is reported."""

    axis: str
    group: Any
    """The group in which the axis is coded; None: in all trials."""
    has: np.ndarray
    """Which trials are coded, (n,) of bool; the others have 0."""
    values: np.ndarray
    """(n,)."""
    change: float
    """Of the column."""
    times: float = math.nan
    """What the change does to the axis: the factor by which the value grows (2: doubled); NaN: it goes from
    ``start`` to ``end``."""
    start: Any = None
    end: Any = None


@dataclass(frozen=True)
class Level:
    """A level of an axis, in a group or in all trials."""

    group: Any
    axis: str
    level: Any


@dataclass(frozen=True)
class Design:
    """Columns for the trials that a regression uses."""

    columns: tuple[Column, ...]
    used: np.ndarray
    """Which of the trials these are, (all trials,) of bool."""
    silent: tuple[Level, ...]
    """Those without an event: left out."""
    alone: tuple[Level, ...]
    """The only ones with an event, so that nothing is known of the axis."""
    confounded: tuple[Column, ...]
    """Left out, because the trials with the event do not tell them apart from the columns."""

    @property
    def matrix(self) -> np.ndarray:
        """(n, k)."""
        columns = [column.values for column in self.columns]
        return np.column_stack(columns) if columns else np.zeros((int(self.used.sum()), 0))


def is_number(value: Any) -> bool:
    """Whether a level can be more or less than another; True and False cannot.

    >>> is_number(0.5), is_number("float16"), is_number(True)
    (True, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool)


def design(settings: Sequence[Mapping[str, Any]], came: np.ndarray, groups: str = "") -> Design:
    """Code the axes that vary.

    :param settings: the level of each axis, by trial; an axis that a trial does not have is left out of its mapping.
    :param came: whether the event came in each trial.
    :param groups: an axis whose levels (arms) are things apart: every other axis is coded within each of them.

    >>> coded = design([{"decay": 1}, {"decay": 4}, {"decay": 0}, {"decay": 4}], np.array([1, 1, 0, 1], dtype=bool))
    >>> coded.matrix.ravel().tolist(), coded.silent
    ([0.0, 2.0, 2.0], (Level(group=None, axis='decay', level=0),))
    """
    axes = sorted(dict.fromkeys(axis for setting in settings for axis in setting), key=lambda axis: axis != groups)
    used = np.ones(len(settings), dtype=bool)
    silent: list[Level] = []
    alone: list[Level] = []
    coded: list[tuple[Level, np.ndarray, list[Any]]] = []
    for axis in axes:
        for group in [None] if axis == groups or not groups else _levels(each.get(groups) for each in settings):
            inside = np.array([axis in each and (group is None or each[groups] == group) for each in settings])
            every = _levels(each.get(axis) for each, one in zip(settings, inside, strict=True) if one)
            known = [level for level in every if (came & _at(settings, inside, axis, level)).any()]
            if len(every) < 2 or not known:
                continue
            slope = len(known) > 1 and all(map(is_number, every))
            for level in every:
                if level not in known and (not slope or level == 0):
                    used &= ~_at(settings, inside, axis, level)
                    silent.append(Level(group, axis, level))
            if len(known) > 1:
                coded.append((Level(group, axis, None), inside, known))
            else:
                alone.append(Level(group, axis, known[0]))
    kept = [setting for setting, use in zip(settings, used, strict=True) if use]
    columns = [
        column
        for where, inside, known in coded
        for column in _columns(where.axis, where.group, known, inside[used], kept)
    ]
    independent, confounded = _told_apart(columns, came[used])
    return Design(independent, used, tuple(silent), tuple(alone), confounded)


def _at(settings: Sequence[Mapping[str, Any]], inside: np.ndarray, axis: str, level: Any) -> np.ndarray:
    return inside & np.array([each.get(axis) == level for each in settings])


def level_columns(settings: Sequence[Mapping[str, Any]], groups: str = "") -> np.ndarray:
    """What p depends on: a column for each level of each axis, of sampled axes their (log) value and its square.

    :param groups: as of :func:`design`; the levels of other axes are told apart by group.
    :returns: (n, m); m is 0 where no axis varies.

    >>> level_columns([{"decay": 0}, {"decay": 1}, {"decay": 1}]).tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    """
    columns = []
    for axis in dict.fromkeys(axis for setting in settings for axis in setting):
        own = [setting.get(axis) for setting in settings]
        levels = _levels(own)
        if len(levels) > MANY_LEVELS and all(map(is_number, levels)):
            column = np.array([math.nan if level is None else float(level) for level in own])
            column = np.log(column) if np.nanmin(column) > 0 else column
            column = np.nan_to_num((column - np.nanmean(column)) / np.nanstd(column))
            columns += [column, column**2]
            continue
        keys = [
            None if level is None else (setting.get(groups), level)
            for setting, level in zip(settings, own, strict=True)
        ]
        if len(different := _levels(keys)) > 1:
            columns += [np.array([key == one for key in keys], dtype=float) for one in different]
    return np.column_stack(columns) if columns else np.zeros((len(settings), 0))


def _levels(values: Iterable[Any]) -> list[Any]:
    return [value for value in dict.fromkeys(values) if value is not None]


def _columns(
    axis: str, group: Any, levels: Sequence[Any], has: np.ndarray, settings: Sequence[Mapping[str, Any]]
) -> list[Column]:
    if not all(map(is_number, levels)):
        first, *others = levels
        return [
            Column(axis, group, has, _at(settings, has, axis, one).astype(float), 1.0, start=first, end=one)
            for one in others
        ]
    values = np.array([float(each[axis]) if one else math.nan for each, one in zip(settings, has, strict=True)])
    low, high = min(levels), max(levels)
    if low < 0:
        centre = sorted(levels)[len(levels) // 2]
        return [Column(axis, group, has, np.nan_to_num(values - centre), high - low, start=low, end=high)]
    positive = sorted(level for level in levels if level > 0)
    # A trial without the axis is put at a value that others have: a group is compared with another one there.
    middle, least, most = positive[(len(positive) - 1) // 2], positive[0], positive[-1]
    zero = values == 0
    logs = np.nan_to_num(np.log2(np.where(zero, least, values) / middle))
    columns = []
    if len(positive) > 1:
        span = most / least
        if span >= 2:
            times = 10.0 if span >= 1000 else 2.0
            columns.append(Column(axis, group, has, logs, math.log2(times), times))
        else:
            columns.append(Column(axis, group, has, logs, math.log2(span), start=least, end=most))
    if zero.any():
        columns.append(Column(axis, group, has, zero.astype(float), 1.0, start=least, end=0))
    return columns


def _told_apart(columns: Sequence[Column], came: np.ndarray) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    """Those that the trials with the event tell apart from the ones before, and the others."""
    kept: list[Column] = []
    others: list[Column] = []
    matrix = np.ones((int(came.sum()), 1))
    for column in columns:
        longer = np.column_stack([matrix, column.values[came]])
        if np.linalg.matrix_rank(longer) > matrix.shape[1]:
            kept.append(column)
            matrix = longer
        else:
            others.append(column)
    return tuple(kept), tuple(others)
