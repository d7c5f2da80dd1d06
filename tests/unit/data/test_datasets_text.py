"""Text: Parquet rows as lines, plain files, WikiText's layouts, and one line for what is missing or broken."""

import pyarrow as pa
import pytest
from pyarrow import parquet

from trainables.data.sets import DataMissingError, text_from, wikitext2, wikitext103


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GROKSCAPE_DATA", str(tmp_path))
    monkeypatch.delenv("GROKSCAPE_DOWNLOAD", raising=False)
    return tmp_path


LINES = [" \n", " = Robert = \n", " \n", " an actor , 2 @.@ 5 m – ⊥ \n"]


def write(path, rows, column="text"):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({column: rows}), path)


def one_line(error) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_rows_with_and_without_newlines(folder):
    write(folder / "with.parquet", LINES)
    write(folder / "without.parquet", [line.removesuffix("\n") for line in LINES])
    write(folder / "mixed.parquet", ["", " = Robert = \n", "", "the end"])
    (folder / "plain.txt").write_text("".join(LINES), encoding="utf-8")
    (folder / "windows.txt").write_bytes("".join(LINES).replace("\n", "\r\n").encode())
    one, other = text_from("with.parquet", "without.parquet")
    plain, windows = text_from("plain.txt", str(folder / "windows.txt"))
    assert one.text == other.text == plain.text == windows.text == "".join(LINES)
    assert len({text.digest for text in (one, other, plain, windows)}) == 1
    mixed, _ = text_from("mixed.parquet", "with.parquet")
    assert mixed.text == "\n = Robert = \n\nthe end\n"
    assert mixed.digest != one.digest


def test_shards(folder):
    for number in range(2):
        write(folder / "corpus" / f"train-0000{number}-of-00002.parquet", LINES[2 * number :][:2])
        (folder / f"part{number}.txt").write_text(f"{number}\n")
    train, parts = text_from("corpus", "part*.txt")
    assert train.text == "".join(LINES)
    assert parts.text == "0\n1\n"


@pytest.mark.parametrize("layout", ["wikitext-2", "wikitext-2-v1", "the hub's", "as published"])
def test_wikitext_in_every_layout(folder, layout):
    rows = {"train": LINES * 3, "validation": LINES[1:2], "test": LINES}
    for split, lines in rows.items():
        if layout == "as published":
            path = folder / "wikitext-2" / f"wiki.{split.replace('validation', 'valid')}.tokens"
            path.parent.mkdir(exist_ok=True)
            path.write_text("".join(lines), encoding="utf-8")
        elif layout == "the hub's":
            write(folder / "wikitext" / "wikitext-2-v1" / f"{split}-00000-of-00001.parquet", lines)
        else:
            write(folder / layout / f"{split}.parquet", lines)
    train, test = wikitext2()
    assert (train.text, test.text) == ("".join(LINES * 3), "".join(LINES))
    assert wikitext2()[0] is train


def test_missing(folder):
    write(folder / "wikitext-103" / "train-00000-of-00002.parquet", LINES)
    write(folder / "wikitext-2" / "train.parquet", LINES)
    for read, parts in (
        (wikitext2, ("WikiText-2:", "wikitext-2-v1/train*.parquet and test*.parquet", "GROKSCAPE_DOWNLOAD=1")),
        (wikitext103, ("WikiText-103:", "wikitext-103/train*.parquet and test*.parquet", "GROKSCAPE_DOWNLOAD=1")),
        (lambda: text_from("a.txt", "b.txt"), ("text_from", "nothing at", f"{folder}/a.txt")),
    ):
        with pytest.raises(DataMissingError) as error:
            read()
        assert str(folder) in one_line(error)
        for part in parts:
            assert part in one_line(error)
    write(folder / "wikitext-103" / "test-00000-of-00001.parquet", LINES)
    with pytest.raises(DataMissingError, match=r"^WikiText-103: .*: 1 of 2 shards are missing, first 1$"):
        wikitext103()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("no column", "has no column text; its columns: line"),
        ("numbers", "column text is int64; must be a string in every row"),
        ("nothing", "column text is string; must be a string in every row"),
        ("empty", "has no text"),
        ("cut", r"a\.parquet: cannot be read \(.*\); replace that file"),
        ("not UTF-8", r"a\.txt: cannot be read \(.*utf-8.*\); replace that file"),
    ],
)
def test_broken_files(folder, damage, reason):
    path = folder / ("a.txt" if damage == "not UTF-8" else "a.parquet")
    if damage == "not UTF-8":
        path.write_bytes(b"caf\xe9\n")
    else:
        rows = {"numbers": [1, 2], "nothing": ["a", None], "empty": pa.array([], pa.string())}.get(damage, LINES)
        write(path, rows, "line" if damage == "no column" else "text")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataMissingError, match=reason) as error:
        text_from(path.name, path.name)
    assert one_line(error).startswith("text_from: ")
