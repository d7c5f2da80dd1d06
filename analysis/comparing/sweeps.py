"""Sweeps beside each other: each setting that they share, over the seeds that pair, wherever they were read from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.data.source import open_sweep
from analysis.data.sweep import Sweep, SweepError, Trial, shared_seeds
from analysis.diagram.cells import asked_event
from analysis.diagram.layout import setting_words
from analysis.phase_diagram import DEFAULT_SOURCE
from analysis.stats.contrasts import Contrast, holm, independent_contrast, paired_contrast
from analysis.stats.survival import CensoredTimes, Summary, summarise
from trainables.engine.events import EventRule

COLUMNS = {
    "setting": "the setting in words",
    "sweep": "the sweep's name",
    "n": "its trials with measurements there",
    "p_by_tau, p_by_tau_low, p_by_tau_high": "P(the event by tau) with its 95 % interval",
    "given_steps, given_low_steps, given_high_steps": "geometric mean of the time, given that the event comes by tau",
    "rmst_steps, rmst_low_steps, rmst_high_steps": "restricted mean time to the event up to tau",
    "difference_steps, difference_low_steps, difference_high_steps": "of RMST, the sweep minus the first one",
    "ratio, ratio_low, ratio_high": "of times, in the pairs in which both have the event",
    "pairs": "shared seeds; 0: compared without pairs",
    "p, p_holm": "permutation p, and Holm's adjustment over all rows",
}
"""What the columns of the table mean."""


@dataclass(frozen=True)
class Entry:
    """One sweep at one setting."""

    sweep: str
    n: int
    summary: Summary
    contrast: Contrast | None = None
    """Against the first sweep that has the setting; None for that one, and where there are too few trials."""


@dataclass(frozen=True)
class SweepComparison:
    """Sweeps side by side; shown as its table in a notebook."""

    sweeps: tuple[str, ...]
    event: EventRule
    tau_steps: int
    settings: Mapping[str, tuple[Entry, ...]]
    """By the setting in words, those that at least two of the sweeps have."""

    @property
    def table(self) -> pd.DataFrame:
        """One row a sweep and setting, with the columns that :data:`COLUMNS` explains."""
        rows = []
        for setting, entries in self.settings.items():
            for entry in entries:
                row: dict[str, Any] = {"setting": setting, "sweep": entry.sweep, "n": entry.n}
                summary, contrast = entry.summary, entry.contrast
                estimates = {"p_by_tau": summary.by_tau, "given": summary.given_steps}
                estimates["rmst"] = summary.restricted_mean_steps
                if contrast is not None:
                    estimates |= {"difference": contrast.difference_steps, "ratio": contrast.ratio}
                for name, estimate in estimates.items():
                    unit = "" if name in ("p_by_tau", "ratio") else "_steps"
                    row |= {f"{name}{unit}": estimate.value}
                    row |= {f"{name}_low{unit}": estimate.low, f"{name}_high{unit}": estimate.high}
                if contrast is not None:
                    row |= {"pairs": contrast.pairs, "p": contrast.p, "p_holm": contrast.p_holm}
                rows.append(row)
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        return str(self.table.to_html(index=False, float_format="{:.3g}".format))


def compare_sweeps(
    *names: str,
    sources: str | Sequence[str] = DEFAULT_SOURCE,
    event: str | None = None,
    tau_steps: int | None = None,
) -> SweepComparison:
    """Compare sweeps at the settings that they share, each with the first::

        compare_sweeps("wd_vs_orthograd", "wd_vs_orthograd_amd").table

    :param sources: a ledger or an MLflow address for all, or one for each.
    :param event: ``NAME`` or ``NAME:THRESHOLD``; the first sweep's last declared one without.
    :param tau_steps: the time up to which the data count; the shortest horizon without.
    :raises SweepError: for fewer than two sweeps, another number of sources, no setting in common, or what
        :func:`analysis.open_sweep` raises.
    """
    uris = [sources] * len(names) if isinstance(sources, str) else [*sources]
    uris = uris * len(names) if len(uris) == 1 else uris
    if len(names) < 2 or len(uris) != len(names):
        raise SweepError(
            f"{len(names)} sweeps and {len(uris)} sources: must be two sweeps or more, and one source for all or each"
        )
    sweeps = {_label(name, uri, names): open_sweep(name, uri) for name, uri in zip(names, uris, strict=True)}
    if len(sweeps) < len(names):
        raise SweepError(f"{', '.join(names)}: a sweep appears twice; each must be another sweep, or of another source")
    return compare(sweeps, event, tau_steps)


def _label(name: str, uri: str, names: Sequence[str]) -> str:
    """The sweep's name, with its source where that alone tells sweeps apart."""
    return f"{name} ({uri})" if names.count(name) > 1 else name


