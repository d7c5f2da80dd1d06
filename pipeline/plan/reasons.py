"""Why trials are run: what distinguishes new ones from the nearest in the ledger, and why others go on or start again.

A trial is compared through sums of hashes over the fields that decide the path of its weights, so that it costs the
same for a ledger of any size whether some row differs from it in one field only.
"""

import itertools
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any

from pipeline.plan.coverage import measured_enough, trained_by
from pipeline.plan.planning import Plan
from trainables.engine.config import CLASS_KEY, Config, canonical_json
from trainables.engine.names import find
from trainables.engine.trial import Seeds, TrialConfig
from trainables.runtime.rows import TrialRow, TrialState

MOST_COMPARED = 5000
"""New trials, and rows, that are looked at: some 0.05 ms each."""
MOST_ROUNDS, MOST_FIELDS, MOST_VALUES = 5, 3, 4
SEEDS = "seeds"
NO_SEEDS = Seeds().json_text
SEEDS_JSON = re.compile(rf'"{SEEDS}":({{[^{{}}]*}})')


def reasons(plan: Plan, rows: Mapping[str, TrialRow], taken: Mapping[str, str] | None = None) -> list[str]:
    """Say why each trial of a plan is run: a line for each reason, such as ``18 new: model.hidden = [128], where the
    ledger has [64]``.

    :param rows: the ledger's trials by id, those of other sweeps too.
    :param taken: the trials that another run trains now, with its sweep.
    """
    counts: Counter[str] = Counter()
    fresh: list[TrialConfig] = []
    for cohort in plan.cohorts:
        for config in cohort.trials:
            row = rows.get(config.trial_id)
            if taken and config.trial_id in taken:
                counts[f"trained by another run now ({taken[config.trial_id]})"] += 1
            elif row is None:
                fresh.append(config)
            else:
                changed = plan.discarded.get(config.trial_id)
                why = f"from the beginning: trained by another version of {changed}" if changed else ""
                counts[why or _why_again(config, row, cohort.start_step)] += 1
    lines = [f"{count} {reason}" for reason, count in sorted(counts.items())]
    return lines + [f"{count} new: {reason}" for reason, count in _why_new(fresh, rows).items()]


def _why_again(config: TrialConfig, row: TrialRow, start: int) -> str:
    """Why a trial that has a row is run: ``to continue: horizon raised from 300 to 600``."""
    how = "to continue" if start else "from the beginning"
    if row.state == TrialState.FAILED:
        return f"{how}: failed before"
    trained = trained_by(config, row)
    if trained is None:
        return f"{how}: the rows name components that are not known"
    if not start and not measured_enough(config, row, row.last_step + 1):
        asked = [spec.name for spec in fields(config) if spec.metadata.get("protocol")]
        other = [name for name in asked if getattr(config, name, None) != getattr(trained, name, None)]
        lacking = [name for name in other if name in ("probes", "measuring", "snapshots_every")] or other
        return f"{how}: the rows lack measurements that are asked for now ({', '.join(lacking)})"
    lost = "" if start else ", and there is no checkpoint to go on from"
    if row.state == TrialState.RUNNING:
        return f"{how}: interrupted{lost}"
    if row.state == TrialState.FINISHED:
        return f"{how}: horizon raised from {trained.horizon_steps} to {config.horizon_steps}{lost}"
    return f"{how}: stopped before what is waited for now was decided{lost}"


def _why_new(fresh: Sequence[TrialConfig], rows: Mapping[str, TrialRow]) -> dict[str, int]:
    """The reasons of trials without a row, with their numbers, the most frequent first; none for an empty ledger."""
    if not fresh or not rows:
        return {}
    of_others: dict[str, _Content] = {}
    new = [_Content.of(config.json_text, of_others) for config in fresh[:MOST_COMPARED]]
    held = [_Content.of(row.config_json, of_others) for row in itertools.islice(rows.values(), MOST_COMPARED)]
    held = [content for content in held if content.leaves[""] == new[0].leaves[""]]
    if not held:
        return {f"the ledger has no {new[0].leaves['']} yet": len(fresh)}
    groups: dict[tuple[str, ...], tuple[list[_Content], dict[int, list[_Content]]]] = {}
    rest = []
    paths = {path for content in new for path in content.parts if not path.startswith(f"{SEEDS}.")}
    paths = {path for path in paths if len({content.parts.get(path) for content in (*new, *held)}) > 1}
    # A field before its component, and another seed only where nothing else is new.
    ordered = sorted(paths, key=lambda path: (path == SEEDS, -path.count("."), path))
    indices: dict[tuple[str, ...], dict[int, list[_Content]]] = {(path,): _index(held, (path,)) for path in ordered}

    def place(content: _Content, keys: Iterable[tuple[str, ...]]) -> bool:
        for key in keys:
            common = content.without(key)
            if common in indices[key]:
                members, nearest = groups.setdefault(key, ([], {}))
                members.append(content)
                nearest[common] = indices[key][common]
                return True
        return False

    rest = [content for content in new if not place(content, tuple(indices))]
    for _ in range(MOST_ROUNDS):
        if not rest:
            break
        key = min((rest[0].differences(other) for other in held), key=len)
        if len(key) > MOST_FIELDS:  # Of some other sweep, which says nothing about this one.
            break
        indices[key] = _index(held, key)
        rest = [content for content in rest if not place(content, [key])]
    texts = {
        _text(key, members, [*itertools.chain(*nearest.values())]): len(members)
        for key, (members, nearest) in sorted(groups.items(), key=lambda item: -len(item[1][0]))
    }
    if others := len(rest) + len(fresh) - len(new):
        texts["unlike any that the ledger has"] = others
    return texts


