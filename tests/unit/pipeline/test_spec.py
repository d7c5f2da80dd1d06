"""The search space: its order, its coordinates, its draws, and one clear line for everything that is wrong in it."""

import functools
import json
import subprocess
import sys
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from ray import tune

from pipeline.spec import Arm, Objective, RunSettings, SpecError, SweepSpec
from pipeline.spec.domains import Range, describe_domain, suggested
from trainables.engine.config import plain
from trainables.engine.encodings import Tokens
from trainables.engine.events import ACCURACY_EVENTS, ACCURACY_PHASES, Outcome, outcome, rises_to
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.losses import SoftmaxCrossEntropy, StableMaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD, AdamW
from trainables.engine.probes import STANDARD
from trainables.engine.stopping import Stopping
from trainables.engine.tasks import ModularAddition
from trainables.engine.transformer import Transformer
from trainables.engine.trial import EverySteps, Seeds
from trainables.grokking import GrokkingTrial

BASE = GrokkingTrial(task=ModularAddition(p=7), model=MLP(hidden=(8,)), horizon_steps=100)
DECAY = "optimizer.weight_decay"
RATE = "optimizer.learning_rate"


def spec(**changes: Any) -> SweepSpec:
    return SweepSpec(**({"base": BASE} | changes))


def coordinates(space: SweepSpec) -> list[dict[str, Any]]:
    return [trial.coordinates for trial in space.trials()]


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
    trials = space.suggestion({RATE: 0.02})
    assert [trial.coordinates for trial in trials] == [{RATE: 0.02, "seed": k} for k in range(3)]
    assert {trial.config.optimizer.learning_rate for trial in trials} == {0.02}
    with pytest.raises(SpecError, match=r"must be of optimizer.learning_rate"):
        space.suggestion({DECAY: 1.0})
    with pytest.raises(SpecError, match=r"axis optimizer.learning_rate: .*must be above 0"):
        space.suggestion({RATE: -0.02})


def test_the_objective_is_the_restricted_mean_and_finite_whatever_happens() -> None:
    steps = np.arange(0, 101, 10)

    def at(reached: float, stop_reason: str | None = None) -> Outcome:
        columns = {"train_accuracy": np.ones(11), "test_accuracy": np.where(steps >= reached, 1.0, 0.0)}
        return outcome(steps, columns, ACCURACY_EVENTS, stop_reason=stop_reason)

    grokked, never, diverged = at(40), at(1000), at(1000, "diverged")
    objective = Objective(budget=1)
    assert objective.value([grokked], 100) == 35.0
    assert objective.value([grokked, never, diverged], 100) == pytest.approx((35 + 100 + 100) / 3)
    assert objective.value([grokked], 30) == 30.0
    assert Objective(budget=1, event="t_mem", threshold=0.99).value([grokked], 100) == 0.0


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


class Unseeded:
    """A domain that does not use the generator it is given."""

    def sample(self, *, random_state: np.random.Generator) -> float:
        return float(np.random.default_rng().uniform())


class Failing:
    """A domain whose own code fails."""

    def sample(self, *, random_state: np.random.Generator) -> float:
        raise RuntimeError("no luck")


