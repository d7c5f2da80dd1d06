"""ResNet-18: its weights are the seed's alone, its two stems, and its operations against torch's counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from trainables.baselines.resnet import ResNet18
from trainables.data.torchvision_guard import torchvision
from trainables.engine.config import ConfigError


@pytest.mark.parametrize(
    ("stem", "height", "width", "classes"),
    [("imagenet", 32, 32, 10), ("imagenet", 64, 75, 7), ("cifar", 32, 32, 100), ("cifar", 9, 13, 3)],
)
def test_flops_against_torch(stem, height, width, classes):
    model = ResNet18(stem=stem)
    network = model.network(classes, seed=0).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        assert network(torch.zeros(1, 3, height, width)).shape == (1, classes)
    assert model.flops_per_image(height, width, classes) == counter.get_total_flops()


@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (28, 28), (45, 70)])
def test_values_per_channel(stem, height, width):
    model, seen = ResNet18(stem=stem), []
    network = model.network(2, seed=0).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_hook(lambda _, inputs, out: seen.append(inputs[0][0, 0].numel()))
    with torch.no_grad():
        network(torch.zeros(1, 3, height, width))
    assert min(seen) == model.values_per_channel(height, width)


@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
def test_weights_follow_the_seed(stem):
    first, other = ResNet18(stem=stem).network(5, seed=1), ResNet18(stem=stem).network(5, seed=2)
    state = torch.random.get_rng_state()
    torch.rand(3)
    again = ResNet18(stem=stem).network(5, seed=1)
    torch.random.set_rng_state(state)
    ResNet18(stem=stem).network(5, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    for (name, one), (_, same), (_, different) in zip(
        first.named_parameters(), again.named_parameters(), other.named_parameters(), strict=True
    ):
        assert torch.equal(one, same)
        assert (one.ndim == 1 and name != "fc.bias") or not torch.equal(one, different)


def test_imagenet_stem_against_torchvision():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        judge = torchvision().models.resnet18(num_classes=10).eval()
    network = ResNet18().network(10, seed=0).eval()
    judge.load_state_dict(network.state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(network(images), judge(images))


def test_initial_values():
    weight = ResNet18(stem="cifar").network(10, seed=0).conv1.weight
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)


def test_unknown_stem_fails():
    with pytest.raises(ConfigError, match=r"ResNet18\.stem = 'mnist': must be one of 'imagenet', 'cifar'"):
        ResNet18(stem="mnist")
