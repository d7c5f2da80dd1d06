"""Figs 1, 2, 4, 5 and 6: their verdicts on curves that are made as the paper states them, and as it does not; and
that the full size of each space has the settings of the released runs."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.data.sweep import FULL, LAPTOP, Sweep, Trial
from analysis.paper.figure import FigureSpec
from analysis.paper.figures import fig01, fig02, fig04, fig05, fig06a, fig06b, fig06c
from analysis.paper.verdict import MET, NOT_MET, NOT_RUN, UNDECIDED
from pipeline.spec.space_file import load_space
from tests.support.synthetic_evidence import planned, space_path
from trainables.engine.encodings import Binary, OneHot, Scalar, Tokens
from trainables.engine.events import ACCURACY_EVENTS
from trainables.engine.gradients import OrthogonalGradient, PlainGradient
from trainables.engine.losses import SoftmaxCrossEntropy, StableMaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD, AdamW
from trainables.engine.tasks import ModularAddition, ModularMultiplication, ModularSubtraction
from trainables.engine.tasks_parity import SparseParity
from trainables.engine.transformer import Transformer
from trainables.engine.trial import Seeds
from trainables.grokking import GrokkingTrial

Curve = Callable[[np.ndarray], np.ndarray]
Curves = dict[str, Curve]


def level(value: float) -> Curve:
    return lambda steps: np.full(len(steps), value)


def rises(*points: tuple[float, float]) -> Curve:
    """Straight lines between (step, value) points, flat outside them."""
    return lambda steps: np.interp(steps, *zip(*points, strict=True))


def made(
    figure: FigureSpec,
    size: str,
    curves: Callable[[Any, float], Curves],
    *,
    seeds: int | None = None,
    until: float = 1.0,
) -> Sweep:
    """Sweep of a figure's own trials, with these curves by their coordinates and horizon; the rest is 0."""
    found = []
    for space, trial in planned(figure, size):
        horizon = trial.config.horizon_steps
        last = int(until * horizon)
        steps = np.unique(np.concatenate([[0], np.geomspace(1, max(last, 2), 400).astype(int), [last]])).astype(float)
        shape = {column: level(0.0) for column in figure.columns} | curves(trial.coordinates, horizon)
        found.append(
            Trial(
                events=ACCURACY_EVENTS,
                trial_id=str(len(found)),
                space=space,
                coordinates=trial.coordinates,
                config=trial.config.to_json(),
                state="finished" if until == 1 else "running",
                last_step=last,
                horizon_steps=horizon,
                curves={"step": steps} | {column: curve(steps) for column, curve in shape.items()},
            )
        )
    kept = list(dict.fromkeys(trial.seed for trial in found))[:seeds]
    return Sweep(
        size=size,
        trials=tuple(trial if trial.seed in kept else replace(trial, curves={}, last_step=0) for trial in found),
    )


def fig01_curves(where: Any, horizon: float) -> Curves:
    test = {
        "1a, ⊥AdamW": rises((80, 0), (115, 1)),
        "1a, AdamW": level(0.01),
        "1b, StableMax": rises((0.1 * horizon, 0), (0.45 * horizon, 0.5), (0.9 * horizon, 0.98)),
        "1c, softmax": level(0.01),
        "1c, softmax, β2 .999": level(0.01),
    }[where["arm"]]
    return {"train_accuracy": rises((10, 0), (25, 1)), "test_accuracy": test}


def fig02_curves(where: Any, horizon: float) -> Curves:
    order = ("float16", "float32", "float64").index(where["loss.dtype"])
    onset, end = horizon * (0.1, 0.2, 0.4)[order], (0.2, 0.4, 0.6)[order]
    collapse = rises((0.8 * onset, 0), (1.1 * onset, 0.9))
    test = level(0.01) if where["arm"] == "2a" else rises((0, 0), (onset, 0.97 * end), (horizon, end))
    return {"test_accuracy": test, "sc_any_fraction": collapse}