GEN = ACCURACY_EVENTS[1]
COLLAPSE = rises_to("sc_any_fraction", 0.5, name="t_collapse")
ORTHOGONAL = {"gradient": OrthogonalGradient()}
BAD = {
    "unknown field": (
        {"axes": {"optimizer.wd": [0]}},
        "axis optimizer.wd: AdamW .* has no field 'wd'; allowed: betas,",
    ),
    "unknown parent": ({"axes": {"optimiser.eps": [1]}}, "axis optimiser.eps: .*no field 'optimiser'; allowed: .*task"),
    "field of a plain value": ({"axes": {"task.p.q": [1]}}, "axis task.p.q: task.p is a plain value"),
    "bad last value": (
        {"axes": {RATE: [0.1, 0.2], DECAY: [0, 1, -1]}},
        r"axis optimizer.weight_decay: AdamW.weight_decay = -1.0: must be at least 0",
    ),
    "wrong type": ({"axes": {"task.p": [7.5]}}, "axis task.p: .*p = 7.5: must be an integer"),
    "wrong component": ({"axes": {"gradient": [AdamW()]}}, "axis gradient: .*gradient = AdamW.*must be a GradientRule"),
    "infinite": ({"axes": {DECAY: [float("inf")]}}, "axis optimizer.weight_decay: .*must be finite"),
    "empty axis": ({"axes": {DECAY: []}}, r"axis optimizer.weight_decay = \[\]: must have at least one value"),
    "value twice": ({"axes": {DECAY: [1, 2, 1.0]}}, "axis optimizer.weight_decay: the value 1.0 appears twice"),
    "text as axis": ({"axes": {"loss.dtype": "float32"}}, "axis loss.dtype = 'float32': must be a list"),
    "a date from numpy": (
        {"axes": {DECAY: np.array(["2024-01-01"], dtype="datetime64[ns]")}},
        r"axis optimizer.weight_decay: the value np.datetime64\('2024-01-01.*\) is of type datetime64",
    ),
    "a duration": ({"axes": {DECAY: [np.timedelta64(3)]}}, "axis optimizer.weight_decay: .* of type timedelta64; must"),
    "a complex number": (
        {"axes": {DECAY: [np.complex64(1)]}},
        "axis optimizer.weight_decay: .*type complex64; must",
    ),
    "a masked array": (
        {"axes": {DECAY: np.ma.array([1, 2], mask=[0, 1])}},
        "axis optimizer.weight_decay = .*: must be a",
    ),
    "a set": (
        {"axes": {DECAY: [{1}]}},
        r"axis optimizer.weight_decay: the value \{1\} is of type set; must",
    ),
    "an array of no dimension": ({"axes": {DECAY: np.array(1.0)}}, "axis optimizer.weight_decay = 1.0: must be a list"),
    "a domain in a list": (
        {"axes": {DECAY: [tune.uniform(0, 1)]}},
        "axis optimizer.weight_decay: the value <.*Float object> is of type Float; must be a number",
    ),
    "a domain in a domain": (
        {"axes": {DECAY: tune.choice([tune.uniform(0, 1)])}, "samples": 1},
        r"axis optimizer.weight_decay = Uniform Categorical\[Uniform Float\(0, 1\)\]: draws another domain",
    ),
    "a domain in a component": (
        {"arms": [Arm(name="a", patch={DECAY: tune.uniform(0, 1)})]},
        "arm 'a', axis optimizer.weight_decay: .* = <.*Float object>: must be a number",
    ),
    "a float that no float holds": ({"axes": {DECAY: [10**400]}}, "axis optimizer.weight_decay: .*: must be finite"),
    "an integer of thousands of digits": (
        {"axes": {"task.p": [10**5000]}},
        "axis task.p: .*16610 bits: must be",
    ),
    "an integer beyond 64 bits": ({"axes": {"task.p": [2**63]}}, "axis task.p: .*must be at most 9223372036854775807 "),
    "more steps than a ledger counts": (
        {"arms": [Arm(name="a", patch={"horizon_steps": 2**40})]},
        "arm 'a', axis horizon_steps: .*must be at most 1099511627775",
    ),
    "a number as an arm's patch": ({"arms": [Arm(name="a", patch=3)]}, "arm 'a', patch = 3: must be a dict"),
    "an arm's name of two lines": ({"arms": [Arm(name="a\nb")]}, r"arm 0: name = 'a\\nb': must be of printable"),
    "half a letter": ({"axes": {"loss.dtype": ["\ud800"]}}, r"axis loss.dtype: .*'\\ud800': must be of printable"),
    "number as axis": ({"axes": {DECAY: 3}}, "axis optimizer.weight_decay = 3: must be a list of values or a tune"),
    "grid_search": ({"axes": {DECAY: tune.grid_search([1])}}, "axis optimizer.weight_decay = .*: must be a list"),
    "axes as list": ({"axes": [DECAY]}, "axes = .*: must be a dict"),
    "path of no text": ({"axes": {3: [1]}}, "axis 3: must be a dotted path"),
    "horizon as axis": (
        {"axes": {"horizon_steps": [1, 2]}},
        "axis horizon_steps: sets how a trial is measured, so it cannot be an axis; set it on base or in a patch",
    ),
    "stopping as an arm's axis": (
        {"arms": [Arm(name="a", axes={"stopping.on_success": [True, False]})]},
        "arm 'a', axis stopping.on_success: .* set it on base or in a patch",
    ),
    "arms that differ in the protocol only": (
        {"arms": [Arm(name="a"), Arm(name="b", patch={"horizon_steps": 50})]},
        "two trials are the same: arm = 'a' and arm = 'b'",
    ),
    "a bad horizon in a patch": (
        {"arms": [Arm(name="a", patch={"horizon_steps": 0})]},
        "arm 'a', .*horizon_steps = 0: must be at least 1",
    ),
    "seeds twice": ({"axes": {"seeds.split": [0, 1]}, "seeds": [0]}, "axis seeds.split: .*seeds must be None"),
    "seeds in a patch": (
        {"arms": [Arm(name="a", patch={"seeds.init": 1})], "seeds": [0]},
        "arm 'a', patch seeds.init: .*seeds must be None",
    ),
    "arm without name": ({"arms": [Arm(name="")]}, "arm 0: name = '': must be a string"),
    "arms of one name": (
        {"arms": [Arm(name="a"), Arm(name="a", patch=ORTHOGONAL)]},
        "arm 'a': the name appears twice",
    ),
    "arms of one content": (
        {"arms": [Arm(name="a"), Arm(name="b")]},
        "two trials are the same: arm = 'a' and arm = 'b'",
    ),
    "one arm, not a list": ({"arms": Arm(name="a")}, "arms = .*: must be a list of Arm"),
    "unknown path in a patch": (
        {"arms": [Arm(name="a", patch={"optimizer.wd": 1})]},
        "arm 'a', .*optimizer.wd: .*no field 'wd'",
    ),
    "bad value in a patch": (
        {"arms": [Arm(name="a"), Arm(name="b", patch={"optimizer.eps": 0})]},
        "arm 'b', .*AdamW.eps = 0.0: must be above 0",
    ),
    "axis in patch and axes": (
        {"arms": [Arm(name="a", patch={DECAY: 1}, axes={DECAY: [0, 1]})]},
        "arm 'a', axis optimizer.weight_decay: is in its patch too",
    ),
    "axis in arm and space": (
        {"arms": [Arm(name="a", axes={DECAY: [0, 1]})], "axes": {DECAY: [0, 1]}},
        "arm 'a', axis optimizer.weight_decay: is in the space's axes too",
    ),
    "patch of a space's axis": (
        {"arms": [Arm(name="a", patch={DECAY: 1})], "axes": {DECAY: [0, 1]}},
        "arm 'a', patch optimizer.weight_decay: is an axis of the space too",
    ),
    "axis that an arm's component lacks": (
        {"arms": [Arm(name="a", patch={"optimizer": SGD()})], "axes": {"optimizer.eps": [1e-8, 1e-9]}},
        "arm 'a', axis optimizer.eps: SGD .*no field 'eps'",
    ),
    "sampled axis of an arm": (
        {"arms": [Arm(name="a", axes={DECAY: tune.uniform(0, 1)})]},
        "arm 'a', axis optimizer.weight_decay: a sampled axis must be one of the space's axes",
    ),
    "same rows by two axes": (
        {"axes": {"task": [ModularAddition(p=7), ModularAddition(p=5)], "task.p": [5, 7]}},
        "two trials are the same: task = .*task.p = 5",
    ),
    "sampled without samples": (
        {"axes": {DECAY: tune.uniform(0, 1)}},
        "axis optimizer.weight_decay: .*samples must be",
    ),
    "samples without sampled": ({"axes": {DECAY: [1]}, "samples": 3}, "samples = 3: no axis is sampled"),
    "negative samples": ({"samples": -1}, "samples = -1: must be an integer of at least 0"),
    "unseeded domain": ({"axes": {DECAY: Unseeded()}, "samples": 2}, "axis optimizer.weight_decay = Unseeded: ignores"),
    "unseeded function": (
        {"axes": {DECAY: tune.sample_from(lambda: float(np.random.default_rng().uniform()))}, "samples": 2},
        r"axis optimizer.weight_decay = Function\(<lambda>\): ignores its random_state",
    ),
    "failing domain": (
        {"axes": {DECAY: Failing()}, "samples": 1},
        r"axis optimizer.weight_decay = Failing: cannot be sampled \(no luck\)",
    ),
    "bad draw": ({"axes": {DECAY: tune.uniform(-2, -1)}, "samples": 1}, "axis optimizer.weight_decay: .*at least 0"),
    "objective, none sampled": ({"objective": Objective(budget=3)}, "objective: no axis is sampled"),
    "objective and samples": (
        {"axes": {DECAY: tune.uniform(0, 1)}, "samples": 2, "objective": Objective(budget=3)},
        "samples = 2: must be 0 beside an objective",
    ),
    "objective and grid": (
        {"axes": {DECAY: tune.uniform(0, 1), RATE: [0.1]}, "objective": Objective(budget=3)},
        "axis optimizer.learning_rate: must be a tune",
    ),
    "objective and arms": (
        {"axes": {DECAY: tune.uniform(0, 1)}, "arms": [Arm(name="a")], "objective": Objective(budget=3)},
        "arms: must be empty beside an objective",
    ),
    "objective and component": (
        {"axes": {"optimizer": tune.choice([SGD(), AdamW()])}, "objective": Objective(budget=3)},
        "axis optimizer = .*: must be a number or a string",
    ),
    "objective and a normal distribution": (
        {"axes": {DECAY: tune.randn(4.0, 0.1)}, "objective": Objective(budget=3)},
        r"axis optimizer.weight_decay = Normal\(4.0, 0.1\) Float\(-inf, inf\): is .*; must be uniform",
    ),
    "objective and steps of a logarithm": (
        {"axes": {DECAY: tune.qloguniform(0.1, 10, 0.1)}, "objective": Objective(budget=3)},
        r"axis optimizer.weight_decay = Quantized\(0.1\) LogUniform Float\(0.1, 10\): is not something that Optuna",
    ),
    "objective and a function": (
        {"axes": {DECAY: tune.sample_from(lambda: 1.0)}, "objective": Objective(budget=3)},
        r"axis optimizer.weight_decay = Function\(<lambda>\): is not something that Optuna can suggest",
    ),
    "objective and one bad choice of many": (
        {"axes": {DECAY: tune.choice([*range(99), -1])}, "objective": Objective(budget=3)},
        "axis optimizer.weight_decay: .*weight_decay = -1.0: must be at least 0",
    ),
    "objective and a bad end": (
        {"axes": {DECAY: tune.uniform(-0.01, 99)}, "objective": Objective(budget=3)},
        "axis optimizer.weight_decay: .*weight_decay = -0.00.*: must be at least 0",
    ),
    "objective with a bad draw": (
        {"axes": {DECAY: tune.uniform(-2, -1)}, "objective": Objective(budget=3)},
        "axis optimizer.weight_decay: .*at least 0",
    ),
    "objective of another type": (
        {"axes": {DECAY: tune.uniform(0, 1)}, "objective": "t_gen"},
        "objective = 't_gen': must be Objective",
    ),
    "base of another type": ({"base": MLP()}, "base = MLP.*: must be a trial"),
    "seeds as a number": ({"seeds": 5}, r"seeds = 5: must be a list such as range\(5\)"),
    "no seeds": ({"seeds": []}, r"seeds = \[\]: must be different from each other, and at least one"),
    "equal seeds": ({"seeds": [1, 1]}, r"seeds = \[1, 1\]: must be different"),
    "negative seed": ({"seeds": [0, -1]}, "seeds = -1: must be an integer of at least 0"),
    "a seed beyond 64 bits": (
        {"seeds": [2**63]},
        r"seeds = 9223372036854775808: must be at most 9223372036854775807",
    ),
    "too many seeds": ({"seeds": range(2**70)}, r"seeds = range\(0, .*\): must have at most 1000000 values"),
    "too many trials": (
        {"seeds": range(10**4), "axes": {RATE: [*range(1, 102)]}},
        "the space has 1010000",
    ),
    "a sampling seed beyond 64 bits": ({"sampling_seed": 2**64}, "sampling_seed = .*: must be at most"),
    "seeds in a table": ({"seeds": np.ones((2, 2), dtype=int)}, r"seeds = \(1, 1\): must be an integer"),
    "measurements without end": (
        {"base": BASE.replace(measuring=EverySteps(every_steps=1), horizon_steps=10**12)},
        "EverySteps.every_steps = 1: makes more than 10000000 measurements",
    ),
    "bool seed": ({"seeds": [True]}, "seeds = True: must be an integer"),
    "settings as a dict": ({"settings": {"workers": 3}}, r"settings = \{.*\}: must be RunSettings\(...\)"),
}


