"""The history of a search as a picture: whatever the suggestions came to."""

import math

import pytest

from analysis.drawing.history import HistoryPoint, draw_history

NONE = (math.nan, math.nan)
FAILED = HistoryPoint(math.nan, *NONE, False)


@pytest.mark.parametrize(
    "points",
    [
        [
            HistoryPoint(120.0, 60.0, 200.0, True),
            HistoryPoint(300.0, *NONE, False),
            HistoryPoint(math.nan, *NONE, False),
        ],
        [HistoryPoint(math.nan, *NONE, False)],
    ],
)
def test_values_that_are_missing(tmp_path, points):
    picture = tmp_path / "history.png"
    assert draw_history(points, picture, title="$Which?", event="t_gen (test accuracy ≥ 0.95)", tau_steps=300) == ""
    assert picture.read_bytes().startswith(b"\x89PNG")
