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
    """One number a trial, and the change of it whose effect is told."""

    axis: str
    values: np.ndarray
    """(n,)."""
    change: float
    """Of the column."""
    times: float = math.nan
    """What the change does to the axis: the value is so many times as large (2: doubled); NaN: it goes from
    ``start`` to ``end``."""
    start: Any = None
    end: Any = None


@dataclass(frozen=True)
class Design:
    """Columns for the trials that a regression uses."""

    columns: tuple[Column, ...]
    used: np.ndarray
    """Which of the trials these are, (all trials,) of bool."""
    silent: tuple[tuple[str, Any], ...]
    """(axis, level) without an event: left out."""
    alone: tuple[tuple[str, Any], ...]
    """(axis, level): the only one with an event, so nothing is known of the axis."""

    @property
    def matrix(self) -> np.ndarray:
        """(n, k)."""
        columns = [column.values for column in self.columns]
        return np.column_stack(columns) if columns else np.zeros((int(self.used.sum()), 0))


def is_number(value: Any) -> bool:
    """Whether a level can be more or less than another."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def design(settings: Sequence[Mapping[str, Any]], came: np.ndarray) -> Design:
    """Code the axes that vary.

    :param settings: the level of each axis, by trial; an axis that a trial does not have is left out of its mapping.
    :param came: whether the event came in each trial.

    >>> coded = design([{"decay": 1}, {"decay": 4}, {"decay": 0}, {"decay": 4}], np.array([1, 1, 0, 1], dtype=bool))
    >>> coded.matrix.ravel().tolist(), coded.silent
    ([-1.0, 1.0, 1.0], (('decay', 0),))
    """
    axes = list(dict.fromkeys(axis for setting in settings for axis in setting))
    used, silent = np.ones(len(settings), dtype=bool), []
    for axis in axes:
        levels = _levels(setting.get(axis) for setting in settings)
        slope = all(map(is_number, levels)) and len(levels) > 1
        for level in levels if len(levels) > 1 else ():
            has = np.array([setting.get(axis) == level for setting in settings])
            if not (came & has).any() and (not slope or level == 0):
                used &= ~has
                silent.append((axis, level))
    kept = [setting for setting, use in zip(settings, used, strict=True) if use]
    came = came[used]
    columns: list[Column] = []
    alone = []
    for axis in axes:
        every = _levels(setting.get(axis) for setting in settings)
        if len(every) < 2:
            continue
        known = _levels(setting.get(axis) for setting, one in zip(kept, came, strict=True) if one)
        levels = [level for level in every if level in known]
        if len(levels) < 2:
            alone += [(axis, level) for level in levels]
            continue
        columns += _columns(axis, levels, [setting.get(axis) for setting in kept])
    return Design(_independent(columns, came), used, tuple(silent), tuple(alone))


def level_columns(settings: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """A column for each level of each axis, of sampled axes their (log) value and its square: what p depends on."""
    columns = []
    for axis in dict.fromkeys(axis for setting in settings for axis in setting):
        own = [setting.get(axis) for setting in settings]
        levels = _levels(own)
        if len(levels) > MANY_LEVELS and all(map(is_number, levels)):
            column = np.array([0.0 if level is None else float(level) for level in own])
            column = np.log(column) if (column > 0).all() else column
            column = (column - column.mean()) / column.std()
            columns += [column, column**2]
        elif len(levels) > 1:
            columns += [np.array([level == one for level in own], dtype=float) for one in levels]
    return np.column_stack(columns) if columns else np.zeros((len(settings), 0))


def _levels(values: Iterable[Any]) -> list[Any]:
    return [value for value in dict.fromkeys(values) if value is not None]


def _columns(axis: str, levels: Sequence[Any], own: Sequence[Any]) -> list[Column]:
    if not all(map(is_number, levels)):
        first, *others = levels
        return [
            Column(axis, np.array([value == one for value in own], float), 1.0, start=first, end=one) for one in others
        ]
    values = np.array([math.nan if value is None else float(value) for value in own])
    low, high = min(levels), max(levels)
    if low < 0:
        centre = sorted(levels)[len(levels) // 2]
        return [Column(axis, np.nan_to_num(values - centre), high - low, start=low, end=high)]
    positive = sorted(level for level in levels if level > 0)
    # A trial without the axis is put at a value that others have: an arm is compared with another one there.
    middle, least, most = positive[(len(positive) - 1) // 2], positive[0], positive[-1]
    zero = values == 0
    logs = np.nan_to_num(np.log2(np.where(zero, least, values) / middle))
    columns = []
    if len(positive) > 1:
        span = most / least
        if span >= 2:
            times = 10.0 if span >= 1000 else 2.0
            columns.append(Column(axis, logs, math.log2(times), times))
        else:
            columns.append(Column(axis, logs, math.log2(span), start=least, end=most))
    if zero.any():
        columns.append(Column(axis, zero.astype(float), 1.0, start=least, end=0))
    return columns


def _independent(columns: Sequence[Column], came: np.ndarray) -> tuple[Column, ...]:
    """Those that the trials with the event tell apart from the ones before."""
    kept: list[Column] = []
    matrix = np.ones((int(came.sum()), 1))
    for column in columns:
        longer = np.column_stack([matrix, column.values[came]])
        if np.linalg.matrix_rank(longer) > matrix.shape[1]:
            kept.append(column)
            matrix = longer
    return tuple(kept)
