"""The vision trial beside a loop as torchvision's reference writes it: the same network, rows and updates."""

import pytest
import torch
from torch import nn

from tests.support.image_sets import Patches
from trainables.baselines.augmentation import NoAugmentation, RandomCropFlip
from trainables.baselines.resnet import ResNet18
from trainables.baselines.vision import VisionTrial
from trainables.data.torchvision_guard import torchvision
from trainables.engine.schedules import StepDecay
from trainables.engine.trial import Seeds

STEPS = 6


def plain_loop(trial: VisionTrial) -> nn.Module:
    """SGD on torchvision's transforms of the same rows, in the same order."""
    package = torchvision()
    functional = package.transforms.functional
    normalise = package.transforms.Normalize(trial.images.normalisation.mean, trial.images.normalisation.std)
    train, _ = trial.images.read()
    order = trial.batches("cpu").order
    network = package.models.resnet18(num_classes=trial.images.classes)
    network.load_state_dict(trial.network().state_dict())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.1)
    for step in range(STEPS):
        numbers, images = order.numbers(step), []
        for place, row in enumerate(numbers):
            image = functional.to_pil_image(train.pixels[row])
            if isinstance(trial.augmentation, RandomCropFlip):
                chance = trial.augmentation.random_words(trial.seeds.order, step, len(numbers))
                top, left, flipped = trial.augmentation.draw(chance)
                image = functional.crop(functional.pad(image, 4), int(top[place]), int(left[place]), 16, 16)
                image = functional.hflip(image) if flipped[place] else image
            images.append(normalise(functional.to_tensor(image)))
        loss = nn.functional.cross_entropy(network(torch.stack(images)), torch.from_numpy(train.labels[numbers]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return network


@pytest.mark.parametrize("augmentation", [NoAugmentation(), RandomCropFlip()], ids=lambda found: type(found).__name__)
def test_weights_against_a_plain_loop(augmentation):
    trial = VisionTrial(
        images=Patches(),
        model=ResNet18(),
        augmentation=augmentation,
        batch_size=32,
        channels_last=False,
        schedule=StepDecay(every_steps=4),
        seeds=Seeds.all(5),
        horizon_steps=STEPS,
    )
    cohort = trial.build([trial])
    cohort.advance(STEPS)
    found, expected = cohort.state_dict(0), plain_loop(trial)
    for name, weight in expected.named_parameters():
        torch.testing.assert_close(found["parameters"][name], weight.detach(), rtol=1e-3, atol=1e-4)
    for name, buffer in expected.named_buffers():
        torch.testing.assert_close(found["buffers"][name], buffer, rtol=1e-3, atol=1e-3)
