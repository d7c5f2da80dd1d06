"""What MLflow shows of a trial and of a sweep, computed from the ledger's rows alone: no server, no clock.

Everything here is a function of the ledger's content, so that every sync writes the same thing:
the metrics' timestamps are made from the training step (one second a step), a run's start and end from the row's
own times.  Parameters hold what decides the path of the weights, because MLflow never changes a parameter; what
may change for one trial (protocol, state, coordinates, provenance) goes to tags.
"""

import dataclasses
import hashlib
import json
import math
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ledger import SweepRow
from pipeline.ledger.rows import float_values
from pipeline.ledger.soundness import SCHEMA_VERSION, sweep_row
from pipeline.ledger.views.records import Asked
from trainables.engine.config import CLASS_KEY, canonical_json, digest, parse_json
from trainables.engine.events import Outcome
from trainables.engine.trial import TrialConfig
from trainables.runtime.rows import TrialRow, TrialState

PARAM_CHARACTERS, TAG_CHARACTERS, KEY_CHARACTERS = 6000, 8000, 250
NAME_CHARACTERS = 250
"""Of a run and of an experiment, which databases keep in columns."""
METRICS_PER_CALL, PARAMS_PER_CALL, TAGS_PER_CALL, ENTITIES_PER_CALL = 1000, 100, 100, 1000
BYTES_PER_CALL = 900_000
"""The tracking server's limits (1 MB a call, with room for the request's frame)."""

TRIAL_ID_TAG = "grokscape.trial_id"
KIND_TAG = "grokscape.kind"
SYNCED_TAG = "grokscape.synced"
"""Written last: what the run holds, so that the next sync knows what is missing."""
SHEET_TAG = "grokscape.sheet"
"""The sweep's row: in tags, which move with the database, as the files of a run do not."""
COORDINATE_PREFIX = "coordinate."
CELL_TAG, PHASE_TAG = "grokscape.cell", "grokscape.phase"
EVENT_PREFIX = "event."
"""Of the tag that says in a word what came of an event, at its headline: ``event``, ``censored``, ``diverged``..."""
OWN_PREFIXES = ("grokscape.", COORDINATE_PREFIX, EVENT_PREFIX)
"""Of the tags that a sync removes where the ledger has no reason for them any more."""
UNFOLDED = {"mlflow.runType": "evaluation"}
"""The page opens a sweep's own row by itself for runs of this type, and shows no other difference (MLflow 3.17)."""
CAME_PREFIX = "came."
"""Of the metric that is 1 where an event came and 0 where it did not, whose mean over seeds is a share."""
DETAIL_PREFIX = "zz."
"""Of the metrics of each threshold, which a page sorts by name: last, below what one looks at."""

CONTENT_VERSION = 3
"""Part of every digest: raise it when this file shows a trial differently, and the next sync updates every run."""

DENSE_UNTIL_STEPS = 20
CURVE_RATIO = 1.12
"""One point a curve for each bucket of steps: 59 points at 1500 steps, 96 at 100 000."""

PROTOCOL = frozenset(spec.name for spec in dataclasses.fields(TrialConfig) if spec.metadata.get("protocol")) | {
    "probes"
}
"""The fields of a trial that may change under one id; ``probes`` is declared by the trial kinds, which import torch."""
TIMES_AND_PLACES = frozenset({"train_s", "provenance_json", "committed_at", "traceback"})


@dataclass(frozen=True)
class Point:
    """One value of one metric; ``timestamp`` in milliseconds is a function of the step."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True)
class Synced:
    """What a run already holds, by its tag: enough to add to it, or to see that it must be replaced."""

    content: str
    """Digest of everything that is shown, times and places aside."""
    step: int
    end: str
    """State and stop reason; empty while the trial runs."""
    rows: str
    """Digest of the trajectory up to ``step``."""

    @classmethod
    def from_tag(cls, text: str | None) -> "Synced | None":
        """The tag's content; None for a missing or foreign one, which makes the next sync write everything."""
        try:
            synced = cls(**parse_json(text or ""))
        except (ValueError, TypeError):
            return None
        types = {spec.name: int if spec.name == "step" else str for spec in dataclasses.fields(cls)}
        return synced if all(type(getattr(synced, name)) is kind for name, kind in types.items()) else None

    def to_tag(self) -> str:
        return canonical_json(dataclasses.asdict(self))


