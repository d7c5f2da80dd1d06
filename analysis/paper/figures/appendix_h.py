"""App. H: spikes of the training loss under Adam, in float32 and in float64."""

import math

from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator

from analysis.data.sweep import Sweep, Trial, paired
from analysis.drawing.bands import DTYPE_COLOURS, draw_band
from analysis.drawing.panels import mark_level, step_panel
from analysis.paper.claims import below, every
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Claim, Tristate, Verdict, judge, report
from analysis.paper.words import finals

SINGLE, DOUBLE = DTYPES = "float32", "float64"
SPIKES, RAW = "loss_spikes_resolved", "loss_spikes"
RESOLUTION = 2.0**-23
"""The least loss of a row in float32 short of 0; a loss below it is counted as this."""


def count(trial: Trial, column: str) -> float:
    """The spikes up to the horizon; NaN where the run ended before, unless its weights can never change again."""
    return trial.final(column) if trial.known_until >= trial.horizon_steps else math.nan


def fewer(single: Trial, double: Trial) -> Tristate:
    """Whether the float64 run has fewer spikes than the float32 run of its seed."""
    counts = [count(single, SPIKES), count(double, SPIKES)]
    return every([None if math.isnan(number) else True for number in counts] + [below(counts[1], counts[0])])


def verdict(evidence: Sweep) -> Verdict:
    """Both dtypes of every seed against each other."""
    single, double = (evidence.by_seed(arm=dtype) for dtype in DTYPES)
    pairs = paired(single, double)
    return judge(
        Claim(
            "fewer spikes of the training loss (x 10 within 50 steps, losses below 2⁻²³ taken for it) in float64",
            tuple(fewer(*pair) for pair in pairs),
            words(pairs, SPIKES, ".0f"),
        ),
        report("spikes of the loss as it is, 0 included", words(pairs, RAW, ".0f")),
        report(
            "rows in collapse and test accuracy at the end",
            f"{words(pairs, 'sc_any_fraction', '%')}; {words(pairs, 'test_accuracy', '%')}" if pairs else "",
        ),
    )


def words(pairs: list[tuple[Trial, ...]], column: str, style: str) -> str:
    """``float32: 12 [9, 14], float64: 3 [2, 5]``, as measured last."""
    if not pairs:
        return ""
    sides = zip(DTYPES, zip(*pairs, strict=True), strict=True)
    return ", ".join(f"{dtype}: {finals(side, column, style)}" for dtype, side in sides)


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Left: the training loss; right: spikes so far."""
    left, right = figure.subplots(1, 2, sharex=True)
    for dtype in DTYPES:
        trials = evidence.where(arm=dtype)
        draw_band(left, trials, "train_loss", colour=DTYPE_COLOURS[dtype], label=dtype, width=1.2)
        draw_band(right, trials, SPIKES, colour=DTYPE_COLOURS[dtype], label=dtype)
    left.set_yscale("log", nonpositive="mask")
    step_panel(left, "Training loss; dashed: 2⁻²³", evidence.where(), start=5, ylabel="loss (log scale)")
    mark_level(left, RESOLUTION)
    right.yaxis.set_major_locator(MaxNLocator(integer=True))
    step_panel(right, "Loss spikes so far", evidence.where(), start=5, ylabel="spikes", legend_at="upper left")


FIGURE = FigureSpec(
    title="Loss spikes of Adam in float32 and float64",
    statement="With Adam the training loss spikes (rises tenfold within 50 steps) less often in float64 than in "
    "float32.",
    space="appendix_h_spikes",
    columns=("train_accuracy", "test_accuracy", "train_loss", "sc_any_fraction", SPIKES, RAW),
    verdict=verdict,
    draw=draw,
)
