"""Fig. 2: the training fraction against the dtype of the softmax; where the rows collapse, generalising stops."""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

from matplotlib.figure import SubFigure

from analysis.data.sweep import Sweep, Trial
from analysis.drawing.bands import DTYPE_COLOURS, collapse_onset, draw_band, mark_collapse
from analysis.drawing.panels import legend, not_run, step_panel
from analysis.paper.claims import at_least, each_seed, every, precedes, stays_below
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Claim, Tristate, Verdict, judge
from analysis.paper.words import largest, percent, spread, spread_steps

PANELS = ("2a", "2b", "2c")
MEMORISING, BOUNDARY = PANELS[0], PANELS[1:]
"""The panel in which nothing generalises, and those in which the dtypes part."""
DTYPES = ("float16", "float32", "float64")
TEST, COLLAPSED = "test_accuracy", "sc_any_fraction"
GAP = 0.08
"""How far apart the final test accuracies of two neighbouring dtypes are."""
SLOWED = 5.0
"""How much slower the test accuracy grows after the onset of collapse than until then."""
PAPER_STEPS = 20_000
BEYOND = 1.5
"""A run tells about the growth after its onset from this multiple of the onset on."""


def fraction(evidence: Sweep, panel: str) -> str:
    """``40 % of the pairs mod 113``: what was run in a panel."""
    tasks = [trial.config.get("task", {}) for trial in evidence.where(arm=panel)]
    shares = {(task.get("train_fraction", 0.4), task.get("p", 113)) for task in tasks}
    return ", ".join(f"{share:.0%} of the pairs mod {p}".replace("%", " %") for share, p in sorted(shares))


def final(trial: Trial) -> float:
    """The test accuracy at the end of what was asked; NaN where it is not known yet."""
    return trial.at(TEST, trial.horizon_steps)


def before(first: Trial, second: Trial) -> Tristate:
    """Whether half of the rows collapse in the first trial before they do in the second; None: not known yet."""
    one, other = (collapse_onset(trial, COLLAPSED) for trial in (first, second))
    return precedes(one, other, first.last_step, second.last_step)


def slowing(trial: Trial) -> float:
    """The mean growth of the test accuracy a step until the onset of collapse, over that from then to the end.

    NaN where the rows have not collapsed or were not followed long enough since; infinite where it only fell.
    """
    onset = collapse_onset(trial, COLLAPSED)
    if math.isinf(onset) or onset == 0 or trial.last_step < BEYOND * onset:
        return math.nan
    at_onset = trial.at(TEST, onset)
    later = (trial.final(TEST) - at_onset) / (trial.last_step - onset)
    return at_onset / onset / later if later > 0 else math.inf


def apart(first: Trial, second: Trial) -> Tristate:
    """Whether the second ends at least 8 points above the first.

    None: not followed to the end, or, in a shortened run, ended before the first one's collapse could part the two.
    """
    if math.isinf(collapse_onset(first, COLLAPSED)) and first.horizon_steps < PAPER_STEPS:
        return None
    return at_least(final(second) - final(first), GAP)


def in_order(
    by_dtype: Mapping[str, Mapping[object, Trial]], test: Callable[[Trial, Trial], Tristate]
) -> tuple[Tristate, ...]:
    """Seed by seed, whether a test holds of each two neighbouring dtypes; None where one has not that seed."""
    seeds = list(dict.fromkeys(seed for trials in by_dtype.values() for seed in trials))
    return tuple(
        every(
            test(by_dtype[low][seed], by_dtype[high][seed])
            if seed in by_dtype[low] and seed in by_dtype[high]
            else None
            for low, high in pairwise(DTYPES)
        )
        for seed in seeds
    )


def verdict(evidence: Sweep) -> Verdict:
    """2a: nothing generalises. 2b, 2c: the dtypes' order, in accuracy and in time, and the slowing."""
    stuck = evidence.where(arm=MEMORISING)
    by_seed = [evidence.by_seed(arm=MEMORISING, dtype=dtype) for dtype in DTYPES]
    claims = [
        Claim(
            "2a, the test accuracy stays below .02 in every dtype",
            each_seed(by_seed, lambda trial: stays_below(trial, TEST, 0.02)),
            f"at most {largest(stuck, TEST)}" + (f" with {fraction(evidence, MEMORISING)}" if stuck else ""),
        )
    ]
    for panel in BOUNDARY:
        if panel in evidence.values("arm"):
            claims += boundary_claims(evidence, panel)
    return judge(*claims)


def boundary_claims(evidence: Sweep, panel: str) -> list[Claim]:
    """The three claims about a panel in which the dtypes part."""
    by_dtype = {dtype: evidence.by_seed(arm=panel, dtype=dtype) for dtype in DTYPES}
    trials = evidence.where(arm=panel)

    def words(value: Callable[[Trial], float], text: Callable[..., str]) -> str:
        return ", ".join(f"{dtype} {text(value(trial) for trial in by_dtype[dtype].values())}" for dtype in DTYPES)

    what = f"with {fraction(evidence, panel)}: " if trials else ""
    return [
        Claim(
            f"{panel}, the final test accuracy is ordered float16 < float32 < float64, at least 8 points apart",
            in_order(by_dtype, apart),
            what + words(lambda trial: trial.final(TEST), percent),
        ),
        Claim(
            f"{panel}, half of the rows have collapsed in this order too",
            in_order(by_dtype, before),
            "first at " + words(lambda trial: collapse_onset(trial, COLLAPSED), spread_steps),
        ),
        Claim(
            f"{panel}, from then on the test accuracy grows at least 5 times slower than until then",
            each_seed(by_dtype.values(), lambda trial: at_least(slowing(trial), SLOWED)),
            "slower by " + words(slowing, lambda values: spread(values, ".1f")),
        ),
    ]


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Above the test accuracies, below the share of collapsed rows; a column for each fraction."""
    panels = [panel for panel in PANELS if panel in evidence.values("arm")]
    rows = figure.subplots(2, len(panels), sharex="col", squeeze=False, height_ratios=(1.6, 1))
    for column, panel in enumerate(panels):
        above, below = rows[0][column], rows[1][column]
        trials = evidence.where(arm=panel)
        if not trials:
            not_run(above, f"{panel}: not run")
            below.set_axis_off()
            continue
        for dtype in DTYPES:
            group, colour = evidence.where(arm=panel, dtype=dtype), DTYPE_COLOURS[dtype]
            draw_band(above, group, TEST, colour=colour, label=dtype)
            mark_collapse(above, group, colour=colour, column=COLLAPSED)
            draw_band(below, group, COLLAPSED, colour=colour)
        title, words = f"{panel}  {fraction(evidence, panel)}", {above: "test accuracy", below: "collapsed rows"}
        for axes, name in words.items():
            ylabel = name if column == 0 else ""
            step_panel(axes, title if axes is above else "", trials, start=50, accuracy=True, ylabel=ylabel)
        above.set_xlabel("")
        legend(above, loc="upper left")


FIGURE = FigureSpec(
    title="Training fraction against the dtype of the softmax",
    statement="With 60 and 70 % of the pairs the final test accuracy and the onset of softmax collapse are ordered "
    "float16 < float32 < float64, the accuracies at least 8 points apart, and growth slows at least 5 times after the "
    "onset. With 40 % the test accuracy stays below .02.",
    space="fig02_fraction_vs_dtype",
    columns=("train_accuracy", "test_accuracy", "sc_any_fraction"),
    verdict=verdict,
    draw=draw,
    size_in=(10.4, 5.0),
)
