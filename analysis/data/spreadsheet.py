"""Tables as files: CSV as spreadsheets read it, and Parquet with proper types for everything else.

In a spreadsheet what somebody wrote is text, too, and not a formula.
"""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

_FORMULA = re.compile(r"[=+\-@\t\n]")
"""How a cell begins that a spreadsheet runs, or whose beginning it drops until it finds one."""


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as a CSV file; text that would be a formula gets an apostrophe before it."""
    table.rename(columns=_quoted).map(_quoted).to_csv(path, index=False)


def _quoted(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = "\n".join(re.split("\r\n?", value))  # A lone carriage return would end the row.
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a table as a Parquet file: numbers, truths and texts as such, what is missing as null.

    A column of several kinds, such as an axis with ``"constant"`` and 0.1, is one of texts.
    """
    pq.write_table(pa.table({str(name): _typed(table[name]) for name in table}), path)


def write_both(table: pd.DataFrame, path: Path) -> None:
    """Write a table as ``<path>.csv`` and ``<path>.parquet``."""
    write_csv(table, path.with_suffix(".csv"))
    write_parquet(table, path.with_suffix(".parquet"))


def _typed(column: pd.Series) -> pa.Array:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return pa.array(column, from_pandas=True)
    values = [None if value is None or value != value else value for value in column]
    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        array = pa.array([None if value is None else str(value) for value in values])
    return array.cast(pa.string()) if pa.types.is_null(array.type) else array
