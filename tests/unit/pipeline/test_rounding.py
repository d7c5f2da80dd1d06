"""Notes on values that differ by rounding only."""

import numpy as np

from pipeline.spec.rounding import rounding_notes


def notes(*axes):
    return list(rounding_notes({"x": [float(value) for value in values]} for values in axes))


def test_steps_of_a_tenth_beside_a_list():
    pair = "axis x: 0.3 and 0.30000000000000004 differ by rounding only, and are two values"
    assert notes(np.arange(0.1, 0.5, 0.1), [0.1, 0.2, 0.3, 0.4]) == [pair]
    assert notes([0.3, 0.1 + 0.2]) == [pair]
    assert notes(np.arange(0.1, 0.5, 0.1)) == [
        "axis x: 0.30000000000000004 is 0.3 but for rounding; 0.3 would be another trial"
    ]


def test_single_precision():
    assert notes([np.float32(0.1)]) == [
        "axis x: 0.10000000149011612 is 0.1 but for rounding; 0.1 would be another trial"
    ]
    assert notes([np.float32(1e-3)], [1e-3])[0].endswith("differ by rounding only, and are two values")


def test_what_should_be_zero():
    (note,) = notes(np.linspace(-0.3, 0.3, 7)[:3], [-0.3 + 0.1 + 0.1 + 0.1], [0.2])
    assert "is 0.0 but for rounding" in note


def test_values_that_are_meant():
    assert notes([0, 1e-16, 1e-12, 1e-8, 1.0], np.logspace(-4, 2, 13), [1 / 3, 2 / 3, np.pi, 1e300, 5e-324]) == []
    assert notes([0.123, 0.1230001, 1e-8, 1.00001e-8], []) == []
