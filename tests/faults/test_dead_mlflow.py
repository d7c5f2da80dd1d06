"""An MLflow server that dies, hangs or was never there costs time that is bounded, and no data."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from mlflow import MlflowClient

from pipeline.ledger import Ledger
from pipeline.tracking import BackgroundSync, TrackingError, check, sync
from pipeline.tracking import mirror as tracking
from pipeline.tracking.__main__ import main
from tests.support.mlflow_server import MlflowServer, free_port, snapshot
from tests.support.sample_sweep import SampleSweep

# MLflow's own use of SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

DEAD_S = 30
"""How long a sync may go on after the server's death: its attempts end after 6 s of waiting."""


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(shared_server: MlflowServer) -> Iterator[MlflowServer]:
    """A running server without an experiment ``sample``; starting one anew for each test would take minutes."""
    yield shared_server
    client = MlflowClient(shared_server.uri)
    experiment_id = client.get_experiment_by_name("sample").experiment_id
    client.rename_experiment(experiment_id, f"done {experiment_id}")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleSweep:
    sample = SampleSweep(Ledger.open(str(tmp_path_factory.mktemp("sample") / "ledger"), create=True))
    sample.commit_all()
    return sample


@pytest.fixture(scope="module")
def undisturbed(sample: SampleSweep, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a sync that nothing happens to leaves."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('undisturbed')}/mlflow.db"
    sync(sample.ledger, "sample", uri)
    return snapshot(uri, "sample")


class Killing:
    """Calls of one method of MLflow's client, the ``number``-th of which meets the server's death.

    :param delay_s: how long that call is under way; None kills before it is sent.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, server: MlflowServer, method: str, number: int) -> None:
        self._original, self._server, self._number = getattr(MlflowClient, method), server, number
        self._lock, self._calls, self.killed_at = threading.Lock(), 0, 0.0
        self.delay_s: float | None = None
        killing = self

        def call(client: MlflowClient, *args: Any, **kwargs: Any) -> Any:
            return killing.call(client, *args, **kwargs)

        monkeypatch.setattr(MlflowClient, method, call)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            self._calls += 1
            now = self._calls == self._number
        if now and self.delay_s is not None:
            timer = threading.Timer(self.delay_s, self._kill)
            timer.start()
            try:
                return self._original(*args, **kwargs)
            finally:
                timer.join()
        if now:
            self._kill()
        return self._original(*args, **kwargs)

    def _kill(self) -> None:
        self._server.kill()
        self.killed_at = time.monotonic()


@pytest.mark.parametrize(
    ("method", "number", "delay_s"),
    [("log_batch", 3, None), ("log_batch", 3, 0.05), ("create_run", 4, 0.01)],
)
def test_a_server_killed_in_mid_sync(
    server: MlflowServer,
    sample: SampleSweep,
    undisturbed: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    number: int,
    delay_s: float | None,
) -> None:
    with monkeypatch.context() as patch:
        killing = Killing(patch, server, method, number)
        killing.delay_s = delay_s
        with pytest.raises(TrackingError, match="MLflow at http://127") as caught:
            sync(sample.ledger, "sample", server.uri)
        assert 0 < time.monotonic() - killing.killed_at < DEAD_S
        assert len(str(caught.value).splitlines()) == 1

    server.start()
    report = sync(sample.ledger, "sample", server.uri)
    assert report.created + report.updated + report.unchanged == 4
    assert snapshot(server.uri, "sample") == undisturbed
    assert sync(sample.ledger, "sample", server.uri).unchanged == 4


def test_a_server_that_dies_while_a_sweep_runs(
    server: MlflowServer, sample: SampleSweep, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training never waits, the end tells what happened, and the printed command makes up for it."""
    with monkeypatch.context() as patch:
        killing = Killing(patch, server, "log_batch", 2)
        background = BackgroundSync(sample.ledger, "sample", server.uri)
        waited_s = 0.0
        for trial_id in sample.trial_ids:
            started = time.monotonic()
            background.ended([trial_id])
            waited_s = max(waited_s, time.monotonic() - started)
        while not killing.killed_at:
            time.sleep(0.01)
        assert waited_s < 0.1
        started = time.monotonic()
        error = background.close(60)
        assert isinstance(error, TrackingError)
        assert time.monotonic() - started < DEAD_S

    server.start()
    command = tracking.sync_command("sample", sample.ledger.uri, server.uri).split()
    assert main(command[3:]) == 0
    assert snapshot(server.uri, "sample") == undisturbed


def test_a_dead_address_is_told_within_15_seconds(sample: SampleSweep) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    for attempt in (check, lambda uri: sync(sample.ledger, "sample", uri)):
        started = time.monotonic()
        with pytest.raises(TrackingError, match="cannot be reached"):
            attempt(uri)
        assert time.monotonic() - started < 15


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_an_address_that_never_answers_is_told_in_time(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(TrackingError, match="no answer within 3 s"):
            check(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/runs", timeout_s=3)
        assert time.monotonic() - started < 4