def fig04_curves(where: Any, horizon: float) -> Curves:
    share = {"addition": 0.5, "multiplication": 0.8, "sparse parity": 0.2}.get(where["arm"])
    train = rises((0, 0), (0.05 * horizon, 1))
    if share is not None:
        norm = rises((0, 13), (horizon, 2600))
        return {"train_accuracy": train, "test_accuracy": rises((0, 0), (share * horizon, 1)), "parameter_norm": norm}
    test = {"binary": rises((0, 0), (0.5 * horizon, 0.97)), "one-hot": level(0.01), "scalar": level(0.05)}
    return {
        "train_accuracy": level(0.1) if where["arm"] == "scalar" else train,
        "test_accuracy": test[where["arm"]],
    }


def fig05_curves(where: Any, horizon: float) -> Curves:
    return {
        "train_accuracy": rises((0, 0), (0.2 * horizon, 1)),
        f"alignment_gradient.{fig05.OUTPUT[where['arm']]}": rises((0.2 * horizon, 0), (0.3 * horizon, 0.9)),
    }


def fig06a_curves(where: Any, horizon: float) -> Curves:
    share = {"⊥AdamW": 0.3, "AdamW, decay 1.5": 0.6}.get(where["arm"])
    test = level(0.01) if share is None else rises((0.2 * horizon, 0), (share * horizon, 1))
    return {"train_accuracy": rises((0, 0), (0.1 * horizon, 1)), "test_accuracy": test}


def fig06b_curves(where: Any, horizon: float) -> Curves:
    by_arm = {"⊥AdamW": rises((100, 0), (200, 1)), "⊥SGD, StableMax": rises((300, 0), (400, 1)), "AdamW": level(0.01)}
    return {"test_accuracy": by_arm[where["arm"]]}


def fig06c_curves(where: Any, horizon: float) -> Curves:
    top = 0.3 * horizon
    return {
        "parameter_norm": rises((0, 13), (top, 60), (horizon, 40)),
        "test_loss": rises((0, 4.7), (1.03 * top, 20), (horizon, 0.5)),
        "test_accuracy": rises((top, 0), (horizon, 1)),
        "train_loss": rises((0, 4.7), (top, 0.01)),
    }


AS_STATED = [
    (fig01.FIGURE, fig01_curves),
    (fig02.FIGURE, fig02_curves),
    (fig04.FIGURE, fig04_curves),
    (fig05.FIGURE, fig05_curves),
    (fig06a.FIGURE, fig06a_curves),
    (fig06b.FIGURE, fig06b_curves),
    (fig06c.FIGURE, fig06c_curves),
]
each = pytest.mark.parametrize(("figure", "curves"), AS_STATED, ids=[figure.spaces[0] for figure, _ in AS_STATED])
each_size = pytest.mark.parametrize("size", [FULL, LAPTOP])


@each
@each_size
def test_the_papers_curves_are_met(figure: FigureSpec, curves: Any, size: str) -> None:
    found = figure.judged(made(figure, size, curves))
    assert found.status == MET, found.reason


@each
@each_size
def test_one_seed_is_no_verdict(figure: FigureSpec, curves: Any, size: str) -> None:
    assert figure.judged(made(figure, size, curves, seeds=1)).status == UNDECIDED


@each
@each_size
def test_too_short_is_undecided(figure: FigureSpec, curves: Any, size: str) -> None:
    found = figure.judged(made(figure, size, curves, until=0.04))
    assert found.status == UNDECIDED, found.reason


@each
def test_nothing_is_not_run(figure: FigureSpec, curves: Any) -> None:
    assert figure.judged(made(figure, FULL, curves, seeds=0)).status == NOT_RUN


def changed(curves: Any, arm: str | None, **others: Any) -> Any:
    """The curves with those of one arm (or of all) replaced; each given as horizon -> curve."""

    def found(where: Any, horizon: float) -> Curves:
        new = {name.replace("__", "."): make(horizon) for name, make in others.items()}
        return curves(where, horizon) | (new if arm in (None, where.get("arm")) else {})

    return found


