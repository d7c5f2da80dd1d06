"""Fig. 14: MNIST with 200 training rows and initial weights times 100, without and with weight decay."""

from matplotlib.figure import SubFigure

from analysis.data.sweep import Sweep, Trial
from analysis.drawing.bands import COLLAPSE_COLOUR, draw_accuracies, draw_band
from analysis.drawing.panels import legend, not_run, step_panel
from analysis.paper.claims import at_least, below, every
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Tristate, Verdict, judge, per_seed
from analysis.paper.words import finals, largest, spread

COLLAPSE, TEST, TRAIN = "sc_any_fraction", "test_accuracy", "train_accuracy"
ALL_COLLAPSED = 0.99
RISE = 0.05
"""Test accuracy: with decay it must rise by so much; without, "flat" is less than that."""


def rise(trial: Trial) -> float:
    """How far the test accuracy is, at the horizon, above what it was when all training rows were right first.

    NaN where the run was not followed to its horizon or has not memorised.
    """
    memorised = trial.first_reaching(TRAIN, 1.0)
    return trial.at(TEST, trial.horizon_steps) - trial.at(TEST, memorised)


def end(trial: Trial, column: str) -> float:
    """A column at the horizon; certified freezing settles it, because then nothing changes any more."""
    return trial.final(column) if trial.known_until >= trial.horizon_steps else float("nan")


def falls(trial: Trial) -> Tristate:
    """Whether collapse is below .99 at the end, and was not at some time before."""
    return every([trial.largest(COLLAPSE) >= ALL_COLLAPSED or None, below(end(trial, COLLAPSE), ALL_COLLAPSED)])


def verdict(evidence: Sweep) -> Verdict:
    """Each side of the figure by its own two claims."""
    without, with_decay = groups(evidence)
    return judge(
        per_seed(
            "without decay, at least .99 of the training rows end in softmax collapse",
            without,
            lambda trial: at_least(end(trial, COLLAPSE), ALL_COLLAPSED),
            f"at the end {finals(without, COLLAPSE)} have collapsed",
        ),
        per_seed(
            "without decay, the test accuracy is flat after memorising (changes by less than 5 points)",
            without,
            lambda trial: below(abs(rise(trial)), RISE),
            accuracy_words(without),
        ),
        per_seed(
            "with decay, the share of collapsed rows falls from .99 or more to less",
            with_decay,
            falls,
            f"at most {largest(with_decay, COLLAPSE)}, at the end {finals(with_decay, COLLAPSE)}",
        ),
        per_seed(
            "with decay, the test accuracy rises by at least 5 points after memorising",
            with_decay,
            lambda trial: at_least(rise(trial), RISE),
            accuracy_words(with_decay),
        ),
    )


def groups(evidence: Sweep) -> tuple[tuple[Trial, ...], tuple[Trial, ...]]:
    """The trials without decay, and those with it."""
    decays = evidence.values("weight_decay")
    return (
        evidence.where(weight_decay=[value for value in decays if value == 0]),
        evidence.where(weight_decay=[value for value in decays if value > 0]),
    )


def accuracy_words(trials: tuple[Trial, ...]) -> str:
    """The test accuracy at the end, and by how much it has risen since memorising."""
    points = spread((100 * rise(trial) for trial in trials), "+.1f")
    return f"test accuracy at the end {finals(trials, TEST)}, change since memorising {points} points"


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """A panel a side: accuracies, and the share of collapsed rows."""
    panels = figure.subplots(1, 2, sharey=True)
    for axes, trials, name in zip(panels, groups(evidence), ("without decay", "with decay"), strict=True):
        if not trials:
            not_run(axes, f"{name}: not run")
            continue
        draw_band(axes, trials, COLLAPSE, colour=COLLAPSE_COLOUR, label="rows in softmax collapse", width=1.4)
        draw_accuracies(axes, trials)
        step_panel(axes, f"MNIST, 200 rows, weights x 100, {name}", trials, start=1, accuracy=True)
    if panels[0].axison:
        legend(panels[0], loc="center left")


FIGURE = FigureSpec(
    title="MNIST with initial weights times 100",
    statement="Without decay at least .99 of the training rows end in softmax collapse and the test accuracy stays "
    "flat; with decay collapse recedes and the test accuracy rises by at least 5 points.",
    space="fig14_mnist_scale",
    columns=(TRAIN, TEST, COLLAPSE),
    verdict=verdict,
    draw=draw,
)