@dataclass(frozen=True)
class RunContent:
    """One run as MLflow shows it."""

    name: str
    params: dict[str, str]
    tags: dict[str, str]
    points: tuple[Point, ...]
    status: str
    start_ms: int
    end_ms: int | None
    """None while the trial runs."""


def row_digest(row: TrialRow, coordinates: Mapping[str, Any], parent_run_id: str) -> str:
    """A digest of what a trial's run shows, known without reading the trajectory.

    The trajectory needs no part in it: the trial id, the source and the last step decide it.
    """
    fields = {name: value for name, value in dataclasses.asdict(row).items() if name not in TIMES_AND_PLACES}
    return digest([CONTENT_VERSION, fields, dict(coordinates), parent_run_id])


def trial_content(
    row: TrialRow, trajectory: pa.Table, coordinates: Mapping[str, Any], parent_run_id: str
) -> RunContent:
    """The run of one trial.

    :param trajectory: the trial's rows in ascending ``step``, one column a probe; null where not measured.
    """
    config = json.loads(row.config_json)
    asked = Asked.by_itself(row)
    known = asked.outcome(row, trajectory)
    identity = {name: value for name, value in config.items() if name not in PROTOCOL}
    committed_ms = milliseconds(row.committed_at)
    tags = {
        KIND_TAG: "trial",
        TRIAL_ID_TAG: row.trial_id,
        "mlflow.parentRunId": parent_run_id,
        **UNFOLDED,
        "grokscape.state": row.state,
        "grokscape.stop_reason": row.stop_reason,
        "grokscape.error": row.error,
        "grokscape.error_kind": row.error_kind,
        "grokscape.train_s": f"{row.train_s:.3f}",
        "grokscape.committed_at": row.committed_at,
        "grokscape.device_kind": row.device_kind,
        "grokscape.data_fingerprint": row.data_fingerprint,
        "grokscape.source_hash": row.source_hash,
        "grokscape.coordinates": canonical_json(dict(coordinates)),
        CELL_TAG: words(coordinates, seeds=False),
        "grokscape.config": row.config_json,
        **{f"grokscape.{name}": text for name, text in flatten({name: config.get(name) for name in PROTOCOL}).items()},
        **{f"{COORDINATE_PREFIX}{axis}": _text(value) for axis, value in coordinates.items()},
        **_outcome_tags(asked, known),
        **_provenance_tags(row.provenance_json),
        SYNCED_TAG: Synced(
            content=row_digest(row, coordinates, parent_run_id),
            step=row.last_step,
            end=_end(row),
            rows=rows_digest(trajectory, row.last_step),
        ).to_tag(),
    }
    return RunContent(
        name=fitted_name(words(coordinates) or row.trial_id),
        params={fitted_key(key): fitted_text(text, PARAM_CHARACTERS) for key, text in flatten(identity).items()},
        tags=fitted_tags(tags),
        points=(
            *_points_at_end(row, _headlines(row, coordinates, known)),
            *_curve_points(row, trajectory),
            *_points_at_end(row, _details(known)),
        ),
        status={TrialState.RUNNING: "RUNNING", TrialState.FAILED: "FAILED"}.get(row.state, "FINISHED"),
        start_ms=max(0, committed_ms - round(1000 * row.train_s)),
        end_ms=committed_ms if row.ended else None,
    )


