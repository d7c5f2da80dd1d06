"""Figs 13, 14, 16 and App. D.1, H, I: their verdicts on made-up curves, and the settings of their full spaces."""

import math
from dataclasses import replace

import numpy as np
import pytest

from analysis.data.sweep import FULL, Sweep, Trial
from analysis.paper.figures import appendix_d1, appendix_h, appendix_i, fig13, fig14, fig16
from analysis.paper.verdict import MET, NOT_MET, REPORTED, UNDECIDED
from pipeline.spec.space_file import load_space
from tests.support.synthetic_evidence import space_path
from trainables.engine.encodings import OneHot, Tokens
from trainables.engine.events import ACCURACY_EVENTS
from trainables.engine.losses import MeanSquaredError, SoftmaxCrossEntropy, StableMaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD, Adam, AdamW
from trainables.engine.penalties import L1
from trainables.engine.tasks import ModularAddition
from trainables.engine.transformer import Transformer
from trainables.engine.trial import Seeds
from trainables.grokking import GrokkingTrial

HORIZON = 1000
STEPS = np.arange(0, HORIZON + 1, 10, dtype=float)
NEVER = math.inf


def trial(coordinates, *, last=HORIZON, stop_reason=None, t_mem=50, t_gen=NEVER, top=1.0, space="made_up", **columns):
    """Accuracies that jump at t_mem and t_gen, and other columns as functions of the step or numbers."""
    steps = STEPS[last >= STEPS]
    curves = {
        "step": steps,
        "train_accuracy": np.where(steps >= t_mem, 1.0, 0.1),
        "test_accuracy": np.where(steps >= t_gen, top, 0.01),
    }
    for name, value in columns.items():
        curves[name] = np.array([value(step) if callable(value) else value for step in steps], dtype=float)
    return Trial(
        events=ACCURACY_EVENTS,
        trial_id=str(coordinates), space=space, coordinates=coordinates, state="finished",
        stop_reason=stop_reason, last_step=last, horizon_steps=HORIZON, curves=curves,
    )  # fmt: skip


def evidence(*trials):
    return Sweep(size=FULL, trials=trials)


def statuses(found):
    return [claim.status for claim in found.claims]


def full(space):
    """The full size: every trial's coordinates and configuration, and the seeds."""
    trials = load_space(space_path(space), FULL).spec.trials()
    assert {planned.config.seeds for planned in trials} == {Seeds.all(seed) for seed in range(5)}
    return [(planned.coordinates, planned.config) for planned in trials]


# --- Fig. 13 --------------------------------------------------------------------------------------------------------


def sweep13(seeds=3, shallow=(200, 300, 600), deep=NEVER, entropy=NEVER, last=HORIZON):
    """t_gen of the shallow network by α, and of every trial of the other arms."""
    return evidence(
        *(
            trial({"arm": arm, "alpha": alpha, "seed": seed}, t_gen=t_gen, last=last)
            for seed in range(seeds)
            for arm, times in ((fig13.SHALLOW, shallow), (fig13.DEEP, (deep,) * 3), (fig13.ENTROPY, (entropy,) * 3))
            for alpha, t_gen in zip((0.5, 1.0, 2.0), times, strict=True)
        )
    )


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, MET),
        ({"shallow": (200, 300, NEVER)}, MET),  # the last one's wait is already longer
        ({"shallow": (200, 300, 250)}, NOT_MET),
        ({"shallow": (200, NEVER, 300)}, NOT_MET),
        ({"shallow": (200, NEVER, NEVER)}, UNDECIDED),
        ({"deep": 500}, NOT_MET),
        ({"entropy": 990}, NOT_MET),
        ({"seeds": 1}, UNDECIDED),
        ({"last": 400}, UNDECIDED),
        ({"last": 20}, UNDECIDED),
    ],
)
def test_fig13_verdicts(changes, status):
    assert fig13.verdict(sweep13(**changes)).status == status


def test_fig13_open_delays():
    words = fig13.verdict(sweep13(shallow=(200, 300, NEVER))).claims[0].numbers
    assert "α 0.5: 150 steps" in words
    assert "α 2: over 950 in 3 of 3" in words


def test_fig13_frozen():
    frozen = trial({"arm": fig13.SHALLOW, "alpha": 1.0, "seed": 0}, stop_reason="frozen", last=100)
    assert fig13.delay(frozen) == (math.inf, False)


def test_fig13_settings():
    seen = set()
    for coordinates, config in full("fig13_alpha"):
        loss, hidden, rate = {
            fig13.SHALLOW: (MeanSquaredError(), (200,), 1000.0),
            fig13.DEEP: (MeanSquaredError(), (200, 200), 1000.0),
            fig13.ENTROPY: (SoftmaxCrossEntropy(), (200, 200), 10.0),
        }[coordinates["arm"]]
        assert config == GrokkingTrial(
            task=ModularAddition(p=113, train_fraction=0.4),
            model=MLP(hidden=hidden),
            loss=loss,
            optimizer=SGD(learning_rate=rate),
            alpha=coordinates["alpha"],
            seeds=config.seeds,
            horizon_steps=config.horizon_steps,
        )
        seen.add(coordinates["alpha"])
    assert sorted(seen) == [0.5, 1.0, 2.0]


