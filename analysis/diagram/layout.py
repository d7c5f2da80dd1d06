"""The layout of a diagram: which axes are drawn, and which cell each trial falls into.

Seeds are replicates: they are pooled in a cell.  Settings never are, with two exceptions, which the subtitle names: an
axis that was sampled and is not drawn is pooled over its distribution, and so is one that the user asks to pool.  There
are three layouts:

* axes that only some arms have, or a single axis: a row of cells, the second dimension being time;
* two axes: a grid of cells;
* more grid axes than two: their combinations with the vertical axis.

Each of them may be drawn once for every value of a further axis, its facet, as panels beside each other.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from analysis.data.sweep import ARM, Sweep, is_replicate
from trainables.engine.errors import GrokscapeError

ABSENT = "–"
"""The tick of trials that do not have the axis."""
MANY_VALUES = 12
"""A numeric axis with more distinct values than this is drawn in bins."""
BINS = 8
GAP = 0.25
"""Of a cell, between a zero and the logarithmic scale beside it."""
UNIFORM = re.compile(r"(Log)?Uniform \w+\(([-+.\de]+), ([-+.\de]+)\)$")
"""A sampled axis's domain as a sweep's design describes it: ``LogUniform Float(0.0001, 0.1)``."""


class AxisError(GrokscapeError):
    """An axis that the sweep does not have: one line naming what is allowed."""


@dataclass(frozen=True)
class Bins:
    """The bins of an axis, on which a value has a place of its own."""

    path: str
    """The axis in full."""
    low: float
    high: float
    logarithmic: bool
    zero: bool
    """Whether a zero is apart."""

    def place(self, value: float) -> float:
        """Where a value is, in cells, as :meth:`Axis.at` counts."""
        if self.zero and value == 0:
            return 0.0
        if self.logarithmic:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return part * BINS - 0.5 + self.zero * (1 + GAP)


@dataclass(frozen=True)
class Axis:
    """One direction of the picture."""

    label: str
    ticks: tuple[str, ...]
    groups: tuple[str, ...] = ()
    """In a row of cells, what each tick's values belong to (an arm and its axes); empty where that adds nothing."""
    numeric: bool = False
    """Whether every tick is a number, or a range of numbers."""
    apart: tuple[int, ...] = ()
    """The ticks that have a gap after them: a zero, which has no place on a logarithmic scale."""
    bins: Bins | None = None
    """Of an axis that is drawn in bins."""

    def at(self, tick: int) -> float:
        """The place of a tick, in cells."""
        return tick + GAP * sum(tick > zero for zero in self.apart)

    @property
    def cells(self) -> float:
        """The length of the axis, in cells."""
        return self.at(len(self.ticks) - 1) + 1


@dataclass(frozen=True)
class Layout:
    """The axes and each trial's place on them, in the order of the sweep's trials."""

    x: Axis
    y: Axis | None
    places: tuple[tuple[int, int], ...]
    """(x, y) indices of each trial; y is 0 in a row of cells."""
    pooled: tuple[str, ...]
    """Axes that are not drawn: a cell holds several values of them."""
    facet: Axis | None = None
    """Its ticks are the panels' titles."""
    panels: tuple[int, ...] = ()
    """The panel of each trial; empty without a facet."""


def axis_words(axis: str) -> str:
    """``weight decay`` for ``optimizer.weight_decay``."""
    return axis.rpartition(".")[2].replace("_", " ")


def setting_words(setting: Mapping[str, Any]) -> str:
    """``AdamW, weight decay 0.5``: a setting's coordinates, its arm by its name alone."""
    return ", ".join(
        str(value) if name == ARM else f"{axis_words(name)} {tick_text(value)}" for name, value in setting.items()
    )


def find_axis(sweep: Sweep, option: str, given: str | None) -> str | None:
    """The axis that ``--x`` or ``--y`` names: in full, or by an ending that only one axis has.

    :raises AxisError: naming what is allowed.
    """
    axes = sweep.axes()
    if given is None or given in axes:
        return given
    matches = [axis for axis in axes if axis.endswith(f".{given}")]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise AxisError(f"{option} {given}: could be {' or '.join(matches)}")
    allowed = f"allowed: {', '.join(axes)}" if axes else f"{sweep.name} has no axis"
    raise AxisError(f"{option} {given}: no such axis; {allowed}")


def fixed(sweep: Sweep, fix: Sequence[str]) -> Sweep:
    """The sweep's trials with these values, ``["train_fraction=0.4"]``; a number may be written in any way.

    :raises AxisError: for an axis that the sweep does not have, or a value that it does not take.
    """
    for text in fix:
        name, sign, value = text.partition("=")
        axis = find_axis(sweep, "--fix", name)
        if not sign or axis is None:
            raise AxisError(f"--fix {text}: must be AXIS=VALUE")
        values = [each for each in sweep.values(axis) if _is(each, value)]
        if not values:
            allowed = ", ".join(map(tick_text, sweep.values(axis)))
            raise AxisError(f"--fix {text}: {name} must be one of: {allowed}")
        trials = (trial for trial in sweep.trials if trial.coordinates.get(axis, ABSENT) == values[0])
        sweep = replace(sweep, trials=tuple(trials))
    return sweep


