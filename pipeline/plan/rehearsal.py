"""A rehearsal of components of the user's own: a first step of one trial of each kind, before anything starts.

Only trials with components from outside the house are tried, on the CPU, and only where a step is cheap.
"""

from collections.abc import Iterable, Iterator

from pipeline.plan.planning import Plan
from trainables.engine.errors import GrokscapeError
from trainables.engine.names import HOUSE
from trainables.engine.trial import TrialConfig
from trainables.runtime.rows import ErrorKind
from trainables.runtime.status import CohortError

MOST_KINDS = 16
MOST_FLOPS = 2e10
"""Of an update that is tried: about a second for it and two measurements."""


class RehearsalError(GrokscapeError):
    """A trial that would fail in its first step: one line with the user's file and line."""


def rehearse(plan: Plan, device: str, *, base: TrialConfig | None = None) -> list[str]:
    """Try the first step of one trial of each kind that is to run.

    :param device: of the run; on a GPU what fails here may work there, and is a note.
    :param base: of a space whose trials are suggested during the run: it is tried too.
    :return: notes, a line each.
    :raises RehearsalError: for the first trial that fails.
    """
    notes = []
    trials = [cohort.trials[0] for cohort in plan.cohorts]
    for trial in _kinds(trials if base is None else [*trials, base]):
        try:
            if trial.flops_per_step() > MOST_FLOPS:
                continue
            _first_step(trial)
        except Exception as error:  # A component can raise anything.
            reason = CohortError.of(error)
            if reason.kind == ErrorKind.OUT_OF_MEMORY:
                continue
            line = f"{_place(plan, trial)}: fails in its first step: {reason}"
            if device == "cpu":
                raise RehearsalError(line) from error
            notes.append(f"{line}; tried on the CPU, not on {device}")
    return notes


def _kinds(trials: Iterable[TrialConfig]) -> Iterator[TrialConfig]:
    """One trial for each combination of classes that has some of the user's own."""
    seen: set[frozenset[type]] = set()
    for trial in trials:
        classes = frozenset(type(component) for component in trial.components())
        own = any(cls.__module__.partition(".")[0] != HOUSE for cls in classes)
        if own and classes not in seen and len(seen) < MOST_KINDS:
            seen.add(classes)
            yield trial


def _first_step(trial: TrialConfig) -> None:
    """What a worker does first; torch's generator is left as it is."""
    import torch  # late: most sweeps have no components of their own

    with torch.random.fork_rng(devices=[]):
        cohort = type(trial).build([trial], "cpu")
        try:
            cohort.measure()
            cohort.advance(1)
            cohort.measure()
            cohort.state_dict(0)
        finally:
            cohort.close()


def _place(plan: Plan, trial: TrialConfig) -> str:
    """``trial arm = soft, seed = 0``: a trial by its place in the sweep."""
    placed = (planned.coordinates for planned in plan.trials if planned.config.trial_id == trial.trial_id)
    coordinates = next(placed, {})
    return f"trial {', '.join(f'{name} = {value}' for name, value in coordinates.items()) or 'of the base'}"
