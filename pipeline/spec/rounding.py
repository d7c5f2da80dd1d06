"""Notes on values that differ from another, or from the number that was meant, by rounding only.

``np.arange(.1, .5, .1)`` has 0.30000000000000004 in the place of 0.3, and ``np.float32(.1)`` is 0.10000000149011612:
other trials, under the same labels.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

FEW_DIGITS, MANY_DIGITS = 7, 10
"""What people write, and what rounding leaves behind."""
NEAR = 1e-7
"""Half of the last digit of a float32, relative."""
LEFTOVER = 1e-14
"""Of a sum that should be zero, relative to the smallest of the other values."""


def rounding_notes(axes: Iterable[Mapping[str, Sequence[Any]]]) -> Iterator[str]:
    """A line for each pair of values of one axis that differ by rounding only, and for each value beside a short one.

    :param axes: the grid axes of the space and of each arm.
    """
    values_of: dict[str, set[float]] = defaultdict(set)
    for path, values in itertools.chain.from_iterable(each.items() for each in axes):
        values_of[path].update(value for value in values if isinstance(value, float))
    for path, floats in values_of.items():
        ordered = sorted(floats)
        in_pairs: set[float] = set()
        for low, high in itertools.pairwise(ordered):
            if high - low <= NEAR * max(abs(low), abs(high)) and max(_digits(low), _digits(high)) >= MANY_DIGITS:
                in_pairs |= {low, high}
                yield f"axis {path}: {low!r} and {high!r} differ by rounding only, and are two values"
        sizes = sorted(abs(value) for value in ordered if value)
        zero = LEFTOVER * sizes[1] if len(sizes) > 1 else 0.0
        for value in ordered:
            meant = 0.0 if abs(value) < zero and _digits(value) >= MANY_DIGITS else _meant(value)
            if meant != value and value not in in_pairs:
                yield f"axis {path}: {value!r} is {meant!r} but for rounding; {meant!r} would be another trial"


def _meant(value: float) -> float:
    """The short number that a value is but for rounding, to float64 or float32; the value where there is none."""
    with np.errstate(over="ignore"):
        single = np.float32(value)
    for text in (f"{value:.14g}", str(single) if float(single) == value else ""):
        if text and _digits(float(text)) <= FEW_DIGITS:
            return float(text)
    return value


def _digits(value: float) -> int:
    return len(repr(value).partition("e")[0].replace(".", "").replace("-", "").strip("0"))