def _is(value: Any, text: str) -> bool:
    """Whether what the user wrote is an axis's value; numbers may be written in any way (``.3`` is ``0.3``)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value) == text
    try:
        return float(text) == float(tick_text(value)) or float(text) == value
    except ValueError:
        return False


def lay_out(
    sweep: Sweep, x: str | None = None, y: str | None = None, pool: Sequence[str] = (), facet: str | None = None
) -> Layout:
    """Place every trial.

    :param x: the horizontal axis, in full or by its ending; by default what the sweep's own shape suggests.
    :param y: likewise, the vertical axis.
    :param pool: axes whose values are pooled in each cell, as seeds are.
    :param facet: the axis that has a panel for each of its values.
    :raises AxisError: for an axis that the sweep does not have, or the same one twice.
    """
    x, y, facet = find_axis(sweep, "--x", x), find_axis(sweep, "--y", y), find_axis(sweep, "--facet", facet)
    asked = [name for name in (find_axis(sweep, "--pool", given) for given in pool) if name is not None]
    if x is not None and x == y:
        raise AxisError(f"--y {y}: is the horizontal axis already; pass another axis, or none")
    if twice := [name for name in asked if name in (x, y)]:
        raise AxisError(f"--pool {twice[0]}: is drawn; it must be drawn or pooled")
    if facet is not None and facet in (x, y, *asked):
        raise AxisError(f"--facet {facet}: is {'pooled' if facet in asked else 'drawn'} already; pass another axis")
    points = [trial.coordinates for trial in sweep.trials]
    domains = {axis["path"]: str(axis.get("domain", "")) for axis in sweep.design.get("axes", ())}
    scales = {name: _Scale(name, points, domains.get(name, "")) for name in sweep.axes()}
    varying = [name for name, scale in scales.items() if not is_replicate(name) and scale.varies and name not in asked]
    drawn = {name for name in varying if name in sweep.sampled and scales[name].binned}
    nested = any(name not in point for point in points for name in varying)
    others = [name for name in varying if name not in (x, y, facet)]
    if x is None and y is not None:
        x, y = (others.pop(0), y) if others else (y, None)
    elif y is None and not nested:
        if x is None and len(others) > 1 and others[0] == ARM:
            others.append(others.pop(0))  # arms read best as rows
        if x is None and others:
            x = others.pop(0)
        if y is None and others:
            y = others.pop(0)
    if nested and x is None:
        others, x = others[1:], others[0]
    grid = [name for name in others if name not in drawn]
    pooled = (*asked, *(name for name in others if name in drawn))
    if y is None:
        names = sorted([name for name in (x, *grid) if name is not None], key=lambda name: name != ARM)
        axis, indices = _row([*filter(None, [facet]), *names], scales, points, facet)
        return Layout(axis, None, tuple((index, 0) for index in indices), pooled, **_panels(facet, scales, points))
    assert x is not None
    x_axis, columns = _joined([x], scales, points)
    y_axis, rows = _joined([y, *grid], scales, points)
    places = tuple(zip(columns, rows, strict=True))
    return Layout(x_axis, y_axis, places, pooled, **_panels(facet, scales, points))


def _panels(facet: str | None, scales: Mapping[str, "_Scale"], points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if facet is None:
        return {}
    axis, panels = _joined([facet], scales, points)
    titles = axis.ticks if facet == ARM else (f"{axis.label} {tick}" for tick in axis.ticks)
    return {"facet": replace(axis, ticks=tuple(titles)), "panels": tuple(panels)}


class _Scale:
    """The values of one axis in their order, as ticks."""

    def __init__(self, name: str, points: Sequence[Mapping[str, Any]], domain: str) -> None:
        self.name = name
        values = list(dict.fromkeys(point[name] for point in points if name in point))
        self.absent = any(name not in point for point in points)
        self.varies = len(values) + self.absent > 1
        self.numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        self.binned = self.numeric and len(values) > MANY_VALUES
        self.values = sorted(values) if self.numeric else values
        self.edges, zero = np.array([]), False
        self.bins: Bins | None = None
        if self.binned:
            self.edges, logarithmic, zero = _bin_edges(values, domain)
            self.bins = Bins(name, float(self.edges[0]), float(self.edges[-1]), logarithmic, zero)
            ranges = [f"{low:.2g}–{high:.2g}" for low, high in pairwise(self.edges)]
            self.ticks = ["0"] * zero + ranges
        else:
            self.ticks = [tick_text(value) for value in self.values]
        self.zero_apart = zero or (self.numeric and not self.binned and _is_apart(self.values))

    def index(self, point: Mapping[str, Any]) -> int:
        """The position of a trial; one past the last where it does not have the axis."""
        if self.name not in point:
            return len(self.ticks)
        if self.binned:
            zero = self.zero_apart
            if zero and point[self.name] == 0:
                return 0
            inside = int(np.searchsorted(self.edges, point[self.name], side="right")) - 1
            return min(max(inside, 0), len(self.edges) - 2) + zero
        return self.values.index(point[self.name])

    def tick(self, index: int) -> str:
        return self.ticks[index] if index < len(self.ticks) else ABSENT


def tick_text(value: Any) -> str:
    """A value as a tick shows it."""
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _bin_edges(values: Sequence[float], domain: str) -> tuple[np.ndarray, bool, bool]:
    """Even edges over the domain on its own scale, where it is not known over the values.

    And whether the scale is logarithmic, and a zero apart from it.

    Their scale is logarithmic where they are positive, but for a zero, and span two decades.
    """
    positive = [float(value) for value in values if value]
    low, high = min(positive), max(positive)
    logarithmic = low > 0 and high / low >= 100
    if known := UNIFORM.search(domain):
        logarithmic, low, high = bool(known[1]), float(known[2]), float(known[3])
    zero = logarithmic and 0 in values
    if logarithmic:
        return np.geomspace(low, high, BINS + 1), True, zero
    low, high = (low, high) if known else (min(low, *values), max(high, *values))
    return np.linspace(low, high, BINS + 1), False, False


def _is_apart(values: Sequence[float]) -> bool:
    """Whether values are a zero and others that are more even on a logarithmic scale than with it on a linear one."""
    if len(values) < 3 or values[0] != 0:
        return False
    steps = np.diff(values)
    ratios = np.diff(np.log(values[1:]))
    return bool(ratios.max() / ratios.min() < 0.8 * steps.max() / steps.min())


def _joined(
    names: Sequence[str], scales: Mapping[str, _Scale], points: Sequence[Mapping[str, Any]]
) -> tuple[Axis, list[int]]:
    """The combinations of these axes that occur, in order, as one axis; and each trial's index on it."""
    keys = [tuple(scales[name].index(point) for name in names) for point in points]
    order = _order(names, scales, keys)
    ticks = tuple(" · ".join(scales[name].tick(i) for name, i in zip(names, key, strict=True)) for key in order)
    label = " · ".join(axis_words(name) for name in names)
    numeric = all(scales[name].numeric for name in names)
    bins = scales[names[0]].bins if len(names) == 1 else None
    axis = Axis(label, ticks, numeric=numeric, apart=_apart(names, scales, order), bins=bins)
    return axis, _ranks(order, keys)


