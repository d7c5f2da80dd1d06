"""Sets in an object store: read whole and streamed from a real S3 server, and one line without the credentials."""

import pytest
from pyarrow import fs

from tests.support.small_images import write_images
from trainables.data.sets import DataMissingError, image_parquet, images_from_parquet, text_from


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("GROKSCAPE_DATA", raising=False)
    monkeypatch.setenv("GROKSCAPE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def upload(folder, uri):
    filesystem, path = fs.FileSystem.from_uri(uri)
    fs.copy_files(str(folder), path, source_filesystem=fs.LocalFileSystem(), destination_filesystem=filesystem)


def test_images_in_a_store(server, folder):
    for number in range(2):
        write_images(folder / f"train-0000{number}-of-00002.parquet", rows=20, seed=number)
    _, labels = write_images(folder / "test.parquet", rows=9, seed=2)
    upload(folder, server.uri("cifar"))
    train, test = server.uri("cifar/train-*.parquet"), server.uri("cifar/test.parquet")
    held, local = images_from_parquet(train, test), images_from_parquet(f"{folder}/train-*", f"{folder}/test.parquet")
    assert [half.digest for half in held] == [half.digest for half in local]
    assert held[1].labels.tolist() == labels
    streamed = image_parquet(train, test)
    on_disk = image_parquet(f"{folder}/train-*", f"{folder}/test.parquet")
    assert streamed[0].read([39, 0, 25]) == on_disk[0].read([39, 0, 25])
    assert streamed[0].digest == on_disk[0].digest
    (folder / "plain.txt").write_text("one\ntwo\n")
    upload(folder, server.uri("cifar"))
    assert text_from(server.uri("cifar/plain.txt"), f"{folder}/plain.txt")[0].text == "one\ntwo\n"


@pytest.mark.parametrize("place", ["nothing/train-*.parquet", "nothing", "nothing/train.parquet"])
def test_messages_hide_credentials(server, place):
    with pytest.raises(DataMissingError) as error:
        images_from_parquet(server.uri(place), server.uri(place))
    assert str(error.value).startswith(f"images_from_parquet: there is nothing at s3://bucket/{place}; ")
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)
    with pytest.raises(DataMissingError, match=r"s3://no-such-bucket/a") as error:
        images_from_parquet(server.uri("a").replace("@bucket/", "@no-such-bucket/"), "/b")
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)
    with pytest.raises(DataMissingError, match=r"s3://bad name/a: cannot be opened") as error:
        images_from_parquet("s3://key:secret@bad name/a", "/b")
    assert "secret" not in str(error.value)
