"""Fig. 17 and Table 1: ResNet-18 and GPT-2 with softmax cross-entropy, with StableMax, and with ⊥Grad.

A method's accuracy is that at the last step of its run.  Each is compared with softmax cross-entropy seed by seed, and
a claim is judged by the 95 % interval of the mean difference (:mod:`analysis.stats.paired`), in points of accuracy: met
where the whole interval lies in the region that is claimed, not met where none of it does.  "Clearly below" means a
difference below -1 point.  The regions and the rule were set before any run.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from analysis.curves.comparison import Comparison, compare
from analysis.data.sweep import FULL, Sweep, Trial, thousands
from analysis.drawing.bands import COLOURS, EPOCH, draw_band, late_range, over_epochs
from analysis.drawing.forest import ForestGroup, ForestRow, draw_forest
from analysis.drawing.panels import legend, tidy
from analysis.paper.figure import FigureSpec
from analysis.paper.picture import STATUS_COLOURS
from analysis.paper.verdict import MET, MIN_SEEDS, NOT_MET, REPORTED, UNDECIDED, Claim, Tristate, Verdict, judge, report
from analysis.paper.words import percent, spread
from analysis.stats.contrasts import pairs_needed
from analysis.stats.paired import inside, mean_words, signed

BASELINE, STABLEMAX, ATTENTION = "softmax CE", "StableMax CE", "StableMax attention"
INF = math.inf
WITHIN, ABOVE, BELOW = (-1.0, 1.0), (1.5, INF), (-INF, -1.0)
WORDS = {
    WITHIN: "within 1 point of softmax CE",
    ABOVE: "at least 1.5 points above softmax CE",
    BELOW: "clearly below softmax CE, by more than 1 point",
}
TOP1, TOP5 = "test_accuracy", "test_top5_accuracy"
COLLAPSE, SCALE, TRAIN = "sc_any_fraction", "test_logit_scale", "train_accuracy"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of Table 1: a data set, its methods, and what is claimed of them."""

    name: str
    space: str
    measure: str
    published: Mapping[str, tuple[float, float]]
    """Mean and standard deviation over the seeds, in %; the baseline first."""
    claims: Mapping[str, tuple[float, float]]
    """Where a method's difference to the baseline is claimed to be, in points."""

    @property
    def laptop_name(self) -> str:
        """What the laptop size is run on."""
        return {"ImageNet-1k": "Imagenette", "WikiText-103": "WikiText-2"}.get(self.name, self.name)

    def published_difference(self, arm: str) -> float | None:
        """To the baseline, in points; None for the baseline itself."""
        return None if arm == BASELINE else self.published[arm][0] - self.published[BASELINE][0]


TABLE = (
    Column(
        name="CIFAR-10",
        space="table1_cifar10",
        measure=TOP1,
        published={BASELINE: (87.17, 0.2), STABLEMAX: (87.01, 0.2), "⊥SGD": (87.22, 0.2)},
        claims={STABLEMAX: WITHIN, "⊥SGD": WITHIN},
    ),
    Column(
        name="CIFAR-100",
        space="table1_cifar100",
        measure=TOP1,
        published={BASELINE: (59.98, 0.4), STABLEMAX: (60.63, 0.4), "⊥SGD": (62.69, 0.1)},
        claims={STABLEMAX: WITHIN, "⊥SGD": ABOVE},
    ),
    Column(
        name="ImageNet-1k",
        space="table1_imagenet",
        measure=TOP1,
        published={BASELINE: (69.33, 0.04), STABLEMAX: (65.87, 0.22), "⊥SGD": (68.95, 0.03)},
        claims={STABLEMAX: BELOW, "⊥SGD": WITHIN},
    ),
    Column(
        name="WikiText-103",
        space="table1_wikitext103",
        measure=TOP5,
        published={
            BASELINE: (60.48, 0.04),
            STABLEMAX: (51.85, 0.47),
            "⊥AdamW": (59.64, 0.04),
            ATTENTION: (58.52, 0.04),
        },
        claims={STABLEMAX: BELOW, "⊥AdamW": WITHIN},
    ),
)
ARM_COLOURS = {
    BASELINE: COLOURS[0],
    STABLEMAX: COLOURS[2],
    "⊥SGD": COLOURS[1],
    "⊥AdamW": COLOURS[1],
    ATTENTION: COLOURS[3],
}


def trials_of(evidence: Sweep, column: Column, arm: str) -> tuple[Trial, ...]:
    """The begun trials of a method on a data set."""
    return tuple(trial for trial in evidence.where() if trial.space == column.space and trial.arm == arm)


def _begun(evidence: Sweep, column: Column) -> bool:
    return any(trials_of(evidence, column, arm) for arm in column.published)


def compared(evidence: Sweep, column: Column, arm: str) -> Comparison | None:
    """A method beside the baseline (or the baseline beside itself); None where either was not begun."""
    return compare(trials_of(evidence, column, arm), trials_of(evidence, column, BASELINE), column.measure)


# --- verdict ------------------------------------------------------------------------------------------------------


def verdict(evidence: Sweep) -> Verdict:
    """Every claim by the interval of its difference; the rest is reported."""
    claims = [_claim(evidence, column, arm, region) for column in TABLE for arm, region in column.claims.items()]
    text = next(column for column in TABLE if ATTENTION in column.published)
    attention = compared(evidence, text, ATTENTION)
    return judge(
        *claims,
        report(
            f"{text.name}: {ATTENTION}", "" if attention is None else _numbers(evidence, text, ATTENTION, attention)
        ),
        *(
            report(f"{column.name}: what the methods are to prevent", _state_words(evidence, column))
            for column in TABLE
            if _begun(evidence, column)
        ),
        note="Differences are in points of accuracy, paired by seed, with Student's 95 % interval, not corrected for "
        "their number. Met: the whole interval is where it is claimed to be; not met: none of it is. Sign flips need "
        f"{pairs_needed()} pairs to reach p < .05.",
    )


def _claim(evidence: Sweep, column: Column, arm: str, region: tuple[float, float]) -> Claim:
    text = f"{column.name}: {arm} is {WORDS[region]}"
    comparison = compared(evidence, column, arm)
    if comparison is None:
        return Claim(text, (), "")
    numbers, holds = _numbers(evidence, column, arm, comparison), _holds(comparison, region)
    return Claim(text, (holds,), numbers, min_seeds=1, open_because=_why_open(comparison))


def _holds(comparison: Comparison, region: tuple[float, float]) -> Tristate:
    """Whether the mean difference lies in a region."""
    if (
        not comparison.complete
        or comparison.diverged
        or comparison.difference is None
        or comparison.difference.pairs < MIN_SEEDS
    ):
        return None
    return inside(comparison.difference.estimate, *region)


def _why_open(comparison: Comparison) -> str:
    """Why it can be undecided."""
    if comparison.diverged:
        return f"{comparison.diverged} of the trials diverged"
    if not comparison.complete:
        return "the runs are not at their end"
    assert comparison.difference is not None
    if comparison.difference.pairs < MIN_SEEDS:
        return f"{MIN_SEEDS} seeds are needed, {comparison.difference.pairs} there"
    return "the interval lies partly inside and partly outside"


def _numbers(evidence: Sweep, column: Column, arm: str, comparison: Comparison) -> str:
    on = "" if _ran_on(evidence, column) == column.name else f"on {_ran_on(evidence, column)}"
    when = "" if comparison.complete else place_words(trials_of(evidence, column, arm)[0], comparison.step)
    published = f"in the paper {signed(column.published_difference(arm))}"
    if comparison.difference is None:
        return "; ".join([*filter(None, (on, when)), "no accuracy of a shared seed", published])
    difference = comparison.difference
    least = f", {difference.p_words()}" if difference.pairs > 1 else ""
    values = f"{seeds_words(comparison.ours.values())} against {seeds_words(comparison.theirs.values())}"
    return "; ".join([*filter(None, (on, when)), values, f"difference {difference.words()}{least}", published])


def _state_words(evidence: Sweep, column: Column) -> str:
    """Training accuracy, collapsed rows and the deviation of a row's logits at the last measurement, by method."""
    parts = []
    for arm in column.published:
        if trials := trials_of(evidence, column, arm):
            train, collapsed = (percent(trial.final(name) for trial in trials) for name in (TRAIN, COLLAPSE))
            scale = spread((trial.final(SCALE) for trial in trials), ".3g")
            parts.append(f"{arm}: training accuracy {train}, softmax collapse {collapsed}, logits' deviation {scale}")
    return "; ".join(parts)


