"""One sweep as the analysis sees it, whatever it was read from: its trials in order, their curves and their events.

Nothing here reads a file: :mod:`analysis.data.source` opens a sweep, and hands it a reader of further curves.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from analysis.data.origin import Origin
from analysis.data.task import describe_task
from pipeline.ledger.sweep_row import by_name
from trainables.engine.errors import GrokscapeError
from trainables.engine.events import Event, EventRule, Outcome, PhaseRule, StopReason, outcome
from trainables.runtime.rows import TrialState

FULL, LAPTOP = "full", "laptop"
SIZES = (FULL, LAPTOP)
MISSING = "missing"
"""The state of a trial that the sweep names and nobody has begun."""
STEP = "step"
ARM, SEED, SEEDS_PREFIX = "arm", "seed", "seeds."
"""Coordinates: the arm of a sweep that has some, and what repeats a setting instead of changing it."""

Curves = Mapping[str, np.ndarray]
"""``step`` and the columns of probes, float64, (T,); NaN where not measured."""
CurveReader = Callable[[Sequence[str], Sequence[str] | None], Iterable[tuple[str, Curves]]]
"""From trial ids and columns (None: every column that was measured) to each trial's curves."""


class SweepError(GrokscapeError):
    """A sweep that cannot be read, or cannot answer: one clear line."""


