"""Made-up evidence for the tests of the paper's figures: a space's own trials, with curves that nothing trained."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from analysis.data.sweep import FULL, Sweep, Trial
from analysis.paper.figure import FigureSpec
from pipeline.spec import PlannedTrial
from pipeline.spec.space_file import load_space
from trainables.engine.events import ACCURACY_EVENTS, ACCURACY_PHASES, EventRule, PhaseRule

SPACES = Path(__file__).resolve().parents[2] / "search_spaces"


def space_path(space: str) -> Path:
    """The file of a space, wherever in the folder it is."""
    (path,) = SPACES.rglob(f"{space}.py")
    return path


def planned(figure: FigureSpec, size: str) -> Iterable[tuple[str, PlannedTrial]]:
    """Every trial of a figure's spaces at a size, with the stem of its space."""
    for space in figure.spaces:
        for trial in load_space(space_path(space), size if figure.sized else None).spec.trials():
            yield space, trial


def made_up(figure: FigureSpec, size: str = FULL, *, until: float = 1.0, seeds: int | None = None) -> Sweep:
    """Sweep of a figure's own trials.

    :param until: the share of its horizon that each trial was followed.
    :param seeds: begin the trials of the first ``seeds`` replicates; all of them by default.
    """
    found = []
    for space, trial in planned(figure, size):
        begun = made_trial(
            f"{len(found)}",
            trial.coordinates,
            figure.columns,
            space=space,
            config=trial.config.to_json(),
            horizon_steps=trial.config.horizon_steps,
            until=until,
            events=trial.config.events,
            phases=trial.config.phases,
        )
        found.append(begun)
    replicates = list(dict.fromkeys(trial.seed for trial in found))[:seeds]
    blank = {"curves": {}, "config": {}, "state": "missing", "last_step": 0}
    trials = (trial if trial.seed in replicates else replace(trial, **blank) for trial in found)
    return Sweep(size=size, trials=tuple(trials))


def made_trial(
    trial_id: str,
    coordinates: dict,
    columns: Sequence[str] = ("train_accuracy", "test_accuracy"),
    *,
    space: str = "made_up",
    config: dict | None = None,
    horizon_steps: int = 1000,
    until: float = 1.0,
    t_gen: float = 0.5,
    stop_reason: str | None = None,
    events: Sequence[EventRule] = ACCURACY_EVENTS,
    phases: Sequence[PhaseRule] = ACCURACY_PHASES,
) -> Trial:
    """A trial that has memorised by a tenth of its horizon and generalised by the share ``t_gen`` of it."""
    last = max(1, int(until * horizon_steps))
    steps = np.unique(np.concatenate([[0], np.geomspace(1, last, 50).astype(int), [last]])).astype(float)
    rng = np.random.default_rng(len(trial_id) * 1000 + sum(map(ord, trial_id)))
    share = steps / horizon_steps
    curves = {"step": steps}
    for column in columns:
        middle = 0.05 if column.startswith("train") else t_gen
        rise = 1 / (1 + np.exp(-(share - middle) * 60))
        if column.endswith("_loss"):
            curves[column] = 4.7 * (1 - rise) + 0.01
        elif column.endswith(("_accuracy", "_fraction", "_share")):
            curves[column] = rise * (0.98 + 0.02 * rng.random())
        else:
            curves[column] = 0.5 + 0.4 * rng.random() + rise
    return Trial(
        trial_id=trial_id,
        space=space,
        coordinates=coordinates,
        config=config or {},
        state="stopped" if stop_reason else "finished" if last == horizon_steps else "running",
        stop_reason=stop_reason,
        last_step=last,
        horizon_steps=horizon_steps,
        curves=curves,
        events=tuple(events),
        phases=tuple(phases),
    )