REFUTED = [
    (fig01.FIGURE, "1a, ⊥AdamW", {"test_accuracy": lambda t: level(0.9)}, "1a, ⊥AdamW"),
    (fig01.FIGURE, "1a, AdamW", {"test_accuracy": lambda t: level(0.06)}, "1a, AdamW"),
    (fig01.FIGURE, "1b, StableMax", {"test_accuracy": lambda t: rises((0, 0), (t, 0.8))}, "1b, StableMax"),
    (fig01.FIGURE, "1b, StableMax", {"train_accuracy": lambda t: rises((0, 0), (0.4 * t, 1))}, "1b, and it does so"),
    (fig01.FIGURE, "1c, softmax", {"test_accuracy": lambda t: rises((0, 0), (t, 0.03))}, "1c, with softmax"),
    (fig02.FIGURE, "2a", {"test_accuracy": lambda t: level(0.03)}, "2a"),
    (fig02.FIGURE, "2c", {"test_accuracy": lambda t: rises((0, 0), (t / 10, 0.5))}, "2c, the final"),
    (fig02.FIGURE, "2c", {"sc_any_fraction": lambda t: rises((0, 0), (t / 5, 1))}, "2c, half of the rows"),
    (fig02.FIGURE, "2c", {"test_accuracy": lambda t: rises((0, 0), (t, 0.9))}, "2c, from then on"),
    (fig04.FIGURE, "sparse parity", {"test_accuracy": lambda t: level(0.9)}, "left, sparse parity"),
    (
        fig04.FIGURE,
        "multiplication",
        {"test_accuracy": lambda t: rises((0, 0), (t / 10, 1))},
        "left, multiplication is",
    ),
    (
        fig04.FIGURE,
        "addition",
        {"parameter_norm": lambda t: rises((0, 13), (t / 4, 3000), (t, 2000))},
        "middle, ‖θ‖ gr",
    ),
    (fig04.FIGURE, "one-hot", {"test_accuracy": lambda t: level(0.5)}, "right, one-hot"),
    (fig04.FIGURE, "binary", {"test_accuracy": lambda t: level(0.9)}, "right, binary"),
    (fig04.FIGURE, "scalar", {"train_accuracy": lambda t: level(0.9)}, "right, a scalar"),
    (fig05.FIGURE, "5b", {"alignment_gradient__weight_2": lambda t: level(0.7)}, "5b"),
    (fig05.FIGURE, "5c", {"alignment_gradient__unembed": lambda t: level(0.7)}, "5c"),
    (fig06a.FIGURE, "⊥AdamW", {"test_accuracy": lambda t: rises((0, 0), (0.9 * t, 1))}, "addition: ⊥AdamW"),
    (fig06a.FIGURE, "AdamW", {"test_accuracy": lambda t: level(0.1)}, "subtraction: AdamW without"),
    (fig06b.FIGURE, "⊥SGD, StableMax", {"test_accuracy": lambda t: level(0.97)}, "⊥SGD"),
    (fig06b.FIGURE, "⊥AdamW", {"test_accuracy": lambda t: rises((200, 0), (300, 1))}, "⊥AdamW"),
    (fig06c.FIGURE, None, {"parameter_norm": lambda t: rises((0, 13), (t, 60))}, "‖θ‖²"),
    (fig06c.FIGURE, None, {"test_loss": lambda t: rises((0, 4), (0.1 * t, 20), (t, 1))}, "it turns within"),
]


@pytest.mark.parametrize(
    ("figure", "arm", "others", "claim"),
    REFUTED,
    ids=[f"{figure.spaces[0]}-{claim}" for figure, _, _, claim in REFUTED],
)
@each_size
def test_each_claim_can_fail(figure: FigureSpec, arm: str | None, others: Any, claim: str, size: str) -> None:
    curves = changed({known.spaces[0]: stated for known, stated in AS_STATED}[figure.spaces[0]], arm, **others)
    found = figure.judged(made(figure, size, curves))
    assert found.status == NOT_MET
    failed = [part.text for part in found.claims if part.status == NOT_MET]
    assert any(text.startswith(claim) for text in failed), failed


