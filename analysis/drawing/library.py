"""The drawing library of a page as one script; kept in the cache folder, for making it takes seconds."""

import hashlib
import importlib.metadata
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import altair as alt
import vl_convert


def script() -> str:
    """Vega, Vega-Lite and vegaEmbed, which is put into the window.

    A kept script begins with its own digest, so that a damaged one is made again; its name has the versions.
    """
    version = ".".join(alt.SCHEMA_VERSION.split(".")[:2])
    path = _cache() / f"vega_{version}_{importlib.metadata.version('vl-convert-python')}.js"
    with suppress(OSError, ValueError):
        digest, _, kept = path.read_text(encoding="utf-8").partition("\n")
        if digest == _digest(kept):
            return kept
    # The library's own type stub calls the snippet required.
    made = str(vl_convert.javascript_bundle(vl_version=version))  # type: ignore[call-arg]
    with suppress(OSError):  # Without a cache the next page takes as long.
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(f"{_digest(made)}\n{made}")
        os.replace(partial, path)
    return made


def _cache() -> Path:
    """As :mod:`trainables.data.folder` has it."""
    return Path(os.environ.get("GROKSCAPE_CACHE") or os.path.expanduser("~/.cache/grokscape"))


def _digest(text: str) -> str:
    return f"// {hashlib.sha256(text.encode()).hexdigest()}"
