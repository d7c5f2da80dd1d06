"""Compaction, dropping, merging and verification."""

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.ledger import Checkpoint, Ledger, LedgerError
from pipeline.ledger import upkeep as ledger_upkeep
from pipeline.ledger.files import LocalFiles
from tests.ledger_samples import COLUMNS, assert_exactly_once, commit_steps, record, trajectory, trial_row, value
from trainables.engine.trial import Measuring


@pytest.fixture
def ledger(tmp_path):
    return Ledger.open(str(tmp_path / "ledger"), create=True)


def stored(ledger, folder):
    return sorted(path for path in Path(ledger.uri, folder).rglob("*") if path.is_file())


def kinds(ledger):
    return sorted(problem.kind for problem in ledger.verify())


class TestCompact:
    def test_many_files_become_few_and_nothing_else_changes(self, ledger):
        ends = {f"t{index}": 5 + index for index in range(20)}
        for trial_id, end in ends.items():
            for start in range(0, end, 3):
                commit_steps(ledger, trial_id, range(start, min(start + 5, end) + 1))
        before = ledger.trials()
        files = ledger.files()
        report = ledger.compact()
        assert (report.files_before, report.files_after, report.dropped) == (files, 3, 0)
        assert report.rows_written == sum(end + 1 for end in ends.values())
        assert ledger.files() == 3
        assert stored(ledger, "segments") == []
        assert ledger.trials() == before
        assert_exactly_once(ledger, ends)
        assert ledger.verify() == []

    def test_again_does_nothing(self, ledger):
        assert ledger.compact().rows_written == 0
        commit_steps(ledger, "a", range(3))
        ledger.compact()
        files = stored(ledger, "compacted")
        assert ledger.compact().rows_written == 0
        assert stored(ledger, "compacted") == files

    def test_other_readers_of_parquet_find_plain_tables(self, ledger):
        commit_steps(ledger, "a", range(3), "finished")
        commit_steps(ledger, "b", range(2), "finished")
        ledger.compact()
        trials, rows = (
            pq.read_table(next(Path(ledger.uri, "compacted").glob(f"{kind}-*.parquet")))
            for kind in ("trials", "trajectories")
        )
        assert trials.select(["trial_id", "state", "last_step"]).to_pylist() == [
            {"trial_id": "a", "state": "finished", "last_step": 2},
            {"trial_id": "b", "state": "finished", "last_step": 1},
        ]
        assert rows["trial_id"].to_pylist() == ["a", "a", "a", "b", "b"]

    def test_only_when_needed(self, ledger):
        for step in range(6):
            commit_steps(ledger, "a", range(step + 1))
        assert ledger.compact_if_needed(max_files=6) is None
        assert ledger.files() == 6
        assert ledger.compact_if_needed(max_files=5).files_after == 3

    def test_full_files_stay_until_one_of_their_trials_goes_on(self, ledger, monkeypatch):
        monkeypatch.setattr(ledger_upkeep, "FULL_ROWS", 20)
        ends = dict.fromkeys(("a", "b", "c", "d", "e"), 9)
        for trial_id in ends:
            commit_steps(ledger, trial_id, range(10), "finished")
        ledger.compact()
        first = {path.name for path in stored(ledger, "compacted") if path.name.startswith("trajectories")}
        assert len(first) == 3  # ab, cd, and e, which is not full
        commit_steps(ledger, "f", range(10), "finished")
        ledger.compact()
        second = {path.name for path in stored(ledger, "compacted") if path.name.startswith("trajectories")}
        assert (len(second), len(first & second)) == (3, 2)
        commit_steps(ledger, "c", range(10, 15))
        ledger.compact()
        third = {path.name for path in stored(ledger, "compacted") if path.name.startswith("trajectories")}
        assert (len(third), len(second & third)) == (4, 2)  # cd is split: c runs again
        assert_exactly_once(ledger, ends | {"f": 9, "c": 14})
        assert ledger.verify() == []

    def test_one_that_dies_before_its_manifest_leaves_copies_only(self, ledger, monkeypatch):
        commit_steps(ledger, "a", range(5))
        commit_steps(ledger, "b", range(3))
        put = LocalFiles.put

        def dying(self, path, data):
            if path.startswith("manifests/"):
                raise KeyboardInterrupt
            put(self, path, data)

        with monkeypatch.context() as patch:
            patch.setattr(LocalFiles, "put", dying)
            with pytest.raises(KeyboardInterrupt):
                ledger.compact()
        assert (len(stored(ledger, "segments")), len(stored(ledger, "compacted"))) == (2, 2)
        assert_exactly_once(ledger, {"a": 4, "b": 2})
        assert ledger.verify() == []
        assert ledger.compact().files_after == 3
        assert_exactly_once(ledger, {"a": 4, "b": 2})

    def test_one_that_dies_before_it_deletes(self, ledger, monkeypatch):
        commit_steps(ledger, "a", range(5))

        def dying(self, path):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(LocalFiles, "delete", dying)
            with pytest.raises(KeyboardInterrupt):
                ledger.compact()
        assert kinds(ledger) == ["stray"]
        commit_steps(ledger, "a", range(8))
        assert_exactly_once(ledger, {"a": 7})
        assert ledger.compact().files_after == 3
        assert ledger.verify() == []

    def test_two_at_once_lose_nothing(self, ledger, monkeypatch):
        """The second one runs wholly between the first one's files and its manifest, and knows a segment more."""
        commit_steps(ledger, "a", range(5))
        other = Ledger.open(ledger.uri)
        put, nested = LocalFiles.put, []

        def interrupted(self, path, data):
            put(self, path, data)
            if path.startswith("compacted/trials-") and not nested:
                nested.append(path)
                commit_steps(other, "b", range(3))
                other.compact()

        monkeypatch.setattr(LocalFiles, "put", interrupted)
        ledger.compact()
        assert nested
        assert_exactly_once(ledger, {"a": 4, "b": 2})
        assert ledger.verify() == []
        assert ledger.files() == 3

    def test_two_manifests_at_once_count_both(self, ledger, monkeypatch):
        """The second one ends between the first one's last look and its manifest."""
        commit_steps(ledger, "a", range(5))
        other = Ledger.open(ledger.uri)
        put, nested = LocalFiles.put, []

        def interrupted(self, path, data):
            if path.startswith("manifests/") and not nested:
                nested.append(path)
                commit_steps(other, "b", range(3))
                other.compact()
            put(self, path, data)

        monkeypatch.setattr(LocalFiles, "put", interrupted)
        ledger.compact()
        assert len(stored(ledger, "manifests")) == 2
        for _ in range(2):
            assert_exactly_once(ledger, {"a": 4, "b": 2})
            assert [problem for problem in ledger.verify() if not problem.harmless] == []
            ledger.compact()
        assert ledger.files() == 3

    def test_a_reader_whose_files_go_while_it_reads(self, ledger, monkeypatch):
        for trial_id in ("a", "b", "c"):
            commit_steps(ledger, trial_id, range(4))
        reader = Ledger.open(ledger.uri)
        read, done = LocalFiles.read, []

        def interrupted(self, path):
            if path.startswith("segments/") and not done:
                done.append(path)
                ledger.compact()
            return read(self, path)

        monkeypatch.setattr(LocalFiles, "read", interrupted)
        assert_exactly_once(reader, {"a": 3, "b": 3, "c": 3})
        assert done

    def test_stale_leavings_go_and_fresh_ones_stay(self, ledger):
        commit_steps(ledger, "abc", range(4))
        shard = Path(ledger.uri, "checkpoints", "ab")
        shard.mkdir(parents=True)
        leavings = [Path(ledger.uri, "segments", ".tmp-1"), Path(ledger.uri, ".tmp-2"), shard / ".tmp-3"]
        leavings += [shard / "abe.9.ckpt", shard / "abd.3.ckpt"]
        for path in leavings:
            path.write_bytes(b"half")
        assert kinds(ledger) == ["stray"] * 5
        ledger.compact()
        assert all(path.exists() for path in leavings)
        for path in leavings:
            os.utime(path, (time.time() - 2 * ledger_upkeep.STALE_S,) * 2)
        ledger.compact()
        assert not any(path.exists() for path in leavings)
        assert ledger.verify() == []


class TestDrop:
    def test_only_trials_that_no_other_sweep_has(self, ledger):
        for trial_id in ("a1", "b1", "c1"):
            checkpoint = Checkpoint(trial_id=trial_id, step=3, data=b"x")
            ledger.commit([trial_row(trial_id, 3, "finished")], trajectory(trial_id, range(4)), [checkpoint])
        record(ledger, "one", ["a1", "b1", "never run"])
        record(ledger, "two", ["b1", "c1"])
        report = ledger.drop("one")
        assert (report.trials, report.kept) == (1, 1)
        assert [sweep.name for sweep in ledger.sweeps()] == ["two"]
        assert_exactly_once(ledger, {"b1": 3, "c1": 3})
        assert list(ledger.trials()) == list(ledger.checkpoint_steps()) == ["b1", "c1"]
        assert ledger.verify() == []
        with pytest.raises(LedgerError, match="has no sweep 'one'; there are: two"):
            ledger.drop("one")

    def test_the_last_one(self, ledger):
        commit_steps(ledger, "a", range(3))
        record(ledger, "all", ["a"])
        ledger.drop("all")
        assert (ledger.trials(), ledger.trajectories().num_rows, ledger.verify()) == ({}, 0, [])

    def test_what_was_dropped_can_be_run_again(self, ledger):
        """To the letter: the same content has the same key, which the drop has superseded."""
        for compact in (False, True, False):
            commit_steps(ledger, "a", range(3), "finished")
            commit_steps(ledger, "a", range(3), "finished")
            assert_exactly_once(ledger, {"a": 2})
            if compact:
                ledger.compact()
            assert_exactly_once(ledger, {"a": 2})
            assert ledger.verify() == []
            record(ledger, "all", ["a"])
            ledger.drop("all")
            assert ledger.trials() == {}

    def test_its_contradictions_go_with_it(self, ledger):
        for value_of_x in (1.0, 2.0):
            ledger.commit([trial_row("a", 0)], {"trial_id": ["a"], "step": [0], "x": [value_of_x]})
        record(ledger, "all", ["a"])
        ledger.compact()
        assert kinds(ledger) == ["doubled"]
        ledger.drop("all")
        assert ledger.verify() == []


