"""Where a sweep's trials come from, what they cost, and which of them failed: for the foot of a page."""

import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trainables.engine.terminal import shown
from trainables.runtime.rows import TrialRow, TrialState

LIBRARIES = ("torch", "numpy", "ray")
"""Whose versions are named."""


@dataclass(frozen=True)
class Origin:
    """What the rows of a sweep's trials say of their making."""

    revision: str
    """A digest of the space's text."""
    recorded_at: str
    train_s: float
    steps: int
    made_by: tuple[str, ...]
    """``75 trials: grokscape at 1a17bc0, torch 2.13.0, Python 3.11.15, on cpu:Intel...``, the most frequent first."""
    failures: tuple[str, ...]
    """``3 trials (4f1c..., ...): out of memory: ...``, by what went wrong."""
    commit: str = ""
    """The commit of grokscape that trained most of the trials; empty where that is not known, or it had changes."""

    @classmethod
    def of(cls, revision: str, recorded_at: str, rows: Iterable[TrialRow]) -> "Origin":
        """From the rows of those trials that were begun."""
        rows = list(rows)
        made = Counter(_made_by(row) for row in rows)
        commits = Counter(_commit(row) for row in rows)
        errors: dict[tuple[str, str], list[str]] = {}
        for row in rows:
            if row.state == TrialState.FAILED:
                errors.setdefault((row.error_kind or "error", row.error or ""), []).append(row.trial_id)
        return cls(
            revision=revision,
            recorded_at=recorded_at,
            train_s=sum(row.train_s for row in rows),
            steps=sum(row.last_step for row in rows),
            made_by=tuple(f"{_trials(count)}: {what}" for what, count in made.most_common()),
            failures=tuple(
                f"{_trials(len(ids))} ({ids[0]}{', ...' if len(ids) > 1 else ''}): {kind.replace('_', ' ')}: {error}"
                for (kind, error), ids in errors.items()
            ),
            commit=commits.most_common(1)[0][0] if commits else "",
        )

    def cost(self) -> str:
        """``26 114 steps, 1.2 hours of training``."""
        hours = self.train_s / 3600
        time = f"{hours:.1f} hours" if hours >= 1 else f"{self.train_s / 60:.1f} minutes"
        return f"{self.steps:,} steps, {time} of training".replace(",", "\u202f", 1)


def _trials(count: int) -> str:
    return f"{count} trial{'' if count == 1 else 's'}"


def _made_by(row: TrialRow) -> str:
    """The code and the machine that trained a trial, as its row has them; a stranger's ledger may say anything."""
    known = _object(row.provenance_json)
    versions = known.get("versions")
    named = versions if isinstance(versions, dict) else {}
    commit = known.get("commit")
    parts = [f"grokscape at {str(commit)[:7]}{' and changes' if known.get('dirty') else ''}"] if commit else []
    parts += [f"{name} {named[name]}" for name in LIBRARIES if name in named]
    parts += [f"Python {known['python']}"] if "python" in known else []
    return shown(textwrap.shorten(f"{', '.join(parts) or 'unknown code'}, on {row.device_kind}", 300))


def _commit(row: TrialRow) -> str:
    """A full commit without changes, or nothing."""
    known = _object(row.provenance_json)
    commit = str(known.get("commit"))
    return commit if re.fullmatch(r"[0-9a-f]{40}", commit) and not known.get("dirty") else ""


def _object(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def command(doc: str) -> str:
    """The command that a space's docstring gives; empty where it gives none."""
    found = re.search(r"^Command\s+(\S.*)$", doc, re.MULTILINE)
    return found[1].strip() if found else ""