def is_replicate(axis: str) -> bool:
    """Whether an axis repeats a setting instead of changing it."""
    return axis == SEED or axis.startswith(SEEDS_PREFIX)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial: its place in the sweep, how far it got, and what was measured."""

    trial_id: str
    space: str = ""
    """The stem of the search space that it belongs to."""
    coordinates: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    """The configuration's JSON; empty where the trial was not begun, or the source does not hold it."""
    state: str = MISSING
    stop_reason: str | None = None
    last_step: int = 0
    error: str | None = field(default=None, compare=False, repr=False)
    """What ended a trial that failed."""
    horizon_steps: int = 0
    """What the sweep asks of it."""
    curves: Curves = field(default_factory=dict, compare=False, repr=False)
    """The columns that were read; a figure may add arrays of its own."""
    events: tuple[EventRule, ...] = ()
    """Those declared for it, then those that were not: of other arms, or asked for afterwards."""
    phases: tuple[PhaseRule, ...] = ()
    """Those declared for it."""
    read_outcome: Outcome | None = None
    """Where the source holds the times of events instead of the curves that they are taken from."""
    read_finals: Mapping[str, float] = field(default_factory=dict, compare=False, repr=False)
    """Likewise the last values of the events' columns."""

    @property
    def seed(self) -> Any:
        """The replicate: its seed, or what tells it from its like where split and initialisation vary apart."""
        if SEED in self.coordinates:
            return self.coordinates[SEED]
        return tuple(sorted((name, value) for name, value in self.coordinates.items() if is_replicate(name)))

    @property
    def arm(self) -> str:
        """The name of its arm; empty in a sweep without arms."""
        return str(self.coordinates.get(ARM, ""))

    @property
    def setting(self) -> dict[str, Any]:
        """Its coordinates without the seed: what the trials of one group have in common."""
        return {name: value for name, value in self.coordinates.items() if not is_replicate(name)}

    @property
    def begun(self) -> bool:
        """Whether anything was measured."""
        evaluated = "outcome" in self.__dict__  # asks stored curves nothing
        return self.read_outcome is not None or evaluated or len(self.curves.get(STEP, ())) > 0

    @property
    def known_until(self) -> float:
        """The step up to which its events are known: the last one; infinite where it was stopped for a reason that
        settles them (success, frozen, diverged), because then the last accuracy stands for all later steps."""
        return math.inf if self.stop_reason is not None else float(self.last_step)

    # --- events -----------------------------------------------------------------------------------------------

    @cached_property
    def outcome(self) -> Outcome:
        """When each event came, of those whose columns were read.

        An event that was not declared for the trial competes with its stop on the success of those that were.

        :raises SweepError: where nothing was measured.
        """
        return self.read_outcome or self._evaluate(self.events)

    def event(self, name: str, threshold: float | None = None) -> Event:
        """When one of its events came, at any threshold; at the headline's by default.

        :raises SweepError: for another event, a threshold that the source does not hold, or without measurements.
        """
        try:
            return self.outcome.event(name, threshold)
        except KeyError:
            rules = {rule.name: rule for rule in self.outcome.rules}
        if name not in rules:
            raise SweepError(f"event {name}: must be one of: {', '.join(rules) or 'none is declared'}")
        assert threshold is not None
        if self.read_outcome is not None:
            held = ", ".join(f"{number:g}" for number in rules[name].thresholds)
            raise SweepError(
                f"event {name} at {threshold:g}: MLflow holds {held} only; any other threshold can be asked of the "
                "ledger (--from its folder)"
            )
        rules[name] = rules[name].replace(thresholds=(*rules[name].thresholds, threshold))
        return self._evaluate(tuple(rules.values())).event(name, threshold)

    def time(self, event: str, threshold: float | None = None) -> float:
        """When an event came, at the first measurement that shows it; infinite where it did not so far."""
        came = self.event(event, threshold)
        return came.high_steps if came.occurred else math.inf

    def _evaluate(self, events: Sequence[EventRule]) -> Outcome:
        if not self.begun:
            raise SweepError(f"trial {self.trial_id}: has no measurements to take an event from")
        rules: dict[str, EventRule] = {}
        for rule in events:
            if rule.column in self.curves and (not rule.after or rule.after in rules):
                rules[rule.name] = rule
        return outcome(self.curves[STEP], self.curves, tuple(rules.values()), stop_reason=self.stop_reason)

    def complete(self, tau_steps: float) -> bool:
        """Whether everything up to tau is known: followed that far, or ended for a reason that settles it."""
        return self.begun and self.known_until >= tau_steps

    # --- curves -----------------------------------------------------------------------------------------------

    def measured(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """The steps at which a column was measured, and its values there; both empty where it never was.

        :raises SweepError: for a column that was not read.
        """
        if not len(self.curves.get(STEP, ())):
            return np.empty(0), np.empty(0)
        if column not in self.curves:
            raise SweepError(f"{column}: must be one of the columns that were read: {', '.join(sorted(self.curves))}")
        finite = np.isfinite(self.curves[column])
        return self.curves[STEP][finite], self.curves[column][finite]

    def final(self, column: str) -> float:
        """The last measured value; NaN where there is none."""
        _, values = self.measured(column)
        return float(values[-1]) if len(values) else self.read_finals.get(column, math.nan)

    def largest(self, column: str) -> float:
        """The largest measured value; NaN where there is none."""
        _, values = self.measured(column)
        return float(values.max()) if len(values) else math.nan

    def at(self, column: str, step: float) -> float:
        """The value at the last measurement up to ``step``; NaN where the trial does not know it yet.

        A trial that was stopped on success keeps its last accuracy afterwards, and a frozen one every column; others
        end with the trial.
        """
        steps, values = self.measured(column)
        stays = column.endswith("_accuracy") or self.stop_reason == StopReason.FROZEN
        until = self.known_until if stays else float(self.last_step)
        if step > until or not len(steps) or steps[0] > step:
            return math.nan
        return float(values[np.searchsorted(steps, step, side="right") - 1])

    def first_reaching(self, column: str, value: float) -> float:
        """The first measured step with a value of at least ``value``; infinite where there is none so far."""
        steps, values = self.measured(column)
        reached = np.flatnonzero(values >= value)
        return float(steps[reached[0]]) if len(reached) else math.inf

    def truncated_at(self, horizon_steps: int) -> "Trial":
        """The trial as a sweep with this horizon sees it.

        It may have been followed further for another sweep: what is beyond the horizon is not this sweep's own.
        """
        if self.last_step <= horizon_steps:
            return replace(self, horizon_steps=horizon_steps)
        curves = self.curves
        if len(curves.get(STEP, ())):
            inside = curves[STEP] <= horizon_steps
            curves = {name: values[inside] for name, values in curves.items()}
        return replace(
            self,
            state=TrialState.FINISHED,
            stop_reason=None,
            last_step=horizon_steps,
            horizon_steps=horizon_steps,
            curves=curves,
            read_outcome=self.read_outcome and self.read_outcome.by(horizon_steps),
        )


def evaluate(trial: Trial, curves: Curves, kept: Curves) -> Trial:
    """The trial with its outcome by these curves, of which it keeps ``kept``; a changed copy evaluates its own."""
    outcome = replace(trial, curves=curves).outcome
    evaluated = replace(trial, curves=kept)
    evaluated.__dict__["outcome"] = outcome
    return evaluated


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The trials of one sweep in its order, those that nobody has begun too; or of several that a figure joins."""

    name: str = ""
    trials: tuple[Trial, ...] = ()
    size: str = FULL
    """Which size of its search space it is."""
    doc: str = ""
    """The docstring of the search space."""
    horizon_steps: int = 0
    design: Mapping[str, Any] = field(default_factory=dict)
    """The axes and arms as the sweep's row has them: ``SweepSpec.axes_json``."""
    source: str = ""
    """Where it was read from, as messages show it."""
    origin: Origin | None = field(default=None, compare=False, repr=False)
    """Who made its trials; None where the source does not say."""
    reader: CurveReader | None = field(default=None, compare=False, repr=False)
    """Reads further curves; None: there are none but those that the trials have."""

    def __bool__(self) -> bool:
        """Whether anything was measured."""
        return any(trial.begun for trial in self.trials)

    def why_empty(self) -> str:
        """Why there is nothing to show of a sweep without measurements."""
        failed = sum(trial.state == TrialState.FAILED for trial in self.trials)
        if not failed:
            return "nothing was measured yet; run the sweep first"
        which = "all trials" if failed == len(self.trials) else f"{failed} of {len(self.trials)} trials"
        return f"nothing was measured, {which} failed; correct what the errors say and pass --rerun-failed"

    @property
    def question(self) -> str:
        """What the space's docstring opens with, if that is a question; otherwise empty."""
        opening = " ".join(self.doc.strip().partition("\n\n")[0].split())
        return opening.partition("?")[0] + "?" if "?" in opening else ""

    @property
    def task(self) -> str:
        """The task in words, for subtitles."""
        parts = ("images", "text", "model", "task")
        configs = (trial.config for trial in self.trials if trial.config)
        return describe_task([{name: config[name] for name in parts if name in config} for config in configs])

    @property
    def contrasts(self) -> list[tuple[str, str]]:
        """The pairs of arms that the space declares to be compared, the second being what the first is held against."""
        pairs = self.design.get("contrasts", ())
        return [(str(pair[0]), str(pair[1])) for pair in pairs if isinstance(pair, list | tuple) and len(pair) == 2]

    @property
    def sampled(self) -> frozenset[str]:
        """The axes that were drawn or suggested, not listed."""
        return frozenset(axis["path"] for axis in self.design.get("axes", ()) if axis["kind"] == "sampled")

    @property
    def suggested(self) -> bool:
        """Whether an objective chose the samples, by what earlier ones came to."""
        return self.design.get("suggested") is True

    @cached_property
    def events(self) -> tuple[EventRule, ...]:
        """Every event of its trials, in the order in which the arms declare them."""
        return by_name(rule for trial in self.trials for rule in trial.events)

    @cached_property
    def phases(self) -> tuple[PhaseRule, ...]:
        """Every phase of its trials, likewise."""
        return by_name(rule for trial in self.trials for rule in trial.phases)

    # --- choosing trials --------------------------------------------------------------------------------------

    def where(self, **wanted: Any) -> tuple[Trial, ...]:
        """The begun trials at these coordinates, in the sweep's order.

        An axis is named by its last part (``weight_decay=1`` for ``optimizer.weight_decay``); ``arm``, ``seed`` and
        ``space`` are axes too.  A list or tuple means any of its items.

        :raises SweepError: for an axis that no trial has.
        """
        chosen = [trial for trial in self.trials if trial.begun]
        for name, value in wanted.items():
            allowed = value if isinstance(value, list | tuple | set | range) else (value,)
            if self.trials and not any(_coordinate(trial, name) is not _ABSENT for trial in self.trials):
                raise SweepError(f"{name}: must be an axis of the sweep: {', '.join(self.axes())}")
            chosen = [trial for trial in chosen if _coordinate(trial, name) in allowed]
        return tuple(chosen)

    def axes(self) -> tuple[str, ...]:
        """Every coordinate's name, in the order in which the trials bring them up."""
        return self._axes

    @cached_property
    def _axes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for trial in self.trials for name in trial.coordinates))

    def values(self, axis: str) -> tuple[Any, ...]:
        """The values that an axis takes, in the sweep's order."""
        values = (_coordinate(trial, axis) for trial in self.trials)
        return tuple(dict.fromkeys(value for value in values if value is not _ABSENT))

    def numbers(self, axis: str) -> list[float]:
        """The values of a numeric axis, ascending."""
        return sorted(float(value) for value in self.values(axis))

    def by_seed(self, **wanted: Any) -> dict[Any, Trial]:
        """The begun trials at these coordinates by seed: what pairs two arms.

        :raises SweepError: where the coordinates leave several trials to a seed.
        """
        trials: dict[Any, Trial] = {}
        for trial in self.where(**wanted):
            if trial.seed in trials:
                raise SweepError(f"{wanted}: leaves more than one trial to seed {trial.seed}; name more axes")
            trials[trial.seed] = trial
        return trials

    # --- curves -----------------------------------------------------------------------------------------------

    def iter_curves(self, columns: Sequence[str] | None = None) -> Iterator[tuple[Trial, Curves]]:
        """Each begun trial with its curves, one after the other; from MLflow they are as coarse as it holds them.

        :param columns: those wanted; every column that was measured, without.
        """
        begun = {trial.trial_id: trial for trial in self.trials if trial.begun}
        if self.reader is None:
            yield from ((trial, trial.curves) for trial in begun.values())
        else:
            yield from ((begun[trial_id], curves) for trial_id, curves in self.reader([*begun], columns))

    def with_curves(self, columns: Sequence[str]) -> "Sweep":
        """The sweep with these columns in every begun trial: NaN where a trial has none of it."""
        curves = {}
        for trial, given in self.iter_curves(columns):
            never = np.full(len(given[STEP]), math.nan)
            curves[trial.trial_id] = {STEP: given[STEP], **{name: given.get(name, never) for name in columns}}
        trials = (replace(trial, curves=curves.get(trial.trial_id, {})) for trial in self.trials)
        return replace(self, trials=tuple(trials), reader=None)

    def with_events(self, *rules: EventRule) -> "Sweep":
        """The sweep with events that were not declared: a trial's stop on success competes with them.

        :raises SweepError: where the source holds no curves to take them from.
        """
        if any(trial.read_outcome is not None for trial in self.trials):
            names = ", ".join(rule.name for rule in rules)
            raise SweepError(
                f"event {names}: MLflow holds declared events only; any other can be asked of the ledger (--from its "
                "folder)"
            )
        columns = dict.fromkeys(rule.column for rule in (*self.events, *rules))
        trials = (replace(trial, events=(*trial.events, *rules)) for trial in self.with_curves([*columns]).trials)
        return replace(self, trials=tuple(trials))

    def truncated_at(self, tau_steps: float = math.inf) -> "Sweep":
        """The sweep without what lies beyond tau, or beyond a trial's own horizon."""
        trials = (trial.truncated_at(int(min(tau_steps, trial.horizon_steps))) for trial in self.trials)
        return replace(self, trials=tuple(trials))

    # --- how much there is ------------------------------------------------------------------------------------

    def tau(self, asked_steps: int | None) -> int:
        """The time up to which the data count: the horizon, or an earlier one that was asked for.

        :raises SweepError: for one outside the horizon.
        """
        tau = self.horizon_steps if asked_steps is None else asked_steps
        if not 0 < tau <= self.horizon_steps:
            raise SweepError(
                f"--tau {tau}: must be above 0 and at most the sweep's horizon, {self.horizon_steps} steps"
            )
        return tau

    def extent(self) -> str:
        """How much of what was asked there is: ``3 of 5 seeds, 12 of 30 trials begun, 4000 to 20000 of 80000 steps``.

        A trial that was stopped for a reason that settles it counts as followed to its end.
        """
        begun = [trial for trial in self.trials if trial.begun]
        if not begun:
            return "nothing was run"
        asked, reached = (len({trial.seed for trial in trials}) for trials in (self.trials, begun))
        words = [f"{asked} seed{'s' if asked > 1 else ''}" if reached == asked else f"{reached} of {asked} seeds"]
        if len(begun) < len(self.trials):
            words.append(f"{len(begun)} of {len(self.trials)} trials begun")
        horizon = max(trial.horizon_steps for trial in self.trials)
        short = [trial.last_step for trial in begun if trial.known_until < trial.horizon_steps]
        if not short:
            words.append(f"all {thousands(horizon)} steps")
        else:
            span = dict.fromkeys(thousands(step) for step in (min(short), max(short)))
            some = "" if len(short) == len(begun) else f" in {len(short)} trial{'s' if len(short) > 1 else ''}"
            words.append(f"{' to '.join(span)} of {thousands(horizon)} steps{some}")
        return ", ".join(words)


def shared_seeds(*groups: Mapping[Any, Trial]) -> list[Any]:
    """The seeds of which all these groups have a trial."""
    return [seed for seed in groups[0] if all(seed in group for group in groups)]


def paired(*groups: Mapping[Any, Trial]) -> list[tuple[Trial, ...]]:
    """The trials of these groups seed by seed, of the seeds that all have."""
    return [tuple(group[seed] for group in groups) for seed in shared_seeds(*groups)]


_ABSENT = object()


def _coordinate(trial: Trial, name: str) -> Any:
    if name == "space":
        return trial.space
    if name == SEED:
        return trial.seed
    if name in trial.coordinates:
        return trial.coordinates[name]
    for axis, value in trial.coordinates.items():
        if axis.rpartition(".")[2] == name:
            return value
    return _ABSENT


def is_share(column: str) -> bool:
    """Whether a column holds fractions of 1, which tables and pictures show in percent."""
    return column.endswith(("_accuracy", "_fraction"))


def thousands(number: float) -> str:
    """``12 000``, with a narrow space that does not break."""
    return f"{number:,.0f}".replace(",", "\u202f")
