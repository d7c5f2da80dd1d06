"""Sets fetched over HTTP, from a stand-in on loopback: once for twenty processes, whole, checked, or not at all."""

import gzip
import hashlib
import io
import json
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import tarfile

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.support.stand_in import StandIn
from tests.support.sweep_runs import ROOT, wait_until
from trainables.data.download import WIKITEXT

PROCESSES = 20
ROWS = {"train": 36_718, "validation": 3_760, "test": 4_358}
READ_WIKITEXT = """
from trainables.data.sets import DataMissingError, wikitext2
try:
    train, test = wikitext2()
    print(len(train.text.splitlines()), len(test.text.splitlines()), test.text.splitlines()[-1])
except DataMissingError as error:
    print(error)
"""


@pytest.fixture
def stand_in():
    with StandIn() as found:
        yield found


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def environment(folder, **more):
    named = {"GROKSCAPE_DATA": str(folder), "GROKSCAPE_CACHE": str(folder.parent / "cache"), "GROKSCAPE_DOWNLOAD": "1"}
    return os.environ | named | {"PYTHONPATH": str(ROOT), "no_proxy": "127.0.0.1"} | more


def as_parquet(rows, split):
    sink = io.BytesIO()
    parquet.write_table(pa.table({"text": [f" {split} {row} \n" for row in range(rows)]}), sink)
    return sink.getvalue()


def wikitext_path(split):
    return f"{WIKITEXT}/wikitext-2-v1/{split}-00000-of-00001.parquet"


def serve_wikitext(stand_in):
    stand_in.files = {wikitext_path(split): as_parquet(rows, split) for split, rows in ROWS.items()}


def start_reader(stand_in, folder):
    return subprocess.Popen(
        [sys.executable, "-c", READ_WIKITEXT],
        env=environment(folder, HF_ENDPOINT=stand_in.address),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_wikitext(stand_in, folder, processes=1):
    """What each of some processes at once prints."""
    started = [start_reader(stand_in, folder) for _ in range(processes)]
    done = [process.communicate(timeout=120) for process in started]
    assert [errors for _, errors in done if errors] == []
    return [output.rstrip("\n") for output, _ in done]


def names(folder):
    """What is in the data folder, but for locks, which hold nothing."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_twenty_processes_download_wikitext_once(stand_in, folder):
    serve_wikitext(stand_in)
    assert read_wikitext(stand_in, folder, PROCESSES) == ["36718 4358  test 4357 "] * PROCESSES
    assert stand_in.asked == dict.fromkeys(stand_in.files, 1)
    assert names(folder) == ["wikitext-2-v1"]
    stand_in.files.clear()
    assert read_wikitext(stand_in, folder) == ["36718 4358  test 4357 "]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("cut", r"ended after \d+ of \d+ bytes"),
        ("absent", "HTTP Error 404"),
        ("fewer rows", "test has 4357 rows; must be 4358"),
        ("a page of HTML", "test-00000-of-00001.parquet is not a Parquet file"),
    ],
)
def test_failed_downloads(stand_in, folder, damage, reason):
    serve_wikitext(stand_in)
    path = wikitext_path("test")
    if damage == "cut":
        stand_in.cut.add(path)
    elif damage == "absent":
        del stand_in.files[path]
    else:
        stand_in.files[path] = as_parquet(4357, "test") if damage == "fewer rows" else b"<html>" * 100
    (line,) = read_wikitext(stand_in, folder)
    assert "\n" not in line
    assert line.startswith(f"WikiText-2: cannot download to '{folder}' (")
    assert re.search(reason, line), line
    assert names(folder) == []
    stand_in.cut.clear()
    serve_wikitext(stand_in)
    assert read_wikitext(stand_in, folder) == ["36718 4358  test 4357 "]


def test_a_process_killed_during_a_download(stand_in, folder):
    serve_wikitext(stand_in)
    stand_in.stalled.add(wikitext_path("train"))
    killed = start_reader(stand_in, folder)
    wait_until(lambda: list(folder.glob(".*.partial/*/*.parquet")), timeout_s=60, what="the fetch is under way")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (folder / "wikitext-2-v1").exists()
    stand_in.stalled.clear()
    assert read_wikitext(stand_in, folder) == ["36718 4358  test 4357 "]
    assert names(folder) == ["wikitext-2-v1"]


def cifar10_archive():
    """torchvision's archive with ten rows a file; (content, its class's attributes)."""
    chance, files, sums = np.random.default_rng(0), {}, {}
    for name in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]:
        rows = {"data": chance.integers(0, 256, (10, 3072), np.uint8), "labels": list(range(10))}
        files[name] = pickle.dumps(rows)
    files["batches.meta"] = pickle.dumps({"label_names": [str(number) for number in range(10)]})
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
            sums[name] = hashlib.md5(content).hexdigest()
    content = archive.getvalue()
    return content, {
        "tgz_md5": hashlib.md5(content).hexdigest(),
        "train_list": [[name, sums[name]] for name in files if name.startswith("data")],
        "test_list": [["test_batch", sums["test_batch"]]],
        "meta": {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]},
    }


def mnist_files():
    """torchvision's four files with 20 rows each, by name."""
    images = struct.pack(">4B3I", 0, 0, 8, 3, 20, 28, 28) + bytes(20 * 28 * 28)
    labels = struct.pack(">4BI", 0, 0, 8, 1, 20) + bytes(20)
    return {
        f"{prefix}-{kind}-ubyte.gz": gzip.compress(content)
        for prefix in ("train", "t10k")
        for kind, content in (("images-idx3", images), ("labels-idx1", labels))
    }


