"""Text on a terminal: what others wrote is shown and never obeyed, and no character is a reason to stop."""

import io
import os
import re
import sys
from typing import TextIO

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, separators of lines, marks that reverse the direction of text, and halves of characters."""


def shown(text: object) -> str:
    r"""Text of a space, a ledger or an exception as one line that drives no terminal: ``\x1b`` for an escape."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def print_line(text: str, stream: TextIO) -> None:
    """Print a line at once, whoever wrote it; a closed pipe (``| head``) or terminal ends the printing alone."""
    try:
        print(shown(text), file=stream, flush=True)
    except OSError:
        print_no_more(stream)


def print_no_more(stream: TextIO) -> None:
    """Drop what is still printed, and what waits to be: nobody reads it any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def prepare_streams() -> None:
    """Have both standard streams replace what their encoding lacks, which raises otherwise; call it in every main."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
