"""What a run of the benchmark found: checks and rows by section, as one JSON file that grows as it goes.

Each section has its share of the time that is left, and says what it left out when that ends.  An error costs what
was attempted, not the run.
"""

import json
import math
import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from pipeline.execution.provenance import collect, device_kind
from trainables.engine.errors import one_line

PACKAGES = ("torch", "numpy", "pyarrow", "pandas", "scipy", "matplotlib")


@dataclass
class Section:
    """One section: its checks, which can fail, its rows, which are only reported, its errors, and what it left out."""

    name: str
    deadline: float
    say: Callable[[str], None]
    dry: bool = False
    saved: Callable[[], None] = lambda: None
    """Called after every piece of work: a run that is cut keeps it."""
    checks: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def check(self, name: str, ok: bool, **figures: Any) -> None:
        """Record a check with its figures, whatever came out."""
        self.checks.append({"name": name, "ok": bool(ok), **_plain(figures)})
        if not ok:
            self.say(f"  FAILED {name}: {_line(figures)}")

    def row(self, **values: Any) -> None:
        """Record what was measured."""
        self.rows.append(_plain(values))
        self.say(f"  {_line(values)}")

    def attempt(self, name: str, work: Callable[[], None], *, needs_s: float = 0.0) -> None:
        """Do a piece of work if time is left for it; record its error, and go on.

        :param needs_s: how much must be left, for what takes long.
        """
        if time.monotonic() + needs_s >= self.deadline:
            self.left_out.append(name)
            return
        error = None
        try:
            work()
        except Exception as caught:  # The others shall still be tried.
            error = f"{type(caught).__name__}: {one_line(caught, 300)}"
        if error is not None:  # Its traceback, which keeps tensors alive, is gone here.
            self.errors.append({"name": name, "error": error})
            self.say(f"  ERROR {name}: {error}")
        self.saved()

    def content(self) -> dict[str, Any]:
        """The section as the file has it."""
        return {"checks": self.checks, "errors": self.errors, "rows": self.rows, "left_out": self.left_out}


class Report:
    """All sections of a run on one device.

    :param path: the JSON file; written anew after every piece of work.
    :param seconds: for all sections together.
    """

    def __init__(self, device: str, path: Path, seconds: float, *, dry: bool) -> None:
        self.device, self.dry, self.path = torch.device(device), dry, path
        self._began = time.monotonic()
        self._end = self._began + seconds
        source = collect()
        self.content: dict[str, Any] = {
            "device": device_kind(device),
            "dry": dry,
            "began": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": source["commit"],
            "uncommitted_changes": source["dirty"],
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            "cpu": source["cpu"],
            "cuda": torch.version.cuda,
            "memory_bytes": _memory(self.device),
            "sections": {},
        }

    def say(self, text: str) -> None:
        """Print a line at once, with the seconds since the start."""
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", flush=True)

    @contextmanager
    def section(self, name: str, share: float) -> Iterator[Section]:
        """A section that may take this share of the time that is left."""
        began = time.monotonic()

        def save() -> None:
            seconds = {"seconds": round(time.monotonic() - began, 1)}
            self.content["sections"][name] = seconds | section.content()
            self.write()

        section = Section(name, began + max(0.0, self._end - began) * share, self.say, self.dry, save)
        self.say(f"{name} (until {section.deadline - self._began:.0f} s)")
        try:
            yield section
        finally:
            if section.left_out:
                self.say(f"  left out, for lack of time: {', '.join(section.left_out)}")
            failed = sum(not check["ok"] for check in section.checks)
            self.say(f"  {len(section.checks) - failed} of {len(section.checks)} checks passed")
            save()

    @property
    def failed(self) -> int:
        """How many checks failed, and how much ended with an error, so far."""
        return sum(failures(section) for section in self.content["sections"].values())

    def write(self) -> None:
        """Write the file, whole or not at all."""
        self.content["seconds"] = round(time.monotonic() - self._began, 1)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(partial, self.path)


def failures(section: dict[str, Any]) -> int:
    """How many checks of a section of the file failed, and how much of it ended with an error."""
    return len(section["errors"]) + sum(not check["ok"] for check in section["checks"])


def file_name(device: str, *, dry: bool) -> str:
    """``gpu_nvidia-h100-80gb-hbm3_2026-11-26.json``."""
    kind = device_kind(device).partition(":")[2] if device != "cpu" else "cpu"
    slug = re.sub(r"[^a-z0-9]+", "-", kind.lower()).strip("-")
    return f"{'dry' if dry else 'gpu'}_{slug}_{datetime.now(UTC):%Y-%m-%d}.json"


def _memory(device: torch.device) -> int | None:
    return torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else None


def _plain(values: Any) -> Any:
    """JSON values; a number that JSON lacks is its name."""
    if isinstance(values, dict):
        return {name: _plain(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_plain(value) for value in values]
    if isinstance(values, float):
        return float(f"{values:.5g}") if math.isfinite(values) else str(values)
    return values


def _line(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )
