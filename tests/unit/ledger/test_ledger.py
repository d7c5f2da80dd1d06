"""The ledger: open, commit, read, checkpoints, snapshots, sweeps."""

import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.ledger import Checkpoint, Ledger, LedgerError, LedgerMissingError, Snapshot, SweepRow
from tests.support.ledger_samples import (
    COLUMNS,
    archive,
    assert_exactly_once,
    commit_steps,
    trajectory,
    trial_row,
    value,
)


@pytest.fixture
def ledger(tmp_path):
    return Ledger.open(str(tmp_path / "ledger"), create=True)


def sweep_row(name="some", trial_ids=("a", "b"), **more):
    fields = {
        "doc": "A question.",
        "axes_json": "[]",
        "coordinates_json": json.dumps([{"seed": index} for index in range(len(trial_ids))]),
        "horizon_steps": 10,
        "revision": "r1",
        "recorded_at": "2026-01-01T00:00:00",
    }
    return SweepRow(name=name, trial_ids=tuple(trial_ids), **fields | more)


class TestOpen:
    def test_missing(self, tmp_path):
        with pytest.raises(LedgerMissingError, match=r"there is no ledger at .*/none; run a sweep to create one"):
            Ledger.open(str(tmp_path / "none"))
        assert not (tmp_path / "none").exists()

    def test_creates_once_and_opens_again(self, tmp_path):
        folder = tmp_path / "deep" / "ledger"
        commit_steps(Ledger.open(str(folder), create=True), "a", range(3))
        marker = json.loads((folder / "grokscape-ledger.json").read_text())
        assert marker == {"format": "grokscape-ledger", "schema_version": 2}
        for again in (Ledger.open(str(folder)), Ledger.open(f"file://{folder}", create=True)):
            assert_exactly_once(again, {"a": 2})

    def test_takes_an_empty_folder_and_refuses_a_foreign_one(self, tmp_path):
        Ledger.open(str(tmp_path), create=True)
        foreign = tmp_path / "foreign"
        foreign.mkdir()
        (foreign / "thesis.tex").write_text("years of work")
        for create in (False, True):
            with pytest.raises(LedgerError, match=r"foreign is not a ledger: .* but contains thesis\.tex"):
                Ledger.open(str(foreign), create=create)
        assert [path.name for path in foreign.iterdir()] == ["thesis.tex"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                '{"format": "grokscape-ledger", "schema_version": 3}',
                "by a newer version of grokscape .schema 3.; this one reads schema 2",
            ),
            (
                '{"format": "grokscape-ledger", "schema_version": 1}',
                "by an older version of grokscape .schema 1.; this one reads schema 2",
            ),
            ('{"format": "other", "schema_version": 2}', "format = 'other'; allowed: grokscape-ledger"),
            ("{", "is not a ledger marker"),
            ("[]", "is not a ledger marker"),
        ],
    )
    def test_marker(self, tmp_path, text, message):
        (tmp_path / "grokscape-ledger.json").write_text(text)
        with pytest.raises(LedgerError, match=message):
            Ledger.open(str(tmp_path), create=True)

    def test_a_file_is_not_a_ledger(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(LedgerError, match=r"cannot open .*/file: Not a directory"):
            Ledger.open(str(tmp_path / "file"), create=True)
        with pytest.raises(LedgerError, match=r"cannot \w+ .*/file/below: "):
            Ledger.open(str(tmp_path / "file" / "below"), create=True)

    def test_a_read_only_place(self):
        with pytest.raises(LedgerError, match=r"cannot create /proc/grokscape: "):
            Ledger.open("/proc/grokscape", create=True)

    @pytest.mark.parametrize("uri", ["", "nonsense://somewhere/x"])
    def test_bad_address(self, uri):
        with pytest.raises(LedgerError, match=r"^ledger: [^\n]+$"):
            Ledger.open(uri)

    @pytest.mark.parametrize(
        "uri",
        [
            "s3://key:secret@bucket/x?endpoint_override=127.0.0.1:9&scheme=http",
            "http://secret@bucket/x",
            "s3://key:se/cret@bucket/x",
            "s3://key:se@cret@bucket/x",
            "s3://bucket/x?password=secret",
        ],
    )
    def test_credentials_are_not_shown(self, uri):
        try:
            shown = repr(Ledger(uri))
        except LedgerError as error:
            shown = str(error)
        assert "s3://bucket/x" in shown or "http://bucket/x" in shown
        assert "cret" not in shown

    def test_pickles_with_an_absolute_path(self, ledger, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        relative = Ledger.open("ledger")
        monkeypatch.chdir(Path("/"))
        commit_steps(pickle.loads(pickle.dumps(relative)), "a", range(3))
        assert_exactly_once(ledger, {"a": 2})

    def test_a_deleted_ledger_is_not_created_again(self, ledger, tmp_path):
        (tmp_path / "ledger").rename(tmp_path / "elsewhere")
        with pytest.raises(LedgerError, match="the ledger's folder is gone"):
            commit_steps(ledger, "a", range(3))
        assert not (tmp_path / "ledger").exists()


class TestRows:
    def test_values_are_read_bit_for_bit(self, ledger):
        rows = {
            "trial_id": ["a"] * 4,
            "step": [0, 1, 2, 3],
            "test_accuracy": [0.95, np.nextafter(0.95, 0), 1 / 3, 1.0],
            "test_loss": [float("nan"), float("inf"), -0.0, 5e-324],
            "margin_q50": [None, 1.0, float("nan"), None],
        }
        ledger.commit([trial_row("a", 3)], rows)
        table = ledger.trajectories()
        assert table.schema.names == ["trial_id", "step", "test_accuracy", "test_loss", "margin_q50"]
        assert table.schema.types == [pa.string(), pa.int64(), pa.float64(), pa.float64(), pa.float64()]
        assert table["test_accuracy"].to_pylist() == rows["test_accuracy"]
        assert np.array(table["test_loss"]).tobytes() == np.array(rows["test_loss"]).tobytes()
        assert table["margin_q50"].is_null().to_pylist() == [True, False, False, True]
        assert np.isnan(table["margin_q50"][2].as_py())

    def test_column_types(self, ledger):
        columns = {
            "floats32": np.array([0.5, 0.25], np.float32),
            "integers": np.array([1, 2]),
            "objects": np.array([None, 0.5], dtype=object),
            "unmeasured": [None, None],
            "masked": np.ma.masked_array([1.0, 2.0], mask=[True, False]),
        }
        ledger.commit([trial_row("a", 1)], {"trial_id": np.array(["a", "a"]), "step": np.arange(2)} | columns)
        table = ledger.trajectories()
        assert set(table.schema.types[2:]) == {pa.float64()}
        assert table["floats32"].to_pylist() == [0.5, 0.25]
        assert table["integers"].to_pylist() == [1.0, 2.0]
        assert table["objects"].to_pylist() == [None, 0.5]
        assert table["unmeasured"].to_pylist() == [None, None]
        assert table["masked"].to_pylist() == [None, 2.0]

    def test_sorts_rows_and_unites_columns(self, ledger):
        ledger.commit([trial_row("b", 2)], trajectory("b", [2, 0, 1], ("train_loss",)))
        ledger.commit([trial_row("a", 0)], trajectory("a", [0], ("train_loss", "new_probe")))
        table = ledger.trajectories()
        assert table["trial_id"].to_pylist() == ["a", "b", "b", "b"]
        assert table["step"].to_pylist() == [0, 0, 1, 2]
        assert table["new_probe"].is_null().to_pylist() == [False, True, True, True]

    def test_some_trials_and_some_columns(self, ledger):
        for trial_id in ("a", "b", "c"):
            commit_steps(ledger, trial_id, range(4))
        ledger.compact()
        commit_steps(ledger, "c", range(4, 6))
        table = ledger.trajectories(["c", "a", "unknown"], ["test_loss", "never_measured"])
        assert table.schema.names == ["trial_id", "step", "test_loss", "never_measured"]
        assert table["trial_id"].to_pylist() == ["a"] * 4 + ["c"] * 6
        assert table["never_measured"].null_count == 10
        assert ledger.trajectories([]).num_rows == 0
        assert ledger.trajectories(columns=[]).schema.names == ["trial_id", "step"]
        assert list(ledger.trials(["c", "a", "unknown"])) == ["a", "c"]

    def test_curves(self, ledger, monkeypatch):
        monkeypatch.setattr("pipeline.ledger.ledger.TRIALS_PER_READ", 2)
        monkeypatch.setattr("pipeline.ledger.ledger._TRIALS_PER_READ_OF_COLUMNS", 2)
        monkeypatch.setattr("pipeline.ledger.ledger.VALUES_PER_READ", 1)
        for trial_id in ("a", "b", "c"):
            commit_steps(ledger, trial_id, range(4))
        ledger.commit([trial_row("a", 5)], trajectory("a", [4, 5], ("norm",)))
        ledger.compact()
        ledger.commit([trial_row("f", 0, "failed", error="no such file", error_kind="error")], {})
        asked = ["c", "f", "a", "unknown", "b"]

        found = list(ledger.curves(asked, ["norm", "test_loss", "never_measured"]))
        assert [trial_id for trial_id, _ in found] == ["c", "a", "b"]
        for trial_id, curves in found:
            assert list(curves) == ["step", "norm", "test_loss", "never_measured"]
            assert [values.dtype for values in curves.values()] == [np.int64, np.float64, np.float64, np.float64]
            unmeasured = [np.nan, np.nan] if trial_id == "a" else []
            np.testing.assert_array_equal(curves["step"], range(4 + len(unmeasured)))
            np.testing.assert_array_equal(curves["test_loss"], [*value(trial_id, "test_loss", range(4)), *unmeasured])
            assert np.isnan(curves["never_measured"]).all()
        np.testing.assert_array_equal(found[1][1]["norm"], [np.nan] * 4 + list(value("a", "norm", [4, 5])))

        every = dict(ledger.curves(iter(asked)))
        assert set(every["a"]) == {"step", "norm", *COLUMNS}
        assert set(every["b"]) == set(every["c"]) == {"step", *COLUMNS}
        assert [len(table) for _, table in ledger.iter_trajectories(asked)] == [4, 0, 6, 0, 4]

    def test_history(self, ledger):
        commit_steps(ledger, "a", range(3))
        history = ledger.history("a", ["test_loss", "norm"])
        assert list(history) == ["step", "test_loss", "norm"]
        np.testing.assert_array_equal(history["test_loss"], value("a", "test_loss", range(3)))
        assert np.isnan(history["norm"]).all()
        assert {name: len(values) for name, values in ledger.history("b", ["norm"]).items()} == {"step": 0, "norm": 0}

    def test_an_empty_ledger(self, ledger):
        assert ledger.trials() == {}
        assert ledger.trajectories().schema.names == ["trial_id", "step"]
        assert (ledger.sweeps(), ledger.verify(), ledger.files()) == ([], [], 0)

    def test_a_failure_before_the_first_row(self, ledger):
        row = trial_row("a", 0, "failed", error="no such file", error_kind="error")
        ledger.commit([row], {})
        assert ledger.trials() == {"a": row}
        assert ledger.trajectories().num_rows == 0
        assert ledger.verify() == []

    def test_the_same_content_is_one_file(self, ledger, tmp_path):
        rows = trajectory("a", range(3))
        ledger.commit([trial_row("a", 2, train_s=1.0)], rows)
        backwards = {name: list(values)[::-1] for name, values in reversed(rows.items())}
        ledger.commit(
            [trial_row("a", 2, train_s=2.0, committed_at="2027-01-01", provenance_json='{"host": "other"}')], backwards
        )
        assert len(list((tmp_path / "ledger" / "segments").iterdir())) == 1
        assert_exactly_once(ledger, {"a": 2})
        ledger.commit([trial_row("a", 2, "finished")], rows)
        assert len(list((tmp_path / "ledger" / "segments").iterdir())) == 2

    def test_segments_are_plain_parquet(self, ledger, tmp_path):
        commit_steps(ledger, "a", range(50))
        (path,) = (tmp_path / "ledger" / "segments").iterdir()
        found = pq.read_metadata(path)
        column = found.row_group(0).column(found.schema.names.index("test_loss"))
        assert (column.physical_type, column.compression) == ("DOUBLE", "ZSTD")
        assert "BYTE_STREAM_SPLIT" in column.encodings
        assert pq.read_table(path).num_rows == 50

    def test_merges_overlapping_copies(self, ledger):
        commit_steps(ledger, "a", range(10))
        commit_steps(ledger, "a", range(5, 15))
        commit_steps(ledger, "b", range(3))
        commit_steps(ledger, "a", range(12))
        assert_exactly_once(ledger, {"a": 14, "b": 2})
        assert ledger.verify() == []

    def test_merges_copies_with_different_probes(self, ledger):
        ledger.commit([trial_row("a", 1)], {"trial_id": ["a"] * 2, "step": [0, 1], "x": [1.0, None], "y": [None, 3.0]})
        ledger.commit([trial_row("a", 2)], {"trial_id": ["a"] * 3, "step": [0, 1, 2], "x": [None, 2.0, 4.0]})
        table = ledger.trajectories()
        assert table["x"].to_pylist() == [1.0, 2.0, 4.0]
        assert table["y"].to_pylist() == [None, 3.0, None]
        assert [problem.kind for problem in ledger.verify()] == []

    def test_equal_nans_are_no_conflict(self, ledger):
        for last in (1, 2):
            rows = {"trial_id": ["a"] * (last + 1), "step": range(last + 1), "x": [float("nan")] * (last + 1)}
            ledger.commit([trial_row("a", last)], rows)
        assert ledger.trajectories()["x"].null_count == 0
        assert ledger.verify() == []

    @pytest.mark.parametrize("compact_between", [False, True])
    def test_conflicts(self, tmp_path, compact_between):
        rows = {"trial_id": ["a"] * 3, "step": [0, 1, 2]}
        commits = [rows | {"x": [0.0, value, 2.0], "y": [1.0, 1.0, other]} for value, other in ((5.0, 1.0), (6.0, 2.0))]
        seen = []
        for name, ordered in (("forth", commits), ("back", commits[::-1])):
            ledger = Ledger.open(str(tmp_path / name), create=True)
            for commit in ordered:
                ledger.commit([trial_row("a", 2)], commit)
                if compact_between:
                    ledger.compact()
            seen.append(ledger.trajectories()["x"].to_pylist())
            (problem,) = ledger.verify()
            assert (problem.kind, problem.where, problem.harmless) == ("conflict", "trial a", False)
            assert "2 steps from step 1 on, in x, y" in problem.what
            ledger.compact()
            assert ledger.trajectories()["x"].to_pylist() == seen[-1]
            assert ledger.verify() == [problem]
        assert seen[0] == seen[1]
        assert seen[0] in ([0.0, 5.0, 2.0], [0.0, 6.0, 2.0])

    @pytest.mark.parametrize(
        ("rows", "latest"),
        [
            ([("running", 5), ("running", 9), ("running", 7)], ("running", 9)),
            ([("finished", 9), ("running", 9)], ("finished", 9)),
            ([("finished", 9), ("running", 12)], ("running", 12)),
            ([("failed", 9), ("finished", 9)], ("finished", 9)),
            ([("failed", 9), ("running", 4)], ("failed", 9)),
            ([("stopped", 9), ("finished", 9)], ("stopped", 9)),
        ],
    )
    def test_the_current_row_of_a_trial(self, tmp_path, rows, latest):
        for name, ordered in (("forth", rows), ("back", rows[::-1])):
            ledger = Ledger.open(str(tmp_path / name), create=True)
            for state, last_step in ordered:
                commit_steps(ledger, "a", range(last_step + 1), state)
            for _ in range(2):
                row = ledger.trials()["a"]
                assert (row.state, row.last_step) == latest
                ledger.compact()

    @pytest.mark.parametrize(
        ("trials", "rows", "message"),
        [
            ([], {}, "at least one trial row"),
            ([trial_row("a", 1), trial_row("a", 2)], {}, "trial a appears twice"),
            ([trial_row("a", 1, "pruned")], {}, "state = 'pruned'; allowed: running, finished, stopped, failed"),
            ([trial_row("../a", 1)], {}, "trial_id = '../a': must be at most 200 letters"),
            ([trial_row("a", 1)], {"step": [1]}, "no column trial_id"),
            ([trial_row("a", 1)], {"trial_id": ["a"]}, "no column step"),
            ([trial_row("a", 1)], {"trial_id": ["a"], "step": [0, 1]}, "differ in length"),
            ([trial_row("a", 1)], {"trial_id": ["a"], "step": [None]}, "step has rows without a value"),
            ([trial_row("a", 1)], {"trial_id": ["a", "b"], "step": [0, 0]}, "rows of trial b, which has no trial row"),
            ([trial_row("a", 1)], {"trial_id": ["a"], "step": [2]}, r"steps 2 to 2 are outside \[0, last_step = 1\]"),
            ([trial_row("a", 1)], {"trial_id": ["a"], "step": [-1]}, "outside"),
            ([trial_row("a", 1)], {"trial_id": ["a", "a"], "step": [1, 1]}, "trial a, step 1 appears twice"),
            ([trial_row("a", 1)], {"trial_id": ["a"], "step": [1], "x": ["high"]}, "column x: "),
            ([trial_row("a", 1)], {"trial_id": ["a"], "step": [1], "segment": [1]}, "this name is reserved"),
        ],
    )
    def test_bad_rows(self, ledger, trials, rows, message):
        with pytest.raises(LedgerError, match=rf"^ledger: [^\n]*{message}"):
            ledger.commit(trials, rows)
        assert (ledger.trials(), ledger.files()) == ({}, 0)


class TestCheckpoints:
    def commit(self, ledger, last_step, state="running", step=None, data=archive("weights"), stop_reason=None):
        step = last_step if step is None else step
        checkpoints = [Checkpoint(trial_id="abc", step=step, data=data)] if data else []
        rows = trajectory("abc", range(last_step + 1))
        ledger.commit([trial_row("abc", last_step, state, stop_reason=stop_reason)], rows, checkpoints)

    def stored(self, ledger):
        return sorted(path.name for path in Path(ledger.uri, "checkpoints").rglob("*.ckpt"))

    def test_a_newer_one_replaces_the_older(self, ledger):
        assert ledger.checkpoint("abc") is None
        self.commit(ledger, 5, data=archive("five"))
        self.commit(ledger, 9, data=archive("nine"))
        assert ledger.checkpoint("abc") == Checkpoint(trial_id="abc", step=9, data=archive("nine"))
        assert ledger.checkpoint_steps() == {"abc": 9}
        assert ledger.checkpoint_steps(["other"]) == {}
        assert self.stored(ledger) == ["abc.9.ckpt"]

    def test_a_zombie_does_not_replace_a_newer_one(self, ledger):
        self.commit(ledger, 9, data=archive("nine"))
        self.commit(ledger, 5, data=archive("five"))
        assert ledger.checkpoint("abc").step == 9
        self.commit(ledger, 6, "failed", data=None)
        assert ledger.checkpoint("abc").data == archive("nine")
        self.commit(ledger, 12)
        assert self.stored(ledger) == ["abc.12.ckpt"]

    def test_one_ahead_of_the_rows(self, ledger):
        # Between two measurements, or by a worker that died between its checkpoint and its rows.
        self.commit(ledger, 5, step=7, data=archive("seven"))
        assert ledger.checkpoint("abc") == Checkpoint(trial_id="abc", step=7, data=archive("seven"))
        self.commit(ledger, 5, step=9, data=archive("nine"))
        assert ledger.checkpoint_steps() == {"abc": 9}
        assert self.stored(ledger) == ["abc.9.ckpt"]
        assert ledger.files() == 1  # the same rows again
        assert ledger.verify() == []

    def test_replaces_one_of_the_same_step(self, ledger):
        self.commit(ledger, 5, data=archive("fewer probes"))
        self.commit(ledger, 5, data=archive("more probes"))
        assert ledger.checkpoint("abc").data == archive("more probes")

    def test_failure_deletes_even_one_ahead(self, ledger):
        self.commit(ledger, 5, step=9)
        self.commit(ledger, 5, "failed", data=None)
        assert self.stored(ledger) == []
        assert ledger.checkpoint("abc") is None

    @pytest.mark.parametrize(
        ("state", "reason", "kept"),
        [
            ("running", None, True),
            ("finished", None, True),
            ("stopped", "success", True),
            ("stopped", "diverged", False),
            ("stopped", "frozen", False),
            ("failed", None, False),
        ],
    )
    def test_kept_while_the_trial_may_be_continued(self, ledger, state, reason, kept):
        self.commit(ledger, 5)
        self.commit(ledger, 7, state, data=archive("seven") if kept else None, stop_reason=reason)
        assert self.stored(ledger) == (["abc.7.ckpt"] if kept else [])
        assert ledger.checkpoint_steps() == ({"abc": 7} if kept else {})
        assert ledger.verify() == []

    def test_success_without_a_new_one_keeps_the_last(self, ledger):
        self.commit(ledger, 5)
        self.commit(ledger, 7, "stopped", data=None, stop_reason="success")
        assert ledger.checkpoint_steps() == {"abc": 5}

    def test_needs_a_trial_row(self, ledger):
        six = Checkpoint(trial_id="abc", step=6, data=archive("six"))
        with pytest.raises(LedgerError, match="checkpoint of trial abc at step 6 has no trial row in its commit"):
            ledger.commit([trial_row("abd", 0)], trajectory("abd", range(1)), [six])
        assert (self.stored(ledger), ledger.trials()) == ([], {})


class TestSnapshots:
    def commit(self, ledger, trial_id, steps, snapshots, state="running", every=0):
        config = json.loads(trial_row(trial_id, 0).config_json) | {"snapshots_every": every}
        row = trial_row(trial_id, steps[-1], state, config_json=json.dumps(config))
        kept = [Snapshot(trial_id=trial_id, step=step, data=data) for step, data in snapshots.items()]
        ledger.commit([row], trajectory(trial_id, steps), snapshots=kept)

    def test_never_change(self, ledger):
        assert ledger.snapshots("abc") == {}
        self.commit(ledger, "abc", range(11), {0: archive("zero"), 10: archive("ten")})
        self.commit(ledger, "abc", range(12), {10: archive("another"), 2: archive("two")}, "stopped")
        kept = {step: archive(name) for step, name in ((0, "zero"), (2, "two"), (10, "ten"))}
        assert list(ledger.snapshots("abc").items()) == list(kept.items())
        assert ledger.snapshot_steps("abc") == [0, 2, 10]
        assert sorted(path.name for path in Path(ledger.uri, "snapshots", "ab").iterdir()) == [
            "abc.0.npz",
            "abc.10.npz",
            "abc.2.npz",
        ]
        assert ledger.sizes()["abc"].snapshot_bytes == sum(len(archive(name)) for name in ("zero", "two", "ten"))
        ledger.compact()
        assert ledger.snapshot_steps("abc") == [0, 2, 10]
        assert ledger.verify() == []

    def test_need_a_trial_row(self, ledger):
        with pytest.raises(LedgerError, match="snapshot of trial abd at step 3 has no trial row in its commit"):
            ledger.commit([trial_row("abc", 0)], {}, snapshots=[Snapshot(trial_id="abd", step=3, data=b"")])
        assert (ledger.snapshots("abd"), ledger.trials()) == ({}, {})

    def test_dropped_and_merged_with_their_trial(self, ledger, tmp_path):
        self.commit(ledger, "abc", range(3), {0: archive("zero"), 2: archive("two")})
        self.commit(ledger, "abd", range(3), {1: archive("one")})
        ledger.record_sweep(sweep_row("first", ("abc",)))
        other = Ledger.open(str(tmp_path / "other"), create=True)
        self.commit(other, "abc", range(3), {2: archive("own")})
        other.merge(ledger)
        other.merge(ledger)
        assert other.snapshots("abc") == {0: archive("zero"), 2: archive("own")}
        assert other.snapshots("abd") == {1: archive("one")}
        ledger.drop("first")
        assert ledger.snapshots("abc") == {}
        assert ledger.snapshots("abd") == {1: archive("one")}
        assert ledger.verify() == []

    def test_missing_and_stray_ones(self, ledger):
        self.commit(ledger, "abc", range(8), dict.fromkeys((0, 3, 6, 7), archive("w")), "finished", every=3)
        self.commit(ledger, "abd", range(8), dict.fromkeys((0, 3, 6), archive("w")), every=3)
        assert ledger.verify() == []
        for step in (3, 7):
            Path(ledger.uri, "snapshots", "ab", f"abc.{step}.npz").unlink()
        Path(ledger.uri, "snapshots", "ab", "abe.1.npz").write_bytes(b"")
        missing, stray = ledger.verify()
        assert str(missing) == "missing: trial abc: 2 snapshots, from step 3 on"
        assert stray.harmless
        assert "the snapshot of a trial that has no row" in stray.what


class TestSweeps:
    def test_recorded_and_replaced(self, ledger):
        first = sweep_row("first")
        second = sweep_row("second", ("c",), recorded_at="2026-01-02T00:00:00")
        ledger.record_sweep(second)
        ledger.record_sweep(first)
        assert ledger.sweeps() == [first, second]
        wider = sweep_row("first", ("a", "b", "d"), recorded_at="2026-01-03T00:00:00")
        ledger.record_sweep(wider)
        assert ledger.sweeps() == [second, wider]
        assert ledger.sweep("first") == wider

    def test_unknown(self, ledger):
        with pytest.raises(LedgerError, match="has no sweep 'other'; its sweeps: none yet"):
            ledger.sweep("other")
        ledger.record_sweep(sweep_row("zeta"))
        ledger.record_sweep(sweep_row("alpha"))
        with pytest.raises(LedgerError, match="has no sweep 'other'; its sweeps: alpha, zeta"):
            ledger.sweep("other")

    def test_bad_ones(self, ledger):
        with pytest.raises(LedgerError, match="sweep = 'a/b'"):
            ledger.record_sweep(sweep_row("a/b"))
        with pytest.raises(LedgerError, match="has 2 trials, but coordinates of 1"):
            ledger.record_sweep(sweep_row(coordinates_json="[{}]"))
        Path(ledger.uri, "sweeps").mkdir(exist_ok=True)
        Path(ledger.uri, "sweeps", "torn.json").write_text('{"name": "to')
        with pytest.raises(LedgerError, match=r"sweeps/torn\.json is damaged or not a ledger file"):
            ledger.sweep("torn")
        assert ledger.sweeps() == []
