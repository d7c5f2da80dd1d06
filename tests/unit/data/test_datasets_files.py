"""Streamed images: torchvision's ImageFolder as the judge of folders, row groups read lazily, one line for trouble."""

import io
import pickle
import shutil
import threading

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from tests.support.small_images import encoded, write_images
from trainables.data import files as datasets_files
from trainables.data import sets as datasets
from trainables.data.sets import DataMissingError, image_folder, image_parquet, imagenet, images_from_parquet


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GROKSCAPE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GROKSCAPE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def one_line(error) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def write_folder(root, held_out="val", rows=4):
    """Three classes, of images of different sizes; the last class has none held out."""
    for split, classes in (("train", ("cat", "dog", "eel")), (held_out, ("cat", "dog"))):
        for number, name in enumerate(classes):
            (root / split / name).mkdir(parents=True)
            for row in range(rows + number):
                (image,) = encoded(1, 8 + row, 9 + number, seed=row)
                (root / split / name / f"n{row}.{('JPEG', 'jpg', 'png')[row % 3]}").write_bytes(image)
    (root / "train" / "cat" / "notes.txt").write_text("no image")
    (root / "train" / "cat" / ".hidden.jpg").write_bytes(b"")


@pytest.mark.parametrize("held_out", ["val", "validation", "test"])
def test_a_folder_equals_torchvisions(folder, held_out):
    from trainables.data.torchvision_guard import torchvision

    write_folder(folder / "pets", held_out)
    train, test = image_folder("pets")
    (folder / "pets" / "train" / "cat" / ".hidden.jpg").unlink()
    judge = torchvision().datasets.ImageFolder(str(folder / "pets" / "train"))
    assert train.labels.tolist() == judge.targets
    assert train.labels.dtype == np.int64
    for image, (expected, _) in zip(train.read(range(len(judge))), judge, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(image))), np.asarray(expected))
    assert (train.classes, test.classes, len(test.labels)) == (3, 3, 9)
    assert train.read([5, 0, 5])[0] == train.read([5])[0]
    assert train.groups.tolist() == list(range(len(judge)))
    assert image_folder("pets")[0] is train


def test_digest_of_a_folder(folder):
    write_folder(folder / "a")
    shutil.copytree(folder / "a", folder / "b")
    shutil.copytree(folder / "a", folder / "c")
    shutil.copytree(folder / "a", folder / "d")
    (folder / "c" / "train" / "cat" / "n0.JPEG").write_bytes(b"short")
    (folder / "d" / "train" / "cat").rename(folder / "d" / "train" / "ape")
    (folder / "d" / "val" / "cat").rename(folder / "d" / "val" / "ape")
    digests = [image_folder(name)[0].digest for name in "abcd"]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    assert image_folder("a")[1].digest not in digests


def test_bad_folders(folder):
    for name in ("empty", "new class", "no images"):
        (folder / name).mkdir()
    write_folder(folder / "new class" / "x")
    (folder / "new class" / "x" / "val" / "fox").mkdir()
    (folder / "no images" / "train" / "cat").mkdir(parents=True)
    (folder / "no images" / "val").mkdir()
    for name, reason in (
        ("nowhere", "must contain the folders train and val, validation or test"),
        ("empty", "must contain the folders train and val, validation or test"),
        ("new class/x", "val has the class 'fox'; must be one of train's"),
        ("no images", "contains no images (.jpg"),
    ):
        with pytest.raises(DataMissingError) as error:
            image_folder(name)
        assert str(folder / name) in one_line(error)
        assert reason in one_line(error)


def test_a_deleted_file(folder):
    write_folder(folder / "pets")
    train, _ = image_folder("pets")
    (folder / "pets" / "train" / "cat" / "n0.JPEG").unlink()
    with pytest.raises(DataMissingError, match=r"n0\.JPEG: cannot be read \(No such file or directory\)"):
        train.read([0])


@pytest.fixture
def shards(folder):
    """Two shards with row groups of 7, 7, 6 and 7, 3 rows, and a test set; (their address, images, labels)."""
    one, first = write_images(folder / "train-00000-of-00002.parquet", rows=20, seed=1)
    two, second = write_images(folder / "train-00001-of-00002.parquet", rows=10, seed=2, column="image")
    write_images(folder / "test.parquet", rows=10, seed=3)
    return "train-*.parquet", one + two, first + second


def test_parquet_is_read_by_row_group(shards, monkeypatch):
    address, images, labels = shards
    train, test = image_parquet(address, "test.parquet")
    assert train.labels.tolist() == labels
    assert (train.classes, test.classes) == (10, 10)
    assert np.bincount(train.groups).tolist() == [7, 7, 6, 7, 3]
    read = []
    monkeypatch.setattr(
        parquet.ParquetFile,
        "read_row_group",
        lambda file, group, *rest, real=parquet.ParquetFile.read_row_group, **more: (
            read.append(group) or real(file, group, *rest, **more)
        ),
    )
    rows = np.random.default_rng(0).permutation(30)
    assert train.read(rows) == [images[row] for row in rows]
    assert sorted(read) == [0, 0, 1, 1, 2]
    assert train.read([29, 0, 29]) == [images[29], images[0], images[29]]
    assert len(read) == 5