def test_numpys_values_are_what_they_hold_at_any_depth() -> None:
    """The same identities as with Python's own values; a float32 is the number that it holds."""
    plain = spec(
        base=BASE.replace(model=MLP(hidden=(8, 4)), horizon_steps=90),
        axes={DECAY: [0.5, 1.0], "model.hidden": [(8, 8), (16, 16)], "model.bias": [True, False]},
        arms=[Arm(name="a", patch={"optimizer.betas": (0.5, 0.75), "horizon_steps": 80}, axes={"task.p": [5, 7]})],
        seeds=[0, 3],
    )
    numpys = spec(
        base=BASE.replace(model=MLP(hidden=np.array([8, 4], dtype=np.int8)), horizon_steps=np.uint16(90)),
        axes={
            DECAY: torch.tensor([0.5, 1.0]),
            "model.hidden": np.array([[8, 8], [16, 16]], dtype=np.uint8),
            "model.bias": [np.bool_(True), np.array(False)],
        },
        arms=[
            Arm(
                name=np.str_("a"),
                patch={"optimizer.betas": np.array([0.5, 0.75], dtype=np.float16), "horizon_steps": np.int64(80)},
                axes={"task.p": (np.int64(5), torch.tensor(7))},
            )
        ],
        seeds=np.array([0, 3], dtype=np.uint64),
    )
    assert [t.config.trial_id for t in numpys.trials()] == [t.config.trial_id for t in plain.trials()]
    assert (coordinates(numpys), numpys.axes_json()) == (coordinates(plain), plain.axes_json())
    assert coordinates(spec(axes={DECAY: [np.float32(0.1)]})) == [{DECAY: 0.10000000149011612}]
    sampled = spec(axes={"loss.dtype": tune.choice(np.array(["float32", "float64"]))}, samples=np.int64(2))
    assert {type(value) for point in coordinates(sampled) for value in point.values()} == {str}


