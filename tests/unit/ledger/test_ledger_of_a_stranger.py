"""A ledger that somebody else made: nothing is deleted or written outside, and whatever is odd in it is one line."""

import io
import json
import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.ledger import Checkpoint, Ledger, LedgerError, Snapshot, weights_of
from pipeline.ledger.__main__ import main
from pipeline.ledger.layout import FOLDERS
from tests.support.ledger_samples import archive, assert_exactly_once, commit_steps, record, trajectory, trial_row
from trainables.engine.config import canonical_json
from trainables.engine.events import rises_to

VERBS = (["list"], ["compact"], ["verify"], ["drop", "some"])
DEEP = '{"a":' * 5000 + "1" + "}" * 5000


@pytest.fixture
def ledger(tmp_path):
    """Two sound trials in one sweep."""
    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    commit_steps(ledger, "a1", range(4), "finished")
    commit_steps(ledger, "b1", range(3), "finished")
    record(ledger, "some", ["a1", "b1"])
    return ledger


@pytest.fixture
def victim(tmp_path):
    """A folder outside, with files of every name that a ledger knows, two hours old."""
    victim = tmp_path / "victim"
    names = ("thesis.txt", "a1.1.ckpt", ".tmp-1", "config.json", f"trials-{'0' * 32}.parquet", f"{'0' * 32}.json")
    for name in names:
        path = victim / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("years of work")
        os.utime(path, (time.time() - 7200,) * 2)
    return victim


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def run(arguments, ledger, capsys):
    """Run a command; return its exit code and the lines that it prints, which show nothing but text."""
    code = main([*arguments, "--ledger", ledger.uri])
    output = capsys.readouterr()
    lines = (output.out + output.err).splitlines()
    assert code in (0, 1, 2)
    assert all(line.isprintable() for line in lines), lines
    return code, lines


@pytest.mark.parametrize("folder", [*FOLDERS, "checkpoints/a1", "checkpoints/zz", "snapshots/zz", "sweeps/zz"])
def test_a_link_to_a_folder_is_never_followed(ledger, victim, capsys, folder):
    place = Path(ledger.uri, folder)
    if place.exists():
        place.rename(place.with_name("moved"))
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(victim)
    before = contents(victim)
    code, lines = run(["verify"], ledger, capsys)
    assert any("link" in line and folder in line for line in lines)
    assert code == (1 if folder in FOLDERS else 0)
    for verb in VERBS:
        run(verb, ledger, capsys)
    for commit in (commit_steps, lambda *_: record(ledger, "new", []), lambda *_: ledger.compact()):
        try:
            commit(ledger, "zz1", range(3))
        except LedgerError as error:
            assert "is a symbolic link" in str(error)  # noqa: PT017
    assert contents(victim) == before