unpacks = pytest.mark.skipif(
    not hasattr(tarfile, "data_filter"), reason="this Python does not unpack archives: tests/unit/data says how"
)


def run_fetchers(name, attributes, folder, processes):
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.torchvision_fetchers", name, str(processes)],
        input=json.dumps(attributes),
        env=environment(folder),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout.splitlines()


@unpacks
def test_twenty_processes_download_cifar10_once(stand_in, folder):
    stand_in.files["cifar.tar.gz"], attributes = cifar10_archive()
    attributes["url"] = f"{stand_in.address}/cifar.tar.gz"
    lines = run_fetchers("cifar10", attributes, folder, PROCESSES)
    assert len(lines) == PROCESSES
    (line,) = set(lines)
    assert len(line.split()) == 2
    assert stand_in.asked == {"cifar.tar.gz": 1}
    assert names(folder) == ["cifar-10-batches-py"]


@unpacks
@pytest.mark.parametrize("damage", ["another content", "cut"])
def test_a_wrong_checksum(stand_in, folder, damage):
    content, attributes = cifar10_archive()
    stand_in.files["cifar.tar.gz"] = content if damage == "cut" else content[:-1] + b"x"
    if damage == "cut":
        stand_in.cut.add("cifar.tar.gz")
    attributes["url"] = f"{stand_in.address}/cifar.tar.gz"
    (line,) = run_fetchers("cifar10", attributes, folder, 1)
    assert line == f"CIFAR-10: cannot download to '{folder}' (File not found or corrupted.)"
    assert names(folder) == []


def test_mnist(stand_in, folder):
    stand_in.files = mnist_files()
    sums = [[name, hashlib.md5(content).hexdigest()] for name, content in stand_in.files.items()]
    lines = run_fetchers("mnist", {"mirrors": [f"{stand_in.address}/"], "resources": sums}, folder, 3)
    assert len(lines) == 3
    assert len(set(lines)) == 1
    assert stand_in.asked == dict.fromkeys(stand_in.files, 1)
    assert names(folder) == ["MNIST"]
    assert not list(folder.glob("MNIST/raw/*.gz"))


def test_a_folder_that_cannot_be_written(stand_in, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    # Root may write anywhere, but not to a folder.
    (folder / ".wikitext-2-v1.lock").mkdir()
    (line,) = read_wikitext(stand_in, folder)
    assert re.fullmatch(rf"WikiText-2: cannot download to '{folder}' \(.*Is a directory.*\)", line)
    assert stand_in.asked == {}