# --- Fig. 14 --------------------------------------------------------------------------------------------------------


def sweep14(seeds=3, ends=1.0, rises=0.01, recedes=0.2, gains=0.1, last=HORIZON):
    """Without decay collapse ends at ``ends`` and the test accuracy rises by ``rises``; with it as named."""
    found = []
    for seed in range(seeds):
        for decay, collapse, change in ((0.0, ends, rises), (1.0, recedes, gains)):
            made = trial({"optimizer.weight_decay": decay, "seed": seed}, last=last,
                         sc_any_fraction=lambda step, level=collapse: 1.0 if step < 500 else level)  # fmt: skip
            test = 0.6 + change * (made.curves["step"] / HORIZON)
            found.append(replace(made, curves={**made.curves, "test_accuracy": test}))
    return evidence(*found)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [MET] * 4),
        ({"ends": 0.9}, [NOT_MET, MET, MET, MET]),
        ({"rises": 0.1}, [MET, NOT_MET, MET, MET]),
        ({"rises": -0.1}, [MET, NOT_MET, MET, MET]),
        ({"recedes": 0.995}, [MET, MET, NOT_MET, MET]),
        ({"gains": 0.04}, [MET, MET, MET, NOT_MET]),
        ({"seeds": 2}, [UNDECIDED] * 4),
        ({"last": 300}, [UNDECIDED] * 4),
    ],
)
def test_fig14_verdicts(changes, expected):
    assert statuses(fig14.verdict(sweep14(**changes))) == expected


def test_fig14_settings():
    from trainables.data.mnist import MNISTSubset

    decays = set()
    for _, config in full("fig14_mnist_scale"):
        assert config.task == MNISTSubset(train_rows=200, test_rows=10_000)
        assert config.model == MLP(hidden=(200, 200), init_scale=100.0)
        assert config.loss == SoftmaxCrossEntropy(dtype="float32")
        assert config.optimizer.replace(weight_decay=0.0) == AdamW(learning_rate=0.001, betas=(0.9, 0.99), eps=1e-25)
        decays.add(config.optimizer.weight_decay)
    assert sorted(decays) == [0.0, 1.0]


# --- Fig. 16 --------------------------------------------------------------------------------------------------------


def sweep16(seeds=3, onset=100, later=500, smoothed=0.0, smooth_top=0.9, stable=600, last=HORIZON):
    """Collapse of the plain softmax from ``onset``, with the temperature from ``later``."""
    found = []
    for seed in range(seeds):
        arms = (
            (fig16.SOFTMAX, {"sc_loss_fraction": lambda step: float(step >= onset)}),
            (fig16.TEMPERATURE, {"sc_loss_fraction": lambda step: float(step >= later)}),
            (fig16.SMOOTHING, {"sc_loss_fraction": smoothed, "t_gen": 200, "top": smooth_top}),
            (fig16.STABLEMAX, {"sc_loss_fraction": 0.0, "t_gen": stable}),
        )
        found += [trial({"arm": arm, "seed": seed}, last=last, **columns) for arm, columns in arms]
    return evidence(*found)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [MET] * 4),
        ({"later": NEVER}, [MET] * 4),
        ({"later": 100}, [NOT_MET, MET, MET, MET]),
        ({"onset": NEVER, "later": 500}, [NOT_MET, MET, MET, MET]),
        ({"onset": NEVER, "later": NEVER}, [UNDECIDED, MET, MET, MET]),
        ({"smoothed": 0.001}, [MET, NOT_MET, MET, MET]),
        ({"smooth_top": 0.995}, [MET, MET, NOT_MET, MET]),
        ({"stable": NEVER}, [MET, MET, MET, NOT_MET]),
        ({"seeds": 1}, [UNDECIDED] * 4),
        ({"last": 50}, [UNDECIDED] * 4),
    ],
)
def test_fig16_verdicts(changes, expected):
    assert statuses(fig16.verdict(sweep16(**changes))) == expected


def test_fig16_settings():
    plain = AdamW(learning_rate=0.01, betas=(0.9, 0.99), eps=1e-25)
    losses = {
        fig16.SOFTMAX: SoftmaxCrossEntropy(dtype="float32"),
        fig16.TEMPERATURE: SoftmaxCrossEntropy(dtype="float32", temperature=1e5),
        fig16.SMOOTHING: SoftmaxCrossEntropy(dtype="float32", label_smoothing=0.1),
    }
    for coordinates, config in full("fig16_alternatives"):
        if coordinates["arm"] == fig16.STABLEMAX:
            assert config == GrokkingTrial(
                task=ModularAddition(p=113),
                loss=StableMaxCrossEntropy(),
                optimizer=AdamW(learning_rate=0.01, betas=(0.9, 0.999), eps=1e-25),
                seeds=config.seeds,
                horizon_steps=80_000,
            )
        else:
            assert (config.loss, config.optimizer) == (losses[coordinates["arm"]], plain)
            assert (config.task, config.model) == (ModularAddition(p=113), MLP())


