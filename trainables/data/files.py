"""Images that do not fit in memory: listed once, and read encoded from a disk or a store during training.

They are a folder with a folder for each class, or Parquet in the layout of the Hugging Face hub, read by row group.
"""

import hashlib
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trainables.data.folder import DataMissingError
from trainables.data.parquet import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    Files,
    absolute,
    check_rows,
    choose_columns,
    encoded_images,
    find_files,
    integer_labels,
    unreadable,
)
from trainables.engine.errors import redact

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".webp", ".tif", ".tiff")
HELD_OUT = ("val", "validation", "test")
KEPT_BYTES = 256 << 20
"""The memory of a half of a Parquet set for the row groups read last: enough to shuffle the rows of several."""
MOST_BYTES = 1 << 28
"""Of the file of an image."""
_AT_ONCE = 8


class ImageFiles(Protocol):
    """One half of a set whose images are read on demand.

    Any number of threads may use it; a pickled copy reads the files itself.
    """

    labels: np.ndarray
    """(rows,), int64, from 0 to ``classes - 1``."""
    classes: int
    digest: str
    """A digest of the labels, and of the names and sizes of files or the shape of row groups, not of the images."""

    groups: np.ndarray
    """(rows,), int64, ascending: the number of each row's group, whose rows are cheap to read together."""

    def read(self, rows: Sequence[int]) -> list[bytes]:
        """Read the encoded images of some rows, in the order of ``rows``.

        :raises DataMissingError: when a file can no longer be read.
        """

    def place(self, row: int) -> str:
        """Where a row is, for messages: its file's path, and its row in a file of many."""


def image_folder(name: str) -> tuple[ImageFiles, ImageFiles]:
    """Open a folder of images, (train, held out): ``train/CLASS/*.jpeg`` and ``val/CLASS/*.jpeg``, as in torchvision.

    :param name: a folder in the data folder, or an absolute path; its held-out half is named ``val``, ``validation``
        or ``test``.
    :raises DataMissingError: when there is no such folder, or a class has another name in its halves.
    """
    return _folder(Path(absolute(name)))


def image_parquet(train: str, test: str) -> tuple[ImageFiles, ImageFiles]:
    """Open Parquet files of encoded images, (train, test), read by row group; columns as in ``images_from_parquet``.

    :param train, test: addresses (see :mod:`trainables.data.parquet`).
    :raises DataMissingError: when there is nothing at an address, or it cannot be read.
    """
    return parquet_halves("image_parquet", absolute(train), absolute(test))


@lru_cache(maxsize=2)
def _folder(root: Path) -> tuple[ImageFiles, ImageFiles]:
    train = root / "train"
    held_out = next((root / each for each in HELD_OUT if (root / each).is_dir()), None)
    if not train.is_dir() or held_out is None:
        raise DataMissingError(
            f"image folder {str(root)!r}: must contain the folders train and {', '.join(HELD_OUT[:-1])} or "
            f"{HELD_OUT[-1]}, each with a folder of images for each class"
        )
    classes = _classes(train)
    if unknown := sorted(set(_classes(held_out)) - set(classes)):
        raise DataMissingError(
            f"image folder {str(root)!r}: {held_out.name} has the class {unknown[0]!r}; must be one of train's"
        )
    return _FolderImages(train, classes), _FolderImages(held_out, classes)


@lru_cache(maxsize=2)
def parquet_halves(name: str, train: str, test: str) -> tuple[ImageFiles, ImageFiles]:
    """Open a named set like :func:`image_parquet`."""
    halves = _ParquetImages(find_files(name, train)), _ParquetImages(find_files(name, test))
    classes = halves[0].classes
    if halves[1].classes > classes:
        raise DataMissingError(
            f"{name}: {redact(test)}: has label {halves[1].classes - 1}; the largest in train is {classes - 1}"
        )
    halves[1].classes = classes
    return halves


class _FolderImages:
    """One half of a folder, sorted by class, then by path."""

    def __init__(self, root: Path, classes: Sequence[str]) -> None:
        self.classes = len(classes)
        self._root = root
        content = hashlib.sha256(os.fsencode("\0".join(classes)))
        self._paths: list[str] = []
        counts = []
        for name in classes:
            images = sorted(_images_below(str(root), name)) if (root / name).is_dir() else []
            counts.append(len(images))
            for path, size in images:
                content.update(os.fsencode(f"\0{path}\0{size}"))
                self._paths.append(path)
        if not self._paths:
            raise DataMissingError(f"image folder {str(root)!r}: contains no images ({', '.join(SUFFIXES)})")
        self.labels = np.repeat(np.arange(self.classes, dtype=np.int64), counts)
        # Reading neighbouring files together is no cheaper.
        self.groups = np.arange(len(self._paths))
        self.digest = content.hexdigest()[:20]

    def read(self, rows: Sequence[int]) -> list[bytes]:
        """See :class:`ImageFiles`."""
        return [self._read(self._paths[row]) for row in rows]

    def place(self, row: int) -> str:
        """See :class:`ImageFiles`."""
        return os.path.join(self._root, self._paths[row])

    def _read(self, path: str) -> bytes:
        try:
            return (self._root / path).read_bytes()
        except OSError as error:
            raise DataMissingError(f"{self._root / path}: cannot be read ({error.strerror})") from None


