"""What the verdicts' command uses of Rich, without colours: for a machine that lacks Rich."""

from typing import Any, Self


class Text:
    """Text with styles, printed without them."""

    def __init__(self, text: str = "", style: str = "") -> None:
        self._text = text

    def append(self, text: str, style: str = "") -> Self:
        """Add a part."""
        self._text += text
        return self

    def __str__(self) -> str:
        return self._text


class Console:
    """Prints to standard output."""

    def __init__(self, **_: Any) -> None:
        pass

    def print(self, line: object = "") -> None:
        """Print one line."""
        print(line)
