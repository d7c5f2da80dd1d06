"""Compaction, dropping and merging."""

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.ledger import Checkpoint, Ledger, LedgerError, compaction, strays
from pipeline.ledger.files import LocalFiles
from tests.support.ledger_samples import (
    COLUMNS,
    archive,
    assert_exactly_once,
    commit_steps,
    record,
    trajectory,
    trial_row,
    value,
)


@pytest.fixture
def ledger(tmp_path):
    return Ledger.open(str(tmp_path / "ledger"), create=True)


def stored(ledger, folder):
    return sorted(path for path in Path(ledger.uri, folder).rglob("*") if path.is_file())


def kinds(ledger):
    return sorted(problem.kind for problem in ledger.verify())


class TestCompact:
    def test_rewrites_many_files_into_few(self, ledger):
        ends = {f"t{index}": 5 + index for index in range(20)}
        for trial_id, end in ends.items():
            for start in range(0, end, 3):
                commit_steps(ledger, trial_id, range(start, min(start + 5, end) + 1))
        before = ledger.trials()
        files = ledger.files()
        report = ledger.compact()
        assert (report.files_before, report.files_after, report.dropped) == (files, 3, 0)
        assert ledger.files() == 3
        assert stored(ledger, "segments") == []
        assert ledger.trials() == before
        assert_exactly_once(ledger, ends)
        assert ledger.verify() == []

    def test_a_second_one_does_nothing(self, ledger):
        ledger.compact()
        assert stored(ledger, "compacted") == []
        commit_steps(ledger, "a", range(3))
        ledger.compact()
        files = stored(ledger, "compacted")
        ledger.compact()
        assert stored(ledger, "compacted") == files

    def test_writes_plain_parquet_tables(self, ledger):
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

    def test_compact_if_needed(self, ledger):
        for step in range(6):
            commit_steps(ledger, "a", range(step + 1))
        assert ledger.compact_if_needed(max_files=6) is None
        assert ledger.files() == 6
        assert ledger.compact_if_needed(max_files=5).files_after == 3

    def test_full_files_stay_until_a_trial_continues(self, ledger, monkeypatch):
        monkeypatch.setattr(compaction, "FULL_ROWS", 20)
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
        assert (len(third), len(second & third)) == (4, 2)  # cd is split: c continues
        assert_exactly_once(ledger, ends | {"f": 9, "c": 14})
        assert ledger.verify() == []

    def test_killed_before_its_manifest(self, ledger, monkeypatch):
        commit_steps(ledger, "a", range(5))
        commit_steps(ledger, "b", range(3))
        put = LocalFiles.put

        def die(self, path, data):
            if path.startswith("manifests/"):
                raise KeyboardInterrupt
            put(self, path, data)

        with monkeypatch.context() as patch:
            patch.setattr(LocalFiles, "put", die)
            with pytest.raises(KeyboardInterrupt):
                ledger.compact()
        assert (len(stored(ledger, "segments")), len(stored(ledger, "compacted"))) == (2, 2)
        assert_exactly_once(ledger, {"a": 4, "b": 2})
        assert ledger.verify() == []
        assert ledger.compact().files_after == 3
        assert_exactly_once(ledger, {"a": 4, "b": 2})

    def test_killed_before_it_deletes(self, ledger, monkeypatch):
        commit_steps(ledger, "a", range(5))

        def die(self, path):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(LocalFiles, "delete", die)
            with pytest.raises(KeyboardInterrupt):
                ledger.compact()
        assert kinds(ledger) == ["stray"]
        commit_steps(ledger, "a", range(8))
        assert_exactly_once(ledger, {"a": 7})
        assert ledger.compact().files_after == 3
        assert ledger.verify() == []

    def test_two_at_once(self, ledger, monkeypatch):
        """The second one runs between the first one's files and its manifest, and reads one segment more."""
        commit_steps(ledger, "a", range(5))
        other = Ledger.open(ledger.uri)
        put, nested = LocalFiles.put, []

        def interrupt(self, path, data):
            put(self, path, data)
            if path.startswith("compacted/trials-") and not nested:
                nested.append(path)
                commit_steps(other, "b", range(3))
                other.compact()

        monkeypatch.setattr(LocalFiles, "put", interrupt)
        ledger.compact()
        assert nested
        assert_exactly_once(ledger, {"a": 4, "b": 2})
        assert ledger.verify() == []
        assert ledger.files() == 3

    def test_two_manifests_at_once(self, ledger, monkeypatch):
        """The second one ends between the first one's last check and its manifest."""
        commit_steps(ledger, "a", range(5))
        other = Ledger.open(ledger.uri)
        put, nested = LocalFiles.put, []

        def interrupt(self, path, data):
            if path.startswith("manifests/") and not nested:
                nested.append(path)
                commit_steps(other, "b", range(3))
                other.compact()
            put(self, path, data)

        monkeypatch.setattr(LocalFiles, "put", interrupt)
        ledger.compact()
        assert len(stored(ledger, "manifests")) == 2
        for _ in range(2):
            assert_exactly_once(ledger, {"a": 4, "b": 2})
            assert [problem for problem in ledger.verify() if not problem.harmless] == []
            ledger.compact()
        assert ledger.files() == 3

    def test_files_deleted_while_a_reader_reads(self, ledger, monkeypatch):
        for trial_id in ("a", "b", "c"):
            commit_steps(ledger, trial_id, range(4))
        reader = Ledger.open(ledger.uri)
        read, done = LocalFiles.read, []

        def interrupt(self, path):
            if path.startswith("segments/") and not done:
                done.append(path)
                ledger.compact()
            return read(self, path)

        monkeypatch.setattr(LocalFiles, "read", interrupt)
        assert_exactly_once(reader, {"a": 3, "b": 3, "c": 3})
        assert done

    def test_deletes_stale_strays_and_keeps_fresh_ones(self, ledger):
        commit_steps(ledger, "abc", range(4))
        shard = Path(ledger.uri, "checkpoints", "ab")
        shard.mkdir(parents=True)
        stray_files = [Path(ledger.uri, "segments", ".tmp-1"), Path(ledger.uri, ".tmp-2"), shard / ".tmp-3"]
        stray_files += [shard / "abe.9.ckpt", shard / "abd.3.ckpt"]
        for path in stray_files:
            path.write_bytes(b"half")
        assert kinds(ledger) == ["stray"] * 5
        ledger.compact()
        assert all(path.exists() for path in stray_files)
        for path in stray_files:
            os.utime(path, (time.time() - 2 * strays.STALE_S,) * 2)
        ledger.compact()
        assert not any(path.exists() for path in stray_files)
        assert ledger.verify() == []


