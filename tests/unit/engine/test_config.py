"""Configurations: identity, validation and dotted paths."""

import json
import subprocess
import sys

import numpy as np
import pytest

from trainables.engine.config import ConfigError, canonical_json, from_json, per_trial_paths, replace_at, value_at
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.losses import Loss, SoftmaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD, AdamW
from trainables.engine.stopping import Stopping
from trainables.engine.tasks import ModularAddition, ModularSubtraction
from trainables.engine.trial import Measuring, Seeds
from trainables.grokking import GrokkingTrial

TRIAL = GrokkingTrial(task=ModularAddition(), horizon_steps=1500)


def test_identity_ignores_protocol_and_defaults():
    asked_more = TRIAL.replace(
        horizon_steps=9000,
        measuring=Measuring(dense_until_steps=5),
        stopping=Stopping(on_success=False),
        probes=TRIAL.probes[:1],
    )
    assert asked_more.trial_id == TRIAL.trial_id
    assert TRIAL.replace(optimizer=AdamW(eps=1e-8)).trial_id == TRIAL.trial_id
    assert "optimizer" not in TRIAL.identity()


@pytest.mark.parametrize(
    "change",
    [
        {"task": ModularSubtraction()},
        {"task": ModularAddition(p=97)},
        {"model": MLP(bias=True)},
        {"loss": SoftmaxCrossEntropy(dtype="float64")},
        {"gradient": OrthogonalGradient()},
        {"optimizer": SGD()},
        {"optimizer": AdamW(weight_decay=1e-9)},
        {"seeds": Seeds(split=1)},
        {"seeds": Seeds(init=1)},
        {"seeds": Seeds(order=1)},
    ],
    ids=str,
)
def test_identity_covers_what_moves_the_weights(change):
    assert TRIAL.replace(**change).trial_id != TRIAL.trial_id


def test_identity_of_equal_numbers():
    ids = {TRIAL.replace(optimizer=AdamW(weight_decay=decay)).trial_id for decay in (2, 2.0)}
    assert len(ids) == 1
    assert AdamW(weight_decay=-0.0).identity() == AdamW(weight_decay=0).identity()
    assert MLP(hidden=[64, 64]) == MLP(hidden=(64, 64))


