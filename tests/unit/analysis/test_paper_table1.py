"""Table 1: the paired differences against scipy, every branch of the verdict, and the recipes of the four spaces."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis.data.sweep import Sweep, Trial
from analysis.paper.figures.table1 import FIGURE, TABLE, place_words, seeds_words
from analysis.paper.picture import png
from analysis.paper.results import FigureResult
from analysis.paper.verdict import MET, NOT_MET, NOT_RUN, REPORTED, UNDECIDED, Claim
from analysis.stats.intervals import Estimate
from analysis.stats.paired import inside, mean_with_t_interval, paired_difference
from pipeline.spec.space_file import load_space
from tests.support.synthetic_evidence import planned, space_path
from trainables.baselines.gpt2 import GPT2
from trainables.baselines.resnet import ResNet18
from trainables.data.tokenizers import GPT2BPE
from trainables.engine.gradients import OrthogonalGradient, PlainGradient
from trainables.engine.losses import SoftmaxCrossEntropy, StableMaxCrossEntropy
from trainables.engine.optimizers import SGD, AdamW
from trainables.engine.schedules import Cosine, StepDecay

CIFAR10, CIFAR100, IMAGENET, WIKITEXT = (column.space for column in TABLE)
SOFTMAX, STABLEMAX, SGD_ARM, ADAMW_ARM, ATTENTION = (
    "softmax CE",
    "StableMax CE",
    "⊥SGD",
    "⊥AdamW",
    "StableMax attention",
)
SPREAD = (-0.1, 0.0, 0.1, 0.05, -0.05)
"""Of the seeds, in points: the interval of the first three, and that of all, reaches less than .3 to either side."""


# --- statistics ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [2, 3, 5, 12])
def test_interval_and_p(pairs: int) -> None:
    rng = np.random.default_rng(pairs)
    ours, theirs = rng.normal(60, 1, pairs), rng.normal(59, 1, pairs)
    found = paired_difference(dict(enumerate(ours)), dict(enumerate(theirs)))
    assert found is not None
    judge = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (found.estimate.low, found.estimate.high) == pytest.approx((judge.low, judge.high), rel=1e-12)
    assert found.estimate.value == pytest.approx(np.mean(ours - theirs), rel=1e-12)
    exact = stats.permutation_test(
        (ours - theirs,), np.mean, permutation_type="samples", alternative="two-sided", n_resamples=np.inf
    )
    assert found.p == pytest.approx(exact.pvalue, rel=1e-12)


def test_only_seeds_that_both_have_are_paired() -> None:
    found = paired_difference({0: 1.0, 1: 5.0, 3: 2.0}, {3: 1.0, 0: 0.5, 2: 9.0})
    assert found is not None
    assert (found.seeds, found.differences) == ((0, 3), (0.5, 1.0))
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_one_pair_and_equal_pairs() -> None:
    assert math.isnan(mean_with_t_interval([0.4]).low)
    assert mean_with_t_interval([0.4, 0.4, 0.4]).high == pytest.approx(0.4)


def test_least_p() -> None:
    values = dict.fromkeys(range(6), 1.0)
    few = paired_difference(dict.fromkeys(range(3), 1.0), dict.fromkeys(range(3), 0.0))
    many = paired_difference(values, dict.fromkeys(values, 0.0))
    assert few is not None
    assert many is not None
    assert few.p_words() == "sign-flip p = 0.25, at least 0.25 with 3 pairs"
    assert many.p_words() == "sign-flip p = 0.0312"


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [(-0.9, 0.9, True), (-1.0, 1.0, True), (-1.1, 0.0, None), (0.9, 1.1, None), (1.1, 2.0, False), (-9, -1.1, False)],
)
def test_inside(low: float, high: float, told: bool | None) -> None:
    assert inside(Estimate((low + high) / 2, low, high), -1, 1) is told


def test_inside_without_an_interval() -> None:
    assert inside(Estimate(0.0, math.nan, math.nan), -1, 1) is None


# --- verdict ------------------------------------------------------------------------------------------------------


def made(
    accuracies: Mapping[tuple[str, str], Sequence[float]],
    *,
    size: str = "full",
    until: float = 1.0,
    diverged: Sequence[tuple[str, int]] = (),
) -> Sweep:
    """Sweep of the spaces that are named, with the accuracy, in %, that each seed of (space, arm) ends with.

    The accuracy grows in proportion to the share of the run, and the trials of other arms are not begun.
    """
    measure = {column.space: column.measure for column in TABLE}
    found = []
    for space, trial in planned(FIGURE, size):
        if space not in {space for space, _ in accuracies}:
            continue
        arm, seed, horizon = trial.coordinates["arm"], trial.coordinates["seed"], trial.config.horizon_steps
        made = Trial(
            trial_id=f"{space} {arm} {seed}", space=space, coordinates=trial.coordinates, horizon_steps=horizon
        )
        ends = accuracies.get((space, str(arm)), ())
        if seed < len(ends):
            steps = np.linspace(0, round(until * horizon), 11).round()
            epochs = 1.0 if space == WIKITEXT else 100.0
            curves = {column: np.full(11, math.nan) for column in FIGURE.columns}
            curves |= {"step": steps, "epoch": epochs * steps / horizon, "train_accuracy": steps / horizon}
            curves |= {"sc_any_fraction": steps * 0, "test_logit_scale": 1 + steps / horizon}
            curves[measure[space]] = ends[seed] / 100 * steps / horizon
            stopped = "diverged" if (str(arm), seed) in diverged else None
            made = replace(
                made, state="finished", stop_reason=stopped, last_step=int(steps[-1]), config={"a": 1}, curves=curves
            )
        found.append(made)
    return Sweep(size=size, trials=tuple(found))


def around(mean: float, seeds: int, width: float = 1.0) -> list[float]:
    return [mean + width * SPREAD[seed] for seed in range(seeds)]


def as_published(**changes: float) -> dict[tuple[str, str], list[float]]:
    """What Table 1 says, but for these differences to softmax, each by ``<space>_<arm>``."""
    found = {}
    for column in TABLE:
        seeds = 3 if column.space in (IMAGENET, WIKITEXT) else 5
        base = column.published[SOFTMAX][0]
        for arm, (mean, _) in column.published.items():
            difference = changes.get(f"{column.space}_{arm}", mean - base)
            # The differences, not the accuracies, vary by seed.
            found[column.space, arm] = around(base + difference, seeds, 0.0 if arm == SOFTMAX else 0.5)
    return found


def claim(evidence: Sweep, start: str) -> Claim:
    (found,) = [claim for claim in FIGURE.judged(evidence).claims if claim.text.startswith(start)]
    return found


def test_the_papers_table_is_met() -> None:
    verdict = FIGURE.judged(made(as_published()))
    assert verdict.status == MET
    assert [claim.status for claim in verdict.claims] == [MET] * 8 + [REPORTED] * 5


@pytest.mark.parametrize(
    ("space", "arm", "difference", "status"),
    [
        (CIFAR10, STABLEMAX, -1.5, NOT_MET),
        (CIFAR10, STABLEMAX, -1.0, UNDECIDED),
        (CIFAR10, SGD_ARM, 1.5, NOT_MET),
        (CIFAR10, SGD_ARM, 0.0, MET),
        (CIFAR100, STABLEMAX, 1.0, UNDECIDED),
        (CIFAR100, SGD_ARM, 1.5, UNDECIDED),
        (CIFAR100, SGD_ARM, 1.0, NOT_MET),
        (CIFAR100, SGD_ARM, 1.7, MET),
        (IMAGENET, STABLEMAX, -0.5, NOT_MET),
        (IMAGENET, STABLEMAX, -1.0, UNDECIDED),
        (IMAGENET, STABLEMAX, -1.5, MET),
        (IMAGENET, SGD_ARM, -1.5, NOT_MET),
        (WIKITEXT, STABLEMAX, 0.0, NOT_MET),
        (WIKITEXT, STABLEMAX, -1.4, MET),
        (WIKITEXT, ADAMW_ARM, 0.9, UNDECIDED),
        (WIKITEXT, ADAMW_ARM, -1.5, NOT_MET),
    ],
)
def test_each_claim_by_its_interval(space: str, arm: str, difference: float, status: str) -> None:
    column = next(column for column in TABLE if column.space == space)
    evidence = made(as_published(**{f"{space}_{arm}": difference}))
    found = claim(evidence, f"{column.name}: {arm} is")
    assert found.status == status
    assert ("partly" in found.reason) == (status == UNDECIDED)
    assert FIGURE.judged(evidence).status == status


def test_a_wide_interval_is_undecided() -> None:
    ends = {(CIFAR10, SOFTMAX): [60.0, 60.0, 60.0], (CIFAR10, SGD_ARM): [59.0, 60.0, 61.0]}
    found = claim(made(ends, size="laptop"), "CIFAR-10: ⊥SGD")
    assert found.status == UNDECIDED
    assert "difference +0.00 [−2.48, +2.48], sign-flip p = 1, at least 0.25 with 3 pairs" in found.numbers
    assert "60.00 ± 1.00 (3) against 60.00 ± 0.00 (3)" in found.numbers
    assert found.numbers.endswith("in the paper +0.05")


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_are_undecided(seeds: int) -> None:
    ends = {(CIFAR10, arm): around(60, seeds, 0.0) for arm in (SOFTMAX, STABLEMAX, SGD_ARM)}
    found = claim(made(ends), "CIFAR-10: StableMax")
    assert (found.status, found.reason) == (UNDECIDED, f"3 seeds are needed, {seeds} there")


def test_unfinished_is_undecided() -> None:
    ends = {(CIFAR10, arm): [60.0] for arm in (SOFTMAX, STABLEMAX, SGD_ARM)}
    evidence = made(ends, until=0.15)
    found = claim(evidence, "CIFAR-10: ⊥SGD")
    assert (found.status, found.reason) == (UNDECIDED, "the runs are not at their end")
    assert found.numbers.startswith("after 15 of 100 epochs; 9.00 (1) against 9.00 (1); difference +0.00;")
    assert FIGURE.judged(evidence).status == UNDECIDED
    assert claim(evidence, "WikiText-103: StableMax CE").status == NOT_RUN


def test_compared_at_the_common_step() -> None:
    ahead = made({(CIFAR10, SOFTMAX): [60.0]}, until=0.4)
    behind = made({(CIFAR10, STABLEMAX): [60.0]}, until=0.2)
    by_id = {trial.trial_id: trial for evidence in (ahead, behind) for trial in evidence.trials if trial.begun}
    both = Sweep(size="full", trials=tuple(by_id.get(trial.trial_id, trial) for trial in ahead.trials))
    assert claim(both, "CIFAR-10: StableMax").numbers.startswith("after 20 of 100 epochs; 12.00 (1) against 12.00 (1)")


def test_finished_seeds_count() -> None:
    ends = {(CIFAR10, arm): around(60, 5) for arm in (SOFTMAX, STABLEMAX)}
    whole, short = made(ends), made(ends, until=0.5)
    trials = tuple(late if trial.seed >= 3 else trial for trial, late in zip(whole.trials, short.trials, strict=True))
    found = claim(Sweep(size="full", trials=trials), "CIFAR-10: StableMax")
    assert found.status == MET
    assert "(3) against" in found.numbers


def test_diverged_is_undecided() -> None:
    ends = {(CIFAR10, arm): around(60, 5) for arm in (SOFTMAX, STABLEMAX, SGD_ARM)}
    evidence = made(ends, diverged=[(STABLEMAX, 1)])
    found = claim(evidence, "CIFAR-10: StableMax")
    assert (found.status, found.reason) == (UNDECIDED, "1 of the trials diverged")
    assert "(4) against" in found.numbers
    assert claim(evidence, "CIFAR-10: ⊥SGD").status == MET


def test_all_diverged() -> None:
    ends = {(CIFAR10, arm): [60.0] for arm in (SOFTMAX, STABLEMAX)}
    evidence = made(ends, diverged=[(SOFTMAX, 0), (STABLEMAX, 0)])
    found = claim(evidence, "CIFAR-10: StableMax")
    assert (found.status, found.reason) == (UNDECIDED, "2 of the trials diverged")
    assert "no accuracy of a shared seed" in found.numbers
    verdict = FIGURE.judged(evidence)
    assert png(FigureResult(FIGURE, {"full": evidence}, {"full": verdict}), "full")


def test_data_sets_of_the_laptop() -> None:
    ends = {(WIKITEXT, arm): around(40, 3) for arm in (SOFTMAX, STABLEMAX, ADAMW_ARM, ATTENTION)}
    evidence = made(ends, size="laptop")
    assert claim(evidence, "WikiText-103: ⊥AdamW").numbers.startswith("on WikiText-2; 40.00 ± 0.10 (3) against")
    assert claim(evidence, "WikiText-103: StableMax attention").status == REPORTED


def test_words() -> None:
    assert seeds_words([]) == "–"
    assert seeds_words([87.0, 88.0]) == "87.50 ± 0.71 (2)"
    (trial, *_) = made({(WIKITEXT, SOFTMAX): [40.0]}, until=0.5).where()
    assert place_words(trial, 500) == "at step 500 of 14\u202f395"


# --- spaces -------------------------------------------------------------------------------------------------------


def arms_of(space: str) -> dict[str, list]:
    found: dict[str, list] = {}
    for trial in load_space(space_path(space), "full").spec.trials():
        found.setdefault(str(trial.coordinates["arm"]), []).append(trial.config)
    return found


@pytest.mark.parametrize(
    ("space", "batch_size", "steps_per_epoch", "seeds"),
    [(CIFAR10, 128, 391, 5), (CIFAR100, 128, 391, 5), (IMAGENET, 256, 5005, 3)],
)
def test_resnet_settings(space: str, batch_size: int, steps_per_epoch: int, seeds: int) -> None:
    arms = arms_of(space)
    assert {arm: len(configs) for arm, configs in arms.items()} == dict.fromkeys((SOFTMAX, STABLEMAX, SGD_ARM), seeds)
    for arm, configs in arms.items():
        for config in configs:
            assert config.model == ResNet18(stem="imagenet")
            assert config.optimizer == SGD(learning_rate=0.1, momentum=0.9, weight_decay=1e-4)
            assert config.schedule == StepDecay(every_steps=30 * steps_per_epoch, gamma=0.1)
            assert config.horizon_steps == 100 * steps_per_epoch
            assert -(-config.images.published_rows // batch_size) == steps_per_epoch
            assert (config.batch_size, config.images.train_rows, config.test_rows) == (batch_size, None, None)
            assert config.loss == (StableMaxCrossEntropy() if arm == STABLEMAX else SoftmaxCrossEntropy())
            assert config.gradient == (OrthogonalGradient() if arm == SGD_ARM else PlainGradient())


def test_gpt2_settings() -> None:
    arms = arms_of(WIKITEXT)
    assert {arm: len(configs) for arm, configs in arms.items()} == dict.fromkeys(
        (SOFTMAX, STABLEMAX, ADAMW_ARM, ATTENTION), 3
    )
    for arm, configs in arms.items():
        for config in configs:
            assert config.model == GPT2(attention="stablemax" if arm == ATTENTION else "softmax")
            assert (config.batch_size, config.block_size, config.tokenizer) == (16, 512, GPT2BPE())
            assert config.optimizer == AdamW(learning_rate=5e-4, weight_decay=0.01)
            assert config.schedule == Cosine(total_steps=config.horizon_steps, warmup_steps=1000)
            assert config.horizon_steps == -(-((117_920_140 - 1) // 512) // 16)
            assert config.loss == (StableMaxCrossEntropy() if arm == STABLEMAX else SoftmaxCrossEntropy())
            assert config.gradient == (OrthogonalGradient() if arm == ADAMW_ARM else PlainGradient())


@pytest.mark.parametrize("space", [CIFAR10, CIFAR100, IMAGENET])
def test_laptop_schedule(space: str) -> None:
    for trial in load_space(space_path(space), "laptop").spec.trials():
        config = trial.config
        assert config.schedule.every_steps == pytest.approx(0.3 * config.horizon_steps, abs=1)  # type: ignore[attr-defined]
        assert len(range(0, config.horizon_steps, config.schedule.every_steps)) == 4  # type: ignore[attr-defined]
