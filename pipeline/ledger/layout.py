"""The layout of a ledger's files: the folders, and the names in them that are the ledger's own.

A ledger may be somebody else's: what has no such name is reported, and never read, written or deleted.
"""

import re

from pipeline.ledger.files import Entry, LedgerError

MARKER = "grokscape-ledger.json"
SEGMENTS, COMPACTED, MANIFESTS = "segments", "compacted", "manifests"
SWEEPS, CHECKPOINTS, SNAPSHOTS, LEASES = "sweeps", "checkpoints", "snapshots", "leases"
FOLDERS = (SEGMENTS, COMPACTED, MANIFESTS, SWEEPS, CHECKPOINTS, SNAPSHOTS, LEASES)
CANCEL = "cancel"
"""The suffix of a request that a driver end."""

NAME = r"[A-Za-z0-9_-](?:[A-Za-z0-9_.@-]{0,198}[A-Za-z0-9_-])?"
"""Of a sweep or a trial: what a space's file may be called, with ``@`` before what flags change, and digests."""
_SUFFIXES = {CHECKPOINTS: "ckpt", SNAPSHOTS: "npz"}
_STEP = "0|[1-9][0-9]{0,12}"
_OURS = {
    SEGMENTS: r"[0-9a-f]{32}(-[0-9]{1,9})?\.parquet",
    COMPACTED: r"(trajectories|trials)-[0-9a-f]{32}\.parquet",
    MANIFESTS: r"[0-9a-f]{32}\.json",
    SWEEPS: rf"{NAME}\.json",
    LEASES: rf"[0-9a-f]{{32}}\.(json|{CANCEL})",
    CHECKPOINTS: rf"(?P<shard>[A-Za-z0-9_.-]{{1,2}})/(?P<trial_id>{NAME})\.(?P<step>{_STEP})\.ckpt",
    SNAPSHOTS: rf"(?P<shard>[A-Za-z0-9_.-]{{1,2}})/(?P<trial_id>{NAME})\.(?P<step>{_STEP})\.npz",
}


def is_ours(path: str) -> bool:
    """Whether a path, relative to the root, is one that a ledger gives to a file with content."""
    return _match(path) is not None


def check_name(what: str, name: object) -> None:
    """Allow only what may be part of a file name: letters, digits, ``_``, ``-``, inner dots and inner ``@``.

    :raises LedgerError: when ``name`` is anything else.
    """
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise LedgerError(
            f"ledger: {what} = {name!r}: must be at most 200 letters, digits, '_', '-', inner '.' and '@'"
        )


def segment_of(entry: Entry) -> str:
    """Return the key of a segment from its file's name."""
    return entry.name.removesuffix(".parquet")


def trial_path(folder: str, trial_id: str, step: int) -> str:
    """Return the path of a checkpoint or a snapshot."""
    # Two letters of the id name a folder, so that no folder gets long; the step is in the name, so that an older
    # checkpoint from a zombie is another file and never replaces a newer one.
    check_name("trial_id", trial_id)
    return f"{folder}/{trial_id[:2]}/{trial_id}.{step}.{_SUFFIXES[folder]}"


def trial_and_step(entry: Entry) -> tuple[str, int]:
    """Return the trial and the step in the name of a checkpoint or a snapshot; ("", -1) for any other file."""
    match = _match(entry.path)
    if match is None or "trial_id" not in match.groupdict():
        return "", -1
    return match["trial_id"], int(match["step"])


def _match(path: str) -> re.Match[str] | None:
    folder, _, name = path.partition("/")
    match = re.fullmatch(_OURS[folder], name) if folder in _OURS else None
    if match and "shard" in match.groupdict() and match["shard"] != match["trial_id"][:2]:
        return None
    return match
