"""Augmentation: judged by torchvision's functional transforms, its distribution, and the same rows for any slicing."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from trainables.baselines.augmentation import NoAugmentation, RandomCropFlip, RandomResizedCropFlip
from trainables.data.torchvision_guard import torchvision
from trainables.engine.config import ConfigError


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("padding", [0, 2, 4])
def test_crop_and_flip_against_torchvision(channels, padding):
    judge = torchvision().transforms.functional
    augmentation = RandomCropFlip(padding=padding)
    images = torch.from_numpy(pixels(40, 9, 7, channels))
    chance = augmentation.random_words(seed=3, step=5, rows=40)
    found = augmentation.apply(images, chance)
    assert found.dtype == torch.uint8
    top, left, flipped = augmentation.draw(chance)
    assert 0 < flipped.sum() < 40
    for row in range(40):
        image = judge.pad(images[row].permute(2, 0, 1), padding)
        image = judge.crop(image, int(top[row]), int(left[row]), 9, 7)
        image = judge.hflip(image) if flipped[row] else image
        assert torch.equal(found[row].permute(2, 0, 1), image)


def test_offsets_are_uniform_and_independent():
    top, left, flipped = RandomCropFlip().draw(RandomCropFlip().random_words(seed=1, step=0, rows=20_000))
    counts = np.zeros((9, 9, 2))
    np.add.at(counts, (top, left, flipped.astype(int)), 1)
    assert stats.chisquare(counts.ravel()).pvalue > 0.001
    assert RandomCropFlip(flip=0.2).draw(RandomCropFlip().random_words(1, 0, 20_000))[2].mean() == pytest.approx(
        0.2, abs=0.01
    )


def test_rows_do_not_depend_on_slices():
    augmentation, images = RandomCropFlip(), torch.from_numpy(pixels(16, 8, 8, 3))
    chance = augmentation.random_words(seed=0, step=2, rows=16)
    whole = augmentation.apply(images, chance)
    parts = [augmentation.apply(images[low:high], chance[low:high]) for low, high in ((0, 5), (5, 6), (6, 16))]
    assert torch.equal(torch.cat(parts), whole)
    for seed, step in ((0, 3), (1, 2)):
        assert not torch.equal(augmentation.apply(images, augmentation.random_words(seed, step, 16)), whole)


def test_no_augmentation():
    images = torch.from_numpy(pixels(4, 5, 5, 3))
    assert NoAugmentation().apply(images, NoAugmentation().random_words(0, 0, 4)) is images
    still = RandomCropFlip(padding=0, flip=0.0)
    assert torch.equal(still.apply(images, still.random_words(0, 0, 4)), images)


@pytest.mark.parametrize(("height", "width"), [(40, 61), (61, 40), (33, 33)])
def test_resized_crop_against_torchvision(height, width):
    judge = torchvision().transforms.functional
    augmentation = RandomResizedCropFlip(size=24, flip=0.0)
    image = Image.fromarray(pixels(height, width, 3))
    for words in augmentation.random_words(seed=0, step=0, rows=20):
        left, top, across, down = augmentation.box(width, height, words)
        expected = judge.resized_crop(image, top, left, down, across, [24, 24])
        assert np.array_equal(np.asarray(augmentation.train(image, words)), np.asarray(expected))
        mirrored = augmentation.replace(flip=1.0).train(image, words)
        assert np.array_equal(np.asarray(mirrored), np.asarray(judge.hflip(expected)))


def test_box_distribution_against_torchvision():
    augmentation = RandomResizedCropFlip()
    chance = augmentation.random_words(seed=0, step=0, rows=3000)
    ours = np.array([augmentation.box(90, 60, words) for words in chance])
    judge, image = torchvision().transforms.RandomResizedCrop, torch.zeros(3, 60, 90)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        theirs = np.array([judge.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(3000)])
    for column, name in enumerate(("left", "top", "width", "height")):
        other = theirs[:, [1, 0, 3, 2][column]]
        assert stats.ks_2samp(ours[:, column], other).pvalue > 0.001, name


@pytest.mark.parametrize(("width", "height"), [(200, 10), (10, 200)])
def test_fallback_crop_against_torchvision(width, height):
    augmentation = RandomResizedCropFlip(scale=(1.0, 1.0))
    left, top, across, down = augmentation.box(width, height, augmentation.random_words(0, 0, 1)[0])
    judge = torchvision().transforms.RandomResizedCrop
    expected = judge.get_params(torch.zeros(3, height, width), [1.0, 1.0], [3 / 4, 4 / 3])
    assert (top, left, down, across) == tuple(expected)


@pytest.mark.parametrize(("height", "width"), [(300, 411), (411, 300), (256, 256), (100, 57), (256, 301)])
@pytest.mark.parametrize("size", [224, 64])
def test_evaluation_crop_against_torchvision(height, width, size):
    transforms = torchvision().transforms
    image = Image.fromarray(pixels(height, width, 3))
    judge = transforms.Compose([transforms.Resize(round(size * 256 / 224)), transforms.CenterCrop(size)])
    found = RandomResizedCropFlip(size=size).evaluate(image)
    assert np.array_equal(np.asarray(found), np.asarray(judge(image)))


def test_bad_values_fail():
    with pytest.raises(ConfigError, match=r"RandomResizedCropFlip\.scale = \(0\.5, 0\.1\): must be ascending"):
        RandomResizedCropFlip(scale=(0.5, 0.1))
    with pytest.raises(ConfigError, match=r"RandomCropFlip\.flip = 1\.5: must be at most 1"):
        RandomCropFlip(flip=1.5)
