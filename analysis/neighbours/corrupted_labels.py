"""Corrupted labels (Doshi et al. 2024): memory and rule side by side, and what decay and pruning leave of either."""

import math
from collections.abc import Callable
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from analysis.data.sweep import Sweep, Trial
from analysis.drawing.bands import COLOURS, draw_band, ramp
from analysis.drawing.panels import accuracy_axis, legend, mark_level, not_run, step_panel, tidy
from analysis.drawing.style import FAINT
from analysis.paper.claims import at_least, below, every
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import Tristate, Verdict, judge, per_seed, report
from analysis.paper.words import percent, spread

STATEMENT, DIAGRAM = "corrupted_labels", "corrupted_labels_diagram"
DECAYS = (0, 5, 15, 20)
JUDGED_AT = dict(zip(DECAYS, (1000, 500, 500, 5000), strict=True))
TRAIN, TEST, CLEAN, RANDOM = "train_accuracy", "test_accuracy", "clean_accuracy", "corrupted_accuracy"
TENTHS = tuple(range(10, 100, 10))
PRUNED = tuple(f"{rows}_pruned_{share}_accuracy" for share in TENTHS for rows in ("clean", "corrupted", "test"))
DECAY, FRACTION, CORRUPTION = "optimizer.weight_decay", "task.train_fraction", "task.label_corruption"
ASKED = 60
"""The pruned share of the statement, in percent."""
CHANCE = 1 / 97
"""Of the judged runs."""
NAMES = {TRAIN: "train", TEST: "test", CLEAN: "clean", RANDOM: "random labels"}


def at_decay(evidence: Sweep, decay: int) -> tuple[Trial, ...]:
    """The judged runs of a decay, one a seed."""
    return evidence.where(arm=f"decay {decay}")


def when_judged(trial: Trial, column: str) -> float:
    """A column at the step at which the trial's decay is judged."""
    return trial.at(column, JUDGED_AT[int(trial.arm.removeprefix("decay "))])


def at_most(value: float, bound: float) -> Tristate:
    """Whether ``value <= bound``; None for NaN."""
    return at_least(bound, value)


def without(trial: Trial, rows: str, share: int) -> float:
    """The last accuracy without the neurons of lowest IPR: on rows ``clean``, ``corrupted`` or ``test``."""
    return trial.final(f"{rows}_pruned_{share}_accuracy") if share else trial.final(f"{rows}_accuracy")


def complete(test: Callable[[Trial], Tristate]) -> Callable[[Trial], Tristate]:
    """The test, of trials that are at their end only."""
    return lambda trial: test(trial) if trial.known_until >= trial.horizon_steps else None


def prunes_memory(trial: Trial) -> Tristate:
    """Whether the asked share of the neurons holds random labels and no rule."""
    return every(
        [
            below(without(trial, "test", 0), without(trial, "test", ASKED)),
            at_most(without(trial, "corrupted", ASKED), 0.1),
        ]
    )


def verdict(evidence: Sweep) -> Verdict:
    """The four decays, and pruning at decay 0."""
    none, little, much, most = (at_decay(evidence, decay) for decay in DECAYS)

    def numbers(trials: tuple[Trial, ...], *columns: str) -> str:
        words = [(column, percent(when_judged(trial, column) for trial in trials)) for column in columns]
        return ", ".join(f"{NAMES[column]} {share}" for column, share in words if share != "–")

    return judge(
        per_seed(
            "decay 0, step 1000: the train and the test accuracy are at least .97",
            none,
            lambda trial: every(at_least(when_judged(trial, column), 0.97) for column in (TRAIN, TEST)),
            numbers(none, TRAIN, TEST, RANDOM),
        ),
        per_seed(
            "decay 5, step 500: the test accuracy is at least .99, on random labels it is at most .45",
            little,
            lambda trial: every([at_least(when_judged(trial, TEST), 0.99), at_most(when_judged(trial, RANDOM), 0.45)]),
            numbers(little, TEST, RANDOM),
        ),
        per_seed(
            "decay 15, step 500: the test accuracy is at least .99, on random labels it is at most .03",
            much,
            lambda trial: every([at_least(when_judged(trial, TEST), 0.99), at_most(when_judged(trial, RANDOM), 0.03)]),
            numbers(much, TEST, RANDOM),
        ),
        per_seed(
            "decay 20, step 5000: the train and the test accuracy are at most .03",
            most,
            lambda trial: every(at_most(when_judged(trial, column), 0.03) for column in (TRAIN, TEST)),
            numbers(most, TRAIN, TEST),
        ),
        per_seed(
            f"decay 0: without the {ASKED} % of the neurons of lowest IPR the test accuracy is higher than with all, "
            "that on random labels at most .1",
            none,
            complete(prunes_memory),
            ", ".join(
                f"{NAMES[f'{rows}_accuracy']} {shares[0]} to {shares[1]}"
                for rows in ("clean", "corrupted", "test")
                if "–" not in (shares := [percent(without(trial, rows, s) for trial in none) for s in (0, ASKED)])
            ),
        ),
        report(
            "the released code's train accuracies, .7855 at decay 5 and .6537 at decay 15",
            "; ".join(
                f"{words} at decay {decay}"
                for decay, trials in ((5, little), (15, much))
                if (words := spread((when_judged(trial, TRAIN) for trial in trials), ".4f")) != "–"
            ),
        ),
        report(
            "its loss at decay 20, .010309",
            words if (words := spread((trial.final("train_loss") for trial in most), ".6f")) != "–" else "",
        ),
        report("mean IPR", "; ".join(f"decay {decay}: {spread(trial.final('ipr') for trial in trials)}"
               for decay, trials in zip(DECAYS, (none, little, much, most), strict=True)
               if any(not math.isnan(trial.final("ipr")) for trial in trials))),
    )  # fmt: skip


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """Above: the phases over both fractions, by decay; below: accuracies over the steps, and without some neurons."""
    cells = [trial for trial in evidence.where(space=DIAGRAM) if trial.complete(trial.horizon_steps)]
    decays = sorted({trial.coordinates[DECAY] for trial in cells})
    rows, count = figure.add_gridspec(2, 1, height_ratios=(1, 1.15)), max(len(decays), 1)
    above, beneath = rows[0].subgridspec(1, count), rows[1].subgridspec(1, 2, width_ratios=(1.25, 1))
    panels = [figure.add_subplot(above[place]) for place in range(count)]
    if not cells:
        not_run(panels[0], "phases over both fractions: not run")
    _draw_phases(panels, {decay: [trial for trial in cells if trial.coordinates[DECAY] == decay] for decay in decays})
    _draw_curves(figure.add_subplot(beneath[0]), evidence)
    _draw_pruning(figure.add_subplot(beneath[1]), at_decay(evidence, 0))


