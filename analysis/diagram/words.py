"""The numbers of a diagram in words, as tables, pictures, pages and the terminal say them."""

import math
import statistics

from analysis.comparing.arms import ArmContrast
from analysis.diagram.cells import Cell, Diagram, name_of_column
from analysis.stats.contrasts import pairs_needed
from analysis.stats.intervals import LEVEL, Estimate
from trainables.engine.events import Event, EventKind, EventRule

COMPARED_BELOW, COMPARED_IN_TERMINAL = 3, 12
"""How many comparisons stand below a picture, and in a terminal."""


def with_interval(estimate: Estimate, style: str) -> str:
    """``0.60 [0.23, 0.88]``; the interval is left out where there is none."""
    if math.isnan(estimate.value):
        return "–"
    if math.isnan(estimate.low):
        return f"{estimate.value:{style}}"
    return f"{estimate.value:{style}} [{estimate.low:{style}}, {estimate.high:{style}}]"


def median_text(median_steps: float, *, known: bool = True) -> str:
    """``420``, or that it did not come by tau; a dash where that is not known."""
    if not known:
        return "–"
    return "not by τ" if math.isnan(median_steps) else f"{median_steps:.0f}"


def answer(diagram: Diagram) -> str:
    """What the diagram says of its question, in a sentence; empty where no cell is known to tau.

    ``t_gen comes soonest with ⊥AdamW: in 5 of 5 seeds, at 115 [91, 147] steps; in 6 of 8 cells some seed has it``.
    """
    tau, name = diagram.tau_steps, event_words(diagram.main)
    known = [cell for cell in diagram.cells if not math.isnan(cell.main.restricted_mean_steps.value)]
    if not known:
        return ""
    cells = f"{len(known)} cell{'s' if len(known) > 1 else ''}"
    with_it = [cell for cell in known if cell.main.by_tau.value > 0]
    if not with_it:
        return f"No seed of {cells} has {name} by step {tau}"
    best = min(with_it, key=lambda cell: cell.main.restricted_mean_steps.value)
    came = sum(placed.main is not None and placed.main.occurred for placed in best.trials)
    seeds = f"{came} of {best.measured} {'trials' if diagram.pooled else 'seeds'} by step {tau}"
    at = f"in {seeds}, at {with_interval(best.main.given_steps, '.0f')} steps"
    if len(known) == 1:
        return f"{event_name(diagram.main)} comes {at}"
    some = f"some seed has it in {len(with_it)} of {cells}"
    return f"{event_name(diagram.main)} comes soonest with {best.label}: {at}; {some}"


def standing_text(diagram: Diagram, cell: Cell) -> str:
    """Where a cell's seeds without the main event stand at tau: ``2 diverged, test accuracy 0.01, t_mem 87``.

    The median of the event's column, and the time of the event before it; empty where every seed has the event, and
    where the source does not hold the value at tau.
    """
    tau = diagram.tau_steps
    without = [placed.trial for placed in cell.trials if placed.main is not None and not placed.main.occurred]
    column = diagram.main.column
    values = [trial.final(column) if trial.last_step <= tau else trial.at(column, tau) for trial in without]
    values = [value for value in values if math.isfinite(value)]
    ended = {kind.value: cell.ended_by(kind) for kind in (EventKind.DIVERGED, EventKind.FROZEN, EventKind.STOPPED)}
    counts = [f"{count} {kind}" for kind, count in ended.items() if count]
    if not values:
        return ", ".join(counts)
    texts = [*counts, f"{column.replace('_', ' ')} {statistics.median(values):.3g}"]
    if diagram.earlier is not None:
        name, given = diagram.earlier.name, cell.events[diagram.earlier.name].given_steps.value
        until = min(tau, max(trial.known_until for trial in without))
        texts.append(f"{name} not by {until:.0f}" if math.isnan(given) else f"{name} {given:.0f}")
    return ", ".join(texts)


def event_text(event: Event | None) -> str:
    """``(407, 427]``, ``frozen (919, 964]`` or ``not by 1500``; a dash where nothing was measured."""
    if event is None:
        return "–"
    if event.kind == EventKind.CENSORED:
        return f"not by {event.low_steps:.0f}"
    kind = "" if event.occurred else f"{event.kind} "
    return f"{kind}({event.low_steps:.0f}, {event.high_steps:.0f}]"