class _ParquetImages:
    """One half as Parquet: opening it reads only the labels and the footers."""

    def __init__(self, files: Files) -> None:
        self._files = files
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            read = list(pool.map(self._survey, files.paths))
        self._first = np.cumsum([0, *(len(labels) for _, _, labels in read)])
        """The row of this half that each file begins with."""
        self._metadata = [metadata for metadata, _, _ in read]
        self._column = [column for _, column, _ in read]
        self.labels = np.concatenate([labels for _, _, labels in read])
        if not len(self.labels):
            raise DataMissingError(f"{files.name}: {files.shown}: has no rows")
        self.classes = int(self.labels.max()) + 1
        self._places = [
            (file, group) for file, each in enumerate(self._metadata) for group in range(each.num_row_groups)
        ]
        sizes = [self._metadata[file].row_group(group) for file, group in self._places]
        rows = [size.num_rows for size in sizes]
        self._starts = np.cumsum([0, *rows[:-1]])
        self.groups = np.repeat(np.arange(len(rows)), rows)
        shape = repr([(size.num_rows, size.total_byte_size) for size in sizes])
        self.digest = hashlib.sha256(shape.encode() + self.labels.astype("<i8").tobytes()).hexdigest()[:20]
        self._cache = _GroupCache()

    def read(self, rows: Sequence[int]) -> list[bytes]:
        """See :class:`ImageFiles`."""
        numbers = self.groups[rows]
        images: list[bytes] = [b""] * len(rows)
        for number in np.unique(numbers):
            group = self._cache.get(int(number), self._read_group)
            start = int(self._starts[number])
            for at in np.flatnonzero(numbers == number).tolist():
                images[at] = group[rows[at] - start]
        return images

    def place(self, row: int) -> str:
        """See :class:`ImageFiles`."""
        file, _ = self._places[int(self.groups[row])]
        return f"{self._files.paths[file]}, row {row - int(self._first[file])}"

    def _read_group(self, number: int) -> list[bytes]:
        file, group = self._places[number]
        column = self._column[file]

        def read(opened: "parquet.ParquetFile") -> "pa.Table":
            return opened.read_row_group(group, columns=[column])

        table = self._opened(self._files.paths[file], read, self._metadata[file])
        return encoded_images(self._files, self._files.paths[file], table.column(column))

    def _survey(self, path: str) -> "tuple[parquet.FileMetaData, str, np.ndarray]":
        """Read the footer, the name of the column of images, and the labels of one file."""

        def read(opened: "parquet.ParquetFile") -> tuple:
            names = opened.schema_arrow.names
            image, label = choose_columns(self._files, path, names, [IMAGE_COLUMNS, LABEL_COLUMNS])
            check_rows(self._files, path, opened.metadata)
            labels = integer_labels(self._files, path, opened.read(columns=[label]).column(label))
            return opened.metadata, image, labels

        return self._opened(path, read)

    def _opened(self, path: str, use: Callable[[Any], Any], metadata: "parquet.FileMetaData | None" = None) -> Any:
        from pyarrow import parquet

        try:
            with (
                self._files.filesystem.open_input_file(path) as source,
                parquet.ParquetFile(source, metadata=metadata) as opened,
            ):
                return use(opened)
        except DataMissingError:
            raise
        except Exception as error:  # of a damaged file, whatever its parsing meets
            raise unreadable(self._files, path, error) from None


class _GroupCache:
    """The row groups that were read last, up to :data:`KEPT_BYTES`, and always the last one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: OrderedDict[int, list[bytes]] = OrderedDict()
        self._size = 0

    def __reduce__(self) -> tuple:
        return _GroupCache, ()

    def get(self, number: int, read: Callable[[int], list[bytes]]) -> list[bytes]:
        """Return a row group; read it unless it is cached."""
        with self._lock:
            if number in self._groups:
                self._groups.move_to_end(number)
                return self._groups[number]
        # Two threads may read the same group; that is better than all waiting for one.
        images = read(number)
        with self._lock:
            if number not in self._groups:
                self._groups[number] = images
                self._size += sum(map(len, images))
            while self._size > KEPT_BYTES and len(self._groups) > 1:
                _, dropped = self._groups.popitem(last=False)
                self._size -= sum(map(len, dropped))
        return images


def _classes(root: Path) -> list[str]:
    return sorted(entry.name for entry, is_folder in _entries(str(root)) if is_folder and entry.name[0] != ".")


def _images_below(root: str, top: str) -> Iterator[tuple[str, int]]:
    """List the images in a folder and its subfolders, as paths from the root and sizes in bytes."""
    left = [(top, frozenset[str]())]
    while left:
        below, above = left.pop()
        folder = os.path.join(root, below)
        real = os.path.realpath(folder)
        if real in above:
            raise DataMissingError(f"image folder {folder!r}: is a link to a folder above it; remove it")
        for entry, is_folder in _entries(folder):
            path = f"{below}/{entry.name}"
            if is_folder:
                left.append((path, above | {real}))
            elif entry.name.lower().endswith(SUFFIXES) and entry.name[0] != ".":
                yield path, _size(entry)


def _entries(folder: str) -> "list[tuple[os.DirEntry[str], bool]]":
    """What is in a folder, and whether it is a folder, or a link to one."""
    try:
        with os.scandir(folder) as entries:
            return [(entry, entry.is_dir()) for entry in entries]
    except OSError as error:
        raise DataMissingError(f"image folder {folder!r}: cannot be read ({error.strerror})") from None


def _size(entry: "os.DirEntry[str]") -> int:
    """The size of an image's file.

    :raises DataMissingError: for what is no file, such as a pipe, or larger than any image.
    """
    try:
        status = entry.stat()
    except OSError as error:
        raise DataMissingError(f"{entry.path}: cannot be read ({error.strerror})") from None
    if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
        raise DataMissingError(f"{entry.path}: must be a file of at most {MOST_BYTES:,} bytes; replace it")
    return status.st_size