class TestMerge:
    @pytest.fixture
    def other(self, tmp_path):
        return Ledger.open(str(tmp_path / "other"), create=True)

    def test_everything_comes_over_once(self, ledger, other, monkeypatch):
        monkeypatch.setattr("pipeline.ledger.ledger.MERGED_TRIALS", 2)
        commit_steps(ledger, "a", range(5))
        commit_steps(ledger, "both", range(8))
        for trial_id, end in {"both": 5, "b1": 3, "b2": 4, "b3": 2}.items():
            checkpoint = Checkpoint(trial_id=trial_id, step=end, data=trial_id.encode())
            other.commit([trial_row(trial_id, end)], trajectory(trial_id, range(end + 1)), [checkpoint])
        other.compact()
        record(other, "theirs", ["b1", "b2", "b3"])
        report = ledger.merge(other)
        assert (report.trials, report.new_trials, report.rows) == (4, 3, 18)
        assert (report.sweeps, report.replaced_sweeps) == (("theirs",), ())
        ends = {"a": 4, "both": 7, "b1": 3, "b2": 4, "b3": 2}
        assert_exactly_once(ledger, ends)
        assert ledger.checkpoint("b3").data == b"b3"
        files = ledger.files()
        report = ledger.merge(other)
        assert (report.new_trials, report.sweeps) == (0, ())
        assert ledger.files() == files
        assert_exactly_once(ledger, ends)
        assert_exactly_once(other, {"both": 5, "b1": 3, "b2": 4, "b3": 2})
        assert ledger.verify() == []

    def test_the_later_record_of_a_sweep_stays(self, ledger, other):
        record(ledger, "older", ["a"], "2026-01-01")
        record(ledger, "newer", ["a"], "2026-03-01")
        record(other, "older", ["b"], "2026-02-01")
        record(other, "newer", ["b"], "2026-02-01")
        report = ledger.merge(other)
        assert (report.sweeps, report.replaced_sweeps) == (("older",), ("older",))
        assert ledger.sweep("older").trial_ids == ("b",)
        assert ledger.sweep("newer").trial_ids == ("a",)

    def test_not_into_itself(self, ledger):
        with pytest.raises(LedgerError, match="cannot be merged into itself"):
            ledger.merge(Ledger.open(f"file://{ledger.uri}"))


