"""Fig. 7: trajectories of SGD, SGD with weight decay and ⊥SGD on the loss landscapes of a plane."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from analysis.data.sweep import STEP, Sweep, Trial
from analysis.drawing.bands import COLOURS, draw_band
from analysis.drawing.panels import legend, not_run, step_panel, tidy
from analysis.drawing.style import FAINT
from analysis.paper.claims import reached
from analysis.paper.figure import FigureError, FigureSpec, Snapshots
from analysis.paper.verdict import Tristate, Verdict, judge, per_seed, report
from analysis.paper.words import finals, last_steps, percent, spread
from pipeline.ledger import weights_of

ARMS = SGD, DECAY, ORTHOGONAL = "SGD", "SGD + decay", "⊥SGD"
ARM_COLOURS = dict(zip(ARMS, (COLOURS[0], COLOURS[5], COLOURS[2]), strict=True))
SPLITS = TRAIN, TEST = "train", "test"
TEST_LOSS = f"softmax_{TEST}_loss"
"""The softmax cross-entropy of the weights that were kept, whatever loss they were trained with."""
RISE = 0.1
"""Of the initial test loss: what counts as a rise, at first or later."""
RESOLUTION = 25


def test_losses(trial: Trial) -> np.ndarray:
    """The test losses along the trajectory; empty where no weights were kept."""
    return trial.measured(TEST_LOSS)[1] if TEST_LOSS in trial.curves else np.empty(0)


def first_rise(trial: Trial) -> float:
    """How far the test loss rises above its initial value, as a share of it."""
    losses = test_losses(trial)
    return float(losses.max() / losses[0]) - 1 if len(losses) else math.nan


def relapse(trial: Trial) -> float:
    """How far a test loss lies above the smallest before it, at most, as a share of the initial one."""
    losses = test_losses(trial)
    return float((losses - np.minimum.accumulate(losses)).max() / losses[0]) if len(losses) else math.nan


def fell(trial: Trial) -> Tristate:
    """Whether the test loss falls throughout, all the way to the horizon."""
    losses, largest = test_losses(trial), relapse(trial)
    if largest >= RISE:
        return False
    return bool(losses[-1] < losses[0]) if largest < RISE and trial.last_step >= trial.horizon_steps else None


def verdict(evidence: Sweep) -> Verdict:
    """The three test losses; the final test accuracies are reported."""
    plain, decay, orthogonal = (evidence.where(arm=arm) for arm in ARMS)

    def words(trials: tuple[Trial, ...]) -> str:
        paths = [losses for losses in map(test_losses, trials) if len(losses)]
        first, last = (spread((float(path[place]) for path in paths), ".2f") for place in (0, -1))
        return f"from {first} to {spread((float(path.max()) for path in paths), '.2f')} at most, {last} at the end"

    def rose(trial: Trial) -> Tristate:
        return None if math.isnan(rise := first_rise(trial)) else reached(trial, rise, RISE, trial.last_step)

    return judge(
        per_seed("SGD: the test loss first rises, by 10 % of its initial value", plain, rose, words(plain)),
        per_seed("SGD + decay: likewise", decay, rose, words(decay)),
        per_seed(
            "⊥SGD: the test loss falls throughout (it never rises by 10 % of its initial value)",
            orthogonal,
            fell,
            f"{words(orthogonal)}; it rises by {percent(map(relapse, orthogonal))} of its initial value",
        ),
        report(
            "the test accuracy at the end",
            "; ".join(
                f"{arm} {finals(trials, 'test_accuracy', '.3f')} after {last_steps(trials)} steps"
                for arm, trials in zip(ARMS, (plain, decay, orthogonal), strict=True)
                if trials
            ),
        ),
    )


def condense(evidence: Sweep, snapshots: Snapshots) -> Sweep:
    """Add what is computed of the kept weights to the curves of the trials.

    Every trial gets the softmax cross-entropy of its weights on both splits, in float64, at the steps at which they
    were kept.  Of the first seed that has all three arms each gets the places of its weights on their common plane
    (``plane_x``, ``plane_y``), and the first arm the losses on it: ``grid_x`` and ``grid_y``, each (RESOLUTION,),
    and ``grid_train`` and ``grid_test``, the rows of the grid one after the other.
    """
    from trainables.engine.landscape import loss_grid, plane

    more: dict[str, dict[str, np.ndarray]] = {}
    planned = None
    for seed in dict.fromkeys(trial.seed for trial in evidence.where()):
        runs = (evidence.by_seed(arm=arm).get(seed) for arm in ARMS)
        trials = [trial for trial in runs if trial is not None]
        stored = {trial.trial_id: loaded(snapshots(trial), trial.last_step) for trial in trials}
        trials = [trial for trial in trials if stored[trial.trial_id]]
        more |= {trial.trial_id: softmax_losses(trial, stored[trial.trial_id]) for trial in trials}
        if planned is not None or len(trials) < len(ARMS):
            continue
        planned = plane([weights for trial in trials for weights in stored[trial.trial_id].values()])
        grid = loss_grid(planned, with_softmax(trials[0]).build([with_softmax(trials[0])] * 2), resolution=RESOLUTION)
        more[trials[0].trial_id] |= {"grid_x": grid.x, "grid_y": grid.y}
        more[trials[0].trial_id] |= {"grid_train": grid.train.ravel(), "grid_test": grid.test.ravel()}
        start = 0
        for trial in trials:
            stop = start + len(stored[trial.trial_id])
            x, y = planned.coordinates[start:stop].T
            more[trial.trial_id] |= {"plane_x": x, "plane_y": y}
            start = stop
    return replace(evidence, trials=tuple(_with(trial, more.get(trial.trial_id, {})) for trial in evidence.trials))


def with_softmax(trial: Trial) -> Any:
    """The trial's configuration with the softmax cross-entropy in float64 in place of its loss."""
    from trainables.engine.config import from_json
    from trainables.engine.losses import SoftmaxCrossEntropy

    return from_json(dict(trial.config)).replace(loss=SoftmaxCrossEntropy(dtype="float64"))


