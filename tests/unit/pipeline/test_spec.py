"""The search space: its order, its coordinates and its draws."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from ray import tune

from pipeline.spec import Arm, Objective, RunSettings, SpecError
from tests.support.small_spaces import BASE, DECAY, RATE, coordinates, spec
from trainables.engine.encodings import Tokens
from trainables.engine.events import ACCURACY_EVENTS, ACCURACY_PHASES, Outcome, falls_to, outcome, rises_to
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.losses import SoftmaxCrossEntropy, StableMaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD
from trainables.engine.probes import STANDARD
from trainables.engine.stopping import Stopping
from trainables.engine.transformer import Transformer
from trainables.engine.trial import Seeds

GEN = ACCURACY_EVENTS[1]
COLLAPSE = rises_to("sc_any_fraction", 0.5, name="t_collapse")
ORTHOGONAL = {"gradient": OrthogonalGradient()}


def test_a_space_without_axes_is_its_base() -> None:
    (trial,) = spec().trials()
    assert trial.config == BASE
    assert trial.coordinates == {}


def test_the_last_axis_varies_fastest_and_the_seeds_fastest_of_all() -> None:
    space = spec(axes={DECAY: [0, 1], "task.train_fraction": [0.4, 0.5]}, seeds=[3, 5])
    assert coordinates(space)[:5] == [
        {DECAY: 0.0, "task.train_fraction": 0.4, "seed": 3},
        {DECAY: 0.0, "task.train_fraction": 0.4, "seed": 5},
        {DECAY: 0.0, "task.train_fraction": 0.5, "seed": 3},
        {DECAY: 0.0, "task.train_fraction": 0.5, "seed": 5},
        {DECAY: 1.0, "task.train_fraction": 0.4, "seed": 3},
    ]
    last = space.trials()[-1].config
    assert (last.optimizer.weight_decay, last.task.train_fraction, last.seeds) == (1.0, 0.5, Seeds.all(5))


def test_an_arm_may_ask_for_more_and_the_overrides_cap_every_arm() -> None:
    space = spec(
        arms=[
            Arm(name="short", patch={"stopping.on_success": False}),
            Arm(name="long", patch=ORTHOGONAL | {"horizon_steps": 3000, "probes": STANDARD[:1]}),
        ]
    )
    short, long = (trial.config for trial in space.trials())
    assert (short.horizon_steps, short.stopping) == (100, Stopping(on_success=False))
    assert (long.horizon_steps, long.stopping, long.probes) == (3000, Stopping(), STANDARD[:1])
    assert space.horizon_steps == 3000
    assert long.trial_id == BASE.replace(gradient=OrthogonalGradient()).trial_id
    capped = space.with_overrides(max_steps=200)
    assert [trial.config.horizon_steps for trial in capped.trials()] == [100, 200]
    assert capped.horizon_steps == 200
    assert [trial.config.horizon_steps for trial in space.with_overrides(max_steps=50).trials()] == [50, 50]


def test_coordinates_are_the_values_that_the_configuration_holds() -> None:
    (trial,) = spec(axes={DECAY: [np.int64(2)], "optimizer.betas": [[0.9, 0.99]], "model.bias": [True]}).trials()
    assert trial.coordinates == {DECAY: 2.0, "optimizer.betas": "(0.9, 0.99)", "model.bias": True}
    assert isinstance(trial.coordinates[DECAY], float)
    json.dumps(trial.coordinates, allow_nan=False)


def test_arms_set_fields_together_and_are_not_crossed_with_each_others_axes() -> None:
    space = spec(
        arms=[
            Arm(name="decay", axes={DECAY: [0, 1]}),
            Arm(name="⊥", patch={"gradient": OrthogonalGradient(), "optimizer.betas": (0.9, 0.99)}),
        ],
        axes={RATE: [0.01, 0.02]},
        seeds=range(2),
    )
    trials = space.trials()
    assert len(trials) == (2 * 2 + 2) * 2
    assert trials[0].coordinates == {"arm": "decay", RATE: 0.01, DECAY: 0.0, "seed": 0}
    assert trials[-1].coordinates == {"arm": "⊥", RATE: 0.02, "seed": 1}
    assert trials[-1].config.gradient == OrthogonalGradient()
    assert trials[-1].config.optimizer.betas == (0.9, 0.99)
    assert trials[0].config.optimizer.betas == (0.9, 0.999)


def test_a_component_is_set_before_the_fields_inside_it_whatever_the_order() -> None:
    space = spec(axes={"optimizer.momentum": [0.0, 0.8], "optimizer": [SGD(), SGD(nesterov=True)]})
    assert {(trial.config.optimizer.momentum, trial.config.optimizer.nesterov) for trial in space.trials()} == {
        (0.0, False),
        (0.0, True),
        (0.8, False),
        (0.8, True),
    }


def test_components_are_labelled_by_class_and_told_apart_where_classes_repeat() -> None:
    assert [c["loss"] for c in coordinates(spec(axes={"loss": [SoftmaxCrossEntropy(), StableMaxCrossEntropy()]}))] == [
        "SoftmaxCrossEntropy",
        "StableMaxCrossEntropy",
    ]
    assert [c["model"] for c in coordinates(spec(axes={"model": [MLP(), MLP(hidden=(4,), bias=True)]}))] == [
        "MLP()",
        "MLP(hidden=(4,), bias=True)",
    ]


def test_seeds_may_vary_separately_as_axes() -> None:
    trials = spec(axes={"seeds.split": range(2), "seeds.init": range(3)}).trials()
    assert [(trial.config.seeds.split, trial.config.seeds.init) for trial in trials] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
        (1, 2),
    ]


SAMPLED = {
    RATE: tune.loguniform(1e-4, 1e-1),
    DECAY: tune.uniform(0, 4),
    "task.p": tune.randint(5, 30),
    "loss.dtype": tune.choice(["float32", "float64"]),
}


def test_draws_are_a_pure_function_of_the_space() -> None:
    first, again = (spec(axes=SAMPLED, samples=20, sampling_seed=4) for _ in "12")
    assert coordinates(first) == coordinates(again)
    assert coordinates(first) != coordinates(spec(axes=SAMPLED, samples=20, sampling_seed=5))
    rates = [c[RATE] for c in coordinates(first)]
    assert all(1e-4 <= rate <= 1e-1 for rate in rates)
    assert len(set(rates)) == 20
    assert {c["loss.dtype"] for c in coordinates(first)} == {"float32", "float64"}


def test_more_samples_and_more_axes_keep_the_earlier_draws() -> None:
    few = coordinates(spec(axes=SAMPLED, samples=7))
    assert coordinates(spec(axes=SAMPLED, samples=30))[:7] == few
    without = {path: domain for path, domain in SAMPLED.items() if path != "task.p"}
    shorter = coordinates(spec(axes=without, samples=7))
    assert [{path: c[path] for path in without} for c in few] == shorter


def test_axes_of_one_domain_are_drawn_independently() -> None:
    unit = tune.uniform(0, 1)
    drawn = np.array([list(c.values()) for c in coordinates(spec(axes={DECAY: unit, RATE: unit}, samples=50))])
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.4


def test_draws_are_distinct_and_an_exhausted_domain_is_said() -> None:
    drawn = [c["task.p"] for c in coordinates(spec(axes={"task.p": tune.randint(5, 10)}, samples=5))]
    assert sorted(drawn) == [5, 6, 7, 8, 9]
    with pytest.raises(SpecError, match=r"^samples = 6: .* only 5 distinct draws; .*grid"):
        spec(axes={"task.p": tune.randint(5, 10)}, samples=6)


def test_draws_are_joint_paired_over_arms_and_crossed_with_the_grid() -> None:
    space = spec(
        axes={RATE: tune.loguniform(1e-4, 1e-1), "task.train_fraction": [0.4, 0.6]},
        arms=[Arm(name="a"), Arm(name="b", patch={"gradient": OrthogonalGradient()})],
        samples=3,
        seeds=range(2),
    )
    assert len(space.trials()) == 2 * 2 * 3 * 2
    by_arm = {name: [c[RATE] for c in coordinates(space) if c["arm"] == name] for name in "ab"}
    assert by_arm["a"] == by_arm["b"]
    assert len(set(by_arm["a"])) == 3


def test_an_objective_gives_trials_by_suggestion_only() -> None:
    space = spec(axes={RATE: tune.loguniform(1e-4, 1e-1)}, objective=Objective(budget=5), seeds=range(3))
    assert space.trials() == []
    assert list(space.sampled_axes()) == [RATE]
    assert json.loads(space.axes_json())["suggested"] is True
    trials = space.suggestion({RATE: 0.02})
    assert [trial.coordinates for trial in trials] == [{RATE: 0.02, "seed": k} for k in range(3)]
    assert {trial.config.optimizer.learning_rate for trial in trials} == {0.02}
    with pytest.raises(SpecError, match=r"must be of optimizer.learning_rate"):
        space.suggestion({DECAY: 1.0})
    with pytest.raises(SpecError, match=r"axis optimizer.learning_rate: .*must be above 0"):
        space.suggestion({RATE: -0.02})


STEPS = np.arange(0, 101, 10)


def test_the_objective_is_the_restricted_mean_and_finite_whatever_happens() -> None:
    def at(reached: float, stop_reason: str | None = None) -> Outcome:
        columns = {"train_accuracy": np.ones(11), "test_accuracy": np.where(reached <= STEPS, 1.0, 0.0)}
        return outcome(STEPS, columns, ACCURACY_EVENTS, stop_reason=stop_reason)

    grokked, never, diverged = at(40), at(1000), at(1000, "diverged")
    objective = Objective(budget=1)
    assert objective.restricted_mean([grokked], 100) == 35.0
    assert objective.restricted_mean([grokked, never, diverged], 100) == pytest.approx((35 + 100 + 100) / 3)
    assert objective.restricted_mean([grokked], 30) == 30.0
    # A hold that is unfinished at tau is no event by tau: 40, 50 and 60 are three in a row.
    assert [objective.restricted_mean([grokked], tau) for tau in (50, 60)] == [50.0, 35.0]
    assert Objective(budget=1, event="t_mem", threshold=0.99).restricted_mean([grokked], 100) == 0.0


def test_a_suggestion_without_the_event_is_told_by_its_own_column() -> None:
    """Whichever way the column goes, and whatever it is; the sampler gets a signal, and only among equals."""
    fit = falls_to("test_loss", 0.1, name="t_fit")
    relapse = falls_to("test_loss", 0.1, name="t_again", after="t_gen")
    rules = (ACCURACY_EVENTS[1], fit, relapse)

    def ended(accuracy: float, loss: float, stop_reason: str | None = None) -> tuple[Outcome, dict[str, float]]:
        columns = {"test_accuracy": np.full(11, accuracy), "test_loss": np.full(11, loss)}
        return outcome(STEPS, columns, rules, stop_reason=stop_reason), {"test_accuracy": accuracy, "test_loss": loss}

    def short(event: str, *trials: tuple) -> float:
        pairs = [ended(*trial) for trial in trials]
        return Objective(budget=1, event=event).tie_break(*zip(*pairs, strict=True), 100)

    near, half, far = (distance / (1 + distance) for distance in (0.01, 0.45, 0.95))
    assert [short("t_gen", (value, 5.0)) for value in (0.94, 0.5, 0.0)] == pytest.approx([near, half, far])
    assert short("t_gen", (0.0, 5.0), (1.0, 5.0), (0.55, 5.0)) == pytest.approx(half)
    assert [short("t_fit", (0.9, value)) for value in (0.05, 0.2, 1e9)] == pytest.approx([0.0, 0.1 / 1.1, 1.0])
    assert short("t_fit", (0.9, 0.2, "diverged")) == short("t_fit", (0.9, math.inf)) == 1.0
    # Before it can fall again, it has to have generalised.
    assert short("t_again", (0.94, 0.05)) == pytest.approx(1 + near)
    assert short("t_again", (1.0, 0.2)) == pytest.approx(0.1 / 1.1)


def test_overrides_cap_the_horizon_and_count_the_seeds() -> None:
    space = spec(axes={DECAY: [0, 1]}, seeds=[7], settings=RunSettings(workers=2))
    small = space.with_overrides(max_steps=10, seeds=3)
    assert {trial.config.horizon_steps for trial in small.trials()} == {10}
    assert [c["seed"] for c in coordinates(small)] == [0, 1, 2] * 2
    assert small.settings.workers == 2
    assert {trial.config.horizon_steps for trial in space.with_overrides(max_steps=10**6).trials()} == {100}
    assert coordinates(space.with_overrides()) == coordinates(space)
    with pytest.raises(SpecError, match=r"^max-steps = 0: must be an integer of at least 1"):
        space.with_overrides(max_steps=0)


def test_raising_the_horizon_keeps_every_trial_id() -> None:
    space = spec(axes={DECAY: [0, 1]}, seeds=range(2))
    longer = spec(axes={DECAY: [0, 1]}, seeds=range(2), base=BASE.replace(horizon_steps=200))
    assert [t.config.trial_id for t in space.trials()] == [t.config.trial_id for t in longer.trials()]


def test_an_arm_sets_a_task_and_a_model_that_fit_only_each_other() -> None:
    """Tokens are for the transformer alone, and it takes nothing else: neither could be set first."""
    changes = {"task": BASE.task.replace(inputs=Tokens()), "model": Transformer(width=8, heads=2, feed_forward=8)}
    (trial,) = spec(arms=[Arm(name="transformer", patch=changes)], seeds=None).trials()
    assert (trial.config.task.inputs, trial.config.model) == (Tokens(), changes["model"])  # type: ignore[attr-defined]
    with pytest.raises(SpecError, match=r"arm 'half', axis task: MLP: cannot read tokens"):
        spec(arms=[Arm(name="half", patch={"task": changes["task"]})])


def test_contrasts_are_pairs_of_arms() -> None:
    arms = [Arm(name="decay", axes={DECAY: [0, 1]}), Arm(name="⊥", patch={"gradient": OrthogonalGradient()})]
    space = spec(arms=arms, contrasts=[["⊥", "decay"]])
    assert space.contrasts == (("⊥", "decay"),)
    assert json.loads(space.axes_json())["contrasts"] == [["⊥", "decay"]]
    assert "contrasts" not in json.loads(spec(arms=arms).axes_json())
    for bad in ("decay", ("decay", "decay"), ("decay", "Adam"), ("decay",), ({}, [])):
        with pytest.raises(
            SpecError, match=r"^contrasts: .*must be a pair of two different arms; allowed: 'decay', '⊥'"
        ):
            spec(arms=arms, contrasts=[bad])
    with pytest.raises(SpecError, match="allowed: none, for the space has no arms"):
        spec(contrasts=[("a", "b")])


def test_axes_json_says_the_axes_in_order() -> None:
    space = spec(
        axes={"task.train_fraction": [0.4, 0.6], RATE: tune.loguniform(1e-4, 1e-1)},
        samples=2,
        arms=[
            Arm(name="decay", axes={DECAY: [1, 0]}),
            Arm(
                name="⊥", patch={"gradient": OrthogonalGradient(), "horizon_steps": 70, "events": (GEN,), "phases": ()}
            ),
        ],
        seeds=range(2),
    )
    declared = {"events": [rule.to_json() for rule in ACCURACY_EVENTS]}
    declared |= {"phases": [rule.to_json() for rule in ACCURACY_PHASES]}
    assert (
        json.loads(space.axes_json())
        == {
            "axes": [
                {"path": "task.train_fraction", "kind": "grid", "values": [0.4, 0.6]},
                {"path": RATE, "kind": "sampled", "domain": "LogUniform Float(0.0001, 0.1)"},
            ],
            "arms": [
                {"name": "decay", "axes": [{"path": DECAY, "kind": "grid", "values": [1.0, 0.0]}], "horizon_steps": 100}
                | declared,
                {"name": "⊥", "axes": [], "horizon_steps": 70, "events": [GEN.to_json()], "phases": []},
            ],
            "seeds": [0, 1],
            "horizon_steps": 100,
        }
        | declared
    )


def test_an_events_column_must_be_measured() -> None:
    odd = {**ORTHOGONAL, "events": (rises_to("sc_fraction", 0.5, name="t_collapse"),), "phases": ()}
    with pytest.raises(
        SpecError, match=r"^arm 'b': events: t_collapse looks at column 'sc_fraction', .* one of: train_loss"
    ):
        spec(arms=[Arm(name="a"), Arm(name="b", patch=odd)])
    assert spec(arms=[Arm(name="a"), Arm(name="b", patch=odd | {"events": (COLLAPSE,)})]).trials()


def test_the_specification_needs_neither_ray_nor_torch() -> None:
    code = (
        "import sys, pipeline.spec, pipeline.plan; print([n for n in ('ray', 'torch', 'mlflow') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
