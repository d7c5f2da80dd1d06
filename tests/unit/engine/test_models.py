"""The models' own behaviour: which tasks they take, initial scale, costs; parity with torch is tested elsewhere."""

import hashlib
import math

import pytest
import torch

from trainables.engine.config import ConfigError
from trainables.engine.encodings import Binary, OneHot, RandomBinary, Scalar, Tokens
from trainables.engine.models import MLP
from trainables.engine.tasks import ModularAddition
from trainables.engine.tasks_parity import SparseParity
from trainables.engine.transformer import Transformer
from trainables.engine.trial import Seeds
from trainables.grokking import GrokkingTrial

TINY = Transformer(width=8, heads=2, feed_forward=12)


@pytest.mark.parametrize(
    ("model", "task", "message"),
    [
        (
            MLP(),
            ModularAddition(inputs=Tokens()),
            "MLP: cannot read tokens, .*ModularAddition; must have an embedding, such as .* or one-hot or dense",
        ),
        (
            MLP(embedding=3),
            ModularAddition(),
            r"MLP.embedding = 3: must be 0 for one_hot rows, .*; tokens are embedded",
        ),
        (TINY, ModularAddition(), "Transformer: cannot read one_hot rows, .*ModularAddition; must be tokens"),
        (TINY, SparseParity(), "Transformer: cannot read dense rows, .*SparseParity; must be tokens"),
    ],
)
def test_unreadable_rows_fail_in_one_line(model, task, message):
    with pytest.raises(ConfigError, match=rf"^{message}.*$"):
        GrokkingTrial(task=task, model=model, horizon_steps=1)


@pytest.mark.parametrize("inputs", [OneHot(), Binary(), RandomBinary(bits=4), Scalar()], ids=lambda x: type(x).__name__)
def test_mlp_cohort_against_members(inputs):
    task, model = ModularAddition(p=11, train_fraction=0.5, inputs=inputs), MLP(hidden=(6,), bias=True, dtype="float64")
    splits = [task.split(Seeds.all(seed)) for seed in range(3)]
    inits = [model.init(task, seed) for seed in range(3)]
    rows = torch.stack([torch.from_numpy(split.train_inputs) for split in splits])
    together = model.forward({name: torch.stack([init[name] for init in inits]) for name in inits[0]}, rows)
    for member, init in enumerate(inits):
        alone = {name: value.unsqueeze(0) for name, value in init.items()}
        torch.testing.assert_close(
            together[member], model.forward(alone, rows[member : member + 1])[0], rtol=1e-12, atol=0
        )


def test_init_scale():
    task = SparseParity(bits=8, rows=40)
    plain, scaled = (MLP(hidden=(5,), bias=True, init_scale=scale).init(task, 1) for scale in (1.0, 100.0))
    assert plain.keys() == scaled.keys() == {"weight_0", "bias_0", "weight_1", "bias_1"}
    for name, value in plain.items():
        torch.testing.assert_close(scaled[name], 100 * value, rtol=1e-6, atol=0)


def test_init_scale_per_member():
    base = GrokkingTrial(task=ModularAddition(p=7), model=MLP(hidden=(4,)), horizon_steps=1)
    trials = [base.replace(model=base.model.replace(init_scale=scale)) for scale in (1.0, 100.0)]
    assert len({trial.cohort_key for trial in trials}) == 1
    assert len({trial.trial_id for trial in trials}) == 2
    cohort = base.build(trials)
    weights = [cohort.state_dict(member)["parameters"]["weight_1"] for member in range(2)]
    torch.testing.assert_close(weights[1], 100 * weights[0], rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("model", "content"),
    [(MLP(), "8759d14b9a9c8e087cfc"), (MLP(hidden=(16,), bias=True, dtype="float64"), "9925aa5fc81f38b8eb48")],
    ids=["default", "bias"],
)
def test_initial_weights_are_pinned(model, content):
    found = hashlib.sha256()
    for name, value in model.init(ModularAddition(p=11), 7).items():
        found.update(name.encode() + value.numpy().tobytes())
    assert found.hexdigest()[:20] == content


def multiplications(model, task) -> float:
    """The operations of torch's matrix products in one forward pass over the training rows, counted by torch."""
    from torch.utils.flop_counter import FlopCounterMode

    parameters = {name: value.unsqueeze(0) for name, value in model.init(task, 0).items()}
    rows = torch.from_numpy(task.split(Seeds()).train_inputs).unsqueeze(0)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        model.forward(parameters, rows)
    return counted.get_total_flops()


@pytest.mark.parametrize(
    ("model", "task"),
    [
        (MLP(), ModularAddition()),
        (MLP(hidden=()), ModularAddition(inputs=Binary())),
        (MLP(hidden=(30, 20)), SparseParity()),
        (Transformer(), ModularAddition(inputs=Tokens())),
        (Transformer(positions=True, width=32, feed_forward=64), ModularAddition(p=31, inputs=Tokens())),
    ],
)
def test_flops(model, task):
    predicted = model.flops_per_row(task) * task.train_rows
    counted = multiplications(model, task)
    # Gathers and the attention of single heads are no matrix products: a small part of the whole.
    assert counted <= predicted <= 1.05 * counted
    assert math.isfinite(predicted)


def test_residual_layers_have_one_width():
    with pytest.raises(ConfigError, match=r"MLP.hidden = \(8, 9\): must be one width for all layers where residual"):
        MLP(hidden=(8, 9), residual=True)


def test_the_input_s_initial_scale_is_apart():
    for task, options, first in (
        (ModularAddition(p=7), {}, "weight_0"),
        (ModularAddition(p=7, inputs=Tokens()), {"embedding": 5}, "embedding"),
    ):
        model = MLP(hidden=(6, 6), dtype="float64", bias=True, **options)
        plain = model.init(task, 0)
        scaled = model.replace(init_scale=3.0, input_init_scale=0.5).init(task, 0)
        for name, value in plain.items():
            torch.testing.assert_close(
                scaled[name], value * (1.5 if name == first or (name == "bias_0" and not options) else 3.0)
            )
        assert plain[first].std() == pytest.approx(1.0 if options else (14 * 3) ** -0.5, rel=0.3)


def test_hidden_activations_are_shown_by_name():
    for model, task in (
        (MLP(hidden=(6, 6), embedding=4, residual=True), ModularAddition(p=7, inputs=Tokens())),
        (TINY, ModularAddition(p=7, inputs=Tokens())),
    ):
        split, shown = task.split(Seeds()), {}
        parameters = {name: value.unsqueeze(0) for name, value in model.init(task, 0).items()}
        rows = torch.from_numpy(split.train_inputs).unsqueeze(0)
        logits = model.forward(parameters, rows, activations=shown)
        assert tuple(shown) == model.layers
        bias = parameters.get("unembed_bias", torch.zeros(()))
        again = torch.bmm(shown[model.layers[-1]], parameters[model.readout]) + bias
        torch.testing.assert_close(again, logits)
