"""The sync against real parts: an MLflow server, and a PostgreSQL cluster, both started here."""

import http.server
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from mlflow import MlflowClient

from analysis.data.source import open_sweep
from pipeline.ledger import Ledger
from pipeline.tracking import TrackingError, check, sync, sync_command
from pipeline.tracking.__main__ import main
from tests.support.mlflow_server import MlflowServer, free_port, snapshot
from tests.support.sample_sweep import SampleSweep
from trainables.runtime.rows import TrialState

# MLflow's own use of SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def sample(tmp_path: Path, request: pytest.FixtureRequest) -> SampleSweep:
    """A sweep under the test's own name: the tests share one server."""
    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    return SampleSweep(ledger, name=request.node.name)


def test_a_server_equals_a_file(server: MlflowServer, sample: SampleSweep, tmp_path: Path) -> None:
    sample.commit_all()
    figure = tmp_path / "diagram.png"
    figure.write_bytes(b"a picture")
    check(server.uri)
    report = sync(sample.ledger, sample.name, server.uri, figures=[figure])
    file_uri = f"sqlite:///{tmp_path}/mlflow.db"
    sync(sample.ledger, sample.name, file_uri, figures=[figure])
    by_server, by_file = snapshot(server.uri, sample.name), snapshot(file_uri, sample.name)
    assert by_server == by_file
    assert set(by_server) == {"", *sample.trial_ids}
    assert by_server[""]["files"] == ["diagram.png"]
    assert ("0", "nan") in {
        (str(step), value) for step, _, value in by_server[sample.trial_ids[0]]["metrics"]["alignment_update"]
    }
    with urlopen(report.browse.partition("#")[0]) as page:
        assert page.status == 200