def place_words(trial: Trial, step: float) -> str:
    """``after 15 of 100 epochs``; for a run of about one, ``at step 500 of 900``."""
    an_epoch = trial.last_step / trial.final(EPOCH) if trial.final(EPOCH) > 0 else math.nan
    if not trial.horizon_steps / an_epoch >= 2:
        return f"at step {thousands(step)} of {thousands(trial.horizon_steps)}"
    return f"after {step / an_epoch:.3g} of {trial.horizon_steps / an_epoch:.3g} epochs"


def seeds_words(values: Iterable[float]) -> str:
    """``87.17 ± 0.20 (5)``: mean, standard deviation and number of seeds, as the paper reports them."""
    known = [*values]
    return f"{mean_words(known)} ({len(known)})" if known else "–"


# --- picture ------------------------------------------------------------------------------------------------------


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Above, the accuracy over the run on each data set that was begun; below, Table 1 with the differences drawn."""
    begun = [column for column in TABLE if _begun(evidence, column)]
    names = [column.name for column in begun]
    mosaic: list[Any] = [names, ["table"] * len(names)]
    panels = figure.subplot_mosaic(mosaic, height_ratios=(2.1, 3.9))
    for column in begun:
        _draw_curves(panels[column.name], evidence, column)
    legend(panels[names[0]], loc="lower right")
    draw_forest(
        panels["table"],
        [_group(evidence, column) for column in TABLE],
        value="test accuracy, mean ± sd (seeds)",
        difference="difference to softmax CE in points, 95 % interval",
    )


def _draw_curves(axes: Axes, evidence: Sweep, column: Column) -> None:
    shown: list[Trial] = []
    for arm in column.published:
        trials = [over_epochs(trial) for trial in trials_of(evidence, column, arm)]
        draw_band(axes, trials, column.measure, colour=ARM_COLOURS[arm], label=arm)
        shown += trials
    if (span := late_range(shown, column.measure)) is not None:
        axes.set_ylim(bottom=span[0])
    tidy(axes, f"{_ran_on(evidence, column)}{', top-5' * (column.measure == TOP5)}", xlabel="epochs")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _ran_on(evidence: Sweep, column: Column) -> str:
    return column.name if evidence.size == FULL else column.laptop_name


def _group(evidence: Sweep, column: Column) -> ForestGroup:
    comparisons = {arm: compared(evidence, column, arm) for arm in column.published}
    notes = ["top-5"] if column.measure == TOP5 else []
    if not _begun(evidence, column):
        notes.append("not run")
    else:
        notes += [f"here {_ran_on(evidence, column)}"] if _ran_on(evidence, column) != column.name else []
        notes += ["grey: not at its end"] if any(each and not each.complete for each in comparisons.values()) else []
    rows = [_row(column, arm, each) for arm, each in comparisons.items()]
    return ForestGroup(name=column.name, note="\n".join(notes), rows=rows)


def _row(column: Column, arm: str, comparison: Comparison | None) -> ForestRow:
    mean, deviation = column.published[arm]
    row = ForestRow(
        name=arm,
        colour=ARM_COLOURS[arm],
        region=column.claims.get(arm),
        published=f"{mean:.2f} ± {deviation:g}",
        published_difference=column.published_difference(arm),
    )
    if comparison is None:
        return row
    row = replace(row, value=seeds_words(comparison.ours.values()), faint=not comparison.complete)
    if arm == BASELINE or comparison.difference is None:
        return row
    status = REPORTED
    if row.region is not None:
        status = {True: MET, False: NOT_MET, None: UNDECIDED}[_holds(comparison, row.region)]
    return replace(
        row,
        difference=comparison.difference.estimate,
        points=comparison.difference.differences if comparison.difference.pairs > 1 else (),
        text=comparison.difference.words(),
        status_colour=STATUS_COLOURS[status],
    )


FIGURE = FigureSpec(
    title="StableMax and ⊥Grad on ResNet-18 and GPT-2 (with Fig. 17)",
    statement="⊥Grad is at least 1.5 points above softmax cross-entropy on CIFAR-100, and within 1 point of it on "
    "CIFAR-10, ImageNet-1k and WikiText-103; StableMax in the loss is within 1 point of it on CIFAR-10 and CIFAR-100, "
    "and clearly below, by more than 1 point, on ImageNet-1k and WikiText-103.",
    space=tuple(column.space for column in TABLE),
    columns=(TRAIN, TOP1, TOP5, EPOCH, COLLAPSE, SCALE),
    verdict=verdict,
    draw=draw,
    size_in=(11.6, 7.2),
)