@dataclass(frozen=True)
class _Content:
    """What decides the path of a trial's weights, without fields at their default."""

    leaves: dict[str, str]
    """Dotted path -> JSON; of a component, its class."""
    parts: dict[str, int]
    """Dotted path -> the sum of the hashes of the leaf, or of every leaf in the component."""
    total: int

    @classmethod
    def of(cls, text: str, known: dict[str, "_Content"]) -> "_Content":
        """Read a trial's JSON.

        :param known: seeds, and trials without them, by their JSON: most trials share it.
        """
        found = SEEDS_JSON.search(text)
        if found is None:
            return cls.made_of(_leaves("", json.loads(text)))
        rest = text[: found.start()] + text[found.end() :]
        if rest not in known:
            known[rest] = cls.made_of(_leaves("", json.loads(text) | {SEEDS: json.loads(NO_SEEDS)}))
        if found[1] not in known:
            known[found[1]] = cls.made_of(_leaves(SEEDS, json.loads(found[1])))
        own, seeds = known[rest], known[found[1]]
        return cls(own.leaves | seeds.leaves, own.parts | seeds.parts, own.total + seeds.total)

    @classmethod
    def made_of(cls, pairs: Iterable[tuple[str, str]]) -> "_Content":
        leaves = dict(pairs)
        parts: dict[str, int] = defaultdict(int)
        for path, text in leaves.items():
            number = hash((path, text))
            while path:
                parts[path] += number
                path = path.rpartition(".")[0]
        return cls(leaves, parts, sum(hash(item) for item in leaves.items()))

    def without(self, paths: tuple[str, ...]) -> int:
        """What two trials have in common that differ at these paths only."""
        return self.total - sum(self.parts.get(path, 0) for path in paths)

    def differences(self, other: "_Content") -> tuple[str, ...]:
        """The paths at which two trials differ; a component of another class as a whole, and seeds too."""
        paths = sorted({path for path, _ in self.leaves.items() ^ other.leaves.items()})
        paths = [SEEDS if path.startswith(f"{SEEDS}.") else path for path in paths]
        kept: list[str] = []
        for path in dict.fromkeys(paths):
            if not any(path.startswith(f"{whole}.") for whole in kept):
                kept.append(path)
        return tuple(kept)


def _index(contents: Iterable[_Content], paths: tuple[str, ...]) -> dict[int, list[_Content]]:
    """The trials by what they have beside these paths."""
    index: dict[int, list[_Content]] = defaultdict(list)
    for content in contents:
        index[content.without(paths)].append(content)
    return dict(index)


def _leaves(path: str, value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The leaves of a component that are not at their default; the protocol of a trial is left out."""
    defaults, apart = _known(value[CLASS_KEY])
    yield path, value[CLASS_KEY]
    for name, item in {**defaults, **value}.items():
        below = f"{path}.{name}" if path else name
        if name == CLASS_KEY or name in apart:
            continue
        if isinstance(item, dict) and CLASS_KEY in item:
            yield from _leaves(below, item)
        elif name not in defaults or defaults[name] != item:
            yield below, canonical_json(item)


@cache
def _known(name: str) -> tuple[dict[str, Any], frozenset[str]]:
    """The defaults of a class as JSON, and the fields that do not decide the path of the weights."""
    cls = find(name)
    if cls is None or not issubclass(cls, Config):
        return {}, frozenset()
    given = {spec.name: spec.default for spec in fields(cls) if spec.default is not MISSING}
    defaults = {name: each.to_json() if isinstance(each, Config) else each for name, each in given.items()}
    defaults = {name: list(each) if isinstance(each, tuple) else each for name, each in defaults.items()}
    apart = (spec.name for spec in fields(cls) if spec.metadata.get("protocol") or spec.metadata.get("execution"))
    return defaults, frozenset(apart)


def _text(paths: tuple[str, ...], new: Sequence[_Content], held: Sequence[_Content]) -> str:
    """``model.hidden = [128], where the ledger has [64]``."""
    own = " and ".join(f"{path} = {_values(path, new)}" for path in paths)
    other = " and ".join(_values(path, held) for path in paths)
    return f"{own}, where {'the ledger has' if len(paths) == 1 else 'the nearest in the ledger have'} {other}"


def _values(path: str, contents: Iterable[_Content]) -> str:
    """The values at a path, each once."""
    different = {content.parts.get(path): content for content in contents}.values()
    texts = sorted({_value(path, content.leaves) for content in different}, key=_in_order)
    return ", ".join(texts[:MOST_VALUES]) + (f", ... ({len(texts)} values)" if len(texts) > MOST_VALUES else "")


def _in_order(text: str) -> tuple[float, str]:
    """Numbers by size, before the rest."""
    try:
        return float(text), ""
    except ValueError:
        return math.inf, text


def _value(path: str, leaves: Mapping[str, str]) -> str:
    """The value at a path: a component with its fields, a default where no leaf says another."""
    if path == SEEDS:
        seeds = {leaves.get(f"{SEEDS}.{name}", "0") for name in ("split", "init", "order")}
        return seeds.pop() if len(seeds) == 1 else "several"
    inner = [
        f"{name.removeprefix(f'{path}.')}={_plain(leaves[name])}" for name in leaves if name.startswith(f"{path}.")
    ]
    if path in leaves:
        return _plain(leaves[path]) + (f"({', '.join(inner)})" if inner else "")
    head, names = path, list[str]()
    while head not in leaves:
        head, _, name = head.rpartition(".")
        names.insert(0, name)
    value: Any = _known(leaves[head])[0]
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return str(value[CLASS_KEY]) if isinstance(value, dict) else _plain(canonical_json(value))


def _plain(text: str) -> str:
    """JSON as a user writes it."""
    return text.strip('"').removesuffix(".0")
