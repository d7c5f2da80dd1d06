"""Images from Parquet: columns, shards, addresses, grey and colour, the cache, and one line for what is wrong."""

import io
import multiprocessing
import pickle

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from tests.support.small_images import encoded, struct_column, write_images
from trainables.data import images as datasets_images
from trainables.data import sets as datasets
from trainables.data.folder import cache_folder, cached_array
from trainables.data.sets import DataMissingError, cifar10, cifar100, images_from_parquet


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("GROKSCAPE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GROKSCAPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GROKSCAPE_DOWNLOAD", raising=False)
    return tmp_path / "data"


def one_line(error) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def pillow_s(images, mode="RGB"):
    return np.stack([np.asarray(Image.open(io.BytesIO(image)).convert(mode)) for image in images])


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
@pytest.mark.parametrize("column", ["img", "image"])
def test_images_equal_pillows(folder, format, column):
    train, labels = write_images(folder / "train.parquet", rows=30, format=format, column=column)
    test, _ = write_images(folder / "test.parquet", rows=11, format=format, column=column, seed=1)
    halves = images_from_parquet("train.parquet", "test.parquet")
    for half, images in zip(halves, (train, test), strict=True):
        np.testing.assert_array_equal(half.pixels, pillow_s(images))
        assert half.pixels.dtype == np.uint8
        assert half.labels.dtype == np.int64
    np.testing.assert_array_equal(halves[0].labels, labels)
    assert images_from_parquet("train.parquet", "test.parquet")[0] is halves[0]


def test_grey_and_colour(folder):
    grey, _ = write_images(folder / "grey.parquet", rows=6, mode="L", format="PNG")
    colour, _ = write_images(folder / "colour.parquet", rows=6, format="PNG")
    labels = pa.array(range(12))
    parquet.write_table(pa.table({"image": grey + colour, "label": labels}), folder / "both.parquet")
    only, both = images_from_parquet("grey.parquet", "both.parquet")
    np.testing.assert_array_equal(only.pixels, pillow_s(grey, "L"))
    np.testing.assert_array_equal(both.pixels, pillow_s(grey + colour))


