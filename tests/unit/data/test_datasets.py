"""Data sets on disk: both layouts, what is read, one clear line for what is missing or broken, one download."""

import subprocess
import sys

import numpy as np
import pytest

from tests.support.fake_mnist import write_mnist
from trainables.data import sets as datasets
from trainables.data.mnist import MNISTSubset
from trainables.data.sets import DataMissingError, data_folder, mnist
from trainables.engine.config import ConfigError
from trainables.engine.trial import Seeds


@pytest.fixture
def folder(tmp_path, monkeypatch):
    datasets._images.cache_clear()
    monkeypatch.setenv("GROKSCAPE_DATA", str(tmp_path))
    monkeypatch.delenv("GROKSCAPE_DOWNLOAD", raising=False)
    yield tmp_path
    datasets._images.cache_clear()


@pytest.mark.parametrize("under", [".", "mnist"])
def test_mnist_in_both_layouts(folder, under):
    written = write_mnist(folder / under)
    for half, (pixels, labels) in zip(mnist(), written.values(), strict=True):
        np.testing.assert_array_equal(half.pixels, pixels)
        np.testing.assert_array_equal(half.labels, labels)
        assert half.pixels.dtype == np.uint8
        assert half.labels.dtype == np.int64
    assert mnist()[0] is mnist()[0]


def test_a_subset(folder):
    written = write_mnist(folder)
    task = MNISTSubset(train_rows=25, test_rows=40)
    split, other = task.split(Seeds.all(1)), task.split(Seeds.all(2))
    assert split.train_inputs.shape == (25, task.features)
    assert split.test_inputs.shape == (40, task.features)
    assert split.train_inputs.dtype == np.float32
    for (pixels, labels), inputs, found in (
        (written["train"], split.train_inputs, split.train_labels),
        (written["t10k"], split.test_inputs, split.test_labels),
    ):
        rows = {image.tobytes(): label for image, label in zip(pixels, labels, strict=True)}
        chosen = [np.round(row * 255).astype(np.uint8).tobytes() for row in inputs]
        assert len(set(chosen)) == len(inputs)
        assert [rows[image] for image in chosen] == found.tolist()
    assert split.train_inputs.max() <= 1
    assert (split.train_inputs != other.train_inputs).any()


def test_fingerprint(folder):
    write_mnist(folder)
    task = MNISTSubset(train_rows=5, test_rows=5)
    found = {task.fingerprint(Seeds(split=split, order=order)) for split in (0, 1) for order in (0, 1)}
    assert len(found) == 4
    assert task.fingerprint(Seeds(init=7)) == task.fingerprint(Seeds())
    raw = folder / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    content = raw.read_bytes()
    raw.write_bytes(content[:-1] + bytes([(content[-1] + 1) % 10]))
    datasets._images.cache_clear()
    assert task.fingerprint(Seeds()) not in found


def test_too_many_rows(folder):
    write_mnist(folder)
    with pytest.raises(ConfigError, match=r"MNISTSubset\.train_rows = 200: must be at most 60"):
        MNISTSubset(test_rows=40).split(Seeds())


def one_line(error) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_missing(folder, monkeypatch):
    with pytest.raises(DataMissingError) as error:
        mnist()
    for part in ("MNIST", str(folder), "MNIST/raw", "GROKSCAPE_DOWNLOAD=1"):
        assert part in one_line(error)
    monkeypatch.setenv("GROKSCAPE_DATA", str(folder / "nothing"))
    with pytest.raises(DataMissingError, match="is not a folder"):
        data_folder()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("GROKSCAPE_DATA", "~")
    assert data_folder() == folder
    monkeypatch.delenv("GROKSCAPE_DATA")
    with pytest.raises(DataMissingError, match=r"GROKSCAPE_DATA is not set: must name the folder"):
        MNISTSubset().fingerprint(Seeds())


@pytest.mark.parametrize("damage", ["absent", "short", "another magic"])
def test_broken_files(folder, damage):
    write_mnist(folder)
    broken = folder / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    content = broken.read_bytes()
    if damage == "absent":
        broken.unlink()
    else:
        broken.write_bytes(content[: len(content) // 2] if damage == "short" else b"\x00\x00\x0d\x02" + content[4:])
    with pytest.raises(DataMissingError, match="cannot be read") as error:
        mnist()
    assert str(broken) in one_line(error)


def test_the_task_does_not_import_torchvision():
    code = "import sys, trainables.data.mnist; print('torchvision' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