def test_a_second_sync_and_a_longer_horizon(server: MlflowServer, sample: SampleSweep) -> None:
    sample.commit_all()
    sync(sample.ledger, sample.name, server.uri)
    before = snapshot(server.uri, sample.name)
    report = sync(sample.ledger, sample.name, server.uri)
    assert (report.created, report.updated, report.unchanged, report.removed) == (0, 0, 4, 0)
    assert snapshot(server.uri, sample.name) == before
    sample.horizon_steps = 2000
    sample.commit(0)
    report = sync(sample.ledger, sample.name, server.uri)
    assert (report.created, report.updated, report.unchanged) == (0, 1, 3)
    after = snapshot(server.uri, sample.name)[sample.trial_ids[0]]["metrics"]["test_loss"]
    assert set(before[sample.trial_ids[0]]["metrics"]["test_loss"]) < set(after)
    assert max(after)[0] == 2000


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium on the PATH")
def test_the_page_shows_axes_and_outcomes_at_once(server: MlflowServer, sample: SampleSweep, tmp_path: Path) -> None:
    """What a browser shows at the printed address: the question, a row a trial, its axis, its phase."""
    for number, coordinates in enumerate(sample.coordinates):
        coordinates["optimizer.weight_decay"] = 0.125 + number
    sample.record()
    sample.commit_all()
    report = sync(sample.ledger, sample.name, server.uri)
    flags = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-sync"
    command = ["chromium", *(f"--{flag}" for flag in flags.split()), "--disable-component-update"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000", "--window-size=1800,900"]
    shown = subprocess.run([*command, "--dump-dom", report.browse], capture_output=True, text=True, timeout=120).stdout
    text = re.sub("<[^>]+>", " ", shown)
    for expected in ("Does the sample grok?", "wd1, weight_decay=2.125, seed=0", "optimizer.weight_decay", "last_step"):
        assert expected in text
    assert re.search(r"\b3\.125\b.*\b1500\b", text)
    assert "Error loading shared view" not in text


def test_large_content_fits_the_servers_calls(server: MlflowServer, tmp_path: Path) -> None:
    sample = SampleSweep(Ledger.open(str(tmp_path / "ledger"), create=True), name="large", horizon_steps=100_000)
    sample.commit(0)
    long_text = "\u22a5" * 50_000
    row = sample.row(
        1, 0, TrialState.FAILED, error=long_text, error_kind="error", provenance_json='{"diff": "' + long_text + '"}'
    )
    sample.ledger.commit([row], {"trial_id": [], "step": []})
    sync(sample.ledger, "large", server.uri)
    found = snapshot(server.uri, "large")
    assert sum(len(points) for points in found[sample.trial_ids[0]]["metrics"].values()) > 1000
    assert len(found[sample.trial_ids[1]]["tags"]["grokscape.error"]) == 8000


def test_the_command_line(server: MlflowServer, sample: SampleSweep, capfd: pytest.CaptureFixture[str]) -> None:
    sample.commit_all()
    command = sync_command(sample.name, sample.ledger.uri, server.uri).split()
    assert main(command[3:]) == 0
    output = capfd.readouterr()
    assert output.err == ""
    assert output.out.splitlines()[0].startswith(f"{sample.name}: 4 runs created")
    assert output.out.splitlines()[1].startswith(f"{server.uri}/#/experiments/")
    assert set(snapshot(server.uri, sample.name)) == {"", *sample.trial_ids}


def test_a_web_server_that_is_not_mlflow() -> None:
    class Nothing(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_error(404)

        def log_message(self, *args: object) -> None:
            """Keep the tests' output clean."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        started = time.monotonic()
        with pytest.raises(TrackingError, match="404") as caught:
            check(f"http://127.0.0.1:{other.server_address[1]}")
        assert time.monotonic() - started < 15
        assert len(str(caught.value).splitlines()) == 1
        other.shutdown()


def postgresql_binaries() -> Path | None:
    """The folder with ``initdb`` and ``pg_ctl``."""
    on_path = shutil.which("pg_ctl")
    folders = [Path(on_path).parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)


@pytest.fixture
def postgresql_uri() -> Iterator[str]:
    """A database of a new PostgreSQL cluster; it refuses to run as root, who lends it to another user."""
    binaries = postgresql_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL binaries (initdb, pg_ctl) on this machine")
    folder = Path(tempfile.mkdtemp(prefix="grokscape-pg-"))
    owner: dict[str, int] = {}
    if os.getuid() == 0:
        names = {user.pw_name: user for user in pwd.getpwall()}
        user = names.get("postgres") or names["nobody"]
        os.chown(folder, user.pw_uid, user.pw_gid)
        owner = {"user": user.pw_uid, "group": user.pw_gid}
    port = free_port()
    settings = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
    data, log = folder / "data", folder / "log"
    commands = {
        "initdb": [binaries / "initdb", "-D", data, "-U", "grokscape", "-A", "trust", "-E", "UTF8", "--no-sync"],
        "start": [binaries / "pg_ctl", "-D", data, "-l", log, "-o", settings, "-w", "start"],
        "stop": [binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"],
    }

    def run(name: str) -> None:
        # To a file, not a pipe: the server inherits it and would keep a pipe open.
        with open(folder / f"{name}.out", "wb") as out:
            done = subprocess.run(commands[name], stdout=out, stderr=out, cwd=folder, check=False, **owner)
        assert done.returncode == 0, (folder / f"{name}.out").read_text()

    try:
        run("initdb")
        run("start")
        try:
            yield f"postgresql://grokscape@127.0.0.1:{port}/postgres"
        finally:
            run("stop")
    finally:
        shutil.rmtree(folder)


def test_postgresql(postgresql_uri: str, sample: SampleSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and values that are longer than its columns, and characters that MLflow refuses, are fitted."""
    monkeypatch.chdir(tmp_path)
    odd = {"a" * 300 + "|": "v" * 9000, "a=b": "⊥" * 300, "../c": 0.1}
    sample.coordinates = [{**odd, "seed": seed} for seed in range(4)]
    sample.record()
    for index in range(3):
        sample.commit(index)
    row = sample.row(3, 0, TrialState.FAILED, error="e" * 20_000, error_kind="error")
    probes = {f"norm.{'w' * 250}{end}": [1.0] for end in "ab"}
    sample.ledger.commit([row], {"trial_id": [row.trial_id], "step": [0], **probes})
    check(postgresql_uri)
    report = sync(sample.ledger, sample.name, postgresql_uri)
    assert report.created == 4
    by_database = snapshot(postgresql_uri, sample.name)
    assert len([key for key in by_database[row.trial_id]["metrics"] if key.startswith("norm.")]) == 2
    assert [trial.coordinates for trial in open_sweep(sample.name, postgresql_uri).trials] == sample.coordinates
    file_uri = f"sqlite:///{tmp_path}/mlflow.db"
    sync(sample.ledger, sample.name, file_uri)
    assert by_database == snapshot(file_uri, sample.name)
    assert sync(sample.ledger, sample.name, postgresql_uri).unchanged == 4
    client = MlflowClient(postgresql_uri)
    assert client.get_experiment_by_name(sample.name).artifact_location == (tmp_path / "results/mlartifacts").as_uri()
