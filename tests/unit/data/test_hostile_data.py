"""Data that somebody made to do harm: one line with the file's path; nothing runs, grows, or is written elsewhere."""

import io
import os
import pickle
import struct
import tarfile
import zlib
from hashlib import md5, sha256

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from tests.support.fake_mnist import write_mnist
from tests.support.small_images import encoded, struct_column
from tests.support.stand_in import StandIn
from trainables.data import sets as datasets
from trainables.data.decoding import decode
from trainables.data.sets import DataMissingError, Text, cifar10, image_folder, images_from_parquet, mnist, text_from
from trainables.data.tokenizers import TrainedBPE


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    datasets._images.cache_clear()
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("GROKSCAPE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GROKSCAPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GROKSCAPE_DOWNLOAD", "1")
    return tmp_path / "data"


def refused(read, *parts):
    """The one line with which ``read`` refuses, which has these parts."""
    with pytest.raises(DataMissingError) as error:
        read()
    line = str(error.value)
    assert "\n" not in line
    for part in parts:
        assert str(part) in line, line


class Harm:
    """Pickled, it creates a file when it is unpickled."""

    def __init__(self, folder):
        self.path = folder / "harm"

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


# --- images -------------------------------------------------------------------------------------------------------


def png(width, height, data=b""):
    """A PNG that claims to be of this size."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(harm) (w) file closefile\n%%EOF\n"
BAD_IMAGES = {
    "a truncated JPEG": (encoded(1, 40, 40)[0][:-300], "cannot be decoded as an image ("),
    "a bomb": (png(60_000, 60_000), "could be decompression bomb"),
    "a bomb of which Pillow only warns": (png(12_000, 12_000), "could be decompression bomb"),
    "60 000 pixels wide": (png(60_000, 1_000, bytes(1_000 * 60_001)), "is an image of 60000×1000 pixels; must be"),
    "a line": (png(10_000, 1, bytes(10_001)), "is an image of 10000×1 pixels; must be"),
    "a size of nothing": (png(0, 0), "cannot be decoded as an image ("),
    "a program": (POSTSCRIPT, "cannot be decoded as an image (cannot identify image file)"),
    "text": (b"<svg/>", "cannot be decoded as an image (cannot identify image file)"),
}


@pytest.mark.parametrize("bad", BAD_IMAGES)
def test_bad_images(folder, bad):
    content, reason = BAD_IMAGES[bad]
    path = folder / "pets" / "train" / "cat" / "bad.png"
    for split in ("train", "val"):
        (folder / "pets" / split / "cat").mkdir(parents=True)
        (folder / "pets" / split / "cat" / "good.jpg").write_bytes(encoded(1)[0])
    path.write_bytes(content)
    files, _ = image_folder("pets")
    refused(lambda: [decode(image, files.place(row)) for row, image in enumerate(files.read([0, 1]))], path, reason)
    good = encoded(3, 40, 40)
    for number, images in enumerate((good, [good[0], content, good[1]])):
        table = pa.table({"image": struct_column(images), "label": [0] * 3})
        parquet.write_table(table, folder / f"train-0000{number}-of-00002.parquet")
    where = folder / "train-00001-of-00002.parquet"
    refused(lambda: images_from_parquet("train-*.parquet", "train-*.parquet"), f"{where}, row 1: ", reason)
    files, _ = datasets.image_parquet("train-*.parquet", "train-*.parquet")
    refused(lambda: decode(files.read([4])[0], files.place(4)), f"{where}, row 1: ", reason)
    assert not os.path.exists("harm")


def test_a_set_of_bombs(folder):
    """Each is allowed, but not all of them in memory at once."""
    buffer = io.BytesIO()
    Image.new("L", (6000, 6000)).save(buffer, "PNG")
    table = pa.table({"image": [buffer.getvalue()] * 40, "label": [0] * 40})
    parquet.write_table(table, folder / "bombs.parquet")
    refused(lambda: images_from_parquet("bombs.parquet", "bombs.parquet"), folder / "bombs.parquet", "GiB of memory")


def test_odd_files_in_a_folder_of_images(folder):
    root = folder / "pets"
    for split in ("train", "val"):
        (root / split / "cat").mkdir(parents=True)
        (root / split / "cat" / "good.jpg").write_bytes(encoded(1)[0])
    odd = root / "train" / "cat" / "odd.jpg"
    os.mkfifo(odd)
    refused(lambda: image_folder("pets"), odd, "must be a file of at most")
    odd.unlink()
    with odd.open("wb") as file:
        file.truncate(1 << 40)
    refused(lambda: image_folder("pets"), odd, "must be a file of at most")
    odd.unlink()
    odd.symlink_to("nowhere")
    refused(lambda: image_folder("pets"), odd, "cannot be read (No such file")
    odd.unlink()
    loop = root / "train" / "cat" / "loop"
    loop.symlink_to(root / "train")
    refused(lambda: image_folder("pets"), "cat/loop", "is a link to a folder above it")
    loop.unlink()
    (root / "train" / "cat" / os.fsdecode(b"\xff.jpg")).write_bytes(encoded(1)[0])
    assert len(image_folder("pets")[0].labels) == 2


# --- torchvision's files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("train-images-idx3-ubyte", struct.pack(">4B3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 28), "header promises"),
        (
            "train-images-idx3-ubyte",
            struct.pack(">4B3I", 0, 0, 8, 3, 1, 28, 27) + bytes(28 * 27),
            "must be images of 28",
        ),
        (
            "train-labels-idx1-ubyte",
            struct.pack(">4BI", 0, 0, 8, 1, 60) + bytes(59),
            "60 bytes, and 59 follow",
        ),
        ("train-labels-idx1-ubyte", struct.pack(">4BI", 0, 0, 8, 1, 59) + bytes(59), "holds 59 labels for 60 images"),
        ("train-labels-idx1-ubyte", struct.pack(">4BI", 0, 0, 8, 1, 60) + b"\xff" * 60, "has the label 255"),
        ("t10k-labels-idx1-ubyte", b"\0\0\x0e\x01" + bytes(12), "does not begin as an IDX file"),
        ("t10k-labels-idx1-ubyte", b"\0\0\x08\x03\0", "ends within its header"),
    ],
)
def test_mnist_files_that_lie(folder, file, content, reason):
    write_mnist(folder)
    path = folder / "MNIST" / "raw" / file
    path.write_bytes(content)
    refused(mnist, path, reason)


class Python2Array:
    """Pickled as Python 2 pickled an array: its bytes as latin-1 characters."""

    def __init__(self, pixels):
        self.pixels = pixels

    def __reduce__(self):
        kind, arguments, state = self.pixels.__reduce__()
        return kind, arguments, (*state[:-1], state[-1].decode("latin1"))


def write_cifar(folder, monkeypatch, make=lambda pixels, labels: {"data": pixels, "labels": labels}, protocol=4):
    """CIFAR-10 with two rows a batch; the test batch is what ``make`` returns."""
    from trainables.data.torchvision_guard import torchvision

    kind = torchvision().datasets.CIFAR10
    (folder / kind.base_folder).mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3072), np.uint8)
    for attribute in ("train_list", "test_list"):
        sums = []
        for name, _ in getattr(kind, attribute):
            batch = make(pixels, [3, 9]) if attribute == "test_list" else {"data": pixels, "labels": [3, 9]}
            content = pickle.dumps(batch, protocol)
            (folder / kind.base_folder / name).write_bytes(content)
            sums.append([name, md5(content).hexdigest()])
        monkeypatch.setattr(kind, attribute, sums)
    return folder / kind.base_folder / "test_batch", pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("protocol", [2, 4])
def test_cifar_of_any_python(folder, monkeypatch, protocol):
    _, pixels = write_cifar(
        folder, monkeypatch, lambda rows, labels: {"data": Python2Array(rows), "labels": labels}, protocol
    )
    train, test = cifar10()
    np.testing.assert_array_equal(test.pixels, pixels)
    np.testing.assert_array_equal(train.pixels, np.concatenate([pixels] * 5))
    assert test.labels.tolist() == [3, 9]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda rows, labels, harm: {"data": rows, "labels": labels, "more": harm}, "mkdir, which no batch of CIFAR"),
        (lambda rows, labels, harm: {"data": np.array([[harm]]), "labels": [0]}, "cannot be read ("),
        (lambda rows, labels, _: {"data": rows.astype(object), "labels": labels}, "type 'O8'; must be bytes"),
        (lambda rows, labels, _: {"data": rows[:, :9], "labels": labels}, "of shape (2, 9); must be rows of 3072"),
        (lambda rows, labels, _: {"data": rows, "labels": [1]}, "does not hold a label for each of its 2"),
        (lambda rows, labels, _: [labels], "cannot be read ("),
    ],
)
def test_cifar_files_that_run_code_or_lie(folder, monkeypatch, make, reason):
    harm = Harm(folder)
    path, _ = write_cifar(folder, monkeypatch, lambda rows, labels: make(rows, labels, harm))
    refused(cifar10, path, reason)
    assert not harm.path.exists()


def member(name, **fields):
    info = tarfile.TarInfo(name)
    vars_of = {"size": 4} | fields
    for field, value in vars_of.items():
        setattr(info, field, value)
    return info


@pytest.mark.parametrize(
    "bad",
    [
        member("../../../escaped"),
        member("cifar-10-batches-py/../../../../escaped"),
        member("/OUTSIDE/escaped"),
        member("cifar-10-batches-py/link", type=tarfile.SYMTYPE, linkname="../../../..", size=0),
        member("cifar-10-batches-py/link", type=tarfile.LNKTYPE, linkname="../../../victim", size=0),
        member("cifar-10-batches-py/device", type=tarfile.CHRTYPE, size=0),
    ],
    ids=["parent", "parent below", "absolute", "link", "hard link", "device"],
)
@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="this Python is refused: see the next test")
def test_archives_that_leave_their_folder(folder, monkeypatch, bad):
    from trainables.data.torchvision_guard import torchvision

    kind, outside = torchvision().datasets.CIFAR10, folder.parent
    (outside / "victim").write_text("untouched")
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    bad = bad.replace(name=bad.name.replace("/OUTSIDE", str(outside)))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.addfile(bad, io.BytesIO(b"harm"))
        tar.addfile(member("cifar-10-batches-py/link/escaped"), io.BytesIO(b"harm"))
    with StandIn() as server:
        server.files["cifar.tar.gz"] = archive.getvalue()
        monkeypatch.setattr(kind, "url", f"{server.address}/cifar.tar.gz")
        monkeypatch.setattr(kind, "tgz_md5", md5(archive.getvalue()).hexdigest())
        refused(cifar10, "CIFAR-10: ", folder)
    left = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file() and path.suffix != ".lock"}
    assert {path for path in left if folder / kind.base_folder not in path.parents} == set(before)
    assert all(left[path] == content for path, content in before.items())


def test_a_python_that_believes_archives(folder, monkeypatch):
    """The patch releases of 3.11 before 3.11.4, which Debian 12 has: nothing is even asked for."""
    from trainables.data.torchvision_guard import torchvision

    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    with StandIn() as server:
        monkeypatch.setattr(torchvision().datasets.CIFAR10, "url", f"{server.address}/cifar.tar.gz")
        refused(cifar10, "CIFAR-10: cannot download to ", "use 3.11.4 or later, or put the set there yourself")
        assert server.asked == {}


# --- text and tokens ----------------------------------------------------------------------------------------------


def test_text_that_is_no_text(folder):
    rows = pa.StringArray.from_buffers(1, pa.py_buffer(struct.pack("<2i", 0, 1)), pa.py_buffer(b"\xff"))
    parquet.write_table(pa.table({"text": rows}), folder / "bad.parquet")
    parquet.write_table(pa.Table.from_arrays([["a"], ["b"]], ["text", "text"]), folder / "twice.parquet")
    (folder / "bad.txt").write_bytes(b"\xff\xfe")
    whole = (folder / "twice.parquet").read_bytes()
    (folder / "name.parquet").write_bytes(whole.replace(b"text", b"\xff\xffxt"))
    for name in ("bad.parquet", "twice.parquet", "bad.txt", "name.parquet"):
        refused(lambda: text_from(name, name), folder / name, "cannot be read (")  # noqa: B023


def test_files_that_grow(folder):
    """A few bytes that stand for very much: equal rows, and shards by their number."""
    many = pa.table({"text": pa.array([""]).take(pa.array(np.zeros(2_000_000, np.int64)))})
    parquet.write_table(many, folder / "rows.parquet")
    refused(lambda: text_from("rows.parquet", "rows.parquet"), folder / "rows.parquet", "is too large (2,000,000 rows")
    (folder / "train-0-of-99999999999999.parquet").write_bytes(b"")
    refused(lambda: text_from("train-*.parquet", "rows.parquet"), "99999999999998 of 99999999999999 shards are missing")


TRAINING = Text(" walk walks walked walking" * 50, "a digest")


@pytest.mark.parametrize("kind", ["tokens", "tokenizers"])
@pytest.mark.parametrize("poison", ["another array", "a digest too", "a pickle"])
def test_a_poisoned_cache_is_made_again(tmp_path, kind, poison):
    tokenizer = TrainedBPE(vocabulary=300)
    first = tokenizer.tokens(TRAINING, TRAINING).copy()
    (path,) = (tmp_path / "cache" / kind).glob("*.npy")
    whole = path.read_bytes()
    path.unlink()
    for tokens in (tmp_path / "cache" / "tokens").glob("*.npy"):
        tokens.unlink()  # so that the tokenizer is asked for
    buffer = io.BytesIO()
    if poison == "a pickle":
        np.save(buffer, np.array([Harm(tmp_path)], dtype=object), allow_pickle=True)
    else:
        np.save(
            buffer, np.full(50, 301, np.uint16) if kind == "tokens" else np.frombuffer(b'{"version": "x"}', np.uint8)
        )
    content = buffer.getvalue()
    path.write_bytes(content if poison == "another array" else content + sha256(content).digest())
    np.testing.assert_array_equal(tokenizer.tokens(TRAINING, TRAINING), first)
    assert path.read_bytes() == whole
    assert not (tmp_path / "harm").exists()
