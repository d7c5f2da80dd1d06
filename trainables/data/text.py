"""Text from Parquet, one line of the corpus a row, or from plain files."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from trainables.data.folder import DataMissingError
from trainables.data.parquet import Files, absolute, find_files, read_columns, unreadable

TEXT_COLUMNS = ("text",)


@dataclass(frozen=True)
class Text:
    """One part of a corpus."""

    text: str
    """The whole text; every line ends with a newline."""
    digest: str


def text_from(train: str, test: str) -> tuple[Text, Text]:
    """Read a corpus, (train, test): Parquet files with a column ``text``, one line of the corpus a row, or UTF-8 text.

    :param train, test: addresses (see :mod:`trainables.data.parquet`).
    :raises DataMissingError: when there is nothing at an address, or it cannot be read.
    """
    return read_text("text_from", absolute(train)), read_text("text_from", absolute(test))


@lru_cache(maxsize=4)
def read_text(name: str, address: str) -> Text:
    """Read one half of a named set like :func:`text_from`, once a process."""
    files = find_files(name, address)
    parquet = all(path.endswith(".parquet") for path in files.paths)
    text = _rows(files) if parquet else "".join(_plain(files, path) for path in files.paths)
    if not text:
        raise DataMissingError(f"{name}: {files.shown}: has no text")
    return Text(text, hashlib.sha256(text.encode()).hexdigest()[:20])


def _rows(files: Files) -> str:
    import pyarrow as pa

    parts = []
    for path, (column,) in read_columns(files, [TEXT_COLUMNS]):
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)) or column.null_count:
            raise DataMissingError(f"{files.name}: {path}: column text is {column.type}; must be a string in every row")
        try:
            rows = column.to_pylist()
        except UnicodeDecodeError as error:
            raise unreadable(files, path, error) from None
        # Some sets have the newline in the row, some do not, and some do not where a line is empty.
        parts += [row if row.endswith("\n") else f"{row}\n" for row in rows]
    return "".join(parts)


def _plain(files: Files, path: str) -> str:
    try:
        with files.filesystem.open_input_stream(path) as source:
            return source.read().decode("utf-8").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(files, path, error) from None