def test_row_groups_in_memory_are_bounded(shards, monkeypatch):
    address, images, _ = shards
    train, _ = image_parquet(address, "test.parquet")
    monkeypatch.setattr(datasets_files, "KEPT_BYTES", sum(map(len, images[:14])))
    for row in range(30):
        assert train.read([row]) == [images[row]]
        held = train._cache._groups.values()
        assert sum(map(len, [image for group in held for image in group])) == train._cache._size
        assert len(held) <= 3
    monkeypatch.setattr(datasets_files, "KEPT_BYTES", 0)
    assert train.read([0, 15]) == [images[0], images[15]]
    assert list(train._cache._groups) == [2]


def test_threads(shards, monkeypatch):
    address, images, _ = shards
    monkeypatch.setattr(datasets_files, "KEPT_BYTES", 0)
    train, _ = image_parquet(address, "test.parquet")
    wrong = []

    def read(seed):
        for rows in np.random.default_rng(seed).integers(0, 30, (20, 8)):
            if train.read(rows) != [images[row] for row in rows]:
                wrong.append(rows)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_pickling(folder, shards):
    write_folder(folder / "pets")
    for half in (*image_parquet(shards[0], "test.parquet"), *image_folder("pets")):
        half.read([0])
        copy = pickle.loads(pickle.dumps(half))
        assert copy.read([3, 0]) == half.read([3, 0])
        assert copy.digest == half.digest


def test_digest_of_parquet(folder, shards):
    address, _, _ = shards
    table = parquet.read_table(folder / "test.parquet")
    parquet.write_table(table.set_column(1, "label", pa.array([*range(9), 0])), folder / "labels.parquet")
    (folder / "same").mkdir()
    shutil.copy(folder / "test.parquet", folder / "same" / "x.parquet")
    digests = [image_parquet(address, name)[1].digest for name in ("test.parquet", "same", "labels.parquet")]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    "address",
    ["s3://secret@bucket/x", "s3://KEY:se/cret@bucket/x", "s3://KEY:se@cret@bucket/x", "s3://bucket/x?password=secret"],
)
def test_messages_hide_credentials(address):
    with pytest.raises(DataMissingError, match=r"s3://bucket/x: cannot be opened") as error:
        image_parquet(address, address)
    assert "cret" not in one_line(error)


def test_broken_parquet(folder, shards):
    address = shards[0]
    train, _ = image_parquet(address, "test.parquet")
    path = folder / "train-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataMissingError, match=r"00001-of-00002\.parquet: cannot be read \(.*\); replace") as error:
        train.read([25])
    one_line(error)
    with pytest.raises(DataMissingError, match=r"00001-of-00002\.parquet: cannot be read") as error:
        image_parquet("train-0000*.parquet", "test.parquet")
    one_line(error)
    path.unlink()
    with pytest.raises(DataMissingError, match=r"1 of 2 shards are missing"):
        image_parquet("train*.parquet", "test.parquet")
    parquet.write_table(pa.table({"img": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}), path)
    with pytest.raises(DataMissingError, match="has no rows"):
        image_parquet(str(path), "test.parquet")
    parquet.write_table(pa.table({"img": [b"x"], "label": [10]}), path)
    with pytest.raises(DataMissingError, match="has label 10; the largest in train is 9"):
        image_parquet("test.parquet", str(path))


@pytest.mark.parametrize("layout", ["folders", "Parquet", "the hub's folder data"])
def test_imagenet_in_every_layout(folder, monkeypatch, layout):
    root = folder / ("imagenet" if layout == "folders" else "imagenet-1k")
    if layout == "folders":
        write_folder(root)
        found = {"train": 15, "validation": 9}
    else:
        place = root / "data" if layout.startswith("the hub") else root
        place.mkdir(parents=True)
        write_images(place / "train-00000-of-00001.parquet", rows=12, column="image")
        write_images(place / "validation-00000-of-00001.parquet", rows=10, column="image")
        found = {"train": 12, "validation": 10}
    with pytest.raises(DataMissingError, match=r"^ImageNet: train has 1[25] images in .*; must be 1281167"):
        imagenet()
    monkeypatch.setattr(datasets, "IMAGENET_ROWS", found)
    assert [len(half.labels) for half in imagenet()] == list(found.values())


def test_missing_imagenet(folder):
    with pytest.raises(DataMissingError) as error:
        imagenet()
    for part in ("ImageNet", str(folder), "imagenet/train/CLASS", "train-*.parquet", "image-net.org", "imagenet-1k"):
        assert part in one_line(error)


def test_streamed_images_equal_those_in_memory(folder, shards):
    streamed, held = image_parquet(shards[0], "test.parquet")[1], images_from_parquet("test.parquet", "test.parquet")[0]
    decoded = [np.asarray(Image.open(io.BytesIO(image))) for image in streamed.read(range(10))]
    np.testing.assert_array_equal(np.stack(decoded), held.pixels)
    np.testing.assert_array_equal(streamed.labels, held.labels)
