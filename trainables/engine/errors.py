"""Errors: their base, one as a line, the secrets in a message, and what the training tells apart."""

import argparse
import os
import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, ClassVar, NoReturn
from urllib.parse import parse_qsl, quote, unquote

from trainables.engine.terminal import shown


class GrokscapeError(Exception):
    """Base of the errors whose text is meant for the user: one line with what is wrong, where, and what is allowed.

    The text has no secrets, whatever the message quotes.
    """

    def __str__(self) -> str:
        return redact_text(super().__str__())


_SCHEME = r"[a-zA-Z][\w+.:-]*"
_HOST = r"(?:\[[\da-fA-F:.]+\]|[\w.~-]*)(?::\d*)?"
_HOSTS = re.compile(rf"{_HOST}(?:,{_HOST})*")
"""Several are PostgreSQL's."""
_ADDRESS = re.compile(rf"(?<![\w+.-]){_SCHEME}://[^\s'\"<>]*[^\s'\"<>:,.;)\]}}]")

_HIDDEN = "***"
_WORD = (
    r"pass(?:word|wd|phrase)?|pwd|secret|(?:access|secret|api|account|private|shared|encryption)[_-]?key(?:[_-]?id)?"
)
_NAME = rf"[\w.-]*(?:{_WORD}|token|credential|signature|authorization|connection_string)|(?:[\w.-]*[_-])?sig"
_VALUE = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s,;&'")\]}]+"""
_ASSIGNMENTS = (
    re.compile(rf"(?i)((?<![\w.-])(?:{_NAME})(?:\s*=\s*|%3D))({_VALUE})"),
    re.compile(rf"(?i)((?<![\w.-])[\w.-]*(?:{_WORD}):\s+)({_VALUE})"),
    re.compile(rf"(?i)((['\"])(?:{_NAME})\2\s*:\s*)({_VALUE})"),
    re.compile(r"(?i)(\b(?:basic|bearer)\s+)[\w.~+/=-]{8,}"),
)
"""``password=secret``, ``password: secret``, ``"token": "secret"``, ``Authorization: Bearer secret``."""
_USER = re.compile(r"(?<![^\s/'\"(=,])[^\s/:@'\"(=,]*:[^\s/:@]+(?:@|%40)")
"""``user:password@`` without a scheme, at the beginning of a word or a part of a path."""
_LEAST_CHARACTERS = 6
"""A shorter value would hide common words."""


def one_line(error: BaseException, limit: int = 300, *, address: str = "") -> str:
    """The text of any exception in one line of at most ``limit`` characters, without secrets; its class where it has
    no text.

    :param address: see :func:`redact_text`.
    """
    return shown(" ".join(redact_text(str(error), address).split()))[:limit] or type(error).__name__


def redact(address: str) -> str:
    """An address as messages show it: without user, password, query and fragment.

    ``s3://KEY:SE/CRET@bucket/ledger?region=eu`` becomes ``s3://bucket/ledger``; an address that can be read in two
    ways becomes ``s3://...``.  A path of this machine, with or without a scheme, holds no secret before its query.
    In any other text, such as PostgreSQL's ``host=db password=secret``, the values of secret names become ``***``.
    """
    match = re.fullmatch(rf"({_SCHEME})://(.*)", address, re.DOTALL)
    if match is None:
        if re.match(r"(?!sqlite:|file:|[./~])[^@/]*:.*@", address, re.DOTALL):  # user:password@host
            return f"...@{re.split('[?#]', address.rpartition('@')[2])[0]}"
        return _without_assignments(address)
    scheme, rest = match.groups()
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" not in authority and re.fullmatch(r"file|sqlite(\+\w+)?", scheme):
        return f"{scheme}://{_without_assignments(rest) if scheme == 'file' else rest.partition('?')[0]}"
    user, _, place = rest.rpartition("@")
    if "@" not in authority and _HOSTS.fullmatch(authority):
        # An @ of the path, unless host:5000/a@host is user:pass/word@host.
        unclear = user and (not authority or ":" in user or "?" in user)
        place = rest
    else:
        # A slash in the password hides its end; after another @, or a question mark, it may be one of the path.
        unclear = not user or "?" in user or ("@" in authority and user != authority.rpartition("@")[0])
    if unclear:
        return f"{scheme}://..."
    if scheme in ("abfs", "abfss"):  # The user is the container: abfss://container:key@account
        container = authority.rpartition("@")[0].partition(":")[0]
        place = f"{container}@{place}" if container else place
    return f"{scheme}://{re.split('[?#]', place)[0]}"


def holds_secret(address: str) -> bool:
    """Whether a string is an address with a user, a password, or a secret in its query."""
    place = re.split("[?#]", address)[0]
    return "://" in address and (redact(place) != place or _without_assignments(address) != address)


def redact_text(text: str, address: str = "") -> str:
    """Hide the secrets in a message: of its addresses, of the environment, and after names such as ``password=``.

    :param address: one that was in use: its password is hidden wherever the text has it, decoded too.
    """
    if address:
        text = text.replace(address, redact(address))
    for secret in sorted({*_secrets_of(address), *_secrets_of_the_environment()}, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return _without_assignments(_ADDRESS.sub(lambda match: redact(match[0]), text))


def _without_assignments(text: str) -> str:
    for pattern in _ASSIGNMENTS:
        text = pattern.sub(rf"\1{_HIDDEN}", text)
    return _USER.sub("...@", text)


def _secrets_of(address: str) -> Iterator[str]:
    """The password of an address, or the token that stands for a user, and the secrets of its query."""
    scheme, _, rest = address.partition("://")
    values = []
    for at in re.finditer("@", rest):  # Any may be the end of the password.
        name, _, password = rest[: at.start()].partition(":")
        values.append(password or (name if scheme.startswith("http") else ""))
    values += [value for name, value in parse_qsl(rest.partition("?")[2]) if re.fullmatch(_NAME, name, re.IGNORECASE)]
    for value in values:
        if len(value) >= _LEAST_CHARACTERS:
            yield from (value, unquote(value), quote(unquote(value), safe=""))


def _secrets_of_the_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        if name in ("PWD", "OLDPWD"):  # the shell's folders
            continue
        if len(value) >= _LEAST_CHARACTERS and re.fullmatch(rf"{_NAME}|.*_KEY", name, re.IGNORECASE):
            yield value


class CommandLine(argparse.ArgumentParser):
    """A command line that takes no abbreviation, and whose errors are one line without secrets and exit code 2."""

    invoked_as: ClassVar[str | None] = None
    """What the user typed, where that is not the ``prog`` of the next command line that is made."""

    def __init__(self, **options: Any) -> None:
        if CommandLine.invoked_as is not None:
            options["prog"], CommandLine.invoked_as = CommandLine.invoked_as, None
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        hint = self._hint(message)
        self.exit(2, f"error: {shown(redact_text(message.removeprefix('argument ')))}{hint} (see --help)\n")

    def _hint(self, message: str) -> str:
        """The flags that are most like those that there are not."""
        unknown = message.partition("unrecognized arguments: ")[2].split()
        flags = set(self._option_string_actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                flags.update(*(parser._option_string_actions for parser in action.choices.values()))
        names = [word.partition("=")[0] for word in unknown if word.startswith("--")]
        near = [match for name in names for match in get_close_matches(name, sorted(flags), n=1, cutoff=0.7)]
        return f"; did you mean {' and '.join(near)}?" if near else ""


class LostProcessError(RuntimeError):
    """A process that trains a part of the trial is gone."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory is exhausted; torch's CPU allocator raises a plain RuntimeError."""
    import torch  # whoever asks has trained

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
