"""Streamed images: their order, the same batches whatever was decoded ahead, and an end without threads left."""

import gc
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.image_sets import EncodedImages
from trainables.baselines import image_stream
from trainables.baselines.augmentation import RandomCropFlip, RandomResizedCropFlip
from trainables.baselines.image_stream import StreamedImages, in_windows
from trainables.baselines.images import IMAGENET_NORMALISATION, ImageFolder, ImageNet1k
from trainables.data.sets import DataMissingError
from trainables.data.torchvision_guard import torchvision
from trainables.engine.config import ConfigError
from trainables.engine.trial import Seeds

SIZE = 12


@pytest.fixture
def streams():
    made = []

    def stream(group_rows=10, train_rows=None, batch_size=16, seeds=Seeds(), train=None) -> StreamedImages:
        made.append(
            StreamedImages(
                train or EncodedImages(70, group_rows, seed=1),
                EncodedImages(25, group_rows, seed=2),
                train_rows=train_rows,
                batch_size=batch_size,
                seeds=seeds,
                augmentation=RandomResizedCropFlip(size=SIZE),
                normalisation=IMAGENET_NORMALISATION,
                device="cpu",
                channels_last=True,
            )
        )
        return made[-1]

    yield stream
    for each in made:
        each.close()


@pytest.mark.parametrize("group_rows", [1, 10, 33, 100])
def test_epoch_order_in_windows(monkeypatch, group_rows):
    monkeypatch.setattr(image_stream, "WINDOW_ROWS", 50)
    rows = np.arange(100)
    groups = EncodedImages(100, group_rows).groups
    first, second = (in_windows(rows, groups, seed=0, stream=8, block=epoch) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(rows)
    assert first.tolist() != second.tolist() != sorted(second)
    # A window begins at most 50 rows after the one before it, and is at most a group longer.
    for low in range(0, 100, 50):
        assert len(set(groups[first[low : low + 50]])) <= -(-50 // group_rows) + 2
    if group_rows == 10:
        assert len(set(groups[first[:50]])) == 5
        assert not set(groups[first[:50]]) & set(groups[first[50:]])
        assert set(groups[first[:50]]) != set(groups[second[:50]])


def test_plain_files_have_a_uniform_order(monkeypatch):
    monkeypatch.setattr(image_stream, "WINDOW_ROWS", 4)
    rows, places = np.arange(12), np.zeros((12, 12))
    for seed in range(1200):
        places[in_windows(rows, rows, seed, stream=8), np.arange(12)] += 1
    assert abs(places - 100).max() < 50


def test_rows_against_torchvision_crops(streams):
    files = EncodedImages(70, 10, seed=1)
    stream, augmentation = streams(train=files), RandomResizedCropFlip(size=SIZE)
    judge, numbers = torchvision().transforms.functional, stream.order.numbers(6)
    batch = stream.train(6, 0, 16)
    chance = augmentation.random_words(0, 6, 16)
    normalise = torchvision().transforms.Normalize(IMAGENET_NORMALISATION.mean, IMAGENET_NORMALISATION.std)
    for place, row in enumerate(numbers):
        image = augmentation.train(Image.fromarray(files.pixels[row]), chance[place])
        assert torch.equal(batch.inputs[place], normalise(judge.to_tensor(image)))
        assert batch.labels[place] == files.labels[row]
    evaluated = [augmentation.evaluate(Image.fromarray(pixels)) for pixels in files.pixels]
    expected = {normalise(judge.to_tensor(image)).numpy().tobytes() for image in evaluated}
    found = [image.contiguous().numpy().tobytes() for batch in stream.measured("train", 9, 4) for image in batch.inputs]
    assert len(set(found)) == 9
    assert set(found) <= expected


def test_batch_does_not_depend_on_decoding_ahead(streams):
    going, begun = streams(), streams()
    found = [going.train(step, 0, going.order.size(step)) for step in range(9)]
    for step in (8, 3, 4, 0):
        size = begun.order.size(step)
        parts = [begun.train(step, low, high) for low, high in ((0, 5), (5, size))]
        assert torch.equal(torch.cat([part.inputs for part in parts]), found[step].inputs)
        assert torch.equal(torch.cat([part.labels for part in parts]), found[step].labels)
    assert going.order.size(4) == 6
    assert not torch.equal(streams(seeds=Seeds(order=1)).train(0, 0, 16).inputs, found[0].inputs)


def test_next_steps_are_decoded_ahead(streams):
    files = EncodedImages(70, 1, seed=1)
    stream = streams(train=files)
    stream.train(0, 0, 16)
    wanted = {int(row) for step in range(3) for row in stream.order.numbers(step)}
    deadline = time.monotonic() + 10
    while set(files.was_read) != wanted and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(files.was_read) == wanted
    files.was_read.clear()
    assert stream.train(1, 0, 16).inputs.shape == (16, 3, SIZE, SIZE)
    assert not set(files.was_read) & set(stream.order.numbers(1).tolist())


def test_subset_has_few_groups(streams):
    some = streams(train_rows=30, seeds=Seeds(split=1))
    rows = np.concatenate([some.order.numbers(step) for step in (0, 1)])
    assert sorted(rows) == sorted(streams(train_rows=30, seeds=Seeds(split=1, order=5)).order.chosen)
    assert len(rows) == len(set(rows)) == 30
    assert set(rows) != set(streams(train_rows=30, seeds=Seeds(split=2)).order.chosen)


def test_measured_rows(streams):
    stream = streams()
    some, whole = list(stream.measured("test", 11, 4)), next(stream.measured("test", None, 100))
    assert [len(batch.labels) for batch in some] == [4, 4, 3]
    assert torch.equal(torch.cat([batch.inputs for batch in some]), whole.inputs[:11])
    assert len(whole.labels) == 25


def test_broken_image_fails_in_one_line(streams):
    files = EncodedImages(70, 10, seed=1)
    intact = files.encoded
    files.encoded = lambda row: intact(row)[:40] if row == 33 else intact(row)
    stream = streams(train=files)
    step = next(step for step in range(5) if 33 in stream.order.numbers(step))
    with pytest.raises(DataMissingError, match=r"^drawn, row 33: cannot be decoded as an image \(.+\); ") as error:
        stream.train(step, 0, stream.order.size(step))
    assert "\n" not in str(error.value)


def test_threads_end_with_the_stream():
    before = set(threading.enumerate())
    stream = StreamedImages(
        EncodedImages(70),
        EncodedImages(25),
        train_rows=None,
        batch_size=16,
        seeds=Seeds(),
        augmentation=RandomResizedCropFlip(size=SIZE),
        normalisation=IMAGENET_NORMALISATION,
        device="cpu",
        channels_last=True,
    )
    stream.train(0, 0, 16)
    next(stream.measured("test", None, 4))
    begun = set(threading.enumerate()) - before
    assert begun
    del stream
    gc.collect()
    for thread in begun:
        thread.join(timeout=10)
        assert not thread.is_alive()


def test_known_rows_and_bad_augmentation():
    assert ImageNet1k().known_rows == 1_281_167
    assert ImageNet1k().input_size(RandomResizedCropFlip()) == (224, 224)
    with pytest.raises(ConfigError, match=r"augmentation = RandomCropFlip\(\): is for images of one size"):
        ImageFolder(name="birds", classes=20).check(RandomCropFlip())


def test_image_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GROKSCAPE_DATA", str(tmp_path))
    files = EncodedImages(12)
    for split in ("train", "val"):
        for row, label in enumerate(files.labels):
            folder = tmp_path / "birds" / split / f"class{label}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{row}.png").write_bytes(files.encoded(row))
    found = ImageFolder(name="birds", classes=4)
    batches = found.batches(
        batch_size=5, seeds=Seeds(), augmentation=RandomResizedCropFlip(size=SIZE), device="cpu", channels_last=True
    )
    assert batches.train(2, 0, 2).inputs.shape == (2, 3, SIZE, SIZE)
    assert found.fingerprint(Seeds()) == found.fingerprint(Seeds(order=1))
    with pytest.raises(ConfigError, match=r"ImageFolder\.train_rows = 13: must be at most 12"):
        found.replace(train_rows=13).batches(
            batch_size=5, seeds=Seeds(), augmentation=RandomResizedCropFlip(), device="cpu", channels_last=True
        )
