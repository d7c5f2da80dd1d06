"""Syncs with bad input, with databases that moved or are somebody else's, and beside a sweep that runs."""

import contextlib
import re
import shlex
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from analysis.data.source import open_sweep
from analysis.data.sweep import SweepError
from pipeline.ledger import LedgerError
from pipeline.tracking import BackgroundSync, SyncReport, TrackingError, check, sync, sync_command
from pipeline.tracking import client as tracking_server
from pipeline.tracking import mirror as tracking
from pipeline.tracking.__main__ import main as tracking_main
from pipeline.tracking.artifacts import may_write
from tests.support.mlflow_runs import all_runs, copied, trial_runs
from tests.support.sample_sweep import SampleSweep

# MLflow's own use of SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


def test_one_driver_at_a_time_creates_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several drivers that begin in a new folder at once: MLflow's migrations of one file by two spoil it for good."""
    inside, together = [], []

    def create(tracking_uri: str) -> None:
        inside.append(tracking_uri)
        time.sleep(0.1)
        together.append(len(inside))
        inside.pop()

    monkeypatch.setattr("mlflow.MlflowClient", create)
    connecting = lambda: tracking_server.connect(f"sqlite:///{tmp_path}/new/mlflow.db")  # noqa: E731
    threads = [threading.Thread(target=connecting) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert together == [1, 1, 1]


def test_two_syncs_at_once_make_every_run_once(sample: SampleSweep, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drivers of one sweep that end together: each lists the runs before the other has made any."""
    sample.commit_all()
    listed, write = threading.Barrier(2, timeout=30), tracking.Mirror.write
    own = threading.local()

    def write_when_both_have_listed(self: tracking.Mirror, trial_ids: object) -> None:
        if not getattr(own, "waited", False):
            own.waited = True
            listed.wait()
        write(self, trial_ids)

    monkeypatch.setattr(tracking.Mirror, "write", write_when_both_have_listed)
    reports: list[SyncReport] = []
    check(uri)
    tracking_server.connect(uri)
    threads = [threading.Thread(target=lambda: reports.append(sync(sample.ledger, "sample", uri))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    monkeypatch.undo()
    assert sum(report.created for report in reports) > len(sample.trial_ids), "the syncs were not at once"
    runs = all_runs(uri)
    assert len(runs) == len(trial_runs(uri)) + 1 == len(sample.trial_ids) + 1
    (parent,) = [run for run in runs if run.data.tags["grokscape.kind"] == "sweep"]
    assert {run.data.tags["mlflow.parentRunId"] for run in trial_runs(uri).values()} == {parent.info.run_id}
    assert sync(sample.ledger, "sample", uri).unchanged == len(sample.trial_ids)


class TestBadInput:
    @pytest.mark.parametrize("uri", ["file:///somewhere/mlruns", "results/mlruns", "./mlruns"])
    def test_plain_files_are_refused(self, uri: str) -> None:
        with pytest.raises(TrackingError, match=r"allowed: http\(s\)://HOST:PORT, sqlite:///PATH.db"):
            check(uri)

    def test_a_database_in_memory_is_refused(self) -> None:
        with pytest.raises(TrackingError, match="names no file"):
            check("sqlite://")

    def test_a_file_instead_of_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(TrackingError, match="file is not a writable folder"):
            check(f"sqlite:///{tmp_path}/file/mlflow.db")

    def test_the_check_creates_no_folder(self, tmp_path: Path) -> None:
        check(f"sqlite:///{tmp_path}/new/mlflow.db")
        assert not (tmp_path / "new").exists()

    def test_only_a_new_file_gets_write_ahead_mode(self, empty_database: Path, uri: str, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "mlflow.db")) as old:
            old.execute("PRAGMA journal_mode=DELETE")
        tracking_server.connect(uri).search_experiments(max_results=1)
        for path, mode in ((empty_database, "wal"), (tmp_path / "mlflow.db", "delete")):
            with closing(sqlite3.connect(path)) as database:
                assert database.execute("PRAGMA journal_mode").fetchone() == (mode,)

    def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "damaged.db")) as database:
            database.execute("CREATE TABLE experiments (name)")
        (tmp_path / "damaged.db").write_bytes(
            (tmp_path / "damaged.db").read_bytes().replace(b"exper", b"\xff\xfe\xff\xfe\xff")
        )
        (tmp_path / "mlflow.db").write_text("no database at all, but long enough to look at")
        for name in ("mlflow.db", "damaged.db"):
            with pytest.raises(TrackingError, match="is not a SQLite database"):
                check(f"sqlite:///{tmp_path}/{name}")

    def test_a_port_where_nobody_listens(self) -> None:
        started = time.monotonic()
        with pytest.raises(
            TrackingError, match=r"MLflow at http://127.0.0.1:9: cannot be reached \(Connection refused"
        ):
            check("http://127.0.0.1:9")
        assert time.monotonic() - started < 5

    @pytest.mark.parametrize(
        "uri",
        [
            "http://secret@127.0.0.1:9/runs",
            "postgresql://user:se:cret@127.0.0.1:9/runs",
            "postgresql://user:se/cret@127.0.0.1:9/runs",
            "postgresql://user:se@cret@127.0.0.1:9/runs",
            "postgresql://127.0.0.1:9/runs?password=secret",
        ],
    )
    def test_messages_hide_credentials(self, sample: SampleSweep, uri: str) -> None:
        with pytest.raises(TrackingError, match=r"MLflow at \w+://127.0.0.1:9/runs: ") as caught:
            check(uri)
        with pytest.raises(TrackingError) as failed:
            tracking_server.call(uri, lambda: sqlite3.connect("/nowhere").execute(uri))
        command = sync_command("sample", "s3://KEY:se/cret@bucket/ledger?secret_key=secret", uri)
        for text in (str(caught.value), str(failed.value), command, tracking_server.browse_hint(uri, "1")):
            assert "cret" not in text
            assert "se/" not in text
        assert "--ledger s3://bucket/ledger --mlflow-uri" in command

    def test_an_mlflow_error_that_names_the_address(self) -> None:
        def fail() -> None:
            raise OSError("API request to http://secret@host:5000/api/2.0 failed")

        with pytest.raises(TrackingError, match=r"^MLflow at http://host:5000/: API request to http://host:5000/api"):
            tracking_server.call("http://secret@host:5000/", fail)

    def test_an_unknown_sweep(self, sample: SampleSweep, uri: str) -> None:
        with pytest.raises(LedgerError, match="sample"):
            sync(sample.ledger, "smaple", uri)


class TestMovedFolders:
    @pytest.mark.parametrize("name", ["moved", "a?b #c%d é"])
    def test_everything_is_found_again(
        self,
        sample: SampleSweep,
        empty_database: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
    ) -> None:
        (tmp_path / "first").mkdir()
        file = f"{len(name)}.db"  # MLflow keeps one connection a relative address
        first = copied(empty_database, tmp_path / "first" / file)
        sample.commit(0)
        picture, page = tmp_path / "picture.png", tmp_path / "page.html"
        picture.write_bytes(b"a picture")
        page.write_bytes(b"a page")
        sync(sample.ledger, "sample", first, figures=[picture])
        (tmp_path / "first").rename(tmp_path / name)
        # As in another process: MLflow remembers where the files of a run were.
        monkeypatch.setattr("mlflow.tracking._tracking_service.utils._artifact_repos_cache", OrderedDict())
        # A sqlite address ends at a question mark, a relative one has none.
        with contextlib.chdir(tmp_path / name):
            uri = f"sqlite:///{file}"
            assert len(open_sweep("sample", uri).where()) == 1
            sample.commit(1)
            assert sync(sample.ledger, "sample", uri, figures=[picture, page]).note == ""
            client = MlflowClient(uri)
            [parent] = [run for run in all_runs(uri) if run.data.tags["grokscape.kind"] == "sweep"]
            names = [file.path for file in client.list_artifacts(parent.info.run_id)]
            places = {run.info.artifact_uri.partition("/mlartifacts/")[0] for run in all_runs(uri)}
        assert sorted(names) == ["page.html", "picture.png"]
        assert places == {(tmp_path / name).as_uri()}
        assert not (tmp_path / "first").exists()


class TestStrangers:
    """Databases and servers of somebody else, whose values are nothing that a sync writes."""

    @pytest.fixture
    def synced(self, sample: SampleSweep, uri: str) -> str:
        sample.commit_all()
        sync(sample.ledger, "sample", uri)
        return uri

    def change(self, uri: str, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database, database:
            assert database.execute(statement, values).rowcount

    def test_a_sync_writes_nothing_elsewhere_and_puts_its_own_right(
        self, sample: SampleSweep, synced: str, tmp_path: Path
    ) -> None:
        victim, figure = tmp_path / "victim", tmp_path / "diagram.png"
        victim.mkdir()
        figure.write_bytes(b"a picture")
        own = tmp_path / "mlartifacts"
        (own / "link").mkdir(parents=True)
        (own / "link" / "diagram.png").symlink_to(victim / "diagram.png")
        for place in (victim.as_uri(), f"{own.as_uri()}/../victim", f"{own.as_uri()}/%2e%2e/victim", str(victim), ""):
            self.change(synced, "UPDATE runs SET artifact_uri = ? WHERE name = 'sample'", place)
            assert "without figures" in sync(sample.ledger, "sample", synced, figures=[figure]).note
        self.change(synced, "UPDATE runs SET artifact_uri = ? WHERE name = 'sample'", f"{own.as_uri()}/link")
        assert "without figures" in sync(sample.ledger, "sample", synced, figures=[figure]).note
        assert [*victim.iterdir()] == []

        for tag, value in (("synced", '{"content":[],"end":5,"rows":null,"step":"x"}'), ("figures", "[" * 5000)):
            self.change(synced, f"UPDATE tags SET value = ? WHERE key = 'grokscape.{tag}'", value)
        client = MlflowClient(synced)
        experiment_id = client.get_experiment_by_name("sample").experiment_id
        for tags in ({"grokscape.kind": "trial"}, {"grokscape.kind": "trial", "grokscape.trial_id": "../x"}):
            client.create_run(experiment_id, run_name="theirs", tags=tags)
        report = sync(sample.ledger, "sample", synced)
        assert (report.updated + report.created, report.note) == (4, "")
        assert [run.info.run_name for run in all_runs(synced)].count("theirs") == 2
        assert len(open_sweep("sample", synced).where()) == 4

    def test_the_commands_that_the_analysis_names_repair(
        self, sample: SampleSweep, synced: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        address = "sqlite:///~/mlflow.db"
        self.change(synced, "DELETE FROM tags WHERE key = 'grokscape.sheet.0' OR key = ?", "")
        for damage in ("UPDATE tags SET value = ? WHERE key = 'grokscape.state'", None):
            with pytest.raises(SweepError, match="writes it from the ledger") as caught:
                open_sweep("sample", address)
            command = shlex.split(re.search(r"-m pipeline.tracking (.*) writes it", str(caught.value))[1])
            assert tracking_main([*command, "--ledger", sample.ledger.uri]) == 0
            if damage:
                assert len(open_sweep("sample", address).where()) == 4
                self.change(synced, damage, "done")
        assert len(open_sweep("sample", address).where()) == 4
        assert sync(sample.ledger, "sample", address).unchanged == 4

    def test_a_server_names_no_folder_of_this_machine(self) -> None:
        for place, allowed in (("mlflow-artifacts:/1/a", True), ("s3://bucket/a", True), ("file:///tmp/a", False)):
            assert may_write("http://127.0.0.1:9", place, ["diagram.png"]) == allowed

    def test_anything_that_mlflow_raises_is_one_line(self) -> None:
        def fail() -> None:
            raise KeyError("a\nrow")

        with pytest.raises(TrackingError, match=r"^MLflow at http://host: KeyError: 'a\\nrow'$"):
            tracking_server.call("http://host", fail)

    def test_a_folder_too_long_for_a_database(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / ("x" * 200)).mkdir()
        monkeypatch.chdir(tmp_path / ("x" * 200))
        with pytest.raises(TrackingError, match=r"must be at most 157: run in a folder with a shorter name"):
            check("postgresql://127.0.0.1:9/runs")


class TestCommandLine:
    def test_syncs_without_noise(self, sample: SampleSweep, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        """A new SQLite file, so that its tables are made here: MLflow would have much to say about that."""
        sample.commit_all()
        uri = f"sqlite:///{tmp_path}/results/mlflow.db"
        assert tracking_main(["sample", "--ledger", sample.ledger.uri, "--mlflow-uri", uri]) == 0
        output = capfd.readouterr()
        first, second = output.out.splitlines()
        assert first.startswith("sample: 4 runs created, 0 updated")
        assert second.startswith(f"mlflow server --backend-store-uri {uri}")
        assert output.err == ""
        assert set(trial_runs(uri)) == set(sample.trial_ids)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["sample", "--mlflow-uri", "http://127.0.0.1:9"], "cannot be reached"),
            (["smaple", "--mlflow-uri", "sqlite:///mlflow.db"], "smaple"),
            (["sample", "--mlflow-uri", "file:///mlruns"], "allowed"),
        ],
    )
    def test_bad_input_is_one_line(
        self,
        sample: SampleSweep,
        capfd: pytest.CaptureFixture[str],
        arguments: list[str],
        message: str,
    ) -> None:
        assert tracking_main([*arguments, "--ledger", sample.ledger.uri]) == 2
        output = capfd.readouterr()
        assert output.out == ""
        assert len(output.err.splitlines()) == 1
        assert message in output.err

    def test_the_printed_command(self, sample: SampleSweep, uri: str) -> None:
        command = sync_command("sample", sample.ledger.uri, uri).split()
        assert command[:3] == ["python", "-m", "pipeline.tracking"]
        sample.commit_all()
        assert tracking_main(command[3:]) == 0
        assert len(trial_runs(uri)) == 4

    def test_the_printed_command_names_a_variable_instead_of_a_password(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host")
        command = sync_command("sample", "a b/ledger", "http://me:secret@host")
        assert command.endswith("""sample --ledger 'a b/ledger' --mlflow-uri "$MLFLOW_TRACKING_URI\"""")
        other = sync_command("sample", "ledger", "http://me:secret@other")
        assert other.endswith(
            "--mlflow-uri http://other  # add the user, password and query of MLflow's (http://other) address"
        )


class TestBackgroundSync:
    @pytest.fixture(autouse=True)
    def _no_thread_is_left(self) -> Iterator[None]:
        yield
        assert not [thread for thread in threading.enumerate() if thread.name == "mlflow-sync"]

    def test_writes_while_the_sweep_runs(self, sample: SampleSweep, uri: str) -> None:
        background = BackgroundSync(sample.ledger, "sample", uri)
        sample.commit(0)
        background.ended([sample.trial_ids[0]])
        deadline = time.monotonic() + 60
        while MlflowClient(uri).get_experiment_by_name("sample") is None or not trial_runs(uri):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        sample.commit_all()
        report = background.close(60)
        assert isinstance(report, SyncReport), report
        assert set(trial_runs(uri)) == set(sample.trial_ids)

    def test_a_dead_server(self, sample: SampleSweep) -> None:
        background = BackgroundSync(sample.ledger, "sample", "http://127.0.0.1:9")
        sample.commit_all()
        started = time.monotonic()
        for _ in range(1000):
            background.ended(sample.trial_ids)
        assert time.monotonic() - started < 0.5
        error = background.close(60)
        assert isinstance(error, TrackingError)
        assert "cannot be reached" in str(error)

    def test_pauses_grow_after_failures(self, sample: SampleSweep, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pipeline.tracking.background.FIRST_PAUSE_S", 0.2)
        tried: list[float] = []

        def fail(*args: object) -> None:
            tried.append(time.monotonic())
            raise TrackingError("down")

        with monkeypatch.context() as down:
            down.setattr(tracking.Mirror, "write", fail)
            background = BackgroundSync(sample.ledger, "sample", uri)
            sample.commit_all()
            background.ended(sample.trial_ids)
            while len(tried) < 4:
                time.sleep(0.01)
        pauses = np.diff(tried)
        assert (pauses >= [0.2, 0.4, 0.8]).all()
        report = background.close(60)
        assert isinstance(report, SyncReport), report
        assert report.created + report.unchanged == 4

    def test_the_last_sync_times_out(self, sample: SampleSweep, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
        release = threading.Event()
        monkeypatch.setattr(tracking.Mirror, "finish", lambda *args: release.wait(60))
        background = BackgroundSync(sample.ledger, "sample", uri)
        result = background.close(0.2)
        assert isinstance(result, TrackingError)
        assert "did not end within 0.2 s" in str(result)
        release.set()
        background._thread.join(60)
