"""A question as data: a base configuration, the axes that vary, the arms that are compared, the seeds.

A search-space file ends in ``SWEEP = SweepSpec(...)``.  Making the object expands and checks the whole space, so
that a bad value anywhere in it is an error before anything starts.  The expansion is a pure function of the file:
the same trials in the same order, on any machine.

The order is: arms, then the grid (the last axis varies fastest), then the draws of the sampled axes, then the seeds.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, cast

from pipeline.spec.domains import Domain, describe_domain, draw_value, is_domain, probes, suggested
from pipeline.spec.objective import Objective
from pipeline.spec.settings import RunSettings
from pipeline.spec.values import (
    MOST_TRIALS,
    Scalar,
    SpecError,
    axis_value,
    changed,
    component_labels,
    coordinate,
    integer,
    listed,
)
from trainables.engine.config import ConfigError, brief, canonical_json, plain
from trainables.engine.trial import Seeds, TrialConfig

SEEDS, HORIZON = "seeds", "horizon_steps"
PROTOCOL = (HORIZON, "events", "phases")
DRAWS_PER_SAMPLE = 50
"""How often a draw that repeats an earlier one is drawn again before the domain counts as exhausted."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One side of a comparison: fields that are set together, and axes that only this side has."""

    name: str
    patch: Mapping[str, Any] = field(default_factory=dict)
    """Dotted path -> value, for example ``{"gradient": OrthogonalGradient(), "horizon_steps": 60_000}``."""
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Dotted path -> the values of a grid axis; an axis that another arm does not have is not crossed with it."""


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of a sweep, and its place in it."""

    config: TrialConfig
    coordinates: dict[str, Scalar]
    """``{"arm": name, "<axis path>": value, ..., "seed": k}``, without what the trial does not have."""


class _TakesSettings(type):
    """Makes a spec take the fields of its settings too."""

    def __call__(cls, **values: Any) -> Any:
        direct = {each.name: values.pop(each.name) for each in fields(RunSettings) if each.name in values}
        if direct:
            values["settings"] = values.get("settings", RunSettings()).replace(**direct)
        return super().__call__(**values)


