"""Errors: their base, one as a line, addresses without secrets, and what the training tells apart."""

import re

from trainables.engine.terminal import shown


class GrokscapeError(Exception):
    """Base of the errors whose text is meant for the user: one line with what is wrong, where, and what is allowed."""


def one_line(error: BaseException, limit: int = 300, *, address: str = "") -> str:
    """The text of any exception in one line of at most ``limit`` characters; its class where it has no text.

    :param address: is redacted wherever the text contains it.
    """
    text = str(error).replace(address, redact(address)) if address else str(error)
    return shown(" ".join(text.split()))[:limit] or type(error).__name__


def redact(address: str) -> str:
    """An address as messages show it: without user, password and query.

    ``s3://KEY:SE/CRET@bucket/ledger?region=eu`` becomes ``s3://bucket/ledger``.  A path of this machine, with or
    without a scheme, holds no secret before its query.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    if re.fullmatch(r"file|sqlite(\+\w+)?", scheme):
        return f"{scheme}://{rest.partition('?')[0]}"
    before, _, place = rest.rpartition("@")
    if "?" in before:
        return f"{scheme}://..."  # A question mark of the password, or an @ of the query: nothing is safe to show.
    return f"{scheme}://{re.split('[?#]', place)[0]}"


class LostProcessError(RuntimeError):
    """A process that trains a part of the trial is gone."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory is exhausted; torch's CPU allocator raises a plain RuntimeError."""
    import torch  # whoever asks has trained

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
