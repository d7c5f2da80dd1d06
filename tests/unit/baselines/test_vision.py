"""The vision trial: its recipe, what it refuses, what decides its path, and that it learns and goes on bit for bit."""

import pytest
import torch

from tests.support.image_sets import Patches
from trainables.baselines.augmentation import NoAugmentation, RandomCropFlip, RandomResizedCropFlip
from trainables.baselines.images import CIFAR10, CIFAR100, ImageNet1k
from trainables.baselines.resnet import ResNet18
from trainables.baselines.vision import VisionTrial
from trainables.engine.config import ConfigError, from_json
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.losses import StableMaxCrossEntropy
from trainables.engine.optimizers import SGD
from trainables.engine.trial import EverySteps, Seeds


def small(**changes) -> VisionTrial:
    parts = {"images": Patches(), "batch_size": 32, "horizon_steps": 4, "measuring": EverySteps(every_steps=2)}
    return VisionTrial(**(parts | changes))


def test_defaults_are_the_papers():
    trial = VisionTrial(images=CIFAR10(), horizon_steps=1)
    assert trial.optimizer == SGD(learning_rate=0.1, momentum=0.9, weight_decay=1e-4)
    assert (trial.batch_size, trial.model.stem, trial.augmentation) == (128, "imagenet", RandomCropFlip())
    assert from_json(trial.to_json()) == trial


def test_bad_configurations_fail_before_reading_data():
    for fields, message in (
        ({"images": ImageNet1k()}, r"must be RandomResizedCropFlip\(\) for ImageNet1k"),
        ({"augmentation": RandomResizedCropFlip()}, r"must be NoAugmentation\(\) or RandomCropFlip\(\) for Patches"),
        ({"batch_size": 91}, r"VisionTrial\.batch_size = 91: must be at most 90, the training rows"),
        ({"batch_size": 89}, r"VisionTrial\.batch_size = 89: leaves a batch of one of 90 rows"),
        ({"batch_size": 1}, r"VisionTrial\.batch_size = 1: leaves a batch of one of "),
    ):
        with pytest.raises(ConfigError, match=message):
            small(**fields)
    assert small(batch_size=89, model=ResNet18(stem="cifar"))


def test_memory_format_is_not_in_the_identity():
    assert small(channels_last=False).trial_id == small().trial_id
    assert small(augmentation=NoAugmentation()).trial_id != small().trial_id
    weight = small().to_device(small().network(), torch.device("cpu")).conv1.weight
    assert weight.is_contiguous(), "a CPU's update is slow on other weights"
    assert torch.equal(weight, small(channels_last=False, seeds=Seeds(split=1, order=1)).network().conv1.weight)
    assert small().network().fc.out_features == 4


def test_flops_per_step():
    step = VisionTrial(images=CIFAR10(), horizon_steps=1).flops_per_step()
    assert step == pytest.approx(3 * 128 * 7.4e7, rel=0.02)
    more = VisionTrial(images=CIFAR100(), horizon_steps=1).flops_per_step()
    assert more - step == 3 * 128 * 2 * 512 * 90
    large = VisionTrial(images=ImageNet1k(), augmentation=RandomResizedCropFlip(), horizon_steps=1)
    assert large.flops_per_step() == pytest.approx(3 * 128 * 3.63e9, rel=0.01)


def test_learning():
    trial = small(optimizer=SGD(learning_rate=0.02), augmentation=NoAugmentation())
    cohort = trial.build([trial])
    cohort.advance(27)
    found = cohort.measure()
    assert found["test_accuracy"][0] > 0.9


@pytest.mark.parametrize(
    "changes",
    [{}, {"loss": StableMaxCrossEntropy(), "gradient": OrthogonalGradient(), "channels_last": False}],
    ids=["plain", "stablemax and ⊥"],
)
def test_resume_within_an_epoch_bit_for_bit(changes):
    trial = small(**changes)
    whole, first = trial.build([trial]), trial.build([trial])
    whole.advance(4)
    first.advance(2)
    first.measure()
    then = trial.build([trial])
    then.load_state_dict([first.state_dict(0)])
    then.advance(2)
    one, other = whole.state_dict(0), then.state_dict(0)
    for part in ("parameters", "buffers"):
        assert all(torch.equal(value, other[part][name]) for name, value in one[part].items())
    measured, again = whole.measure(), then.measure()
    assert measured.keys() == again.keys()
    assert all((measured[name] == again[name]).all() for name in measured)
