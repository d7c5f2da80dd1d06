"""CSV files as spreadsheets read them: what somebody wrote is text there, too, and not a formula."""

import re
from pathlib import Path
from typing import Any

import pandas as pd

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