def softmax_losses(trial: Trial, stored: Mapping[int, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The softmax cross-entropy along a trajectory, by split, at the trial's steps; NaN where no weights were kept."""
    import torch

    config = with_softmax(trial)
    cohort = config.build([config])
    by_split = {split: np.full(len(trial.curves[STEP]), math.nan) for split in SPLITS}
    for place, step in enumerate(trial.curves[STEP].astype(int)):
        if step not in stored:
            continue
        weights = {name: torch.from_numpy(values)[None] for name, values in stored[step].items()}
        for split, losses in by_split.items():
            losses[place] = float(cohort.evaluate(weights, split).losses_KB.mean())
    return {f"softmax_{split}_loss": losses for split, losses in by_split.items()}


def _with(trial: Trial, curves: Mapping[str, np.ndarray]) -> Trial:
    # As the file has them, so that what is collected is what will be read.
    single = {name: values.astype(np.float32).astype(float) for name, values in curves.items()}
    return replace(trial, curves={**trial.curves, **single}) if single else trial


def loaded(stored: Mapping[int, bytes], until: int) -> dict[int, dict[str, np.ndarray]]:
    """Snapshots up to a step as weights by name, by step."""
    snapshots = {}
    for step, data in stored.items():
        if step <= until:
            try:
                snapshots[step] = weights_of(data)
            except ValueError as error:
                raise FigureError(
                    f"fig07: a snapshot at step {step} {error}; python -m pipeline.ledger verify"
                ) from None
    return snapshots


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """The two landscapes with the three trajectories of one seed, and every seed's test loss over the steps."""
    train, test, curves = figure.subplots(1, 3, width_ratios=(1, 1, 0.9))
    drawn = [trial for trial in evidence.where() if "plane_x" in trial.curves]
    for axes, split in zip((train, test), SPLITS, strict=True):
        if drawn:
            _draw_landscape(axes, drawn, split)
        else:
            not_run(axes, "no weights were kept")
    for arm, colour in ARM_COLOURS.items():
        kept = [trial for trial in evidence.where(arm=arm) if TEST_LOSS in trial.curves]
        draw_band(curves, kept, TEST_LOSS, colour=colour, label=arm)
    curves.set_yscale("log")
    step_panel(curves, "Test loss, all seeds", evidence.where(), start=1, legend_at="best")


def _draw_landscape(axes: Axes, drawn: list[Trial], split: str) -> None:
    held = next((trial.curves for trial in drawn if "grid_x" in trial.curves), None)
    tidy(axes, "Training loss" if split == TRAIN else "Test loss", xlabel="first component")
    if held is not None:
        x, y = held["grid_x"], held["grid_y"]
        losses = np.log10(np.maximum(held[f"grid_{split}"], 1e-12)).reshape(len(y), len(x))
        filled = axes.contourf(x, y, losses, levels=18, cmap="Greys", alpha=0.6, zorder=1)
        bar = axes.figure.colorbar(filled, ax=axes, pad=0.02, shrink=0.9)
        bar.set_label("log10 of the loss", fontsize=8)
        bar.ax.tick_params(labelsize=7.5)
        bar.outline.set_visible(False)
    for trial in drawn:
        along, up = trial.curves["plane_x"], trial.curves["plane_y"]
        axes.plot(along, up, color=ARM_COLOURS.get(trial.arm, FAINT), lw=1.8, marker="o", ms=2.5, zorder=4,
                  label=trial.arm)  # fmt: skip
        axes.plot(along[-1:], up[-1:], color=ARM_COLOURS.get(trial.arm, FAINT), marker="o", ms=7, mec="white", zorder=5)
    axes.grid(False)
    if split == TRAIN:
        axes.set_ylabel("second component", fontsize=9)
        legend(axes, loc="upper right", frameon=True, framealpha=0.85, edgecolor="none")


FIGURE = FigureSpec(
    title="Trajectories of SGD, SGD with decay and ⊥SGD on loss landscapes",
    statement="On the plane of the trajectories' principal components, SGD and SGD with weight decay first raise the "
    "test loss; ⊥SGD lowers it throughout.",
    space="fig07_landscapes",
    verdict=verdict,
    draw=draw,
    condense=condense,
    size_in=(12.4, 4.0),
)