def function(*arguments: Any, lower: Any = None) -> float:
    return 0.5


def test_the_text_of_a_domain_is_its_content_and_has_no_address() -> None:
    domains = {
        "Uniform Float(0, 4)": tune.uniform(0, np.int64(4)),
        "Quantized(0.5) Uniform Float(0.0, 4.0)": tune.quniform(0.0, 4.0, 0.5),
        "LogUniform Float(0.0001, 0.1)": tune.loguniform(1e-4, 1e-1),
        "Quantized(0.1) LogUniform Float(0.1, 1.0)": tune.qloguniform(0.1, 1.0, 0.1),
        "Normal(4.0, 0.1) Float(-inf, inf)": tune.randn(4.0, 0.1),
        "Quantized(0.5) Normal(4.0, 0.1) Float(-inf, inf)": tune.qrandn(4.0, 0.1, 0.5),
        "Uniform Integer(1, 9)": tune.randint(1, 9),
        "Quantized(2) Uniform Integer(2, 8)": tune.qrandint(2, 8, 2),
        "LogUniform Integer(1, 9)": tune.lograndint(1, 9),
        "Uniform Categorical['a', 1, (2, 3), SGD(momentum=0.5), Uniform Float(0, 1)]": tune.choice(
            ["a", np.int64(1), np.array([2, 3]), SGD(momentum=0.5), tune.uniform(0, 1)]
        ),
        "Function(function)": tune.sample_from(function),
        "Function(function(3, lower=Uniform Float(0, 1)))": tune.sample_from(
            functools.partial(function, 3, lower=tune.uniform(0, 1))
        ),
        "Steps(low=1.0, high=(2, 3))": Steps(np.float64(1), np.array([2, 3])),
    }
    assert [describe_domain(domain) for domain in domains.values()] == list(domains)