def contrast_text(compared: ArmContrast, tau_steps: int) -> str:
    """One comparison in words, and how many pairs would decide it."""
    contrast = compared.contrast
    text = f"{compared.text}: {with_interval(contrast.difference_steps, '+.0f')} steps of RMST({tau_steps}), "
    if contrast.both:
        text += f"{with_interval(contrast.ratio, '.2f')} times as long in {contrast.both} of "
    text += f"{contrast.pairs} paired seeds, p = {contrast.p:.3g}"
    p = contrast.p if math.isnan(contrast.p_holm) else contrast.p_holm
    text += "" if math.isnan(contrast.p_holm) else f" (Holm: {p:.3g})"
    if p >= 1 - LEVEL and contrast.pairs >= pairs_needed() and math.isfinite(contrast.pairs_to_decide):
        text += f" (about {max(contrast.pairs + 1, contrast.pairs_to_decide):.0f} pairs would decide)"
    return text


def contrast_texts(diagram: Diagram, most: int | None = None) -> list[str]:
    """The comparisons of arms, of many the first; what so few pairs cannot show, and that the space declares none."""
    texts = [contrast_text(each, diagram.tau_steps) for each in diagram.contrasts[:most]]
    if not texts:
        return []
    for pairs in sorted({each.contrast.pairs for each in diagram.contrasts}):
        if pairs < pairs_needed():
            least = 2.0 ** (1 - pairs)
            texts.append(
                f"{pairs} pairs cannot reach p < {1 - LEVEL:.2g}: at best {least:.3g}; {pairs_needed()} pairs can"
            )
    beyond = len(diagram.contrasts) - len(diagram.contrasts[:most])
    texts += [f"{beyond} further comparisons of arms: report.html has them"] if beyond else []
    if not diagram.sweep.contrasts and len(diagram.contrasts) > 1:
        texts.append("Every arm is compared with the first: the space declares no contrasts")
    return texts


def event_name(rule: EventRule) -> str:
    """``t_gen``; of one that was asked for by its column, what it is: ``train loss ≤ 0.1``."""
    return rule.words() if _is_asked(rule) else rule.name


def event_words(rule: EventRule) -> str:
    """``t_gen: test accuracy ≥ 0.95``."""
    return rule.words() if _is_asked(rule) else f"{rule.name}: {rule.words()}"


def by_words(rule: EventRule, tau: str, sign: str = "≤") -> str:
    """``P(t_gen ≤ 1500)``, or ``P(train loss ≤ 0.1 by 1500)``."""
    return f"P({rule.words()} by {tau})" if _is_asked(rule) else f"P({rule.name} {sign} {tau})"


def _is_asked(rule: EventRule) -> bool:
    """Whether an event has no name but its column's."""
    return rule.name == name_of_column(rule.column)


def phases_definition(diagram: Diagram) -> str:
    """What decides the phases: ``Phases: by t_mem (train accuracy ≥ 0.99) and t_gen (test accuracy ≥ 0.95).``"""
    used = {name for phase in diagram.phases for name in phase.events}
    delays = {
        f"{phase.delay_ratio:g} times as late" if phase.delay_steps is None else f"{phase.delay_steps} steps later"
        for phase in diagram.phases
        if phase.delayed
    }
    delayed = f"; delayed: at least {' or '.join(sorted(delays))}" if delays else ""
    decisive = [rule for rule in diagram.sweep.events if rule.name in used]
    first = all(rule.hold_measurements == 1 and not rule.hold_fraction for rule in decisive)
    held = "at the first crossing, sustained or not" if first else "sustained"
    rules = " and ".join(f"{rule.name} ({rule.words()})" for rule in decisive)
    return f"Phases: by {rules}, {held}{delayed}." if rules else ""


def stopped_sentence(diagram: Diagram) -> str:
    """That an event asked for afterwards competes with stops on the success of others; empty where it never did."""
    stopped = sum(cell.ended_by(EventKind.STOPPED) for cell in diagram.cells)
    if not stopped:
        return ""
    trials = f"{stopped} trial{'s' if stopped > 1 else ''}"
    main = diagram.main.words() if _is_asked(diagram.main) else f"{diagram.main.name} ({diagram.main.words()})"
    return (
        f"{trials} stopped on the success of other events before {main}, which was not declared for them: the stop "
        "counts as a competing event."
    )


def notes(diagram: Diagram, note: str) -> list[str]:
    """What is written below a picture: how to read it, what decides the phases, and how arms compare."""
    texts = [f"{note}  {phases_definition(diagram)}", stopped_sentence(diagram)]
    return [*filter(None, texts), *(f"{text}." for text in contrast_texts(diagram, most=COMPARED_BELOW))]


def estimator_words(diagram: Diagram) -> str:
    """``Aalen-Johansen and Turnbull``: what the curves of the main event were estimated by."""
    return " and ".join(sorted({cell.main.estimator for cell in diagram.cells} - {"none"}))


def trial_name(cell: Cell, index: int) -> str:
    """What distinguishes a trial from the others of its cell: its seed."""
    trial = cell.trials[index].trial
    own = {name: value for name, value in trial.coordinates.items() if name not in cell.coordinates}
    return ", ".join(f"{name} {value}" for name, value in own.items()) or trial.trial_id
