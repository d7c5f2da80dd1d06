"""Proposition 1: StableMax is the softmax of g(x) = sign(x) log(1 + |x|); checked on the engine's own functions."""

import numpy as np
from matplotlib.figure import SubFigure

from analysis.data.sweep import FULL, Sweep
from analysis.drawing.bands import COLOURS
from analysis.drawing.panels import legend, mark_level, tidy
from analysis.paper.figure import FigureSpec, computed
from analysis.paper.verdict import Verdict, judge, per_seed

SCALES = tuple(10.0**power for power in range(-3, 7))
"""Standard deviations of the random logits."""
ROWS, CLASSES, SEEDS = 500, 113, 5
BOUND = 1e-12


def check() -> Sweep:
    """Random logits through both sides of the proposition, in float64; a trial a seed, a point a scale."""
    import torch

    from trainables.engine.losses import log_s, s

    trials = []
    for seed in range(SEEDS):
        drawn = np.random.default_rng(seed).standard_normal((len(SCALES), ROWS, CLASSES))
        identity, formula = [], []
        for scale, noise in zip(SCALES, drawn, strict=True):
            logits = torch.from_numpy(scale * noise)
            stablemax = s(logits) / s(logits).sum(dim=-1, keepdim=True)
            identity.append(float((stablemax - torch.softmax(log_s(logits), dim=-1)).abs().max()))
            formula.append(float(np.abs(stablemax.numpy() - stablemax_by_definition(scale * noise)).max()))
        curves = {"scale": SCALES, "identity": identity, "definition": formula}
        trials.append(computed("prop1", curves, seed=seed))
    return Sweep(size=FULL, trials=tuple(trials))


def stablemax_by_definition(x: np.ndarray) -> np.ndarray:
    """Def. 4 as it is written, by numpy alone; over the last axis."""
    s = np.empty_like(x)
    s[x >= 0] = x[x >= 0] + 1
    s[x < 0] = 1 / (1 - x[x < 0])
    return s / s.sum(axis=-1, keepdims=True)


def verdict(evidence: Sweep) -> Verdict:
    """Both differences within the bound, seed by seed."""
    trials = evidence.where()
    parts = {
        "identity": "|StableMax(x) − Softmax(g(x))| ≤ 1e-12 in float64",
        "definition": "the engine's StableMax is Def. 4 within 1e-12",
    }
    return judge(
        *(
            per_seed(
                text,
                trials,
                lambda trial, name=name: bool(trial.largest(name) <= BOUND),  # type: ignore[misc]
                f"at most {max(trial.largest(name) for trial in trials):.1e} over {len(trials)} draws of {ROWS} rows "
                f"of {CLASSES} logits at each of {len(SCALES)} scales from {SCALES[0]:g} to {SCALES[-1]:g}",
            )
            for name, text in parts.items()
        )
    )


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """The largest differences over the scale of the logits."""
    axes = figure.subplots()
    tidy(axes, "Largest difference of any probability", xlabel="standard deviation of the logits", ylabel="difference")
    axes.set_xscale("log")
    axes.set_yscale("log")
    looks = (("identity", "StableMax(x) and Softmax(g(x))", "o", COLOURS[0]),
             ("definition", "the engine and Def. 4", "s", COLOURS[1]))  # fmt: skip
    for name, label, marker, colour in looks:
        for trial in evidence.where():
            # A difference of exactly 0 has no place on a logarithmic axis; it is drawn at the bottom.
            heights = np.maximum(trial.curves[name], 1e-18)
            axes.plot(trial.curves["scale"], heights, ls="", marker=marker, ms=4.5, mfc="none", mec=colour, label=label)
            label = "_"
    axes.set_ylim(5e-19, 1e-11)
    mark_level(axes, BOUND, "the statement's bound")
    legend(axes, loc="lower right")


FIGURE = FigureSpec(
    title="StableMax is a softmax",
    statement="StableMax(x) = Softmax(g(x)) with g(x) = sign(x) log(1 + |x|), within 1e-12 in float64.",
    check=check,
    verdict=verdict,
    draw=draw,
    size_in=(7.2, 3.6),
)