class TestDrop:
    def test_keeps_trials_of_other_sweeps(self, ledger):
        for trial_id in ("a1", "b1", "c1"):
            checkpoint = Checkpoint(trial_id=trial_id, step=3, data=archive("x"))
            ledger.commit([trial_row(trial_id, 3, "finished")], trajectory(trial_id, range(4)), [checkpoint])
        record(ledger, "one", ["a1", "b1", "never_run"])
        record(ledger, "two", ["b1", "c1"])
        report = ledger.drop("one")
        assert (report.trials, report.kept) == (1, 1)
        assert [sweep.name for sweep in ledger.sweeps()] == ["two"]
        assert_exactly_once(ledger, {"b1": 3, "c1": 3})
        assert list(ledger.trials()) == list(ledger.checkpoint_steps()) == ["b1", "c1"]
        assert ledger.verify() == []
        with pytest.raises(LedgerError, match="has no sweep 'one'; its sweeps: two"):
            ledger.drop("one")

    def test_the_last_sweep(self, ledger):
        commit_steps(ledger, "a", range(3))
        record(ledger, "all", ["a"])
        ledger.drop("all")
        assert (ledger.trials(), ledger.trajectories().num_rows, ledger.verify()) == ({}, 0, [])

    def test_dropped_trials_can_run_again(self, ledger):
        """The same content has the same key, which the drop has superseded."""
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

    def test_deletes_conflicts(self, ledger):
        for value_of_x in (1.0, 2.0):
            ledger.commit([trial_row("a", 0)], {"trial_id": ["a"], "step": [0], "x": [value_of_x]})
        record(ledger, "all", ["a"])
        ledger.compact()
        assert kinds(ledger) == ["conflict"]
        ledger.drop("all")
        assert ledger.verify() == []


class TestMerge:
    @pytest.fixture
    def other(self, tmp_path):
        return Ledger.open(str(tmp_path / "other"), create=True)

    def test_copies_everything_once(self, ledger, other, monkeypatch):
        monkeypatch.setattr("pipeline.ledger.ledger.MERGED_TRIALS", 2)
        commit_steps(ledger, "a", range(5))
        commit_steps(ledger, "both", range(8))
        for trial_id, end in {"both": 5, "b1": 3, "b2": 4, "b3": 2}.items():
            checkpoint = Checkpoint(trial_id=trial_id, step=end, data=archive(trial_id))
            other.commit([trial_row(trial_id, end)], trajectory(trial_id, range(end + 1)), [checkpoint])
        other.compact()
        record(other, "theirs", ["b1", "b2", "b3"])
        report = ledger.merge(other)
        assert (report.trials, report.new_trials, report.rows) == (4, 3, 18)
        assert (report.sweeps, report.replaced_sweeps) == (("theirs",), ())
        ends = {"a": 4, "both": 7, "b1": 3, "b2": 4, "b3": 2}
        assert_exactly_once(ledger, ends)
        assert ledger.checkpoint("b3").data == archive("b3")
        files = ledger.files()
        report = ledger.merge(other)
        assert (report.new_trials, report.sweeps) == (0, ())
        assert ledger.files() == files
        assert_exactly_once(ledger, ends)
        assert_exactly_once(other, {"both": 5, "b1": 3, "b2": 4, "b3": 2})
        assert ledger.verify() == []

    def test_the_later_record_of_a_sweep_wins(self, ledger, other):
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


def test_sizes_add_up(ledger):
    commit_steps(ledger, "a", range(10))
    commit_steps(ledger, "a", range(5, 20))
    ledger.commit(
        [trial_row("b1", 9)], trajectory("b1", range(10)), [Checkpoint(trial_id="b1", step=9, data=archive("x"))]
    )
    sizes = ledger.sizes()
    assert {trial_id: size.rows for trial_id, size in sizes.items()} == {"a": 20, "b1": 10}
    files = sum(path.stat().st_size for path in stored(ledger, "segments"))
    assert abs(sum(size.bytes for size in sizes.values()) - files) <= 2
    assert (sizes["a"].checkpoint_bytes, sizes["b1"].checkpoint_bytes) == (0, len(archive("x")))


def test_values_are_equal_bit_for_bit_after_compaction_and_merge(ledger, tmp_path):
    """Nulls and NaN too."""
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


def test_keeps_the_furthest_row_of_each_protocol(tmp_path):
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
