"""Every loss's and every penalty's gradient against finite differences, found by walking the classes."""

import dataclasses
import importlib
import itertools
import pkgutil
from functools import partial

import pytest
import torch
from torch.autograd.gradcheck import GradcheckError, gradcheck

import trainables
from trainables.engine.losses import Loss, SoftmaxCrossEntropy, StableMaxCrossEntropy
from trainables.engine.penalties import Pass, Penalty

for module in pkgutil.walk_packages(trainables.__path__, "trainables."):
    importlib.import_module(module.name)


def leaves(cls: type) -> list[type]:
    children = cls.__subclasses__()
    return [leaf for child in children for leaf in leaves(child)] if children else [cls]


def variants(cls: type) -> list:
    """The class with every choice of its fields that name one, in float64."""
    choices = {
        field.name: field.metadata["bounds"]["choices"]
        for field in dataclasses.fields(cls)
        if len(field.metadata["bounds"].get("choices", ())) > 1 and field.name != "dtype"
    }
    return [
        cls(dtype="float64", **dict(zip(choices, values, strict=True)))
        for values in itertools.product(*choices.values())
    ]


LOSSES = [loss for cls in leaves(Loss) for loss in variants(cls)]
PER_TRIAL = {
    cls: [
        field.name for field in dataclasses.fields(cls) if field.metadata["per_trial"] and field.name != "temperature"
    ]
    for cls in leaves(Loss)
}


def test_variants_are_found():
    assert SoftmaxCrossEntropy(dtype="float64", log_softmax="by_hand") in LOSSES
    assert PER_TRIAL[StableMaxCrossEntropy] == ["label_smoothing"]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_loss_gradcheck(loss):
    for scale in [0.1, 3.0, 30.0]:
        for with_hyper in [False, True]:
            generator = torch.Generator().manual_seed(2)
            logits = (scale * torch.randn(2, 4, 5, dtype=torch.float64, generator=generator)).requires_grad_()
            labels = torch.randint(0, 5, (2, 4), generator=generator)
            values = torch.tensor([0.1, 0.4], dtype=torch.float64)
            hyper = dict.fromkeys(PER_TRIAL[type(loss)], values) if with_hyper else {}
            assert gradcheck(partial(loss.row_losses, labels_KB=labels, hyper=hyper), (logits,))


@pytest.mark.parametrize("penalty", [cls() for cls in leaves(Penalty)], ids=lambda penalty: type(penalty).__name__)
def test_penalty_gradcheck(penalty):
    generator = torch.Generator().manual_seed(3)
    logits, weight, bias = (
        torch.randn(2, *shape, dtype=torch.float64, generator=generator).requires_grad_()
        for shape in ((4, 5), (3, 2), (2,))
    )
    hyper = dict.fromkeys(("strength", "radius"), torch.tensor([0.5, 2.0], dtype=torch.float64))

    def value(logits, weight, bias):
        # The zeros make a penalty that ignores an input a function of it.
        idle = 0 * (logits.sum() + weight.sum() + bias.sum())
        seen = Pass(logits, {"weight": weight, "bias": bias}, {"hidden_0": weight, "hidden_1": logits})
        return penalty.value(seen, hyper) + idle

    assert gradcheck(value, (logits, weight, bias))


def test_gradcheck_can_fail():
    logits = torch.randn(1, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.zeros(1, 2, dtype=torch.int64)
    loss = SoftmaxCrossEntropy(dtype="float64")
    with pytest.raises(GradcheckError):
        gradcheck(lambda z: loss.row_losses(z, labels, {}) + z.detach().sum(-1), (logits,))