class TestVerify:
    def only(self, ledger):
        (problem,) = ledger.verify()
        return problem

    def test_missing_trials_of_a_sweep(self, ledger):
        commit_steps(ledger, "a", range(3))
        record(ledger, "some", ["a", "b", "c"])
        problem = self.only(ledger)
        assert str(problem) == "missing: sweep some: 2 of its 3 trials have no row: b, c"

    @pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "foreign"])
    @pytest.mark.parametrize("folder", ["segments", "compacted"])
    def test_torn_files(self, ledger, damage, folder):
        commit_steps(ledger, "a", range(200))
        if folder == "compacted":
            ledger.compact()
        path = next(path for path in stored(ledger, folder) if not path.name.startswith("trials"))
        content = bytearray(path.read_bytes())
        if damage == "flipped":
            content[1000] ^= 1
        path.write_bytes({"cut": content[:-100], "empty": b"", "flipped": content, "foreign": b"PAR1"}[damage])
        problem = ledger.verify()[0]
        assert (problem.kind, problem.where) == ("torn", f"{folder}/{path.name}")
        assert not problem.harmless
        with pytest.raises(LedgerError, match=rf"^ledger: [^\n]*{path.name} is torn or foreign: [^\n]*$"):
            Ledger.open(ledger.uri).trajectories()

    def test_a_segment_under_a_name_that_is_not_its_own(self, ledger):
        commit_steps(ledger, "a", range(3))
        commit_steps(ledger, "b", range(3))
        first, second = stored(ledger, "segments")
        first.write_bytes(second.read_bytes())
        assert "its content is not what its name says" in ledger.verify()[0].what

    def test_a_compacted_file_that_is_gone(self, ledger):
        commit_steps(ledger, "a", range(3))
        ledger.compact()
        path = next(Path(ledger.uri, "compacted").glob("trajectories-*"))
        path.unlink()
        assert ("missing", f"compacted/{path.name}") in [(item.kind, item.where) for item in ledger.verify()]
        (manifest,) = stored(ledger, "manifests")
        with pytest.raises(LedgerError, match=rf"{path.name} is missing, though manifests/{manifest.name} names it"):
            ledger.trials()
        # The way out that the message tells.
        record(ledger, "some", ["a"])
        manifest.unlink()
        assert kinds(ledger) == ["gap"]
        ledger.drop("some")
        assert ledger.verify() == []

    def test_a_torn_manifest(self, ledger):
        commit_steps(ledger, "a", range(3))
        ledger.compact()
        (path,) = stored(ledger, "manifests")
        path.write_bytes(path.read_bytes()[:-5])
        with pytest.raises(LedgerError, match=rf"^ledger: [^\n]*{path.name} is torn or foreign"):
            Ledger.open(ledger.uri).verify()

    def test_a_torn_sweep(self, ledger):
        record(ledger, "some", [])
        (path,) = stored(ledger, "sweeps")
        path.write_text("{}")
        assert self.only(ledger).kind == "torn"

    def test_gaps_in_the_measured_steps(self, ledger):
        measuring = Measuring(dense_until_steps=5)
        steps = measuring.steps(100)
        kept = np.delete(steps, [3, 17])
        ledger.commit([trial_row("a", 100, measuring=measuring)], trajectory("a", kept))
        assert self.only(ledger).what == "2 measured steps are missing, from 3 on"
        commit_steps(ledger, "b", [0, 4, 9], measuring=None)  # a config that does not say when: nothing to compare
        assert len(ledger.verify()) == 1

    def test_a_horizon_that_was_raised_is_no_gap(self, ledger):
        measuring = Measuring(dense_until_steps=5)
        for horizon in (57, 100):
            rows = trajectory("a", measuring.steps(horizon))
            ledger.commit([trial_row("a", horizon, "finished", measuring=measuring)], rows)
        assert ledger.verify() == []

    def test_rows_that_end_before_their_trial_says(self, ledger):
        ledger.commit([trial_row("a", 9)], trajectory("a", range(5)))
        assert self.only(ledger).what == "its rows end at step 4, its trial row says 9"
        ledger.commit([trial_row("b", 9)], {})
        assert [item.what for item in ledger.verify()][1] == "its rows are not there, its trial row says 9"

    def test_stray_files(self, ledger):
        commit_steps(ledger, "a", range(3))
        Path(ledger.uri, "segments", ".tmp-killed").write_bytes(b"half")
        Path(ledger.uri, "segments", "notes.txt").write_text("hello")
        problems = ledger.verify()
        assert [(item.kind, item.where, item.harmless) for item in problems] == [
            ("stray", "segments/.tmp-killed", True),
            ("stray", "segments/notes.txt", True),
        ]


