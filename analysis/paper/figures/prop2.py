"""Proposition 2: −g⊥ is a direction of descent, and orthogonal to the weights; checked on the engine's own ⊥Grad."""

import numpy as np
from matplotlib.figure import SubFigure

from analysis.data.sweep import FULL, Sweep
from analysis.drawing.bands import COLOURS
from analysis.drawing.panels import legend, mark_level, tidy
from analysis.paper.figure import FigureSpec, computed
from analysis.paper.verdict import Claim, Verdict, judge

SHAPES = {"weight_0": (200, 226), "weight_1": (200, 200), "weight_2": (113, 200)}
"""The default MLP's."""
SINES = tuple(10.0 ** (power / 3) for power in range(-18, 1))
"""Of the angle between the gradient and the weights: from nearly parallel to orthogonal."""
ARMS = {f"{scope}{', rescaled' if rescale else ''}": (scope, rescale) for scope in ("tensor", "global")
        for rescale in (True, False)}  # fmt: skip
SEEDS = 5
BOUND = 1e-6


def check() -> Sweep:
    """Random weights and gradients at each angle, in float32; a trial a seed and a variant of ⊥Grad.

    ``descent`` is the cosine of −g⊥ and g; ``overlap`` is |θᵀg⊥| / (‖θ‖ ‖g⊥‖), over all weights or the worst tensor.
    """
    import torch

    from trainables.engine.gradients import OrthogonalGradient

    trials = []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        weights = {name: rng.standard_normal(shape) / np.sqrt(shape[1]) for name, shape in SHAPES.items()}
        noise = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
        for arm, (scope, rescale) in ARMS.items():
            rule, draws = OrthogonalGradient(scope=scope, rescale=rescale), []
            parts = [[name] for name in SHAPES] if scope == "tensor" else [[*SHAPES]]
            for sine in SINES:
                gradient = _at_angle(weights, noise, sine, parts)
                theta, g = ({name: torch.from_numpy(value).float()[None] for name, value in given.items()}
                            for given in (weights, gradient))  # fmt: skip
                projected = rule.projected(theta, g)
                flat = [[_flat(given, part) for given in (theta, g, projected)] for part in parts]
                draws.append(
                    (
                        max(-_cosine(left, before) for _, before, left in flat),
                        max(abs(_cosine(t, left)) for t, _, left in flat),
                    )
                )
            descent, overlap = np.array(draws).T
            curves = {"sine": SINES, "descent": descent, "overlap": overlap}
            trials.append(computed("prop2", curves, arm=arm, seed=seed))
    return Sweep(size=FULL, trials=tuple(trials))


def _at_angle(weights: dict, noise: dict, sine: float, parts: list[list[str]]) -> dict[str, np.ndarray]:
    """A gradient of norm 1 in each part, at an angle of this sine to its weights, against them as in NLM."""
    tilted: dict[str, np.ndarray] = {}
    for part in parts:
        size = np.sqrt(sum(np.sum(weights[name] ** 2) for name in part))
        along = {name: weights[name] / size for name in part}
        shared = sum(np.sum(noise[name] * along[name]) for name in part)
        across = {name: noise[name] - shared * along[name] for name in part}
        left = np.sqrt(sum(np.sum(across[name] ** 2) for name in part))
        tilted |= {name: -np.sqrt(1 - sine**2) * along[name] + sine * across[name] / left for name in part}
    return tilted


def _flat(tensors: dict, part: list[str]) -> np.ndarray:
    return np.concatenate([tensors[name].numpy().astype(float).ravel() for name in part])


def _cosine(left: np.ndarray, right: np.ndarray) -> float:
    return float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right)))


def verdict(evidence: Sweep) -> Verdict:
    """Descent and orthogonality, seed by seed: a seed holds where every variant of ⊥Grad does at every angle."""
    seeds = evidence.values("seed")
    of_seed = {seed: evidence.where(seed=seed) for seed in seeds}
    draws = f"{len(seeds)} draws, {len(ARMS)} variants of ⊥Grad, {len(SINES)} angles down to a sine of {SINES[0]:.0e}"
    largest = {name: max(trial.largest(name) for trial in evidence.where()) for name in ("descent", "overlap")}
    return judge(
        Claim(
            "⟨−g⊥, g⟩ ≤ 0",
            tuple(all(trial.largest("descent") <= 0 for trial in trials) for trials in of_seed.values()),
            f"cosine of −g⊥ and g at most {largest['descent']:.1e}; {draws}",
        ),
        Claim(
            "|θ·g⊥| / (‖θ‖‖g⊥‖) < 1e-6 in float32",
            tuple(all(trial.largest("overlap") < BOUND for trial in trials) for trials in of_seed.values()),
            f"at most {largest['overlap']:.1e}",
        ),
    )


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Left: how steeply −g⊥ descends; right: what is left along the weights."""
    left, right = figure.subplots(1, 2)
    sines = np.array(SINES)
    left.plot(sines, sines, color="#9a9a9a", lw=1.2, label="sine of the angle: exact")
    for arm, colour, marker in zip(evidence.values("arm"), COLOURS, "osD^", strict=False):
        label = arm
        for trial in evidence.where(arm=arm):
            look = {"ls": "", "marker": marker, "ms": 5, "mfc": "none", "mec": colour, "mew": 0.9}
            left.plot(trial.curves["sine"], -trial.curves["descent"], label=label, **look)
            right.plot(trial.curves["sine"], np.maximum(trial.curves["overlap"], 1e-13), label=label, **look)
            label = "_"
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_yscale("log")
    tidy(left, "−cos(−g⊥, g): above 0 descends", xlabel="sine of the angle of g and θ")
    tidy(right, "|θ·g⊥| / (‖θ‖‖g⊥‖)", xlabel="sine of the angle of g and θ")
    right.set_ylim(top=1e-5)
    mark_level(right, BOUND, "the statement's bound")
    legend(left, loc="upper left")
    left.set_ylim(top=30)


FIGURE = FigureSpec(
    title="⊥Grad descends, orthogonally to the weights",
    statement="On random draws ⟨−g⊥, g⟩ ≤ 0, and |θ·g⊥| / (‖θ‖‖g⊥‖) < 1e-6 in float32.",
    check=check,
    verdict=verdict,
    draw=draw,
    size_in=(9.6, 3.8),
)
