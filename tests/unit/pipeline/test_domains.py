"""Values and domains of other packages: numpy's, torch's and Ray's, taken as what they hold."""

import functools
from typing import Any

import numpy as np
import pytest
import torch
from ray import tune

from pipeline.spec import Arm
from pipeline.spec.domains import Range, describe_domain, suggested
from tests.support.small_spaces import BASE, DECAY, coordinates, spec
from trainables.engine.config import plain
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD


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