def test_sizes_add_up(ledger):
    commit_steps(ledger, "a", range(10))
    commit_steps(ledger, "a", range(5, 20))
    ledger.commit(
        [trial_row("b1", 9)], trajectory("b1", range(10)), [Checkpoint(trial_id="b1", step=9, data=b"x" * 77)]
    )
    sizes = ledger.sizes()
    assert {trial_id: size.rows for trial_id, size in sizes.items()} == {"a": 20, "b1": 10}
    files = sum(path.stat().st_size for path in stored(ledger, "segments"))
    assert abs(sum(size.bytes for size in sizes.values()) - files) <= 2
    assert (sizes["a"].checkpoint_bytes, sizes["b1"].checkpoint_bytes) == (0, 77)


def test_values_survive_every_road(ledger, tmp_path):
    """Commit, compact, merge, compact: to the bit, nulls and NaN too."""
    rows = trajectory("a", range(30)) | {"rare": [None, float("nan"), 0.95] * 10}
    ledger.commit([trial_row("a", 29)], rows)
    ledger.compact()
    second = Ledger.open(str(tmp_path / "second"), create=True)
    second.merge(ledger)
    second.compact()
    table = second.trajectories()
    pd.testing.assert_frame_equal(table.to_pandas(), ledger.trajectories().to_pandas(), check_exact=True)
    assert table["rare"].is_null().to_pylist() == [True, False, False] * 10
    assert np.array(table["train_loss"]).tobytes() == value("a", COLUMNS[0], range(30)).tobytes()


def test_what_a_trial_was_asked_for_is_kept_for_each_demand(tmp_path):
    ledger, other = (Ledger.open(str(tmp_path / name), create=True) for name in ("ledger", "other"))
    far = trial_row("a", 9, "finished", config_json='{"class":"made.up","probes":[]}')
    near = trial_row("a", 3, "stopped", config_json='{"class":"made.up","probes":["norm"]}')
    ledger.commit([far], trajectory("a", range(10)))
    assert ledger.other_protocols() == {}
    ledger.commit([trial_row("a", 2, config_json=near.config_json)], trajectory("a", range(3), ("norm",)))
    ledger.commit([near], trajectory("a", range(4), ("norm",)))
    other.merge(ledger)
    for found in (ledger, other):
        for _ in range(2):
            assert found.trials() == {"a": far}
            assert found.other_protocols() == {"a": [near]}
            assert found.trajectories()["norm"].null_count == 6
            found.compact()
    commit_steps(ledger, "b", range(3))
    ledger.compact()
    assert ledger.other_protocols() == {"a": [near]}
    assert ledger.verify() == []