# --- App. D.1 -------------------------------------------------------------------------------------------------------


def test_appendix_d1_reports():
    found = appendix_d1.verdict(
        evidence(
            *(
                trial({"penalty.strength": strength, "seed": seed}, t_gen=t_gen, space=appendix_d1.MLP)
                for seed in range(3)
                for strength, t_gen in ((0.0, NEVER), (1e-5, 300))
            )
        )
    )
    assert found.status == REPORTED
    mlp, transformer = found.claims
    assert mlp.numbers == "0: never (best test 1\u202f%, training 100\u202f%); 1e-05: 300"
    assert transformer.numbers == ""


def test_appendix_d1_settings():
    for space, model, inputs, rate in (
        (appendix_d1.MLP, MLP(), OneHot(), 0.01),
        (appendix_d1.TRANSFORMER, Transformer(), Tokens(), 0.001),
    ):
        strengths = set()
        for _, config in full(space):
            assert (config.model, config.task) == (model, ModularAddition(inputs=inputs))
            assert config.optimizer == AdamW(learning_rate=rate, betas=(0.9, 0.99), eps=1e-25)
            assert isinstance(config.penalty, L1)
            strengths.add(config.penalty.strength)
        assert sorted(strengths) == [0.0, 1e-6, 1e-5, 1e-4, 1e-3]


# --- App. H ---------------------------------------------------------------------------------------------------------


def sweep_h(single=5, double=1, seeds=3, last=HORIZON, double_last=None):
    numbers = {"train_loss": 1e-3, "sc_any_fraction": 0.2}
    return evidence(
        *(
            trial({"arm": dtype, "seed": seed}, last=until, loss_spikes=spikes + 2.0,
                  loss_spikes_resolved=float(spikes), **numbers)
            for seed in range(seeds)
            for dtype, spikes, until in ((appendix_h.SINGLE, single, last),
                                         (appendix_h.DOUBLE, double, double_last or last))
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, MET),
        ({"double": 5}, NOT_MET),
        ({"double": 6}, NOT_MET),
        ({"seeds": 2}, UNDECIDED),
        ({"double_last": 500}, UNDECIDED),
        ({"last": 500}, UNDECIDED),
    ],
)
def test_appendix_h_verdicts(changes, status):
    assert appendix_h.verdict(sweep_h(**changes)).status == status


def test_appendix_h_settings():
    for coordinates, config in full("appendix_h_spikes"):
        assert config.model == MLP(dtype=coordinates["arm"])
        assert config.loss == SoftmaxCrossEntropy(dtype=coordinates["arm"])
        assert config.optimizer == Adam(learning_rate=0.01, betas=(0.9, 0.99), eps=1e-25)


# --- App. I ---------------------------------------------------------------------------------------------------------


def sweep_i(seeds=3, best=0.9, end=0.5, creep=0.0, collapse=0.05, t_mem=50, last=HORIZON):
    """The smallest ε ends at ``best``, the larger at ``end`` after gaining ``creep`` in the second half."""
    found = []
    for seed in range(seeds):
        for eps, top, gain in ((1e-25, best, 0.3), (1e-4, end, creep)):
            made = trial({"arm": "native", "optimizer.eps": eps, "seed": seed}, last=last, t_mem=t_mem,
                         sc_any_fraction=collapse)  # fmt: skip
            test = top - gain * np.clip((HORIZON - made.curves["step"]) / (HORIZON / 2), 0, 1)
            found.append(replace(made, curves={**made.curves, "test_accuracy": test}))
    return evidence(*found)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, MET),
        ({"end": 0.85}, NOT_MET),
        ({"creep": 0.05}, NOT_MET),
        ({"collapse": 0.2}, NOT_MET),
        ({"t_mem": NEVER}, NOT_MET),
        ({"seeds": 1}, UNDECIDED),
        ({"last": 700}, UNDECIDED),
    ],
)
def test_appendix_i_verdicts(changes, status):
    assert appendix_i.verdict(sweep_i(**changes)).status == status


def test_appendix_i_settings():
    seen = {}
    for coordinates, config in full("appendix_i_eps"):
        assert config.task == ModularAddition(p=113, train_fraction=0.7)
        assert config.optimizer.replace(eps=1e-8) == AdamW(learning_rate=5e-4, betas=(0.9, 0.99))
        assert config.horizon_steps == 20_000
        by_hand = coordinates["arm"] == appendix_i.BY_HAND
        assert config.loss == SoftmaxCrossEntropy(log_softmax="by_hand" if by_hand else "native")
        seen.setdefault(coordinates["arm"], set()).add(config.optimizer.eps)
    assert seen == {"native": {1e-25, 1e-16, 1e-12, 1e-8, 1e-6, 1e-4}, "by hand": {1e-25, 1e-8}}