def can_extend(
    held: Synced, row: TrialRow, trajectory: pa.Table, content: RunContent, metrics: Mapping[str, float]
) -> bool:
    """Whether writing what is new onto a run that holds ``held`` shows the trial as it is now.

    MLflow can add metrics but not remove them, so a run whose past is not the ledger's past (other code, a dropped
    and repeated trial, another ending at the same step) has to be replaced.

    :param metrics: the latest value of each metric that the run has.
    """
    if row.last_step < held.step or rows_digest(trajectory, held.step) != held.rows:
        return False
    if row.last_step == held.step and held.end not in ("", _end(row)):
        return False
    latest = {point.key: point.value for point in content.points}
    if row.last_step == held.step and held.end == _end(row):
        # Of two values at one time MLflow shows the larger one, not the newer one.
        return all(key in latest and _same(value, latest[key]) for key, value in metrics.items())
    return metrics.keys() <= latest.keys()


def words(coordinates: Mapping[str, Any], *, seeds: bool = True) -> str:
    """The name of a trial, or of its cell: ``weight_decay=2, train_fraction=0.5, seed=1``, an arm by its name alone.

    A page shows the first thirty characters: an axis goes by the end of its path where no other axis ends so.

    :param seeds: whether the seeds, which come last, are part of the name.
    """
    ends = [axis.rpartition(".")[2] for axis in coordinates]
    parts: dict[bool, list[str]] = {False: [], True: []}
    for axis, end in zip(coordinates, ends, strict=True):
        value = coordinates[axis]
        text = _text(value).removesuffix(".0") if isinstance(value, float) else _text(value)
        parts[_is_seed(axis)].append(text if axis == "arm" else f"{end if ends.count(end) == 1 else axis}={text}")
    return ", ".join(parts[False] + (parts[True] if seeds else []))


