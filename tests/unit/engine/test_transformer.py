"""The transformer's own behaviour: parameters by option, dropout by seed and step, cohorts; torch judges elsewhere."""

import pytest
import torch

from trainables.engine.config import ConfigError
from trainables.engine.encodings import Tokens
from trainables.engine.noise import Noise, noise_keys
from trainables.engine.optimizers import AdamW
from trainables.engine.tasks import ModularAddition, ModularSubtraction
from trainables.engine.transformer import Transformer
from trainables.engine.trial import Seeds
from trainables.grokking import GrokkingTrial

CPU = torch.device("cpu")
TASK = ModularSubtraction(p=7, train_fraction=0.6, inputs=Tokens())
MODEL = Transformer(width=8, heads=2, feed_forward=12, dropout=0.2, dtype="float64")


def trial(seed: int = 0, **changes) -> GrokkingTrial:
    parts = {"task": TASK, "model": MODEL, "optimizer": AdamW(learning_rate=0.01), "seeds": Seeds.all(seed)}
    return GrokkingTrial(**(parts | {"horizon_steps": 100} | changes))


def weights(cohort, member: int = 0) -> torch.Tensor:
    return torch.cat([value.flatten() for value in cohort.state_dict(member)["parameters"].values()])


MATRICES = {"embed", "query", "key", "value", "attention_out", "feed_in", "feed_out", "unembed"}


@pytest.mark.parametrize(
    ("options", "beside"),
    [
        ({"norm": "none", "bias": False}, set()),
        ({"norm": "none", "bias": False, "positions": True}, {"position"}),
        ({"norm": "pre", "bias": False}, {"norm_1_gain", "norm_2_gain"}),
        ({"norm": "none"}, {f"{name}_bias" for name in MATRICES - {"embed"}}),
        (
            {},
            {"norm_1_gain", "norm_2_gain", "norm_1_bias", "norm_2_bias"}
            | {f"{name}_bias" for name in MATRICES - {"embed"}},
        ),
    ],
)
def test_parameters_and_gradients(options, beside):
    model = MODEL.replace(**options)
    cohort = trial(model=model).build([trial(model=model)])
    before = cohort.state_dict(0)["parameters"]
    assert set(before) == MATRICES | beside
    cohort.advance(1)
    after = cohort.state_dict(0)["parameters"]
    # A key's bias adds the same to every score of a row, which softmax does not see.
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert still <= {"key_bias"}


def test_heads_divide_the_width():
    with pytest.raises(ConfigError, match=r"^Transformer\.heads = 3: must divide the width, 8$"):
        Transformer(width=8, heads=3)


def test_noise_in_training_only():
    tokens = torch.from_numpy(TASK.split(Seeds()).train_inputs).unsqueeze(0)
    parameters = {name: value.unsqueeze(0) for name, value in MODEL.init(TASK, 0).items()}
    whole = MODEL.forward(parameters, tokens)
    assert torch.equal(whole, MODEL.forward(parameters, tokens))
    assert torch.equal(whole, MODEL.replace(dropout=0.0).forward(parameters, tokens))
    noisy = [
        MODEL.forward(parameters, tokens, Noise(noise_keys([seed], CPU), torch.tensor(step)))
        for seed, step in ((0, 5), (0, 5), (0, 6), (1, 5))
    ]
    assert torch.equal(noisy[0], noisy[1])
    assert not any(torch.equal(noisy[0], other) for other in (whole, *noisy[2:]))
    assert MODEL.stochastic
    assert not MODEL.replace(dropout=0.0).stochastic


@pytest.mark.parametrize("options", [{}, {"positions": True, "norm": "pre"}, {"attention": "stablemax", "bias": False}])
def test_cohort_against_solo_with_dropout(options):
    model = MODEL.replace(**options)
    trials = [trial(seed, model=model) for seed in range(3)]
    cohort = trials[0].build(trials)
    cohort.advance(30)
    for member, alone in enumerate(trials):
        solo = alone.build([alone])
        solo.advance(30)
        torch.testing.assert_close(weights(cohort, member), weights(solo), rtol=1e-8, atol=1e-10)
        for column, values in solo.measure().items():
            assert cohort.measure()[column][member] == pytest.approx(values[0], rel=1e-7, abs=1e-9), column


def test_resume_bit_for_bit_with_dropout():
    whole, restored = (trial().build([trial()]) for _ in range(2))
    whole.advance(10)
    restored.load_state_dict([whole.state_dict(0)])
    whole.advance(10)
    restored.advance(10)
    assert torch.equal(weights(whole), weights(restored))


def test_dropout_follows_the_order_seed():
    paths = []
    for seeds in (Seeds(), Seeds(order=1)):
        cohort = trial(seeds=seeds).build([trial(seeds=seeds)])
        cohort.advance(3)
        paths.append(weights(cohort))
    assert not torch.allclose(paths[0], paths[1], rtol=1e-6)


def test_order_of_tokens_without_positions():
    """The logits of (a, b) and (b, a) differ, though attention sees a set."""
    parameters = {name: value.unsqueeze(0) for name, value in MODEL.init(TASK, 0).items()}
    one, other = (MODEL.forward(parameters, torch.tensor([[pair]])) for pair in ([2, 5], [5, 2]))
    assert (one - other).abs().max() > 0.1


@pytest.mark.parametrize("attention", ["softmax", "stablemax"])
def test_learning(attention):
    """Not always to the last row: softmax attention that has saturated on b keeps some values of a apart no more."""
    task = ModularAddition(p=7, train_fraction=0.8, inputs=Tokens())
    model = Transformer(width=16, heads=2, feed_forward=32, attention=attention)
    config = trial(task=task, model=model, optimizer=AdamW(learning_rate=0.01), horizon_steps=100)
    cohort = config.build([config])
    assert cohort.measure()["train_accuracy"][0] < 0.4
    cohort.advance(100)
    assert cohort.measure()["train_accuracy"][0] > 0.95