def test_trial_id_is_pinned():
    """A change of this value orphans every ledger: it must never happen by accident."""
    assert TRIAL.trial_id == "2c7ab09b90db653e1929"
    code = (
        "import json, sys; from tests.unit.engine.test_config import TRIAL; "
        "from trainables.engine.config import from_json; print(from_json(json.loads(sys.argv[1])).trial_id)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, canonical_json(TRIAL.to_json())], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == TRIAL.trial_id


def test_cohort_key_ignores_per_trial_values():
    assert set(per_trial_paths(TRIAL)) == {
        "seeds.split",
        "seeds.init",
        "seeds.order",
        "task.label_corruption",
        "optimizer.learning_rate",
        "optimizer.betas",
        "alpha",
        "loss.label_smoothing",
        "loss.temperature",
        "model.init_scale",
        "model.input_init_scale",
        "optimizer.eps",
        "optimizer.weight_decay",
    }
    assert TRIAL.replace(optimizer=AdamW(eps=1e-3), seeds=Seeds.all(4)).cohort_key == TRIAL.cohort_key
    for change in ({"horizon_steps": 10}, {"optimizer": SGD()}, {"task": ModularAddition(train_fraction=0.5)}):
        assert TRIAL.replace(**change).cohort_key != TRIAL.cohort_key


def test_bad_values_fail_with_field_value_and_allowed():
    for make, message in [
        (lambda: AdamW(learning_rate=0), r"AdamW.learning_rate = 0.0: must be above 0.0"),
        (lambda: AdamW(betas=(0.9, 1.0)), r"AdamW.betas = \(0.9, 1.0\): must be below 1.0"),
        (lambda: AdamW(betas=(0.9,)), r"AdamW.betas = \(0.9,\): must be a list of length 2, each a number"),
        (lambda: AdamW(eps=float("nan")), r"AdamW.eps = nan: must be finite"),
        (lambda: AdamW(weight_decay=True), r"AdamW.weight_decay = True: must be a number"),
        (lambda: MLP(hidden=(0,)), r"MLP.hidden = \(0,\): must be at least 1"),
        (lambda: MLP(dtype="float8"), r"MLP.dtype = 'float8': must be one of 'float32', 'float64'"),
        (lambda: SoftmaxCrossEntropy(dtype="half"), r"SoftmaxCrossEntropy.dtype = 'half': must be one of 'float16'"),
        (
            lambda: ModularAddition(p=5, train_fraction=0.01),
            r"ModularAddition.train_fraction = 0.01: leaves no training or no test row",
        ),
        (lambda: TRIAL.replace(horizon_steps=1.5), r"GrokkingTrial.horizon_steps = 1.5: must be an integer"),
        (lambda: TRIAL.replace(task="add"), r"GrokkingTrial.task = 'add': must be a Task"),
        (lambda: Measuring(ratio=1.5), r"Measuring.ratio = 1.5: must be at most 1.05"),
        (lambda: replace_at(TRIAL, "optimizer.lr", 1), r"optimizer.lr: AdamW \(at 'optimizer'\) has no field 'lr'; al"),
        (lambda: replace_at(TRIAL, "optimiser", 1), r"optimiser: GrokkingTrial has no field 'optimiser'; allowed: "),
        (lambda: value_at(TRIAL, "horizon_steps.x"), r"horizon_steps.x: horizon_steps is a plain value"),
        (lambda: from_json({"class": "Thing"}), r"class = 'Thing': no such component; must be one of trainables"),
        (lambda: from_json({"class": "pathlib:Path"}), r"class = 'pathlib:Path': no such component"),
        (lambda: AdamW(eps=10**400), r"AdamW.eps = 1000.*0\.\.\.: must be finite"),
        (lambda: Seeds(init=-(2**63)), r"Seeds.init = -9223372036854775808: must be at"),
        (lambda: TRIAL.replace(horizon_steps=2**63), r"horizon_steps = .*: must be at most 9223372036854775807"),
        (lambda: MLP(hidden=range(2**70)), r"MLP.hidden = range\(0, .*\): must be of at most 1000000 values"),
        (
            lambda: MLP(hidden=np.datetime64("2024")),
            r"MLP.hidden = np.datetime64\('2024'\): must be a list, each an integer",
        ),
        (lambda: from_json({"class": None}), r"class = None: no such component"),
        (lambda: from_json(AdamW().to_json() | {"lr": 1}), r"AdamW.lr: no such field; allowed: betas, "),
        (Loss, r"does not implement collapsed \(Return whether .* in dtype; shape \(K, B\), bool\), row_losses \("),
    ]:
        with pytest.raises(ConfigError, match=message):
            make()


def test_paths():
    changed = replace_at(TRIAL, "optimizer.weight_decay", 2)
    assert value_at(changed, "optimizer.weight_decay") == 2.0
    assert changed.optimizer == AdamW(weight_decay=2.0)
    assert TRIAL.optimizer == AdamW()


def test_canonical_json():
    text = canonical_json(TRIAL.to_json())
    assert json.loads(text) == TRIAL.to_json()
    assert text == canonical_json(json.loads(text))
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"x": float("inf")})


def test_measuring_grid():
    steps = Measuring().steps(1500)
    assert steps[:21].tolist() == list(range(21))
    assert steps[-1] == 1500
    assert len(set(steps.tolist())) == len(steps)
    later = steps[21:]
    assert all(later[1:] <= later[:-1] * 1.05 + 1)
    assert set(steps[:-1]) <= set(Measuring().steps(100_000))
    assert Measuring().steps(3).tolist() == [0, 1, 2, 3]
