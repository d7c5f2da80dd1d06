"""Any bytes in any file of a data set: what is read, or one line that names the file."""

import os
import pickle
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tests.support.fake_mnist import write_mnist
from tests.support.small_images import encoded, write_images
from trainables.data.decoding import decode
from trainables.data.folder import DataMissingError, cached_array
from trainables.data.images import read_parquet
from trainables.data.sets import image_parquet, text_from
from trainables.data.text import read_text
from trainables.data.torchvision_files import _batches, read_mnist


def write_and_read_mnist(folder, change):
    write_mnist(folder, 4, 4)
    change(folder / "MNIST" / "raw" / "train-labels-idx1-ubyte")
    return read_mnist("MNIST", folder)


def write_and_read_cifar(folder, change):
    path = folder / "data_batch_1"
    path.write_bytes(pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [3, 9]}))
    change(path)
    return _batches("CIFAR-10", [(path, None)])


def write_and_read_images(folder, change):
    path = folder / "images.parquet"
    write_images(path, rows=4)
    change(path)
    read_parquet.cache_clear()
    return read_parquet("images_from_parquet", str(path), str(path))


def write_and_stream_images(folder, change):
    path = folder / "images.parquet"
    write_images(path, rows=4)
    change(path)
    files, _ = image_parquet(str(path), str(path))
    return [decode(image, files.place(row)) for row, image in enumerate(files.read(range(len(files.labels))))]


def write_and_decode(folder, change):
    path = folder / "image.png"
    path.write_bytes(encoded(1, format="PNG")[0])
    change(path)
    return decode(path.read_bytes(), str(path))


def write_and_read_text(folder, change):
    path = folder / "text.parquet"
    parquet.write_table(pa.table({"text": ["one", "two", ""] * 9}), path)
    change(path)
    read_text.cache_clear()
    return text_from(str(path), str(path))


WAYS = [
    write_and_read_mnist,
    write_and_read_cifar,
    write_and_read_images,
    write_and_stream_images,
    write_and_decode,
    write_and_read_text,
]
DAMAGES = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(["set", "cut", "insert", "remove"]), st.binary(min_size=1, max_size=8)),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(damages=DAMAGES)
def test_damaged_files(way, damages):
    changed: list[Path] = []

    def change(path: Path) -> None:
        content = path.read_bytes()
        for share, kind, some in damages:
            at = int(share * len(content))
            rest = {"set": content[at + len(some) :], "cut": b"", "insert": content[at:], "remove": content[at + 8 :]}
            content = content[:at] + (some if kind in ("set", "insert") else b"") + rest[kind]
        path.write_bytes(content)
        changed.append(path)

    line = None
    with TemporaryDirectory() as folder, patch.dict(os.environ, GROKSCAPE_CACHE=f"{folder}/cache"):
        try:
            way(Path(folder), change)
        except DataMissingError as error:
            line = str(error)
    assert line is None or ("\n" not in line and str(changed[0]) in line)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(content=st.binary(max_size=300))
def test_any_cache(content):
    array = np.arange(40)
    with TemporaryDirectory() as folder, patch.dict(os.environ, GROKSCAPE_CACHE=folder):
        path = Path(folder) / "kind" / "key.npy"
        path.parent.mkdir()
        path.write_bytes(content)
        np.testing.assert_array_equal(cached_array("kind", "key", lambda: array, fits=lambda _: True), array)


def test_the_ways_read_what_is_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("GROKSCAPE_CACHE", str(tmp_path / "cache"))
    for way in WAYS:
        (tmp_path / way.__name__).mkdir()
        assert way(tmp_path / way.__name__, lambda path: None)
