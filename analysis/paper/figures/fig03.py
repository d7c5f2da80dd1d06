"""Fig. 3: s(x) against the exponential that it replaces; from the engine's own function."""

import numpy as np
from matplotlib.figure import SubFigure

from analysis.data.sweep import FULL, Sweep, Trial
from analysis.drawing.bands import COLOURS, DTYPE_COLOURS
from analysis.drawing.panels import legend, tidy
from analysis.drawing.style import FAINT
from analysis.paper.figure import FigureSpec, computed
from analysis.paper.verdict import Claim, Verdict, judge

NEAR = np.linspace(-5, 5, 201)
FAR = np.concatenate([[0.0], np.logspace(-1, 17, 217)])
DIGITS = {"float16": 11, "float32": 24, "float64": 53}
"""Bits of each dtype's significand: a term below 2^-bits is absorbed when it is added to 1."""
EXPONENTIAL_COLOUR, S_COLOUR = COLOURS[5], COLOURS[0]


def check() -> Sweep:
    """The engine's s at the points of both panels, in float64."""
    import torch

    from trainables.engine.losses import s

    def points(name: str, x: np.ndarray) -> Trial:
        return computed("fig03", {"x": x, "s": s(torch.from_numpy(x)).numpy()}, arm=name)

    return Sweep(size=FULL, trials=(points("near", NEAR), points("below", -FAR)))


def verdict(evidence: Sweep) -> Verdict:
    """What the figure shows: s touches the exponential at 0, grows linearly, and falls as 1/|x|."""
    x, s = (np.concatenate([trial.curves[name] for trial in evidence.where()]) for name in ("x", "s"))
    order = np.argsort(x, kind="stable")
    x, s = x[order], s[order]
    apart = np.unique(x)
    touching = bool(np.all(s[x == 0] == 1) and np.all(np.abs(s - 1 - x)[np.abs(x) < 0.06] <= x[np.abs(x) < 0.06] ** 2))
    with np.errstate(over="ignore", under="ignore"):
        exponential = np.exp(x)
    slack = 1e-6 * exponential
    flatter = bool(
        np.all(s[x > 0] <= (exponential + slack)[x > 0]) and np.all((s + slack)[x < 0] >= exponential[x < 0])
    )
    growing = bool(np.all(np.diff(s[np.searchsorted(x, apart)]) > 0))
    lost = {name: f"{bits * np.log(2):.3g} and {2.0**bits:.1e}" for name, bits in DIGITS.items()}
    return judge(
        Claim(
            "s(0) = 1, and s is 1 + x to first order",
            (touching,),
            f"s(0) = {s[x == 0].max():g}; |s(x) − 1 − x| ≤ x² for |x| < .06",
            min_seeds=1,
        ),
        Claim("s increases everywhere", (growing,), f"{len(apart)} points from {x[0]:.0e} to {x[-1]:g}", min_seeds=1),
        Claim(
            "s is below the exponential for x > 0 and above it for x < 0",
            (flatter,),
            "a class is absorbed beside 1 when it is below by (softmax and s): "
            + "; ".join(f"{name} {margins}" for name, margins in lost.items()),
            min_seeds=1,
        ),
    )


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Left: the functions near 0, as in the paper; right: how far below a class may be before it is absorbed."""
    left, right = figure.subplots(1, 2)
    for near in evidence.where(arm="near"):
        x = near.curves["x"]
        left.plot(x, np.exp(x), color=EXPONENTIAL_COLOUR, lw=2, label="exp(x)")
        left.plot(x, near.curves["s"], color=S_COLOUR, lw=2, label="s(x)")
    left.set_ylim(0, 8)
    left.set_xlim(-5, 5)
    tidy(left, "Near 0", xlabel="x")
    legend(left, loc="upper left")
    for far in evidence.where(arm="below"):
        below = -far.curves["x"]
        shown = below > 0
        with np.errstate(under="ignore"):
            right.plot(below[shown], np.exp(-below[shown]), color=EXPONENTIAL_COLOUR, lw=2, label="exp(x)")
        right.plot(below[shown], far.curves["s"][shown], color=S_COLOUR, lw=2, label="s(x)")
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_ylim(1e-18, 4)
    right.set_xlim(0.1, 1e17)
    for name, bits in DIGITS.items():
        right.axhline(2.0**-bits, color=DTYPE_COLOURS[name], lw=1.2, ls=(0, (4, 3)), zorder=1.5)
        along = right.get_yaxis_transform()
        place = 0.6 if name == "float64" else 0.99  # clear of the curve
        right.text(place, 2.0**-bits, f"absorbed beside 1 in {name}", fontsize=8, color=FAINT, ha="right", va="bottom",
                   transform=along)  # fmt: skip
    tidy(right, "Far below: what a class at −x adds", xlabel="−x (log scale)")


FIGURE = FigureSpec(
    title="s(x) against the exponential",
    statement="s(x) = x + 1 for x ≥ 0 and 1/(1 − x) below: it touches the exponential at 0, grows linearly, and falls "
    "so slowly that no class is absorbed where softmax collapses.",
    check=check,
    verdict=verdict,
    draw=draw,
    size_in=(9.6, 3.8),
)