def test_steps_of_the_paper_at_full_size_only() -> None:
    late = changed(fig01_curves, "1b, StableMax", test_accuracy=lambda t: rises((0.6 * t, 0), (0.9 * t, 1)))
    assert fig01.FIGURE.judged(made(fig01.FIGURE, FULL, late)).status == NOT_MET
    assert fig01.FIGURE.judged(made(fig01.FIGURE, LAPTOP, late)).status == MET
    light = changed(fig04_curves, None, parameter_norm=lambda t: rises((0, 13), (t, 130)))
    assert fig04.FIGURE.judged(made(fig04.FIGURE, FULL, light)).status == NOT_MET
    assert fig04.FIGURE.judged(made(fig04.FIGURE, LAPTOP, light)).status == MET


# --- the settings of the full size --------------------------------------------------------------------------------

PLAIN_ADAMW = {"betas": (0.9, 0.99), "eps": 1e-25}
STABLEMAX_ADDITION = GrokkingTrial(
    task=ModularAddition(p=113),
    loss=StableMaxCrossEntropy(),
    optimizer=AdamW(learning_rate=0.01, betas=(0.9, 0.999), eps=1e-25),
    horizon_steps=1,
)


def full(stem: str, **where: Any) -> list[GrokkingTrial]:
    """The configurations at full size at these coordinates, which are of five seeds each."""
    trials = load_space(space_path(stem), FULL).spec.trials()
    found = [t.config for t in trials if where.items() <= t.coordinates.items()]
    assert [config.seeds for config in found] == [Seeds.all(k) for k in range(5)]
    return found  # type: ignore[return-value]


def one(configs: Iterable[GrokkingTrial]) -> GrokkingTrial:
    """What they are alike but for their seeds."""
    (config,) = {config.replace(seeds=Seeds()) for config in configs}
    return config


def test_fig01_has_the_released_settings() -> None:
    arms = {arm: one(full("fig01_delay_and_its_cures", arm=arm)) for arm in ("1a, ⊥AdamW", "1a, AdamW", "1c, softmax")}
    for config in arms.values():
        assert (config.task, config.model, config.optimizer.learning_rate) == (ModularAddition(p=113), MLP(), 0.01)
    orthogonal, plain, softmax = arms.values()
    assert (orthogonal.gradient, orthogonal.optimizer) == (OrthogonalGradient(), AdamW(learning_rate=0.01))
    assert plain.optimizer == softmax.optimizer == AdamW(learning_rate=0.01, **PLAIN_ADAMW)
    assert (plain.gradient, plain.loss, softmax.loss.dtype) == (PlainGradient(), SoftmaxCrossEntropy(), "float64")
    assert [config.horizon_steps for config in arms.values()] == [300, 300, 80_000]
    control = one(full("fig01_delay_and_its_cures", arm="1c, softmax, β2 .999"))
    assert control == softmax.replace(optimizer=AdamW(learning_rate=0.01, betas=(0.9, 0.999), eps=1e-25))


def test_figs_1_and_4_share_a_trial() -> None:
    expected = [STABLEMAX_ADDITION.replace(seeds=Seeds.all(k)).trial_id for k in range(5)]
    for stem, arm, steps in (
        ("fig01_delay_and_its_cures", "1b, StableMax", 80_000),
        ("fig04_stablemax_tasks", "addition", 100_000),
    ):
        configs = full(stem, arm=arm)
        assert [config.trial_id for config in configs] == expected
        assert {config.horizon_steps for config in configs} == {steps}
        assert not configs[0].stopping.on_success


