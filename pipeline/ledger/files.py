"""Where a ledger keeps its files: a local folder or an object store.

``put`` is atomic and durable: a file exists whole or not at all, whatever kills the process or the machine.
Locally that takes a temporary file, ``fsync``, a rename, and ``fsync`` of the folder; an object store shows an object
only once it is closed.  Reading a file that does not exist raises :class:`FileGoneError`, because a compaction may
have deleted it and the reader must try again; any other failure raises :class:`StorageError`, in one line.

A ledger may be somebody else's, so on a disk nothing below the root is followed, read, written or deleted through a
symbolic link.
"""

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs as pafs

from trainables.engine.errors import GrokscapeError, one_line, redact
from trainables.engine.terminal import shown
from trainables.runtime.rows import StoreError

TEMPORARY = ".tmp-"
"""The prefix of a file's name while it is being written; a killed process may leave one behind."""
_TEMPORARY = re.compile(r"\.tmp-[0-9a-z]{1,32}")

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class LedgerError(GrokscapeError):
    """What is wrong with a ledger, where, and what is allowed: one line, whatever the ledger's names contain."""

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))


class StorageError(LedgerError, StoreError):
    """The ledger's files cannot be read or written: a full disk, no permission, no network, a link in the way."""


class FileGoneError(LedgerError):
    """A file does not exist, perhaps because a rewrite has replaced it since it was listed."""


@dataclass(frozen=True)
class Entry:
    """One file, by its path relative to the ledger's root."""

    path: str
    size: int
    modified_s: float
    """Since the epoch."""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def temporary(self) -> bool:
        return _TEMPORARY.fullmatch(self.name) is not None

    @property
    def age_s(self) -> float:
        return time.time() - self.modified_s