def test_shards_by_every_address(folder):
    _, labels = write_images(folder / "whole.parquet", rows=25)
    for number, (low, high) in enumerate(((0, 10), (10, 20), (20, 25))):
        table = parquet.read_table(folder / "whole.parquet").slice(low, high - low)
        (folder / "train").mkdir(exist_ok=True)
        for path in (f"train-0000{number}-of-00003.parquet", f"train/000{number}.parquet"):
            parquet.write_table(table, folder / path, row_group_size=4)
    (folder / "train" / "dataset_info.json").write_text("{}")
    whole = images_from_parquet("whole.parquet", "whole.parquet")[0]
    for address in ("train-*.parquet", "train", "train/", str(folder / "train"), f"file://{folder}/train/*.parquet"):
        found = images_from_parquet(address, "whole.parquet")[0]
        np.testing.assert_array_equal(found.labels, labels)
        assert found.digest == whole.digest
    (folder / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(DataMissingError, match=r"1 of 3 shards are missing, first 1") as error:
        images_from_parquet("train-*.parquet", "train")
    one_line(error)


def test_cifar10_as_parquet(folder, monkeypatch):
    monkeypatch.setattr(datasets, "CIFAR_ROWS", {"train": 20, "test": 10})
    (folder / "cifar10-jpeg").mkdir()
    write_images(folder / "cifar10-jpeg" / "train.parquet", rows=20)
    write_images(folder / "cifar10-jpeg" / "test.parquet", rows=9)
    with pytest.raises(DataMissingError, match=r"^CIFAR-10: test has 9 rows in .*; must be 10$"):
        cifar10()
    datasets_images.read_parquet.cache_clear()
    write_images(folder / "cifar10-jpeg" / "test.parquet", rows=10)
    assert [half.pixels.shape for half in cifar10()] == [(20, 32, 32, 3), (10, 32, 32, 3)]


def test_cifar100(folder, monkeypatch):
    monkeypatch.setattr(datasets, "CIFAR_ROWS", {"train": 3, "test": 3})
    (folder / "cifar100").mkdir()
    images, _ = write_images(folder / "one.parquet", rows=3)
    table = pa.table({"img": struct_column(images), "fine_label": [7, 8, 99], "coarse_label": [1, 2, 3]})
    for split in ("train", "test"):
        parquet.write_table(table, folder / "cifar100" / f"{split}-00000-of-00001.parquet")
    assert cifar100()[0].labels.tolist() == [7, 8, 99]


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_torchvisions_files(folder, monkeypatch, name):
    from trainables.data.torchvision_guard import torchvision

    kind = getattr(torchvision().datasets, name.upper())
    batches = folder / kind.base_folder
    batches.mkdir()
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 256, (len(kind.train_list), 4, 3, 32, 32), np.uint8)
    label = "labels" if name == "cifar10" else "fine_labels"
    for (file, _), rows in zip(kind.train_list, pixels, strict=True):
        (batches / file).write_bytes(pickle.dumps({"data": rows.reshape(4, -1), label: [3, 1, 2, 0]}))
    (batches / kind.test_list[0][0]).write_bytes(pickle.dumps({"data": pixels[0].reshape(4, -1), label: [0, 1, 2, 3]}))
    (batches / kind.meta["filename"]).write_bytes(pickle.dumps({kind.meta["key"]: ["a", "b", "c", "d"]}))
    read = getattr(datasets, name)
    with pytest.raises(DataMissingError, match=r"its MD5 checksum is not the published one") as error:
        read()
    assert str(batches) in one_line(error)
    for attribute in ("train_list", "test_list"):
        monkeypatch.setattr(kind, attribute, [[file, None] for file, _ in getattr(kind, attribute)])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": None})
    train, test = read()
    np.testing.assert_array_equal(train.pixels, pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    assert train.labels.tolist() == [3, 1, 2, 0] * len(kind.train_list)
    assert test.labels.tolist() == [0, 1, 2, 3]
    assert train.pixels.flags.c_contiguous


def test_missing_sets(folder):
    for read, parts in (
        (cifar10, ("CIFAR-10", "cifar-10-batches-py", "cifar10-jpeg/train*.parquet", "GROKSCAPE_DOWNLOAD=1")),
        (cifar100, ("CIFAR-100", "cifar-100-python", "cifar100/train*.parquet", "GROKSCAPE_DOWNLOAD=1")),
        (lambda: images_from_parquet("a.parquet", "b"), ("images_from_parquet", "nothing at", f"{folder}/a.parquet")),
        (lambda: images_from_parquet("nowhere://a", "b"), ("images_from_parquet", "nowhere://a", "cannot be opened")),
    ):
        with pytest.raises(DataMissingError) as error:
            read()
        for part in parts:
            assert part in one_line(error)


def broken(folder, damage):
    images, _ = write_images(folder / "train.parquet", rows=4)
    path, labels = folder / "train.parquet", [0, 1, 2, 3]
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "no such column":
        parquet.write_table(pa.table({"picture": images, "label": labels}), path)
    elif damage == "no label":
        parquet.write_table(pa.table({"image": images, "label": [0, 1, -1, 2]}), path)
    elif damage == "a label in words":
        parquet.write_table(pa.table({"image": images, "label": list("abcd")}), path)
    elif damage == "a path only":
        parquet.write_table(pa.table({"image": struct_column([images[0], None, *images[2:]]), "label": labels}), path)
    elif damage == "text":
        parquet.write_table(pa.table({"image": ["a", "b", "c", "d"], "label": labels}), path)
    elif damage == "half an image":
        parquet.write_table(pa.table({"image": [*images[:2], images[2][:-200], images[3]], "label": labels}), path)
    elif damage == "no image":
        parquet.write_table(pa.table({"image": [*images[:3], b"x" * 300], "label": labels}), path)
    elif damage == "two sizes":
        parquet.write_table(pa.table({"image": [*images[:3], encoded(1, 16, 48)[0]], "label": labels}), path)
    elif damage == "empty":
        parquet.write_table(pa.table({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}), path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("cut", r"train\.parquet: cannot be read \(.*\); replace that file"),
        ("no such column", r"has no column img or image; its columns: picture, label"),
        ("no label", r"has rows without a label \(-1\)"),
        ("a label in words", r"labels are of type string; must be integers"),
        ("a path only", r"1 rows have no image"),
        ("text", r"images are of type string; must be encoded bytes"),
        ("half an image", r"/train\.parquet, row 2: cannot be decoded as an image \(.*[Tt]runcated.*\)"),
        ("no image", r"/train\.parquet, row 3: cannot be decoded as an image \(cannot identify image file\)"),
        ("two sizes", r"has images of 2 sizes \(32×32, 48×16, \.\.\.\)"),
        ("empty", r"has no rows"),
    ],
)
def test_broken_files(folder, damage, reason):
    broken(folder, damage)
    with pytest.raises(DataMissingError, match=reason) as error:
        images_from_parquet("train.parquet", "train.parquet")
    assert one_line(error).startswith("images_from_parquet: ")