@dataclass(frozen=True, kw_only=True, eq=False)
class SweepSpec(metaclass=_TakesSettings):
    """A search space.  ``SweepSpec(..., workers=4)`` is short for ``settings=RunSettings(workers=4)``.

    :raises SpecError: naming the axis, the value and what is allowed, for anything that could not be run.
    """

    base: TrialConfig
    """Every trial is this one with some fields changed; only an arm's patch may change its protocol."""
    axes: Mapping[str, Sequence[Any] | Domain] = field(default_factory=dict)
    """Dotted path -> a list (a grid axis) or a ``tune.*`` domain (a sampled axis); every arm has them all."""
    arms: Sequence[Arm] = ()
    seeds: Sequence[int] | None = None
    """Seed k is split, initialisation and order alike, paired over the arms; None keeps the base's seeds."""
    samples: int = 0
    """How many distinct joint draws of the sampled axes; raising it keeps the earlier draws."""
    sampling_seed: int = 0
    contrasts: Sequence[tuple[str, str]] = ()
    """Which arms the analysis compares, ``[("⊥AdamW", "AdamW")]``: the first of a pair minus the second, over paired
    seeds, at each setting of the axes that both have; without, every arm is compared with the first."""
    objective: Objective | None = None
    """With an objective, Optuna suggests the values of the sampled axes instead of ``samples`` draws."""

    settings: RunSettings = field(default_factory=RunSettings)
    """How to run it; flags override the space."""

    _trials: tuple[PlannedTrial, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._check_shape()
        if self.objective is None:
            trials = tuple(self._expand(self._draws(self.samples)))
        else:
            # Optuna suggests the trials; check a few draws now, to report a bad value early.
            self.objective.rule(self.base.events)
            draws = self._draws(8, fewer=True)
            trials = tuple(self._expand(draws))
            self._check_ends(draws[0])
        _check_distinct(trials)
        _check_protocols(trials)
        object.__setattr__(self, "_trials", () if self.objective else trials)

    def trials(self) -> list[PlannedTrial]:
        """Every trial of the space, in order; none for a space with an objective, whose trials Optuna suggests."""
        return list(self._trials)

    def suggestion(self, values: Mapping[str, Any]) -> list[PlannedTrial]:
        """The trials (one a seed) of one suggestion of the sampled axes.

        :raises SpecError: when ``values`` does not name exactly the sampled axes, or a value is bad.
        """
        expected = list(self.sampled_axes())
        if sorted(values) != sorted(expected):
            raise SpecError(f"a suggestion of {', '.join(sorted(values))}: must be of {', '.join(expected)}")
        return list(self._expand([{path: plain(values[path]) for path in expected}]))

    def sampled_axes(self) -> dict[str, Domain]:
        """The axes that are drawn or suggested, in order."""
        return {path: values for path, values in self.axes.items() if is_domain(values)}

    def grid_axes(self) -> dict[str, list[Any]]:
        """The axes that every arm has and whose every value is tried, in order."""
        return {path: list(cast(Sequence[Any], values)) for path, values in self.axes.items() if not is_domain(values)}

    @property
    def horizon_steps(self) -> int:
        """The largest horizon among the trials."""
        return max((trial.config.horizon_steps for trial in self._trials), default=self.base.horizon_steps)

    def with_overrides(self, *, max_steps: int | None = None, seeds: int | Sequence[int] | None = None) -> Self:
        """The space as flags change it: no horizon beyond ``max_steps``, and these seeds, or 0 to ``seeds`` - 1."""
        changes: dict[str, Any] = {}
        if max_steps is not None:
            max_steps = integer("max-steps", max_steps, at_least=1)
            changes["base"] = self.base.replace(horizon_steps=min(max_steps, self.base.horizon_steps))
            changes["arms"] = [
                replace(arm, patch={**arm.patch, HORIZON: min(max_steps, arm.patch[HORIZON])})
                if HORIZON in arm.patch
                else arm
                for arm in self.arms
            ]
        if seeds is not None:
            given = isinstance(seeds, Sequence)
            changes["seeds"] = seeds if given else range(integer("seeds", seeds, at_least=1))
        return replace(self, **changes) if changes else self

    def axes_json(self) -> str:
        """The axes as canonical JSON, for a reader that has the ledger but not the file.

        ``{"axes": [axis, ...], "arms": [{"name", "axes": [axis, ...], **protocol}, ...], "seeds": [...], **protocol}``,
        where the protocol is ``{"horizon_steps", "events": [...], "phases": [...]}``, the base's or the arm's own;
        a grid axis is ``{"path", "kind": "grid", "values"}`` and a sampled one ``{"path", "kind": "sampled",
        "domain"}``; the values are those of the trials' coordinates.  ``"contrasts": [[arm, arm], ...]`` stands beside
        them where the space declares some, and ``"suggested": true`` where an objective chooses the samples.
        """

        def grid(path: str, arm: str | None) -> dict[str, Any]:
            values = (trial.coordinates[path] for trial in self._trials if arm in (None, trial.coordinates.get("arm")))
            return {"path": path, "kind": "grid", "values": list(dict.fromkeys(values))}

        return canonical_json(
            {
                "axes": [
                    {"path": path, "kind": "sampled", "domain": describe_domain(values)}
                    if is_domain(values)
                    else grid(path, None)
                    for path, values in self.axes.items()
                ],
                "arms": [
                    {
                        "name": arm.name,
                        "axes": [grid(path, arm.name) for path in arm.axes],
                        **self._protocol(arm),
                    }
                    for arm in self.arms
                ],
                "seeds": [] if self.seeds is None else list(self.seeds),
                **({"contrasts": [list(pair) for pair in self.contrasts]} if self.contrasts else {}),
                **({"suggested": True} if self.objective else {}),
                **self._protocol(Arm(name="base")),
            }
        )

    def _protocol(self, arm: Arm) -> dict[str, Any]:
        """The protocol of an arm's trials, as far as the analysis needs it."""
        config = changed(self.base, {path: arm.patch[path] for path in PROTOCOL if path in arm.patch}, "")
        return {
            HORIZON: config.horizon_steps,
            "events": [rule.to_json() for rule in config.events],
            "phases": [rule.to_json() for rule in config.phases],
        }

    def _expand(self, draws: Sequence[Mapping[str, Any]]) -> Iterable[PlannedTrial]:
        """Every trial of these draws, in the order that the module's docstring promises."""
        for arm in self.arms or (None,):
            where = f"arm {arm.name!r}, " if arm else ""
            grid = self.grid_axes() | (dict(arm.axes) if arm else {})
            drawn = {path: [draw[path] for draw in draws] for path in draws[0]}
            labels = {path: component_labels(values) for path, values in (grid | drawn).items()}
            for point in itertools.product(*grid.values()):
                for draw in draws:
                    values = dict(zip(grid, point, strict=True)) | dict(draw)
                    config = changed(self.base, dict(arm.patch) | values if arm else values, where)
                    coordinates: dict[str, Scalar] = {"arm": arm.name} if arm else {}
                    for path, value in values.items():
                        coordinates[path] = coordinate(config, path, value, labels[path])
                    if self.seeds is None:
                        yield PlannedTrial(config, coordinates)
                        continue
                    for seed in self.seeds:
                        yield PlannedTrial(config.replace(seeds=Seeds.all(seed)), coordinates | {"seed": seed})

    def _draws(self, count: int, *, fewer: bool = False) -> list[dict[str, Any]]:
        """The first ``count`` distinct joint draws; one empty draw where no axis is sampled.

        Each value has a generator of its own, seeded with the space's seed, the number of the draw and the path, so
        that neither more samples nor another axis change a draw.
        """
        domains = self.sampled_axes()
        if not domains:
            return [{}]
        draws: list[dict[str, Any]] = []
        for number in range(DRAWS_PER_SAMPLE * count):
            if len(draws) == count:
                break
            draw = {path: draw_value(domain, path, self.sampling_seed, number) for path, domain in domains.items()}
            if draw not in draws:
                draws.append(draw)
        if len(draws) < count and not fewer:
            raise SpecError(
                f"samples = {count}: the sampled axes have only {len(draws)} distinct draws; "
                f"lower samples, or list the values to make a grid of them"
            )
        return draws

    def _check_shape(self) -> None:
        """The space's structure, before any value is checked; arrays and numpy's scalars become Python's."""
        if not isinstance(self.base, TrialConfig):
            raise SpecError(f"base = {brief(self.base)}: must be a trial, such as GrokkingTrial(...)")
        if not isinstance(self.arms, Sequence) or not all(isinstance(arm, Arm) for arm in self.arms):
            raise SpecError(f"arms = {brief(self.arms)}: must be a list of Arm(name=..., patch=..., axes=...)")
        for number, arm in enumerate(self.arms):
            if not isinstance(arm.name, str) or not arm.name.strip():
                raise SpecError(f"arm {number}: name = {brief(arm.name)}: must be a string")
            if not arm.name.isprintable():
                raise SpecError(f"arm {number}: name = {brief(arm.name)}: must be of printable characters")
            if arm.name in [other.name for other in self.arms[:number]]:
                raise SpecError(f"arm {arm.name!r}: the name appears twice; arms must have different names")
        axes = self._checked_axes("", self.axes, {})
        arms = []
        for arm in self.arms:
            where = f"arm {arm.name!r}, "
            if not isinstance(arm.patch, Mapping):
                raise SpecError(f"{where}patch = {brief(arm.patch)}: must be a dict of dotted paths and values")
            taken = dict.fromkeys(arm.patch, "its patch") | dict.fromkeys(axes, "the space's axes")
            for path in arm.patch:
                if path in axes:
                    raise SpecError(f"{where}patch {path}: is an axis of the space too; it must be one of them")
                self._check_path(f"{where}patch", path, protocol=True)
            own = self._checked_axes(where, arm.axes, taken)
            for path, values in own.items():
                if is_domain(values):
                    raise SpecError(f"{where}axis {path}: a sampled axis must be one of the space's axes, for all arms")
            patch = {path: plain(value) for path, value in arm.patch.items()}
            arms.append(replace(arm, name=plain(arm.name), patch=patch, axes=own))
        object.__setattr__(self, "axes", axes)
        object.__setattr__(self, "arms", tuple(arms))
        if not isinstance(self.settings, RunSettings):
            raise SpecError(f"settings = {brief(self.settings)}: must be RunSettings(...)")
        self._check_contrasts()
        self._check_seeds()
        self._check_sampling()
        self._check_size()

    def _checked_axes(self, where: str, axes: Mapping[str, Any], taken: Mapping[str, str]) -> dict[str, Any]:
        """The axes with their values as Python's own."""
        if not isinstance(axes, Mapping):
            raise SpecError(f"{where}axes = {brief(axes)}: must be a dict of dotted paths and lists of values")
        checked: dict[str, Any] = {}
        for path, values in axes.items():
            self._check_path(f"{where}axis", path)
            if path in taken:
                raise SpecError(f"{where}axis {path}: is in {taken[path]} too; it must be in one of them")
            name = f"{where}axis {path}"
            if is_domain(values):
                checked[path] = values
                continue
            own = [axis_value(name, value) for value in listed(name, values, "a list of values or a tune.* domain")]
            if not own:
                raise SpecError(f"{name} = []: must have at least one value")
            twice = _repeated(own)
            if twice:
                raise SpecError(f"{name}: the value {brief(twice[0])} appears twice")
            checked[path] = own
        return checked

    def _check_path(self, what: str, path: str, *, protocol: bool = False) -> None:
        """Refuse what trials cannot differ in; the expansion checks that the path exists."""
        if not isinstance(path, str) or not all(part.isidentifier() for part in path.split(".")):
            raise SpecError(f"{what} {brief(path)}: must be a dotted path such as 'optimizer.weight_decay'")
        head = path.partition(".")[0]
        in_protocol = any(spec.name == head and spec.metadata.get("protocol") for spec in fields(self.base))
        if in_protocol and not protocol:
            raise SpecError(
                f"{what} {path}: sets how a trial is measured, so it cannot be an axis; set it on base or in a patch"
            )
        if head == SEEDS and self.seeds is not None:
            raise SpecError(f"{what} {path}: the space's seeds would overwrite it; seeds must be None beside it")

    def _check_contrasts(self) -> None:
        names = [arm.name for arm in self.arms]
        pairs = []
        for pair in listed("contrasts", self.contrasts, 'a list of pairs of arms, such as [("⊥AdamW", "AdamW")]'):
            is_pair = isinstance(pair, tuple | list) and len(pair) == 2 and all(name in names for name in pair)
            if not is_pair or pair[0] == pair[1]:
                allowed = ", ".join(map(repr, names)) or "none, for the space has no arms"
                raise SpecError(f"contrasts: {brief(pair)}: must be a pair of two different arms; allowed: {allowed}")
            pairs.append((pair[0], pair[1]))
        object.__setattr__(self, "contrasts", tuple(pairs))

    def _check_seeds(self) -> None:
        if self.seeds is None:
            return
        seeds = listed("seeds", self.seeds, "a list such as range(5)")
        seeds = [integer("seeds", seed, at_least=0) for seed in seeds]
        if not seeds or _repeated(seeds):
            raise SpecError(f"seeds = {brief(seeds)}: must be different from each other, and at least one")
        object.__setattr__(self, "seeds", tuple(seeds))

    def _check_sampling(self) -> None:
        sampled = list(self.sampled_axes())
        object.__setattr__(self, "samples", integer("samples", self.samples, at_least=0))
        object.__setattr__(self, "sampling_seed", integer("sampling_seed", self.sampling_seed, at_least=0))
        if self.objective is None:
            if sampled and not self.samples:
                raise SpecError(f"axis {sampled[0]}: is sampled, but samples = 0; samples must be at least 1")
            if self.samples and not sampled:
                raise SpecError(f"samples = {self.samples}: no axis is sampled; one must be a tune.* domain")
            return
        if not isinstance(self.objective, Objective):
            raise SpecError(f"objective = {brief(self.objective)}: must be Objective(budget=...)")
        if not sampled:
            raise SpecError("objective: no axis is sampled; one must be a tune.* domain")
        if self.samples:
            raise SpecError(f"samples = {self.samples}: must be 0 beside an objective, whose budget counts instead")
        if self.arms:
            raise SpecError("arms: must be empty beside an objective; make one space for each arm")
        for path in self.grid_axes():
            raise SpecError(f"axis {path}: must be a tune.* domain beside an objective, such as tune.choice([...])")
        for path, domain in self.sampled_axes().items():
            suggested(domain, path)

    def _check_size(self) -> None:
        """Refuse a space that is too large to expand, before it is expanded."""
        shared = math.prod(map(len, self.grid_axes().values())) * len(self.seeds or [None])
        shared *= max(1, self.samples if self.objective is None else self.objective.budget)
        trials = shared * sum(math.prod(map(len, arm.axes.values())) for arm in self.arms or [Arm(name="base")])
        if trials > MOST_TRIALS:
            raise SpecError(f"the space has {trials} trials; must be at most {MOST_TRIALS}")

    def _check_ends(self, draw: Mapping[str, Any]) -> None:
        """Try what Optuna could suggest: every choice, and the ends of every range."""
        for path, domain in self.sampled_axes().items():
            for value in probes(suggested(domain, path)):
                next(iter(self._expand([{**draw, path: value}])))


def _check_distinct(trials: Sequence[PlannedTrial]) -> None:
    seen: dict[str, PlannedTrial] = {}
    for trial in trials:
        other = seen.setdefault(trial.config.trial_id, trial)
        if other is not trial:
            raise SpecError(
                f"two trials are the same: {_place(other)} and {_place(trial)}; each must differ in what it trains"
            )


def _check_protocols(trials: Sequence[PlannedTrial]) -> None:
    """Check one trial of each arm: the protocol does not vary within an arm."""
    for arm, trial in {trial.coordinates.get("arm"): trial for trial in trials}.items():
        try:
            trial.config.check_columns()
            trial.config.grid()
        except ConfigError as error:
            raise SpecError(f"arm {arm!r}: {error}" if arm is not None else str(error)) from None


def _repeated(values: Sequence[Any]) -> list[Any]:
    """The values that are equal to an earlier one."""
    seen: set[Any] = set()
    return [value for value in values if value in seen or seen.add(value)]  # type: ignore[func-returns-value]


def _place(trial: PlannedTrial) -> str:
    return ", ".join(f"{name} = {brief(value)}" for name, value in trial.coordinates.items()) or "the base"