class Files:
    """The files under one root in an object store that pyarrow knows: ``s3://bucket/prefix``, ``gs://...``.

    Paths are relative to the root, with forward slashes.
    """

    parallel = 8
    """How many files are worth reading at once."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        try:
            self._fs, root = pafs.FileSystem.from_uri(uri)
        except (OSError, pa.ArrowException, ValueError) as error:
            raise self._failed("open", "", error) from None
        self._root = root.rstrip("/")

    @property
    def shown(self) -> str:
        """The root as messages show it: without credentials."""
        return redact(self.uri).rstrip("/") or "/"

    def put(self, path: str, data: pa.Buffer | bytes) -> None:
        """Write a whole file, atomically and durably; replace an existing one."""
        with self._doing("write", path), self._fs.open_output_stream(self._full(path)) as stream:
            stream.write(data)

    def read(self, path: str) -> pa.Buffer:
        """Return the content of a file.

        :raises FileGoneError: when there is no such file.
        """
        with self._doing("read", path), self._fs.open_input_file(self._full(path)) as file:
            return file.read_buffer()

    def open(self, path: str) -> pa.NativeFile:
        """Open a file to read parts of it.

        :raises FileGoneError: when there is no such file.
        """
        with self._doing("read", path):
            return self._fs.open_input_file(self._full(path))

    def links(self, folder: str) -> list[str]:
        """List what is neither a file nor a folder anywhere below a folder: links and the like."""
        return []

    def entries(self, folder: str, *, recursive: bool = False) -> list[Entry]:
        """List the files in a folder, temporary ones too, but no links; none where there is no such folder."""
        with self._doing("list", folder):
            selector = pafs.FileSelector(self._full(folder), allow_not_found=True, recursive=recursive)
            infos = [info for info in self._fs.get_file_info(selector) if info.type == pafs.FileType.File]
        start = len(self._full("")) + 1
        entries = [Entry(info.path[start:], info.size, (info.mtime_ns or 0) / 1e9) for info in infos]
        return sorted(entries, key=lambda entry: entry.path)

    def exists(self, path: str) -> bool:
        """Whether a file exists."""
        with self._doing("read", path):
            return self._fs.get_file_info(self._full(path)).type == pafs.FileType.File

    def delete(self, path: str) -> None:
        """Delete a file, if it exists."""
        with self._doing("delete", path), suppress(FileNotFoundError):
            self._fs.delete_file(self._full(path))

    def create_root(self) -> None:
        """Create the root folder, where the file system has folders; buckets belong to their owner."""

    def root_entries(self) -> list[str]:
        """Name the files and folders at the root, without temporary ones."""
        with self._doing("open"):
            infos = self._fs.get_file_info(pafs.FileSelector(self._full(""), allow_not_found=True))
        return sorted(info.base_name for info in infos if not info.base_name.startswith(TEMPORARY))

    def map(self, job: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        """Return ``job(item)`` for every item, in order; several run at a time where that helps."""
        items = list(items)
        if self.parallel == 1 or len(items) < 2:
            return [job(item) for item in items]
        with ThreadPoolExecutor(self.parallel) as pool:
            return list(pool.map(job, items))

    def gone(self, path: str) -> FileGoneError:
        """Make the error of a file that does not exist."""
        return FileGoneError(f"ledger: {self.shown}/{path} does not exist; a rewrite may have replaced it: try again")

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    @contextmanager
    def _doing(self, action: str, path: str = "") -> Iterator[None]:
        """Raise what goes wrong as a StorageError; a FileGoneError where a file to be read does not exist."""
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            if action == "read" and isinstance(error, FileNotFoundError | NotADirectoryError):
                raise self.gone(path) from None
            raise self._failed(action, path, error) from None

    def _failed(self, action: str, path: str, error: BaseException) -> StorageError:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else one_line(error, address=self.uri)
        where = f"{self.shown}/{path}" if path else self.shown
        return StorageError(f"ledger: cannot {action} {where}: {reason}")


class LocalFiles(Files):
    """A folder of this machine, or of a file system that it mounts."""

    parallel = 1

    def __init__(self, root: str) -> None:
        self.uri = self._root = os.path.abspath(os.path.expanduser(root))
        self._fs = pafs.LocalFileSystem()

    def links(self, folder: str) -> list[str]:
        with self._doing("list", folder):
            links = filter(_is_link, self._walk(folder, recursive=True))
            return sorted(entry.path[len(self._root) + 1 :] for entry in links)

    def entries(self, folder: str, *, recursive: bool = False) -> list[Entry]:
        entries = []
        with self._doing("list", folder):
            for entry in self._walk(folder, recursive=recursive):
                with suppress(FileNotFoundError):  # deleted meanwhile
                    if entry.is_file(follow_symlinks=False):
                        info = entry.stat(follow_symlinks=False)
                        entries.append(Entry(entry.path[len(self._root) + 1 :], info.st_size, info.st_mtime))
        return sorted(entries, key=lambda entry: entry.path)

    def put(self, path: str, data: pa.Buffer | bytes) -> None:
        with self._doing("write", path):
            target = Path(self._full(path))
            temporary = target.with_name(f"{TEMPORARY}{uuid4().hex}")
            if not os.path.isdir(self._root):
                raise OSError("the ledger's folder is gone")
            _make_folder(target.parent)
            try:
                with open(temporary, "xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, target)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
            _sync_folder(target.parent)

    def create_root(self) -> None:
        with self._doing("create"):
            _make_folder(Path(self._root))

    def _walk(self, folder: str, *, recursive: bool) -> Iterator[os.DirEntry]:
        """Yield what is in a folder, whose links are not followed."""
        try:
            with os.scandir(self._full(folder)) as found:
                entries = list(found)
        except FileNotFoundError:
            return
        for entry in entries:
            yield entry
            if recursive and entry.is_dir(follow_symlinks=False):
                yield from self._walk(entry.path[len(self._root) + 1 :], recursive=True)

    def _full(self, path: str) -> str:
        """Return the whole path of a file or a folder.

        :raises StorageError: when a part of it below the root is a link, or is neither a file nor a folder.
        """
        full = self._root
        for part in path.split("/") if path else ():
            full = f"{full}/{part}"
            with suppress(FileNotFoundError, NotADirectoryError):
                mode = os.lstat(full).st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    kind = "a symbolic link" if stat.S_ISLNK(mode) else "no plain file or folder"
                    raise StorageError(f"ledger: {full} is {kind}, which is never followed; replace or delete it")
        return full


def open_files(uri: str) -> Files:
    """Open a local path, a ``file://`` address, or the address of an object store.

    :raises LedgerError: when no file system opens such an address.
    """
    if not uri:
        raise LedgerError("ledger: the address is empty; give a folder, or an address such as s3://bucket/prefix")
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return LocalFiles(uri)
    return LocalFiles(unquote(rest)) if scheme == "file" else Files(uri)


def _is_link(entry: os.DirEntry) -> bool:
    """Whether an entry is neither a plain file nor a folder."""
    return not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False))


def _make_folder(folder: Path) -> None:
    """Create a folder and its parents; each new name is made durable too."""
    if folder.is_dir():
        return
    if folder != folder.parent:
        _make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
        _sync_folder(folder.parent)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