def test_decoded_images_are_cached(folder, monkeypatch):
    write_images(folder / "train.parquet", rows=10)
    first, _ = images_from_parquet("train.parquet", "train.parquet")
    datasets_images.read_parquet.cache_clear()
    monkeypatch.setattr(datasets_images, "_decode", lambda *_: pytest.fail("decoded again"))
    again, _ = images_from_parquet("train.parquet", "train.parquet")
    np.testing.assert_array_equal(again.pixels, first.pixels)
    assert again.digest == first.digest
    # It is mapped, and may be written to (torch wants that), which the file never learns.
    assert not again.pixels.flags.owndata
    torch.from_numpy(again.pixels)[0] = 0
    datasets_images.read_parquet.cache_clear()
    assert images_from_parquet("train.parquet", "train.parquet")[0].pixels[0].any()
    monkeypatch.undo()


def test_digest(folder):
    images, labels = write_images(folder / "a.parquet", rows=10)
    parquet.write_table(pa.table({"image": images, "label": labels}), folder / "b.parquet", row_group_size=3)
    parquet.write_table(pa.table({"image": images, "label": labels[::-1]}), folder / "c.parquet")
    parquet.write_table(pa.table({"image": images[::-1], "label": labels}), folder / "d.parquet")
    digests = [images_from_parquet(f"{name}.parquet", "a.parquet")[0].digest for name in "abcd"]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("damage", [b"", b"no array", None])
def test_a_broken_cache(tmp_path, monkeypatch, damage):
    made = np.arange(6)
    if damage is None:
        (tmp_path / "cache").write_text("a file where the folder should be")
    else:
        (cache_folder() / "kind").mkdir(parents=True)
        (cache_folder() / "kind" / "key.npy").write_bytes(damage)
    np.testing.assert_array_equal(cached_array("kind", "key", lambda: made, fits=lambda _: True), made)


def make_one(folder):
    (folder / f"{multiprocessing.current_process().pid}").touch()
    return np.arange(5)


def ask(folder):
    return int(cached_array("kind", "key", lambda: make_one(folder), fits=lambda _: True).sum())


def test_one_process_makes_an_array(tmp_path):
    (tmp_path / "makers").mkdir()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(ask, [tmp_path / "makers"] * 4, chunksize=1) == [10] * 4
    assert len(list((tmp_path / "makers").iterdir())) == 1
    assert [path.suffix for path in sorted((cache_folder() / "kind").iterdir())] == [".lock", ".npy"]


def test_cache_folder(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("GROKSCAPE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "grokscape"
