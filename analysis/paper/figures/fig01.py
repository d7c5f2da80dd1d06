"""Fig. 1: ⊥AdamW removes the delay (1a), StableMax lets the MLP grok without decay (1b), softmax does not (1c)."""

from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from analysis.data.sweep import FULL, Sweep, Trial
from analysis.drawing.bands import (
    COLOURS,
    accuracy_axis,
    draw_accuracies,
    legend,
    mark_collapse,
    mark_step,
    not_run,
    step_axis,
    tidy,
)
from analysis.paper.figure import FigureSpec
from analysis.paper.verdict import (
    Claim,
    Tristate,
    Verdict,
    judge,
    per_seed,
    percent,
    reaches,
    report,
    spread,
    spread_steps,
    stays_below,
)

ORTHOGONAL, PLAIN = "1a, ⊥AdamW", "1a, AdamW"
STABLEMAX = "1b, StableMax"
SOFTMAX, CONTROL = "1c, softmax", "1c, softmax, β2 .999"
TEST = "test_accuracy"
RATIO = 10
"""How many times later than memorising a generalisation counts as delayed in Fig. 1b."""


def verdict(evidence: Sweep) -> Verdict:
    """The three panels; of 1b, the steps that the paper's figure names are asked at full size only."""
    orthogonal, plain, stablemax, softmax, control = (
        evidence.where(arm=arm) for arm in (ORTHOGONAL, PLAIN, STABLEMAX, SOFTMAX, CONTROL)
    )
    enough = 4 if len(orthogonal) == 5 else None
    claims = [
        per_seed(
            "1a, ⊥AdamW has a test accuracy of .99 by step 150, in 4 of 5 seeds",
            orthogonal,
            lambda trial: reaches(trial, TEST, 0.99, 150),
            f"first at {spread_steps(trial.first_reaching(TEST, 0.99) for trial in orthogonal)}",
            needed=enough,
        ),
        per_seed(
            "1a, AdamW without decay is below .05 at step 300",
            plain,
            lambda trial: stays_below(trial, TEST, 0.05, until=300),
            f"at most {percent(trial.largest(TEST) for trial in plain)}",
        ),
        *stablemax_claims(evidence.size, stablemax),
        per_seed(
            "1c, with softmax cross-entropy in float64 the test accuracy stays below .02",
            softmax,
            lambda trial: stays_below(trial, TEST, 0.02),
            f"at most {percent(trial.largest(TEST) for trial in softmax)} in {last_steps(softmax)} steps; "
            f"collapsed rows at the end {percent(trial.final('sc_any_fraction') for trial in softmax)}",
        ),
    ]
    if control:
        claims.append(
            report(
                "1c, the control with β2 .999",
                f"at most {percent(trial.largest(TEST) for trial in control)} in {last_steps(control)} steps",
            )
        )
    return judge(*claims)


def stablemax_claims(size: str, trials: tuple[Trial, ...]) -> list[Claim]:
    """1b: when it generalises (full size), that it does, and how much later than it memorises."""
    half = [trial.first_reaching(TEST, 0.5) for trial in trials]
    best = percent(trial.largest(TEST) for trial in trials)
    claims = []
    if size == FULL:
        claims.append(
            per_seed(
                "1b, StableMax reaches .5 between steps 25 000 and 55 000",
                trials,
                lambda trial: within(trial, 25_000, 55_000),
                f"first at {spread_steps(half)}; {last_steps(trials)} steps run",
            )
        )
    return [
        *claims,
        per_seed(
            "1b, StableMax generalises without decay: .95 by the last step that was asked for",
            trials,
            lambda trial: reaches(trial, TEST, 0.95, trial.horizon_steps),
            f"at most {best} in {last_steps(trials)} steps",
        ),
        per_seed(
            f"1b, and it does so more than {RATIO} times later than it memorises", trials, delayed, delay_words(trials)
        ),
    ]