@pytest.mark.parametrize(("arm", "share", "eps"), [("2a", 0.4, 1e-30), ("2b", 0.6, 1e-25), ("2c", 0.7, 1e-25)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_fig02_has_the_released_settings(arm: str, share: float, eps: float, dtype: str) -> None:
    config = one(full("fig02_fraction_vs_dtype", arm=arm, **{"loss.dtype": dtype}))
    assert (config.task, config.model) == (ModularAddition(p=113, train_fraction=share), MLP())
    assert config.loss == SoftmaxCrossEntropy(dtype=dtype)
    assert config.optimizer == AdamW(learning_rate=5e-4, betas=(0.9, 0.99), eps=eps)
    assert config.horizon_steps == 20_000


def test_fig04_has_the_released_settings() -> None:
    arms = {
        arm: one(full("fig04_stablemax_tasks", arm=arm))
        for arm in ("multiplication", "sparse parity", "one-hot", "binary", "scalar")
    }
    assert arms["multiplication"].task == ModularMultiplication(p=113)
    assert arms["sparse parity"].task == SparseParity(bits=43, relevant=3, rows=2000, train_fraction=0.5)
    assert [arms[arm].optimizer.eps for arm in ("multiplication", "sparse parity")] == [1e-25, 1e-18]
    for arm in ("multiplication", "sparse parity"):
        assert (arms[arm].loss, arms[arm].horizon_steps) == (StableMaxCrossEntropy(dtype="float64"), 100_000)
        assert arms[arm].optimizer.betas == (0.9, 0.999)
    for arm, inputs in (("one-hot", OneHot()), ("binary", Binary()), ("scalar", Scalar())):
        config = arms[arm]
        assert config.task == ModularAddition(p=113, inputs=inputs)
        assert (config.loss, config.horizon_steps) == (SoftmaxCrossEntropy(dtype="float64"), 1000)
        assert config.optimizer == AdamW(learning_rate=0.02, **PLAIN_ADAMW)


def test_fig05_has_the_three_models() -> None:
    models = [one(full("fig05_alignment_mlp", arm=arm)).model for arm in ("5a", "5b")]
    assert models == [MLP(bias=True), MLP(bias=False)]
    config = one(full("fig05_alignment_transformer", arm="5c"))
    assert config.model == Transformer(width=128, heads=4, feed_forward=2048, norm="post", positions=False)
    assert config.optimizer == AdamW(learning_rate=0.001, **PLAIN_ADAMW)


@pytest.mark.parametrize("task", [ModularAddition, ModularSubtraction])
def test_fig06a_has_the_released_settings(task: type) -> None:
    stem, where = "fig06a_orthograd_transformer", {"task": task.__name__}
    orthogonal, decay, plain = (one(full(stem, arm=arm, **where)) for arm in ("⊥AdamW", "AdamW, decay 1.5", "AdamW"))
    for config in (orthogonal, decay, plain):
        assert config.task == task(p=113, train_fraction=0.4, inputs=Tokens())
        assert config.model == Transformer(
            width=128, heads=4, feed_forward=2048, norm="post", positions=False, dropout=0.1
        )
        assert config.horizon_steps == 2000
    assert (orthogonal.gradient, orthogonal.optimizer) == (OrthogonalGradient(), AdamW(learning_rate=0.001))
    assert decay.optimizer == AdamW(learning_rate=0.001, weight_decay=1.5, **PLAIN_ADAMW)
    assert plain.optimizer == AdamW(learning_rate=0.001, **PLAIN_ADAMW)


def test_fig06b_and_c_have_the_released_settings() -> None:
    stem = "fig06b_orthograd_mlp"
    adamw, sgd, plain = (one(full(stem, arm=arm)) for arm in ("⊥AdamW", "⊥SGD, StableMax", "AdamW"))
    assert (adamw.gradient, adamw.optimizer) == (OrthogonalGradient(), AdamW(learning_rate=0.005))
    assert (sgd.gradient, sgd.optimizer) == (OrthogonalGradient(), SGD(learning_rate=10.0, momentum=0.8))
    assert sgd.loss == StableMaxCrossEntropy(dtype="float64")
    assert (plain.gradient, plain.optimizer) == (PlainGradient(), AdamW(learning_rate=0.005, **PLAIN_ADAMW))
    with_decay = one(full("fig06c_sgd_with_decay"))
    assert with_decay.optimizer.momentum == 0.2  # type: ignore[attr-defined]
    assert with_decay.optimizer.weight_decay > 0  # type: ignore[attr-defined]