class Steps:
    """A domain of the user's own."""

    def __init__(self, low: float, high: object) -> None:
        self.low, self.high, self._drawn = low, high, object()

    def sample(self, *, random_state: np.random.Generator) -> float:
        return self.low


@pytest.mark.parametrize(
    ("domain", "values"),
    [
        (tune.uniform(0, 4), Range(0.0, 4.0)),
        (tune.quniform(0, 4, 0.5), Range(0.0, 4.0, 0.5)),
        (tune.loguniform(1e-3, 1), Range(1e-3, 1.0, log=True)),
        (tune.randint(3, 9), Range(3, 8, 1)),
        (tune.lograndint(3, 9), Range(3, 8, log=True)),
        (tune.qrandint(3, 9, 4), Range(4, 8, 4)),
        (tune.choice([np.int64(3), np.str_("a"), None, np.bool_(True)]), (3, "a", None, True)),
    ],
)
def test_optuna_suggests_what_ray_would_draw(domain: Any, values: Any) -> None:
    assert suggested(domain, "x") == values
    drawn = {plain(domain.sample(random_state=np.random.default_rng(k))) for k in range(200)}
    low, high = (min(drawn), max(drawn)) if isinstance(values, Range) else (0, 0)
    if isinstance(values, Range):
        assert values.low <= low <= high <= values.high
        assert isinstance(low, float) or (low, high) == (values.low, values.high)
    else:
        assert drawn == set(values)


@pytest.mark.parametrize("case", BAD)
def test_anything_bad_is_one_line_with_the_place_and_what_is_allowed(case: str) -> None:
    changes, message = BAD[case]
    with pytest.raises(SpecError, match=f"^{message}") as caught:
        spec(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": 0}, "objective.budget = 0: must be an integer of at least 1"),
        ({"budget": 2**63}, "objective.budget = 9223372036854775808: must be at most 9223372036854775807"),
        (
            {"budget": 1, "sampler": optuna.samplers.RandomSampler},
            "objective.sampler = <class .*: must be an Optuna",
        ),
        ({"budget": 1, "sampler": "tpe"}, "objective.sampler = 'tpe': must be an Optuna sampler, such as"),
        ({"budget": 1, "event": "t_x"}, "objective.event = 't_x': must be one of"),
        ({"budget": 1, "threshold": 0.42}, "objective.threshold = 0.42: must be one of 0.5, 0.9, 0.95, 0.99 for t_gen"),
    ],
)
def test_a_bad_objective(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{message}"):
        spec(axes={RATE: tune.loguniform(1e-4, 1e-1)}, objective=Objective(**changes))