def compare(sweeps: Mapping[str, Sweep], event: str | None = None, tau_steps: int | None = None) -> SweepComparison:
    """Compare opened sweeps by their labels, as :func:`compare_sweeps` does."""
    for label, sweep in sweeps.items():
        if not sweep.events or not sweep:
            raise SweepError(f"{label}: {'declares no event' if sweep else sweep.why_empty()}")
    first = next(iter(sweeps.values()))
    main = asked_event(first, event)
    tau = min(sweep.horizon_steps for sweep in sweeps.values()) if tau_steps is None else tau_steps
    for label, sweep in sweeps.items():
        sweep.tau(tau)
        if main.name not in {rule.name for rule in sweep.events}:
            raise SweepError(f"{label}: does not declare the event {main.name}; its events: "
                             f"{', '.join(rule.name for rule in sweep.events)}")  # fmt: skip
    cells = {label: _cells(sweep) for label, sweep in sweeps.items()}
    every = dict.fromkeys(setting for each in cells.values() for setting in each)
    shared = [setting for setting in every if sum(setting in each for each in cells.values()) > 1]
    if not shared:
        axes = (f"{label} has {', '.join(sweep.axes())}" for label, sweep in sweeps.items())
        raise SweepError(f"no setting in common: their axes and arms must agree somewhere; {'; '.join(axes)}")
    settings = {
        setting_words(dict(setting)) or "the only setting": _entries(
            {label: each[setting] for label, each in cells.items() if setting in each}, main, tau
        )
        for setting in shared
    }
    return _adjusted(SweepComparison(tuple(sweeps), main, tau, settings))


def _cells(sweep: Sweep) -> dict[tuple[tuple[str, Any], ...], dict[Any, Trial]]:
    """The begun trials by setting, whatever the order of its axes, and seed."""
    cells: dict[tuple[tuple[str, Any], ...], dict[Any, Trial]] = {}
    for trial in sweep.trials:
        if trial.begun:
            cells.setdefault(tuple(sorted(trial.setting.items())), {})[trial.seed] = trial
    return cells


def _entries(sides: Mapping[str, Mapping[Any, Trial]], main: EventRule, tau: int) -> tuple[Entry, ...]:
    """Each sweep's trials of one setting, summarised, and compared with the first's."""

    def times(trials: Mapping[Any, Trial], seeds: Sequence[Any]) -> CensoredTimes:
        return CensoredTimes.of([trials[seed].event(main.name, main.shown) for seed in seeds], tau)

    reference = next(iter(sides.values()))
    entries = []
    for label, trials in sides.items():
        contrast = None
        if trials is not reference:
            seeds = shared_seeds(reference, trials)
            rng = np.random.default_rng(0)
            if len(seeds) > 1:
                contrast = paired_contrast([times(reference, seeds)], [times(trials, seeds)], tau, rng)
            else:
                everyone = times(reference, [*reference]), times(trials, [*trials])
                contrast = independent_contrast(*everyone, tau, rng)
        summary = summarise(times(trials, [*trials]), tau, np.random.default_rng(0))
        entries.append(Entry(label, len(trials), summary, contrast))
    return tuple(entries)


def _adjusted(comparison: SweepComparison) -> SweepComparison:
    """With Holm's adjustment over all contrasts, where there are several."""
    entries = [entry for each in comparison.settings.values() for entry in each if entry.contrast is not None]
    if len(entries) < 2:
        return comparison
    adjusted = dict(zip(map(id, entries), holm([entry.contrast.p for entry in entries if entry.contrast]), strict=True))

    def with_p(entry: Entry) -> Entry:
        if entry.contrast is None:
            return entry
        return replace(entry, contrast=replace(entry.contrast, p_holm=adjusted[id(entry)]))

    return replace(
        comparison,
        settings={setting: tuple(map(with_p, each)) for setting, each in comparison.settings.items()},
    )