@pytest.mark.parametrize("kind", ["file", "loop", "dangling", "pipe", "root"])
@pytest.mark.parametrize("folder", ["segments", "sweeps", "checkpoints/a1"])
def test_a_link_in_the_place_of_a_file(ledger, victim, capsys, folder, kind):
    name = {"segments": f"{'0' * 32}.parquet", "sweeps": "new.json", "checkpoints/a1": "a1.9.ckpt"}[folder]
    path = Path(ledger.uri, folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        target = {"file": victim / "thesis.txt", "loop": path, "dangling": victim / "none", "root": Path(ledger.uri)}
        path.symlink_to(target[kind])
    before = contents(victim)
    assert f"stray: {folder}/{name}: a link, which is never followed" in run(["verify"], ledger, capsys)[1]
    assert [run(verb, ledger, capsys)[0] for verb in VERBS] == [0, 0, 0, 0]
    assert contents(victim) == before


def test_only_our_own_names_are_deleted(ledger, capsys):
    """However old the others are, and whatever folder they lie in."""
    foreign = ["checkpoints/notes.txt", "checkpoints/zz/a1.1.ckpt", "checkpoints/ab/abc.01.ckpt", "snapshots/x.npz"]
    foreign += ["segments/.tmp-../x", "segments/data.parquet", "compacted/trials-1.parquet", "sweeps/.tmp-NOTES.txt"]
    for name in foreign:
        path = Path(ledger.uri, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("of somebody")
        os.utime(path, (time.time() - 7200,) * 2)
    assert ledger.compact().files_after == 3
    _, lines = run(["verify"], ledger, capsys)
    assert sorted(lines[:-1]) == sorted(f"stray: {name}: not a file of the ledger" for name in foreign)
    ledger.drop("some")
    assert all(Path(ledger.uri, name).read_text() == "of somebody" for name in foreign)


def put_sweep(ledger, stem="odd", **changes):
    path = Path(ledger.uri, "sweeps", f"{stem}.json")
    good = json.loads(Path(ledger.uri, "sweeps", "some.json").read_text())
    path.write_text(json.dumps(good | {"name": stem} | changes))


BAD_SWEEPS = {
    "name outside": {"name": "../../victim/config"},
    "name of markup": {"name": "[/red]"},
    "name a number": {"name": 5},
    "name null": {"name": None},
    "name of another": {"name": "some"},
    "ids outside": {"trial_ids": ["a1", "../../victim/a1"]},
    "ids with escapes": {"trial_ids": ["a1", "\x1b[2J\nno problems"]},
    "ids not a list": {"trial_ids": "a1"},
    "ids numbers": {"trial_ids": [1, 2]},
    "deep coordinates": {"coordinates_json": DEEP},
    "coordinates of escapes": {"coordinates_json": '[{"arm": "\\u001b[31m"}, {}]'},
    "coordinates not objects": {"coordinates_json": "[1, 2]"},
    "coordinates null": {"coordinates_json": None},
    "axes not finite": {"axes_json": '{"a": 1e999}'},
    "axes a number": {"axes_json": "5"},
    "horizon text": {"horizon_steps": "10"},
    "horizon negative": {"horizon_steps": -1},
    "horizon huge": {"horizon_steps": 10**400},
    "doc null": {"doc": None},
    "recorded never": {"recorded_at": "\x1b[31m"},
    "recorded a list": {"recorded_at": []},
    "another version": {"schema_version": 3},
}


ODD_DESIGNS = {
    "arms a number": {"arms": 5},
    "arms without a name": {"arms": [{}]},
    "events texts": {"events": ["t_gen"]},
    "horizon text": {"horizon_steps": "far", "events": [rises_to("train_accuracy", 0.5, name="state").to_json()]},
    "events of no class": {"events": [{"class": "no.Such"}]},
}


def test_sound_sweeps_of_odd_content(ledger, capsys, tmp_path):
    """Whatever a JSON string says, it is shown and exported, or refused in one line."""
    places = [{"arm": {"a": [1]}, "x": 10**400, "state": None}, {"arm": [], "x": 0.5, "config": "no"}]
    config = canonical_json({"class": "made:Up", "x": 10**400, "y": [{"class": "B"}], "class.y": {"": {"": True}}})
    ledger.commit([trial_row("a1", 3, "finished", config_json=config)], {})
    for number, design in enumerate(ODD_DESIGNS.values()):
        texts = {"axes_json": json.dumps(design), "coordinates_json": json.dumps(places)}
        put_sweep(ledger, f"odd_{number}", **texts)
        for arguments in (["show", f"odd_{number}"], ["show", "a1", "--all"], ["show", "a1"]):
            code, lines = run(arguments, ledger, capsys)
            assert (code, len(lines) > 4) == (0, True)
        code, lines = run(["export", f"odd_{number}", "--out", str(tmp_path / "out")], ledger, capsys)
        assert (code, len(lines)) == (0, 1)


def test_unsound_sweeps(ledger, victim, capsys):
    for number, changes in enumerate(BAD_SWEEPS.values()):
        put_sweep(ledger, f"odd_{number:02}", **changes)
    for number, text in enumerate([DEEP, "[]", "5", "null", "{", "\xff", '{"name": "none_6"}']):
        Path(ledger.uri, "sweeps", f"none_{number}.json").write_bytes(text.encode("latin-1"))
    before = contents(victim)
    code, lines = run(["verify"], ledger, capsys)
    assert code == 1
    names = [f"none_{number}" for number in range(7)] + [f"odd_{number:02}" for number in range(len(BAD_SWEEPS))]
    assert [line.split(": ")[:2] for line in lines[:-1]] == [["damaged", f"sweeps/{name}.json"] for name in names]
    assert [sweep.name for sweep in ledger.sweeps()] == ["some"]
    _, lines = run(["list"], ledger, capsys)
    assert f"left out unsound rows in {len(names)} files, see verify: sweeps/none_0.json, " in lines[-1]
    for name in ("some", "none_0", "odd_00"):  # the trials of odd may be those of some
        code, lines = run(["drop", name], ledger, capsys)
        assert (code, len(lines)) == (2, 1)
    assert contents(victim) == before
    assert_exactly_once(ledger, {"a1": 3, "b1": 2})


def test_names_are_checked_when_they_are_written_too(ledger, capsys):
    for name in ("5", "-", "wd_vs.orthograd-2"):
        record(ledger, name, [])
    assert [line.split()[0] for line in run(["list"], ledger, capsys)[1][1:5]] == [
        "-",
        "5",
        "some",
        "wd_vs.orthograd-2",
    ]
    for name in ("[red]", "a b", "a/b", "..", "x" * 201, "é", "a\n", ".hidden", ""):
        with pytest.raises(LedgerError, match=r"sweep = .*: must be at most 200 letters"):
            record(ledger, name, [])
        with pytest.raises(LedgerError, match=r"trial_id = .*: must be at most 200 letters"):
            commit_steps(ledger, name, range(2))


def put_rows(ledger, row, folder="segments", beside="c1"):
    """Write a file with a row that no honest commit has, beside a sound one."""
    commit_steps(ledger, beside, range(2), "finished")
    if folder == "compacted":
        ledger.compact()
        path = next(Path(ledger.uri, "compacted").glob("trials-*"))
        table = pq.read_table(path)
        values = {**table.to_pylist()[0], **row}
        extra = pa.Table.from_pylist([values], schema=table.schema)
        pq.write_table(pa.concat_tables([table, extra]), path)
        return f"compacted/{path.name}"
    path = max(Path(ledger.uri, "segments").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    table = pq.read_table(path)
    metadata = dict(table.schema.metadata)
    values = json.loads(metadata[b"grokscape.trials"])
    metadata[b"grokscape.trials"] = json.dumps([*values, {**values[0], **row}]).encode()
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return f"segments/{path.name}"


BAD_ROWS = {
    "id outside": {"trial_id": "../../victim/a1"},
    "id with escapes": {"trial_id": "a\x1b[31m\nno problems"},
    "id of HTML": {"trial_id": "<script>alert(1)</script>"},
    "id a number": {"trial_id": 7},
    "id null": {"trial_id": None},
    "id a list": {"trial_id": ["a1"]},
    "state": {"state": "[/red]"},
    "state a list": {"state": ["running"]},
    "stop reason": {"state": "stopped", "stop_reason": "bored"},
    "error kind": {"state": "failed", "error_kind": "\x1b[2J"},
    "error": {"error": 5},
    "last step text": {"last_step": "9"},
    "last step negative": {"last_step": -1},
    "last step true": {"last_step": True},
    "last step huge": {"last_step": 10**30},
    "seconds": {"train_s": -1.0},
    "seconds text": {"train_s": "1"},
    "device": {"device_kind": "cpu\x1b]0;title\x07"},
    "device null": {"device_kind": None},
    "time": {"committed_at": "yesterday"},
    "class a number": {"config_json": '{"class": 5}'},
    "class null": {"config_json": '{"class": null}'},
    "class a list": {"config_json": '{"class": ["a:b"]}'},
    "class of escapes": {"config_json": '{"model": [{"class": "a\\u001b:b"}]}'},
    "events null": {"config_json": '{"events": null}'},
    "phases numbers": {"config_json": '{"phases": [5]}'},
    "config deep": {"config_json": DEEP},
    "config a list": {"config_json": "[]"},
    "config torn": {"config_json": "{"},
    "config not finite": {"config_json": '{"a": NaN}'},
    "config null": {"config_json": None},
    "config half a pair": {"config_json": '{"a": "\\ud800"}'},
    "provenance": {"provenance_json": "5"},
}


def test_unsound_rows(ledger, capsys):
    """Readers go on with the sound rows, and a rewrite leaves the files of the others as they are."""
    places = [put_rows(ledger, {"trial_id": "odd"} | row, beside=f"c{n}") for n, row in enumerate(BAD_ROWS.values())]
    before = {where: Path(ledger.uri, where).read_bytes() for where in places}
    code, lines = run(["verify"], ledger, capsys)
    assert code == 1
    assert sorted(line.split(": ")[1] for line in lines[:-1]) == sorted(places)
    assert {line.split(": ")[0] for line in lines[:-1]} == {"damaged"}
    last_steps = {"a1": 3, "b1": 2} | {f"c{number}": 1 for number in range(len(BAD_ROWS))}
    for _ in range(2):
        assert Ledger.open(ledger.uri).trials().keys() == last_steps.keys()
        assert_exactly_once(ledger, last_steps)
        assert f"left out unsound rows in {len(places)} files" in run(["list"], ledger, capsys)[1][-1]
        assert run(["compact"], ledger, capsys)[0] == 0
        assert {where: Path(ledger.uri, where).read_bytes() for where in places} == before


def test_an_unsound_compacted_row(ledger, capsys):
    where = put_rows(ledger, {"trial_id": "../odd"}, folder="compacted")
    commit_steps(ledger, "d1", range(2), "finished")
    for _ in range(2):
        assert f"damaged: {where}: trial_id = '../odd'" in run(["verify"], ledger, capsys)[1][0]
        assert list(Ledger.open(ledger.uri).trials()) == ["a1", "b1", "c1", "d1"]
        assert run(["compact"], ledger, capsys)[0] == 0


def test_texts_are_shown_as_text(ledger, capsys):
    """An error's text may hold anything; what is read of it is harmless, and the file is sound."""
    error = "ValueError: \x1b[31mred\x1b[0m\r\n\u202egpj"
    ledger.commit([trial_row("e1", 0, "failed", error=error, error_kind="error")], {})
    shown = "ValueError: \\x1b[31mred\\x1b[0m\\r\\n\\u202egpj"
    assert ledger.trials()["e1"].error == shown
    where = put_rows(ledger, {"trial_id": "f1", "last_step": 0, "state": "failed", "error": error})
    assert Ledger.open(ledger.uri).trials()["f1"].error == shown
    assert "does not match its name" in run(["verify"], ledger, capsys)[1][0]
    assert Path(ledger.uri, where).exists()


BAD_MANIFESTS = (
    {"files": ["../../etc/passwd"]},
    {"files": ["sweeps/some.json"]},
    {"supersedes": ["../victim/thesis.txt"]},
    {"supersedes": ["checkpoints/a1/a1.1.ckpt"]},
    {"supersedes": [5]},
    {"supersedes": None},
    {"conflicts": [{"trial_id": "../x", "rows": 1, "first_step": 0, "columns": []}]},
    {"conflicts": [5]},
    {"conflicts": DEEP},
    {"schema_version": []},
)


def test_unsound_manifests(ledger, victim, capsys):
    ledger.compact()
    path = next(Path(ledger.uri, "manifests").iterdir())
    good, before = json.loads(path.read_text()), contents(victim)
    for changes in BAD_MANIFESTS:
        path.write_text(json.dumps(good | changes).replace(json.dumps(DEEP), DEEP))
        code, lines = run(["verify"], ledger, capsys)
        assert code == 1
        assert lines[0].startswith(f"damaged: manifests/{path.name}: ")
        for verb in (["list"], ["compact"], ["drop", "some"]):  # what it supersedes is not known: nothing goes on
            code, lines = run(verb, ledger, capsys)
            assert (code, len(lines)) == (2, 1)
            assert path.name in lines[0]
    assert contents(victim) == before


BAD_COLUMNS = (
    ("step", pa.array(["0", "1"])),
    ("step", pa.array([0.0, 1.0])),
    ("step", pa.array([0, None], pa.int64())),
    ("step", pa.array([0, -(2**62)])),
    ("trial_id", pa.array([1, 2])),
    ("trial_id", pa.array(["c1", None])),
    ("train_loss", pa.array(["a", "b"])),
    ("train_loss", pa.array([[1.0], [2.0]])),
)


@pytest.mark.parametrize("folder", ["segments", "compacted"])
def test_columns_of_a_wrong_type(ledger, capsys, folder):
    if folder == "compacted":
        ledger.compact()
    path = max(Path(ledger.uri, folder).glob("*[0-9a-f].parquet"), key=lambda path: path.name.startswith("traj"))
    good = pq.read_table(path).slice(0, 2)
    for column, values in BAD_COLUMNS:
        pq.write_table(good.drop_columns([column]).append_column(column, values), path)
        code, lines = run(["verify"], ledger, capsys)
        assert code == 1
        assert lines[0].startswith(f"damaged: {folder}/{path.name}: ")
        code, lines = run(["list"], ledger, capsys)
        assert (code, len(lines)) == (2, 1)
        assert path.name in lines[0]


def test_rows_of_an_unsound_trial(ledger, capsys):
    """In a compacted file, where no trial row tells of them."""
    ledger.compact()
    path = next(Path(ledger.uri, "compacted").glob("trajectories-*"))
    table = pq.read_table(path)
    ids = pa.array(["../../x" if name == "b1" else name for name in table["trial_id"].to_pylist()])
    pq.write_table(table.set_column(0, "trial_id", ids), path)
    assert set(Ledger.open(ledger.uri).trajectories()["trial_id"].to_pylist()) == {"a1"}
    assert "has rows of trial '../../x'" in run(["verify"], ledger, capsys)[1][0]


@pytest.mark.parametrize("name", ["a b 50% 100%25 c# why? a&b=c", "[red]:smile: é中 {x}"])
def test_any_character_in_the_path(tmp_path, capsys, name):
    folder = tmp_path / name
    for uri in (str(folder), folder.as_uri()):
        ledger = Ledger.open(uri, create=True)
        commit_steps(ledger, "a1", range(3), "finished")
        record(ledger, "some", ["a1"])
        ledger.commit([trial_row("a1", 2, "finished")], trajectory("a1", range(3)))
        assert_exactly_once(Ledger.open(ledger.uri), {"a1": 2})
        for verb in (["verify"], ["compact"], ["list"]):
            code, lines = run(verb, ledger, capsys)
            assert code == 0
            assert lines[-1].startswith(f"{folder}: ")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def damaged(data):
    """The archive with one flipped bit in its array, cut short, of objects, compressed, and not an archive at all."""
    objects, compressed = io.BytesIO(), io.BytesIO()
    np.savez(objects, weights=np.array([{"a": 1}], dtype=object))
    np.savez_compressed(compressed, weights=np.zeros(10**6))
    place = data.index(b"some weights")
    flipped = data[:place] + b"S" + data[place + 1 :]
    return {"flipped": flipped, "cut": data[:-9], "objects": objects, "compressed": compressed, "foreign": b"weights"}


def test_checkpoints_and_snapshots(ledger, capsys):
    """Of a snapshot of objects nothing is unpickled; the rows are not affected."""
    data = archive("some weights")
    kept = Checkpoint(trial_id="a1", step=3, data=data), Snapshot(trial_id="a1", step=3, data=data)
    ledger.commit([trial_row("a1", 3, "finished")], {}, [kept[0]], [kept[1]])
    assert weights_of(ledger.snapshots("a1")[3])["weights"].tobytes() == b"some weights"
    assert run(["verify"], ledger, capsys)[0] == 0
    for folder, name in (("checkpoints", "a1.3.ckpt"), ("snapshots", "a1.3.npz")):
        path = Path(ledger.uri, folder, "a1", name)
        for what, bad in damaged(data).items():
            path.write_bytes(bad if isinstance(bad, bytes) else bad.getvalue())
            code, lines = run(["verify"], ledger, capsys)
            if (folder, what) == ("checkpoints", "objects"):
                assert code == 0  # a checkpoint is torch's, which unpickles numbers only
                continue
            assert (code, len(lines)) == (1, 2)
            assert lines[0].startswith(f"damaged: {folder}/a1/{name}: ")
            if folder == "snapshots":
                with pytest.raises(ValueError, match=r"is damaged|holds something else than arrays"):
                    weights_of(ledger.snapshots("a1")[3])
        path.write_bytes(data)
