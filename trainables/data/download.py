"""Sets that are fetched where they are missing, with ``GROKSCAPE_DOWNLOAD=1``: once, however many processes ask.

A set is fetched into a folder beside the data, checked there (torchvision's checksums, or numbers of rows), and gets
its name only when it is whole; a fetch that fails leaves nothing.  All of this was tried against a local server only:
there was no network to try the real addresses from, so those of the hub's files are as its pages state them.
"""

import os
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPException
from pathlib import Path

from trainables.data.folder import DOWNLOAD_VARIABLE, FOLDER_VARIABLE, DataMissingError, one_process

HUB_VARIABLE, HUB = "HF_ENDPOINT", "https://huggingface.co"
"""The hub's address, and the variable that its own clients let one name a mirror by."""
WIKITEXT = "datasets/Salesforce/wikitext/resolve/b08601e04326c79dfdd32d625aee71d232d685c3"
"""One revision of the hub's WikiText, so that everybody trains on the same."""
TIMEOUT_S = 60.0
_CHUNK = 1 << 20
_looking: ContextVar[bool] = ContextVar("only looking", default=False)


def fetch_once(name: str, target: Path, fetch: Callable[[Path], Path]) -> None:
    """Make ``target`` by one process of this file system, unless another one did.

    :param fetch: given an empty folder, fetches the set into it, and returns what is to become ``target``.
    :raises DataMissingError: when that fails; nothing is left of it.
    """
    partial = target.with_name(f".{target.name}.partial")
    try:
        with one_process(target.with_name(f".{target.name}.lock")):
            if target.exists():
                return
            # What a process that was killed has left.
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                with _patience():
                    os.replace(fetch(partial), target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except (OSError, RuntimeError, ValueError, HTTPException, EOFError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise DataMissingError(f"{name}: could not be fetched into {str(target.parent)!r} ({reason})") from None


def fetch_torchvision(name: str, kind: str, folder: str, root: Path) -> None:
    """Fetch a set of torchvision's, by its own code and against its own checksums, into ``root/folder``."""

    def fetch(partial: Path) -> Path:
        from trainables.data.torchvision_guard import torchvision  # with torch, which nothing else here needs

        getattr(torchvision().datasets, kind)(str(partial), download=True)
        for archive in (partial / folder).glob("**/*.gz"):
            archive.unlink()
        return partial / folder

    fetch_once(name, root / folder, fetch)


def fetch_wikitext(
    name: str, folder: str, shards: Mapping[str, Sequence[str]], rows: Mapping[str, int], root: Path
) -> None:
    """Fetch a WikiText from the Hugging Face hub, or from the mirror that ``HF_ENDPOINT`` names, into ``root/folder``.

    :param shards: the names of the files of each split.
    :param rows: how many rows each split must have.
    """
    hub = os.environ.get(HUB_VARIABLE, "").rstrip("/") or HUB

    def fetch(partial: Path) -> Path:
        from pyarrow import ArrowException, parquet

        whole = partial / folder
        whole.mkdir()
        for split, files in shards.items():
            found = 0
            for file in files:
                _fetch(f"{hub}/{WIKITEXT}/{folder}/{file}", whole / file)
                try:
                    found += parquet.read_metadata(whole / file).num_rows
                except (ArrowException, OSError) as error:
                    raise ValueError(f"{file} is not a Parquet file: {error}") from None
            if found != rows[split]:
                raise ValueError(f"{split} has {found} rows; must be {rows[split]}")
        return whole

    fetch_once(name, root / folder, fetch)


def _fetch(url: str, path: Path) -> None:
    """
    :raises OSError: when it is not there, or ends too soon.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{HUB_VARIABLE}: {url} is no HTTP address")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file, _CHUNK)
            length = answer.headers.get("Content-Length")
    except urllib.error.URLError as error:
        raise OSError(f"{url}: {error}") from None
    if length is not None and path.stat().st_size != int(length):
        raise OSError(f"{url}: ended after {path.stat().st_size} of {length} bytes")


@contextmanager
def _patience() -> Iterator[None]:
    """torchvision waits for ever for a server that has gone silent, while others wait for our lock; not so here."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def may_download() -> bool:
    """Whether sets that are missing are fetched here."""
    return os.environ.get(DOWNLOAD_VARIABLE) == "1" and not _looking.get()


@contextmanager
def only_looking() -> Iterator[None]:
    """Inside, sets that are missing are missing, whatever the user lets be fetched: to say what a run would do."""
    token = _looking.set(True)
    try:
        yield
    finally:
        _looking.reset(token)


def missing(name: str, folder: Path, places: Sequence[str]) -> DataMissingError:
    """The line for a set that is not there and could be fetched.

    :param places: what was looked for, below the folder.
    """
    asked = os.environ.get(DOWNLOAD_VARIABLE) == "1"
    way = (
        f"is fetched there when it is needed ({DOWNLOAD_VARIABLE}=1)"
        if asked
        else (f"put it there, or set {DOWNLOAD_VARIABLE}=1 to fetch it")
    )
    where = f"{FOLDER_VARIABLE} = {str(folder)!r}"
    return DataMissingError(f"{name}: is not in {where} (looked for {', '.join(places)}); {way}")
