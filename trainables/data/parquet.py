"""Addresses of data files, and Parquet files in the layout of the Hugging Face hub.

An address is a file, a folder of Parquet files, or a pattern such as ``train-*.parquet``: below the data folder, as an
absolute path, or in any store that ``pyarrow.fs`` knows (``s3://bucket/cifar10/train-*.parquet``).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainables.data.folder import DataMissingError, data_folder
from trainables.engine.errors import one_line, redact

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import fs as pafs
    from pyarrow import parquet

SMALL_ROWS, SMALL_BYTES, MOST_EXPANSION = 1_000_000, 1 << 30, 200
"""A set that is larger than this in memory, and than its file by this factor, is refused."""
IMAGE_COLUMNS, LABEL_COLUMNS = ("img", "image"), ("label", "fine_label")
_SHARD = re.compile(r"-(\d+)-of-(\d+)\.[a-z]+$")


@dataclass(frozen=True)
class Files:
    """The files of one half of a set, in order, on one file system."""

    name: str
    """The name of the set, for messages."""
    shown: str
    """The address, without credentials."""
    filesystem: "pafs.FileSystem"
    paths: tuple[str, ...]


def find_files(name: str, address: str) -> Files:
    """List the files at an address, sorted by name.

    :param name: the name of the set, for messages.
    :raises DataMissingError: when there are none, or some shards are missing.
    """
    import pyarrow as pa
    from pyarrow import fs as pafs

    address = absolute(address)
    shown = redact(address)
    try:
        if "://" in address:
            filesystem, path = pafs.FileSystem.from_uri(address)
        else:
            filesystem, path = pafs.LocalFileSystem(), address
        folder, _, pattern = path.rstrip("/").rpartition("/")
        if "*" not in pattern:
            kind = filesystem.get_file_info(path).type
            if kind == pafs.FileType.File:
                return Files(name, shown, filesystem, (path,))
            folder, pattern = path.rstrip("/"), "*.parquet"
        infos = filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
    except (OSError, pa.ArrowException, ValueError) as error:
        reason = one_line(error, address=address)
        raise DataMissingError(f"{name}: {shown}: cannot be opened ({reason})") from None
    paths = [info.path for info in infos if info.type == pafs.FileType.File and fnmatchcase(info.base_name, pattern)]
    if not paths:
        raise DataMissingError(
            f"{name}: there is nothing at {shown}; must be a file, a folder of *.parquet or a pattern (train-*.parquet)"
        )
    _check_shards(name, shown, paths)
    return Files(name, shown, filesystem, tuple(sorted(paths)))


def absolute(address: str) -> str:
    """Prefix a relative path with the data folder; return any other address as it is."""
    return address if "://" in address or address.startswith("/") else str(data_folder() / address)


def find_splits(roots: Sequence[Path], splits: Sequence[str]) -> list[str] | None:
    """Return the addresses of some splits in the first folder that has all of them; None when none has."""
    for root in roots:
        addresses = [address for split in splits if (address := _find_split(root, split)) is not None]
        if len(addresses) == len(splits):
            return addresses
    return None


def _find_split(root: Path, split: str) -> str | None:
    """Find a split in one of the hub's layouts, or WikiText's own files (``wiki.train.tokens`` and so on)."""
    patterns = (f"{split}.parquet", f"{split}-*.parquet", f"{split}/*.parquet", f"wiki.{split}.tokens")
    return next((str(root / pattern) for pattern in patterns if any(root.glob(pattern))), None)


def read_columns(files: Files, columns: Sequence[Sequence[str]]) -> Iterator[tuple[str, list["pa.ChunkedArray"]]]:
    """Read whole columns of one file after the other; yields each path with its columns.

    :param columns: for each column, the names that it may have.
    :raises DataMissingError: when a file cannot be read, or has no such column.
    """
    from pyarrow import parquet

    for path in files.paths:
        try:
            with files.filesystem.open_input_file(path) as source, parquet.ParquetFile(source) as file:
                names = choose_columns(files, path, file.schema_arrow.names, columns)
                check_rows(files, path, file.metadata)
                table = file.read(columns=names)
                # A name that appears twice selects nothing.
                found = [table.column(name) for name in names]
        except DataMissingError:
            raise
        except Exception as error:  # of a damaged file, whatever its parsing meets
            raise unreadable(files, path, error) from None
        yield path, found


def choose_columns(files: Files, path: str, present: Sequence[str], columns: Sequence[Sequence[str]]) -> list[str]:
    """Choose, for each column, the first of its possible names that is present."""
    chosen = []
    for names in columns:
        name = next((name for name in names if name in present), None)
        if name is None:
            raise DataMissingError(
                f"{files.name}: {path}: has no column {' or '.join(names)}; its columns: {', '.join(present)}"
            )
        chosen.append(name)
    return chosen


def check_rows(files: Files, path: str, metadata: "parquet.FileMetaData") -> None:
    """Check that a file is not much more in memory than on disk: a few bytes can stand for billions of equal rows.

    :raises DataMissingError: when it is.
    """
    size = files.filesystem.get_file_info(path).size or 0
    memory = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    if metadata.num_rows > max(SMALL_ROWS, size) or memory > max(SMALL_BYTES, MOST_EXPANSION * size):
        reason = f"{metadata.num_rows:,} rows, {memory:,} bytes in memory, in a file of {size:,} bytes"
        raise DataMissingError(f"{files.name}: {path}: is too large ({reason}); replace that file")


def encoded_images(files: Files, path: str, column: "pa.ChunkedArray") -> list[bytes]:
    """Return the encoded images of a file's column of bytes, or of structs with a field ``bytes``.

    :raises DataMissingError: when a row has none (for example only a path).
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = pc.struct_field(column, "bytes")
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        raise DataMissingError(f"{files.name}: {path}: images are of type {column.type}; must be encoded bytes")
    if column.null_count:
        raise DataMissingError(f"{files.name}: {path}: {column.null_count} rows have no image")
    return column.to_pylist()


def integer_labels(files: Files, path: str, column: "pa.ChunkedArray") -> np.ndarray:
    """Return the labels of a file's column, int64 (rows,).

    :raises DataMissingError: when they are not integers from 0.
    """
    import pyarrow as pa

    if not pa.types.is_integer(column.type) or column.null_count:
        raise DataMissingError(f"{files.name}: {path}: labels are of type {column.type}; must be integers")
    labels = column.to_numpy().astype(np.int64)
    if labels.size and labels.min() < 0:
        raise DataMissingError(f"{files.name}: {path}: has rows without a label ({labels.min()}); every row needs one")
    return labels


def unreadable(files: Files, path: str, error: Exception) -> DataMissingError:
    """Make the error of a damaged file."""
    reason = getattr(error, "strerror", None) or one_line(error)
    return DataMissingError(f"{files.name}: {path}: cannot be read ({reason}); replace that file")


def _check_shards(name: str, shown: str, paths: Sequence[str]) -> None:
    """Check that no shard is missing, by the numbers in the names.

    :raises DataMissingError: when one is.
    """
    shards = [(int(match[1]), int(match[2])) for path in paths if (match := _SHARD.search(path))]
    for total in {total for _, total in shards}:
        present = {number for number, each in shards if each == total and number < total}
        if len(present) < total:
            first = next(number for number in range(total) if number not in present)
            missing = total - len(present)
            raise DataMissingError(f"{name}: {shown}: {missing} of {total} shards are missing, first {first}")
