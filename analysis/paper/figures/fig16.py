"""Fig. 16: temperature and label smoothing in the place of StableMax."""

from collections.abc import Sequence

from matplotlib.figure import SubFigure

from analysis.data.sweep import FULL, LAPTOP, Sweep, Trial, paired
from analysis.drawing.bands import COLOURS, collapse_onset, draw_band
from analysis.drawing.panels import accuracy_panel, arms, step_panel
from analysis.paper.claims import precedes, reaching, staying_below
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Claim, Tristate, Verdict, judge, per_seed
from analysis.paper.words import finals, largest, last_steps, spread_steps

SOFTMAX, TEMPERATURE, SMOOTHING, STABLEMAX = ARMS = "softmax", "temperature 1e5", "label smoothing .1", "StableMax"
ARM_COLOURS = dict(zip(ARMS, (COLOURS[0], COLOURS[1], COLOURS[3], COLOURS[2]), strict=True))
COLLAPSE, TEST, TRAIN = "sc_loss_fraction", "test_accuracy", "train_accuracy"
"""Collapse of the normaliser that the loss has: the softmax's, or StableMax's own, which the figure is about."""


ONSET_LEVELS = {FULL: 0.5, LAPTOP: 0.01}
"""Collapse has begun when more than this share of the training rows has collapsed; few have in a laptop's steps."""


def delayed(plain: Trial, tempered: Trial, level: float) -> Tristate:
    """Whether collapse begins later with the temperature."""
    one, other = (collapse_onset(trial, COLLAPSE, level) for trial in (plain, tempered))
    return precedes(one, other, plain.last_step, tempered.last_step)


def verdict(evidence: Sweep) -> Verdict:
    """The temperature against the plain softmax of the same seed; the other two against their bounds."""
    plain, tempered = evidence.by_seed(arm=SOFTMAX), evidence.by_seed(arm=TEMPERATURE)
    pairs = paired(plain, tempered)
    first, second = zip(*pairs, strict=True) if pairs else ((), ())
    smoothed, stable = evidence.where(arm=SMOOTHING), evidence.where(arm=STABLEMAX)
    level = ONSET_LEVELS[evidence.size]
    return judge(
        Claim(
            f"temperature: collapse of more than {level:.0%} of the training rows comes later than plainly",
            tuple(delayed(one, other, level) for one, other in pairs),
            f"plain {onsets(first, level)}, temperature {onsets(second, level)}, test accuracy at the end "
            f"{finals(first, TEST)} and {finals(second, TEST)}",
        ),
        per_seed(
            "label smoothing: no row ever collapses",
            smoothed,
            no_collapse,
            f"at most {largest(smoothed, COLLAPSE)} of the rows",
        ),
        staying_below("label smoothing: the test accuracy stays below .99", smoothed, 0.99),
        reaching(
            "StableMax: the test accuracy reaches .95",
            stable,
            0.95,
            numbers=f"at most {largest(stable, TEST)} in {last_steps(stable)} steps",
        ),
    )


def no_collapse(trial: Trial) -> Tristate:
    """Whether no row was in collapse at any measurement up to the horizon."""
    if trial.largest(COLLAPSE) > 0:
        return False
    return True if trial.known_until >= trial.horizon_steps else None


def onsets(trials: Sequence[Trial], level: float) -> str:
    """The first steps at which collapse has begun."""
    return f"at {spread_steps(collapse_onset(trial, COLLAPSE, level) for trial in trials)}"


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Left: accuracies of every arm; right: the share of its training rows in collapse."""
    left, right = figure.subplots(1, 2, sharex=True)
    groups = arms(evidence, ARM_COLOURS)
    accuracy_panel(left, "Test accuracy; training dashed", groups, start=5, level=0.95)
    for arm, (trials, colour) in groups.items():
        draw_band(right, trials, COLLAPSE, colour=colour, label=arm)
    title = "Training rows whose loss has collapsed"
    step_panel(right, title, evidence.where(), start=5, accuracy=True, legend_at="center left")


FIGURE = FigureSpec(
    title="Temperature and label smoothing against StableMax",
    statement="A temperature of 1e5 only delays softmax collapse; label smoothing has none, but its test accuracy "
    "stays below .99; StableMax reaches .95.",
    space="fig16_alternatives",
    columns=(TRAIN, TEST, COLLAPSE),
    verdict=verdict,
    draw=draw,
)
