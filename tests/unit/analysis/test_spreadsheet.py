"""Tables as files: what somebody wrote is text in a spreadsheet, numbers stay numbers, and Parquet has types."""

import csv
import math

import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis.data.spreadsheet import write_both, write_csv
from analysis.draw import draw
from pipeline.ledger import Ledger
from tests.support.synthetic import fill_ledger, make_trial
from tests.support.synthetic_baselines import AXES, CONFIG, HORIZON, make_baseline


def test_formulas_are_text_and_numbers_are_numbers(tmp_path):
    texts = ["=1+1", "+cmd", "-cmd", "@sum", "\t=1", "\r=1", "a=1", "'=1", "-0.5", "+1e-3", "-inf", "", None]
    mixed = [-1, -0.5, float("-inf"), True, "=x", *[None] * 8]
    table = pd.DataFrame({"=name": texts, "mixed": mixed, "number": [-1.5] * 13, "whole": [-1] * 13})
    write_csv(table, tmp_path / "table.csv")
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    assert names == ["'=name", "mixed", "number", "whole"]
    assert [row[0] for row in rows] == [
        *("'=1+1", "'+cmd", "'-cmd", "'@sum", "'\t=1", "'\n=1", "a=1", "'=1", "-0.5", "+1e-3", "-inf", "", "")
    ]
    assert [row[1] for row in rows[:5]] == ["-1", "-0.5", "-inf", "True", "'=x"]
    assert {tuple(row[2:]) for row in rows} == {("-1.5", "-1")}


def test_parquet_has_proper_types(tmp_path):
    table = pd.DataFrame(
        {"whole": [1, 2], "part": [math.nan, 0.5], "text": ["=1", None], "mixed": ["constant", 0.1], "none": [None] * 2,
         "rate": pd.Series([0, None], dtype=object), "open": [math.inf, 1.0]}
    )  # fmt: skip
    write_both(table, tmp_path / "table")
    read = pq.read_table(tmp_path / "table.parquet")
    assert list(map(str, read.schema.types)) == ["int64", "double", "string", "string", "string", "int64", "double"]
    assert read.to_pylist()[0] == {"whole": 1, "part": None, "text": "=1", "mixed": "constant", "none": None, "rate": 0,
                                   "open": math.inf}  # fmt: skip
    assert (tmp_path / "table.csv").is_file()


@pytest.mark.parametrize("kind", ["diagram", "curves"])
def test_every_file_of_a_sweep(tmp_path, kind):
    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    points = [{"arm": arm, "@axis": value, "seed": 0} for arm in ("=arm", "-arm") for value in ("+x", -2)]
    if kind == "diagram":
        trials = [make_trial(f"t{index}", point, t_gen=300) for index, point in enumerate(points)]
        fill_ledger(ledger, "sweep", trials)
    else:
        trials = [make_baseline(point, accuracy=0.5) for point in points]
        fill_ledger(ledger, "sweep", trials, horizon_steps=HORIZON, config=CONFIG, axes=AXES)
    for path in draw(ledger.uri, "sweep", tmp_path).paths:
        if path.suffix == ".csv":
            with open(path, newline="", encoding="utf-8") as file:
                names, *rows = csv.reader(file)
            assert "'@axis" in names
            assert {row[names.index("'@axis")] for row in rows} == {"'+x", "-2"}
            assert {row[names.index("arm")] for row in rows} == {"'=arm", "'-arm"}
