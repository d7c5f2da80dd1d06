"""Sets of images held in memory: their rows and order, judged by torchvision's transforms, and what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.fake_mnist import write_mnist
from tests.support.image_sets import Patches, random_images
from trainables.baselines import images
from trainables.baselines.augmentation import Normalisation, RandomCropFlip, RandomResizedCropFlip
from trainables.baselines.images import CIFAR10, CIFAR100, MNISTImages, ParquetImages, TensorImages
from trainables.data.sets import DataMissingError
from trainables.data.torchvision_guard import torchvision
from trainables.engine.config import ConfigError
from trainables.engine.trial import Seeds


def held(train_rows=None, batch_size=32, seeds=Seeds(), channels_last=True, shape=(16, 16, 3)) -> TensorImages:
    return TensorImages(
        random_images(90, *shape, seed=1),
        random_images(30, *shape, seed=2),
        train_rows=train_rows,
        batch_size=batch_size,
        seeds=seeds,
        augmentation=RandomCropFlip(),
        normalisation=CIFAR10.normalisation,
        device="cpu",
        channels_last=channels_last,
    )


def same(one, other) -> bool:
    return torch.equal(one.inputs, other.inputs) and torch.equal(one.labels, other.labels)


def test_inputs_against_torchvision():
    found, transforms = held(), torchvision().transforms
    normalise = transforms.Normalize(CIFAR10.normalisation.mean, CIFAR10.normalisation.std)
    batch, train = found.train(4, 0, 32), random_images(90, 16, 16, 3, seed=1)
    top, left, flipped = RandomCropFlip().draw(RandomCropFlip().random_words(0, 4, 32))
    assert batch.inputs.dtype == torch.float32
    assert batch.labels.dtype == torch.int64
    for place, row in enumerate(found.order.numbers(4)):
        image = transforms.functional.pad(transforms.functional.to_pil_image(train.pixels[row]), 4)
        image = transforms.functional.crop(image, int(top[place]), int(left[place]), 16, 16)
        image = transforms.functional.hflip(image) if flipped[place] else image
        assert torch.equal(batch.inputs[place], normalise(transforms.functional.to_tensor(image)))
        assert batch.labels[place] == train.labels[row]


@pytest.mark.parametrize("channels_last", [True, False])
def test_memory_format(channels_last):
    batch = held(channels_last=channels_last).train(0, 0, 8)
    assert batch.inputs.shape == (8, 3, 16, 16)
    assert batch.inputs.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    assert torch.equal(batch.inputs, held(channels_last=not channels_last).train(0, 0, 8).inputs)


def test_batch_depends_on_the_step_only():
    going, begun = held(), held()
    for step in range(7):
        whole = going.train(step, 0, going.order.size(step))
    assert going.order.size(2) == 26
    assert same(whole, begun.train(6, 0, begun.order.size(6)))
    parts = [begun.train(6, low, high) for low, high in ((20, 32), (0, 7), (7, 20))]
    assert torch.equal(torch.cat([parts[i].inputs for i in (1, 2, 0)]), whole.inputs)
    assert not same(whole, going.train(5, 0, going.order.size(5)))
    assert not same(whole, held(seeds=Seeds(order=1)).train(6, 0, 32))


def test_epoch_has_every_chosen_row_once():
    found = held(train_rows=50, seeds=Seeds(split=3))
    again = held(train_rows=50, seeds=Seeds(split=3, order=9, init=9))
    other = held(train_rows=50, seeds=Seeds(split=4))

    def rows(batches):
        return sorted(
            image.numpy().tobytes() for batch in batches.measured("train", None, 20) for image in batch.inputs
        )

    assert sorted(np.concatenate([found.order.numbers(step) for step in (0, 1)])) == list(range(50))
    assert len(set(rows(found))) == 50
    assert rows(found) == rows(again) != rows(other)


def test_measured_rows():
    found = held()
    some = list(found.measured("test", 14, 5))
    assert [len(batch.labels) for batch in some] == [5, 5, 4]
    whole = next(found.measured("test", None, 100))
    assert len(whole.labels) == 30
    assert torch.equal(torch.cat([batch.inputs for batch in some]), whole.inputs[:14])
    normalised = CIFAR10.normalisation.inputs(
        torch.from_numpy(random_images(30, 16, 16, 3, seed=2).pixels), channels_last=True
    )
    assert sorted(image.numpy().tobytes() for image in whole.inputs) == sorted(
        image.numpy().tobytes() for image in normalised
    )
    assert whole.labels.tolist() != random_images(30, 16, 16, 3, seed=2).labels.tolist()


def test_grey_images_fill_every_channel(monkeypatch, tmp_path):
    write_mnist(tmp_path)
    monkeypatch.setenv("GROKSCAPE_DATA", str(tmp_path))
    found = MNISTImages(train_rows=20)
    batches = found.batches(
        batch_size=8, seeds=Seeds(), augmentation=RandomCropFlip(), device="cpu", channels_last=False
    )
    inputs = batches.train(0, 0, 8).inputs
    assert inputs.shape == (8, 3, 28, 28)
    assert torch.equal(inputs[:, 0], inputs[:, 2])
    assert (found.classes, found.input_size(RandomCropFlip()), found.known_rows) == (10, (28, 28), 20)


def test_fingerprint(monkeypatch):
    everything, some = Patches(), Patches(train_rows=10)
    assert everything.fingerprint(Seeds(split=0)) == everything.fingerprint(Seeds(split=1, order=2, init=3))
    found = {some.fingerprint(Seeds(split=split)) for split in (0, 1)} | {everything.fingerprint(Seeds())}
    assert len(found) == 3
    monkeypatch.setattr(Patches, "read", lambda self: (random_images(90, 16, 16, 3), random_images(30, 16, 16, 3)))
    assert everything.fingerprint(Seeds()) not in found


def test_mismatched_sets_fail_in_one_line(monkeypatch):
    with pytest.raises(ConfigError, match=r"CIFAR10\.train_rows = 50001: must be at most 50000, the training rows"):
        CIFAR10(train_rows=50_001)
    with pytest.raises(ConfigError, match=r"augmentation = RandomResizedCropFlip\(\): is for streamed images"):
        CIFAR100().check(RandomResizedCropFlip())

    def batches(**fields):
        found = ParquetImages(train="a", test="b", **({"classes": 4, "image_size": (16, 16)} | fields))
        return found.batches(
            batch_size=8, seeds=Seeds(), augmentation=RandomCropFlip(), device="cpu", channels_last=True
        )

    monkeypatch.setattr(images, "images_from_parquet", lambda train, test: Patches().read())
    assert batches().order.rows == 90
    for fields, message in (
        ({"classes": 3}, r"ParquetImages: has labels from 0 to 3; must be from 0 to 2"),
        ({"image_size": (32, 16)}, r"ParquetImages: has images of 16×16 pixels; must be 32×16"),
        ({"train_rows": 91}, r"ParquetImages\.train_rows = 91: must be at most 90, the training rows"),
    ):
        with pytest.raises(ConfigError, match=message):
            batches(**fields)
    monkeypatch.setattr(images, "images_from_parquet", lambda train, test: (random_images(9, 16, 16, 3),) * 2)
    with pytest.raises(ConfigError, match=r"batch_size = 10: must be at most 9"):
        ParquetImages(train="a", test="b", classes=4, image_size=(16, 16)).batches(
            batch_size=10, seeds=Seeds(), augmentation=RandomCropFlip(), device="cpu", channels_last=True
        )


def test_normalisation():
    inputs = Normalisation((0.5, 0.25, 0.0), (0.5, 0.25, 1.0)).inputs(
        torch.full((1, 2, 2, 3), 255, dtype=torch.uint8), channels_last=True
    )
    assert inputs[0, :, 0, 0].tolist() == [1.0, 3.0, 1.0]


@pytest.mark.skipif(
    not any(Path(os.environ.get("GROKSCAPE_DATA", "/nowhere")).glob("cifar*10*")),
    reason="no CIFAR-10 in GROKSCAPE_DATA",
)
def test_constants_against_real_pixels():
    train, _ = CIFAR10().read()
    values = train.pixels[::10].reshape(-1, 3) / 255
    np.testing.assert_allclose(values.mean(0), CIFAR10.normalisation.mean, atol=0.005)
    np.testing.assert_allclose(values.std(0), CIFAR10.normalisation.std, atol=0.005)


def test_missing_data(monkeypatch, tmp_path):
    monkeypatch.setenv("GROKSCAPE_DATA", str(tmp_path))
    monkeypatch.delenv("GROKSCAPE_DOWNLOAD", raising=False)
    with pytest.raises(DataMissingError, match="CIFAR-100"):
        CIFAR100().fingerprint(Seeds())