def within(trial: Trial, low: float, high: float) -> Tristate:
    """Whether a test accuracy of .5 is first reached in [low, high] steps."""
    first = trial.first_reaching(TEST, 0.5)
    if first < low:
        return False
    return reaches(trial, TEST, 0.5, high)


def delayed(trial: Trial) -> Tristate:
    """Whether t_gen / t_mem is above 10 wherever in their intervals the two events lie; None: not known so far.

    A run that has not generalised after more than 10 times t_mem will do so later than that, if ever.
    """
    low, high = trial.outcome.delay_ratio("t_mem", "t_gen")
    if low > RATIO:
        return True
    return False if high <= RATIO else None


def delay_words(trials: tuple[Trial, ...]) -> str:
    """The ratio of the measurements at which the events are first seen, or how far it is at least."""
    ratios, bounds = [], []
    for trial in trials:
        memorised, generalised = trial.event("t_mem"), trial.event("t_gen")
        if memorised.occurred and generalised.occurred:
            ratios.append(generalised.high_steps / max(memorised.high_steps, 1))
        elif memorised.occurred:
            bounds.append(trial.outcome.delay_ratio("t_mem", "t_gen")[0])
    words = [f"t_gen / t_mem {spread(ratios, '.1f')}"] if ratios else []
    return "; ".join([*words, *([f"not generalised by {spread(bounds, '.0f')} times t_mem"] if bounds else [])])


def last_steps(trials: tuple[Trial, ...]) -> str:
    """How far they were run, in words."""
    return spread_steps(float(trial.last_step) for trial in trials)


def draw(evidence: Sweep, figure: SubFigure) -> None:
    """1a, 1b and 1c side by side."""
    first, second, third = figure.subplots(1, 3, sharey=True)
    panel(first, evidence, {ORTHOGONAL: COLOURS[1], PLAIN: COLOURS[0]}, "1a  ⊥AdamW and AdamW", log=False)
    if first.axison:
        mark_step(first, 150)
    panel(second, evidence, {STABLEMAX: COLOURS[2]}, "1b  StableMax", log=True)
    panel(third, evidence, {SOFTMAX: COLOURS[0], CONTROL: COLOURS[3]}, "1c  softmax in float64", log=True)
    if third.axison:
        mark_collapse(third, evidence.where(arm=SOFTMAX), label="half of the rows collapsed")
        legend(third, loc="center right")


def panel(axes: Axes, evidence: Sweep, colours: dict[str, str], title: str, *, log: bool) -> None:
    """Training (dashed) and test accuracy of some arms; an axis turned off where there is none of them."""
    groups = {arm: evidence.where(arm=arm) for arm in colours}
    trials = [trial for group in groups.values() for trial in group]
    if not trials:
        not_run(axes, f"{title}: not run")
        return
    for arm, group in groups.items():
        draw_accuracies(axes, group, colour=colours[arm], label=arm.partition(", ")[2])
    tidy(axes, title, xlabel="steps (log scale); training dashed" if log else "steps; training dashed")
    accuracy_axis(axes)
    step_axis(axes, log=log, until=max(trial.horizon_steps for trial in trials), start=10)
    legend(axes, loc="center right")


FIGURE = FigureSpec(
    name="fig01",
    title="Delay, and no grokking: ⊥AdamW, StableMax, softmax",
    statement="1a: ⊥AdamW has a test accuracy of .99 by step 150 in 4 of 5 seeds, AdamW without decay is below .05 at "
    "300. 1b: StableMax reaches .5 between steps 25 000 and 55 000 and .95 by 80 000, more than 10 times later than it "
    "memorises. 1c: softmax cross-entropy in float64 stays below .02.",
    space="fig01_delay_and_its_cures",
    columns=("train_accuracy", "test_accuracy", "sc_any_fraction"),
    verdict=verdict,
    draw=draw,
    size_in=(10.4, 3.8),
)