def _draw_phases(panels: list[Axes], by_decay: dict[float, list[Trial]]) -> None:
    cells = [trial for trials in by_decay.values() for trial in trials]
    fractions, shares = (sorted({trial.coordinates[axis] for trial in cells}) for axis in (FRACTION, CORRUPTION))
    colours = {rule.name: rule.colour for trial in cells for rule in trial.phases}
    seen = set()
    for axes, (decay, trials) in zip(panels, by_decay.items(), strict=False):
        for trial in trials:
            phase = trial.outcome.phase(trial.phases)
            seen.add(phase)
            column, row = fractions.index(trial.coordinates[FRACTION]), shares.index(trial.coordinates[CORRUPTION])
            corner = (column - 0.5, row - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, facecolor=colours[phase], edgecolor="white", lw=1.0))
        first = axes is panels[0]
        ylabel = "part with random labels" if first else ""
        tidy(axes, f"Phases at decay {decay:g}", xlabel="part of the pairs trained on", ylabel=ylabel)
        axes.set_xticks(*_ticks(fractions))
        axes.set_yticks(*_ticks(shares))
        axes.tick_params(labelleft=first)
        axes.grid(visible=False)
        axes.set_xlim(-0.5, len(fractions) - 0.5)
        axes.set_ylim(-0.5, len(shares) - 0.5)
    keys = [
        Line2D([], [], marker="s", ms=8, ls="", color=colours[name], label=name) for name in colours if name in seen
    ]
    if keys:
        panels[-1].legend(handles=keys, loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8.5, frameon=False)


def _ticks(values: list[float]) -> tuple[list[int], list[str]]:
    """At most five of the values, at their places."""
    places = [*range(0, len(values), max(1, math.ceil((len(values) - 1) / 4)))]
    return places, [f"{values[place]:g}" for place in places]


def _draw_curves(axes: Axes, evidence: Sweep) -> None:
    trials = [trial for decay in DECAYS for trial in at_decay(evidence, decay) if trial.begun]
    if not trials:
        not_run(axes, "half of the pairs, 35 % random labels: not run")
        return
    for decay, colour in zip(DECAYS, ramp(len(DECAYS)), strict=True):
        group = [_without_start(trial) for trial in at_decay(evidence, decay) if trial.begun]
        draw_band(axes, group, RANDOM, colour=colour, dashed=True, width=1.3)
        draw_band(axes, group, TEST, colour=colour, label=f"test, decay {decay}" if group else None)
    axes.plot([], [], color=FAINT, ls=(0, (3.2, 1.6)), lw=1.3, label="random labels")
    step_panel(axes, "Half of the pairs, 35 % random labels", trials, start=3, accuracy=True, legend_at=(0.0, 0.08))


def _without_start(trial: Trial) -> Trial:
    """The trial without step 0, which a logarithmic axis would draw as a level line."""
    return replace(trial, curves={name: values[1:] for name, values in trial.curves.items()})


def _draw_pruning(axes: Axes, trials: tuple[Trial, ...]) -> None:
    ended = [trial for trial in trials if not math.isnan(without(trial, "test", ASKED))]
    if not ended:
        not_run(axes, "pruning at decay 0: not run")
        return
    for rows, label, colour in (("test", "test", COLOURS[0]), ("clean", "clean training rows", COLOURS[2]),
                                ("corrupted", "random labels", COLOURS[1])):  # fmt: skip
        for number, trial in enumerate(ended):
            shares = [share / 100 for share in (0, *TENTHS)]
            axes.plot(shares, [without(trial, rows, share) for share in (0, *TENTHS)], color=colour, lw=1.3,
                      marker="o", ms=2.5, label=None if number else label)  # fmt: skip
    tidy(axes, "Without the neurons of lowest IPR, decay 0", xlabel="share of the neurons set to zero")
    accuracy_axis(axes)
    axes.set_xlim(0, 0.92)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    mark_level(axes, CHANCE)
    legend(axes, loc=(0.5, 0.45))


FIGURE = FigureSpec(
    title="A rule learnt beside memorized random labels",
    statement="Without decay, rule and random labels are both learnt (accuracies of at least .97 at step 1000); decay "
    "5 and 15 unlearn the labels (at most .45 and .03 of them at step 500) and keep the rule (test accuracy at least "
    ".99); decay 20 destroys both; the neurons of lowest IPR hold the labels. For grokking: generalisation is late "
    "here beside perfect memory, needs no decay, and decay acts on what was memorized.",
    space=(STATEMENT, DIAGRAM),
    columns=(TRAIN, TEST, CLEAN, RANDOM, "train_loss", "ipr", "parameter_norm", *PRUNED),
    size_in=(9.6, 6.6),
    verdict=verdict,
    draw=draw,
)