def numbers(coordinates: Mapping[str, Any]) -> dict[str, float]:
    """The coordinates that are finite numbers, as metrics: MLflow compares parameters as texts only."""
    return {
        fitted_key(axis): float(value)
        for axis, value in coordinates.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested JSON as dotted names and strings: ``{"optimizer": {"class": "AdamW", "eps": 1e-8}}`` becomes
    ``{"optimizer": "AdamW", "optimizer.eps": "1e-08"}``."""
    flat: dict[str, str] = {}
    for name, item in value.items():
        if name == CLASS_KEY:
            flat[prefix.removesuffix(".") or CLASS_KEY] = str(item).rpartition(":")[2]
        elif isinstance(item, Mapping):
            flat |= flatten(item, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = _text(item)
    return flat


def fitted_tags(tags: Mapping[str, str | None]) -> dict[str, str]:
    """The tags that have a value, fitted to the server's limits."""
    return {fitted_key(key): fitted_text(text, TAG_CHARACTERS) for key, text in tags.items() if text is not None}


def fitted_name(name: str) -> str:
    """The name of a run or an experiment, fitted to the columns of a database."""
    return fitted_text(name, NAME_CHARACTERS)


def fitted_key(key: str) -> str:
    """The key of a param, a tag or a metric, fitted to what MLflow takes: letters, digits, ``_-. /``, and no path that
    leads elsewhere.  A digest of the whole key keeps two that are changed apart."""
    leads_on = key.startswith(("/", "..")) or posixpath.normpath(key) != key or key == "."
    if re.fullmatch(r"[\w. /-]+", key) and len(key) <= KEY_CHARACTERS and not leads_on:
        return key
    mark = digest(ascii(key))
    return re.sub(r"[^\w.-]", "_", key.lstrip("."))[: KEY_CHARACTERS - len(mark) - 1] + f"_{mark}"


def sheet_tags(sweep: SweepRow) -> dict[str, str]:
    """A sweep's row as tags: the number of pieces with a digest of the whole, and the pieces."""
    # In ASCII, which every database keeps as it is.
    text = json.dumps(dataclasses.asdict(sweep), sort_keys=True, separators=(",", ":"))
    pieces = [text[start : start + TAG_CHARACTERS] for start in range(0, len(text), TAG_CHARACTERS)]
    numbered = {f"{SHEET_TAG}.{number}": piece for number, piece in enumerate(pieces)}
    return {SHEET_TAG: f"{len(pieces)} {digest(text)}"} | numbered


def read_sheet(tags: Mapping[str, str], name: str) -> SweepRow:
    """The row of the sweep of that name, from the tags that :func:`sheet_tags` made.

    :raises ValueError: when they are not all there, or are somebody else's.
    :raises pipeline.ledger.LedgerError: when the row is not sound.
    """
    count, _, expected = tags.get(SHEET_TAG, "").partition(" ")
    text = "".join(tags.get(f"{SHEET_TAG}.{number}", "") for number in range(min(int(count or 0), len(tags))))
    if digest(text) != expected:
        raise ValueError(f"its tags {SHEET_TAG} are not complete")
    row = parse_json(text, for_terminal=False)
    return sweep_row(row | {"schema_version": SCHEMA_VERSION} if isinstance(row, dict) else row, name)


def curve_mask(steps: np.ndarray) -> np.ndarray:
    """Which measurements a curve shows: the first in each bucket of steps.

    The buckets depend on the step alone, so the points of a longer trajectory begin with those of the shorter one, and
    a curve only grows.

    :param steps: ascending, shape (T,).
    :returns: bool, shape (T,).
    """
    edges = list(range(DENSE_UNTIL_STEPS + 1))
    while len(steps) and edges[-1] < steps[-1]:
        edges.append(math.ceil(edges[-1] * CURVE_RATIO))
    mask = np.zeros(len(steps), dtype=bool)
    mask[np.unique(np.searchsorted(edges, steps, side="right"), return_index=True)[1]] = True
    return mask


def rows_digest(trajectory: pa.Table, until_step: int) -> str:
    """A digest of a trajectory up to a step; a column without a value does not count, so a new probe changes none."""
    rows = trajectory.filter(pc.less_equal(trajectory["step"], until_step))
    content = hashlib.sha256()
    for name in sorted(set(rows.column_names) - {"trial_id"}):
        column = rows[name]
        if column.null_count == len(column):
            continue
        values = float_values(column)
        measured = column.is_valid().to_numpy()
        # One bit pattern for every NaN and every missing value.
        values = np.where(measured & ~np.isnan(values), values + 0.0, np.nan)
        content.update(name.encode() + b"\0" + measured.tobytes() + values.tobytes())
    return content.hexdigest()[:20]


Batch = tuple[list[Point], dict[str, str], dict[str, str]]
"""Points, params and tags of one call."""


def batches(content: RunContent, after_step: int | None) -> Iterator[Batch]:
    """What to write, a call at a time within the server's limits; the tags come last.

    :param after_step: the step up to which the run has everything; its own points are sent again (MLflow keeps one
        of each), because an ending at that step adds some.
    """
    limits = {"point": METRICS_PER_CALL, "param": PARAMS_PER_CALL, "tag": TAGS_PER_CALL}
    batch: dict[str, list[Any]] = {kind: [] for kind in limits}
    size = 0
    entities: list[tuple[str, str, Any]] = [
        *(("param", *param) for param in content.params.items()),
        *(("point", p.key, p) for p in content.points if after_step is None or p.step >= after_step),
        # The tag that says that the run is complete must come last.
        *(("tag", *tag) for tag in sorted(content.tags.items(), key=lambda tag: tag[0] == SYNCED_TAG)),
    ]
    for kind, key, item in entities:
        # 80 bytes: the field names and numbers of one entity as JSON.
        cost = 80 + len(json.dumps(key)) + (len(json.dumps(item)) if isinstance(item, str) else 0)
        full = any(len(batch[kind]) >= limit for kind, limit in limits.items())
        if full or sum(map(len, batch.values())) >= ENTITIES_PER_CALL or size + cost > BYTES_PER_CALL:
            yield batch["point"], dict(batch["param"]), dict(batch["tag"])
            batch, size = {kind: [] for kind in limits}, 0
        size += cost
        batch[kind].append(item if kind == "point" else (key, item))
    yield batch["point"], dict(batch["param"]), dict(batch["tag"])


def milliseconds(iso: str) -> int:
    """A UTC time in ISO 8601 as milliseconds since 1970."""
    return round(1000 * datetime.fromisoformat(iso).timestamp())


def _headlines(row: TrialRow, coordinates: Mapping[str, Any], known: Outcome | None) -> dict[str, float]:
    """What one looks at first: the numeric coordinates, when each event came, whether it did, the last step."""
    values = numbers(coordinates)
    events = [known.event(rule.name) for rule in known.rules] if known else []
    values |= {event.name: event.time_steps for event in events if event.occurred}
    values |= {"last_step": float(row.last_step)}
    return values | {f"{CAME_PREFIX}{event.name}": float(event.occurred) for event in events}


def _details(known: Outcome | None) -> dict[str, float]:
    """Every number of every threshold, from which a reader makes the outcome again."""
    return {f"{DETAIL_PREFIX}{key}": value for key, value in known.to_metrics().items()} if known else {}


def _points_at_end(row: TrialRow, values: Mapping[str, float]) -> list[Point]:
    """Values as they are at the last step.

    An ending is one millisecond later than a passing state at the same step, for MLflow calls the latest value the
    one with the larger step, and then the later timestamp.
    """
    timestamp = 1000 * row.last_step + row.ended
    return [Point(fitted_key(key), value, timestamp, row.last_step) for key, value in values.items()]


def _outcome_tags(asked: Asked, known: Outcome | None) -> dict[str, str | None]:
    """What came of each event at its headline, and the phase, in words."""
    if known is None:
        return {}
    tags: dict[str, str | None] = {f"{EVENT_PREFIX}{rule.name}": known.event(rule.name).kind for rule in known.rules}
    return tags | {PHASE_TAG: asked.phase(known)}


def _curve_points(row: TrialRow, trajectory: pa.Table) -> list[Point]:
    """The down-sampled curves; the very last measurement too, once the trial has ended.

    A column of one tensor or frequency (``norm.weight_2``, ``fourier_output.power_7``) has its last value only: a
    trial may have hundreds of them, and their curves are in the ledger.  A value that is not finite is sent as NaN:
    MLflow keeps NaN, but turns an infinity into 1.8e308.
    """
    steps = trajectory["step"].to_numpy()
    shown = curve_mask(steps)
    if row.ended and len(steps):
        shown[-1] = True
    points = []
    for name in trajectory.column_names:
        if name in ("trial_id", "step"):
            continue
        column = trajectory[name]
        values, measured = float_values(column), np.flatnonzero(column.is_valid().to_numpy())
        for index in measured[-1:] if "." in name else measured[shown[measured]]:
            value, step = float(values[index]), int(steps[index])
            points.append(Point(fitted_key(name), value if math.isfinite(value) else math.nan, 1000 * step, step))
    return points


def _provenance_tags(provenance_json: str) -> dict[str, str]:
    provenance = json.loads(provenance_json or "{}")
    provenance.pop("components", None)  # The digest of them all is a tag.
    tags = {f"grokscape.provenance.{name}": text for name, text in flatten(provenance).items()}
    if provenance.get("commit"):
        tags["mlflow.source.git.commit"] = provenance["commit"]
    return tags


def _is_seed(axis: str) -> bool:
    return axis == "seed" or axis.startswith("seeds.")


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _end(row: TrialRow) -> str:
    return f"{row.state}/{row.stop_reason or ''}" if row.ended else ""


def _text(value: Any) -> str:
    """A JSON scalar bare, anything else as canonical JSON."""
    return value if isinstance(value, str) else canonical_json(value)


def fitted_text(text: str, limit: int) -> str:
    """Cut a long string and replace what no database takes; a digest keeps two changed ones apart."""
    plain = re.sub("[\0\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)
    return text if plain == text and len(text) <= limit else f"{plain[: limit - 25]}... #{digest(ascii(text))}"
