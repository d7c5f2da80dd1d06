"""One clear line for everything that is wrong in a search space."""

from typing import Any

import numpy as np
import optuna
import pytest
from ray import tune

from pipeline.spec import Arm, Objective, SpecError
from tests.support.small_spaces import BASE, DECAY, RATE, spec
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD, AdamW
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import EverySteps


class Unseeded:
    """A domain that does not use the generator it is given."""

    def sample(self, *, random_state: np.random.Generator) -> float:
        return float(np.random.default_rng().uniform())


class Failing:
    """A domain whose own code fails."""

    def sample(self, *, random_state: np.random.Generator) -> float:
        raise RuntimeError("no luck")


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
