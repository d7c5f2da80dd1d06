"""Downloads of missing data sets, with ``GROKSCAPE_DOWNLOAD=1``: once, however many processes need a set.

A set is downloaded to a temporary folder, checked there (torchvision's checksums, or numbers of rows), and renamed
when it is complete; a failed download leaves nothing.  The tests use a local server only: without a network, the
addresses of the hub's files are taken from its pages and were never tried.
"""

import os
import platform
import shutil
import socket
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from http.client import HTTPException
from pathlib import Path

from filelock import FileLock

from trainables.data.folder import DOWNLOAD_VARIABLE, FOLDER_VARIABLE, DataMissingError
from trainables.engine.errors import one_line, redact

HUB_VARIABLE, HUB = "HF_ENDPOINT", "https://huggingface.co"
"""The hub's address, and the variable that names a mirror (the hub's own clients read it too)."""
WIKITEXT = "datasets/Salesforce/wikitext/resolve/b08601e04326c79dfdd32d625aee71d232d685c3"
"""One revision of the hub's WikiText, so that everybody trains on the same text."""
TIMEOUT_S = 60.0
_CHUNK = 1 << 20
_paused: ContextVar[bool] = ContextVar("downloads are paused", default=False)


def download_once(name: str, target: Path, download: Callable[[Path], Path]) -> None:
    """Create ``target`` in one process of this file system; the others wait for it.

    :param download: downloads the set into the empty folder that it is given, and returns what is to become ``target``.
    :raises DataMissingError: when that fails; nothing is left of it.
    """
    partial = target.with_name(f".{target.name}.partial")
    try:
        with FileLock(target.with_name(f".{target.name}.lock")):
            if target.exists():
                return
            # A killed process may have left one.
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                with _socket_timeout():
                    os.replace(download(partial), target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except (OSError, RuntimeError, ValueError, HTTPException, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataMissingError(f"{name}: cannot download to {str(target.parent)!r} ({one_line(error)})") from None


def download_torchvision(name: str, kind: str, folder: str, root: Path) -> None:
    """Download a torchvision set to ``root/folder``, by torchvision's code and against its checksums."""

    def download(partial: Path) -> Path:
        from trainables.data.torchvision_guard import torchvision  # with torch, which nothing else here needs

        source = getattr(torchvision().datasets, kind)
        dataset = object.__new__(source)  # Its constructor would go on to unpickle what it has downloaded.
        dataset.root = str(partial)
        with _archives_stay_inside() if hasattr(source, "tgz_md5") else nullcontext():
            dataset.download()
        for archive in (partial / folder).glob("**/*.gz"):
            archive.unlink()
        return partial / folder

    download_once(name, root / folder, download)


def download_wikitext(
    name: str, folder: str, shards: Mapping[str, Sequence[str]], rows: Mapping[str, int], root: Path
) -> None:
    """Download a WikiText from the Hugging Face hub, or the mirror that ``HF_ENDPOINT`` names, to ``root/folder``.

    :param shards: the names of the files of each split.
    :param rows: how many rows each split must have.
    """
    hub = os.environ.get(HUB_VARIABLE, "").rstrip("/") or HUB

    def download(partial: Path) -> Path:
        from pyarrow import ArrowException, parquet

        corpus = partial / folder
        corpus.mkdir()
        for split, files in shards.items():
            count = 0
            for file in files:
                _download(f"{hub}/{WIKITEXT}/{folder}/{file}", corpus / file)
                try:
                    count += parquet.read_metadata(corpus / file).num_rows
                except (ArrowException, OSError) as error:
                    raise ValueError(f"{file} is not a Parquet file: {error}") from None
            if count != rows[split]:
                raise ValueError(f"{split} has {count} rows; must be {rows[split]}")
        return corpus

    download_once(name, root / folder, download)


def _download(url: str, path: Path) -> None:
    """Download one file.

    :raises OSError: when the server does not have it, or the answer ends too early.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{HUB_VARIABLE}: {redact(url)} is not an HTTP address")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file, _CHUNK)
            length = answer.headers.get("Content-Length")
    except urllib.error.URLError as error:
        raise OSError(f"{redact(url)}: {one_line(error, address=url)}") from None
    if length is not None and path.stat().st_size != int(length):
        raise OSError(f"{redact(url)}: ended after {path.stat().st_size} of {length} bytes")


@contextmanager
def _archives_stay_inside() -> Iterator[None]:
    """Refuse what an archive has outside its folder: absolute paths, ``..``, links out of it, devices.

    torchvision extracts with the default of this Python, which below 3.14 believes the archive.

    :raises ValueError: for a Python that cannot refuse it.
    """
    if not hasattr(tarfile, "data_filter"):
        raise ValueError(
            f"Python {platform.python_version()} unpacks whatever an archive says: use 3.11.4 or later, or put the set "
            "there yourself"
        )
    before = tarfile.TarFile.extraction_filter
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = before


@contextmanager
def _socket_timeout() -> Iterator[None]:
    """Set a timeout for torchvision, which waits forever for a silent server while others wait for our lock."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def may_download() -> bool:
    """Whether missing sets are downloaded now."""
    return os.environ.get(DOWNLOAD_VARIABLE) == "1" and not _paused.get()


@contextmanager
def without_downloads() -> Iterator[None]:
    """Download nothing inside, whatever the user allows: a dry run only says what is missing."""
    token = _paused.set(True)
    try:
        yield
    finally:
        _paused.reset(token)


def missing(name: str, folder: Path, places: Sequence[str]) -> DataMissingError:
    """Make the error of a missing set that could be downloaded.

    :param places: what was looked for, below the folder.
    """
    where = f"{FOLDER_VARIABLE} = {str(folder)!r}"
    if os.environ.get(DOWNLOAD_VARIABLE) == "1":
        advice = f"a run downloads it ({DOWNLOAD_VARIABLE}=1)"
    else:
        advice = f"put it there, or set {DOWNLOAD_VARIABLE}=1 to download it"
    return DataMissingError(f"{name}: is not in {where} (looked for {', '.join(places)}); {advice}")