def _apart(names: Sequence[str], scales: Mapping[str, _Scale], order: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The places of a zero that is set apart from the next place, which differs by nothing else."""
    places = []
    for place, (key, following) in enumerate(pairwise(order)):
        changed = [(name, i) for name, i, j in zip(names, key, following, strict=True) if i != j]
        if len(changed) == 1 and changed[0][1] == 0 and scales[changed[0][0]].zero_apart:
            places.append(place)
    return tuple(places)


def _row(
    names: Sequence[str], scales: Mapping[str, _Scale], points: Sequence[Mapping[str, Any]], facet: str | None
) -> tuple[Axis, list[int]]:
    """As :func:`_joined`, with what a cell's values belong to apart from the values; without the facet's."""
    if not names:
        return Axis("", ("all trials",)), [0] * len(points)
    keys = [tuple(scales[name].index(point) for name in names) for point in points]
    order = _order(names, scales, keys)
    ticks, groups = [], []
    for key in order:
        tick_of = {
            name: scales[name].tick(index)
            for name, index in zip(names, key, strict=True)
            if index < len(scales[name].ticks)
        }
        arm, panel = tick_of.pop(ARM, None), tick_of.pop(facet or "", None)
        ticks.append(" · ".join(tick_of.values()) or arm or panel or ABSENT)
        own = " · ".join(axis_words(name) for name in tick_of)
        groups.append((own if facet == ARM else f"{arm}, {own}") if arm and own else "")
    label = " · ".join(axis_words(name) for name in names if name not in (ARM, facet)) or ARM
    axis = Axis(label, tuple(ticks), tuple(groups) if any(groups) else (), apart=_apart(names, scales, order))
    return axis, _ranks(order, keys)


def _order(
    names: Sequence[str], scales: Mapping[str, _Scale], keys: Sequence[tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """The places that occur, in order; of a single binned axis every bin, empty ones too."""
    bins = range(len(scales[names[0]].ticks)) if len(names) == 1 and scales[names[0]].binned else ()
    return sorted({*keys, *((place,) for place in bins)})


def _ranks(order: Sequence[tuple[int, ...]], keys: Sequence[tuple[int, ...]]) -> list[int]:
    """The place of each key in the order."""
    places = {key: place for place, key in enumerate(order)}
    return [places[key] for key in keys]
