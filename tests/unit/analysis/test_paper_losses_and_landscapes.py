"""Figs 7 to 12: what their verdicts make of planted curves, and that their full sizes are what is to be reproduced."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from analysis.data.sweep import STEP, Sweep, Trial
from analysis.paper.figures import fig07, fig08, fig09, fig10, fig11, fig12
from analysis.paper.verdict import MET, NOT_MET, UNDECIDED
from pipeline.spec.space_file import load_space
from trainables.engine.events import ACCURACY_EVENTS
from trainables.engine.gradients import OrthogonalGradient, PlainGradient
from trainables.engine.interventions import NoIntervention, ZeroTrueClassGradient
from trainables.engine.losses import SoftmaxCrossEntropy, StableMaxCrossEntropy, TaylorSoftmaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD, AdamW, NormalizedSGD
from trainables.engine.penalties import LogitNorm, NoPenalty
from trainables.engine.tasks import ModularAddition
from trainables.grokking import GrokkingTrial

ROOT = Path(__file__).resolve().parents[3]
HORIZON = 1000
STEPS = np.array([0, 10, 20, 50, 100, 200, 400, 600, 700, 800, 900, 1000], dtype=float)


def planted(
    seed: int, curves: Mapping[str, Sequence[float]], *, until: int = HORIZON, stop: str | None = None, **coordinates
) -> Trial:
    """A trial with a value a step of STEPS for each column, followed up to a step."""
    there = until >= STEPS
    return Trial(
        events=ACCURACY_EVENTS,
        trial_id=f"{sorted(coordinates.items())}{seed}",
        space="planted",
        coordinates={**coordinates, "seed": seed},
        state="finished",
        stop_reason=stop,
        last_step=until,
        horizon_steps=HORIZON,
        curves={STEP: STEPS[there]} | {name: np.array(values, dtype=float)[there] for name, values in curves.items()},
    )


def evidence(trials: Sequence[Trial]) -> Sweep:
    return Sweep(size="laptop", trials=tuple(trials))


def path(*points: tuple[float, float]) -> list[float]:
    """A curve through (step, value) points, on STEPS."""
    return list(np.interp(STEPS, *zip(*points, strict=True)))


# --- Fig. 7 -------------------------------------------------------------------------------------------------------

RISING = path((0, 3.0), (100, 5.0), (1000, 9.0))
TURNING = path((0, 3.0), (100, 5.0), (1000, 0.5))
FALLING = path((0, 3.0), (100, 2.0), (1000, 0.1))


def landscapes(orthogonal: Sequence[float], seeds: int = 3, until: int = HORIZON) -> Sweep:
    arms = zip(fig07.ARMS, (RISING, TURNING, orthogonal), strict=True)
    return evidence(
        [
            planted(seed, {fig07.TEST_LOSS: losses, "test_accuracy": path((0, 0), (1000, 1))}, until=until, arm=arm)
            for arm, losses in arms
            for seed in range(seeds)
        ]
    )


def test_fig07_fall_and_rise() -> None:
    assert fig07.verdict(landscapes(FALLING)).status == MET
    assert fig07.verdict(landscapes(TURNING)).status == NOT_MET
    assert fig07.verdict(landscapes(FALLING, seeds=1)).status == UNDECIDED
    assert fig07.verdict(landscapes(FALLING, until=100)).status == UNDECIDED


def test_fig07_small_rise() -> None:
    assert fig07.verdict(landscapes(path((0, 3.0), (100, 0.1), (200, 0.35), (1000, 0.1)))).status == MET
    assert fig07.verdict(landscapes(path((0, 3.0), (100, 0.1), (200, 0.45), (1000, 0.1)))).status == NOT_MET


def test_fig07_condense() -> None:
    base = GrokkingTrial(
        task=ModularAddition(p=7, train_fraction=0.5),
        model=MLP(hidden=(6,)),
        optimizer=SGD(learning_rate=0.5),
        horizon_steps=12,
    )
    kinds = zip(fig07.ARMS, (SGD(learning_rate=0.5), SGD(learning_rate=0.5, weight_decay=0.1)), strict=False)
    configs = {arm: base.replace(optimizer=optimizer) for arm, optimizer in kinds}
    configs[fig07.ORTHOGONAL] = base.replace(gradient=OrthogonalGradient(), loss=StableMaxCrossEntropy())
    trials, stored = [], {}
    for arm, config in configs.items():
        cohort, kept, losses = config.build([config]), {}, []
        for step in range(0, 13, 2):
            cohort.advance(step - cohort.step)
            losses.append(float(cohort.measure()["test_loss"][0]))
            if step % 4 == 0:
                buffer = io.BytesIO()
                np.savez(buffer, **cohort.snapshot(0))
                kept[step] = buffer.getvalue()
        curves = {STEP: np.arange(0, 13, 2, dtype=float), "test_loss": np.array(losses)}
        trials.append(
            Trial(
                trial_id=arm,
                space="planted",
                coordinates={"arm": arm, "seed": 0},
                config=config.to_json(),
                state="finished",
                last_step=12,
                horizon_steps=12,
                curves=curves,
            )
        )
        stored[arm] = kept
    found = fig07.condense(evidence(trials), lambda trial: stored[trial.trial_id])
    by_arm = {trial.arm: trial for trial in found.trials}
    plain = by_arm[fig07.SGD]
    steps, losses = plain.measured(fig07.TEST_LOSS)
    assert steps.tolist() == [0, 4, 8, 12]
    np.testing.assert_allclose(losses, plain.curves["test_loss"][::2], rtol=1e-5)
    orthogonal = by_arm[fig07.ORTHOGONAL]
    # Trained with StableMax: the softmax cross-entropy of its weights is another number.
    assert abs(orthogonal.measured(fig07.TEST_LOSS)[1][-1] / orthogonal.curves["test_loss"][-1] - 1) > 1e-3
    # All begin at the same weights, so at the same place; distances on the plane are at most those of the weights.
    starts = np.array([[trial.curves["plane_x"][0], trial.curves["plane_y"][0]] for trial in found.trials])
    np.testing.assert_allclose(starts, starts[[0]].repeat(3, axis=0), atol=1e-5)
    assert plain.curves["grid_test"].shape == (fig07.RESOLUTION**2,)
    assert "grid_test" not in orthogonal.curves
    assert np.isfinite(plain.curves["grid_train"]).all()


# --- Fig. 8 -------------------------------------------------------------------------------------------------------

N = 200


def zeroed(after: float, control: float = 0.9, seeds: int = 3, until: int = HORIZON, n: int = N) -> Sweep:
    trials = []
    for seed in range(seeds):
        for arm, last, at in ((fig08.CONTROL, control, {}), (fig08.ZEROED, after, {"intervention.at_step": n})):
            curves = {"test_accuracy": path((0, 0), (N, 0.4), (400, last), (1000, last))}
            curves |= {"train_accuracy": path((0, 0), (100, 1)), "train_loss": path((0, 4), (1000, 0.1))}
            trials.append(planted(seed, curves, until=until, arm=arm, **at))
    return evidence(trials)


def test_fig08_standstill_and_control() -> None:
    assert fig08.verdict(zeroed(0.405)).status == MET
    assert fig08.verdict(zeroed(0.42)).status == NOT_MET
    assert fig08.verdict(zeroed(0.3)).status == NOT_MET, "a fall is a change too"
    assert fig08.verdict(zeroed(0.405, control=0.6)).status == NOT_MET
    assert fig08.verdict(zeroed(0.405, seeds=1)).status == UNDECIDED
    assert fig08.verdict(zeroed(0.405, until=600)).status == UNDECIDED, "it may still move"


def test_fig08_begins_at_n() -> None:
    assert fig08.verdict(zeroed(0.405, n=N - 50)).status == MET, "what it gained before N is no change"
    assert fig08.verdict(zeroed(0.405, n=N - 100)).status == NOT_MET


# --- Fig. 9 -------------------------------------------------------------------------------------------------------


def dtypes(finals: Sequence[float], onsets: Sequence[float], seeds: int = 3, until: int = HORIZON) -> Sweep:
    trials = []
    for dtype, final, onset in zip(fig09.DTYPES, finals, onsets, strict=True):
        curves = {
            "test_accuracy": path((0, 0), (1000, final)),
            "train_accuracy": path((0, 0), (100, 1)),
            "sc_any_fraction": np.where(onset <= STEPS, 0.9, 0.1),
        }
        trials += [
            planted(seed, curves, until=until, **{"task.train_fraction": 0.8, "loss.dtype": dtype})
            for seed in range(seeds)
        ]
    return evidence(trials)


def test_fig09_orders() -> None:
    assert fig09.verdict(dtypes((0.3, 0.5, 0.9), (100, 400, 800))).status == MET
    assert fig09.verdict(dtypes((0.3, 0.5, 0.9), (100, 400, math.inf))).status == MET, "float64 not within the run"
    assert fig09.verdict(dtypes((0.5, 0.3, 0.9), (100, 400, 800))).status == NOT_MET
    assert fig09.verdict(dtypes((0.3, 0.5, 0.9), (400, 100, 800))).status == NOT_MET
    assert fig09.verdict(dtypes((0.3, 0.5, 0.9), (100, math.inf, math.inf))).status == UNDECIDED
    assert fig09.verdict(dtypes((0.3, 0.5, 0.9), (100, 400, 800), seeds=2)).status == UNDECIDED
    assert fig09.verdict(dtypes((0.3, 0.5, 0.9), (100, 400, 800), until=700)).status == UNDECIDED


# --- Fig. 10 ------------------------------------------------------------------------------------------------------


def absorbed(last: float, zero: float = 0.0021, seeds: int = 3, until: int = HORIZON, mem: float = 1.0) -> Sweep:
    curves = {
        "train_accuracy": path((0, 0), (100, mem), (1000, mem)),
        "test_accuracy": path((0, 0), (1000, 0)),
        "absorbed_fraction": path((0, 0.05), (100, 0.003), (1000, last)),
        "zero_gradient_fraction": path((0, 0.05), (100, 0.002), (1000, zero)),
    }
    return evidence([planted(seed, curves, until=until) for seed in range(seeds)])


def test_fig10_since_memorising() -> None:
    assert fig10.verdict(absorbed(0.01)).status == MET
    assert fig10.verdict(absorbed(0.008)).status == NOT_MET
    assert fig10.verdict(absorbed(0.01, zero=0.0025)).status == NOT_MET
    assert fig10.verdict(absorbed(0.01, seeds=2)).status == UNDECIDED
    assert fig10.verdict(absorbed(0.02, until=700)).status == UNDECIDED, "the zeros may still change"
    assert fig10.verdict(absorbed(0.01, mem=0.5, until=600)).status == UNDECIDED


# --- Fig. 11 ------------------------------------------------------------------------------------------------------


def three_losses(t_gens: Sequence[int], last: float = 0.2, seeds: int = 3, until: int = HORIZON) -> Sweep:
    trials = []
    for arm, t_gen in zip(fig11.ARMS, t_gens, strict=True):
        curves = {
            "train_accuracy": path((0, 0), (50, 1)),
            "test_accuracy": np.where(t_gen <= STEPS, 1.0, 0.1),
            "train_loss": path((0, 4), (1000, 0.01)),
            "test_loss": path((0, 4), (50, 5), (1000, last)),
        }
        trials += [planted(seed, curves, until=until, arm=arm) for seed in range(seeds)]
    return evidence(trials)


def test_fig11_fall_and_order() -> None:
    assert fig11.verdict(three_losses((400, 400, 100))).status == MET
    assert fig11.verdict(three_losses((400, 9999, 100))).status == MET, "one that never does is later"
    assert fig11.verdict(three_losses((400, 400, 100), last=0.6)).status == NOT_MET
    assert fig11.verdict(three_losses((100, 400, 200))).status == NOT_MET
    assert fig11.verdict(three_losses((400, 400, 400))).status == NOT_MET, "a tie is not first"
    assert fig11.verdict(three_losses((9999, 9999, 9999))).status == NOT_MET
    assert fig11.verdict(three_losses((400, 400, 100), seeds=2)).status == UNDECIDED
    assert fig11.verdict(three_losses((9999, 9999, 9999), until=600)).status == UNDECIDED


# --- Fig. 12 ------------------------------------------------------------------------------------------------------


def spectra(share: float, seeds: int = 3, until: int = HORIZON) -> Sweep:
    curves = {fig12.TOP: path((0, 0.1), (1000, share)), fig12.GINI: path((0, 0.1), (1000, 0.9))}
    curves |= {fig12.IPR: path((0, 0.02), (1000, 0.3)), "test_accuracy": path((0, 0), (1000, 1))}
    curves |= {name: path((0, 0.2), (1000, 0.1 * k)) for k, name in enumerate(fig12.POWERS[:4])}
    curves |= dict.fromkeys(fig12.POWERS[4:], [math.nan] * len(STEPS))
    return evidence([planted(seed, curves, until=until) for seed in range(seeds)])


def test_fig12_share() -> None:
    assert fig12.verdict(spectra(0.85)).status == MET
    assert fig12.verdict(spectra(0.7)).status == NOT_MET
    assert fig12.verdict(spectra(0.85, seeds=1)).status == UNDECIDED
    assert fig12.verdict(spectra(0.85, until=700)).status == UNDECIDED


def test_fig12_frequencies() -> None:
    frequencies, shares = fig12.spectrum(spectra(0.85).trials[0], -1)
    assert frequencies.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(shares, [0, 0.1, 0.2, 0.3])


# --- the full sizes -----------------------------------------------------------------------------------------------


def full(stem: str) -> list[tuple[dict, GrokkingTrial]]:
    spec = load_space(ROOT / "search_spaces" / "paper" / f"{stem}.py", "full").spec
    found = [(trial.coordinates, trial.config) for trial in spec.trials()]
    assert {coordinates["seed"] for coordinates, _ in found} == set(range(5))
    assert {config.model for _, config in found} == {MLP(hidden=(200, 200))}  # type: ignore[attr-defined]
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("stem", ["fig11_losses", "fig12_fourier"])
def test_the_stablemax_run_is_that_of_fig_1b(stem: str) -> None:
    run = GrokkingTrial(
        task=ModularAddition(p=113),
        loss=StableMaxCrossEntropy(),
        optimizer=AdamW(learning_rate=0.01, betas=(0.9, 0.999), eps=1e-25),
        horizon_steps=80_000,
    )
    ids = {config.trial_id for at, config in full(stem) if at.get("arm", fig11.STABLEMAX) == fig11.STABLEMAX}
    assert run.trial_id in ids
    assert {config.horizon_steps for _, config in full(stem)} == {80_000}


def test_fig11_settings() -> None:
    others = {at["arm"]: config for at, config in full("fig11_losses")}
    assert others[fig11.LOGIT_NORM].loss == SoftmaxCrossEntropy()
    assert others[fig11.LOGIT_NORM].penalty == LogitNorm(strength=0.01)
    assert others[fig11.TAYLOR].loss == TaylorSoftmaxCrossEntropy()
    assert {others[arm].penalty for arm in (fig11.STABLEMAX, fig11.TAYLOR)} == {NoPenalty()}


def test_fig07_settings() -> None:
    found = {at["arm"]: config for at, config in full("fig07_landscapes")}
    assert tuple(found) == fig07.ARMS
    assert {config.task for config in found.values()} == {ModularAddition()}
    assert all(config.snapshots_every for config in found.values())
    assert found[fig07.SGD].optimizer == SGD(learning_rate=1.0, momentum=0.2)
    assert found[fig07.DECAY].optimizer == SGD(learning_rate=1.0, momentum=0.2, weight_decay=3e-4)
    assert found[fig07.ORTHOGONAL].optimizer == SGD(learning_rate=10.0, momentum=0.8)
    assert found[fig07.ORTHOGONAL].loss == StableMaxCrossEntropy()
    rules = {arm: config.gradient for arm, config in found.items()}
    assert rules == {arm: PlainGradient() for arm in fig07.ARMS[:2]} | {fig07.ORTHOGONAL: OrthogonalGradient()}


def test_fig08_settings() -> None:
    found = full("fig08_zeroed_true_class")
    assert {config.optimizer for _, config in found} == {AdamW(learning_rate=5e-4, betas=(0.9, 0.99), eps=1e-25)}
    assert {config.loss for _, config in found} == {SoftmaxCrossEntropy(dtype="float64")}
    assert {config.task for _, config in found} == {ModularAddition(train_fraction=0.7)}
    changes = {at["arm"]: config.intervention for at, config in found}
    assert changes == {
        fig08.CONTROL: NoIntervention(),
        fig08.ZEROED: ZeroTrueClassGradient(at_step=1200),
        fig08.LITERAL: ZeroTrueClassGradient(at_step=1200, logit="zeroed"),
    }


def test_fig09_settings() -> None:
    found = full("fig09_normalized_sgd")
    cells = {(config.task.train_fraction, config.loss.dtype) for _, config in found}  # type: ignore[attr-defined]
    assert cells == {(fraction, dtype) for fraction in (0.4, 0.6, 0.7) for dtype in fig09.DTYPES}
    assert {type(config.optimizer) for _, config in found} == {NormalizedSGD}
    assert {config.horizon_steps for _, config in found} == {20_000}


def test_fig10_settings() -> None:
    found = [config for _, config in full("fig10_absorbed_updates")]
    assert {config.task for config in found} == {ModularAddition(train_fraction=0.3)}
    assert {(config.optimizer.momentum, config.optimizer.weight_decay) for config in found} == {(0.2, 0.0)}  # type: ignore[attr-defined]
    assert {type(config.optimizer) for config in found} == {SGD}
