"""Where a ledger keeps its files: a local folder or an object store, behind one interface.

``put`` is atomic and durable: a file exists whole or not at all, whatever kills the process or the machine.
Locally that takes a temporary file, ``fsync``, a rename, and ``fsync`` of the folder; an object store shows an object
only once it is closed.  Reading a file that does not exist raises :class:`FileGoneError`, because a compaction may
have deleted it and the reader must try again; any other failure raises :class:`LedgerError`, in one line.
"""

import errno
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs as pafs

from trainables.engine.errors import GrokscapeError, one_line, redact

TEMPORARY = ".tmp-"
"""The prefix of a file's name while it is being written; a killed process may leave one behind."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class LedgerError(GrokscapeError):
    """What is wrong with a ledger, where, and what is allowed: one line."""


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
        return self.name.startswith(TEMPORARY)

    @property
    def age_s(self) -> float:
        return time.time() - self.modified_s


class Files(ABC):
    """The files under one root; paths are relative to it, with forward slashes."""

    uri: str
    """The root, normalised: an absolute path, or the address of an object store."""
    parallel: int
    """How many files are worth reading at once."""

    @property
    def shown(self) -> str:
        """The root as messages show it: without credentials."""
        return redact(self.uri).rstrip("/") or "/"

    @abstractmethod
    def put(self, path: str, data: pa.Buffer | bytes) -> None:
        """Write a whole file, atomically and durably; replace an existing one."""

    @abstractmethod
    def read(self, path: str) -> pa.Buffer:
        """Return the content of a file.

        :raises FileGoneError: when there is no such file.
        """

    @abstractmethod
    def open(self, path: str) -> pa.NativeFile:
        """Open a file to read parts of it.

        :raises FileGoneError: when there is no such file.
        """

    @abstractmethod
    def entries(self, folder: str, *, recursive: bool = False) -> list[Entry]:
        """List the files in a folder, temporary ones too; none where there is no such folder."""

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Whether a file exists."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Delete a file, if it exists."""

    @abstractmethod
    def create_root(self) -> None:
        """Create the root folder, where the file system has folders."""

    @abstractmethod
    def root_entries(self) -> list[str] | None:
        """Name the files and folders at the root, without temporary ones; None where there is no root."""

    def map(self, job: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        """Return ``job(item)`` for every item, in order; several run at a time where that helps."""
        items = list(items)
        if self.parallel == 1 or len(items) < 2:
            return [job(item) for item in items]
        with ThreadPoolExecutor(self.parallel) as pool:
            return list(pool.map(job, items))

    def failed(self, action: str, path: str, error: BaseException) -> LedgerError:
        """Make the error of a failed action."""
        reason = getattr(error, "strerror", None) or one_line(error, address=self.uri)
        where = f"{self.shown}/{path}" if path else self.shown
        return LedgerError(f"ledger: cannot {action} {where}: {reason}")

    def gone(self, path: str) -> FileGoneError:
        """Make the error of a file that does not exist."""
        return FileGoneError(f"ledger: {self.shown}/{path} does not exist; a rewrite may have replaced it: try again")


class LocalFiles(Files):
    """A folder of this machine, or of a file system that it mounts."""

    parallel = 1

    def __init__(self, root: str) -> None:
        self._root = Path(os.path.abspath(os.path.expanduser(root)))
        self.uri = str(self._root)

    def put(self, path: str, data: pa.Buffer | bytes) -> None:
        target = self._root / path
        temporary = target.with_name(f"{TEMPORARY}{uuid4().hex}")
        try:
            if not self._root.is_dir():
                raise FileNotFoundError(errno.ENOENT, "the ledger's folder is gone")
            self._make_folder(target.parent)
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
        except OSError as error:
            raise self.failed("write", path, error) from None

    def read(self, path: str) -> pa.Buffer:
        try:
            return pa.py_buffer((self._root / path).read_bytes())
        except FileNotFoundError:
            raise self.gone(path) from None
        except OSError as error:
            raise self.failed("read", path, error) from None

    def open(self, path: str) -> pa.NativeFile:
        try:
            return pa.OSFile(str(self._root / path), "rb")
        except FileNotFoundError:
            raise self.gone(path) from None
        except OSError as error:
            raise self.failed("read", path, error) from None

    def entries(self, folder: str, *, recursive: bool = False) -> list[Entry]:
        entries = []
        try:
            with os.scandir(self._root / folder) as scanned:
                for item in scanned:
                    path = f"{folder}/{item.name}" if folder else item.name
                    if item.is_dir():
                        entries += self.entries(path, recursive=True) if recursive else []
                        continue
                    # Another process may delete the file between the scan and its stat.
                    with suppress(FileNotFoundError):
                        status = item.stat()
                        entries.append(Entry(path, status.st_size, status.st_mtime))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self.failed("list", folder, error) from None
        return sorted(entries, key=lambda entry: entry.path)

    def exists(self, path: str) -> bool:
        return (self._root / path).is_file()

    def delete(self, path: str) -> None:
        try:
            (self._root / path).unlink(missing_ok=True)
        except OSError as error:
            raise self.failed("delete", path, error) from None

    def create_root(self) -> None:
        try:
            self._make_folder(self._root)
        except OSError as error:
            raise self.failed("create", "", error) from None

    def root_entries(self) -> list[str] | None:
        try:
            return sorted(name for name in os.listdir(self._root) if not name.startswith(TEMPORARY))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self.failed("open", "", error) from None

    def _make_folder(self, folder: Path) -> None:
        """Create a folder and its parents; each new name is made durable too."""
        if folder.is_dir():
            return
        if folder != folder.parent:
            self._make_folder(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir()
            _sync_folder(folder.parent)
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is not a folder")


class RemoteFiles(Files):
    """A prefix in an object store that pyarrow knows: ``s3://bucket/prefix``, ``gs://...``, ``abfs://...``."""

    parallel = 8

    def __init__(self, uri: str) -> None:
        self.uri = uri
        try:
            self._fs, root = pafs.FileSystem.from_uri(uri)
        except (OSError, pa.ArrowException, ValueError) as error:
            raise self.failed("open", "", error) from None
        self._root = root.rstrip("/")

    def put(self, path: str, data: pa.Buffer | bytes) -> None:
        try:
            with self._fs.open_output_stream(self._full(path)) as stream:
                stream.write(data)
        except (OSError, pa.ArrowException) as error:
            raise self.failed("write", path, error) from None

    def read(self, path: str) -> pa.Buffer:
        try:
            with self.open(path) as file:
                return file.read_buffer()
        except (OSError, pa.ArrowException) as error:
            raise self.failed("read", path, error) from None

    def open(self, path: str) -> pa.NativeFile:
        try:
            return self._fs.open_input_file(self._full(path))
        except FileNotFoundError:
            raise self.gone(path) from None
        except (OSError, pa.ArrowException) as error:
            raise self.failed("read", path, error) from None

    def entries(self, folder: str, *, recursive: bool = False) -> list[Entry]:
        selector = pafs.FileSelector(self._full(folder), allow_not_found=True, recursive=recursive)
        try:
            infos = self._fs.get_file_info(selector)
        except (OSError, pa.ArrowException) as error:
            raise self.failed("list", folder, error) from None
        return sorted(
            (
                Entry(info.path[len(self._root) + 1 :], info.size, (info.mtime_ns or 0) / 1e9)
                for info in infos
                if info.type == pafs.FileType.File
            ),
            key=lambda entry: entry.path,
        )

    def exists(self, path: str) -> bool:
        try:
            return self._fs.get_file_info(self._full(path)).type == pafs.FileType.File
        except (OSError, pa.ArrowException) as error:
            raise self.failed("read", path, error) from None

    def delete(self, path: str) -> None:
        try:
            self._fs.delete_file(self._full(path))
        except FileNotFoundError:
            return
        except (OSError, pa.ArrowException) as error:
            raise self.failed("delete", path, error) from None

    def create_root(self) -> None:
        """Do nothing: a prefix needs no creation, and buckets belong to their owner."""

    def root_entries(self) -> list[str] | None:
        try:
            infos = self._fs.get_file_info(pafs.FileSelector(self._root, allow_not_found=True))
        except (OSError, pa.ArrowException) as error:
            raise self.failed("open", "", error) from None
        names = sorted(info.base_name for info in infos if not info.base_name.startswith(TEMPORARY))
        return names or None

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root


def open_files(uri: str) -> Files:
    """Open a local path, a ``file://`` address, or the address of an object store.

    :raises LedgerError: when no file system opens such an address.
    """
    if not uri:
        raise LedgerError("ledger: the address is empty; give a folder, or an address such as s3://bucket/prefix")
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return LocalFiles(uri)
    return LocalFiles(rest) if scheme == "file" else RemoteFiles(uri)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
