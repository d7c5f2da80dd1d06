"""The dispute's figure: which cell the choosing seeds give, and what the confirmed cells say together."""

from collections.abc import Iterator

import pytest

from analysis.data.sweep import FULL, Sweep, Trial
from analysis.disputes.decay_or_projection import CHOICE, CONFIRMED, DECAY, FIGURE, PROJECTION, comparisons
from tests.support.synthetic_evidence import made_trial
from trainables import rises_to

EVENTS = (rises_to("test_accuracy", 0.9, name="t_gen"),)
SETTINGS = [f"{inputs}, {layers}" for inputs in ("two-hot", "embedding") for layers in ("1 layer", "2 layers")]
SOON, LATE = 0.3, 0.6


def trial(space: str, arm: str, seed: int, when: float, *, rate: float = 0.01, until: float = 1.0) -> Trial:
    """A trial at a learning rate that generalises by a share of its 1000 steps, as far as it was followed."""
    return made_trial(
        f"{space} {arm} {rate} {seed}",
        {"arm": arm, "seed": seed, "learning_rate": rate},
        space=space,
        config={"optimizer": {"learning_rate": rate}, "seeds": seed},
        t_gen=when + 0.01 * (seed % 3),
        until=until,
        events=EVENTS,
    )


def confirmed(setting: str, decay: float, projection: float, seeds: int = 8) -> Iterator[Trial]:
    """The two methods of a setting, on the same seeds."""
    for method, when in ((DECAY, decay), (PROJECTION, projection)):
        for seed in range(seeds):
            yield trial(CONFIRMED, f"{setting}: {method}", seed, when)


def verdict_of(trials: list[Trial]):
    return FIGURE.verdict(Sweep(size=FULL, trials=tuple(trials)))


@pytest.mark.parametrize(
    ("sooner", "later", "status", "counts"),
    [
        (3, 1, "met", "sooner in 3, AdamW with decay in 1, open in 0 of 4"),
        (1, 3, "not met", "sooner in 1, AdamW with decay in 3, open in 0 of 4"),
        (2, 2, "undecided", "sooner in 2, AdamW with decay in 2, open in 0 of 4"),
        (2, 0, "undecided", "sooner in 2, AdamW with decay in 0, open in 2 of 4"),
    ],
)
def test_two_thirds_of_the_settings_decide(sooner, later, status, counts):
    times = [(LATE, SOON)] * sooner + [(SOON, LATE)] * later + [(SOON, SOON)] * (4 - sooner - later)
    pairs = zip(SETTINGS, times, strict=True)
    verdict = verdict_of(
        [each for setting, (decay, projection) in pairs for each in confirmed(setting, decay, projection)]
    )
    assert verdict.status == status
    assert counts in verdict.claims[0].numbers


def choosing(cells: dict[float, list[tuple[float, float]]]) -> Iterator[Trial]:
    """⊥AdamW's cells by learning rate: when each seed generalises, and as far as it was followed."""
    for rate, seeds in cells.items():
        for seed, (when, until) in enumerate(seeds):
            yield trial(CHOICE, f"{SETTINGS[0]}: {PROJECTION}", seed, when, rate=rate, until=until)


@pytest.mark.parametrize(
    ("other", "as_chosen"),
    [
        ([(0.5, 1.0), (0.5, 1.0)], True),  # complete, and later
        ([(0.2, 1.0), (0.2, 1.0)], False),  # complete, and sooner
        ([(1.5, 1.0), (0.2, 0.0)], True),  # one seed alone takes longer than both of the chosen cell
        ([(0.2, 1.0), (2.0, 1.0)], True),  # a seed without the event counts as the horizon, and is not left out
    ],
)
def test_the_choosing_seeds_must_give_the_confirmed_cell(other, as_chosen):
    chosen = [(SOON, 1.0), (SOON, 1.0)]
    found = [*choosing({0.01: chosen, 0.02: other}), *confirmed(SETTINGS[0], LATE, SOON)]
    (comparison,) = comparisons(Sweep(size=FULL, trials=tuple(found)))
    assert comparison.as_chosen == as_chosen
    assert comparison.sooner is (True if as_chosen else None)
    assert ("the choosing seeds give" in comparison.words) != as_chosen


def test_a_choice_that_is_open_is_not_made():
    """What has not run may still be sooner than the best cell that has."""
    cells = choosing({0.02: [(0.5, 1.0), (0.5, 1.0)], 0.03: [(0.4, 1.0), (0.4, 0.1)]})
    (comparison,) = comparisons(Sweep(size=FULL, trials=(*cells, *confirmed(SETTINGS[0], LATE, SOON))))
    assert comparison.as_chosen, "0.02 would not be the confirmed cell"


def test_what_is_kept_judges_alike():
    whole = Sweep(size=FULL, trials=(*choosing({0.01: [(SOON, 1.0), (2.0, 1.0)]}), *confirmed(SETTINGS[0], LATE, SOON)))
    assert FIGURE.condense is not None
    kept = FIGURE.condense(whole, lambda trial: ())
    assert max(len(trial.curves["step"]) for trial in kept.trials) < len(whole.trials[0].curves["step"])
    assert FIGURE.verdict(kept) == FIGURE.verdict(whole)


def test_other_methods_are_reported_beside():
    beside = [trial(CONFIRMED, f"{SETTINGS[0]}: EGD", seed, 2.0) for seed in range(8)]
    verdict = verdict_of([*confirmed(SETTINGS[0], LATE, SOON), *beside])
    assert verdict.status == "met"
    claim = next(claim for claim in verdict.claims if claim.text == f"{SETTINGS[0]}: EGD")
    assert claim.reported
    assert "P 0.00" in claim.numbers
    assert "RMST 1000" in claim.numbers
